"""Hostile clients that vanish in every state: nobody else may find anything of theirs."""

import contextlib
import random
import time

import pytest

import grammar
import mutate
from harness.daemon import Redpool
from harness.server import RedisServer
from harness.wire import encode
from world import POOL, prepare

# A ghost's steps: everything of the grammar, and what only a hostile client does.
HOSTILE = [
    ("MONITOR",),
    ("CLIENT", "TRACKING", "ON"),
    ("CLIENT", "TRACKING", "ON", "BCAST"),
    ("CLIENT", "TRACKING", "ON", "OPTIN"),
    ("CLIENT", "TRACKING", "OFF"),
    ("CLIENT", "CACHING", "YES"),
    ("CLIENT", "NO-EVICT", "ON"),
    ("CLIENT", "NO-EVICT", "OFF"),
    ("RESET",),
    ("EXEC",),
    ("GET", "which"),
    ("CLIENT", "REPLY", "OFF"),
    ("CLIENT", "REPLY", "SKIP"),
    ("BLPOP", "never", "0"),
    ("XREAD", "BLOCK", "0", "STREAMS", "never", "$"),
    ("WAIT", "9", "0"),
    ("HELLO", "3", "SETNAME", "ghost"),
    ("AUTH", "ann", "pw"),
    ("SELECT", "7"),
    ("MULTI",),
    ("WATCH", "k"),
    ("SUBSCRIBE", "ghosts"),
    ("ASKING",),
    ("READONLY",),
]
# In Redis's order: what the next client must find. A transaction or a reply mode left behind would
# answer QUEUED or nothing, a subscription would refuse, another user or database would show.
QUESTIONS = [
    (("CLIENT", "GETNAME"), b"$-1\r\n"),
    (("EXEC",), b"-ERR EXEC without MULTI\r\n"),
    (("ACL", "WHOAMI"), b"$7\r\ndefault\r\n"),
    (("HGETALL", "none"), b"*0\r\n"),
    (("GET", "none"), b"$-1\r\n"),
    (("GET", "which"), b"$4\r\nzero\r\n"),
    (("CLIENT", "TRACKINGINFO"), b"*6\r\n$5\r\nflags\r\n*1\r\n$3\r\noff\r\n"),
    (("CLIENT", "GETREDIR"), b":-1\r\n"),
]
# On an upstream of its own, where a watch or a database of somebody else's would still be in force.
HELD = [
    (("MULTI",), b"+OK\r\n"),
    (("GET", "which"), b"+QUEUED\r\n"),
    (("EXEC",), b"*1\r\n$4\r\nzero\r\n"),
]
# A client that tracks finds its own keys only, and its upstream's flags are the server's word: what
# the clients before it have read or turned on is gone.
TRACKING = [
    (("HELLO", "3"), b"%7\r\n"),
    (("CLIENT", "TRACKING", "ON"), b"+OK\r\n"),
    (("GET", "mine"), b"_\r\n"),
    (("CLIENT", "GETREDIR"), b":0\r\n"),
]


@pytest.fixture(scope="module")
def side():
    server = RedisServer()
    prepare(server)
    redpool = Redpool(server, pool=POOL)
    yield server, redpool
    redpool.close()
    server.close()


def vanish(redpool, chance) -> int:
    """One ghost. Returns the number of its steps."""
    ghost = redpool.connect(timeout=20)
    steps = chance.randrange(1, 12)
    data = b""
    for _ in range(steps):
        data += encode(*step_of(chance))
        if chance.random() < 0.2:
            write(ghost, data)
            data = b""
    if chance.random() < 0.2:
        data = data[: chance.randrange(len(data) + 1)]
    write(ghost, data)
    if chance.random() < 0.5:
        ghost.reset()
    else:
        ghost.close()
    return steps


def step_of(chance) -> tuple:
    """One command of a ghost. What is misspelled is rare, because a pool takes ten a second."""
    kind = chance.random()
    if kind < 0.35:
        return chance.choice(HOSTILE)
    if kind < 0.45:
        command = mutate.respelled(chance)
    elif kind < 0.47:
        command = mutate.misnamed(chance)
    elif kind < 0.478:
        command = mutate.misspelled(chance)
    else:
        command = grammar.commands(chance.randrange(1 << 40))[0]
    # One that comes late would take away what the next client must find.
    return ("MULTI",) if command[0].upper().startswith("FLUSH") else command


def write(ghost, data):
    # A QUIT among the steps has closed it already.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        ghost.send(data)


def ask(client, questions):
    client.send(b"".join(encode(*question) for question, _ in questions))
    for question, expected in questions:
        answer = client.read_raw()
        assert answer.startswith(expected), f"{question}: {answer!r}"


@pytest.mark.long
def test_whoever_comes_next_finds_nothing(side, full):
    server, redpool = side
    wanted = 1_000_000 if full else 100_000
    chance = random.Random(7)
    played = told = slowest = 0
    while played < wanted:
        started = time.monotonic()
        server.command("FLUSHALL")
        server.command("SET", "which", "zero")
        for _ in range(24):
            played += vanish(redpool, chance)
        # A shared upstream, an idle one and one that is new: as many as the pool has.
        clients = [redpool.connect(timeout=20) for _ in range(3)]
        server.command("FLUSHALL")
        server.command("SET", "which", "zero")
        for client in clients:
            with client:
                ask(client, QUESTIONS)
                ask(client, HELD)
        with redpool.connect(timeout=20) as client:
            ask(client, TRACKING)
            # Whatever keys the ghosts have read: nobody is told of them.
            for key in ("which", *grammar.KEYS):
                server.command("SET", key, "zero")
            client.send(encode("CLIENT", "INFO") + encode("CLIENT", "TRACKING", "OFF"))
            info = client.read_raw()
            assert info.startswith(b"=") and b" flags=t " in info, info
            assert client.read_raw() == b"+OK\r\n"
        slowest = max(slowest, time.monotonic() - started)
        if played - told >= 50_000:
            # For the reader of a run that meets its limit: no read waits longer than 30 s, so a run
            # that goes on is slow, and does not hang.
            told = played
            print(f"{played} steps, slowest round {slowest:.2f} s")
    assert "upstream.desync" not in redpool.log()
