"""The attackers of riot.py: they vanish at any byte, stall, and flood, over every pool and address.

Each keeps a few connections for a while. What is left of a client for longer than the manual says
is a finding: a stalled upload after 60 s, a silent transaction after `transactionTimeout`.
"""

import contextlib
import socket
import struct
import subprocess
import time

from besiegers import WRONG_LOGINS, harmless
from harness.attacks import ATTACKS, MISUNDERSTOOD, bytes_of
from harness.wire import encode
from riot_ground import (
    BIG, POOL_TIMEOUT, SLACK, TRANSACTION_TIMEOUT, UPLOAD_TIMEOUT, chance_of,
)
from test_leaks import step_of

KB, MB = 1 << 10, 1 << 20
THREADS, HELD = 5, 3
LONG = b"n" * 60_000


def upload(chance) -> bytes:
    size = chance.choice((100, 140, 200, 600, 2000)) * KB
    return encode("SET", f"riot:up{chance.randrange(4)}", b"u" * size)


def plain(chance) -> bytes:
    key = f"riot:k{chance.randrange(8)}"
    return bytes_of([("SET", key, "v" * chance.choice((3, 300))), ("GET", key), ("INCR", "riot:n")])


# What a client has sent when it leaves or stalls: one of each kind, and several in a row.
SCRIPTS = [
    plain,
    lambda chance: plain(chance) * chance.randrange(2, 200),
    lambda chance: bytes_of([("MULTI",), ("SET", "riot:k", "1"), ("GET", BIG), ("EXEC",)]),
    lambda chance: bytes_of([("MULTI",), ("CLIENT", "ID"), ("GET", BIG), ("GET", BIG), ("EXEC",)]),
    lambda chance: bytes_of([("MULTI",), ("SET", "riot:k", "1")]),
    lambda chance: bytes_of([("WATCH", "riot:k"), ("MULTI",), ("INCR", "riot:n"), ("EXEC",)]),
    lambda chance: bytes_of([("WATCH", "riot:k"), ("GET", "riot:k")]),
    lambda chance: encode("BLPOP", "riot:none", "0") + plain(chance) * chance.choice((0, 1, 3000)),
    lambda chance: encode("BLMOVE", "riot:none", "riot:other", "LEFT", "LEFT", "0"),
    lambda chance: encode("XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "riot:x", ">"),
    lambda chance: bytes_of([("SUBSCRIBE", "riot:c", "riot:d"), ("PSUBSCRIBE", "riot:*")]),
    lambda chance: bytes_of([("HELLO", "3"), ("SUBSCRIBE", "riot:c"), ("GET", BIG)]),
    lambda chance: encode("PUBLISH", "riot:c", b"m" * chance.choice((10, 20_000))) * 20,
    lambda chance: encode("MONITOR"),
    lambda chance: bytes_of([("HELLO", "3"), ("CLIENT", "TRACKING", "ON"), ("GET", "riot:k1")]),
    lambda chance: bytes_of([("HELLO", "3"), ("CLIENT", "TRACKING", "ON", "BCAST")]),
    lambda chance: encode("EVAL", "return redis.call('GET', KEYS[1])", "1", BIG),
    lambda chance: encode("EVAL", "for i = 1, 200000 do end return 1", "0"),
    upload, upload,
    lambda chance: encode("GET", BIG) * chance.choice((1, 5, 30)),
    lambda chance: b"SET riot:k 1\r\nGET riot:k\r\n\r\nPING\r\n" * chance.choice((1, 50)),
    lambda chance: bytes_of([harmless(step_of(chance)) for _ in range(chance.randrange(1, 9))]),
    lambda chance: bytes_of(chance.choice(list(ATTACKS.values()))),
    lambda chance: bytes_of([chance.choice(WRONG_LOGINS), ("HELLO", "3"), ("GET", "riot:k")]),
]
# Requests for far more than anybody takes who does not read.
GREEDY = [
    lambda chance: encode("GET", BIG) * 40,
    lambda chance: encode("ECHO", b"e" * 200) * 20_000,
    lambda chance: bytes_of([("MULTI",), ("CLIENT", "ID"), *[("GET", BIG)] * 20, ("EXEC",)]),
    lambda chance: encode("MONITOR"),
    lambda chance: encode("SUBSCRIBE", "riot:c"),
    lambda chance: bytes_of([("HELLO", "3"), ("CLIENT", "TRACKING", "ON", "BCAST")]),
    lambda chance: encode("CLIENT", "SETNAME", LONG) + encode("CLIENT", "GETNAME") * 50,
    lambda chance: encode("CLIENT", "SETNAME", LONG[:9000]) + encode("CLIENT", "LIST") * 20,
    lambda chance: encode("EVAL", "return string.rep('x', 50000)", "0") * 100,
]
FLOODS = [
    lambda chance: encode("PING") * 40_000,
    lambda chance: plain(chance) * 5_000,
    lambda chance: b"\r\n" * 200_000,
    lambda chance: b"PING\r\n" * 60_000,
    lambda chance: encode("WATCH", "riot:k") * 5_000,
    lambda chance: encode("SELECT", "1") * 5_000,
    lambda chance: encode(*chance.choice(MISUNDERSTOOD)) * 200,
    lambda chance: encode("AUTH", "bob", "wrong") * 500,
    lambda chance: encode("BLPOP", "riot:none", "0.001") * 300,
    lambda chance: encode("NOSUCHCOMMAND", "x" * 50) * 5_000,
    lambda chance: encode("CLIENT", "LIST") * 300,
]


class Held:
    """A connection that an attacker keeps for a while, and what is expected of it."""

    def __init__(self, client, seconds, slow=False, closed_within=None, what="", place=None):
        self.client, self.slow, self.what, self.place = client, slow, what, place
        now = time.monotonic()
        self.until = now + (closed_within or seconds)
        self.closed_within, self.since = closed_within, now


class Rioter:
    """One thread's attacker."""

    def __init__(self, places, number, seed, tally):
        self._places, self._tally = places, tally
        self._chance = chance_of("rioter", number, seed)
        self._held, self._patient = [], None

    def step(self):
        kind = self._chance.choices(KINDS, WEIGHTS)[0]
        # Being closed, refused or ignored is what an attacker has to expect.
        with contextlib.suppress(OSError):
            kind(self)
        self._tally.add("attacks")
        self._tend()
        time.sleep(0.02 * self._chance.random())

    def leave(self):
        for held in self._held:
            held.client.close()
        if self._patient:
            self._patient.client.close()

    def vanish(self):
        client = self._connect()
        try:
            self._write(client, self._script())
            if self._chance.random() < 0.6:
                client.settimeout(self._chance.choice((0.001, 0.01, 0.1)))
                client.recv(1 << self._chance.randrange(18))
        finally:
            self._end(client)

    def stall(self):
        """Stops, and keeps all that it has: in the middle of a script, of an upload, of replies."""
        client = self._connect()
        greedy = self._chance.random() < 0.4
        if greedy:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        data = self._chance.choice(GREEDY)(self._chance) if greedy else self._script()
        with contextlib.suppress(OSError):
            self._write(client, data)
        seconds = self._chance.choice((0.2, 1, 3, 8, 15))
        self._hold(Held(client, seconds, slow=self._chance.random() < 0.4))

    def flood(self):
        client = self._connect()
        client.settimeout(self._chance.choice((0.2, 2)))
        try:
            client.sendall(self._chance.choice(FLOODS)(self._chance))
            until = time.monotonic() + self._chance.choice((0, 1, 3))
            while time.monotonic() < until and client.recv(1 << 18):
                pass
        finally:
            self._end(client)

    def flood_connections(self):
        crowd, place = [], self._chance.choice(self._places)
        try:
            for _ in range(self._chance.randrange(10, 80)):
                crowd.append(self._connect(place, login=False))
                if self._chance.random() < 0.3:
                    self._write(crowd[-1], plain(self._chance))
        finally:
            for client in crowd:
                self._end(client, may_hold=False)

    def take_pins(self):
        """More of them than there are, for a moment."""
        crowd, place = [], self._chance.choice(self._places)
        data = encode("BLPOP", "riot:none", "0"), encode("MULTI"), encode("SUBSCRIBE", "riot:e")
        try:
            for _ in range(self._chance.randrange(10, 50)):
                crowd.append(self._connect(place))
                crowd[-1].sendall(self._chance.choice(data))
            time.sleep(self._chance.choice((0.1, 1, 3, 7)))
        finally:
            for client in crowd:
                self._end(client, may_hold=False)

    def be_patient(self):
        """Waits to be closed for what it does, as the manual promises."""
        if self._patient:
            return
        place = self._chance.choice(self._places)
        client = self._connect(place)
        if self._chance.random() < 0.5:
            limit, what = TRANSACTION_TIMEOUT, self._chance.choice(("MULTI", "WATCH"))
            client.sendall(encode("WATCH", "riot:k") if what == "WATCH" else encode("MULTI"))
        else:
            limit, what = UPLOAD_TIMEOUT, "upload"
            data = encode("SET", "riot:up", b"u" * MB)
            client.sendall(data[: self._chance.randrange(150_000, 600_000)])
        self._patient = Held(
            client, 0, closed_within=limit + POOL_TIMEOUT + 2 * SLACK, what=what, place=place)

    def _connect(self, place=None, login=True):
        place = place or self._chance.choice(self._places)
        client = self._chance.choice(place.addresses).connect(3)
        if login and place.login and self._chance.random() < 0.8:
            client.sendall(encode(*place.login))
        if self._chance.random() < 0.3:
            client.sendall(encode("HELLO", "3"))
        return client

    def _script(self):
        data = b""
        for _ in range(self._chance.choice((1, 1, 1, 2, 4))):
            data += self._chance.choice(SCRIPTS)(self._chance)
        if self._chance.random() < 0.5:
            data = data[: self._chance.randrange(len(data) + 1)]
        return data

    def _write(self, client, data):
        """In one piece or in some; what nobody takes is given up."""
        client.settimeout(0.5)
        cut = self._chance.randrange(len(data) + 1) if self._chance.random() < 0.3 else 0
        client.sendall(data[:cut])
        client.sendall(data[cut:])

    def _end(self, client, may_hold=True):
        how = self._chance.random()
        if how < 0.35:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how < 0.5 and may_hold:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            self._hold(Held(client, self._chance.choice((0.1, 2, 10))))
            return
        elif how < 0.53:
            sleeper = subprocess.Popen(["sleep", "100"], pass_fds=[client.fileno()])
            client.close()
            sleeper.kill()
            sleeper.wait()
        client.close()

    def _hold(self, held):
        self._held.append(held)
        while len(self._held) > HELD:
            self._end(self._held.pop(0).client, may_hold=False)

    def _tend(self):
        """Slow readers read a little, whoever has waited for long enough leaves."""
        now = time.monotonic()
        for held in [held for held in self._held if held.until < now]:
            self._held.remove(held)
            self._end(held.client, may_hold=False)
        for held in self._held:
            if held.slow:
                self._take(held.client, 4096)
        if self._patient:
            self._judge(self._patient, now - self._patient.since)

    def _judge(self, held, waited):
        """Whether it is closed in time; who has been refused holds nothing."""
        data = self._take(held.client, 1 << 16)
        if data == b"":
            self._tally.add("expected")
            self._tally.waited(held.place, f"end of a silent {held.what}", held.since)
        elif held.until < time.monotonic():
            self._tally.fail(f"a silent {held.what} is still there after {waited:.0f} s")
        elif not data or not (data.startswith(b"-") or b"\r\n-" in data):
            return
        held.client.close()
        self._patient = None

    def _take(self, client, count):
        """What there is, None if nothing is, and nothing at the end."""
        client.settimeout(0)
        try:
            return client.recv(count)
        except BlockingIOError:
            return None
        except OSError:
            return b""


KINDS = [
    Rioter.vanish, Rioter.stall, Rioter.flood, Rioter.flood_connections, Rioter.take_pins,
    Rioter.be_patient,
]
WEIGHTS = [60, 20, 4, 2, 0.3, 2]
