"""Byte streams of replies: cut into frames, masked, and shown.

Two streams are equal when their frames are, after the masks below. Nothing else is forgiven.

| mask | why |
| --- | --- |
| integers of four or more digits | ids of clients; both sides start counting above 1,000 |
| `id`, `addr`, `laddr`, `fd`, `age`, `idle`, sizes and traffic in CLIENT LIST and INFO | the connection's own |
| lines of MONITOR, also inside EXEC's array | they show what neighbours and Redpool itself send |
| the offset in ROLE | it counts what neighbours write, once something has asked for a replica's feed |
| `multi=0` and `multi=-1`, where asked for | see `Server.shows_past_transactions` |
| channel names in a run of UNSUBSCRIBE confirmations | Redis's order is that of a seeded hash |
"""

import re

_AGGREGATES = {b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}
_FIELDS = re.compile(
    rb"\b(id|addr|laddr|fd|age|idle|qbuf|qbuf-free|argv-mem|multi-mem|rbs|rbp|obl|oll|omem|"
    rb"tot-mem|events|tot-net-in|tot-net-out|tot-cmds)=\S*"
)
_NO_TRANSACTION = re.compile(rb"\bmulti=(?:0|-1) ")
_LINE = re.compile(rb"\+\d+\.\d{6} \[")
_INNER_LINE = re.compile(rb"(?<=\r\n)\+\d+\.\d{6} \[[^\r]*\r\n")
_ROLE = re.compile(rb"(\*3\r\n\$6\r\nmaster\r\n):\d+\r\n")
_LONG = re.compile(rb":\d{4,}\r\n")
_GONE = re.compile(
    rb"([*>])3\r\n\$(\d+)\r\n(p|s)?unsubscribe\r\n(\$\d+\r\n[^\r]*\r\n|\$-1\r\n|_\r\n)(:\d+\r\n)"
)


def frames(stream: bytes) -> list:
    """The complete replies of a stream; what is left over is the last element."""
    found, position = [], 0
    while position < len(stream):
        end = _end(stream, position)
        if end is None:
            found.append(stream[position:])
            break
        found.append(stream[position:end])
        position = end
    return found


def count(stream: bytes, position: int, wanted: int):
    """Where `wanted` replies that begin at `position` end; None while they are incomplete. Lines of
    MONITOR are none."""
    while wanted:
        start, position = position, _end(stream, position)
        if position is None:
            return None
        wanted -= not _LINE.match(stream, start)
    return position


def _end(stream, position):
    missing, start = 1, position
    while missing:
        line = stream.find(b"\r\n", position)
        if line < 0:
            return None
        kind = stream[position : position + 1]
        # A line of MONITOR between the elements of EXEC's array is none of them.
        missing -= position == start or not _LINE.match(stream, position)
        if kind in _AGGREGATES:
            number = max(0, int(stream[position + 1 : line]))
            missing += number * _AGGREGATES[kind] + (kind == b"|")
        elif kind in b"$=!" and kind:
            length = int(stream[position + 1 : line])
            if length >= 0:
                line += length + 2
                if line + 2 > len(stream):
                    return None
        position = line + 2
    return position


def masked(stream: bytes, blurs_multi=False) -> list:
    """The frames with everything replaced that may differ."""
    kept = (_mask(frame) for frame in frames(stream) if not _LINE.match(frame))
    return _settle([_NO_TRANSACTION.sub(b"multi=? ", one) if blurs_multi else one for one in kept])


def _mask(frame):
    if b"laddr=" in frame:
        frame = _FIELDS.sub(rb"\1=?", frame)
        frame = re.sub(rb"([$=])\d+(\r\n(?:txt:)?id=)", rb"\1?\2", frame)
    if frame.startswith(b"*"):
        frame = _ROLE.sub(rb"\1:<offset>\r\n", _INNER_LINE.sub(b"", frame))
    return _LONG.sub(b":<id>\r\n", frame)


def _settle(found):
    """Sorts the names inside each run of confirmations of one kind; the counts stay in place."""
    start = 0
    while start < len(found):
        first = _GONE.fullmatch(found[start])
        end = start + 1
        if first:
            run = [first]
            while end < len(found):
                following = _GONE.fullmatch(found[end])
                if not following or following[3] != first[3]:
                    break
                run.append(following)
                end += 1
            names = sorted(one[4] for one in run)
            for index, (one, name) in enumerate(zip(run, names)):
                head = one[0][: one.start(4) - one.start()]
                found[start + index] = head + name + one[5]
        start = end
    return found


def difference(direct: bytes, proxied: bytes, blurs_multi=False):
    """None when the streams are equal, else a text that shows the first frame that differs."""
    if direct == proxied:
        return None
    ours, theirs = masked(proxied, blurs_multi), masked(direct, blurs_multi)
    if ours == theirs:
        return None
    place = next(
        (i for i, pair in enumerate(zip(ours, theirs)) if pair[0] != pair[1]),
        min(len(ours), len(theirs)),
    )
    lines = [f"reply {place} differs"]
    for name, side in (("redis-server", theirs), ("Redpool", ours)):
        lines.append(f"  {name}: ({len(side)} replies)")
        for index in range(max(0, place - 2), min(len(side), place + 3)):
            mark = ">" if index == place else " "
            lines.append(f"   {mark} {index}: {short(side[index])}")
    return "\n".join(lines)


def short(data: bytes) -> str:
    return repr(data) if len(data) <= 300 else f"{data[:150]!r} ... {data[-150:]!r} ({len(data)})"
