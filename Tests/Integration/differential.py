"""The same bytes to redis-server and through Redpool, and the bytes that come back compared.

A script is a list of steps. A step sends bytes on one of the script's connections and then reads
a known number of replies there, or everything up to the close:

    same(server, redpool, [
        step(b"*1\r\n$4\r\nPING\r\n"),
        step(b"SET k v\r\nGET k\r\n", replies=2, on="other"),
        step(b"*-x\r\n", replies=CLOSE),
    ], masks=[CLIENT_IDS])

Both sides run against the same server, each from an empty keyspace, so everything that differs is
a difference of the daemon's, save for ids and times: those are what masks are for.
"""

import re
from dataclasses import dataclass

from harness.wire import Address, Closed, Connection, encode

# As the number of replies: the step ends with the peer closing the connection.
CLOSE = -1


@dataclass(frozen=True)
class Step:
    """`data` sent on the connection called `on`, then `replies` replies read there."""

    data: bytes
    replies: int
    on: str


@dataclass(frozen=True)
class Mask:
    """What `pattern` matches is replaced by `replacement` on both sides before comparing."""

    pattern: bytes
    replacement: bytes

    def apply(self, data: bytes) -> bytes:
        return re.sub(self.pattern, self.replacement, data, flags=re.DOTALL)


# `id` in HELLO's reply, RESP2 and RESP3.
HELLO_ID = Mask(rb"(\$2\r\nid\r\n):\d+\r\n", rb"\1:<id>\r\n")
# A reply that is an integer alone: CLIENT ID, a step at a time.
INTEGER = Mask(rb"\A:\d+\r\n\Z", rb":<integer>\r\n")
# CLIENT LIST and CLIENT INFO: ids, addresses, times, sizes; and the length of the whole text.
CLIENT_FIELDS = Mask(
    rb"\b(id|addr|laddr|fd|age|idle|qbuf|qbuf-free|argv-mem|multi-mem|rbs|rbp|obl|oll|omem|"
    rb"tot-mem|tot-net-in|tot-net-out|tot-cmds)=\S*",
    rb"\1=<masked>",
)
TEXT_LENGTH = Mask(rb"\A([$=])\d+\r\n", rb"\1<length>\r\n")
# TIME, LASTSAVE and MONITOR's stamps.
CLOCK = Mask(rb"\b\d{10}(\.\d{6})?\b", rb"<time>")
# The address in MONITOR's lines.
MONITOR_ADDRESS = Mask(rb"\[(\d+) [^\]]*\]", rb"[\1 <address>]")


def step(data, replies=1, on="a") -> Step:
    """A step; `data` may be bytes or one command as a tuple of its arguments."""
    return Step(encode(*data) if isinstance(data, tuple) else data, replies, on)


def transcript(address: Address, script, timeout=10.0) -> list:
    """What came back for each step, as bytes; a connection is opened when it is first named."""
    connections, answers = {}, []
    try:
        for current in script:
            if current.on not in connections:
                connections[current.on] = Connection(address, timeout)
            answers.append(_play(connections[current.on], current))
    finally:
        for connection in connections.values():
            connection.close()
    return answers


def _play(connection, current) -> bytes:
    try:
        connection.send(current.data)
    except (BrokenPipeError, ConnectionResetError):
        # The peer has closed already; what it said before that is still there to be read.
        pass
    if current.replies == CLOSE:
        return connection.read_until_closed() + b"<closed>"
    answer = b""
    try:
        for _ in range(current.replies):
            answer += connection.read_raw()
    except Closed as end:
        return answer + end.partial + b"<closed early>"
    except TimeoutError:
        return answer + b"<no more replies>"
    return answer


def same(server, redpool, script, masks=(), timeout=10.0):
    """Plays `script` against both sides and fails at the first step that differs."""
    sides = []
    for address in (server.tcp, redpool.tcp):
        server.command("FLUSHALL")
        sides.append(transcript(address, script, timeout))
    for number, (current, direct, proxied) in enumerate(zip(script, *sides)):
        for mask in masks:
            direct, proxied = mask.apply(direct), mask.apply(proxied)
        assert proxied == direct, (
            f"step {number} on {current.on!r}: {_short(current.data)}\n"
            f"  redis-server: {_short(direct)}\n"
            f"  Redpool:      {_short(proxied)}"
        )


def _short(data: bytes) -> str:
    return repr(data) if len(data) <= 400 else f"{data[:200]!r} ... {data[-200:]!r} ({len(data)})"
