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
        for block in (
            [("MULTI",), ("DEBUG", "SLEEP", "0"), ("EXEC",)],
            [("MULTI",), ("CLIENT", "ID"), ("DEBUG", "SLEEP", "0"), ("SELECT", "3"), ("EXEC",)],
            [("MULTI",), ("DEBUG", "SLEEP", "0"), ("CLIENT", "ID"), ("SELECT", "3"), ("EXEC",)],
        ):
            replies = [client.command(*command) for command in block]
            assert replies[0] == b"OK" and replies[1:-1] == [b"QUEUED"] * (len(block) - 2)
            wanted = {"DEBUG": b"OK", "SELECT": b"OK", "CLIENT": mine}
            assert replies[-1] == [wanted[command[0]] for command in block[1:-1]]
            assert client.command("CLIENT", "ID") == mine
        assert b" db=3 " in client.command("CLIENT", "INFO")
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
