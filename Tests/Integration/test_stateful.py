"""Commands that tie state to a connection work as on a direct one, and leave nothing behind."""

import itertools
import random
import time

import pytest

from differential import CLIENT_FIELDS, HELLO_ID, INTEGER, TEXT_LENGTH, same, step
from harness.waiting import eventually
from harness.wire import Push, encode

SCRIPTS = {
    "transaction": [
        *[step((word,)) for word in ("MULTI", "PING")],
        *[step(("SET", "k", "1")), step(("INCR", "k")), step(("EXEC",)), step(("GET", "k"))],
    ],
    "transaction in one burst": [
        step(encode("MULTI") + encode("SET", "k", "1") + encode("GET", "k") + encode("EXEC"), 4)
    ],
    "discarded": [step(("MULTI",)), step(("SET", "k", "1")), step(("DISCARD",)), step(("GET", "k"))],
    "aborted by an error": [
        *[step(("MULTI",)), step(("NOSUCH",)), step(("SET", "k", "1")), step(("EXEC",))],
        step(("GET", "k")),
    ],
    "error inside": [
        *[step(("SET", "k", "v")), step(("MULTI",)), step(("LPUSH", "k", "x"))],
        *[step(("GET", "k")), step(("EXEC",))],
    ],
    "EXEC and DISCARD without MULTI": [step(("EXEC",)), step(("DISCARD",)), step(("UNWATCH",))],
    "MULTI with an argument": [step(("MULTI", "x")), step(("SET", "k", "1")), step(("EXEC",))],
    "WATCH that holds": [
        *[step(("WATCH", "k")), step(("MULTI",)), step(("SET", "k", "1")), step(("EXEC",))]
    ],
    "WATCH that is broken by another": [
        *[step(("WATCH", "k")), step(("SET", "k", "other"), on="b"), step(("MULTI",))],
        *[step(("SET", "k", "mine")), step(("EXEC",)), step(("GET", "k"))],
    ],
    "SELECT": [
        *[step(("SET", "k", "zero")), step(("SELECT", "5")), step(("GET", "k"))],
        *[step(("SET", "k", "five")), step(("GET", "k")), step(("GET", "k"), on="b")],
        *[step(("SELECT", "99")), step(("GET", "k")), step(("SELECT", "0")), step(("GET", "k"))],
    ],
    "blocking pop that times out": [step(("BLPOP", "q", "0.05")), step(("PING",))],
    "blocking pop of what is there": [step(("RPUSH", "q", "x")), step(("BLPOP", "q", "1"))],
    "HELLO": [
        *[step(("HELLO",)), step(("HELLO", "3")), step(("HSET", "h", "a", "1"))],
        *[step(("HGETALL", "h")), step(("GET", "missing")), step(("HELLO", "2"))],
        *[step(("HGETALL", "h")), step(("GET", "missing")), step(("HELLO", "4"))],
    ],
    "names": [
        *[step(("CLIENT", "GETNAME")), step(("CLIENT", "SETNAME", "me"))],
        *[step(("CLIENT", "GETNAME")), step(("CLIENT", "SETNAME", "with space"))],
        *[step(("CLIENT", "GETNAME")), step(("CLIENT", "GETNAME"), on="b")],
    ],
    "subscription in RESP2": [
        *[step(("SUBSCRIBE", "a", "b"), replies=2), step(("PUBLISH", "a", "hello"), on="b")],
        *[step(b"", replies=1), step(("PING",)), step(("PING", "x")), step(("GET", "k"))],
        *[step(("UNSUBSCRIBE", "a")), step(("UNSUBSCRIBE", "b")), step(("PING",))],
    ],
    "subscription in RESP3": [
        *[step(("HELLO", "3")), step(("PSUBSCRIBE", "n*")), step(("SET", "k", "v"))],
        *[step(("PUBLISH", "news", "x"), on="b"), step(b"", replies=1), step(("GET", "k"))],
        *[step(("PUNSUBSCRIBE",)), step(("GET", "k"))],
    ],
    "RESET": [
        *[step(("SELECT", "3")), step(("MULTI",)), step(("RESET",)), step(("SET", "k", "1"))],
        *[step(("SELECT", "0")), step(("GET", "k"))],
    ],
    "CLIENT REPLY": [
        *[step(("CLIENT", "REPLY", "OFF"), replies=0), step(("SET", "k", "1"), replies=0)],
        *[step(("CLIENT", "REPLY", "ON")), step(("GET", "k"))],
        *[step(("CLIENT", "REPLY", "SKIP"), replies=0), step(("SET", "k", "2"), replies=0)],
        step(("GET", "k")),
    ],
    "SCRIPT and EVALSHA": [
        *[step(("SCRIPT", "LOAD", "return 7")), step(("EVALSHA", "0" * 40, "0"))],
        step(("EVAL", "return {1, {2, 'x'}, redis.error_reply('MINE no')}", "0")),
    ],
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_as_on_a_direct_connection(server, redpool, script):
    same(server, redpool, script, [HELLO_ID])


def test_client_id_is_the_connection_s_own(server, redpool):
    same(server, redpool, [step(("CLIENT", "ID"))], [INTEGER])
    with redpool.connect() as one, redpool.connect() as other:
        mine = one.command("CLIENT", "ID")
        assert one.command("PING") == b"PONG"
        assert one.command("CLIENT", "ID") == mine
        assert other.command("CLIENT", "ID") != mine


def test_client_info(server, redpool):
    script = [step(("CLIENT", "SETNAME", "me")), step(("SELECT", "2")), step(("CLIENT", "INFO"))]
    same(server, redpool, script, [CLIENT_FIELDS, TEXT_LENGTH])


def test_blocking_pop_is_served_by_another_client(redpool):
    with redpool.connect() as waiting, redpool.connect() as giving:
        waiting.send(encode("BLPOP", "queue", "60"))
        eventually(lambda: b"blocked_clients:1" in giving.command("INFO", "clients"))
        assert giving.command("RPUSH", "queue", "job") == 1
        assert waiting.read() == [b"queue", b"job"]
        assert waiting.command("PING") == b"PONG"


def test_blocked_client_that_leaves_takes_nothing(redpool):
    with redpool.connect() as other:
        with redpool.connect() as leaving:
            leaving.send(encode("BLPOP", "queue", "60"))
            eventually(lambda: b"blocked_clients:1" in other.command("INFO", "clients"))
        eventually(lambda: b"blocked_clients:0" in other.command("INFO", "clients"))
        assert other.command("RPUSH", "queue", "job") == 1
        assert other.command("LRANGE", "queue", "0", "-1") == [b"job"]


@pytest.mark.parametrize("before", ["GET", "INCR", "WATCH", "EVAL"])
def test_client_that_leaves_behind_a_blocking_command_blocks_nothing(server, redpool, before):
    arguments = {"GET": ("k",), "INCR": ("n",), "WATCH": ("k",), "EVAL": ("return 1", "0")}
    for _ in range(10):
        with redpool.connect() as leaving:
            leaving.send(encode(before, *arguments[before]) + encode("BLPOP", "queue", "60"))
    eventually(lambda: server.info("blocked_clients") == "0")


MANY_KEYS = [f"many:{number:06}" for number in range(20000)]
HELD = [(), ("WATCH", "k"), ("CLIENT", "NO-EVICT", "ON")]
BLOCKING = [("WAIT", "3", "0"), ("BLPOP", "nothing", "0"), ("BLPOP", *MANY_KEYS, "0")]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("command", BLOCKING, ids=["wait", "pop", "large"])
@pytest.mark.parametrize("state", HELD, ids=["free", "watch", "no-evict"])
def test_whatever_blocks_can_be_unblocked(launch, threads, state, command):
    if state and len(command) > 1000:
        pytest.skip("it makes the client a pipe")
    server = launch.server()
    redpool = launch.redpool(server, settings={"threads": threads})
    with redpool.connect() as blocked, redpool.connect() as other:
        # It needs a connection of which Redpool has asked nothing yet.
        blocked.command("HELLO", "3")
        number = blocked.command("CLIENT", "ID")
        if state:
            assert blocked.command(*state) == b"OK"
        blocked.send(encode(*command))
        eventually(lambda: int(server.info("blocked_clients")) == 1)
        # The server may say that it blocks before another thread has read the number that it has
        # there.
        words = ("CLIENT", "UNBLOCK", number, "ERROR")
        eventually(lambda: other.command(*words) == 1, what="the client being unblocked")
        assert blocked.read().startswith(b"UNBLOCKED ")


def test_client_tracking_pushes_invalidations(redpool):
    with redpool.connect() as reader, redpool.connect() as writer:
        assert reader.command("HELLO", "3")[b"proto"] == 3
        assert reader.command("CLIENT", "TRACKING", "ON") == b"OK"
        assert reader.command("GET", "k") is None
        assert writer.command("SET", "k", "1") == b"OK"
        push = reader.read()
        assert isinstance(push, Push) and push == [b"invalidate", [b"k"]]


def test_monitor_stream_ends_with_its_client(server, redpool):
    with redpool.connect() as watching, redpool.connect() as other:
        assert watching.command("MONITOR") == b"OK"
        assert any("O" in row["flags"] for row in server.upstreams())
        assert other.command("SET", "seen", "1") == b"OK"
        # Besides the commands of clients, the daemon's own can be in the stream.
        lines = iter(watching.read, None)
        assert next(line for line in lines if b'"SET"' in line).endswith(b'"SET" "seen" "1"')
    eventually(lambda: not any("O" in row["flags"] for row in server.upstreams()))


# What a client may leave behind when it vanishes: nothing of it may reach the next one.
DIRT = [
    ("SELECT", "7"),
    ("MULTI",),
    ("WATCH", "k"),
    ("SET", "dirt", "x"),
    ("CLIENT", "SETNAME", "ghost"),
    ("HELLO", "3"),
    ("SUBSCRIBE", "ghosts"),
    ("CLIENT", "REPLY", "OFF"),
    ("CLIENT", "NO-EVICT", "ON"),
    ("CLIENT", "TRACKING", "ON"),
    ("MONITOR",),
    ("BLPOP", "never", "0"),
    ("EVAL", "return 1", "0"),
]


@pytest.mark.daemon
@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_client_that_vanishes_gives_its_pin_back(launch, end):
    """There is one pin to be had, so whoever kept it would keep it from everybody."""
    redpool = launch.redpool(
        launch.server(),
        pool={"maxOpen": 4, "maxPinned": 1, "poolTimeout": "15s"},
        settings={"drainTimeout": "120s"},
    )
    for first, second in itertools.product(DIRT, DIRT):
        ghost = redpool.connect()
        ghost.send(encode(*first) + encode(*second))
        getattr(ghost, end)()
        with redpool.connect() as fresh:
            assert fresh.command("WATCH", "k") == b"OK", (first, second)
    started = time.monotonic()
    assert redpool.stop() == 0
    assert time.monotonic() - started < 30, "the drain waited for clients that were long gone"


@pytest.mark.parametrize("seed", range(8))
def test_a_client_that_vanishes_leaves_nothing_to_the_next(server, redpool, seed):
    chance = random.Random(seed)
    for _ in range(25):
        ghost = redpool.connect()
        for _ in range(chance.randrange(1, 6)):
            ghost.send(encode(*chance.choice(DIRT)))
        ghost.reset() if chance.random() < 0.5 else ghost.close()
        with redpool.connect() as fresh:
            assert fresh.command("GET", "nobody") is None
            assert fresh.command("SET", "fresh", "1") == b"OK"
            assert fresh.command("CLIENT", "GETNAME") is None
            assert fresh.command("EXEC") == b"ERR EXEC without MULTI"
            info = fresh.command("CLIENT", "INFO")
            assert b" db=0 " in info and b" sub=0 " in info and b" flags=N " in info, info
    assert server.command("GET", "fresh") == b"1"


def test_a_pause_holds_up_only_what_writes(launch):
    """The server lets reads pass during CLIENT PAUSE WRITE, and so must a shared connection."""
    redpool = launch.redpool(launch.server(), pool={"maxOpen": 4})
    with redpool.connect() as pauser, redpool.connect() as writer, redpool.connect() as reader:
        assert reader.command("SET", "k", "v") == b"OK"
        assert pauser.command("CLIENT", "PAUSE", "60000", "WRITE") == b"OK"
        writer.send(encode("GET", "k") + encode("SET", "k", "w"))
        for _ in range(20):
            assert reader.command("GET", "k") == b"v"
            assert pauser.command("GET", "k") == b"v"
        assert writer.read() == b"v"
        assert pauser.command("CLIENT", "UNPAUSE") == b"OK"
        assert writer.read() == b"OK"
        assert reader.command("GET", "k") == b"w"
