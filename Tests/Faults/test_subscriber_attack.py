"""Hostile subscribers on a shared upstream: half commands, random bytes, pipelines of changes, ends
in every state. Beside them, clients that know each message which they are due."""

import random
import threading

import pytest

from harness.waiting import eventually
from harness.wire import Closed, encode

pytestmark = pytest.mark.daemon

NAMES = [
    b"a", b"b", b"witness", b"redpool:fence", b"redpool:fence:1", b"", b"a\r\n*3\r\n",
    b"n" * 65_536,
]
VERBS = ["SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "PUNSUBSCRIBE", "SSUBSCRIBE", "SUNSUBSCRIBE"]
OTHERS = [
    ("PING",), ("PING", "x"), ("GET", "k"), ("RESET",), ("QUIT",), ("HELLO", "3"), ("HELLO", "2"),
    ("PUBLISH", "a", "m"), ("SPUBLISH", "a", "m"), ("MULTI",), ("EXEC",), ("DISCARD",),
    ("WATCH", "k"),
    ("CLIENT", "REPLY", "OFF"), ("CLIENT", "REPLY", "ON"), ("CLIENT", "REPLY", "SKIP"),
    ("NOSUCH", "x"),
    ("CLIENT", "TRACKING", "ON"), ("CLIENT", "TRACKING", "OFF"), ("MONITOR",),
    ("BLPOP", "none", "0.01"),
    ("AUTH", "ann", "ann"), ("AUTH", "ann", "wrong"), ("SELECT", "3"), ("SUBSCRIBE",),
    ("PING", "a", "b"),
    ("SUBSCRIBE", "__redis__:invalidate"), ("CLIENT", "ID"), ("EVAL", "return 1", "0"),
    ("UNSUBSCRIBE",),
    ("PUNSUBSCRIBE",), ("SUNSUBSCRIBE",), ("SET", "k", "v" * 200_000),
]


def attack(r) -> list:
    """What one attacker writes, piece by piece."""
    data = b""
    for _ in range(r.randint(1, 25)):
        if r.random() < 0.6:
            data += encode(r.choice(VERBS), *(r.choice(NAMES) for _ in range(r.randint(1, 6))))
        else:
            data += encode(*r.choice(OTHERS))
    kind = r.random()
    if kind < 0.15:
        data = data[: r.randint(0, len(data))]
    elif kind < 0.3:
        place = r.randint(0, len(data))
        data = data[:place] + r.randbytes(r.randint(1, 40)) + data[place:]
    elif kind < 0.33:
        data += encode("SUBSCRIBE", *(b"%d" % one for one in range(3000)))
    elif kind < 0.35:
        data += encode("PSUBSCRIBE", *([b"p" * 65_536] * 80))
    cuts = sorted(r.randint(0, len(data)) for _ in range(r.randint(0, 3)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)])]


class Attackers:
    """They come, write, read a little or nothing, and leave in some way."""

    def __init__(self, redpool, rounds, seed):
        self.failures = []
        self._redpool, self._rounds, self._seed = redpool, rounds, seed

    def run(self):
        try:
            for turn in range(self._rounds):
                self._one(random.Random(self._seed * 1_000_003 + turn))
        except BaseException as failure:
            self.failures.append(repr(failure))

    def _one(self, r):
        client = self._redpool.connect(30)
        try:
            for piece in attack(r):
                client.send(piece)
                if r.random() < 0.5 and client.is_answered():
                    client.socket.recv(r.choice([1, 100, 1 << 16]))
            end = r.random()
            if end < 0.3:
                client.socket.shutdown(1)
                client.read_until_closed()
            elif end < 0.6:
                client.reset()
                return
        except OSError:
            # Closed for what it has sent.
            pass
        client.close()


def witness(redpool, publisher, stop, failures):
    """Subscribes, is told, unsubscribes; a message more or less is a failure."""
    try:
        with redpool.connect(60) as two, redpool.connect(60) as three:
            three.command("HELLO", "3")
            turn = 0
            while not stop.is_set():
                for client in (two, three):
                    publisher.command("PUBLISH", "witness", f"early {turn}")
                    assert client.command("SUBSCRIBE", "witness") == [b"subscribe", b"witness", 1]
                    publisher.command("PUBLISH", "witness", f"due {turn}")
                    client.send(encode("UNSUBSCRIBE", "witness"))
                    assert client.read() == [b"message", b"witness", b"due %d" % turn]
                    assert client.read() == [b"unsubscribe", b"witness", 0]
                turn += 1
    except (AssertionError, Closed, OSError) as failure:
        failures.append(f"witness: {failure!r}")


@pytest.mark.parametrize("threads", [1, 2])
def test_witnesses_beside_hostile_subscribers(launch, threads, full):
    server = launch.server()
    server.command("ACL", "SETUSER", "ann", "on", ">ann", "~*", "resetchannels", "&a*", "+@all")
    redpool = launch.redpool(
        server, pool={"pubsub": "shared", "maxOpen": 24}, settings={"threads": threads})
    rounds = 3_000 if full else 150
    attackers = [Attackers(redpool, rounds, seed) for seed in range(1, 4)]
    stop, failures = threading.Event(), []
    with server.connect() as publisher:
        watching = threading.Thread(target=witness, args=(redpool, publisher, stop, failures))
        work = [threading.Thread(target=one.run) for one in attackers]
        for thread in (watching, *work):
            thread.start()
        for thread in work:
            thread.join()
        stop.set()
        watching.join(120)
    assert not failures, failures
    assert not [failure for one in attackers for failure in one.failures]
    assert "desync" not in redpool.log()

    def is_clean():
        return int(server.info("pubsub_channels")) == 0 == int(server.info("pubsub_patterns"))

    eventually(is_clean, 60, what="no subscription left at the server")
    # Not one is left that counts as pinned.
    with redpool.connect(60) as client:
        for _ in range(30):
            assert client.command("WATCH", "k") == b"OK"
            assert client.command("UNWATCH") == b"OK"
