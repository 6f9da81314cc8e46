"""What a client of a pool with `pubsub: shared` can still tell: docs/compatibility.md repeats it.

A row names scripted cases and says how they are compared: `differs`: they have to; `apart`:
messages and confirmations in their order, all other replies in theirs, for they come over two
upstreams; `unordered`: in any order.
"""

import re
from dataclasses import dataclass

import frames


@dataclass(frozen=True)
class Row:
    """Cases whose names match `pattern`; `how` they are compared, and why so."""

    pattern: str
    how: str
    reason: str


TWO_HUBS = "after AUTH as another user, what was subscribed stays on the hub of the old one"

SHARED = [Row(r"AUTH as another user", "unordered", TWO_HUBS)]

_PUSH = re.compile(
    rb"[*>]\d+\r\n\$\d+\r\n"
    rb"(?:[ps]?message|[ps]?(?:un)?subscribe|invalidate|tracking-redir-broken)\r\n"
)

_BY_PATTERN = re.compile(rb"[*>]4\r\n\$8\r\npmessage\r\n\$\d+\r\n[^\r]*\r\n(.*)", re.DOTALL)


def how_compared(name, world) -> str:
    """How a scripted case is compared; empty for: byte by byte."""
    if world.mode == "shared":
        for row in SHARED:
            if re.search(row.pattern, name):
                return row.how
    return ""


def left_out(stream: bytes, how) -> bytes:
    """A stream for this comparison."""
    found = settled(frames.frames(stream))
    if how == "unordered":
        return b"".join(unordered(found))
    return b"".join(apart(found) if how == "apart" else found)


def unordered(found) -> list:
    """In no order, but that the counts of a run of confirmations stay in theirs."""
    return sorted(frames.masked(b"".join(found)))


def apart(found) -> list:
    """Messages, confirmations and counts of receivers, then all other replies."""
    over_hub = [_PUSH.match(frame) or frame.startswith(b":") for frame in found]
    return ([frame for frame, is_push in zip(found, over_hub) if is_push]
            + [frame for frame, is_push in zip(found, over_hub) if not is_push])


def errors_apart(found) -> list:
    """What a RESP2 subscriber may not send is refused on another upstream than its messages come
    over: they may overtake each other."""
    return [frame for frame in found if not frame.startswith(b"-")] + [
        frame for frame in found if frame.startswith(b"-")
    ]


def settled(found) -> list:
    """Sorts what several patterns have made of one message: their order hangs on the server's
    seed."""
    made, run = [], []
    for frame in found:
        if run and _message(frame) != _message(run[0]):
            made += sorted(run)
            run = []
        if _message(frame):
            run.append(frame)
        else:
            made.append(frame)
    return made + sorted(run)


def _message(frame):
    """What a message by pattern says behind the pattern; None for other frames."""
    match = _BY_PATTERN.fullmatch(frame)
    return match[1] if match else None
