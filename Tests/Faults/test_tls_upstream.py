"""TLS to the server: who is trusted, what is said of failures, and what never leaves before."""

import contextlib
import functools
import re
import socket
import subprocess
import threading
import time
import urllib.request

import pytest

from harness.certificates import Authority, authority, server_certificate
from harness.daemon import run_cli
from harness.ports import free_port
from harness.waiting import eventually
from harness.wire import Address, ErrorReply, encode

from peers import Peer, answer

# A handshake takes long on a busy machine.
QUICK = {"connectTimeout": "8s", "poolTimeout": "2s", "maxOpen": 3}
VERIFY_FAILED = "TLS: certificate verify failed: "
VERSIONS = ["TLSv1.2", "TLSv1.3"]


def secure(server, **pool):
    """The keys of a pool in front of the TLS port of `server`."""
    return QUICK | {"upstream": server.tls.text, "tlsCaFile": authority().file} | pool


def refused_with(client, text):
    """Waits for a refusal with this cause."""
    def told():
        reply = client.command("PING")
        assert isinstance(reply, ErrorReply), reply
        found = reply.decode().startswith("UPSTREAMDOWN pool main: ")
        return found and text in reply.decode() or None

    eventually(told, what=text)


@pytest.mark.parametrize("rsa", [False, True], ids=["ecdsa", "rsa"])
@pytest.mark.parametrize("version", VERSIONS)
def test_commands_pass(launch, version, rsa):
    server = launch.server(
        "--tls-protocols", version, certificate=server_certificate(rsa), password="sesame"
    )
    redpool = launch.redpool(server, pool=secure(server) | password_of(launch, server))
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        large = bytes(range(256)) * 8192
        assert client.command("SET", "k", large) == b"OK"
        assert client.command("GET", "k") == large
        client.send(b"".join(encode("ECHO", n) for n in range(1000)))
        assert [client.read() for _ in range(1000)] == [b"%d" % n for n in range(1000)]
        assert client.command("WATCH", "k") == b"OK"
        assert client.command("MULTI") == b"OK"
        assert client.command("STRLEN", "k") == b"QUEUED"
        assert client.command("EXEC") == [len(large)]
    assert all(row["laddr"].endswith(f":{server.tls.port}") for row in server.upstreams())


def password_of(launch, server):
    path = f"{server.folder}/password"
    with open(path, "w") as file:
        file.write(f"{server.password}\n")
    return {"passwordFile": path}


@functools.cache
def foreign_authority():
    return Authority("foreign")


@pytest.fixture(scope="module")
def bad():
    """Certificates that are refused, and the words for it."""
    mine = authority()
    return {
        "foreign": (foreign_authority().issue(), "unable to get local issuer certificate"),
        "expired": (mine.issue(days=-1), "certificate has expired"),
        "wrong name": (mine.issue("DNS:other.test"), "the certificate is not for 127.0.0.1"),
    }


@pytest.mark.parametrize("kind", ["foreign", "expired", "wrong name"])
def test_no_credentials_for_whom_nobody_trusts(launch, bad, kind, tmp_path):
    """The client is told why, and the server was told nothing."""
    certificate, text = bad[kind]
    peer = launch.started(Peer(answer, certificate))
    password = tmp_path / "password"
    password.write_text("sesame\n")
    redpool = launch.redpool(peer, pool=QUICK | {"passwordFile": str(password)})
    with redpool.connect() as client:
        refused_with(client, VERIFY_FAILED + text)
    assert peer.failures and not peer.said


@pytest.mark.parametrize(
    "verify, kinds", [("ca", ["wrong name"]), ("none", ["foreign", "expired"])]
)
def test_less_verification(launch, bad, verify, kinds):
    for kind in kinds:
        server = launch.server(certificate=bad[kind][0])
        redpool = launch.redpool(server, pool=secure(server, tlsVerify=verify))
        with redpool.connect() as client:
            eventually(lambda: client.command("PING") == b"PONG")


def test_only_the_name_is_less_verified(launch, bad):
    server = launch.server(certificate=bad["foreign"][0])
    redpool = launch.redpool(server, pool=secure(server, tlsVerify="ca"))
    with redpool.connect() as client:
        refused_with(client, VERIFY_FAILED + "unable to get local issuer certificate")


def test_systems_authorities_do_not_trust_ours(launch):
    server = launch.server(certificate=server_certificate())
    redpool = launch.redpool(server, pool=secure(server, tlsCaFile=""))
    with redpool.connect() as client:
        # The server sends its authority's certificate as well.
        refused_with(client, VERIFY_FAILED + "self-signed certificate in certificate chain")


def test_names(launch):
    """A name is told to the server and verified; an address is verified alone."""
    for pool, told in [
        ({}, None), ({"tlsServerName": "cache.test"}, "cache.test"),
        ({"tlsServerName": "127.0.0.1"}, None),
    ]:
        peer = launch.started(Peer(answer))
        redpool = launch.redpool(peer, pool=QUICK | pool)
        with redpool.connect() as client:
            eventually(lambda: client.command("PING") == b"PONG")
        assert set(peer.names) == {told}
    peer = launch.started(Peer(answer))
    redpool = launch.redpool(peer, pool=QUICK | {"tlsServerName": "other.test"})
    with redpool.connect() as client:
        refused_with(client, VERIFY_FAILED + "the certificate is not for other.test")


@pytest.mark.parametrize("version", VERSIONS)
def test_client_certificates(launch, version):
    server = launch.server(
        "--tls-auth-clients", "yes", "--tls-protocols", version, certificate=server_certificate()
    )
    mine, foreign = authority().issue(), foreign_authority().issue()
    redpool = launch.redpool(server, pool=secure(server))
    with redpool.connect() as client:
        refused_with(client, "TLS: the server wants a client certificate (tlsCertFile)")
    keys = {"tlsCertFile": mine.file, "tlsKeyFile": mine.key}
    redpool = launch.redpool(server, pool=secure(server, **keys))
    with redpool.connect() as client:
        eventually(lambda: client.command("PING") == b"PONG")
    keys = {"tlsCertFile": foreign.file, "tlsKeyFile": foreign.key}
    redpool = launch.redpool(server, pool=secure(server, **keys))
    with redpool.connect() as client:
        refused_with(client, "TLS: ")


def test_oldest_version(launch):
    server = launch.server("--tls-protocols", "TLSv1.2", certificate=server_certificate())
    redpool = launch.redpool(server, pool=secure(server, tlsMinVersion="1.3"))
    with redpool.connect() as client:
        refused_with(client, "TLS: tlsv1 alert protocol version")


def test_plain_server(launch):
    server = launch.server(certificate=server_certificate())
    plain = f"rediss://127.0.0.1:{server.port}"
    redpool = launch.redpool(server, pool=secure(server, upstream=plain, connectTimeout="200ms"))
    with redpool.connect() as client:
        # The server waits for the rest of a command.
        refused_with(
            client, f"no answer to the TLS handshake: does 127.0.0.1:{server.port} speak TLS?")


WRONG_VERSION = "TLS: wrong version number: does 127.0.0.1:"


@pytest.mark.parametrize(
    "scheme, first, text",
    [
        ("rediss://", b"", "in the TLS handshake"),
        ("rediss://", b"-ERR unknown command\r\n", WRONG_VERSION),
        ("rediss://", b"HTTP/1.1 400 Bad Request\r\n\r\n", WRONG_VERSION),
        ("rediss://", b"\x15\3\1\0\2\2\x28", "TLS: sslv3 alert handshake failure"),
        ("", b"\x15\3\1\0\2\2\x46", "the server speaks TLS: write rediss://"),
    ],
    ids=["nothing", "error", "http", "alert", "alert to a plain client"],
)
def test_other_answers_to_the_first_message(launch, scheme, first, text):
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        def close_all():
            with contextlib.suppress(OSError):
                while True:
                    near, _ = listener.accept()
                    near.recv(1 << 16)
                    near.sendall(first)
                    near.close()

        threading.Thread(target=close_all, daemon=True).start()

        class Server:
            tcp = Address("127.0.0.1", listener.getsockname()[1], tls=bool(scheme))

        redpool = launch.redpool(Server, pool=QUICK)
        with redpool.connect() as client:
            refused_with(client, text)


@pytest.mark.daemon
def test_what_an_operator_sees(launch, bad):
    """Columns of the console, and metrics: handshakes, failures by reason, and expiry dates."""
    server = launch.server(certificate=server_certificate())
    mine = authority().issue()
    port = free_port()
    keys = {"tlsCertFile": mine.file, "tlsKeyFile": mine.key}
    foreign = launch.server(certificate=bad["foreign"][0])
    others = {
        "plain": {"listen": f"unix:{server.folder}/plain.sock", "upstream": server.tcp.text},
        "bad": secure(foreign) | {"listen": f"unix:{server.folder}/bad.sock", "minIdle": 1},
    }
    redpool = launch.redpool(
        server, pool=secure(server, **keys), pools=others, console=True,
        settings={"http": {"listen": f"127.0.0.1:{port}"}},
    )
    redpool.warm_up()
    for row in server.upstreams():
        server.command("CLIENT", "KILL", "ID", row["id"])
    redpool.warm_up()

    def rows(pool):
        return [row for row in redpool.show("UPSTREAMS") if row["pool"] == pool]

    (row, *_) = eventually(lambda: [row for row in rows("main") if row["resumed"] == "yes"])
    assert row["tls"] == "TLSv1.3" and row["cipher"].startswith("TLS_")
    (row, *_) = eventually(lambda: rows("plain"))
    assert row["tls"] is row["cipher"] is row["resumed"] is None

    def metric(name, **labels):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as page:
            text = page.read().decode()
        wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
        found = re.search(rf"^{name}{{{re.escape(wanted)}}} (\S+)$", text, re.M)
        return float(found[1]) if found else None

    handshakes, failures = "redpool_tls_handshakes_total", "redpool_tls_failures_total"
    side = {"side": "upstream"}
    eventually(lambda: metric(failures, pool="bad", **side, reason="certificate"))
    assert metric(failures, pool="bad", **side, reason="name") == 0
    assert metric(handshakes, pool="bad", **side, result="failed") >= 1
    assert metric(handshakes, pool="main", **side, result="full") >= 1
    assert metric(handshakes, pool="main", **side, result="resumed") >= 1
    assert metric(handshakes, pool="plain", **side, result="full") is None
    for key in ("tlsCaFile", "tlsCertFile"):
        left = metric(
            "redpool_tls_certificate_expiry_timestamp_seconds", pool="main", key=key
        ) - time.time()
        assert 86_400 < left < 2 * 86_400
    stats = {row["name"]: row["total"] for row in redpool.show("STATS", "main")}
    assert stats["tls_handshakes.upstream.resumed"] >= 1 and stats["tls_failures.upstream.name"] == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_later_handshakes_are_resumed(launch, version):
    server = launch.server("--tls-protocols", version, certificate=server_certificate())
    redpool = launch.redpool(
        server, pool=secure(server, maxOpen=2), settings={"log": {"stats": "1s"}}
    )
    with redpool.connect() as client:
        for _ in range(10):
            eventually(lambda: client.command("PING") == b"PONG")
            for row in server.upstreams():
                server.command("CLIENT", "KILL", "ID", row["id"])

    def counted():
        found = re.findall(r"tls_handshakes=(\d+).*?tls_resumed=(\d+)", redpool.log())
        return found and int(found[-1][0]) >= 8 and found[-1]

    handshakes, resumed = map(int, eventually(counted))
    # Only the first has nothing to resume.
    assert resumed >= handshakes - 2


@pytest.mark.daemon
def test_connections_come_and_go(launch, full):
    """Memory is back where it was: nothing of a connection that is closed is kept."""
    server = launch.server(certificate=server_certificate())
    keys = {"maxOpen": 25, "maxIdle": 25, "minIdle": 25}
    redpool = launch.redpool(server, pool=secure(server, **keys))

    def renew(rounds):
        for _ in range(rounds):
            before = {row["id"] for row in eventually(lambda: all_idle(server, 25))}
            server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            eventually(lambda: not before & {row["id"] for row in server.upstreams()})
        eventually(lambda: all_idle(server, 25))

    renew(4)
    before = redpool.rss()
    renew(400 if full else 8)
    assert redpool.rss() < before + (1 << 20)


def all_idle(server, count):
    rows = server.upstreams()
    return rows if len(rows) == count and all(row["cmd"] != "NULL" for row in rows) else None


def test_end_that_is_announced_and_does_not_come(launch):
    """The server says close_notify, and nothing more: after a second the command is lost, and not
    sent again, because nobody knows what the server has received."""
    is_over = threading.Event()

    def conversation(peer, near):
        if answer(peer, near, until=lambda words: words[0] == b"INCR"):
            near.settimeout(0)
            with contextlib.suppress(OSError):
                # Sends close_notify, and does not wait for that of the other side.
                near.unwrap()
            is_over.wait(30)

    peer = launch.started(Peer(conversation))
    redpool = launch.redpool(peer, pool=QUICK | {"onUpstreamLoss": "error"})
    with redpool.connect() as client:
        eventually(lambda: client.command("PING") == b"PONG")
        client.send(encode("INCR", "ledger"))
        reply = client.read()
        is_over.set()
        assert reply.startswith(b"UPSTREAMLOST pool main: "), reply
        assert b"(upstream_reset)" in reply
    assert peer.said.count(b"INCR") == 1


BROKEN = [
    ("tlsCaFile", "empty", None, "tlsCaFile: {empty} has no certificate"),
    ("tlsCaFile", "missing", None, "tlsCaFile: {missing} cannot be read: No such file or directory"),
    ("tlsCertFile", "certificate", "other key",
     "tlsKeyFile: {other key} does not belong to the certificate in tlsCertFile"),
    ("tlsCertFile", "certificate", "passphrase",
     "tlsKeyFile: {passphrase} has no private key without a passphrase"),
    ("tlsCertFile", "key", "key", "tlsCertFile: {key} has no certificate"),
    ("tlsCertFile", "certificate", None, "tlsKeyFile: is needed with tlsCertFile"),
]


@pytest.mark.daemon
@pytest.mark.parametrize("key, file, other, text", BROKEN)
def test_check_says_what_is_wrong_with_a_file(write, tmp_path, key, file, other, text):
    mine = authority().issue()
    (tmp_path / "empty").write_text("nothing\n")
    locked = tmp_path / "locked"
    subprocess.run(
        ["openssl", "pkey", "-in", mine.key, "-aes128", "-passout", "pass:x", "-out", locked],
        check=True, capture_output=True,
    )
    files = {
        "empty": str(tmp_path / "empty"), "missing": str(tmp_path / "missing"),
        "certificate": mine.file, "key": mine.key, "other key": authority().issue().key,
        "passphrase": str(locked),
    }
    pool = {"listen": "127.0.0.1:6380", "upstream": "rediss://h:1", key: files[file]}
    pool |= {"tlsKeyFile": files[other]} if other else {}
    path = write(pool)
    for arguments in (["check", path], ["run", "--config", path]):
        done = run_cli(*arguments)
        assert done.returncode == 78, done
        assert f"pools.main.{text.format(**files)}" in done.stderr


@pytest.mark.daemon
def test_check_warns_of_no_verification(write):
    path = write(
        {"listen": "127.0.0.1:6380", "upstream": "rediss://h:1", "tlsVerify": "none"}
    )
    done = run_cli("check", path)
    assert done.returncode == 0
    assert "warning: pools.main.tlsVerify: none accepts any server" in done.stderr
