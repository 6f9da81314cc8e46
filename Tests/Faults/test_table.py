"""Fault x what the client was doing: the exact outcome for it, and for a neighbour.

Every row strikes one command. The client must get every complete reply before it, then what the
row says; the command must have been sent once; and a client on another upstream notices nothing.
"""

import itertools
from dataclasses import dataclass

import pytest

from harness.waiting import eventually
from harness.wire import Closed, encode
from harness.middleman import PUSH, SURPLUS

MB = 1 << 20


@dataclass
class State:
    """What a client does when the fault strikes the command with `marker`."""

    name: str
    burst: bytes
    # The replies without any fault, and which of them is the struck one.
    replies: tuple
    struck: int
    setup: tuple = ()
    # The upstream is its own, so that its loss is the end of the client.
    is_held: bool = False
    marker: bytes = b"fault:key"


GET = encode("GET", "fault:key")
VALUE = b"$5\r\nvalue\r\n"
ECHO = (encode("ECHO", "before"), encode("ECHO", "after"))
ECHOED = (b"$6\r\nbefore\r\n", b"$5\r\nafter\r\n")
OK, QUEUED = b"+OK\r\n", b"+QUEUED\r\n"

STATES = [
    State("plain", GET, (VALUE,), 0),
    State("pipeline", ECHO[0] + GET + ECHO[1], (ECHOED[0], VALUE, ECHOED[1]), 1),
    State(
        "transaction in one burst",
        encode("MULTI") + GET + encode("EXEC"),
        (OK, QUEUED, b"*1\r\n" + VALUE),
        1,
    ),
    State("watching", GET, (VALUE,), 0, (("WATCH", "w"),), True),
    State("queueing", GET, (QUEUED,), 0, (("MULTI",),), True),
    State(
        "at EXEC",
        encode("EXEC"),
        (b"*1\r\n" + VALUE,),
        0,
        (("WATCH", "w"), ("MULTI",), ("GET", "other")),
        True,
        b"EXEC",
    ),
    State("blocked", encode("BLPOP", "fault:list", "0"), (), 0, (), True, b"fault:list"),
    State(
        "uploading",
        encode("SET", "fault:key", b"x" * MB),
        (OK,),
        0,
        (),
        True,
    ),
]

# Per fault: how much of the struck reply the client gets, and what comes then.
#   closed   the connection ends, or, where `onUpstreamLoss: error` can be honoured, UPSTREAMLOST
#   cut      part of a reply has been relayed: the connection ends, whatever the policy
#   retired  the reply stands; the upstream does not, so a client who held it is closed
#   open     nothing has happened
OUTCOMES = {
    "close": ("none", "closed"),
    "reset": ("none", "closed"),
    "stall": ("none", "closed"),
    "cut": ("half", "cut"),
    "stall-inside": ("half", "cut"),
    "garbage": ("none", "closed"),
    "push": ("none", "closed"),
    "surplus": ("whole", "retired"),
    "trickle": ("whole", "open"),
}
# Those that only a deadline ends. It is too short for whatever else a busy machine does slowly, so
# all other faults strike under a long one.
SILENT = ("stall", "stall-inside")
REASONS = {
    "stall": "command_timeout",
    "stall-inside": "command_timeout",
    "garbage": "desync",
    "push": "desync",
}


def possible(state, fault):
    if state.name == "blocked":
        # No deadline applies to it, and faults at a reply are the others' subject.
        return fault in ("close", "reset")
    if fault == "surplus":
        # Inside a pipeline it cannot be told from the reply to the next command.
        return len(state.replies) == 1
    return True


ROWS = [
    (state, fault)
    for state, fault in itertools.product(STATES, OUTCOMES)
    if possible(state, fault)
]


class World:
    """A server, a middleman in front of it, and a daemon of one policy."""

    def __init__(self, keep, server, transport, policy, command_timeout):
        self.server, self.policy = server, policy
        self.middleman = keep.middleman(server, transport == "unix")
        pool = {"onUpstreamLoss": policy, "commandTimeout": command_timeout}
        self.redpool = keep.redpool(self.middleman, pool=pool)


@pytest.fixture(scope="module", params=["tcp-close", "tcp-error", "unix-close", "unix-error"])
def worlds(request, keep):
    """One whose daemon waits long for a reply, and one for silent faults."""
    server = keep.server()
    return [World(keep, server, *request.param.split("-"), limit) for limit in ("60s", "1s")]


@pytest.fixture
def world(request, worlds):
    return worlds[request.node.callspec.params.get("fault") in SILENT]


@pytest.fixture
def neighbour(world):
    """Works on other upstreams: those of database 1."""
    with world.redpool.connect() as client:
        assert client.command("SELECT", "1") == OK.strip()[1:]
        counter = itertools.count(client.command("INCR", "neighbour") + 1)

        def works():
            assert client.command("INCR", "neighbour") == next(counter)

        works()
        yield works
        works()


@pytest.mark.parametrize("state, fault", ROWS, ids=[f"{s.name}-{f}" for s, f in ROWS])
def test_fault(world, neighbour, state, fault):
    world.server.command("MSET", "fault:key", "value", "other", "value")
    world.middleman.disarm()
    with world.redpool.connect() as client:
        for command in state.setup:
            client.command(*command)
        world.middleman.arm(state.marker, fault)
        seen = world.middleman.seen[state.marker]
        client.send(state.burst)
        eventually(lambda: world.middleman.seen[state.marker] > seen, what="the command's arrival")
        neighbour()
        replies = [client.read_raw() for _ in range(state.struck)]
        assert replies == list(state.replies[: state.struck])
        check_outcome(world, client, state, fault)
        assert world.middleman.seen[state.marker] == seen + 1, "the command was sent again"
    if fault in REASONS:
        eventually(lambda: f"reason={REASONS[fault]}" in world.redpool.log())


def check_outcome(world, client, state, fault):
    shown, end = OUTCOMES[fault]
    if shown == "whole":
        for reply in state.replies[state.struck :]:
            assert client.read_raw() == reply
    if end == "open" or (end == "retired" and not state.is_held):
        check_still_works(world, client, *([QUEUED] if state.name == "queueing" else []))
    elif end == "retired" and state.name in ("at EXEC", "uploading"):
        # The reply has ended the hold, so the surplus hit nobody.
        check_still_works(world, client)
    elif end == "closed" and world.policy == "error" and not state.is_held:
        for _ in state.replies[state.struck :]:
            assert client.read_raw().startswith(b"-UPSTREAMLOST pool main: ")
        check_still_works(world, client)
    else:
        struck = state.replies[state.struck] if state.replies else b""
        partial = struck[: len(struck) // 2] if shown == "half" else b""
        assert client.read_until_closed() == partial


def check_still_works(world, client, reply=b"$10\r\nstill here\r\n"):
    client.send(encode("ECHO", "still here"))
    assert client.read_raw() == reply


SUBSCRIPTION_OUTCOMES = {"close": b"", "reset": b"", "garbage": b"", "surplus": b""}


@pytest.mark.parametrize("fault", SUBSCRIPTION_OUTCOMES)
def test_subscribed(world, neighbour, fault):
    """A subscriber gets every whole message, then the end."""
    with world.redpool.connect() as client:
        assert client.command("SUBSCRIBE", "news") == [b"subscribe", b"news", 1]
        assert world.server.command("PUBLISH", "news", "hello") == 1
        assert client.read() == [b"message", b"news", b"hello"]
        world.middleman.strike_at(b"news", fault)
        assert client.read_until_closed() == SUBSCRIPTION_OUTCOMES[fault]
        neighbour()
    eventually(lambda: world.server.command("PUBSUB", "NUMSUB", "news") == [b"news", 0])


@pytest.mark.parametrize("fault", ["close", "reset", "surplus", "push", "garbage"])
def test_idle(world, fault):
    """What happens to idle upstreams is never an error for anyone."""
    with world.redpool.connect() as client, world.redpool.connect() as other:
        for one in (client, other):
            check_still_works(world, one)
        spoiled = set(world.middleman.links)
        world.middleman.strike(fault)
        # minIdle brings a new one.
        eventually(lambda: world.middleman.links and not spoiled & set(world.middleman.links))
        for one in (client, other):
            check_still_works(world, one)


@pytest.mark.parametrize("surprise", [SURPLUS, PUSH], ids=["surplus", "push"])
def test_nothing_unexpected_reaches_anybody(world, surprise):
    """Strikes while commands of several clients are in flight: no client ever reads it."""
    clients = [world.redpool.connect() for _ in range(8)]
    kind = "push" if surprise == PUSH else "surplus"
    for _ in range(10):
        world.middleman.strike(kind)
        for client in clients:
            client.send(encode("ECHO", "mine"))
        for index, client in enumerate(clients):
            try:
                raw = client.read_raw()
            except Closed as end:
                assert end.partial == b""
                client.close()
                clients[index] = world.redpool.connect()
                continue
            assert raw == b"$4\r\nmine\r\n" or raw.startswith(b"-UPSTREAMLOST"), raw
    for client in clients:
        client.close()
