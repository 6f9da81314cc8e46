"""How a client ends x what it was doing: what has run, what it still gets, and what it leaves."""

import itertools
import select
import socket
from dataclasses import dataclass

import pytest

from harness.waiting import eventually
from harness.wire import encode

MB = 1 << 20


@dataclass
class State:
    """What a client has sent when it ends."""

    name: str
    burst: bytes
    # What it still gets if it ends only its own direction, before the end of the other.
    replies: bytes = b""
    # Increments of `ends:count` that have run, unless a reset has overtaken them.
    runs: int = 0
    setup: tuple = ()


INCR = encode("INCR", "ends:count")
STATES = [
    State("idle", b""),
    State("plain", INCR, b":1\r\n", 1),
    State("pipeline", INCR * 200, b"".join(b":%d\r\n" % n for n in range(1, 201)), 200),
    State("half a command", INCR + INCR[:-3], b":1\r\n", 1),
    State(
        "transaction in one burst",
        encode("MULTI") + INCR + encode("EXEC"),
        b"+OK\r\n+QUEUED\r\n*1\r\n:1\r\n",
        1,
    ),
    State("half a transaction", encode("MULTI") + INCR, b"+OK\r\n+QUEUED\r\n"),
    State("queueing", INCR, b"+QUEUED\r\n", 0, (("MULTI",),)),
    State("watching", INCR, b":1\r\n", 1, (("WATCH", "w"),)),
    State("blocked", encode("BLPOP", "ends:list", "0")),
    State("behind a blocked command", encode("BLPOP", "ends:list", "0") + INCR),
    State("subscribed", b"", b"", 0, (("SUBSCRIBE", "ends:channel"),)),
    State("uploading", encode("SET", "ends:value", b"x" * MB)[: MB // 2]),
]
ENDS = {
    "half-close": lambda client: client.socket.shutdown(socket.SHUT_WR),
    "close": lambda client: client.close(),
    "reset": lambda client: client.reset(),
}


@pytest.fixture(scope="module")
def world(keep):
    """One pin at a time: whoever keeps it is noticed."""
    server = keep.server()
    return server, keep.redpool(server, pool={"maxOpen": 3, "maxPinned": 1, "poolTimeout": "5s"})


@pytest.mark.parametrize(
    "state, end",
    list(itertools.product(STATES, ENDS)),
    ids=[f"{state.name}-{end}" for state, end in itertools.product(STATES, ENDS)],
)
def test_end(world, state, end):
    server, redpool = world
    server.command("FLUSHALL")
    with redpool.connect() as neighbour:
        client = redpool.connect()
        for command in state.setup:
            client.command(*command)
        client.send(state.burst)
        if "blocked" in state.name:
            eventually(lambda: server.info("blocked_clients") == "1")
        ENDS[end](client)
        assert neighbour.command("ECHO", "works") == b"works"
        if end == "half-close":
            assert client.read_until_closed() == state.replies
            client.close()
        check_what_has_run(server, state, end)
        check_what_is_left(server, neighbour)


def test_who_sees_the_end_of_a_blocked_client_is_not_robbed_by_it(world):
    """As on a direct connection, the other direction ends when the server has seen the first."""
    server, redpool = world
    with redpool.connect() as neighbour:
        # The end is given out after 0.9 s whatever the server says: this machine may be slower.
        assert any(not ends_before_the_server_knows(server, redpool) for _ in range(5))
        check_what_is_left(server, neighbour)


def ends_before_the_server_knows(server, redpool) -> bool:
    with redpool.connect() as client:
        client.send(encode("BLPOP", "ends:list", "0"))
        eventually(lambda: server.info("blocked_clients") == "1")
        server.pause()
        try:
            client.socket.shutdown(socket.SHUT_WR)
            # Answered by Redpool itself, which has then seen the end.
            with redpool.connect() as other:
                assert other.command("QUIT") == b"OK"
            has_ended, _, _ = select.select([client.socket], [], [], 0)
        finally:
            server.resume()
        assert client.read_until_closed() == b""
        return bool(has_ended)


def check_what_has_run(server, state, end):
    if end == "reset":
        # What had not been read when the reset came never was there.
        assert int(server.command("GET", "ends:count") or 0) <= state.runs
    else:
        eventually(lambda: int(server.command("GET", "ends:count") or 0) == state.runs)
    assert server.command("EXISTS", "ends:value") == 0


def check_what_is_left(server, neighbour):
    """Nobody waits in its place, and the pin is free, and clean."""
    eventually(lambda: server.info("blocked_clients") == "0")
    eventually(lambda: server.command("PUBSUB", "NUMSUB", "ends:channel") == [b"ends:channel", 0])
    assert server.command("RPUSH", "ends:list", "x") == 1
    assert neighbour.command("BLPOP", "ends:list", "1") == [b"ends:list", b"x"]
    assert neighbour.command("WATCH", "w") == b"OK"
    assert neighbour.command("MULTI") == b"OK"
    assert neighbour.command("EXEC") == []


@pytest.mark.parametrize("member", [("SELECT", "7"), ("HELLO", "3"), ("CLIENT", "TRACKING", "ON")], ids=" ".join)
def test_transaction_whose_client_has_gone_leaves_nothing(launch, member):
    """What EXEC has changed is not known any more: nobody else gets that connection."""
    server = launch.server()
    redpool = launch.redpool(server, pool={"minIdle": 2, "maxOpen": 2, "maxPinned": 1})
    eventually(lambda: len(server.upstreams()) == 2)
    server.command("SET", "which", "zero")
    for _ in range(3):
        client = redpool.connect()
        for words in (("MULTI",), member, ("GET", "which")):
            client.command(*words)
        server.pause()
        client.send(encode("EXEC"))
        eventually(lambda: server.unread_bytes() > 0, what="EXEC at the server")
        client.reset()
        server.resume()
        with redpool.connect() as other:
            for _ in range(3):
                assert other.command("WATCH", "k") == b"OK"
                assert other.command("GET", "which") == b"zero"
                assert b" db=0 " in other.command("CLIENT", "INFO")
                assert other.command("CLIENT", "TRACKINGINFO")[1] == [b"off"]
                assert other.command("UNWATCH") == b"OK"
