"""TLS for clients: who gets in, what passes, and how it fails."""

import contextlib
import functools
import shutil
import socket
import ssl
import subprocess
from xml.etree import ElementTree

import pytest

from harness.certificates import Authority, authority, server_certificate
from harness.daemon import listener_files, run_cli
from harness.tls import SecureSocket, client_context
from harness.waiting import always, eventually
from harness.wire import Closed, Connection, encode

pytestmark = pytest.mark.daemon
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
LOGGED = {"log": {"clients": True}}


@functools.cache
def client_certificate():
    return authority().issue("DNS:client.test")


@functools.cache
def foreign_authority():
    return Authority("foreign")


@functools.cache
def foreign_certificate():
    return foreign_authority().issue("DNS:client.test")


@pytest.fixture(scope="module")
def secure(keep):
    """A daemon with a TLS listener."""
    return keep.redpool(keep.server(), tls=True, settings=LOGGED, console=True)


@pytest.fixture(scope="module")
def verified(keep):
    """A daemon whose clients need a certificate."""
    pool = {"listenCaFile": authority().file, "listenClients": "verified"}
    return keep.redpool(keep.server(), tls=True, pool=pool, settings=LOGGED)


def tcp(redpool) -> socket.socket:
    return socket.create_connection((redpool.tcp.host, redpool.tcp.port), 20)


def connect(redpool, context=None, session=None) -> Connection:
    return Connection(redpool.tcp, made=SecureSocket(tcp(redpool), context, session=session))


def says(redpool, *words):
    eventually(
        lambda: any(all(word in line for word in words) for line in redpool.log().splitlines()),
        what=f"a line with {words}",
    )


def count(redpool, *words) -> int:
    return sum(all(word in line for word in words) for line in redpool.log().splitlines())


# --- What passes


@pytest.mark.parametrize("rsa", [False, True], ids=["ecdsa", "rsa"])
@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_everything_passes(launch, version, rsa):
    redpool = launch.redpool(
        launch.server(), tls=True, pool=listener_files(server_certificate(rsa))
    )
    context = client_context(version=version)
    with connect(redpool, context) as one, connect(redpool, context) as other:
        assert one.socket.version == version.name.replace("_", ".")
        large = bytes(range(256)) * 8192
        assert one.command("SET", "k", large) == b"OK"
        assert one.command("GET", "k") == large
        one.send(b"".join(encode("ECHO", n) for n in range(1000)))
        assert [one.read() for _ in range(1000)] == [b"%d" % n for n in range(1000)]
        assert one.command("WATCH", "k") == b"OK"
        assert one.command("MULTI") == b"OK"
        assert one.command("STRLEN", "k") == b"QUEUED"
        assert one.command("EXEC") == [len(large)]
        one.send(encode("BLPOP", "q", "0"))
        eventually(lambda: other.command("LPUSH", "q", "x") == 1 and one.read() == [b"q", b"x"])
        assert one.command("SUBSCRIBE", "c") == [b"subscribe", b"c", 1]
        assert other.command("PUBLISH", "c", "m") == 1
        assert one.read() == [b"message", b"c", b"m"]


def test_a_slow_reader_gets_everything(secure):
    large = bytes(range(256)) * 4096 * 8
    with connect(secure) as writer, connect(secure) as reader:
        reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        assert writer.command("SET", "large", large) == b"OK"
        reader.send(encode("GET", "large") * 3 + encode("PING"))
        assert writer.command("PING") == b"PONG"
        assert [reader.read() for _ in range(3)] == [large] * 3
        assert reader.read() == b"PONG"


def test_records_of_one_byte(secure):
    """Every split: of records by the network, and of commands by records."""
    with connect(secure) as client:
        for byte in encode("SET", "split", "value") + encode("GET", "split"):
            client.send(bytes([byte]))
        assert [client.read(), client.read()] == [b"OK", b"value"]


def test_an_end_behind_commands(secure):
    """close_notify ends the input; what came before is answered, and the answer ends as well."""
    with connect(secure) as client:
        client.send(encode("SET", "e", "1") + encode("GET", "e"))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_until_closed() == b"+OK\r\n$1\r\n1\r\n"
        assert client.socket.was_told


def test_a_blocked_client_that_leaves(secure):
    """The end of its stream is seen while its command blocks: no element is taken for it."""
    with connect(secure) as other:
        with connect(secure) as client:
            client.send(encode("BLPOP", "left", "0"))
            eventually(lambda: "blpop" in other.command("CLIENT", "LIST").decode())
            client.socket.shutdown(socket.SHUT_WR)
            assert client.read_until_closed() == b""
        assert other.command("RPUSH", "left", "x") == 1
        assert other.command("LLEN", "left") == 1


def test_the_end_is_announced(secure):
    with connect(secure) as client:
        assert client.command("QUIT") == b"OK"
        assert client.read_until_closed() == b""
        assert client.socket.was_told


def test_replies_before_the_end_are_whole(secure):
    """More than a socket's buffer waits when the client says QUIT."""
    large = b"x" * (4 << 20)
    with connect(secure) as client:
        assert client.command("SET", "whole", large) == b"OK"
        client.send(encode("GET", "whole") + encode("QUIT"))
        assert client.read() == large
        assert client.read() == b"OK"
        assert client.read_until_closed() == b""
        assert client.socket.was_told


def test_unix_sockets_and_other_addresses_stay_plain(secure):
    for address in (secure.tcp6, secure.unix):
        with Connection(address) as client:
            assert client.command("PING") == b"PONG"


def test_redis_cli(secure):
    done = subprocess.run(
        ["redis-cli", *secure.tcp.cli, "ECHO", "over TLS"], capture_output=True, timeout=60
    )
    assert done.stdout == b"over TLS\n", done


def test_ping(secure, verified, launch):
    """A probe shows no certificate; with another listener it uses that."""
    for redpool, code in ((secure, 0), (verified, 0)):
        assert run_cli("ping", "--config", redpool.config_path).returncode == code
    alone = launch.redpool(launch.server(), tls=True)
    alone.reload(listen=[alone.tcp.text])
    done = run_cli("ping", "--config", alone.config_path)
    assert done.returncode == 0 and "main: PONG" in done.stdout, done
    alone.reload(listenCaFile=authority().file, listenClients="verified")
    done = run_cli("ping", "--config", alone.config_path)
    assert done.returncode == 1 and "TLS" in done.stderr, done


def test_the_console_shows_it(secure):
    with connect(secure), Connection(secure.tcp6) as plain:
        with connect(secure, client_context(version=ssl.TLSVersion.TLSv1_2)) as client:
            assert client.command("PING") == plain.command("PING") == b"PONG"
            rows = secure.show("CLIENTS")
    shown = {(row["tls"], row["cipher"], row["resumed"]) for row in rows}
    assert ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384", "no") in shown, shown
    assert ("TLSv1.3", "TLS_AES_256_GCM_SHA384", "no") in shown, shown
    assert (None, None, None) in shown


def test_their_memory_is_a_term_of_the_formula(secure, launch):
    with connect(secure), Connection(secure.tcp6) as plain:
        assert plain.command("PING") == b"PONG"
        eventually(
            lambda: {row["term"]: row for row in secure.show("MEMORY")}["tls_clients"]["bytes"]
            == 40 << 10
        )
    without = launch.redpool(launch.server(), tls=False, console=True)
    assert "tls_clients" not in {row["term"] for row in without.show("MEMORY")}


def test_they_are_counted(secure):
    def counted():
        return {row["name"]: row["total"] for row in secure.show("STATS", "main")}

    before = counted()
    context = client_context()
    with connect(secure, context) as client:
        assert client.command("PING") == b"PONG"
        session = client.socket.session
    with connect(secure, context, session) as client:
        assert client.command("PING") == b"PONG"
    with tcp(secure) as client:
        client.sendall(encode("PING"))
        client.recv(4096)
    for name in (
        "tls_handshakes.client.full", "tls_handshakes.client.resumed",
        "tls_handshakes.client.failed", "tls_failures.client.not_tls", "clients_closed.tls_failed",
    ):
        eventually(lambda: counted()[name] == before[name] + 1, what=name)


def test_redis_py(secure):
    import redis

    with redis.Redis(**secure.tcp.redis_py) as client:
        assert client.set("py", "1") and client.get("py") == b"1"
        with client.pipeline() as pipe:
            assert pipe.incr("py").incr("py").execute() == [2, 3]
        with client.pubsub() as listener:
            listener.subscribe("py")
            assert listener.get_message(timeout=20)["type"] == "subscribe"
            assert client.publish("py", "m") == 1
            assert listener.get_message(timeout=20)["data"] == b"m"


# --- Who gets in


def refused(redpool, context, session=None):
    """Whether a client is closed before its first answer. With TLS 1.3 it hears of a refusal only
    behind its own handshake."""
    try:
        with connect(redpool, context, session) as client:
            client.command("PING")
    except (ssl.SSLError, Closed, OSError):
        return True
    return False


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_client_certificates(verified, version):
    closed = count(verified, "client.disconnected", "tls_failed")
    assert refused(verified, client_context(version=version))
    says(verified, "client.tls_failed", "peer did not return a certificate")
    assert refused(verified, client_context(foreign_certificate(), version))
    says(verified, "client.tls_failed", "unable to get local issuer certificate")
    eventually(lambda: count(verified, "client.disconnected", "tls_failed") == closed + 2)
    context = client_context(client_certificate(), version)
    with connect(verified, context) as client:
        assert client.command("PING") == b"PONG"
        assert not client.socket.is_resumed
        session = client.socket.session
    with connect(verified, context, session) as client:
        assert client.command("PING") == b"PONG"
        assert client.socket.is_resumed


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_a_session_does_not_outlive_its_certificate(verified, version):
    context = client_context(authority().issue("DNS:client.test", seconds=5), version)
    with connect(verified, context) as client:
        assert client.command("PING") == b"PONG"
        session = client.socket.session
    eventually(lambda: refused(verified, context), what="the certificate's end")
    assert refused(verified, context, session)
    says(verified, "client.tls_failed", "certificate has expired")


def test_a_long_hello_is_refused_by_its_header(launch):
    """OpenSSL takes the memory for a message when it has seen the length."""
    redpool = launch.redpool(launch.server(), tls=True)
    clients = [tcp(redpool) for _ in range(200)]
    before = redpool.rss()
    for client in clients:
        client.sendall(bytes.fromhex("1603010200" "01020000"))
    for client in clients:
        assert client.recv(100) == b""
        client.close()
    assert redpool.peak_rss() - before < 200 * (60 << 10)
    says(redpool, "client.tls_failed", "ClientHello of more than 16384 bytes")


def test_a_session_of_another_listener_lets_nobody_in(secure, verified):
    """A ticket that was given without a certificate does not replace one."""
    context = client_context()
    with connect(secure, context) as client:
        assert client.command("PING") == b"PONG"
        session = client.socket.session
    assert refused(verified, context, session)


def test_sessions_are_resumed(secure):
    context = client_context()
    with connect(secure, context) as client:
        assert client.command("PING") == b"PONG"
        session = client.socket.session
    with connect(secure, context, session) as client:
        assert client.command("PING") == b"PONG"
        assert client.socket.is_resumed


def s_client(redpool, *options, text=""):
    """What `openssl s_client` says. It sends the text."""
    return subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{redpool.tcp.port}", *options],
        input=text, capture_output=True, text=True, timeout=60,
    )


@pytest.mark.parametrize("version", ["-ssl3", "-tls1", "-tls1_1"])
def test_old_versions_are_refused(secure, version):
    done = s_client(secure, version, "-cipher", "ALL:@SECLEVEL=0")
    assert "Cipher is ECDHE" not in done.stdout, done.stdout


def test_no_compression_and_no_renegotiation(secure):
    done = s_client(secure, "-tls1_2", "-comp", text="R\nPING\n")
    assert "Compression: NONE" in done.stdout, done.stdout
    assert "no renegotiation" in done.stderr.lower(), done.stderr


@pytest.mark.parametrize("group, is_taken", [("X25519", True), ("P-384", True), ("ffdhe8192", False)])
def test_no_key_exchange_takes_long(secure, group, is_taken):
    """A stranger may choose the group; with some of them one handshake takes 90 ms."""
    done = s_client(secure, "-groups", group)
    assert ("Cipher is TLS_AES" in done.stdout) == is_taken, done.stdout


# --- What is no TLS


def test_sslscan(secure, verified):
    """What a scanner of others finds: no version before 1.2, nothing that weakens a connection."""
    if not shutil.which("sslscan"):
        pytest.skip("sslscan is not installed")
    for redpool in (secure, verified):
        done = subprocess.run(
            ["sslscan", "--xml=-", f"127.0.0.1:{redpool.tcp.port}"],
            capture_output=True, text=True, timeout=120,
        )
        found = ElementTree.fromstring(done.stdout).find("ssltest")
        offered = {
            f"{one.get('type')} {one.get('version')}": one.get("enabled")
            for one in found.iter("protocol")
        }
        assert offered == {
            "ssl 2": "0", "ssl 3": "0", "tls 1.0": "0", "tls 1.1": "0", "tls 1.2": "1", "tls 1.3": "1"}
        assert found.find("renegotiation").get("supported") == "0"
        # It does not speak of compression that OpenSSL is built without.
        for weakness in ("renegotiation", "compression"):
            assert {one.get("supported") for one in found.iter(weakness)} <= {"0"}, weakness
        assert {one.get("vulnerable") for one in found.iter("heartbleed")} == {"0"}
        ciphers = list(found.iter("cipher"))
        assert ciphers and min(int(one.get("bits")) for one in ciphers) >= 128
        assert {one.get("strength") for one in ciphers} <= {"strong", "acceptable"}
        assert "ffdhe" not in done.stdout


def test_a_plain_client_on_a_tls_port(secure):
    with tcp(secure) as client:
        client.sendall(encode("PING"))
        # An alert may come, but nothing of Redis.
        assert b"PONG" not in client.recv(4096)
    says(secure, "client.tls_failed", "reason=not_tls", "rediss://")
    says(secure, "client.disconnected", "reason=tls_failed")


@pytest.mark.parametrize("at_once", [True, False])
def test_a_tls_client_on_a_plain_port(launch, at_once):
    redpool = launch.redpool(launch.server(), tls=False, settings=LOGGED)
    if at_once:
        with pytest.raises(ssl.SSLError, match="WRONG_VERSION_NUMBER"):
            SecureSocket(tcp(redpool))
    else:
        with tcp(redpool) as client:
            client.sendall(b"\x16")
            always(lambda: redpool.log().count("tls_failed") == 0, 0.05)
            client.sendall(b"\x03\x01\x02\x00")
            assert client.recv(4096).startswith(b"-ERR Protocol error: TLS")
            assert client.recv(1) == b""
    says(redpool, "client.tls_failed", "no rediss://")
    says(redpool, "client.disconnected", "reason=tls_failed")


def test_a_first_word_that_looks_like_tls_later_on(launch):
    """Only the first bytes of a connection are looked at."""
    redpool = launch.redpool(launch.server(), tls=False)
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        client.send(b"\x16\x03\x01\r\n")
        assert b"unknown command" in client.read_raw()
        assert client.command("PING") == b"PONG"


def test_leaving_in_a_handshake_is_no_failure(secure):
    """As health checks of load balancers do."""
    before = count(secure, "client.disconnected", "client_closed")
    tcp(secure).close()
    eventually(lambda: count(secure, "client.disconnected", "client_closed") == before + 1)


def test_too_many_clients_hear_nothing(launch):
    redpool = launch.redpool(launch.server(), tls=True, settings={"maxClients": 1})
    with connect(redpool) as client:
        assert client.command("PING") == b"PONG"
        with tcp(redpool) as other:
            assert other.recv(100) == b""
        says(redpool, "client.rejected", "max_clients")
        assert client.command("PING") == b"PONG"


def test_handshakes_that_do_not_go_on(launch):
    """They end after 10 s, take no time meanwhile and no memory afterwards. Others are served."""
    redpool = launch.redpool(launch.server(), tls=True, settings=LOGGED)
    with connect(redpool) as client:
        assert client.command("PING") == b"PONG"
        rss, used = redpool.rss(), redpool.cpu_seconds()
        stopped = [tcp(redpool) for _ in range(200)]
        for one in stopped[:100]:
            one.sendall(b"\x16")
        hello = first_flight()
        for one in stopped[100:]:
            one.sendall(hello[:-1])
        for one in stopped:
            one.settimeout(30)
            assert one.recv(1) == b""
            one.close()
        eventually(lambda: count(redpool, "client.disconnected", "tls_failed") == 200)
        assert count(redpool, "client.tls_failed", "no TLS handshake within 10 s") > 0
        assert client.command("PING") == b"PONG"
        assert redpool.cpu_seconds() - used < 1
        eventually(lambda: redpool.rss() - rss < 3 << 20, what="the memory being back")


def first_flight() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_a_drain_does_not_wait_for_handshakes(launch):
    redpool = launch.redpool(launch.server(), tls=True)
    with connect(redpool) as client, tcp(redpool) as idle:
        assert client.command("PING") == b"PONG"
        assert redpool.stop() == 0
        assert client.read_until_closed() == b""
        assert client.socket.was_told
        assert idle.recv(1) == b""
