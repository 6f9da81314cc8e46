"""WAITAOF has to go where its client's writes went, and nowhere else."""

import contextlib

import pytest

from harness.server import RedisServer
from harness.servers import FOUND
from harness.waiting import eventually
from harness.wire import encode
from world import daemon

KNOWING = [server for server in FOUND if server.compatible >= (7, 2)]
OLD = [server for server in FOUND if server.compatible < (7, 2)]


@pytest.fixture(scope="module", params=KNOWING, ids=str)
def knowing(request):
    yield from started(request.param)


@pytest.fixture(scope="module", params=OLD, ids=str)
def old(request):
    yield from started(request.param)


def started(program):
    made = RedisServer(binary=program.path)
    yield made
    made.close()


@contextlib.contextmanager
def writes_lent_out(server, count=1, **pool):
    """Clients that have written, one that blocks on the connection of those writes, and another."""
    # The one that was used last is pinned first, and another one is left to share.
    sizes = {"maxOpen": 3, "maxPinned": 2, "minIdle": 2}
    # Those of the daemon before would be counted below.
    eventually(lambda: server.client_count() == 0)
    with daemon(server, **sizes, **pool) as redpool, contextlib.ExitStack() as stack:
        eventually(lambda: server.client_count() == 2)
        writers = [stack.enter_context(redpool.connect()) for _ in range(count)]
        for writer in writers:
            assert writer.command("SET", "k", "1") == b"OK"
        blocked, other = (stack.enter_context(redpool.connect()) for _ in range(2))
        blocked.send(encode("BLPOP", "queue", "0"))
        eventually(lambda: b"cmd=blpop" in server.command("CLIENT", "LIST"))
        yield (*writers, blocked, other)
        if server.command("LPUSH", "queue", "x") == 1:
            assert blocked.read() == [b"queue", b"x"]


def test_it_waits_for_a_connection_that_is_lent_out(knowing):
    with writes_lent_out(knowing, poolTimeout="20s") as (writer, blocked, other):
        writer.send(encode("WAITAOF", "0", "0", "0") + encode("GET", "k"))
        assert other.command("LPUSH", "queue", "y") == 1
        assert blocked.read() == [b"queue", b"y"]
        assert writer.read() == [0, 0]
        assert writer.read() == b"1"
        blocked.send(encode("BLPOP", "queue", "0"))


def test_many_wait_in_turn(knowing):
    """More than look again at a time."""
    with writes_lent_out(knowing, 40, poolTimeout="20s") as (*writers, blocked, other):
        for writer in writers:
            writer.send(encode("WAITAOF", "0", "0", "0"))
        assert other.command("LPUSH", "queue", "y") == 1
        assert blocked.read() == [b"queue", b"y"]
        for writer in writers:
            assert writer.read() == [0, 0]
        blocked.send(encode("BLPOP", "queue", "0"))


def test_it_does_not_wait_for_ever(knowing):
    with writes_lent_out(knowing, poolTimeout="300ms") as (writer, _, _):
        error = writer.command("WAITAOF", "0", "0", "0")
        assert error.startswith(b"POOLTIMEOUT pool main: no free connection within 300ms"), error
        assert writer.command("GET", "k") == b"1"


def test_a_client_that_leaves_meanwhile_harms_nobody(knowing):
    with writes_lent_out(knowing, poolTimeout="20s") as (writer, _, other):
        writer.send(encode("WAITAOF", "0", "0", "0"))
        assert other.command("GET", "k") == b"1"
        writer.close()
        assert other.command("GET", "k") == b"1"


def test_a_server_that_has_no_waitaof_says_so_itself(old):
    with writes_lent_out(old) as (writer, _, _):
        assert writer.command("WAITAOF", "0", "0", "0") == old.command("WAITAOF", "0", "0", "0")


def test_it_works_again_once_a_write_has_succeeded(knowing):
    """A client that has written over two connections, and then over one."""
    with daemon(knowing, maxOpen=6) as redpool, redpool.connect() as client:
        client.command("SET", "k", "1")
        client.command("WATCH", "k")
        client.command("SET", "k", "2")
        client.command("UNWATCH")
        client.command("SET", "k", "3")
        assert client.command("WAITAOF", "0", "0", "0") == [0, 0]


def test_it_works_again_once_a_write_in_a_pipeline_has_succeeded(knowing):
    """The writes go over a new connection, behind a command that does not write."""
    with daemon(knowing, maxOpen=6) as redpool, redpool.connect() as client:
        assert client.command("SET", "k", "1") == b"OK"
        assert knowing.command("CLIENT", "KILL", "TYPE", "normal") > 0
        commands = [("GET", "k"), ("SET", "k", "2"), ("SET", "k", "3"), ("WAITAOF", "0", "0", "0")]
        client.send(b"".join(encode(*words) for words in commands))
        assert [client.read() for _ in commands] == [b"1", b"OK", b"OK", [0, 0]]
