"""Scripts for a cluster: all keys are in one slot, `{t}` is put before each of them and before each
shard channel; and what a cluster cannot do, or does otherwise, is left out.
"""

import functools

from harness.middleman import frame_end
from harness.wire import decode, encode

from play import Step

TAG = b"{t}"
# As PUBLISH, but for the count of those who have got it, which is that of one node.
PUBLISH = b"redis.call('PUBLISH', ARGV[1], ARGV[2]) return 0"
# Channels of a shard have slots as keys have; COMMAND GETKEYS does not name them before 7.0.
CHANNELS = ("SSUBSCRIBE", "SUNSUBSCRIBE", "SPUBLISH")


class Tagger:
    """Knows the keys of commands from a server. Commands for which `is_left_out` are replaced by an
    ECHO: everything around them stays as it is."""

    def __init__(self, server, is_left_out=lambda words: False):
        self._server, self._is_left_out = server, is_left_out
        self._keys = functools.cache(self._asked)

    def script(self, steps) -> list:
        """The script with tags. Pieces that are no whole commands stay as they are."""
        return [self._step(step) for step in steps]

    def _step(self, step) -> Step:
        data = b"".join(step.pieces)
        made = self._commands(data)
        if made == data:
            return step
        count = len(step.pieces)
        edges = [len(made) * index // count for index in range(count + 1)]
        pieces = tuple(made[a:b] for a, b in zip(edges, edges[1:]))
        return Step(pieces, step.n, step.on, step.end)

    def _commands(self, data) -> bytes:
        made = b""
        while data:
            end = frame_end(data) if _is_command(data) else None
            if not end:
                return made + data
            words = decode(data[:end])
            made += encode(*self._tagged(words)) if _is_plain(words) else data[:end]
            data = data[end:]
        return made

    def _tagged(self, words) -> list:
        upper = [word.decode("latin-1").upper() for word in words]
        if self._is_left_out(upper):
            return [b"ECHO", words[0]]
        if upper[0] == "PUBLISH" and len(words) == 3:
            return [b"EVAL", PUBLISH, b"0", *words[1:]]
        if upper[0] in CHANNELS:
            return [words[0], *(TAG + word for word in words[1:])]
        keys = self._keys(tuple(words))
        # A word that is equal to a key, but none, gets one as well: on both sides the same.
        return [words[0], *(TAG + word if word in keys else word for word in words[1:])]

    def _asked(self, words) -> frozenset:
        if len(words) < 2:
            return frozenset()
        answer = self._server.command("COMMAND", "GETKEYS", *words)
        return frozenset(answer if isinstance(answer, list) else ())


def _is_command(data) -> bool:
    """Whether it begins like an array whose count is a number."""
    line = data.partition(b"\r\n")[0]
    return line[:1] == b"*" and line[1:].isdigit() and _has_bulks(data, int(line[1:]))


def _has_bulks(data, count) -> bool:
    """Whether everything in it is a bulk string, as far as it goes."""
    position = data.find(b"\r\n") + 2
    for _ in range(count):
        line, found, _ = data[position:].partition(b"\r\n")
        if not found or line[:1] != b"$" or not line[1:].isdigit():
            return False
        end = position + len(line) + 2 + int(line[1:])
        if data[end : end + 2] != b"\r\n":
            return False
        position = end + 2
    return True


def _is_plain(words) -> bool:
    return bool(words) and all(isinstance(word, bytes) for word in words)
