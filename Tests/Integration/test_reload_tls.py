"""A reload reads certificates, keys and CA files again, with the rest or not at all."""

import pathlib
import re
import shutil
import subprocess

import pytest

from harness.certificates import authority, other_authority, server_certificate
from harness.load import Neighbours
from harness.waiting import always, eventually
from harness.wire import ErrorReply
from reload_classes import TESTS, key

pytestmark = pytest.mark.daemon
NEW = "new connections"


@pytest.fixture
def server(launch):
    return launch.server(certificate=server_certificate())


@pytest.fixture
def strict(launch):
    """A server that wants client certificates."""
    return launch.server("--tls-auth-clients", "yes", certificate=server_certificate())


def ids(server):
    return {row["id"] for row in server.upstreams()}


def secure(server, **pool):
    return {"upstream": server.tls.text, "tlsCaFile": authority().file} | pool


def mine(folder):
    """Files of a client certificate that a test replaces."""
    return {"tlsCertFile": str(folder / "client.pem"), "tlsKeyFile": str(folder / "client.key")}


def put(folder, certificate):
    """Replaces them, as a program that renews certificates does."""
    for source, name in ((certificate.file, "client.pem"), (certificate.key, "client.key")):
        shutil.copy(source, folder / f"{name}.new")
        (folder / f"{name}.new").rename(folder / name)


def renewed(server, before):
    eventually(lambda: ids(server) and not ids(server) & before, what="other upstreams")


def reconnect(redpool, server):
    """New upstreams, without a loss."""
    before = ids(server)
    with redpool.console() as console:
        assert not isinstance(console.command("RECONNECT", "main"), ErrorReply)
    renewed(server, before)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_certificate_is_replaced_under_load(launch, strict, tmp_path, threads):
    """No client sees an error, and the server, which no longer trusts the old certificate, is
    shown the new one."""
    put(tmp_path, authority().issue())
    both = tmp_path / "both.pem"
    both.write_text(
        pathlib.Path(authority().file).read_text() + pathlib.Path(other_authority().file).read_text()
    )
    redpool = launch.redpool(
        strict, pool=secure(strict, **mine(tmp_path)), settings={"threads": threads}, console=True
    )
    with Neighbours(redpool.tcp, clients=8) as neighbours, redpool.connect() as holder:
        neighbours.go_on()
        assert holder.command("MULTI") == b"OK"
        before = ids(strict)
        put(tmp_path, other_authority().issue())
        assert strict.command("CONFIG", "SET", "tls-ca-cert-file", str(both)) == b"OK"
        assert "pools.main: other TLS files" in redpool.reload()
        assert re.search("level=notice event=tls.reloaded .* pool=main side=upstream", redpool.log())
        eventually(lambda: len(ids(strict) & before) == 1, what="all renewed but the pinned one")
        assert holder.command("PING") == b"QUEUED"
        assert holder.command("EXEC") == [b"PONG"]
        renewed(strict, before)
        assert strict.command("CONFIG", "SET", "tls-ca-cert-file", other_authority().file) == b"OK"
        reconnect(redpool, strict)
        neighbours.go_on()


def test_equal_files_change_nothing(launch, strict, tmp_path):
    put(tmp_path, authority().issue())
    redpool = launch.redpool(strict, pool=secure(strict, **mine(tmp_path)))
    redpool.warm_up()
    before = ids(strict)
    assert "changes=none" in redpool.reload()
    assert "tls.reloaded" not in redpool.log()
    always(lambda: before <= ids(strict), 0.5, what="the same upstreams")


BROKEN = {
    "half a certificate": ("client.pem", 300, "tlsCertFile: ", " has a certificate that cannot"),
    "an empty key": ("client.key", 0, "tlsKeyFile: ", " has no private key"),
    "no CA": ("ca.pem", 0, "tlsCaFile: ", " has no certificate"),
    "a file that is gone": ("ca.pem", None, "tlsCaFile: ", " cannot be read: No such file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused(launch, strict, tmp_path, name):
    """The reason is told with the file, and nothing changes: neither TLS nor anything else."""
    put(tmp_path, authority().issue())
    shutil.copy(authority().file, tmp_path / "ca.pem")
    pool = secure(strict, **mine(tmp_path), tlsCaFile=str(tmp_path / "ca.pem"))
    redpool = launch.redpool(strict, pool=pool, console=True)
    file, size, *words = BROKEN[name]
    with Neighbours(redpool.tcp, clients=2) as neighbours:
        neighbours.go_on()
        before = ids(strict)
        if size is None:
            (tmp_path / file).unlink()
        else:
            content = (tmp_path / file).read_bytes()
            (tmp_path / file).write_bytes(content[:size])
        redpool.reload(refused=True, maxLifetime="100ms", denyCommands=["PING"])
        (problem,) = (line for line in redpool.log().splitlines() if "reload.problem" in line)
        assert all(word in problem for word in words), problem
        assert "tls.reloaded" not in redpool.log()
        always(lambda: before <= ids(strict), 0.5, what="the same upstreams")
        # The files in force are the old ones.
        reconnect(redpool, strict)
        neighbours.go_on()


def test_old_sessions_are_not_resumed(launch, server, tmp_path):
    """What was verified with the old files proves nothing to new ones."""
    shutil.copy(authority().file, tmp_path / "ca.pem")
    redpool = launch.redpool(
        server, pool=secure(server, tlsCaFile=str(tmp_path / "ca.pem"), poolTimeout="1s")
    )
    with redpool.connect() as client:
        eventually(lambda: client.command("PING") == b"PONG")
        shutil.copy(other_authority().file, tmp_path / "ca.pem")
        redpool.reload()

        def refused():
            reply = client.command("PING")
            return isinstance(reply, ErrorReply) and b"certificate verify failed" in reply

        eventually(refused)
        shutil.copy(authority().file, tmp_path / "ca.pem")
        redpool.reload()
        eventually(lambda: client.command("PING") == b"PONG")


# The first file of `TLSContext.systemFiles`.
SYSTEM = "/etc/ssl/certs/ca-certificates.crt"


def test_the_systems_file(launch, server, tmp_path):
    """Without tlsCaFile a reload reads the system's authorities again."""
    bundle = tmp_path / "bundle.pem"
    shutil.copy(other_authority().file, bundle)
    # In a name space of its own the daemon finds this file in the system's place.
    mount = f'mount --bind {bundle} {SYSTEM} && exec "$@"'
    prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("no name space for mounts, or no file of the system")
    redpool = launch.redpool(
        server, pool=secure(server, tlsCaFile="", poolTimeout="1s"), prefix=prefix)
    with redpool.connect() as client:
        reply = client.command("PING")
        assert b"certificate verify failed" in reply, reply
        shutil.copy(authority().file, bundle)
        assert "pools.main: other TLS files" in redpool.reload()
        eventually(lambda: client.command("PING") == b"PONG")
        before = ids(server)
        assert "changes=none" in redpool.reload()
        always(lambda: before <= ids(server), 0.5, what="the same upstreams")
        shutil.copy(other_authority().file, bundle)
        redpool.reload()
        eventually(lambda: b"certificate verify failed" in client.command("PING"))
        bundle.write_text("no PEM")
        redpool.reload(refused=True)
    assert f"{SYSTEM} has no certificate" in redpool.log()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rsa", [False, True], ids=["ecdsa", "rsa"])
def test_keys_are_overwritten(launch, strict, tmp_path, rsa, threads):
    """The text of a private key is in no memory once a context has the key."""
    def renew() -> set:
        put(tmp_path, authority().issue(rsa=rsa))
        made = authority().issue("IP:127.0.0.1", rsa=rsa)
        for source, name in ((made.file, "server.pem"), (made.key, "server.key")):
            shutil.copy(source, tmp_path / name)
        files = (tmp_path / name for name in ("client.key", "server.key"))
        return {line for file in files for line in file.read_bytes().splitlines() if len(line) == 64}

    def is_gone(lines) -> bool:
        found = redpool.memory()
        return not any(line in found for line in lines)

    own = {"listenCertFile": str(tmp_path / "server.pem"), "listenKeyFile": str(tmp_path / "server.key")}
    first = renew()
    redpool = launch.redpool(
        strict, pool=secure(strict, **mine(tmp_path), **own), settings={"threads": threads},
        tls=True)
    redpool.warm_up()
    assert len(first) > 3 and is_gone(first)
    assert "changes=none" in redpool.reload()
    second = renew()
    assert "other TLS files" in redpool.reload()
    redpool.warm_up()
    assert is_gone(first | second)
    # A reload that is refused has read them as well.
    third = renew()
    redpool.reload(refused=True, tlsCaFile="/nowhere")
    assert is_gone(third)
    redpool.reload(tlsCaFile=authority().file)
    redpool.warm_up()
    assert is_gone(third)


def test_pools_with_equal_settings_share_a_context(launch, server):
    """With the system's authorities, a context takes about 2 MB."""
    def resident(count):
        pools = {
            f"p{index}": secure(server, tlsCaFile="", tlsVerify="ca", minIdle=0)
            | {"listen": f"unix:{server.folder}/{count}-{index}.sock"}
            for index in range(count)
        }
        redpool = launch.redpool(server, pool=secure(server, tlsCaFile=""), pools=pools)
        before = redpool.rss()
        redpool.reload(denyCommands=["GET"])
        return before

    one, many = resident(1), resident(20)
    assert many - one < 4 << 20, (one, many)


@pytest.mark.parametrize("threads", [1, 2])
def test_from_plain_to_tls_and_back(launch, server, threads):
    redpool = launch.redpool(
        server, pool={"upstream": server.tcp.text}, settings={"threads": threads}, console=True
    )

    def ports():
        return {row["laddr"].rsplit(":", 1)[1] for row in server.upstreams()}

    with Neighbours(redpool.tcp, clients=4) as neighbours:
        for pool in (secure(server), {"upstream": server.tcp.text}):
            if "tlsCaFile" not in pool:
                del redpool.file["pools"]["main"]["tlsCaFile"]
            redpool.reload(**pool)
            port = pool["upstream"].rsplit(":", 1)[1]
            eventually(lambda: ports() == {port}, what=f"all connections at {port}")
            neighbours.go_on()
            (row,) = redpool.show("POOLS")
            assert row["upstream"] == pool["upstream"], "with its scheme"


# Each key.


@key("tlsCaFile", NEW)
def test_ca_file(launch, server):
    redpool = launch.redpool(server, pool=secure(server))
    redpool.warm_up()
    before = ids(server)
    redpool.reload(tlsCaFile=other_authority().file)
    eventually(lambda: "self-signed certificate in certificate chain" in redpool.log())
    redpool.reload(tlsCaFile=authority().file)
    renewed(server, before)


@key("tlsVerify", NEW)
def test_verify(launch):
    server = launch.server(certificate=authority().issue("DNS:other.test"))
    redpool = launch.redpool(server, pool=secure(server, tlsVerify="ca"))
    redpool.warm_up()
    before = ids(server)
    redpool.reload(tlsVerify="full")
    eventually(lambda: "the certificate is not for 127.0.0.1" in redpool.log())
    redpool.reload(tlsVerify="none")
    renewed(server, before)


@key("tlsServerName", NEW)
def test_server_name(launch, server):
    redpool = launch.redpool(server, pool=secure(server))
    redpool.warm_up()
    before = ids(server)
    redpool.reload(tlsServerName="other.test")
    eventually(lambda: "the certificate is not for other.test" in redpool.log())
    redpool.reload(tlsServerName="cache.test")
    renewed(server, before)


@key("tlsCertFile", NEW)
@key("tlsKeyFile", NEW)
def test_certificate_and_key(launch, strict):
    first, second = authority().issue(), authority().issue()
    redpool = launch.redpool(
        strict, pool=secure(strict, tlsCertFile=first.file, tlsKeyFile=first.key)
    )
    redpool.warm_up()
    before = ids(strict)
    redpool.reload(refused=True, tlsKeyFile=second.key)
    assert "does not belong to the certificate in tlsCertFile" in redpool.log()
    redpool.reload(tlsCertFile=second.file)
    renewed(strict, before)


@key("tlsMinVersion", NEW)
def test_min_version(launch):
    server = launch.server("--tls-protocols", "TLSv1.2", certificate=server_certificate())
    redpool = launch.redpool(server, pool=secure(server))
    redpool.warm_up()
    before = ids(server)
    redpool.reload(tlsMinVersion="1.3")
    eventually(lambda: "tlsv1 alert protocol version" in redpool.log())
    redpool.reload(tlsMinVersion="1.2")
    renewed(server, before)


KEYS = {name for name, _ in TESTS if name.startswith("tls")}
