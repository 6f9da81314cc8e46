"""Clients that work in the background and report every failure."""

import threading
import time

from .waiting import eventually
from .wire import Connection


class Neighbours:
    """A few clients that run ordinary commands while a fault is injected.

    Use it with `with`. Any error, wrong reply, or round slower than `slowest` seconds fails the
    block. The block itself has to check that they make progress.
    """

    def __init__(self, address, clients=3, slowest=20.0):
        self._address, self._slowest = address, slowest
        self._stop = threading.Event()
        self._failures, self._worst = [], 0.0
        self._rounds = [0] * clients
        self._threads = [
            threading.Thread(target=self._work, args=(index,), daemon=True)
            for index in range(clients)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                # On a busy machine the block may end before every client has begun.
                self.go_on()
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(60)
        if kind is not None:
            return
        assert not self._failures, self._failures
        assert self._worst < self._slowest, f"a neighbour waited {self._worst:.2f} s"

    @property
    def rounds(self) -> int:
        return min(self._rounds)

    def go_on(self):
        """Waits until every client has begun and ended another round, or one has failed."""
        enough = self.rounds + 2
        eventually(
            lambda: self._failures or self.rounds >= enough, 60, what="neighbours getting on"
        )

    def _work(self, index):
        try:
            with Connection(self._address, timeout=30) as client:
                while not self._stop.wait(0.001):
                    started = time.monotonic()
                    self._round(client, index)
                    self._worst = max(self._worst, time.monotonic() - started)
        except Exception as failure:  # Reported by the block that uses us.
            self._failures.append(f"neighbour {index}: {failure!r}")

    def _round(self, client, index):
        count = self._rounds[index] + 1
        token = f"neighbour-{index}-{count}".encode()
        assert client.command("INCR", f"neighbour:{index}") == count
        assert client.command("ECHO", token) == token
        assert client.command("GET", f"neighbour:{index}") == str(count).encode()
        self._rounds[index] = count


def in_threads(count, work, timeout=120.0):
    """Runs `work(index)` in `count` threads. Raises the first failure."""
    failures = []

    def guarded(index):
        try:
            work(index)
        except BaseException as failure:  # Raised again below, in the test's own thread.
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + timeout
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if failures:
        raise failures[0]
    assert not any(thread.is_alive() for thread in threads), "a client hangs"
