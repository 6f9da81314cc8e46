"""A server that is newer than the daemon: what it has and the daemon's table has not."""

import re

import pytest

from harness.waiting import eventually
from harness.wire import encode

# What COMMAND INFO says of a subcommand that exists, and of one that does not.
KNOWN = b"*1\r\n*10\r\n$13\r\nclient|future\r\n:3\r\n*1\r\n+noscript\r\n:0\r\n:0\r\n:0\r\n" + (
    b"*1\r\n+@slow\r\n*0\r\n*0\r\n*0\r\n"
)


@pytest.fixture
def newer(launch):
    """A daemon in front of a server that says it knows CLIENT FUTURE."""
    server = launch.server()
    between = launch.middleman(server)
    between.arm(b"|future", KNOWN, times=1000)
    redpool = launch.redpool(between)
    redpool.between = between
    return server, redpool


def test_new_subcommand_of_client_that_is_refused_costs_an_upstream(newer):
    """It may have changed the connection: nobody else may ever be there."""
    server, redpool = newer
    with redpool.connect() as client, redpool.connect() as other:
        other.command("SET", "k", "v")
        mine = client.command("CLIENT", "ID")
        ended = len(redpool.between.ended)
        assert b"unknown subcommand" in client.command("CLIENT", "future", "ON").lower()
        assert client.command("CLIENT", "ID") == mine
        eventually(lambda: len(redpool.between.ended) > ended, what="the upstream's end")


@pytest.mark.parametrize("holds", [(), ("WATCH", "k"), ("SUBSCRIBE", "c")], ids=str)
def test_new_subcommand_of_client_that_is_accepted_holds_its_upstream(newer, holds):
    server, redpool = newer
    redpool.between.arm(b"$6\r\nfuture\r\n$2\r\nON", b"+OK\r\n", times=1000)
    with redpool.connect() as client, redpool.connect() as other:
        client.command("HELLO", "3")
        mine = client.command("CLIENT", "ID")
        if holds:
            client.command(*holds)
        assert client.command("CLIENT", "future", "ON") == b"OK"
        assert client.command("CLIENT", "ID") == mine
        # Where it is no other client is.
        client.command("CLIENT", "NO-EVICT", "ON")
        held = {link for link in redpool.between.links if b"NO-EVICT" in link.last}
        assert len(held) == 1
        assert client.command("SET", "k", "v") == b"OK"
        assert other.command("GET", "k") == b"v"
        assert held <= set(redpool.between.links)
        client.command("RESET")
        assert client.command("CLIENT", "ID") == mine
        eventually(lambda: not held & set(redpool.between.links))


@pytest.mark.parametrize("how", ["in one write", "one by one"])
def test_new_subcommand_of_client_in_a_transaction(newer, how):
    server, redpool = newer
    block = [("MULTI",), ("SET", "k", "1"), ("CLIENT", "future", "ON"), ("EXEC",)]
    with redpool.connect() as client:
        mine = client.command("CLIENT", "ID")
        if how == "in one write":
            client.send(b"".join(encode(*command) for command in block))
            replies = [client.read() for _ in block]
        else:
            replies = [client.command(*command) for command in block]
        assert replies[:2] == [b"OK", b"QUEUED"]
        assert replies[3].startswith(b"EXECABORT")
        assert client.command("CLIENT", "ID") == mine


def test_new_subcommand_that_a_transaction_queues_costs_its_upstream(newer):
    server, redpool = newer
    redpool.between.arm(b"$6\r\nfuture\r\n$2\r\nON", b"+QUEUED\r\n", times=1000)
    with redpool.connect() as client:
        mine = client.command("CLIENT", "ID")
        assert client.command("MULTI") == b"OK"
        held = {link for link in redpool.between.links if b"MULTI" in link.last}
        assert held
        assert client.command("CLIENT", "future", "ON") == b"QUEUED"
        assert client.command("EXEC") == [b"x"]
        assert client.command("CLIENT", "ID") == mine
        eventually(lambda: not held & set(redpool.between.links))


# --- what is about one hop


MAINTENANCE = [
    ("CLIENT", "MAINT_NOTIFICATIONS", "ON", "moving-endpoint-type", "internal-ip"),
    ("client", "maint_notifications", "off"), ("Client", "Maint_Notifications"),
]


@pytest.fixture
def notifying(launch):
    """A daemon in front of a server that knows CLIENT MAINT_NOTIFICATIONS."""
    server = launch.server()
    between = launch.middleman(server)
    known = KNOWN.replace(b"$13\r\nclient|future", b"$26\r\nclient|maint_notifications")
    between.arm(b"|maint_notifications", known, times=1000)
    for name in (b"MAINT_NOTIFICATIONS", b"maint_notifications", b"Maint_Notifications"):
        between.arm(b"\n" + name + b"\r\n", b"+REACHED\r\n", times=1000)
    return server, launch.redpool(between)


def states():
    yield "none", []
    yield "WATCH", [("WATCH", "k")]
    yield "RESP3, tracking", [("HELLO", "3"), ("CLIENT", "TRACKING", "ON")]
    yield "MONITOR", [("MONITOR",)]


@pytest.mark.parametrize("command", MAINTENANCE, ids=" ".join)
@pytest.mark.parametrize("state", [made for _, made in states()], ids=[name for name, _ in states()])
def test_maintenance_notifications_are_unknown_to_redpool(notifying, command, state):
    server, redpool = notifying
    with redpool.connect() as client, server.connect() as direct:
        mine = client.command("CLIENT", "ID")
        for step in state:
            client.command(*step)
        expected = direct.command(*command)
        assert b"unknown subcommand" in expected
        client.send(encode(*command) + encode("CLIENT", "ID"))
        assert [reply(client), reply(client)] == [expected, mine]


def reply(client):
    """The next one that is no line of MONITOR."""
    while isinstance(found := client.read(), bytes) and found[:1].isdigit():
        pass
    return found


@pytest.mark.parametrize("pipe", [False, True])
def test_maintenance_notifications_never_reach_a_server_that_knows_them(notifying, pipe):
    server, redpool = notifying
    with redpool.connect() as client:
        client.command("MULTI")
        if pipe:
            client.command("AUTH", "x")
        assert b"unknown" in client.command(*MAINTENANCE[0])
        assert client.command("EXEC").startswith(b"EXECABORT")
        assert b"unknown" in client.command(*MAINTENANCE[0])
        assert client.command("PING") == b"PONG"


def test_maintenance_notifications_cost_no_connection(launch):
    """The first thing that new client libraries send."""
    server = launch.server()
    redpool = launch.redpool(server, pool={"maxOpen": 3})
    redpool.warm_up()
    with redpool.connect() as client, server.connect() as direct:
        expected = direct.command(*MAINTENANCE[0])
        assert client.command(*MAINTENANCE[0]) == expected
        before = int(server.info("total_connections_received"))
        others = [redpool.connect() for _ in range(20)]
        for other in others:
            other.send(encode("CLIENT", "SETNAME", "n") + encode(*MAINTENANCE[0]) + encode("PING"))
        for other in others:
            assert [other.read(), other.read(), other.read()][1:] == [expected, b"PONG"]
            other.close()
        assert int(server.info("total_connections_received")) <= before + 1
        for block in ([("MULTI",), MAINTENANCE[0], ("EXEC",)],):
            assert [client.command(*c) for c in block] == [direct.command(*c) for c in block]


def test_what_the_server_does_not_know_is_asked_once_and_shared(launch):
    server = launch.server()
    redpool = launch.redpool(server)
    with redpool.connect() as client:
        # Behind what every first upstream is asked.
        assert client.command("PING") == b"PONG"
        mine = client.command("CLIENT", "ID")
        asked = [questions(server)]
        for _ in range(3):
            assert b"unknown subcommand" in client.command("CLIENT", "NOSUCH").lower()
            asked.append(questions(server))
        assert client.command("CLIENT", "ID") == mine
    assert [count - asked[0] for count in asked] == [0, 1, 1, 1]


def questions(server) -> int:
    return int(re.match(r"calls=(\d+)", server.info(r"cmdstat_command\|info"))[1])


@pytest.mark.parametrize("denied", ["client", "client|future"])
def test_new_subcommand_can_be_refused(launch, denied):
    server = launch.server()
    redpool = launch.redpool(server, pool={"denyCommands": [denied]})
    with redpool.connect() as client:
        reply = client.command("CLIENT", "FUTURE", "ON")
        assert b"refused by Redpool" in reply, reply
