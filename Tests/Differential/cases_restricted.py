"""Scripted cases of what subscribers may send, and what they may name; see cases_subscribed.py."""

from play import do, more

HELLO3 = do("HELLO 3")

# What a RESP2 subscriber may not send, or not in this form: the server's own words, in its order of
# checks. What Redpool refuses by default is not here.
FORBIDDEN = [
    "GET k", "GET", "GET k k", "gEt k", "NOSUCH", "NOSUCH x", "SET k v", "MSET a", "INCR n", "INCR",
    "EXEC", "EXEC x", "MULTI", "MULTI x", "DISCARD", "WATCH k", "WATCH", "UNWATCH", "SELECT 1",
    "SELECT 99", "AUTH bob pw", "AUTH nobody x", "AUTH", "HELLO", "HELLO 2", "HELLO 3", "HELLO 4",
    "HELLO 3 AUTH bob pw", "CLIENT", "CLIENT ID", "CLIENT NOSUCH", "CLIENT SETNAME x",
    "CLIENT INFO",
    "CLIENT LIST", "CLIENT GETNAME", "CLIENT REPLY OFF", "CLIENT REPLY ON", "CLIENT REPLY SKIP",
    "CLIENT REPLY MAYBE", "CLIENT TRACKING ON", "CLIENT KILL ID 999999999", "CLIENT NO-EVICT ON",
    "CLIENT CACHING YES", "CLIENT PAUSE 0", "PUBLISH c x", "PUBLISH c", "SPUBLISH c x", "PUBSUB",
    "PUBSUB CHANNELS", "PUBSUB NOSUCH", "PUBSUB NUMSUB c", "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE",
    "PING a b", "RESET x", "MONITOR", "BLPOP q 0", "BLPOP q", "XREAD BLOCK 0 STREAMS st $",
    "WAIT 0 0",
    "EVAL 'return 1' 0", "EVAL", "EVALSHA none 0", "FUNCTION LIST", "SCRIPT LOAD x", "SCRIPT KILL",
    "CONFIG", "CONFIG GET maxmemory", "CONFIG NOSUCH", "ACL WHOAMI", "ACL NOSUCH", "COMMAND",
    "COMMAND COUNT", "TIME", "INFO server", "OBJECT HELP", "ROLE", "FLUSHALL", "READONLY", "ASKING",
    "CLUSTER INFO", "SORT k", "LATENCY HELP", "FCALL f 0", "DBSIZE", "KEYS *", "SCAN 0", "MOVE k 1",
]

# What a subscriber may send, RESP2 as well.
ALLOWED = ["PING", "PING x", "PING ''", "ping x", ("PING", "x" * 5000), b"PING\r\n", b"PING x\r\n"]

STATES = {
    "a channel": ["SUBSCRIBE c"],
    "a pattern": ["PSUBSCRIBE c*"],
    "a shard channel": ["SSUBSCRIBE c"],
    "all kinds": ["SUBSCRIBE c", "PSUBSCRIBE c*", "SSUBSCRIBE c"],
    "two channels": ["SUBSCRIBE c", "SUBSCRIBE d"],
}


def say(channel="c", message="x", verb="PUBLISH", on="b"):
    """A message, whose publisher is not told how many have got it."""
    script = f"redis.call('{verb}', '{channel}', '{message}')"
    return do(("EVAL", script, "0"), on=on)


def restricted() -> dict:
    """What RESP2 forbids."""
    made = {}
    for command in FORBIDDEN:
        made[f"restricted: {command!r}"] = [
            do("SUBSCRIBE c"), do(command, "PING"), do("UNSUBSCRIBE", n=0),
        ]
    for state in ("a pattern", "a shard channel"):
        made[f"restricted: {state}"] = [
            *map(do, STATES[state]), *(do(command) for command in FORBIDDEN), do("PING"),
        ]
    for user in ("bob", "eve", "kim", "nor"):
        made[f"restricted: {user}"] = [
            do(f"AUTH {user} pw", "SUBSCRIBE c"), *(do(command) for command in FORBIDDEN),
            do("PING"),
        ]
    made["restricted: a pipeline"] = [
        do("SUBSCRIBE c", *FORBIDDEN, "PING", "UNSUBSCRIBE c", "GET k"),
    ]
    made["restricted: a long command"] = [
        do("SUBSCRIBE c"), do(("SET", "k", "x" * 300_000), "PING"),
        do(("NOSUCH", "x" * 300_000), "PING"),
        do("UNSUBSCRIBE", "STRLEN k"),
    ]
    made["restricted: no more"] = [do("SUBSCRIBE c"), do("GET k"), do("UNSUBSCRIBE c"), do("GET k")]
    made["restricted: shard channels alone"] = [
        do("SUBSCRIBE c", "SSUBSCRIBE c"), do("UNSUBSCRIBE c"), do("GET k"), do("PING"),
        do("SUNSUBSCRIBE c"), do("GET k"), do("PING"),
    ]
    made["restricted: between messages"] = [
        do("SUBSCRIBE c"), say("c", "1"), more(1), do("GET k"), say("c", "2"), more(1), do("PING"),
        do("NOSUCH"), say("c", "3"), more(1),
    ]
    return made


def allowed() -> dict:
    """What it does not."""
    made = {}
    for state, begin in STATES.items():
        for three in ("", ", RESP3"):
            first = [HELLO3] if three else []
            made[f"allowed: {state}{three}"] = [
                *first, *map(do, begin), *map(do, ALLOWED), do(*ALLOWED),
            ]
    return made


def rights() -> dict:
    """`ann` may use channels that match `&c*`, and not SUBSCRIBE; see `world.USERS`."""
    made = {}
    for three in ("", ", RESP3"):
        first = [HELLO3] if three else []
        made |= {
            f"one forbidden channel of two{three}": [
                *first, do("AUTH ann pw", "PSUBSCRIBE c* d*"), do("PING"), do("PSUBSCRIBE c*"),
                say(), more(1), do("SSUBSCRIBE c d"), do("PING"), do("PUNSUBSCRIBE"),
                do("GET k", n=0),
            ],
            f"the verb is forbidden{three}": [
                *first, do("AUTH ann pw", "SUBSCRIBE c"), do("PSUBSCRIBE c*"), do("SUBSCRIBE c"),
                do("UNSUBSCRIBE"), do("PING"),
            ],
            f"a pattern has to be allowed literally{three}": [
                *first, do("AUTH ann pw", "PSUBSCRIBE c?"), do("PSUBSCRIBE c*"),
                do("PSUBSCRIBE cc*"),
                do("PING"),
            ],
            f"another user{three}": [
                *first, do("AUTH bob pw", "SUBSCRIBE c"), do("INCR n"), say(), more(1),
                do("UNSUBSCRIBE c"), do("ACL WHOAMI"),
            ],
            f"a user without EXEC and some of CLIENT{three}": [
                *first, do("AUTH eve pw", "SUBSCRIBE c"), do("EXEC"), do("CLIENT ID"), do("INFO"),
                do("CLIENT SETNAME x"), do("CLIENT GETNAME"), do("PING"),
            ],
        }
    made["AUTH as another user, RESP3"] = [
        HELLO3, do("SUBSCRIBE a c", n=2), do("AUTH ann pw"), do("PSUBSCRIBE d*"),
        do("PSUBSCRIBE c*"),
        say("c"), more(2), say("a"), more(1), do("ACL WHOAMI"), do("UNSUBSCRIBE", n=2), do("PING"),
    ]
    made["AUTH as a user without the channel, then RESP2"] = [
        HELLO3, do("SUBSCRIBE a"), do("AUTH ann pw"), do("HELLO 2"), do("GET k"),
        do("NOSUCH", "GET", "CLIENT GETNAME", "PING"), say("a"), more(1), do("HELLO 3"),
        do("PSUBSCRIBE c*"), do("UNSUBSCRIBE a"), do("PING"),
    ]
    made["AUTH as another user and back, RESP3"] = [
        HELLO3, do("AUTH bob pw", "SUBSCRIBE a"), do("AUTH kim pw", "SUBSCRIBE a b", n=3), say("a"),
        more(1), do("UNSUBSCRIBE a"), say("a"), say("b"), more(1), do("PING"),
    ]
    made["AUTH as another user, a name that one has, RESP3"] = [
        HELLO3, do("SUBSCRIBE a c", n=2), do("AUTH bob pw"),
        do("SUBSCRIBE a", "PUBLISH none x"), do("PUBLISH none x"), say("a"),
        more(1), do("UNSUBSCRIBE a", "PUBLISH none x"), do("PING"),
    ]
    made["AUTH wrong while subscribed, RESP3"] = [
        HELLO3, do("SUBSCRIBE c"), do("AUTH bob wrong"), do("ACL WHOAMI"), say(), more(1),
    ]
    made["RESET as another user"] = [
        do("AUTH bob pw", "SUBSCRIBE c"), do("RESET"), do("ACL WHOAMI"), do("SUBSCRIBE c"), say(),
        more(1),
    ]
    return made


def odd_names() -> dict:
    """Names and patterns that a program has not made for people."""
    made = {}
    names = {
        "empty": b"", "a NUL": b"a\0b", "line ends": b"a\r\n+OK\r\n", "long": b"n" * 70_000,
        "the fence": b"redpool:fence", "the second fence": b"redpool:fence:1",
        "bytes": bytes(range(256)),
        "a keyspace event": b"__keyspace@0__:k", "blanks": b" c ",
        "invalidations": b"__redis__:invalidate",
    }
    for what, name in names.items():
        text = "redis.call('PUBLISH', ARGV[1], 'x')"
        made[f"a name: {what}"] = [
            do(("SUBSCRIBE", name)), do(("EVAL", text, "0", name), on="b"), more(1), do("PING"),
            do(("SUBSCRIBE", name, "c", name), n=3), do(("UNSUBSCRIBE", name), "PING"),
            do(("EVAL", text, "0", name), on="b"), do("UNSUBSCRIBE c"), do("GET k"),
        ]
        made[f"a name: {what}, RESP3"] = [
            HELLO3, do(("SUBSCRIBE", name)), do(("EVAL", text, "0", name), on="b"), more(1),
            do("GET k"),
            do(("UNSUBSCRIBE", name, name), n=2), do(("EVAL", text, "0", name), on="b"),
            do("GET k"),
        ]
    patterns = {
        "a bracket": "[", "a class": "[a-c]", "a backslash": "\\c", "stars": "***c", "nothing": "",
    }
    for what, pattern in patterns.items():
        made[f"a pattern: {what}"] = [
            do(("PSUBSCRIBE", pattern)), do(("PSUBSCRIBE", "no")), say(), do("PING"),
        ]
    return made
