"""CLIENT PAUSE is believed when the server has accepted it, by all workers, and not for longer than
it lasts: while it is, writes go alone and whole transactions have upstreams of their own."""

import contextlib

import pytest

from harness.waiting import always, eventually
from harness.wire import ErrorReply, encode

# One pin, and nobody waits long for it.
POOL = {"maxOpen": 4, "maxPinned": 1, "poolTimeout": "200ms"}
BLOCK = encode("MULTI") + encode("SET", "k", "v") + encode("EXEC")


def is_believed(redpool) -> bool:
    """During a pause a whole transaction needs a pin, and the only one is taken; else it needs none."""
    with redpool.connect() as holder, redpool.connect() as client:
        holder.command("WATCH", "w")
        client.send(encode("MULTI") + encode("GET", "k") + encode("EXEC"))
        replies = [client.read() for _ in range(3)]
        return isinstance(replies[0], ErrorReply)


def stranger(redpool, server):
    """A client whose user may do all but what is about clients."""
    server.command("ACL", "SETUSER", "eve", "on", ">p", "~*", "&*", "+@all", "-client")
    client = redpool.connect()
    assert client.command("AUTH", "eve", "p") == b"OK"
    return client


def refused(redpool, server):
    with stranger(redpool, server) as eve:
        assert eve.command("CLIENT", "PAUSE", "9000000000000000", "WRITE").startswith(b"NOPERM")


def refused_in_a_block(redpool, server):
    with stranger(redpool, server) as eve:
        eve.send(encode("MULTI") + encode("CLIENT", "PAUSE", "600000", "WRITE") + encode("EXEC"))
        assert eve.read() == b"OK"
        assert eve.read().startswith(b"NOPERM")
        assert eve.read().startswith(b"EXECABORT")


def refused_while_held(redpool, server):
    with stranger(redpool, server) as eve:
        assert eve.command("WATCH", "w") == b"OK"
        assert eve.command("CLIENT", "PAUSE", "600000", "WRITE").startswith(b"NOPERM")
        assert eve.command("UNWATCH") == b"OK"


def discarded(redpool, server):
    with redpool.connect() as client:
        assert client.command("MULTI") == b"OK"
        assert client.command("CLIENT", "PAUSE", "600000", "WRITE") == b"QUEUED"
        assert client.command("DISCARD") == b"OK"


def aborted_by_a_watch(redpool, server):
    with redpool.connect() as client:
        assert client.command("WATCH", "watched") == b"OK"
        assert server.command("SET", "watched", "x") == b"OK"
        assert client.command("MULTI") == b"OK"
        assert client.command("CLIENT", "PAUSE", "600000", "WRITE") == b"QUEUED"
        assert client.command("EXEC") is None


NONE = [
    refused, refused_in_a_block, refused_while_held, discarded, aborted_by_a_watch,
]


@pytest.mark.parametrize("how", NONE, ids=lambda how: how.__name__)
def test_what_the_server_has_not_accepted(launch, how):
    server = launch.server()
    redpool = launch.redpool(server, pool=POOL)
    how(redpool, server)
    assert not is_believed(redpool)


def alone(client):
    assert client.command("CLIENT", "PAUSE", "600000", "WRITE") == b"OK"


def while_held(client):
    assert client.command("WATCH", "w") == b"OK"
    assert client.command("CLIENT", "PAUSE", "600000", "WRITE") == b"OK"
    assert client.command("UNWATCH") == b"OK"


def in_a_transaction(client):
    assert client.command("MULTI") == b"OK"
    assert client.command("CLIENT", "PAUSE", "600000", "WRITE") == b"QUEUED"
    assert client.command("EXEC") == [b"OK"]


def in_a_block(client):
    client.send(
        encode("MULTI") + encode("GET", "k") + encode("CLIENT", "PAUSE", "600000", "WRITE")
        + encode("EXEC")
    )
    assert [client.read() for _ in range(4)] == [b"OK", b"QUEUED", b"QUEUED", [b"v", b"OK"]]


@contextlib.contextmanager
def paused(redpool, server, how=alone):
    with redpool.connect() as client:
        assert client.command("SET", "k", "v") == b"OK"
        how(client)
        try:
            yield client
        finally:
            server.command("CLIENT", "UNPAUSE")


def reads_pass(redpool):
    """Nobody's GET is behind a write that the server holds up, on whichever worker."""
    with contextlib.ExitStack() as opened:
        writers = [opened.enter_context(redpool.connect()) for _ in range(2)]
        readers = [opened.enter_context(redpool.connect()) for _ in range(8)]
        for writer in writers:
            writer.send(encode("GET", "k") + encode("SET", "k", "w"))
            assert writer.read() == b"v"
        for _ in range(5):
            for reader in readers:
                reader.send(encode("GET", "k"))
            assert [reader.read() for reader in readers] == [b"v"] * len(readers)


HOWS = [alone, while_held, in_a_transaction, in_a_block]


@pytest.mark.parametrize("how", HOWS, ids=lambda how: how.__name__)
@pytest.mark.parametrize("threads", [1, 2])
def test_pause_holds_up_only_what_writes(launch, how, threads):
    server = launch.server()
    redpool = launch.redpool(server, pool={"maxOpen": 12}, settings={"threads": threads})
    with paused(redpool, server, how):
        reads_pass(redpool)


def test_a_worker_without_a_connection_believes_it(launch):
    """Its first connection tells it which server answers: the one that is paused."""
    server = launch.server()
    pool = {"maxOpen": 12, "minIdle": 0}
    redpool = launch.redpool(server, pool=pool, settings={"threads": 2})
    with paused(redpool, server):
        reads_pass(redpool)


def test_refused_unpause_ends_nothing(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool={"maxOpen": 12})
    with paused(redpool, server):
        with stranger(redpool, server) as eve:
            assert eve.command("CLIENT", "UNPAUSE").startswith(b"NOPERM")
        reads_pass(redpool)


def test_end_by_other_means(launch):
    """An UNPAUSE that does not come through Redpool shows with the first write."""
    server = launch.server()
    redpool = launch.redpool(server, pool=POOL)
    for write in (("SET", "k", "v"), ("DEL", "k"), ("HSET", "h", "f", "v"), ("PUBLISH", "c", "m")):
        with paused(redpool, server) as client:
            assert is_believed(redpool)
            assert server.command("CLIENT", "UNPAUSE") == b"OK"
            client.command(*write)
            assert not is_believed(redpool), write


def test_write_of_an_earlier_pause_says_nothing(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool={"maxOpen": 12})
    with paused(redpool, server) as client, redpool.connect() as writer:
        writer.send(encode("SET", "k", "v"))
        eventually(lambda: blocked(server) == 1)
        assert client.command("CLIENT", "PAUSE", "600000", "WRITE") == b"OK"
        # The write is carried out between two pauses.
        assert server.command("CLIENT", "UNPAUSE") == b"OK"
        assert writer.read() == b"OK"
        assert server.command("CLIENT", "PAUSE", "600000", "WRITE") == b"OK"
        reads_pass(redpool)


def test_transaction_shows_the_end(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool=POOL)
    with paused(redpool, server) as client:
        assert server.command("CLIENT", "UNPAUSE") == b"OK"
        client.send(BLOCK)
        assert [client.read() for _ in range(3)] == [b"OK", b"QUEUED", [b"OK"]]
        assert not is_believed(redpool)


def test_unpause_over_another_worker(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool=POOL | {"maxOpen": 8}, settings={"threads": 2})
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(redpool.connect()) for _ in range(2)]
        for client in clients:
            assert client.command("PING") == b"PONG"
        assert clients[0].command("CLIENT", "PAUSE", "600000", "WRITE") == b"OK"
        eventually(lambda: is_believed(redpool) and is_believed(redpool))
        assert clients[1].command("CLIENT", "UNPAUSE") == b"OK"
        eventually(lambda: not is_believed(redpool) and not is_believed(redpool))


def test_another_server_is_not_paused(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool=POOL | {"poolTimeout": "5s"})
    with redpool.connect() as client:
        assert client.command("CLIENT", "PAUSE", "600000", "WRITE") == b"OK"
        server.restart()
        assert client.command("PING") == b"PONG"
        assert not is_believed(redpool)


def test_a_minute_without_a_sign(launch, shim):
    """Nobody writes, so nothing shows that the pause is over; and while somebody waits for its end,
    it is not."""
    server = launch.server()
    redpool = launch.redpool(server, pool=POOL, environment=shim.environment)
    with paused(redpool, server) as client:
        assert is_believed(redpool)
        assert server.command("CLIENT", "UNPAUSE") == b"OK"
        shim.say("clock 55")
        assert is_believed(redpool)
        shim.say("clock 70")
        eventually(lambda: not is_believed(redpool))
    with paused(redpool, server) as client:
        client.send(encode("SET", "k", "w"))
        eventually(lambda: blocked(server) == 1)
        for seconds in (135, 200, 265):
            shim.say(f"clock {seconds}")
            always(lambda: is_believed(redpool), 0.3)
        assert server.command("CLIENT", "UNPAUSE") == b"OK"
        assert client.read() == b"OK"
        assert not is_believed(redpool)


def blocked(server) -> int:
    return int(server.info("blocked_clients"))
