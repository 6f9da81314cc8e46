"""Clients that have to log in to Redpool: clientPasswordFile and clientUsersFile."""

import hashlib
import itertools
import random
import re
import socket

import pytest

from harness.daemon import run_cli
from harness.tls import SecureSocket
from harness.waiting import always, eventually
from harness.wire import Closed, Connection, ErrorReply, encode

pytestmark = pytest.mark.daemon

SECRET = "canary-s3cret-9a2e"
BOB = "canary-bob-77d1"
NOAUTH = b"NOAUTH Authentication required."
WRONGPASS = b"WRONGPASS invalid username-password pair or user is disabled."
THREADS = pytest.mark.parametrize("threads", [1, 2])


@pytest.fixture
def files(tmp_path):
    """Writes the two files and returns the pool keys that use them."""

    def made(password=SECRET, users=f"bob {BOB}\n"):
        keys = {}
        for key, text in (("clientPasswordFile", password), ("clientUsersFile", users)):
            if text is None:
                continue
            path = tmp_path / key
            path.write_text(text + "\n")
            path.chmod(0o600)
            keys[key] = str(path)
        return keys

    return made


def logged_in(redpool, *credentials):
    client = redpool.connect()
    assert client.command("AUTH", *(credentials or (SECRET,))) == b"OK"
    return client


@THREADS
def test_who_may_come_in(launch, files, threads):
    server = launch.server()
    redpool = launch.redpool(server, pool=files(), settings={"threads": threads})
    with redpool.connect() as client:
        assert client.command("SET", "k", "1") == NOAUTH
        assert client.command("AUTH", "default", BOB) == WRONGPASS
        assert client.command("AUTH", "nobody", SECRET) == WRONGPASS
        assert client.command("AUTH", BOB) == WRONGPASS
        assert client.command("GET", "k") == NOAUTH
        assert client.command("AUTH", SECRET) == b"OK"
        assert client.command("GET", "k") is None
        assert client.command("AUTH", "wrong") == WRONGPASS
        assert client.command("SET", "k", "1") == b"OK", "who is logged in stays"
    with redpool.connect() as client:
        assert client.command("HELLO", "3", "AUTH", "bob", BOB)[b"proto"] == 3
        assert client.command("ACL", "WHOAMI") == b"default", "upstream it is the pool's user"
        assert b" user=bob " in client.command("CLIENT", "INFO")
        assert client.command("RESET") == b"RESET"
        assert client.command("GET", "k") == NOAUTH
        assert client.command("HELLO", "3").startswith(b"NOAUTH HELLO must be called")
        assert client.command("HELLO", "2", "AUTH", "bob", BOB, "SETNAME", "me")[1] in (
            b"redis", b"valkey")
        assert client.command("CLIENT", "GETNAME") == b"me"
    # No password reached the server, nor the log.
    assert server.command("ACL", "LOG") == []
    assert SECRET not in redpool.log() and BOB not in redpool.log()


def test_digest(launch, files):
    digest = hashlib.sha256(BOB.encode()).hexdigest()
    redpool = launch.redpool(launch.server(), pool=files(None, f"bob #{digest}\nbob other"))
    for password in (BOB, "other"):
        logged_in(redpool, "bob", password).close()
    with redpool.connect() as client:
        assert client.command("AUTH", "bob", "#" + digest) == WRONGPASS
        assert client.command("AUTH", BOB) == WRONGPASS, "there is no user default"


def test_the_pool_has_its_own_user(launch, files, tmp_path):
    server = launch.server()
    server.command("ACL", "SETUSER", "app", "on", ">upstream", "~app:*", "&*", "+@all")
    secret = tmp_path / "upstream"
    secret.write_text("upstream\n")
    pool = files() | {"username": "app", "passwordFile": str(secret)}
    redpool = launch.redpool(server, pool=pool)
    with redpool.connect() as client:
        assert client.command("AUTH", "app", "upstream") == WRONGPASS, "not a user of Redpool's"
        assert client.command("AUTH", "bob", BOB) == b"OK"
        assert client.command("ACL", "WHOAMI") == b"app"
        assert client.command("SET", "other", "1").startswith(b"NOPERM")
        assert client.command("SET", "app:k", "1") == b"OK"
        # Nor does a client become another user of the server.
        assert client.command("AUTH", "default", "x") == WRONGPASS
        assert client.command("ACL", "WHOAMI") == b"app"
    assert {row["user"] for row in server.upstreams()} == {"app"}


# Fail closed.


@THREADS
def test_nothing_of_a_stranger_reaches_the_server(launch, files, threads):
    server = launch.server()
    middle = launch.middleman(server)
    pool = files() | {"pingInterval": "0s", "idleTimeout": "0s", "maxLifetime": "0s", "minIdle": 2}
    redpool = launch.redpool(middle, pool=pool, settings={"threads": threads})
    with logged_in(redpool) as client:
        assert client.command("PING") == b"PONG"
    eventually(lambda: middle.accepted >= 2)
    always(lambda: middle.received == middle.received, seconds=0.2)
    before = (middle.received, middle.accepted)
    rng = random.Random(1)
    names = [
        "GET", "SET", "MULTI", "EXEC", "SUBSCRIBE", "MONITOR", "CLIENT", "DEBUG", "SYNC", "EVAL",
        "FOO", "BLPOP", "WATCH", "SELECT", "RESET", "HELLO", "AUTH", "CLIENT\0", "FLUSHALL", "WAIT",
        "SHUTDOWN", "SCRIPT", "PING", "CONFIG", "ASKING", "",
    ]
    words = ["x", "3", "2", "AUTH", "SETNAME", "bob", "default", "ON", "REPLY", "OFF", "SKIP", "0",
             "KILL", "LIST", "NOSAVE", SECRET, "\0", " ", "\r\n", "y" * 16384]
    for _ in range(60):
        with redpool.connect() as client:
            sent = b""
            for _ in range(rng.randint(1, 12)):
                count = rng.randint(0, 11)
                command = [rng.choice(names)] + [rng.choice(words) for _ in range(count)]
                if SECRET in command and command[0] in ("AUTH", "HELLO"):
                    continue
                one = encode(*command)
                if rng.random() < 0.2:
                    one = one[: rng.randint(0, len(one))]
                if rng.random() < 0.1:
                    one = b" ".join(word.encode() for word in command) + b"\r\n"
                sent += one
            for start in range(0, len(sent), 5000):
                try:
                    client.send(sent[start : start + 5000])
                except OSError:
                    break
            client.shutdown() if hasattr(client, "shutdown") else None
    with redpool.connect() as client:
        assert client.command("GET", "k") == NOAUTH
    assert (middle.received, middle.accepted) == before


def test_no_password_passes_on(launch, files):
    """Not in any form, place or state of the client."""
    server = launch.server()
    redpool = launch.redpool(server, pool=files() | {"denyCommands": []})
    logins = [
        ("AUTH", SECRET), ("AUTH", "bob", BOB), ("AUTH", "bob", SECRET), ("AUTH", BOB, SECRET, "x"),
        ("HELLO", "3", "AUTH", "bob", BOB), ("HELLO", "3", "AUTH", "bob", SECRET),
        ("HELLO", "4", "AUTH", "bob", BOB), ("HELLO", "3", "SETNAME", "x", "AUTH", "bob", BOB),
        ("HELLO", "3", "AUTH", "bob", BOB, "FOO"), ("HELLO", "x", "AUTH", BOB), ("AUTH\0", SECRET),
        ("AUTH", SECRET + "x" * 200_000), ("HELLO", "3", "AUTH", "bob", SECRET + "x" * 200_000),
    ]
    states = [
        [], [("MULTI",)], [("WATCH", "k")], [("SUBSCRIBE", "c")], [("HELLO", "3"), ("SUBSCRIBE", "c")],
        [("CLIENT", "REPLY", "OFF")], [("CLIENT", "REPLY", "OFF"), ("MULTI",)],
        [("MULTI",), ("SUBSCRIBE", "c")], [("MONITOR",)], [("CLIENT", "TRACKING", "ON")],
        [("DEBUG", "SET-ACTIVE-EXPIRE", "1")],
    ]
    with server.connect() as monitor:
        assert monitor.command("MONITOR") == b"OK"
        for state, login in itertools.product(states, logins):
            with logged_in(redpool) as client:
                client.send(b"".join(encode(*command) for command in [*state, login, login]))
                client.send(encode("EXEC") + encode("QUIT"))
                client.read_until_closed()
        server.command("ECHO", "the end")
        seen = b""
        while b"the end" not in seen:
            seen += monitor.read_raw()
    assert b"canary" not in seen
    # MONITOR hides AUTH. The server would have counted refusals, and knows no bob.
    log = server.command("ACL", "LOG")
    assert log == [], log


def test_a_long_password(launch, files):
    """None is as long as that, so it is as wrong as another."""
    long = "x" * 200_000
    wrong = [
        ("AUTH", long), ("AUTH", "bob", long), ("AUTH", long, BOB), ("HELLO", "3", "AUTH", "bob", long),
        ("HELLO", "2", "AUTH", long, BOB), ("HELLO", "3", "SETNAME", "me", "AUTH", "bob", long),
        ("HELLO", "3", "AUTH", "bob", long, "SETNAME", "me"),
    ]
    redpool = launch.redpool(launch.server(), pool=files(), console=True)
    with logged_in(redpool) as client:
        for words in wrong:
            assert client.command(*words) == WRONGPASS, words[:-1]
        assert client.command("AUTH", "a", "b", long) == b"ERR syntax error"
        assert client.command("HELLO", "4", "AUTH", "bob", long).startswith(b"NOPROTO")
        assert client.command("HELLO", "x", "AUTH", "bob", long).startswith(b"ERR Protocol version")
        # The rest of it may be there or be still to come: it is answered alike.
        hello = encode("HELLO", "3", "AUTH", "bob", BOB, "SETNAME", long)
        for part in (len(hello), 1000, 140_000, len(hello) - 1):
            client.send(hello[:part])
            if part < len(hello):
                eventually(lambda: redpool.has_read(client), what="the first part to be read")
            client.send(hello[part:])
            assert b"too long" in client.read(), part
        assert b" user=default " in client.command("CLIENT", "INFO")
        assert client.command("SUBSCRIBE", "c") == [b"subscribe", b"c", 1]
        refused = client.command("HELLO", "3", "AUTH", "bob", long)
        assert refused.startswith(b"ERR Can't execute 'hello'"), refused
    counts = {row["name"]: row["total"] for row in redpool.show("STATS")}
    assert counts["client_auth_failures"] == len(wrong), counts
    assert "client.auth_failed" in redpool.log()


@THREADS
def test_a_pipe_stays_logged_in(launch, files, threads):
    """In a pipe, where replies pass unread, AUTH and RESET are refused."""
    redpool = launch.redpool(
        launch.server(), pool=files() | {"denyCommands": []}, settings={"threads": threads})
    with logged_in(redpool) as client:
        assert client.command("MULTI") == b"OK"
        assert client.command("SUBSCRIBE", "c") in (b"QUEUED",)
        for command in (("AUTH", SECRET), ("RESET",), ("HELLO", "3", "AUTH", "bob", BOB)):
            reply = client.command(*command)
            assert isinstance(reply, ErrorReply) and b"COMMAND_DENIED_BY_PROXY" in reply, reply


@THREADS
def test_a_name_that_is_an_option(launch, files, threads):
    """The name `auth` is no option. Judging such a HELLO ends."""
    redpool = launch.redpool(launch.server(), pool=files(), settings={"threads": threads})
    with redpool.connect() as client:
        login = ("HELLO", "3", "AUTH", "bob", BOB, "SETNAME", "auth")
        assert client.command(*login)[b"proto"] == 3
        assert client.command("CLIENT", "GETNAME") == b"auth"
        assert client.command("HELLO", "3", "SETNAME", "AUTH")[b"proto"] == 3
        assert client.command("CLIENT", "GETNAME") == b"AUTH"


def test_a_client_that_does_not_read(launch, files):
    redpool = launch.redpool(launch.server(), pool=files())
    with redpool.connect() as client, pytest.raises((OSError, Closed)):
        for _ in range(2_000):
            client.send(encode("GET", "k") * 1_000)
    assert "client without a login that does not read" in redpool.log()


@THREADS
def test_what_was_sent_before_a_reset(launch, files, threads):
    """A long reply before RESET does not count against the client that RESET has logged out."""
    redpool = launch.redpool(
        launch.server(), pool=files(), settings={"threads": threads}, console=True)
    with Connection(redpool.unix) as client:
        assert client.command("AUTH", SECRET) == b"OK"
        assert client.command("SET", "big", "x" * 1_000_000) == b"OK"
        client.send(encode("GET", "big") + encode("RESET") + encode("GET", "k"))
        eventually(lambda: all(row["reason"] == "login" for row in redpool.show("CLIENTS")))
        client.send(encode("AUTH", SECRET) + encode("PING"))
        assert len(client.read()) == 1_000_000
        assert [client.read() for _ in range(4)] == [b"RESET", NOAUTH, b"OK", b"PONG"]
        # What comes behind RESET counts.
        client.send(encode("GET", "big") + encode("RESET"))
        with pytest.raises((OSError, Closed)):
            for _ in range(2_000):
                client.send(encode("GET", "k") * 1_000 + encode("RESET"))
    assert "client without a login that does not read" in redpool.log()


def test_silent_strangers_are_closed(launch, files):
    redpool = launch.redpool(launch.server(), pool=files() | {"clientIdleTimeout": "100ms"})
    with redpool.connect() as client:
        assert client.command("PING") == NOAUTH
        with pytest.raises(Closed):
            client.read()


@THREADS
def test_strangers_hold_up_no_drain(launch, files, threads):
    redpool = launch.redpool(launch.server(), pool=files(), settings={"threads": threads})
    with redpool.connect() as silent, redpool.connect() as stranger, logged_in(redpool) as client:
        assert stranger.command("PING") == NOAUTH
        assert client.command("RESET") == b"RESET"
        stranger.send(encode("AUTH", SECRET)[:-3])
        assert redpool.stop() == 0
        for one in (silent, client):
            with pytest.raises(Closed):
                one.read()
    assert "cut=" in redpool.log()


def test_with_tls(launch, files):
    redpool = launch.redpool(launch.server(), tls=True, pool=files())

    def connect():
        return Connection(redpool.tcp, made=SecureSocket(
            socket.create_connection((redpool.tcp.host, redpool.tcp.port), 20)))

    with connect() as client:
        assert client.command("PING") == NOAUTH
        assert client.command("AUTH", "bob", SECRET) == WRONGPASS
        assert client.command("HELLO", "3", "AUTH", "bob", BOB)[b"proto"] == 3
        assert client.command("SET", "k", "x" * 100_000) == b"OK"
        assert client.command("RESET") == b"RESET"
        assert client.command("GET", "k") == NOAUTH


def test_a_tls_client_on_a_plain_port(launch, files):
    """It hears so at once, as where nobody has to log in."""
    redpool = launch.redpool(launch.server(), pool=files())
    with redpool.connect() as client:
        client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        assert b"TLS on a port without TLS" in client.read_until_closed()


def test_a_server_that_wants_a_login_too(launch, files):
    """Without `passwordFile` nobody is logged in there. The check says so, and nothing passes on."""
    server = launch.server(password="other")
    redpool = launch.redpool(server, pool=files())
    done = run_cli("check", "--online", redpool.config_path)
    assert done.returncode == 1 and "clients log in to Redpool only" in done.stderr, done
    with logged_in(redpool) as client:
        assert client.command("GET", "k") == NOAUTH
        assert client.command("AUTH", "other") == WRONGPASS
        assert client.command("HELLO", "3", "AUTH", "default", "other") == WRONGPASS
        line = b"AUTH " + b" ".join([b"canary-line"] * 12) + b"\r\n"
        client.send(line)
        assert client.read() == b"ERR syntax error"
    assert all(b"canary-line" not in str(row).encode() for row in server.command("ACL", "LOG"))


# The log and the numbers.


def test_what_is_told(launch, files):
    redpool = launch.redpool(launch.server(), pool=files(), console=True, settings={
        "log": {"stats": "1s"}})
    with redpool.connect() as client:
        for _ in range(20):
            client.command("AUTH", "bob", "wrong")
            client.command("AUTH", SECRET + "x", "bob")
        peer = "%s:%d" % client.socket.getsockname()[:2]
        eventually(lambda: redpool.log().count("event=client.auth_failed") >= 2)
        lines = [line for line in redpool.log().splitlines() if "client.auth_failed" in line]
        assert all(f"peer={peer}" in line and "pool=main" in line for line in lines), lines
        assert any("reason=password" in line and "user bob" in line for line in lines), lines
        assert any("reason=user" in line for line in lines), lines
        assert len(lines) == 2 and SECRET not in redpool.log(), lines
        [row] = redpool.show("CLIENTS")
        assert (row["user"], row["reason"]) == ("default", "login")
        assert client.command("AUTH", "bob", BOB) == b"OK"
        [row] = redpool.show("CLIENTS")
        assert row["user"] == "bob"
        assert b"user=bob" in client.command("CLIENT", "LIST")
    eventually(lambda: "auth_failed=40" in redpool.log(), what="the number in the statistics")


def test_kill_by_user(launch, files):
    redpool = launch.redpool(launch.server(), pool=files())
    with logged_in(redpool) as client, logged_in(redpool, "bob", BOB) as bob:
        assert client.command("CLIENT", "KILL", "USER", "bob") == 1
        with pytest.raises(Closed):
            bob.read()
        assert client.command("PING") == b"PONG"


# Reload.


@THREADS
def test_reload(launch, files, threads):
    server = launch.server()
    redpool = launch.redpool(
        server, pool=files(users=f"bob {BOB}\neve e"), settings={"threads": threads})
    with logged_in(redpool) as client, logged_in(redpool, "bob", BOB) as bob, \
            logged_in(redpool, "eve", "e") as eve, redpool.connect() as stranger:
        assert stranger.command("PING") == NOAUTH
        files("another", "bob changed\nann a")
        redpool.reload()
        # Who is logged in stays, unless the user is gone.
        assert client.command("PING") == b"PONG"
        assert bob.command("PING") == b"PONG"
        with pytest.raises(Closed):
            eve.read()
        # The next login is judged by the new files.
        assert client.command("AUTH", SECRET) == WRONGPASS
        assert bob.command("AUTH", "bob", BOB) == WRONGPASS
        assert bob.command("AUTH", "ann", "a") == b"OK"
        assert stranger.command("AUTH", SECRET) == WRONGPASS
        # A file that cannot be used changes nothing.
        files("third", "bob\n")
        redpool.reload(refused=True)
        assert "clientUsersFile:1: has a name and no password" in redpool.log()
        assert stranger.command("AUTH", "third") == WRONGPASS
        assert stranger.command("AUTH", "another") == b"OK"
        assert stranger.command("RESET") == b"RESET"
        # Without the files nobody has to log in.
        redpool.reload(clientPasswordFile="", clientUsersFile="")
        assert stranger.command("PING") == b"PONG"
        assert client.command("PING") == b"PONG"
        # With one again, present clients are as before `requirepass` was set.
        redpool.reload(**files(SECRET, None))
        assert stranger.command("PING") == b"PONG"
        assert stranger.command("RESET") == b"RESET"
        assert stranger.command("PING") == NOAUTH
    with redpool.connect() as late:
        assert late.command("PING") == NOAUTH
    assert SECRET not in redpool.log()


@THREADS
def test_reload_while_logins_wait(launch, files, threads):
    """An accepted HELLO is not judged again. What was meant for Redpool reaches no server."""
    server = launch.server()
    redpool = launch.redpool(
        server, pool=files(), settings={"threads": threads}, console=True)
    hello = encode("HELLO", "3", "AUTH", "bob", BOB)
    with redpool.console() as console, redpool.connect() as bob, redpool.connect() as ann, \
            logged_in(redpool) as client, logged_in(redpool) as other:
        assert console.command("PAUSE", "main") == b"OK"
        bob.send(hello + encode("GET", "k"))
        client.send(encode("GET", "k") + hello)
        eventually(lambda: sum(row["state"] == "waiting" for row in redpool.show("CLIENTS")) == 2)
        redpool.reload(**files(SECRET, "bob changed"))
        assert console.command("RESUME", "main") == b"OK"
        assert bob.read()[b"proto"] == 3, "it was accepted when it came"
        assert bob.read() is None
        assert bob.command("CLIENT", "INFO").find(b" user=bob ") > 0
        assert client.read() is None
        assert client.read() == WRONGPASS, "it comes only now"
        redpool.reload(**files())
        # Now without the files.
        assert console.command("PAUSE", "main") == b"OK"
        ann.send(hello + encode("AUTH", SECRET))
        client.send(encode("GET", "k") + encode("AUTH", SECRET) + hello + encode("HELLO", "3"))
        other.send(hello[:-4])
        eventually(lambda: sum(row["state"] == "waiting" for row in redpool.show("CLIENTS")) == 2)
        redpool.reload(clientPasswordFile="", clientUsersFile="")
        other.send(hello[-4:])
        assert other.read() == WRONGPASS
        assert console.command("RESUME", "main") == b"OK"
        assert ann.read()[b"proto"] == 3
        assert ann.read() == WRONGPASS
        assert client.read() is None
        assert [client.read(), client.read()] == [WRONGPASS, WRONGPASS]
        assert client.read()[b"proto"] == 3
    assert server.command("ACL", "LOG") == []


@THREADS
def test_a_user_of_the_server_logs_in_to_redpool(launch, files, threads):
    """Under a hold too: when it ends, the client is the pool's user."""
    server = launch.server()
    server.command("ACL", "SETUSER", "boss", "on", ">b", "~*", "&*", "+@all")
    redpool = launch.redpool(server, settings={"threads": threads})
    login = ("AUTH", "bob", BOB)
    holds = [
        [("MULTI",), login, ("EXEC",)],
        [("WATCH", "k"), login, ("UNWATCH",)],
        [("WATCH", "k"), ("MULTI",), login, ("EXEC",)],
        [("HELLO", "3"), ("SUBSCRIBE", "c"), login, ("UNSUBSCRIBE", "c")],
        [("MULTI",), ("HELLO", "3", *login), ("EXEC",)],
        [login],
    ]
    clients = [redpool.connect() for _ in holds]
    for client in clients:
        assert client.command("AUTH", "boss", "b") == b"OK"
        assert client.command("ACL", "WHOAMI") == b"boss"
    redpool.reload(**files())
    for client, hold in zip(clients, holds, strict=True):
        with client:
            assert client.command("ACL", "WHOAMI") == b"boss"
            for command in hold:
                client.command(*command)
            eventually(lambda: client.command("ACL", "WHOAMI") == b"default", what=str(hold))
            assert b" user=bob " in client.command("CLIENT", "INFO")


@THREADS
def test_a_login_in_a_transaction(launch, files, threads):
    """It takes effect with EXEC, and with nothing else."""
    redpool = launch.redpool(launch.server(), pool=files(), settings={"threads": threads})

    def user(client) -> bytes:
        return re.search(rb" user=(\S+)", client.command("CLIENT", "INFO"))[1]

    def begin(client, *login):
        assert client.command("MULTI") == b"OK"
        assert client.command(*login) == b"QUEUED"

    logins = [
        ("AUTH", "bob", BOB), ("HELLO", "2", "AUTH", "bob", BOB), ("HELLO", "3", "AUTH", "bob", BOB),
        ("HELLO", "2", "SETNAME", "me", "AUTH", "bob", BOB),
        ("HELLO", "3", "AUTH", "bob", BOB, "SETNAME", "me"),
    ]
    for login in logins:
        with logged_in(redpool) as client, logged_in(redpool) as other:
            begin(client, *login)
            assert client.command("DISCARD") == b"OK"
            assert user(client) == b"default" and client.command("CLIENT", "GETNAME") is None
            # The server discards the transaction by itself.
            begin(client, *login)
            assert isinstance(client.command("NO-SUCH-COMMAND"), ErrorReply)
            assert client.command("EXEC").startswith(b"EXECABORT")
            assert user(client) == b"default"
            # Somebody has changed the key.
            assert client.command("WATCH", "k") == b"OK"
            begin(client, *login)
            assert other.command("INCR", "k") > 0
            assert client.command("EXEC") is None
            assert user(client) == b"default" and client.command("CLIENT", "GETNAME") is None
            begin(client, *login)
            assert client.command("GET", "none") == b"QUEUED"
            first, last = client.command("EXEC")
            assert last is None and (first == b"OK" or b"proto" in first)
            assert user(client) == b"bob"
            name = b"me" if "SETNAME" in login else None
            assert client.command("CLIENT", "GETNAME") == name
            assert client.command("GET", "none") is None


@THREADS
def test_a_user_is_removed_before_exec(launch, files, threads):
    redpool = launch.redpool(
        launch.server(), pool=files(users=f"bob {BOB}\neve e"),
        settings={"threads": threads, "log": {"clients": True}})
    with logged_in(redpool, "bob", BOB) as client:
        assert client.command("MULTI") == b"OK"
        assert client.command("AUTH", "eve", "e") == b"QUEUED"
        assert client.command("SET", "k", "1") == b"QUEUED"
        files()
        redpool.reload()
        assert client.command("EXEC") == [WRONGPASS, b"OK"]
        assert b" user=bob " in client.command("CLIENT", "INFO")
    # HELLO has changed the protocol, which cannot be taken back.
    files(users=f"bob {BOB}\neve e")
    redpool.reload()
    with logged_in(redpool, "bob", BOB) as client:
        assert client.command("MULTI") == b"OK"
        assert client.command("HELLO", "3", "AUTH", "eve", "e") == b"QUEUED"
        assert client.command("SET", "k", "1") == b"QUEUED"
        files()
        redpool.reload()
        assert client.command("GET", "k") == b"QUEUED", "it is not logged in yet"
        client.send(encode("EXEC"))
        client.read_until_closed()
    eventually(lambda: "reason=user_removed" in redpool.log())


# Nobody is let in by accident.


def test_start_rule(launch, files, write, tmp_path):
    server = launch.server()
    secret = tmp_path / "secret"
    secret.write_text("x\n")
    open_pool = {"listen": "0.0.0.0:1", "upstream": server.tcp.text}
    done = run_cli("run", "--config", write(open_pool))
    assert done.returncode == 78, done
    assert "pools.main.listen: 0.0.0.0:1 is open to other machines" in done.stderr
    ways = (
        "set clientPasswordFile or clientUsersFile, or use rediss:// with listenClients: verified, "
        "or set allowUnauthenticated: true")
    assert ways in done.stderr
    assert run_cli("check", write(open_pool)).returncode == 78
    for keys in (files(), {"allowUnauthenticated": True}, {"upstream": "192.0.2.1:1"}):
        assert run_cli("check", write(open_pool | keys)).returncode == 0, keys
    lent = open_pool | {"upstream": "192.0.2.1:1", "passwordFile": str(secret)}
    assert "its login (passwordFile)" in run_cli("check", write(lent)).stderr


@pytest.mark.parametrize("password", [" ", "\t  ", "\0", " \0\r"])
def test_blanks_are_no_password(launch, files, write, password):
    pool = {"listen": "127.0.0.1:1", "upstream": "127.0.0.1:2"} | files(password, None)
    done = run_cli("check", write(pool))
    assert done.returncode == 78 and "its first line is empty" in done.stderr, done


def test_start_rule_at_reload(launch, files):
    redpool = launch.redpool(launch.server(), pool=files())
    redpool.reload(refused=True, clientPasswordFile="", clientUsersFile="",
                   listen=[redpool.tcp.text, f"0.0.0.0:{redpool.tcp.port + 1}"])
    assert "is open to other machines" in redpool.log()
    with redpool.connect() as client:
        assert client.command("PING") == NOAUTH, "nothing was changed"


def test_ping_of_a_pool_with_logins(launch, files):
    redpool = launch.redpool(launch.server(), pool=files())
    done = run_cli("ping", "--config", redpool.config_path)
    assert done.returncode == 0 and "NOAUTH" in done.stdout, done


def test_secrets_are_overwritten(launch, files, tmp_path):
    """A password that Redpool has read is in no memory when it is not needed."""
    server = launch.server(password="canary-upstream-1")
    server.command("ACL", "SETUSER", "default", "on", ">canary-upstream-2")
    secret = tmp_path / "upstream"
    secret.write_text("canary-upstream-1\n")
    redpool = launch.redpool(server, pool=files() | {"passwordFile": str(secret)})
    eventually(lambda: server.client_count() >= 1)
    found = redpool.memory()
    assert b"canary-upstream-1" in found, "the one that it needs"
    # Of clients' passwords it has digests only.
    assert SECRET.encode() not in found and BOB.encode() not in found
    secret.write_text("canary-upstream-2\n")
    redpool.reload()
    eventually(lambda: b"canary-upstream-1" not in redpool.memory(), what="the old one gone")
