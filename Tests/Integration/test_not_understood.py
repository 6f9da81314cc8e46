"""Commands that can change a connection and are not understood: alone, on an upstream that is
closed behind them; and what else is decided towards the safe side."""

import time

import pytest

from harness.server import RedisServer
from harness.waiting import eventually
from harness.wire import Closed, Connection, encode

UNCLEAR = [
    ("SELECT", "01"), ("SELECT", "1\0"), ("SELECT", "99999999999"), ("SELECT",),
    ("HELLO", "4"), ("HELLO", "3", "NEW"), ("HELLO", "+3"), ("AUTH",), ("AUTH", "a", "b", "c"),
    ("MULTI", "x"), ("WATCH",), ("SUBSCRIBE",), ("PSUBSCRIBE",), ("MONITOR", "x"),
    ("RESET", "x"), ("READONLY", "x"), ("READWRITE", "x"), ("ASKING", "x"),
    ("CLIENT", "REPLY", "MAYBE"), ("CLIENT", "REPLY"),
    ("CLIENT", "TRACKING", "ON", "NEW"),
    ("CLIENT", "NO-EVICT", "ON", "x"), ("CLIENT", "NO-EVICT", "MAYBE"),
    ("CLIENT", "SETNAME"), ("CLIENT", "SETINFO", "LIB", "x"), ("CLIENT", "ID", "x"),
    ("CLIENT", "LIST", "NEW", "x"), ("CLIENT", "KILL", "NEW", "x"), ("CLIENT", "UNBLOCK", "01"),
    ("CLIENT", "PAUSE", "x"), ("SCRIPT", "KILL", "x"), ("FUNCTION", "STATS", "x"),
]


def connections(server) -> int:
    return int(server.info("total_connections_received"))


@pytest.fixture(scope="module")
def server(request):
    made = RedisServer()
    request.addfinalizer(made.close)
    return made


@pytest.mark.parametrize("command", UNCLEAR, ids=lambda c: " ".join(c).replace("\0", "\\0"))
def test_it_costs_an_upstream_and_reaches_no_other(launch, server, command):
    redpool = launch.redpool(server, pool={"minIdle": 2})
    # A pin does not take the only one.
    eventually(lambda: len(server.upstreams()) == 2)
    with redpool.connect() as client, redpool.connect() as other:
        other.command("SET", "k", "v")
        # The last one in use is the first to be lent: it carries the command, and is closed.
        used = {row["id"] for row in server.upstreams()}
        with server.connect() as direct:
            expected = direct.command(*command)
        client.send(encode(*command) + encode("GET", "k"))
        assert client.read() == expected
        assert client.read() == b"v"
        assert other.command("GET", "k") == b"v"
        eventually(lambda: used - {row["id"] for row in server.upstreams()})


def test_one_that_is_understood_costs_none(launch, server):
    redpool = launch.redpool(server)
    with redpool.connect() as client:
        client.command("SET", "k", "v")
        before = connections(server)
        for command in (
            ("SELECT", "1"), ("SELECT", "99"), ("SELECT", "0"), ("HELLO", "3"), ("HELLO", "2"),
            ("AUTH", "bob", "no"), ("CLIENT", "REPLY", "on\0x"), ("CLIENT", "LIST", "TYPE\0", "normal"),
            ("CLIENT", "SETNAME", "n"), ("CLIENT", "KILL", "ID", "99999"), ("WATCH", "k"), ("UNWATCH",),
            ("MULTI",), ("EXEC",), ("CLIENT", "NO-EVICT", "on\0"), ("CLIENT", "NO-EVICT", "OFF"),
            ("RESET",),
        ):
            client.command(*command)
        # One pin beside the shared upstream.
        assert connections(server) <= before + 3


def test_in_a_transaction_its_upstream_is_closed_afterwards(launch, server):
    redpool = launch.redpool(server)
    with redpool.connect() as client:
        assert client.command("MULTI") == b"OK"
        held = [row["id"] for row in server.upstreams() if row["multi"] != "-1"]
        assert client.command("SELECT", "01") == b"QUEUED"
        assert client.command("SET", "k", "w") == b"QUEUED"
        assert client.command("EXEC")[1] == b"OK"
        eventually(lambda: held[0] not in {row["id"] for row in server.upstreams()})
        assert client.command("GET", "k") == b"w"


def test_there_are_ten_a_second_and_the_rest_waits_in_line(launch, server):
    redpool = launch.redpool(server, pool={"poolTimeout": "400ms", "maxOpen": 64})
    redpool.warm_up()
    clients = [redpool.connect() for _ in range(40)]
    begun = time.monotonic()
    for client in clients:
        client.send(encode("CLIENT", "REPLY", "MAYBE"))
    replies = [client.read() for client in clients]
    took = time.monotonic() - begun
    limited = [reply for reply in replies if reply.startswith(b"PINLIMIT")]
    # Ten at once, and at most ten more with each further second.
    assert 40 - len(limited) <= 10 + 10 * int(took + 0.5), (replies, took)
    assert len(limited) >= 10
    assert b"10 connections a second" in limited[0]
    # Nobody is forgotten, and the line is not blocked for ever.
    eventually(lambda: not clients[0].command("CLIENT", "REPLY", "MAYBE").startswith(b"PINLIMIT"))
    for client in clients:
        client.close()


def test_clients_that_leave_the_line_hold_nobody_up(launch, server):
    redpool = launch.redpool(server)
    redpool.warm_up()
    for _ in range(60):
        with redpool.connect() as client:
            client.send(encode("SELECT", "01") * 5)
    with redpool.connect() as client:
        assert b"ERR" in client.command("SELECT", "01")
    assert len(server.upstreams()) <= 32


@pytest.mark.parametrize("threads", [1, 2])
def test_half_of_the_pins_are_spent_at_once(launch, threads):
    """Commands that the server does not answer take no more, and give their places up in the end.

    With two workers a command may find all connections at the other one, and a server that is
    stopped lets none be opened: then it is the pool that says so.
    """
    words = (b"PINLIMIT",) if threads == 1 else (b"PINLIMIT", b"POOLTIMEOUT")
    server = launch.server()
    pool = {"maxOpen": 11, "minIdle": 10, "maxIdle": 10, "poolTimeout": "500ms"}
    redpool = launch.redpool(server, pool=pool, settings={"threads": threads})
    eventually(lambda: len(server.upstreams()) == 10)
    clients = [redpool.connect() for _ in range(20)]
    for client in clients:
        client.command("PING")
    server.pause()
    for client in clients:
        client.send(encode("SELECT", "01"))
    ends = {"limited": 0, "closed": 0}
    for client in clients:
        try:
            assert client.read().startswith(words)
            ends["limited"] += 1
        except Closed:
            ends["closed"] += 1
    server.resume()
    assert ends == {"limited": 16, "closed": 4}
    with redpool.connect() as client:
        eventually(lambda: client.command("SELECT", "01").startswith(b"ERR"))


# --- names


IMPOSSIBLE = ["", "get\0", "flushall\0295", "g t", "get\r\n+x", "client|list", "\x7f", "x" * 129]


@pytest.mark.parametrize("name", IMPOSSIBLE, ids=repr)
def test_name_that_no_command_has_is_answered_in_the_servers_words(launch, server, name):
    redpool = launch.redpool(server)
    with redpool.connect() as client, server.connect() as direct:
        for arguments in ([], ["a\0b", "c\r\nd"], ["x" * 100] * 3):
            expected = direct.command("nosuch" + "x" * 125 if len(name) > 128 else "nosuch", *arguments)
            shown = name.split("\0")[0].replace("\r", " ").replace("\n", " ")[:128]
            standing = b"nosuch" + (b"x" * 122 if len(name) > 128 else b"")
            expected = expected.replace(b"'%s'" % standing, b"'%s'" % shown.encode(), 1)
            assert client.command(name, *arguments) == expected
        assert client.command("MULTI") == b"OK"
        assert b"COMMAND_DENIED_BY_PROXY" in client.command(name)
        assert client.command("EXEC").startswith(b"EXECABORT")


@pytest.mark.parametrize("words", [("REPLY\0", "SKIP"), ("TRACKING\0x", "ON"), ("KILL\0", "ID", "1"), ("a b",)])
def test_subcommand_that_no_container_has_is_answered_here(launch, server, words):
    redpool = launch.redpool(server)
    shown = words[0].split("\0")[0].encode()
    expected = b"ERR unknown subcommand '%s'. Try CLIENT HELP." % shown
    with redpool.connect() as client:
        client.send(encode("client", *words) + encode("PING"))
        assert [client.read(), client.read()] == [expected, b"PONG"]
        assert client.command("MULTI") == b"OK"
        assert b"COMMAND_DENIED_BY_PROXY" in client.command("CLIENT", *words)
        assert client.command("EXEC").startswith(b"EXECABORT")


def test_denied_command_has_no_other_spelling(launch, server):
    redpool = launch.redpool(server, pool={"denyCommands": ["FLUSHALL", "CONFIG SET", "SCRIPT"]})
    server.command("SET", "kept", "1")
    with redpool.connect() as client:
        for number in range(2000):
            client.send(encode(f"FLUSHALL\0{number}"))
        assert all(b"unknown command" in client.read() for _ in range(2000))
        for word in ("SET\0", "set\0x", "SeT"):
            assert b"refused by Redpool" in client.command("CONFIG", word, "maxmemory", "0")
        for word in ("DEBUG\0", "NOSUCH", "LOAD\0"):
            assert b"refused by Redpool" in client.command("SCRIPT", word, "x")
    assert server.command("EXISTS", "kept") == 1


# --- before a login


@pytest.fixture
def locked(launch):
    return launch.server(password="pw")


BEFORE_LOGIN = [
    ("MULTI",), ("WATCH", "k"), ("SUBSCRIBE", "c"), ("MONITOR",), ("BLPOP", "k", "0"), ("SELECT", "1"),
    ("CLIENT", "REPLY", "OFF"), ("CLIENT", "TRACKING", "ON"), ("CLIENT", "SETNAME", "n"), ("NOSUCH",),
    ("CLIENT", "NOSUCH"), ("MULTI", "x"), ("GET", "k"), ("EVAL", "return 1", "0"), ("EXEC",), ("WAIT", "0", "0"),
    ("CLIENT", "ID"), ("CLIENT", "LIST"), ("SHUTDOWN",), ("SELECT", "01"), ("XREAD", "BLOCK", "0", "STREAMS", "k", "$"),
]


def test_before_a_login_nothing_is_pinned_and_nothing_closed(launch, locked):
    redpool = launch.redpool(locked)
    with redpool.connect() as warm:
        warm.command("PING")
        before = connections(locked)
        for _ in range(5):
            with redpool.connect() as client, Connection(locked.tcp) as direct:
                for command in BEFORE_LOGIN:
                    assert client.command(*command) == direct.command(*command), command
        assert connections(locked) - before <= 5 + 1
        assert warm.command("AUTH", "pw") == b"OK"
        assert warm.command("WATCH", "k") == b"OK"


@pytest.mark.parametrize("command", [("MULTI",), ("GET", "k"), ("SUBSCRIBE", "c")])
def test_login_that_is_not_wanted_any_more(launch, locked, command):
    redpool = launch.redpool(locked)
    with redpool.connect() as client:
        assert client.command("GET", "k").startswith(b"NOAUTH")
        locked.command("CONFIG", "SET", "requirepass", "")
        reply = client.command(*command)
        assert not isinstance(reply, bytes) or not reply.startswith(b"NOAUTH")
        with redpool.connect() as other:
            assert other.command("GET", "nothing") is None


@pytest.mark.parametrize("words", [["GET"] + ["k"] * 12, ["GET", "x" * 20000], ["SET", "k"] + ["v"] * 20])
def test_long_line_before_a_login_costs_nobody_else(launch, locked, words):
    redpool = launch.redpool(locked)
    line = " ".join(words).encode() + b"\r\n"
    with Connection(locked.tcp) as direct:
        direct.send(line)
        expected = direct.read()
    for _ in range(5):
        others = [redpool.connect() for _ in range(5)]
        with redpool.connect() as client:
            client.send(line)
            for other in others:
                other.send(encode("GET", "k"))
            assert client.read() == expected
            for other in others:
                assert other.read().startswith(b"NOAUTH")
                other.close()


@pytest.mark.parametrize("command", ["short", "long"])
def test_many_strangers_at_once(launch, locked, command):
    """The server closes a connection without a login that has more than 1 KB of replies pending."""
    redpool = launch.redpool(locked)
    words = {"short": ("GET", "x"), "long": ("Q" * 120, "a" * 120)}[command]
    clients = [redpool.connect() for _ in range(300)]
    expected = clients[0].command(*words)
    assert expected.split()[0] in (b"NOAUTH", b"ERR")
    locked.pause()
    for client in clients:
        client.send(encode(*words))
    eventually(lambda: locked.unread_bytes() > 0)
    locked.resume()
    assert [client.read() for client in clients] == [expected] * len(clients)


# --- what the server would not say


def test_question_that_the_server_refuses_is_not_remembered(launch):
    """A user who may not ask what a command is: it goes alone, and nobody is pinned for it."""
    server = launch.server()
    server.command("ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all", "-command")
    redpool = launch.redpool(server, pool={"maxOpen": 8})
    clients = [redpool.connect() for _ in range(12)]
    for client in clients:
        assert client.command("AUTH", "bob", "pw") == b"OK"
    for client in clients:
        assert b"unknown command" in client.command("NOSUCH")
    assert all(client.command("WATCH", "k") == b"OK" for client in clients[:4])
    for client in clients:
        client.close()
    with redpool.connect() as client:
        assert b"unknown command" in client.command("NOSUCH")
        mine = client.command("CLIENT", "ID")
        assert b"unknown command" in client.command("NOSUCH")
        assert client.command("CLIENT", "ID") == mine


@pytest.mark.parametrize("words", [["x" * 300_000], ["CLIENT", "x" * 300_000], ["OBJECT", "x" * 300_000, "k"]])
def test_large_name_is_answered_and_thrown_away(launch, server, words):
    redpool = launch.redpool(server)
    with redpool.connect() as client, server.connect() as direct:
        expected = direct.command(*words)
        client.send(encode(*words) + encode("PING"))
        assert client.read() == expected
        assert client.read() == b"PONG"
