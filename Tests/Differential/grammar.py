"""Random sequences of commands, from a weighted grammar. The same seed makes the same sequence."""

import random

import mutate
from harness.wire import encode
from mutate import read

KEYS = ("s1", "s2", "l1", "l2", "h1", "z1", "t1")
CHANNELS = ("c1", "c2", "c3", "d1")


def _key(r):
    return r.choice(KEYS)


def _channels(r):
    return [r.choice(CHANNELS) for _ in range(r.choice((1, 1, 1, 2, 3)))]


# No channel matches two of them: in which order a server tells a subscriber of two matching patterns
# is up to the seed of its hash function, which no two servers share.
def _patterns(r):
    return [r.choice(("c*", "d*", "x?")) for _ in range(r.choice((1, 1, 2)))]


PLAIN = [
    lambda r: ("SET", _key(r), r.choice(("v", "1", "x" * 60, "a b\r\nc"))),
    lambda r: ("GET", _key(r)),
    lambda r: ("INCR", r.choice(("s1", "s2", "l1"))),
    lambda r: ("DEL", _key(r), _key(r)),
    lambda r: ("EXISTS", _key(r)),
    lambda r: ("TYPE", _key(r)),
    lambda r: ("RPUSH", r.choice(("l1", "l2", "s1")), r.choice("abc"), r.choice("abc")),
    lambda r: ("LPOP", r.choice(("l1", "l2"))),
    lambda r: ("LRANGE", r.choice(("l1", "l2", "h1")), "0", "-1"),
    lambda r: ("HSET", r.choice(("h1", "z1")), r.choice("ab"), r.choice("12")),
    lambda r: ("HGETALL", r.choice(("h1", "s1"))),
    lambda r: ("ZADD", "z1", r.choice(("1", "2.5", "x")), r.choice("ab")),
    lambda r: ("ZRANGE", "z1", "0", "-1", "WITHSCORES"),
    lambda r: ("ZSCORE", "z1", "a"),
    lambda r: ("SADD", "t1", r.choice(("1", "2", "3"))),
    lambda r: ("SMEMBERS", "t1"),
    lambda r: ("PING",),
    lambda r: ("PING", "hello"),
    lambda r: ("ECHO", r.choice(("e", "", "+OK", "$-1"))),
    lambda r: ("DBSIZE",),
    lambda r: ("EVAL", "return {1,'x',{redis.error_reply('E no')}}", "0"),
    lambda r: ("EVAL", "return redis.call('INCR', KEYS[1])", "1", _key(r)),
    lambda r: ("EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "0"),
    lambda r: ("OBJECT", "ENCODING", _key(r)),
    lambda r: ("COMMAND", "COUNT"),
]
# Errors of commands that are understood, or carry no state; mutate.py has all others.
WRONG = [
    lambda r: ("GET",),
    lambda r: ("NOSUCH", "x"),
    lambda r: ("SET", "s1", "1", "XX", "NX"),
    lambda r: ("OBJECT", "ENCODING"),
    lambda r: ("LRANGE", "l1", "a", "b"),
    lambda r: ("CLIENT", "SETNAME", "two words"),
    lambda r: ("SELECT", "99"),
    lambda r: ("AUTH", "bob", "wrong"),
    lambda r: ("AUTH", "off", "pw"),
]
TRANSACTION = [
    (6, lambda r: ("MULTI",)),
    (5, lambda r: ("EXEC",)),
    (2, lambda r: ("DISCARD",)),
    (3, lambda r: ("WATCH", _key(r))),
    (1, lambda r: ("WATCH", _key(r), _key(r))),
    (1, lambda r: ("UNWATCH",)),
]
STATE = [
    (5, lambda r: ("SELECT", r.choice("0012"))),
    (2, lambda r: ("HELLO",)),
    (2, lambda r: ("HELLO", "2")),
    (3, lambda r: ("HELLO", "3")),
    (1, lambda r: ("HELLO", r.choice("23"), "SETNAME", r.choice(("n1", "n2")))),
    (1, lambda r: ("HELLO", r.choice("23"), "AUTH", "bob", "pw")),
    (1, lambda r: ("HELLO", "3", "AUTH", "bob", "wrong", "SETNAME", "no")),
    (2, lambda r: ("AUTH", r.choice(("bob", "ann", "eve")), "pw")),
    (1, lambda r: ("AUTH", "default", "anything")),
    (1, lambda r: ("AUTH", "anything")),
    (3, lambda r: ("ACL", "WHOAMI")),
    (3, lambda r: ("RESET",)),
    (3, lambda r: ("CLIENT", "SETNAME", r.choice(("n1", "n2", "")))),
    (4, lambda r: ("CLIENT", "GETNAME")),
    (2, lambda r: ("CLIENT", "ID")),
    (1, lambda r: ("CLIENT", "INFO")),
    (2, lambda r: ("CLIENT", "REPLY", "ON")),
    (1, lambda r: ("CLIENT", "REPLY", "OFF")),
    (2, lambda r: ("CLIENT", "REPLY", "SKIP")),
]
PUBSUB = [
    (4, lambda r: ("SUBSCRIBE", *_channels(r))),
    (3, lambda r: ("UNSUBSCRIBE", *_channels(r))),
    (2, lambda r: ("UNSUBSCRIBE",)),
    (2, lambda r: ("PSUBSCRIBE", *_patterns(r))),
    (2, lambda r: ("PUNSUBSCRIBE", *_patterns(r))),
    (1, lambda r: ("PUNSUBSCRIBE",)),
    (1, lambda r: ("SSUBSCRIBE", *_channels(r))),
    (1, lambda r: ("SUNSUBSCRIBE",)),
    (4, lambda r: ("PUBLISH", r.choice(CHANNELS), "hi")),
    (1, lambda r: ("SPUBLISH", r.choice(CHANNELS), "hi")),
    (1, lambda r: ("PUBSUB", "NUMSUB", "c1", "c2")),
]
BLOCKING = [
    lambda r: ("BLPOP", r.choice(("l1", "l2", "s1")), "0.002"),
    lambda r: ("BRPOPLPUSH", "l1", "l2", "0.002"),
    lambda r: ("BLMOVE", "l2", "l1", "LEFT", "RIGHT", "0.002"),
    lambda r: ("BZPOPMIN", "z1", "0.002"),
    lambda r: ("XREAD", "BLOCK", "2", "STREAMS", "x1", "$"),
    lambda r: ("XREAD", "STREAMS", "x1", "0"),
    lambda r: ("WAIT", "0", "1"),
]
# States that a client keeps until it ends them. No BCAST: where its messages stand among the replies
# to a pipeline depends on how the bytes of that arrive.
HELD = [
    (4, lambda r: ("CLIENT", "TRACKING", "ON")),
    (2, lambda r: ("CLIENT", "TRACKING", "ON", r.choice(("OPTIN", "OPTOUT", "NOLOOP")))),
    (5, lambda r: ("CLIENT", "TRACKING", "OFF")),
    (1, lambda r: ("CLIENT", "TRACKING", "ON", "OPTIN", "OPTOUT")),
    (1, lambda r: ("CLIENT", "TRACKING", "ON", "REDIRECT", "99999999")),
    (3, lambda r: ("CLIENT", "CACHING", r.choice(("YES", "NO")))),
    (2, lambda r: ("CLIENT", "TRACKINGINFO")),
    (2, lambda r: ("CLIENT", "GETREDIR")),
    (2, lambda r: ("MONITOR",)),
    (3, lambda r: ("CLIENT", "NO-EVICT", r.choice(("ON", "OFF", "OFF")))),
    (1, lambda r: ("CLIENT", "NO-TOUCH", r.choice(("ON", "OFF")))),
    (1, lambda r: (r.choice(("READONLY", "READWRITE", "ASKING")),)),
    (3, lambda r: ("RESET",)),
]
ENDS = [lambda r: ("QUIT",), lambda r: ("QUIT", "x")]

GROUPS = [
    (46, lambda r: r.choice(PLAIN)(r)),
    (3, lambda r: r.choice(WRONG)(r)),
    (17, lambda r: _weighted(r, TRANSACTION)),
    (15, lambda r: _weighted(r, STATE)),
    (9, lambda r: _weighted(r, PUBSUB)),
    (6, lambda r: _weighted(r, HELD)),
    (2.5, lambda r: r.choice(BLOCKING)(r)),
    (0.3, lambda r: r.choice(ENDS)(r)),
]

# How many sequences hold such a command. What is misspelled takes an upstream that is closed behind
# it, of which a pool allows ten a second: more of them make the run slow.
RESPELLED = 0.2
MISNAMED = 0.05
MISSPELLED = 0.03


def _weighted(r, table):
    return r.choices([row[1] for row in table], [row[0] for row in table])[0](r)


def _weighted_groups(r):
    return r.choices([row[1] for row in GROUPS], [row[0] for row in GROUPS])[0](r)


def _whole_transaction(r):
    inside = [r.choice(PLAIN)(r) for _ in range(r.randrange(0, 4))]
    if r.random() < 0.2:
        inside.insert(r.randrange(0, len(inside) + 1), _weighted_groups(r))
    return [("MULTI",), *inside, ("EXEC",)]


def commands(seed) -> list:
    """The sequence of a seed: tuples of words, 5 to 25 of them."""
    r = random.Random(seed)
    wanted, made = r.randrange(5, 26), []
    while len(made) < wanted:
        if r.random() < 0.05:
            made += _whole_transaction(r)
        else:
            made.append(_weighted_groups(r))
    odd = set()
    for chance, make in (
        (RESPELLED, mutate.respelled), (MISNAMED, mutate.misnamed), (MISSPELLED, mutate.misspelled)
    ):
        if r.random() < chance:
            strange = make(r)
            made.insert(r.randrange(0, len(made) + 1), strange)
            if make == mutate.misspelled:
                odd.add(strange)
    return _documented_left_out(made, odd)


def _pipes(command) -> bool:
    """Whether a command that is queued makes Redpool pass bytes through for the rest of the
    session."""
    if command[0] == "HELLO":
        return len(command) > 2
    is_reply = command[:2] == ("CLIENT", "REPLY") and len(command) == 3
    is_reply = is_reply or "REDIRECT" in command
    return command[0] == "AUTH" or command[0].endswith("SUBSCRIBE") or is_reply


def _documented_left_out(made, odd):
    """HELLO, CLIENT ID and CLIENT INFO show an upstream's id once the bytes pass through, and in the
    transaction that makes them: see docs/compatibility.md. Commands are judged as the server reads
    them; what is not understood (`odd`) is taken for the worst."""
    kept, begun = [], 0
    queueing = piped = silent = flagged = kept_flag = False
    for written in made:
        command = read(written)
        word = command[0]
        if word == "MULTI" and len(command) == 1:
            queueing, begun = True, begun if queueing else len(kept)
        elif word == "EXEC":
            queueing = False
        # In a transaction the server is sent another name that it does not know. Whether there is
        # one is up to what the user may do, so it is no longer sent behind any.
        if any(map(mutate.is_junk, mutate.names(written))) and _begun_before(kept):
            continue
        if _shows_id(command) and piped:
            continue
        # Up to 7.0, RESET does not end CLIENT NO-EVICT.
        flagged = flagged or command == ("CLIENT", "NO-EVICT", "ON")
        kept_flag = kept_flag or (flagged and word == "RESET")
        if kept_flag and command == ("CLIENT", "INFO"):
            continue
        # Inside EXEC's array the order of the names, which is that of a hash, is not masked.
        if queueing and len(command) == 1 and word.endswith("UNSUBSCRIBE"):
            continue
        # The server forgets to close then.
        if word == "QUIT" and silent:
            continue
        silent = silent or command[:2] == ("CLIENT", "REPLY")
        cuts_array = word.endswith("SUBSCRIBE") or command[:2] == ("CLIENT", "REPLY")
        if silent and queueing and cuts_array:
            continue
        kept.append(written)
        if queueing and (_pipes(command) or written in odd):
            piped = True
            kept[begun:] = [c for c in kept[begun:] if not _shows_id(read(c))]
    return kept


def _begun_before(kept) -> bool:
    return any(read(command)[0] == "MULTI" for command in kept)


def _shows_id(command) -> bool:
    return command[0] == "HELLO" or command in (("CLIENT", "ID"), ("CLIENT", "INFO"))


def wire(sequence, seed) -> list:
    """The bytes of a sequence as writes: some commands inline, cut at random places."""
    r = random.Random(seed * 2 + 1)
    parts = []
    for command in sequence:
        if r.random() < 0.06 and all(w and w.isalnum() for w in command):
            parts.append(" ".join(command).encode() + r.choice((b"\r\n", b"\n")))
        else:
            parts.append(encode(*command))
    how = r.random()
    if how < 0.4:
        return [b"".join(parts)]
    if how < 0.7:
        return _glued(r, parts)
    data = b"".join(parts)
    cuts = sorted(r.randrange(0, len(data) + 1) for _ in range(r.randrange(1, 6)))
    edges = [0, *cuts, len(data)]
    return [data[a:b] for a, b in zip(edges, edges[1:]) if a < b]


def _glued(r, parts):
    writes = [b""]
    for part in parts:
        if r.random() < 0.4:
            writes.append(b"")
        writes[-1] += part
    return [w for w in writes if w]


def blocks(sequence) -> bool:
    """Whether a command may block, or has an upstream of its own: what stands behind it may not run
    after a half-close."""
    return any(
        c[0].startswith(("B", "WAIT", "FLUSH")) or "BLOCK" in c for c in map(read, sequence)
    )
