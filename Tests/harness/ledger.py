"""Clients that count up, each its own keys, while something happens to the servers."""

import asyncio
import threading
import time

from .waiting import eventually
from .wire import AsyncConnection, Closed, ErrorReply, encode


class Crowd:
    """`clients` clients in a thread of their own, each in rounds of `round` without a pause. Use it
    with `with`: the block begins when every client has ended a round, and no error ends a client.

    `rounds` has the acknowledged rounds of each client, `unknown` those that ended with a closed
    connection; `errors` are pairs of a client's number and what it was told.
    """

    def __init__(self, address, clients):
        self.address = address
        self.rounds, self.unknown = [0] * clients, [0] * clients
        self.errors = []
        # When each client's latest round ended, and its longest time between two.
        self.ended, self.longest = [time.monotonic()] * clients, [0.0] * clients
        self._stop = threading.Event()
        self._failure = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    async def round(self, index, client):
        """One round; `client` is an AsyncConnection. Returns whether it counts."""
        raise NotImplementedError

    def fail(self, index, reply):
        """Notes an error."""
        self.errors.append((index, bytes(reply)))

    def __enter__(self):
        self._thread.start()
        self.go_on()
        return self

    def __exit__(self, kind, *_):
        self._stop.set()
        self._thread.join(60)
        if kind is None:
            assert not self._thread.is_alive(), "a client hangs"
            if self._failure:
                raise self._failure

    def go_on(self, clients=None, timeout=60):
        """Waits until every one of these clients (all, if None) has ended another round."""
        chosen = range(len(self.rounds)) if clients is None else clients
        before = list(self.rounds)
        eventually(
            lambda: self._failure or all(self.rounds[one] > before[one] + 1 for one in chosen),
            timeout, what="every client going on")

    def is_well(self):
        """Asserts that nobody has seen anything."""
        assert not self.errors, (len(self.errors), self.errors[:3])
        assert not sum(self.unknown), self.unknown

    def _run(self):
        try:
            asyncio.run(self._all())
        except BaseException as failure:  # Raised again by __exit__, in the test's own thread.
            self._failure = failure

    async def _all(self):
        async with asyncio.TaskGroup() as group:
            for index in range(len(self.rounds)):
                group.create_task(self._client(index))

    async def _client(self, index):
        client = None
        while not self._stop.is_set():
            try:
                client = client or await AsyncConnection.open(self.address)
                counts = await self.round(index, client)
            except (Closed, OSError):
                counts = False
                self.unknown[index] += 1
                if client:
                    client.close()
                client = None
            now = time.monotonic()
            if counts:
                self.rounds[index] += 1
                self.longest[index] = max(self.longest[index], now - self.ended[index])
                self.ended[index] = now
            else:
                # Others must have their turn also if everything fails at once.
                await asyncio.sleep(0)
        if client:
            client.close()


class Ledger(Crowd):
    """INCR, each client its own key."""

    def __init__(self, address, keys):
        super().__init__(address, len(keys))
        self.keys = keys

    async def round(self, index, client):
        reply = await client.command("INCR", self.keys[index], timeout=60)
        if isinstance(reply, ErrorReply):
            self.fail(index, reply)
            return False
        return True


class Pipelines(Crowd):
    """Pipelines over the same counters of each client, each with its own begin: a reply that comes
    out of order is seen by its value."""

    STEP = 1_000_000

    def __init__(self, address, keys):
        super().__init__(address, len(keys))
        self.keys = keys
        self._counts = [0] * len(keys)

    async def round(self, index, client):
        keys = self.keys[index]
        self._counts[index] += 1
        count = self._counts[index]
        if count == 1:
            client.send(b"".join(
                encode("SET", key, place * self.STEP) for place, key in enumerate(keys)))
            for _ in keys:
                assert await client.read(60) == b"OK"
        # Of half of them the value is asked behind.
        client.send(b"".join(
            encode("INCR", key) + (encode("GET", key) if place % 2 else b"")
            for place, key in enumerate(keys)))
        for place in range(len(keys)):
            wanted = place * self.STEP + count
            await self._check(index, client, wanted, wanted)
            if place % 2:
                await self._check(index, client, wanted, b"%d" % wanted)
        return True

    async def _check(self, index, client, wanted, value):
        reply = await client.read(60)
        if reply != value:
            self.errors.append((index, f"{reply!r}, not {wanted}"))


class Transactions(Crowd):
    """MULTI, INCR of two keys of one slot, EXEC: whole in one write, or step by step."""

    def __init__(self, address, pairs, whole=True):
        super().__init__(address, len(pairs))
        self.pairs, self._whole = pairs, whole

    async def round(self, index, client):
        words = [("MULTI",), *(("INCR", key) for key in self.pairs[index]), ("EXEC",)]
        if self._whole:
            client.send(b"".join(encode(*one) for one in words))
            replies = [await client.read(60) for _ in words]
        else:
            replies = [await client.command(*one, timeout=60) for one in words]
        count = self.rounds[index] + 1
        if replies != [b"OK", b"QUEUED", b"QUEUED", [count, count]]:
            self.errors.append((index, replies))
            return False
        return True


class Watchers(Crowd):
    """Optimistic counting: WATCH, GET, MULTI, SET, EXEC. Several clients share a key; a null reply
    to EXEC is no round."""

    def __init__(self, address, keys):
        super().__init__(address, len(keys))
        self.keys = keys
        self.refused = 0

    async def round(self, index, client):
        key = self.keys[index]
        watched = await client.command("WATCH", key, timeout=60)
        value = await client.command("GET", key, timeout=60)
        begun = await client.command("MULTI", timeout=60)
        if isinstance(value, ErrorReply):
            self.fail(index, value)
            return False
        queued = await client.command("SET", key, int(value or 0) + 1, timeout=60)
        done = await client.command("EXEC", timeout=60)
        if (watched, begun, queued) != (b"OK", b"OK", b"QUEUED") or done not in ([b"OK"], None):
            self.errors.append((index, [watched, begun, queued, done]))
            return False
        self.refused += done is None
        return done is not None
