"""Clients that count what they were promised, and somebody who breaks things under them."""

import asyncio
import collections
import random
import signal
import time

from harness.wire import AsyncConnection, Closed, ErrorReply, encode

# Error words that say that the command did not run.
REFUSED = (b"UPSTREAMDOWN", b"POOLTIMEOUT", b"PINLIMIT", b"LOADING")


class Counter:
    """One client with a key of its own: INCR after INCR, whatever happens.

    `acknowledged` increments must be in the server, `unknown` ones may be, and every reply must be
    what these two allow: one more than the last, plus unknown ones, each of which may have run by
    then or may still run, but only once.
    """

    def __init__(self, number, address, deadline, chance):
        self.key = f"chaos:{number}"
        self._address, self._deadline, self._chance = address, deadline, chance
        self.acknowledged, self.unknown, self.refused = 0, 0, 0
        self.slowest = 0.0
        self._last, self._open = 0, 0
        self._connection = None

    async def step(self):
        if not self._connection:
            self._connection = await AsyncConnection.open(self._address)
        if self._chance.random() < 0.002:
            await self._vanish()
            return
        started = time.monotonic()
        try:
            reply = await self._increment()
        except Closed as end:
            assert end.partial == b"", end.partial
            self._lost()
            return
        except TimeoutError:
            raise AssertionError(f"{self.key} hangs: no reply in {self._deadline} s") from None
        finally:
            self.slowest = max(self.slowest, time.monotonic() - started)
        if isinstance(reply, ErrorReply):
            assert reply.startswith(REFUSED), reply
            self.refused += 1
            return
        allowed = range(self._last + 1, self._last + 2 + self._open)
        assert reply in allowed, f"{self.key}: {reply} not in {allowed}"
        self.acknowledged += 1
        self._open -= reply - self._last - 1
        self._last = reply

    async def _increment(self):
        """The new value, or why there is none; one in ten is a transaction on a pin."""
        if self._chance.random() > 0.1:
            return await self._command("INCR", self.key)
        begun = await self._command("MULTI")
        if isinstance(begun, ErrorReply):
            return begun
        queued = await self._command("INCR", self.key)
        values = await self._command("EXEC")
        if isinstance(queued, ErrorReply):
            assert values.startswith(b"EXECABORT"), values
            return queued
        return values[0] if isinstance(values, list) else values

    async def _command(self, *words):
        return await self._connection.command(*words, timeout=self._deadline)

    async def _vanish(self):
        """Sends a command and breaks the connection without waiting for the reply."""
        self._connection.send(encode("INCR", self.key))
        self._lost()

    def _lost(self):
        self.unknown += 1
        self._open += 1
        self._connection.close()
        self._connection = None

    def close(self):
        if self._connection:
            self._connection.close()

    def check(self, value):
        value = int(value or 0)
        assert self.acknowledged <= value <= self.acknowledged + self.unknown, (
            f"{self.key} is {value}: {self.acknowledged} acknowledged, {self.unknown} unknown"
        )


class Vandal:
    """Breaks the server in turn, each way at random, and the link to it if it is on an island;
    `done` counts what he did.
    """

    def __init__(self, server, seed, island=None):
        self._server, self._island, self._chance = server, island, random.Random(seed)
        self.done = collections.Counter()
        self._ways = [self.crash, self.freeze, self.kill_connections, self.idle_timeout]
        if island:
            self._ways += [self.cut, self.cut, self.crash_behind_a_cut]

    def strike(self):
        way = self._chance.choice(self._ways)
        way()
        self.done[way.__name__] += 1

    def crash(self):
        self._server.restart(signal.SIGKILL)

    def freeze(self):
        """For 0.1 to 2 s: below and above every deadline of the daemon."""
        self._server.pause()
        self._linger()
        self._server.resume()

    def cut(self):
        """The link, in one or both directions, for as long as a freeze."""
        kind = self._chance.choice(self._island.CUTS)
        self._island.cut(kind)
        self._linger()
        self._island.mend()
        self.done[kind] += 1

    def crash_behind_a_cut(self):
        """The server's kernel says goodbye, and nobody hears it."""
        self._island.cut(self._chance.choice(self._island.CUTS))
        self._server.stop(signal.SIGKILL)
        self._linger()
        self._island.mend()
        self._server.start()

    def _linger(self):
        until = time.monotonic() + self._chance.uniform(0.1, 2.0)
        while time.monotonic() < until:
            self._server.unread_bytes()

    def kill_connections(self):
        self._command("CLIENT", "KILL", "TYPE", "normal")

    def idle_timeout(self):
        self._command("CONFIG", "SET", "timeout", self._chance.choice("01"))

    def leave(self):
        self._command("CONFIG", "SET", "timeout", "0")

    def _command(self, *words):
        # On a connection of its own: he strikes those of the harness, too.
        with self._server.connect() as control:
            control.command(*words)


def open_upstreams(server_port) -> set:
    """The TCP connections to the server that some process holds, connecting ones included.

    The kernel does not list all of them at one moment. What stands in two lists in a row was there
    at the moment between them.
    """
    found = set()
    with open("/proc/net/tcp") as rows:
        for row in list(rows)[1:]:
            fields = row.split()
            if int(fields[2][-4:], 16) == server_port and fields[9] != "0":
                found.add((fields[1], fields[9]))
    return found


async def gather(tasks):
    """Waits for all; the first failure cancels the others and is raised."""
    async with asyncio.TaskGroup() as group:
        for task in tasks:
            group.create_task(task)
