"""TLS to servers by other programs than our own: stunnel, haproxy, `openssl s_server`, and every
redis-server that is found. Each version of the protocol, and each kind of key."""

import contextlib
import subprocess

import pytest

from harness.certificates import authority, server_certificate
from harness.daemon import run_cli, yaml
from harness.fronts import HAPROXY, STUNNEL, Haproxy, Stunnel
from harness.load import Neighbours
from harness.ports import free_port
from harness.server import has_tls
from harness.servers import FOUND
from harness.waiting import eventually
from harness.wire import Address, Connection, encode

POOL = {"maxOpen": 4, "connectTimeout": "8s"}
RSA = pytest.mark.parametrize("rsa", [False, True], ids=["ecdsa", "rsa"])
KINDS = {
    "stunnel": (
        STUNNEL, Stunnel,
        {"1.2": "sslVersion = TLSv1.2", "1.3": "sslVersion = TLSv1.3"},
    ),
    "haproxy": (
        HAPROXY, Haproxy,
        {"1.2": "ssl-max-ver TLSv1.2", "1.3": "ssl-min-ver TLSv1.3"},
    ),
}


def converse(redpool, server):
    """Small and large values both ways, in pipelines, in transactions and blocked."""
    big = bytes(range(256)) * 8192
    server.command("FLUSHALL")
    with redpool.connect() as client, Neighbours(redpool.tcp) as neighbours:
        assert client.command("SET", "big", big) == b"OK"
        assert client.command("GET", "big") == big
        client.send(encode("ECHO", "x" * 1000) * 500 + encode("GET", "big"))
        assert [client.read() for _ in range(500)] == [b"x" * 1000] * 500
        assert client.read() == big
        assert client.command("MULTI") == b"OK"
        assert client.command("GET", "big") == b"QUEUED"
        assert client.command("EXEC") == [big]
        client.send(encode("BLPOP", "list", "0"))
        server.command("RPUSH", "list", "x")
        assert client.read() == [b"list", b"x"]
        neighbours.go_on()


def versions(redpool):
    return {(row["tls"], row["resumed"]) for row in redpool.show("UPSTREAMS") if row["tls"]}


@pytest.mark.daemon
@RSA
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_front(launch, kind, version, rsa):
    program, front, options = KINDS[kind]
    if not program:
        pytest.skip(f"{kind} is not installed")
    server = launch.server()
    front = launch.started(front(server, options[version], server_certificate(rsa)))
    redpool = launch.redpool(front, pool=POOL, console=True)
    converse(redpool, server)
    assert {version for version, _ in versions(redpool)} == {f"TLSv{version}"}
    # A reset: what is in flight is lost, and the next connections are as good.
    front.restart()
    with redpool.connect() as client:
        eventually(lambda: client.command("PING") == b"PONG")
    converse(redpool, server)
    # The server closes what is idle: nobody notices, and what comes then is resumed.
    with redpool.connect() as client:
        for count in range(1, 6):
            before = {row["id"] for row in redpool.show("UPSTREAMS")}
            for row in server.upstreams():
                server.command("CLIENT", "KILL", "ID", row["id"])
            eventually(lambda: not before & {row["id"] for row in redpool.show("UPSTREAMS")})
            assert client.command("INCR", "ledger") == count
    eventually(lambda: "yes" in {resumed for _, resumed in versions(redpool)})


@pytest.mark.daemon
@RSA
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("found", FOUND, ids=str)
def test_a_server(launch, found, version, rsa, full):
    if found is not FOUND[0] and not full:
        pytest.skip("other servers are for REDPOOL_FULL=1")
    if not has_tls(found.path):
        pytest.skip(f"{found} is built without TLS")
    server = launch.server(
        "--tls-protocols", version, binary=found.path, certificate=server_certificate(rsa)
    )
    redpool = launch.redpool(
        server, pool=POOL | {"upstream": server.tls.text, "tlsCaFile": authority().file},
        console=True,
    )
    converse(redpool, server)
    assert {version for version, _ in versions(redpool)} == {version}


SUITES = {
    "ECDHE-RSA-AES256-GCM-SHA384": (["-tls1_2"], True, "TLSv1.2"),
    "ECDHE-ECDSA-CHACHA20-POLY1305": (["-tls1_2"], False, "TLSv1.2"),
    "DHE-RSA-AES128-GCM-SHA256": (["-tls1_2"], True, "TLSv1.2"),
    "TLS_CHACHA20_POLY1305_SHA256": (["-tls1_3"], False, "TLSv1.3"),
    "TLS_AES_128_GCM_SHA256": (["-tls1_3", "-groups", "P-521"], True, "TLSv1.3"),
}


@pytest.mark.daemon
@pytest.mark.parametrize("cipher", SUITES)
def test_openssl(tmp_path, cipher):
    """Each cipher, by a server that speaks TLS and no Redis."""
    options, rsa, version = SUITES[cipher]
    certificate = server_certificate(rsa)
    port = free_port()
    suites = "-ciphersuites" if version == "TLSv1.3" else "-cipher"
    server = subprocess.Popen(
        ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", certificate.file,
         "-key", certificate.key, "-quiet", "-rev", suites, cipher, *options],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        def listens():
            with contextlib.suppress(OSError):
                Connection(Address("127.0.0.1", port)).close()
                return True
            return False

        eventually(listens, what="openssl listening")
        path = tmp_path / "redpool.yaml"
        pool = {"listen": f"127.0.0.1:{free_port()}", "tlsCaFile": authority().file}
        pool["upstream"] = f"rediss://127.0.0.1:{port}"
        path.write_text(yaml({"pools": {"main": pool}}))
        done = run_cli("check", "--online", path)
        assert f"127.0.0.1:{port} speaks {version} ({cipher})" in done.stderr, done.stderr
        assert "does not speak RESP" in done.stderr, done.stderr
    finally:
        server.kill()
        server.wait(20)
