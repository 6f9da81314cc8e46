"""What does not make a pipe of its client: it gets an upstream for its reply, or is answered here."""

import pytest

from harness.server import RedisServer
from harness.waiting import eventually
from harness.wire import Push, encode

ALLOWED = {"denyCommands": ["SYNC"]}
DEBUGGING = ("--enable-debug-command", "yes", "--enable-module-command", "yes")


@pytest.fixture(scope="module")
def server(request):
    made = RedisServer(*DEBUGGING)
    request.addfinalizer(made.close)
    return made


@pytest.fixture
def open_pool(launch, server):
    return server, launch.redpool(server, pool=ALLOWED)


FOR_A_REPLY = [
    ("DEBUG", "SLEEP", "0"), ("DEBUG", "SET-ACTIVE-EXPIRE", "1"), ("DEBUG", "NOSUCH"), ("DEBUG",),
    ("DEBUG", "STRINGMATCH-LEN", "1", "a"), ("DEBUG", "ERROR", "a\r\n+b"), ("DEBUG", "PROTOCOL", "attrib"),
    ("MODULE", "LOAD", "/nowhere"), ("MODULE", "UNLOAD", "nosuch"), ("MODULE", "LOADEX", "/nowhere"),
]


@pytest.mark.parametrize("command", FOR_A_REPLY, ids=" ".join)
@pytest.mark.parametrize("protocol", [2, 3])
def test_debug_has_an_upstream_for_its_reply(open_pool, command, protocol):
    server, redpool = open_pool
    with redpool.connect() as client, server.connect() as direct:
        for one in (client, direct):
            one.command("HELLO", protocol)
        mine = client.command("CLIENT", "ID")
        expected = [direct.command(*command), direct.command("PING")]
        client.send(encode(*command) + encode("PING") + encode("CLIENT", "ID"))
        assert [client.read(), client.read(), client.read()] == [*expected, mine]
        # Its upstream is others' again.
        eventually(lambda: all(row["cmd"] != "debug" for row in server.upstreams()))
        assert client.command("CLIENT", "GETNAME") is None


def test_debug_does_not_cost_connections(open_pool):
    server, redpool = open_pool
    with redpool.connect() as client:
        client.command("DEBUG", "SLEEP", "0")
        before = int(server.info("total_connections_received"))
        for _ in range(100):
            client.command("DEBUG", "SLEEP", "0")
            client.command("GET", "k")
        assert int(server.info("total_connections_received")) == before


def test_debug_in_a_transaction_and_while_holding(open_pool):
    server, redpool = open_pool
    with redpool.connect() as client:
        mine = client.command("CLIENT", "ID")
        block = [("MULTI",), ("DEBUG", "SLEEP", "0"), ("GET", "k"), ("EXEC",)]
        assert [client.command(*one) for one in block] == [b"OK", b"QUEUED", b"QUEUED", [b"OK", None]]
        assert client.command("CLIENT", "ID") == mine
        assert client.command("WATCH", "k") == b"OK"
        assert client.command("DEBUG", "SLEEP", "0") == b"OK"
        assert client.command("CLIENT", "ID") == mine
        assert client.command("UNWATCH") == b"OK"


def test_push_that_debug_asks_for_reaches_its_client(open_pool):
    server, redpool = open_pool
    with redpool.connect() as client, server.connect() as direct:
        for one in (client, direct):
            one.command("HELLO", "3")
            one.send(encode("DEBUG", "PROTOCOL", "push"))
        expected = [direct.read(), direct.read()]
        assert isinstance(expected[0], Push)
        assert [client.read(), client.read()] == expected
        client.command("WATCH", "k")
        client.send(encode("DEBUG", "PROTOCOL", "push"))
        assert [client.read(), client.read()] == expected
        client.command("UNWATCH")
        assert client.command("PING") == b"PONG"
        assert "stray" not in redpool.log()


# --- large commands of a client that holds an upstream


LARGE = b"x" * 400_000
HOLDS = {
    "WATCH": ([("WATCH", "k")], [("UNWATCH",)]),
    "MULTI": ([("MULTI",), ("CLIENT", "ID")], [("EXEC",)]),
    "MULTI, SELECT": ([("MULTI",), ("SELECT", "3")], [("EXEC",), ("DEL", "large"), ("SELECT", "0")]),
    "subscribed, RESP3": ([("HELLO", "3"), ("SUBSCRIBE", "c")], [("UNSUBSCRIBE", "c")]),
    "tracking": ([("HELLO", "3"), ("CLIENT", "TRACKING", "ON", "OPTIN")], [("CLIENT", "TRACKING", "OFF")]),
    "silent": ([("WATCH", "k"), ("CLIENT", "REPLY", "SKIP")], [("UNWATCH",)]),
}


@pytest.mark.parametrize("hold", HOLDS)
@pytest.mark.parametrize("length", [400_000, 10_000_000])
def test_large_command_streams_over_a_held_upstream(open_pool, hold, length):
    server, redpool = open_pool
    begin, end = HOLDS[hold]
    value = b"x" * length
    with redpool.connect() as client, server.connect() as direct:
        mine = client.command("CLIENT", "ID")
        seen = []
        for one in (client, direct):
            own = one.command("CLIENT", "ID")
            replies = []
            for command in begin:
                one.send(encode(*command))
                if "SKIP" not in command:
                    replies.append(one.read())
            # In two pieces, and more behind it in the same write.
            large = encode("APPEND", "large", value) + encode("STRLEN", "large") + encode("GET", "nil")
            one.send(large[:200_000])
            one.send(large[200_000:])
            replies += [one.read() for _ in range(2 if hold == "silent" else 3)]
            replies += [one.command(*command) for command in end]
            one.command("DEL", "large")
            seen.append(repr(replies).replace(f"'id': {own}", "ID").replace(f"[{own},", "[ID,"))
        assert seen[0] == seen[1]
        # It is an ordinary client again: many of these need no more upstreams than one.
        assert client.command("CLIENT", "ID") == mine
        with redpool.connect() as other:
            assert other.command("GET", "large") is None
        assert b" cmd=client" in client.command("CLIENT", "INFO")


def test_many_who_hold_and_send_large_commands_share_few_upstreams(launch, server):
    redpool = launch.redpool(server, pool={"maxOpen": 4, "poolTimeout": "2s"})
    clients = [redpool.connect() for _ in range(10)]
    for client in clients:
        client.send(encode("MULTI") + encode("SET", "k", LARGE))
        assert [client.read(), client.read()] == [b"OK", b"QUEUED"]
        assert client.command("EXEC") == [b"OK"]
    assert len(server.upstreams()) <= 4
    for client in clients:
        client.close()


def test_who_leaves_in_the_middle_of_a_large_command_takes_his_upstream_along(open_pool):
    server, redpool = open_pool
    with redpool.connect() as client:
        client.command("WATCH", "k")
        held = {row["id"] for row in server.upstreams() if row["cmd"] == "watch"}
        client.send(encode("SET", "large", LARGE)[:300_000])
        eventually(lambda: redpool.has_read(client))
    eventually(lambda: not held & {row["id"] for row in server.upstreams()})
    assert server.command("EXISTS", "large") == 0
