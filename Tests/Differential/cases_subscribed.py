"""Scripted cases of subscribers: what they are sent, what they may send, and how it ends.

Cases run twice: alone, and while another client, `z`, is subscribed to the same names. `say`
publishes without a count: PUBLISH counts clients, which is the matter of `_counted` alone.
"""

from cases_restricted import HELLO3, STATES, allowed, odd_names, restricted, rights, say
from play import closed, do, hang_up, more, split

# A neighbour who has every name that the cases use.
NEIGHBOUR = do("SUBSCRIBE a b c d", "PSUBSCRIBE a* c*", "SSUBSCRIBE a c", n=8, on="z")

# The three kinds: the verb, its end, what it takes, and how one publishes to that.
KINDS = {
    "channels": ("SUBSCRIBE", "UNSUBSCRIBE", "c", "PUBLISH"),
    "patterns": ("PSUBSCRIBE", "PUNSUBSCRIBE", "c*", "PUBLISH"),
    "shards": ("SSUBSCRIBE", "SUNSUBSCRIBE", "c", "SPUBLISH"),
}

# How a connection's subscriptions end, or do not.
ENDS = [
    "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "UNSUBSCRIBE c", "UNSUBSCRIBE c c",
    "UNSUBSCRIBE d",
    "UNSUBSCRIBE d c", "PUNSUBSCRIBE c*", "PUNSUBSCRIBE c", "SUNSUBSCRIBE c", "SUNSUBSCRIBE d",
    "UNSUBSCRIBE ''", "RESET", "UNSUBSCRIBE redpool:fence",
    "UNSUBSCRIBE redpool:fence redpool:fence",
]


def subscribed() -> dict:
    """The cases by name."""
    beside = _confirmations() | _messages() | _endings() | _replies_off() | _protocols()
    beside |= _transactions() | rights() | odd_names() | restricted() | allowed()
    made = {f"subscribers: {name}": script for name, script in beside.items()}
    made |= {
        f"subscribers: {name}, beside another": [NEIGHBOUR, *script]
        for name, script in beside.items()
        if not any(step.on == "z" for step in script)
    }
    return made | {f"subscribers: {name}": script for name, script in _counted().items()}


def _confirmations():
    made = {
        "twice in one command": [do("SUBSCRIBE a b a", n=3), do("PING")],
        "twice in two commands": [do("SUBSCRIBE a"), do("SUBSCRIBE a b", n=2), do("PING")],
        "patterns twice": [do("PSUBSCRIBE a* a* c*", n=3), do("PSUBSCRIBE a*"), do("PING")],
        "kinds counted together and apart": [
            do("SUBSCRIBE a", "PSUBSCRIBE c*", "SSUBSCRIBE c", "SUBSCRIBE b", "SSUBSCRIBE a"),
            do("UNSUBSCRIBE a", "SUNSUBSCRIBE c", "PUNSUBSCRIBE c*", "UNSUBSCRIBE b"),
            do("PING"), do("SUNSUBSCRIBE a", "GET k"),
        ],
        "unsubscribed twice in one command": [
            do("SUBSCRIBE a b", n=2), do("UNSUBSCRIBE a a b", n=3),
        ],
        "unsubscribed from what one has not": [
            do("SUBSCRIBE a"), do("UNSUBSCRIBE b c", n=2), do("PUNSUBSCRIBE c*"), do("PING"),
        ],
        "unsubscribed from nothing of a kind": [
            do("SUBSCRIBE a"), do("PUNSUBSCRIBE"), do("SUNSUBSCRIBE"), do("PING"),
            do("UNSUBSCRIBE"), do("GET k"),
        ],
        "subscribed again at once": [
            do("SUBSCRIBE a", "UNSUBSCRIBE a", "SUBSCRIBE a"), do("PING"), say("a"), more(1),
        ],
        "a pipeline of changes": [
            do("SUBSCRIBE a b", "UNSUBSCRIBE a", "PSUBSCRIBE a*", "SUBSCRIBE c", "UNSUBSCRIBE",
                "PING",
               "PUNSUBSCRIBE", "GET k", "SUBSCRIBE c", "PING x", n=11),
        ],
        "a pipeline, then QUIT": [closed("SUBSCRIBE a b", "PING", "UNSUBSCRIBE a", "QUIT")],
        "many names": [do(" ".join(["SUBSCRIBE", *(f"n{i}" for i in range(600))]), n=600),
            do("PING"),
                       do("UNSUBSCRIBE", n=600), do("GET k")],
        "inline": [do(b"SUBSCRIBE a b\r\n", n=2), do(b"PING\r\n"), do(b"UNSUBSCRIBE a b\r\n", n=2)],
        "split writes": [split("SUBSCRIBE a b", "PING x", "UNSUBSCRIBE a b", "GET k", n=6)],
        "half-closed": [hang_up("SUBSCRIBE a b", "PING x", "UNSUBSCRIBE a")],
        "half-closed, RESP3": [
            HELLO3, hang_up("SUBSCRIBE a b", "PING x", "GET k", "UNSUBSCRIBE a"),
        ],
        "behind a pipeline": [do("SET k 1", "GET k", "SUBSCRIBE a", n=3), do("PING")],
        "behind a blocking pop": [do("BLPOP none 0.01", "SUBSCRIBE a"), do("PING")],
        "in database 3": [do("SELECT 3", "SET k 3", "SUBSCRIBE a"), do("UNSUBSCRIBE", "GET k")],
        "named": [do("CLIENT SETNAME me", "SUBSCRIBE a"), do("UNSUBSCRIBE", "CLIENT GETNAME")],
    }
    for kind, (begin, end, name, _) in KINDS.items():
        made[f"{kind}: the end of nothing"] = [do(end, "GET k"), do(f"{end} x y", n=2), do("GET k")]
        made[f"{kind}: without names"] = [do(begin, "GET k")]
        made[f"{kind}: begun and ended"] = [
            do(f"{begin} {name} q r", n=3), do(end, n=3), do("GET k"),
        ]
        made[f"{kind}: in RESP3"] = [
            HELLO3, do(f"{begin} {name} q {name}", n=3), do("PING", "GET k"), do(end, n=2), do(end),
        ]
    return made


def _messages():
    made = {
        "channel and patterns match": [
            do("SUBSCRIBE c", "PSUBSCRIBE c"), do("PSUBSCRIBE c*"), say(), more(3), do("PING"),
        ],
        "from confirmation to confirmation": [
            say("c", "early"), do("SUBSCRIBE c"), say("c", "due"), more(1), do("UNSUBSCRIBE c"),
            say("c", "late"), do("GET k"),
        ],
        "order over channels": [
            do("SUBSCRIBE a b c d", n=4),
            *(say("abcd"[i % 4], f"m{i}") for i in range(12)), more(12), do("PING"),
        ],
        "a client that reads late": [
            do("SUBSCRIBE c"), *(say("c", f"m{i}") for i in range(40)), more(40), do("PING"),
        ],
        "two clients of one channel": [
            do("SUBSCRIBE c"), do("SUBSCRIBE c", on="d"), say("c", "1"), more(1), more(1, on="d"),
            do("UNSUBSCRIBE c"), say("c", "2"), more(1, on="d"), do("GET k"), do("PING", on="d"),
        ],
        "two protocols of one channel": [
            do("SUBSCRIBE c"), do("HELLO 3", "SUBSCRIBE c", on="d"), say("c", "1"), more(1),
            more(1, on="d"), do("UNSUBSCRIBE c", on="d"), say("c", "2"), more(1),
            do("GET k", on="d"),
        ],
        "the second of a channel leaves by RESET": [
            do("SUBSCRIBE c"), do("SUBSCRIBE c", "RESET", on="d"), say("c", "1"), more(1),
            do("GET k", on="d"), do("PING"),
        ],
        "the second of a channel leaves by QUIT": [
            do("SUBSCRIBE c"), closed("SUBSCRIBE c", "QUIT", on="d"), say("c", "1"), more(1),
            do("PING"),
        ],
        "the first of a channel hangs up": [
            do("SUBSCRIBE c", on="d"), do("SUBSCRIBE c"), hang_up(on="d"), say("c", "1"), more(1),
        ],
        "a message of 300 KB": [
            do("SUBSCRIBE c"),
            do(("EVAL", "redis.call('PUBLISH', 'c', string.rep('x', 300000))", "0"), on="b"),
            more(1),
            do("PING"),
        ],
        "an empty message on an empty channel": [
            do(("SUBSCRIBE", "")), do(("EVAL", "redis.call('PUBLISH', '', '')", "0"), on="b"),
            more(1),
        ],
        "a message with line ends": [
            do("SUBSCRIBE c"),
            do(("EVAL", "redis.call('PUBLISH', 'c', '\\r\\n*3\\r\\n$7\\r\\nmessage\\r\\n')", "0"),
                on="b"),
            more(1), do("PING"),
        ],
        "from a transaction": [
            do("SUBSCRIBE c d", n=2), do("MULTI", "EVAL \"redis.call('PUBLISH','c','1')\" 0",
                                         "EVAL \"redis.call('PUBLISH','d','2')\" 0", "EXEC",
                                         on="b"),
            more(2), do("PING"),
        ],
    }
    for kind, (begin, end, name, publish) in KINDS.items():
        for three in ("", ", RESP3"):
            first = [HELLO3] if three else []
            made[f"{kind}: a message{three}"] = [
                *first, do(f"{begin} {name}"), say("c", "1", publish), more(1), do("PING"),
                say("c", "2", publish), more(1), do(end), say("c", "3", publish), do("GET k"),
            ]
            made[f"{kind}: a message of another kind{three}"] = [
                *first, do(f"{begin} {name}"),
                say("c", "1", "PUBLISH" if kind == "shards" else "SPUBLISH"), do("PING"),
            ]
    return made


def _endings():
    made = {}
    for state, begin in STATES.items():
        for end in ENDS:
            made[f"{state}, then {end}"] = [*map(do, begin), do(end, n=0), do("GET k", "PING", n=0)]
            made[f"{state}, then {end}, one write, RESP3"] = [
                do("HELLO 3", *begin, end, "GET k", "PING", end, n=0)
            ]
        made[f"{state}, then QUIT"] = [*map(do, begin), closed("QUIT")]
        made[f"{state}, then QUIT, RESP3"] = [HELLO3, *map(do, begin), closed("GET k", "QUIT")]
        made[f"{state}, QUIT in the same write"] = [closed(*begin, "QUIT")]
        made[f"{state}, then half-close"] = [*map(do, begin), hang_up("PING")]
        made[f"{state}, then a protocol error"] = [*map(do, begin), closed(b"*1\r\nx\r\n")]
        made[f"{state}, then RESET, twice"] = [
            *map(do, begin), do("RESET"), do("GET k", "CLIENT GETNAME"), *map(do, begin),
            do("RESET"),
        ]
    return made


def _replies_off():
    made = {}
    for three in ("", ", RESP3"):
        first = [HELLO3] if three else []
        made |= {
            f"REPLY OFF before{three}": [
                *first, do("CLIENT REPLY OFF", "SUBSCRIBE c d", n=2), say(), more(1),
                do("PING", "NOSUCH", "UNSUBSCRIBE c", n=1), say("d"), more(1),
                do("UNSUBSCRIBE", n=1),
                do("CLIENT REPLY ON", "GET k", n=0),
            ],
            f"REPLY SKIP before{three}": [
                *first, do("CLIENT REPLY SKIP", "SUBSCRIBE c d", n=2), say(), more(1),
                do("PING", n=0),
            ],
            f"REPLY SKIP and UNSUBSCRIBE{three}": [
                *first, do("SUBSCRIBE c"), do("CLIENT REPLY SKIP", "UNSUBSCRIBE c", n=0),
                do("GET k", n=0),
            ],
        }
    made |= {
        "REPLY OFF while subscribed, RESP3": [
            HELLO3, do("SUBSCRIBE c"), do("CLIENT REPLY OFF", "PING", "GET k", n=0), say(), more(1),
            do("SUBSCRIBE d"), do("UNSUBSCRIBE c"), do("CLIENT REPLY ON", "GET k"),
        ],
        "REPLY SKIP while subscribed, RESP3": [
            HELLO3, do("SUBSCRIBE c"), do("CLIENT REPLY SKIP", "GET k", "PING", n=1),
            do("CLIENT REPLY SKIP", "SUBSCRIBE d", "PING", n=2),
            do("CLIENT REPLY SKIP", "PING", n=0),
            do("GET k"),
        ],
        "REPLY OFF and one's own message, RESP3": [
            HELLO3, do("SUBSCRIBE c"), do("CLIENT REPLY OFF", "PUBLISH c x", n=1),
            do("CLIENT REPLY ON", "GET k"),
        ],
        "REPLY OFF, then RESET": [
            do("CLIENT REPLY OFF", "SUBSCRIBE c", n=1), do("RESET", n=0), do("GET k", n=0)
        ],
    }
    return made


def _protocols():
    made = {
        "HELLO 2 while subscribed": [
            do("HELLO 3", "SUBSCRIBE c", n=2), do("HELLO 2"), do("GET k"), do("PING"), say(),
            more(1),
            do("UNSUBSCRIBE c"), do("GET k"),
        ],
        "HELLO 2, then more": [
            do("HELLO 3", "SUBSCRIBE c", "HELLO 2", "SUBSCRIBE d", "PING x", "HELLO 3", n=6),
            do("UNSUBSCRIBE", n=2), do("HELLO 3", "GET none"),
        ],
        "HELLO 3 twice": [
            do("HELLO 3", "SUBSCRIBE c", "HELLO 3", "HELLO", "PING", n=5), say(), more(1),
        ],
        "HELLO 4, RESP3": [do("HELLO 3", "SUBSCRIBE c", "HELLO 4", "GET none", n=4)],
        "HELLO SETNAME, RESP3": [
            do("HELLO 3", "SUBSCRIBE c", "HELLO 3 SETNAME me", "CLIENT GETNAME"),
        ],
        "HELLO 2 of one of two": [
            do("HELLO 3", "SUBSCRIBE c", n=2), do("HELLO 3", "SUBSCRIBE c", n=2, on="d"),
            do("HELLO 2"),
            say(), more(1), more(1, on="d"), do("GET k"), do("GET k", on="d"),
        ],
        "other commands, RESP3": [
            do("HELLO 3", "SUBSCRIBE c", n=2), do("SET k 1"), do("GET k"), do("SELECT 3"),
            do("GET k"),
            do("HGETALL h"), do("CLIENT SETNAME me"), do("CLIENT GETNAME"), do("BLPOP none 0.01"),
            do("EVAL 'return {1,2}' 0"), do("NOSUCH"), do("GET"), say(), more(1), do("GET k"),
        ],
        "a pipeline of all kinds, RESP3": [
            do("HELLO 3", "SET k 1", "SUBSCRIBE c", "GET k", "PSUBSCRIBE c*", "SET k 2", "GET k",
               "UNSUBSCRIBE c", "GET k", "PUNSUBSCRIBE", "PING", "GET k", n=12),
        ],
        "one's own messages, RESP3": [
            do("HELLO 3", "SUBSCRIBE c d", n=3), do("PUBLISH c 1", n=2), do("PUBLISH d 2", n=2),
            do("PUBLISH none 3"), do("UNSUBSCRIBE c", "PUBLISH c 4", "PUBLISH d 5", n=4),
        ],
        "one's own messages in a pipeline, RESP3": [
            do("HELLO 3", "SUBSCRIBE c", "PUBLISH c 1", "PUBLISH c 2", "UNSUBSCRIBE c",
                "PUBLISH c 3",
               "GET k", n=9),
        ],
        "one's own messages of a shard, RESP3": [
            do("HELLO 3", "SSUBSCRIBE c", n=2), do("SPUBLISH c 1", n=2), do("SUNSUBSCRIBE"),
            do("SPUBLISH c 2"),
        ],
        "one's own messages by pattern, RESP3": [
            do("HELLO 3", "PSUBSCRIBE c*", n=2), do("PUBLISH c 1", n=2), do("PUBLISH cc 2", n=2),
        ],
        "tracking, RESP3": [
            do("HELLO 3", "SUBSCRIBE c", n=2), do("CLIENT TRACKING ON", "GET k"),
            do("SET k 1", on="b"),
            more(1), say(), more(1), do("CLIENT TRACKING OFF", "GET k"), do("UNSUBSCRIBE"),
            do("GET k"),
        ],
        "tracking first, RESP3": [
            do("HELLO 3", "CLIENT TRACKING ON", "GET k"), do("SUBSCRIBE c"), do("SET k 1", on="b"),
            more(1), say(), more(1), do("UNSUBSCRIBE c"), do("CLIENT TRACKING OFF", "GET k"),
        ],
        "MONITOR, RESP3": [
            do("HELLO 3", "SUBSCRIBE c", n=2), do("MONITOR"), do("PING"), do("RESET"),
        ],
        "WATCH, RESP3": [
            do("HELLO 3", "SUBSCRIBE c", n=2), do("WATCH k"), do("SET k 1", on="b"),
            do("MULTI", "GET k", "EXEC"), do("UNSUBSCRIBE c"), do("GET k"),
        ],
        "WATCH first": [
            do("WATCH k"), do("SUBSCRIBE c"), do("SET k 1", on="b"), do("UNSUBSCRIBE c"),
            do("MULTI", "GET k", "EXEC"),
        ],
    }
    return made


def _transactions():
    made = {}
    for three in ("", ", RESP3"):
        first = [HELLO3] if three else []
        made |= {
            f"MULTI before any subscription{three}": [
                # EXEC's array is two confirmations; what it has in the end stands behind it.
                *first, do("MULTI", "SUBSCRIBE c d", "PING", "EXEC", n=5),
                do("PING"), say(), more(1),
            ],
            f"MULTI, one by one{three}": [
                *first, do("MULTI"), do("SUBSCRIBE c"), do("SET k 1"), do("EXEC", n=2), say(),
                more(1), do("UNSUBSCRIBE c"), do("GET k"),
            ],
            f"MULTI with a shard channel{three}": [
                *first, do("MULTI", "SSUBSCRIBE c", "EXEC", "PING"),
            ],
            f"MULTI, discarded{three}": [
                *first, do("MULTI", "SUBSCRIBE c", "DISCARD", "GET k"), say(),
            ],
            f"MULTI that begins and ends it{three}": [
                *first, do("MULTI", "SUBSCRIBE c", "UNSUBSCRIBE c", "EXEC", "GET k", n=0)
            ],
        }
    made["MULTI while subscribed, RESP3"] = [
        HELLO3, do("SUBSCRIBE c"), do("MULTI", "SET k 1", "GET k", "EXEC"), say(), more(1),
        do("GET k"),
    ]
    made["MULTI while subscribed, one by one, RESP3"] = [
        HELLO3, do("SUBSCRIBE c"), do("MULTI"), do("SET k 1"), do("GET k"), do("EXEC"), say(),
        more(1),
    ]
    made["MULTI while subscribed, discarded, RESP3"] = [
        HELLO3, do("SUBSCRIBE c"), do("MULTI", "SET k 1", "DISCARD", "GET k"), say(), more(1),
    ]
    made["RESET in MULTI while subscribed, RESP3"] = [
        HELLO3, do("SUBSCRIBE c"), do("MULTI", "SET k 1", "RESET", "GET k"), say(), do("PING"),
    ]
    made["QUIT in MULTI while subscribed, RESP3"] = [
        HELLO3, do("SUBSCRIBE c"), closed("MULTI", "SET k 1", "QUIT")
    ]
    return made


def _counted():
    """What the server counts: clients, of which several may be behind one hub."""
    crowd = [
        do("SUBSCRIBE c d", "PSUBSCRIBE c*", n=3, on="e"),
        do("SUBSCRIBE c", "PSUBSCRIBE x*", n=2, on="f"),
        do("HELLO 3", "SUBSCRIBE d", "SSUBSCRIBE c", n=3, on="g"), do("SSUBSCRIBE c", on="h"),
    ]
    ask = do("PUBSUB NUMSUB c d none c", "PUBSUB NUMPAT", "PUBSUB SHARDNUMSUB c none",
        "PUBSUB NUMSUB",
             "PUBLISH c 1", "PUBLISH d 2", "PUBLISH cx 3", "PUBLISH none 4", "SPUBLISH c 5",
             "PUBSUB SHARDCHANNELS c", "PUBSUB CHANNELS d")
    heard = [more(5, on="e"), more(1, on="f"), more(2, on="g")]
    return {
        "counts of nobody": [ask],
        "counts": [*crowd, ask, *heard],
        "counts, RESP3": [HELLO3, *crowd, ask, *heard],
        "counts, one's own": [*crowd, do("HELLO 3", "SUBSCRIBE c", n=2), do("PUBLISH c 1", n=2)],
        "counts, some have left": [
            *crowd, do("UNSUBSCRIBE c", on="f"), closed("QUIT", on="h"), do("RESET", on="g"), ask,
        ],
        "counts in another database": [*crowd, do("SELECT 3"), ask, *heard],
    }
