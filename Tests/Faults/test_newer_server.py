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
    return server, launch.redpool(between)


def test_new_subcommand_of_client_gets_an_upstream_of_its_own(newer):
    """It may change the connection: nobody else may ever be there."""
    server, redpool = newer
    with redpool.connect() as client, redpool.connect() as other:
        mine = client.command("CLIENT", "ID")
        assert b"unknown subcommand" in client.command("CLIENT", "future", "ON").lower()
        # Bytes pass through from now on: the id is that of the upstream.
        upstream = client.command("CLIENT", "ID")
        assert upstream != mine
        assert other.command("CLIENT", "ID") != upstream
    eventually(lambda: str(upstream) not in {row["id"] for row in server.upstreams()})


@pytest.mark.parametrize("how", ["in one write", "one by one"])
def test_new_subcommand_of_client_in_a_transaction(newer, how):
    server, redpool = newer
    block = [("MULTI",), ("SET", "k", "1"), ("CLIENT", "future", "ON"), ("EXEC",)]
    with redpool.connect() as client:
        if how == "in one write":
            client.send(b"".join(encode(*command) for command in block))
            replies = [client.read() for _ in block]
        else:
            replies = [client.command(*command) for command in block]
        assert replies[:2] == [b"OK", b"QUEUED"]
        assert replies[3].startswith(b"EXECABORT")
        upstream = client.command("CLIENT", "ID")
    eventually(lambda: str(upstream) not in {row["id"] for row in server.upstreams()})


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
