"""The attackers of siege.py: each thread of theirs does one hostile thing after another."""

import contextlib
import multiprocessing
import random
import socket
import struct
import threading
from collections import deque

import grammar
import mutate
from harness.attacks import ATTACKS, MISUNDERSTOOD, SPLITTING, bytes_of
from harness.wire import encode
from test_leaks import step_of
from test_strangers import FRAMES, LINES, LOGIN, STATES, STAYING

PROCESSES, THREADS = 2, 4
# How many connections a thread leaves open behind it, and how long it rests in between, in seconds.
# Together they hold fewer upstreams than the pools have pins, so that nobody has to be refused.
HELD, REST = 2, 0.01

# Several replies from one script, in every way in which a script can answer.
SPLITS = [
    [("EVAL", SPLITTING, "0")],
    [("EVAL", SPLITTING, "0")] * 5,
    [("EVAL", "return 1", "0"), ("EVAL", SPLITTING, "0"), ("EVAL", "return 2", "0")],
    [("MULTI",), ("EVAL", SPLITTING, "0"), ("GET", "s1"), ("EXEC",)],
    [("MULTI",), ("EVAL", SPLITTING, "0")],
    [("HELLO", "3"), ("EVAL", SPLITTING, "0")],
    [("SELECT", "2"), ("EVAL", SPLITTING, "0"), ("SELECT", "0")],
    [("WATCH", "s1"), ("EVAL", SPLITTING, "0"), ("UNWATCH",)],
    [("SCRIPT", "LOAD", SPLITTING), ("EVAL", SPLITTING, "0"), ("PING",)],
    [("EVAL", "return redis.error_reply('a\\r\\n$5\\r\\nhello')", "0")],
    [("EVAL", "return {err='a\\r\\n:1\\r\\n:2'}", "0"), ("EVAL", "return {ok='a\\r\\n+b'}", "0")],
    [("EVAL", "return redis.pcall('a\\r\\n:1\\r\\n:2')", "0")],
    [("EVAL", "error({err='a\\r\\n:1\\r\\n:2'})", "0")],
    [("EVAL", "return redis.call('SET', 'a\\r\\n+OK')", "0")],
    # What a fence may look like, made up.
    [("EVAL", "error('x\\r\\n$16\\r\\n0123456789abcdef\\r\\n$16\\r\\n0123456789abcdef')", "0")],
]
SPLITS.append([("CLIENT", "REPLY", "SKIP"), *SPLITS[0], ("PING",)])
WRONG_LOGINS = [
    ("AUTH", "bob", "wrong"), ("AUTH", "off", "pw"), ("HELLO", "3", "AUTH", "bob", "wrong"),
    ("HELLO", "2", "AUTH\0", "bob", "wrong"), ("AUTH", "nobody", "x"), ("AUTH", "wrong\0"),
]


class Attacker:
    """One thread. `places` are the addresses of the open pool and of the one with a password."""

    def __init__(self, places, seed, counts, stop):
        self._open, self._locked = places
        self._chance, self._counts, self._stop = random.Random(seed), counts, stop
        self._held = deque()

    def run(self):
        while not self._stop.is_set():
            which = self._chance.choices(range(len(KINDS)), [weight for weight, _ in KINDS])[0]
            # Being closed, refused or ignored is what an attacker has to expect.
            with contextlib.suppress(OSError):
                KINDS[which][1](self)
            self._counts[which] += 1
            self._stop.wait(REST * self._chance.random() * 2)
        while self._held:
            self._held.popleft().close()

    def hostile(self):
        self._attack(self._open, bytes_of(self._chance.choice(list(ATTACKS.values()))))

    def spell(self):
        """A pipeline in which nearly everything is spelled otherwise."""
        commands = []
        for _ in range(self._chance.randrange(1, 9)):
            commands.append(self._chance.choices(
                [mutate.respelled, mutate.misnamed, mutate.misspelled, step_of], [5, 2, 0.3, 4],
            )[0](self._chance))
        self._attack(self._open, bytes_of(map(harmless, commands)))

    def sequence(self):
        seed = self._chance.randrange(1 << 40)
        commands = list(map(harmless, grammar.commands(seed)))
        self._attack(self._open, b"".join(grammar.wire(commands, seed)))

    def split(self):
        self._attack(self._open, bytes_of(self._chance.choice(SPLITS)))

    def login(self):
        """Refused logins, with and without replies that wait to be written, or pushes."""
        start = self._chance.choice([
            [], [("MONITOR",)], [("HELLO", "3"), ("SUBSCRIBE", "c1")], [("SUBSCRIBE", "c1")],
            [("MULTI",)], [("WATCH", "s1")], [("CLIENT", "REPLY", "OFF")], [("PING",)] * 5,
        ])
        behind = [("ECHO", "e"), ("PUBLISH", "c1", "m"), ("GET", "s1"), ("AUTH", "bob", "pw")]
        data = bytes_of(start)
        for _ in range(self._chance.randrange(1, 6)):
            data += encode(*self._chance.choice(WRONG_LOGINS)) + bytes_of(
                self._chance.sample(behind, 2))
        place = self._open if self._chance.random() < 0.6 else self._locked
        self._attack(place, data)

    def strange(self):
        """Who is not logged in, and perhaps is later on."""
        data = b""
        for _ in range(self._chance.randrange(1, 6)):
            kind = self._chance.random()
            if kind < 0.3:
                data += self._chance.choice([*LINES.values(), *FRAMES.values()])
            elif kind < 0.6:
                data += encode(*harmless(self._chance.choice(STATES + STAYING)))
            elif kind < 0.7:
                data += encode(*harmless(mutate.misspelled(self._chance)))
            elif kind < 0.9:
                data += encode(*harmless(mutate.respelled(self._chance)))
            else:
                data += encode(*LOGIN) + encode("GET", "s1")
        self._attack(self._locked, data)

    def flood(self):
        """Far more that is not understood than a pool lends upstreams for."""
        self._attack(self._open, encode(*self._chance.choice(MISUNDERSTOOD)) * 200)

    def _attack(self, place, data):
        """Writes it, in one piece or in some; perhaps not all of it; reads or does not; leaves or
        stays."""
        client = place.connect(2)
        if self._chance.random() < 0.15:
            data = data[: self._chance.randrange(len(data) + 1)]
        cut = self._chance.randrange(len(data) + 1) if self._chance.random() < 0.3 else len(data)
        try:
            client.sendall(data[:cut])
            client.sendall(data[cut:])
            if self._chance.random() < 0.7:
                client.settimeout(self._chance.choice((0.002, 0.01, 0.1)))
                with contextlib.suppress(TimeoutError):
                    for _ in range(8):  # MONITOR never ends
                        if not client.recv(1 << 16):
                            break
        finally:
            self._leave(client)

    def _leave(self, client):
        how = self._chance.random()
        if how < 0.3:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how < 0.5:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
        elif how < 0.7:
            self._held.append(client)
            client = self._held.popleft() if len(self._held) > HELD else None
        if client:
            client.close()


# What may not be: nobody of a real pool may empty the database or stop others for a while.
def harmless(command) -> tuple:
    first = command[0].upper()
    return ("PING",) if first.startswith(("FLUSH", "SHUTDOWN")) else command


KINDS = [
    (30, Attacker.hostile), (30, Attacker.spell), (15, Attacker.sequence), (10, Attacker.split),
    (10, Attacker.login), (15, Attacker.strange), (1, Attacker.flood),
]


class Besiegers:
    """All attackers, until `leave`; `counts` says how often each of KINDS has been done."""

    def __init__(self, places, seed):
        self._stop = multiprocessing.Event()
        self._shares = [
            multiprocessing.Array("Q", len(KINDS), lock=False) for _ in range(PROCESSES * THREADS)
        ]
        self._processes = [
            multiprocessing.Process(target=self._run, args=(places, seed, number), daemon=True)
            for number in range(PROCESSES)
        ]
        for process in self._processes:
            process.start()

    def _run(self, places, seed, number):
        threads = []
        for index in range(number * THREADS, (number + 1) * THREADS):
            one = Attacker(places, seed * 1000 + index, self._shares[index], self._stop)
            threads.append(threading.Thread(target=one.run))
            threads[-1].start()
        for thread in threads:
            thread.join()

    @property
    def counts(self) -> dict:
        names = [act.__name__ for _, act in KINDS]
        return dict(zip(names, map(sum, zip(*self._shares))))

    def alive(self) -> bool:
        return all(process.is_alive() for process in self._processes)

    def leave(self):
        self._stop.set()
        for process in self._processes:
            process.join(30)
            process.kill()
