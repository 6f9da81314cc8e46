"""What the parties of riot.py share: the pools, when a server was in trouble, what is counted."""

import multiprocessing
import random
import threading
import time
import traceback
from dataclasses import dataclass

from harness.wire import Connection

# The deadline of a well-behaved client's command: `poolTimeout`, and what a busy machine needs.
POOL_TIMEOUT, SLACK = 5.0, 5.0
# `transactionTimeout`, and the end of an upload that has stopped.
TRANSACTION_TIMEOUT, UPLOAD_TIMEOUT = 20.0, 60.0
DEADLINE = POOL_TIMEOUT + SLACK
# Refusals of Redpool's own, and those that a server in trouble is good for as well.
REFUSALS = (b"PINLIMIT", b"POOLTIMEOUT")
TROUBLES = (*REFUSALS, b"UPSTREAMDOWN", b"LOADING")
# What a trouble leaves behind ends by then, in seconds: backoffs, dials, who waits in line.
AFTER = 10.0
BIG = "riot:big"
COUNTED = (
    "steps", "lives", "rounds", "elements", "ghosts", "refused", "excused", "attacks", "expected",
)


class Trouble:
    """When the server of a pool was last disturbed, for all processes: times of one clock. Frozen
    is milder than broken: nobody's connection may end for it."""

    def __init__(self):
        self._times = multiprocessing.Array("d", [-1e9, -1e9, 0.0])

    def begin(self, breaks):
        with self._times:
            recent = self._times[1] + AFTER > time.monotonic()
            self._times[2] = float(breaks or (recent and self._times[2]))
            self._times[0], self._times[1] = time.monotonic(), 1e18

    def end(self):
        self._times[1] = time.monotonic()

    def touches(self, since) -> bool:
        """Whether what has gone on since then may be late or refused."""
        return self._times[1] + AFTER > since

    def breaks(self, since) -> bool:
        """Whether it may have lost its connection."""
        return self.touches(since) and bool(self._times[2])

    def judged_from(self, since) -> float:
        """The moment at which the deadline begins that counts."""
        return max(since, self._times[1]) if self.touches(since) else since


@dataclass(frozen=True)
class Place:
    """A pool, as its clients see it."""

    name: str
    addresses: tuple
    login: tuple
    trouble: Trouble

    def connect(self, chance, timeout=DEADLINE) -> Connection:
        """A client over any address, who has not logged in."""
        return Connection(chance.choice(self.addresses), timeout)


class Tally:
    """What one party has counted, found, and waited for; others may look while it goes on."""

    def __init__(self):
        self._numbers = multiprocessing.Array("Q", len(COUNTED))
        self._found, self._slowest = multiprocessing.Queue(), multiprocessing.Queue()
        self._worst, self._lock = {}, threading.Lock()

    def add(self, name, count=1):
        with self._numbers:
            self._numbers[COUNTED.index(name)] += count

    def fail(self, text):
        self._found.put(f"{time.strftime('%H:%M:%S')} {text}")

    def waited(self, place, kind, since) -> float:
        """Notes how long that has taken so far, trouble left out, and returns it."""
        seconds, key = time.monotonic() - place.trouble.judged_from(since), (place.name, kind)
        with self._lock:
            self._worst[key] = max(self._worst.get(key, 0.0), seconds)
        if POOL_TIMEOUT + 1 < seconds < UPLOAD_TIMEOUT / 4:
            at = time.strftime("%H:%M:%S")
            print(f"{at} {place.name}: {kind} took {seconds:.2f} s", flush=True)
        return seconds

    def publish(self):
        """The longest waits by kind, once, at the party's end."""
        self._slowest.put(self._worst)

    @property
    def numbers(self) -> dict:
        return dict(zip(COUNTED, self._numbers))

    def findings(self) -> list:
        found = []
        while not self._found.empty():
            found.append(self._found.get())
        return found

    def worst(self) -> dict:
        return {} if self._slowest.empty() else self._slowest.get()


class Party:
    """A process with a thread for each member, who repeats his `step` until all are to leave, and
    then does what `leave` says. `make(tally)` makes the members there."""

    def __init__(self, name, make):
        self.name, self.tally = name, Tally()
        self._make, self._stop = make, multiprocessing.Event()
        self._process = multiprocessing.Process(target=self._run, daemon=True)
        self._process.start()

    def _run(self):
        threads = [
            threading.Thread(target=self._live, args=(member,), daemon=True)
            for member in self._make(self.tally)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.tally.publish()

    def _live(self, member):
        failures = 0
        while not self._stop.is_set() and failures < 5:
            try:
                member.step()
            except Exception:  # One more finding; he goes on.
                failures += 1
                self.tally.fail(f"{self.name}: {traceback.format_exc()[-2000:]}")
        member.leave()

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def ask_to_leave(self):
        self._stop.set()

    def leave(self, seconds=60.0):
        self._stop.set()
        self._process.join(seconds)
        if self._process.is_alive():
            self.tally.fail(f"{self.name} hang")
            self._process.kill()


def chance_of(*words) -> random.Random:
    return random.Random("/".join(map(str, words)))
