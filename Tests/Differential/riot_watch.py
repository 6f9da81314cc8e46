"""What goes on at the servers of riot.py: one who disturbs one of them, and those who count."""

import threading
import time

from riot_ground import POOL_TIMEOUT, chance_of


class Spoiler(threading.Thread):
    """Troubles of a server, one after another; `done` counts them."""

    def __init__(self, server, trouble, seed):
        super().__init__(daemon=True)
        self._server, self._trouble = server, trouble
        self._chance, self._over = chance_of("spoiler", seed), threading.Event()
        self.done, self.failure = {}, None
        self.start()

    def run(self):
        while not self._over.wait(self._chance.uniform(5, 25)) and not self.failure:
            way = self._chance.choice((self.freeze, self.restart, self.crash, self.cut))
            print(f"{time.strftime('%H:%M:%S')} {way.__name__} begins", flush=True)
            try:
                way()
            except (OSError, AssertionError) as problem:
                self.failure = f"{way.__name__}: {problem!r}"
            print(f"{time.strftime('%H:%M:%S')} {way.__name__} is over", flush=True)
            self.done[way.__name__] = self.done.get(way.__name__, 0) + 1

    def leave(self):
        self._over.set()
        self.join(120)

    def freeze(self):
        """For less than `poolTimeout`: nobody loses anything by it."""
        self._trouble.begin(breaks=False)
        self._server.pause()
        self._over.wait(self._chance.uniform(0.1, POOL_TIMEOUT - 0.5))
        self._server.resume()
        self._trouble.end()

    def restart(self):
        self._broken(self._server.restart)

    def crash(self):
        self._broken(lambda: (self._server.stop(9), self._over.wait(1), self._server.start()))

    def cut(self):
        """Half of the connections, whoever is using them."""
        def kill():
            with self._server.connect() as control:
                for row in self._server.upstreams(control):
                    if self._chance.random() < 0.5:
                        control.command("CLIENT", "KILL", "ID", row["id"])
        self._broken(kill)

    def _broken(self, act):
        self._trouble.begin(breaks=True)
        act()
        self._trouble.end()


class Gauge(threading.Thread):
    """Counts the connections that a daemon holds to a server, closing ones included, and how long
    the server itself takes to answer.

    The kernel does not list all of them at one moment: what stands in two lists in a row was there
    at the moment between them.
    """

    def __init__(self, server):
        super().__init__(daemon=True)
        self._server, self._over = server, threading.Event()
        self.peak, self.samples = 0, 0
        # The longest answer, and how late this thread itself has been at worst.
        self.slowest, self.late = 0.0, 0.0
        self.start()

    def run(self):
        before, control, asleep = set(), None, time.monotonic()
        while not self._over.wait(0.05):
            self.late = max(self.late, time.monotonic() - asleep - 0.05)
            now = held_to(self._server.port)
            self.peak, self.samples = max(self.peak, len(now & before)), self.samples + 1
            before = now
            since = time.monotonic()
            try:
                control = control or self._server.connect()
                control.command("PING")
                self.slowest = max(self.slowest, time.monotonic() - since)
            except OSError:  # It is being restarted.
                control = None
            asleep = time.monotonic()

    def leave(self):
        self._over.set()
        self.join(60)


def held_to(port) -> set:
    """The TCP connections to this port that some process holds."""
    found = set()
    with open("/proc/net/tcp") as rows:
        for row in list(rows)[1:]:
            fields = row.split()
            if int(fields[2][-4:], 16) == port and fields[9] != "0":
                found.add((fields[1], fields[9]))
    return found
