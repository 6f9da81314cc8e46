"""Scripts, and playing them against one side.

A script is a list of steps over connections that are opened when first named. What a client
receives over the whole script is one stream; that is what is compared.

    [do("SET k v"), do("SUBSCRIBE c d", n=2, on="b"), do("PUBLISH c x"), more(1, on="b")]

Words are split as in a shell. Every connection ends with RESET, RESET, QUIT (the first RESET may
be silent under CLIENT REPLY SKIP) and is read to its end, so that whatever comes late, or too
often, is seen as well; `hang_up` and `closed` end one otherwise.
"""

import shlex
import socket
import time
from dataclasses import dataclass, replace

import frames
from harness.wire import encode

TIMEOUT = 6.0
# For what is known to differ: mostly because one side stays silent, or open.
SHORT_TIMEOUT = 1.5
GOODBYE = encode("RESET") + encode("RESET") + encode("QUIT")


@dataclass(frozen=True)
class Step:
    """Pieces that are written one after the other, then `n` more replies read on `on`."""

    pieces: tuple = ()
    n: int = 0
    on: str = "a"
    # What follows: "" goes on, "half" shuts our side down, "closed" reads to the peer's end.
    end: str = ""


def words(text):
    return [w.encode("latin-1").decode("unicode_escape").encode("latin-1") for w in shlex.split(text)]


def bytes_of(command) -> bytes:
    """A command as RESP: text that is split into words, a tuple of words, or raw bytes."""
    if isinstance(command, bytes):
        return command
    return encode(*(words(command) if isinstance(command, str) else command))


def do(*commands, n=None, on="a") -> Step:
    """Commands in one write, then one reply each (or `n` in all)."""
    data = b"".join(bytes_of(command) for command in commands)
    return Step((data,), len(commands) if n is None else n, on)


def split(*commands, n=None, on="a", at=None) -> Step:
    """As `do`, in two or more writes that the other side sees one by one."""
    data = b"".join(bytes_of(command) for command in commands)
    cuts = at or [len(data) // 3, len(data) * 2 // 3]
    edges = [0, *cuts, len(data)]
    pieces = tuple(data[a:b] for a, b in zip(edges, edges[1:]))
    return Step(pieces, len(commands) if n is None else n, on)


def more(n, on="a") -> Step:
    """Waits for `n` more replies."""
    return Step((), n, on)


def hang_up(*commands, on="a") -> Step:
    """Commands, then the end of our side; everything up to the end of theirs is read."""
    return replace(do(*commands, n=0, on=on), end="half")


def closed(*commands, on="a") -> Step:
    """Commands that make the other side close."""
    return replace(do(*commands, n=0, on=on), end="closed")


class Player:
    """One client of a script."""

    def __init__(self, address, timeout=TIMEOUT):
        self.socket = address.connect(timeout)
        self._timeout = timeout
        self.stream = b""
        self.counted = 0
        self.ended = False

    def write(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            # The peer has closed; what it said before is still there to be read.
            pass

    def wait(self, n):
        """Reads until `n` more replies are complete."""
        deadline = time.monotonic() + 2 * self._timeout
        while n and (end := frames.count(self.stream, self.counted, n)) is None:
            if not self.receive() or time.monotonic() > deadline:
                return
        if n:
            self.counted = end

    def receive(self) -> bool:
        if self.ended:
            return False
        try:
            data = self.socket.recv(1 << 18)
        except TimeoutError:
            self.stream += b"<nothing comes>"
            data = b""
        except ConnectionResetError:
            data = b""
        self.ended = not data
        self.stream += data
        return not self.ended

    def finish(self, shut=False):
        if shut:
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                # Closed by the peer already.
                pass
        deadline = time.monotonic() + 2 * self._timeout
        while self.receive():
            # A client that monitors hears something for ever.
            if time.monotonic() > deadline:
                self.stream += b"<no end>"
                break
        self.socket.close()


class Barrier:
    """A client of its own: once it has been answered, everything sent before has been seen."""

    def __init__(self, address):
        self._player = Player(address)

    def pass_by(self):
        self.ask()
        self.answered()

    def ask(self):
        self._player.write(encode("PING"))

    def answered(self):
        self._player.wait(1)

    def close(self):
        self._player.socket.close()


def play(address, script, timeout=TIMEOUT, goodbye=GOODBYE) -> dict:
    """The stream of every client of a script."""
    players, barrier = {}, None
    try:
        for step in script:
            if step.on not in players:
                players[step.on] = Player(address, timeout)
            player = players[step.on]
            for index, piece in enumerate(step.pieces):
                if index:
                    barrier = barrier or Barrier(address)
                    barrier.pass_by()
                player.write(piece)
            player.wait(step.n)
            if step.end:
                player.finish(shut=step.end == "half")
        for player in players.values():
            if not player.ended:
                player.write(goodbye)
                player.finish()
    finally:
        for player in players.values():
            player.socket.close()
        if barrier:
            barrier.close()
    return {name: player.stream for name, player in players.items()}


def compare(world, script, timeout=TIMEOUT, goodbye=GOODBYE):
    """None when both sides answer alike, else what differs."""
    world.empty()
    direct, proxied = (
        play(side, script, timeout, goodbye) for side in (world.direct, world.proxied)
    )
    blurs = world.server.shows_past_transactions
    for name in direct:
        found = frames.difference(direct[name], proxied[name], blurs)
        if found:
            return f"client {name!r}: {found}"
    return None
