"""While a script runs, the server refuses almost everything, in its own words: so does Redpool."""

import pytest

from harness.waiting import eventually
from harness.wire import ErrorReply, encode

pytestmark = pytest.mark.daemon

# How a client comes to where it is, and the database of the pool's URL.
PLACES = {
    "first database": ([], 0),
    "database of its own": ([("SELECT", "9")], 0),
    "database of the pool": ([], 5),
    "back in the first database": ([("SELECT", "0")], 5),
    "RESP3": ([("HELLO", "3"), ("SELECT", "9")], 0),
    "user of its own": ([("AUTH", "app", "secret"), ("SELECT", "9")], 0),
}


def is_busy(reply):
    return isinstance(reply, ErrorReply) and reply.startswith(b"BUSY ")


@pytest.fixture
def server(launch):
    made = launch.server()
    made.command("CONFIG", "SET", "lua-time-limit", "10")
    made.command("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all")
    yield made
    # Whatever went wrong: no script is left that could not be stopped.
    made.command("SCRIPT", "KILL")


@pytest.mark.parametrize("place", PLACES)
def test_busy(launch, server, place):
    way, database = PLACES[place]
    url = f"redis://{server.tcp.host}:{server.tcp.port}/{database}"
    redpool = launch.redpool(server, pool={"upstream": url})

    def client():
        made = redpool.connect()
        for command in way:
            reply = made.command(*command)
            assert not isinstance(reply, ErrorReply), reply
        return made

    with client() as runner, client() as other, client() as killer:
        assert other.command("SET", "k", "v") == b"OK"
        runner.send(encode("EVAL", "while true do end", "0"))
        eventually(lambda: is_busy(server.command("PING")))
        opened = redpool.fds()
        for _ in range(20):
            assert is_busy(other.command("GET", "k"))
        # No connection for each of them.
        assert redpool.fds() <= opened + 5
        assert killer.command("SCRIPT", "KILL") == b"OK"
        assert isinstance(runner.read(), ErrorReply)
        eventually(lambda: other.command("GET", "k") == b"v")
        assert runner.command("GET", "k") == b"v"
