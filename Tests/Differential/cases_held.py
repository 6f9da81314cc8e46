"""Scripted cases of states that end: tracking, MONITOR, flags, and what a transaction changes."""

from play import closed, do, hang_up, more, split

# On a direct connection and through Redpool, these say who the client is.
WHO = ("CLIENT ID", "CLIENT GETNAME", "ACL WHOAMI")


def held() -> dict:
    """The cases by name."""
    return _tracking() | _tracking_errors() | _monitor() | _flags() | _queued()


def _tracking():
    on = do("HELLO 3", "CLIENT TRACKING ON", "GET k")
    return {
        "tracking, then OFF": [
            on, do(*WHO, "CLIENT INFO"), do("CLIENT TRACKING OFF", *WHO, "CLIENT INFO"),
            do("SET k 1", on="b"), do("GET k", "PING"),
        ],
        "tracking, then RESET": [
            on, do("CLIENT SETNAME me", "RESET", *WHO, "CLIENT INFO"), do("SET k 1", on="b"),
            do("GET k", "PING"),
        ],
        "tracking, OFF and ON again": [
            on, do("CLIENT TRACKING OFF", "CLIENT TRACKING ON", "GET j"), do("SET j 1", on="b"),
            more(1), do("CLIENT TRACKING OFF"),
        ],
        "tracking, one's own writes": [on, do("SET k 1", "GET k", "SET k 2", n=5)],
        "tracking NOLOOP": [
            do("HELLO 3", "CLIENT TRACKING ON NOLOOP", "GET k", "SET k 1", "GET k"),
            do("SET k 2", on="b"), more(1),
        ],
        "tracking OPTIN": [
            do("HELLO 3", "CLIENT TRACKING ON OPTIN", "GET j", "CLIENT CACHING YES", "GET k"),
            do("SET j 1", "SET k 1", on="b"), more(1), do("CLIENT TRACKINGINFO"),
        ],
        "tracking OPTIN, one by one": [
            do("HELLO 3"), do("CLIENT TRACKING ON OPTIN"), do("CLIENT CACHING YES"), do("GET k"),
            do("GET j"), do("SET j 1", "SET k 1", on="b"), more(1),
        ],
        "tracking OPTIN, caching eaten": [
            do("HELLO 3", "CLIENT TRACKING ON OPTIN", "CLIENT CACHING YES", "PING", "GET k"),
            do("SET k 1", on="b"), do("PING"),
        ],
        "tracking OPTIN, caching a transaction": [
            do("HELLO 3", "CLIENT TRACKING ON OPTIN", "CLIENT CACHING YES", "MULTI", "GET k",
               "GET j", "EXEC"),
            do("SET k 1", "SET j 1", on="b"), more(2),
        ],
        "tracking OPTIN, caching a blocking pop": [
            do("HELLO 3", "CLIENT TRACKING ON OPTIN", "CLIENT CACHING YES", "BLPOP none 0.01",
               "GET k"),
            do("SET k 1", on="b"), do("PING"),
        ],
        "tracking OPTOUT": [
            do("HELLO 3", "CLIENT TRACKING ON OPTOUT", "CLIENT CACHING NO", "GET j", "GET k"),
            do("SET j 1", "SET k 1", on="b"), more(1), do("CLIENT TRACKINGINFO"),
        ],
        "tracking BCAST with prefixes": [
            do("HELLO 3", "CLIENT TRACKING ON BCAST PREFIX p PREFIX q", "CLIENT TRACKINGINFO"),
            do("SET p1 1", on="b"), more(1), do("SET q1 1", on="b"), more(1),
            do("SET r1 1", on="b"),
            do("CLIENT TRACKING OFF", *WHO), do("SET p1 2", on="b"), do("PING"),
        ],
        "tracking BCAST, more prefixes": [
            do("HELLO 3", "CLIENT TRACKING ON BCAST PREFIX p", "CLIENT TRACKING ON BCAST PREFIX q"),
            do("SET q1 1", on="b"), more(1), do("CLIENT TRACKINGINFO"),
        ],
        "tracking in RESP2": [
            do("CLIENT TRACKING ON", "GET k"), do("SET k 1", on="b"),
            do("PING", "CLIENT TRACKINGINFO", "CLIENT GETREDIR", "CLIENT TRACKING OFF", *WHO),
        ],
        "tracking, then RESP2 and back": [
            on, do("HELLO 2"), do("SET k 1", on="b"), do("PING"), do("HELLO 3", "GET k"),
            do("SET k 2", on="b"), more(1),
        ],
        "tracking in another database": [
            do("HELLO 3", "SELECT 3", "CLIENT TRACKING ON", "GET k", "SELECT 4", "GET k"),
            do("SELECT 3", "SET k 1", on="b"), more(1),
            do("CLIENT TRACKING OFF", "SET k 4", "SELECT 0", "GET k"),
        ],
        "tracking as another user": [
            on, do("AUTH bob pw", "ACL WHOAMI", "INCR n"), do("SET k 1", on="b"), more(1),
            do("CLIENT TRACKING OFF", "ACL WHOAMI", "GET k"),
        ],
        "tracking and watching": [
            on, do("WATCH k"), do("CLIENT TRACKING OFF"), do("SET k 1", on="b"),
            do("MULTI", "GET k", "EXEC", "GET k"),
        ],
        "tracking and subscribed": [
            on, do("SUBSCRIBE c"), do("PUBLISH c x", "SET k 1", on="b"), more(2),
            do("CLIENT TRACKING OFF"), do("PUBLISH c y", on="b"), more(1),
            do("UNSUBSCRIBE c", "GET k", *WHO),
        ],
        "tracking and a transaction": [
            on, do("MULTI", "SET k 1", "GET k", "EXEC", n=5), do("GET k"), do("MULTI"),
            do("SET k 2"), do("DISCARD"), do("CLIENT TRACKING OFF", *WHO),
        ],
        "tracking, and FLUSHALL": [on, do("FLUSHALL", on="b"), more(1)],
        "tracking under CLIENT REPLY OFF": [
            do("HELLO 3", "CLIENT TRACKING ON"), do("CLIENT REPLY OFF", "GET k", n=0),
            do("PING", on="b"), do("SET k 1", on="b"), more(1), do("CLIENT REPLY ON"),
        ],
        # Tracking waits for a pin, so that only a reply tells when it is on.
        "tracking turned on under CLIENT REPLY OFF": [
            do("HELLO 3", "CLIENT REPLY OFF", "CLIENT TRACKING ON", "CLIENT REPLY ON", "GET k", n=3),
            do("SET k 1", on="b"), more(1), do("CLIENT TRACKING OFF"),
        ],
        "tracking, then half-close": [on, hang_up("GET j", "CLIENT TRACKING OFF", *WHO)],
        "tracking, then QUIT": [on, closed("CLIENT ID", "QUIT")],
        "tracking, a large value": [on, do(("SET", "j", "x" * 100_000), "STRLEN j", *WHO)],
        "tracking and WAIT": [on, do("SET j 1", "WAIT 0 0", "CLIENT TRACKING OFF", "WAIT 0 0")],
    }


def _tracking_errors():
    made = {}
    for options in (
        "", "MAYBE", "ON NOSUCH", "ON PREFIX", "ON PREFIX p", "ON OPTIN OPTOUT", "ON BCAST OPTIN",
        "ON REDIRECT", "ON REDIRECT x", "ON REDIRECT 99999999", "ON REDIRECT 0",
        "ON BCAST PREFIX a PREFIX ab", "OFF BCAST", "OFF REDIRECT 99999999", "OFF PREFIX",
        "ON REDIRECT 99999999 REDIRECT 99999999", "ON BCAST PREFIX redirect PREFIX x",
    ):
        for first in ([], ["CLIENT TRACKING ON"], ["CLIENT TRACKING ON BCAST PREFIX zz"],
                      ["CLIENT TRACKING ON OPTIN"]):
            name = f"TRACKING {options!r} behind {first}"
            made[name] = [
                do("HELLO 3", *first, f"CLIENT TRACKING {options}", "CLIENT TRACKINGINFO",
                   "CLIENT GETREDIR", "CLIENT CACHING YES", "GET k", "CLIENT TRACKING OFF", *WHO)
            ]
    for word in ("YES", "NO", "MAYBE"):
        for mode in ("", "OPTIN", "OPTOUT"):
            made[f"CACHING {word}, {mode or 'no mode'}"] = [
                do("HELLO 3", f"CLIENT TRACKING ON {mode}", f"CLIENT CACHING {word}", "GET k"),
            ]
    return made


def _monitor():
    return {
        "MONITOR, then RESET": [do("MONITOR"), do("PING"), do("RESET", *WHO, "GET k", "SET k 1")],
        "MONITOR twice": [do("MONITOR", "MONITOR", "PING", "RESET", "PING", n=4)],
        "MONITOR and replies": [
            do("MONITOR"), do("PING", "ECHO x", "GET k", "CLIENT ID", "CLIENT GETNAME"),
            do("EVAL 'return redis.status_reply(\"x1\")' 0"), do("CONFIG GET maxmemory"),
            do("SELECT 3", "CLIENT INFO", "NOSUCH", "GET"), do("RESET", "CLIENT INFO"),
        ],
        "MONITOR and a pipeline": [do("MONITOR", *["PING", "ECHO x"] * 40, "RESET", "GET k")],
        "MONITOR in RESP3": [
            do("HELLO 3 SETNAME me", "MONITOR", "PING", "CLIENT INFO", "HELLO 2", "CLIENT GETNAME",
               "RESET", *WHO)
        ],
        "MONITOR as another user": [do("AUTH bob pw", "MONITOR", "ACL WHOAMI", "RESET", *WHO)],
        "MONITOR and WATCH": [do("WATCH k", "MONITOR", "UNWATCH", "PING", "RESET", "GET k")],
        "MONITOR and a transaction": [
            do("MONITOR", "MULTI", "PING", "EXEC", "MULTI"), do("PING"), do("DISCARD"), do("RESET")
        ],
        # Every member's line comes inside EXEC's array, among the elements.
        "MONITOR and a longer transaction": [
            do("MONITOR", "MULTI", "PING", "GET k", "ECHO x", "EXEC", "PING", *WHO),
            do("MULTI"), do("PING"), do("LRANGE none 0 -1"), do("EXEC"), do("RESET", *WHO),
        ],
        "MONITOR and a transaction that is walked": [
            do("MONITOR", "MULTI", "CLIENT ID", "PING", "CLIENT GETNAME", "SELECT 3", "CLIENT INFO",
               "EXEC", "PING", *WHO, "CLIENT INFO"),
            do("RESET", *WHO),
        ],
        "MONITOR and a longer transaction, RESP3": [
            do("HELLO 3", "MONITOR", "MULTI", "PING", "CLIENT ID", "HGETALL none", "EXEC", *WHO),
            split("MULTI", "PING", "GET k", "EXEC", "PING"),
        ],
        "MONITOR and a longer transaction, silent": [
            do("MONITOR", "CLIENT REPLY OFF", "MULTI", "PING", "CLIENT GETNAME", "EXEC", "PING",
               "CLIENT REPLY ON", "PING", n=3),
        ],
        "MONITOR twice, subscribed": [
            do("MONITOR", "SUBSCRIBE c", "MONITOR", "UNSUBSCRIBE c", "MONITOR", "PING", n=5),
        ],
        "MONITOR and SUBSCRIBE": [
            do("MONITOR", "SUBSCRIBE c"), do("PUBLISH c x", on="b"), more(1),
            do("UNSUBSCRIBE c", "RESET", "GET k"),
        ],
        "MONITOR and tracking": [
            do("HELLO 3", "MONITOR", "CLIENT TRACKING ON", "CLIENT TRACKING OFF", "PING", "RESET",
               *WHO)
        ],
        "protocol changed by a silent transaction, then SUBSCRIBE": [
            do("CLIENT REPLY OFF", "MULTI", "CLIENT TRACKING ON", "HELLO 3 SETNAME me", "EXEC",
               "SUBSCRIBE c", n=1),
            do("PUBLISH c x", on="b"), more(1), do("CLIENT REPLY ON", "GET k")
        ],
        "protocol changed back by a silent transaction, then SUBSCRIBE": [
            do("HELLO 3"),
            do("CLIENT REPLY OFF", "MULTI", "HELLO 2 SETNAME me", "EXEC", "SUBSCRIBE c", n=1),
            do("PUBLISH c x", on="b"), more(1)
        ],
        "MONITOR under CLIENT REPLY OFF": [
            do("MONITOR", "CLIENT REPLY OFF", "PING", "CLIENT REPLY ON", "PING", "RESET", n=4)
        ],
        "MONITOR silent from the start": [
            do("CLIENT REPLY OFF", "MONITOR", "PING", "CLIENT REPLY ON", "PING", "RESET", n=3)
        ],
        "MONITOR, then QUIT": [do("MONITOR"), closed("PING", "QUIT")],
        "MONITOR, then half-close": [do("MONITOR"), hang_up("PING", "ECHO x")],
        "MONITOR with an argument": [do("MONITOR x", "GET k")],
    }


def _flags():
    made = {}
    for word in ("CLIENT NO-EVICT", "CLIENT NO-TOUCH"):
        made |= {
            f"{word} ON and OFF": [
                do(f"{word} ON", "CLIENT INFO", *WHO), do(f"{word} OFF", "CLIENT INFO", *WHO)
            ],
            f"{word} OFF alone": [do(f"{word} OFF", "CLIENT INFO")],
            # Whether RESET ends it depends on the version: see docs/compatibility.md.
            f"{word} ON, then RESET": [do(f"{word} ON", "RESET", "GET k", *WHO)],
            f"{word} ON twice": [do(f"{word} ON", f"{word} ON", f"{word} OFF", "CLIENT INFO")],
            f"{word} in a watch": [
                do("WATCH k", f"{word} ON", "UNWATCH", "CLIENT INFO", f"{word} OFF", "CLIENT INFO")
            ],
            f"{word} and a transaction": [
                do(f"{word} ON", "MULTI", "SET k 1", "EXEC", "CLIENT INFO", f"{word} OFF")
            ],
            f"{word} in MULTI": [
                do("MULTI", f"{word} ON", "EXEC", "CLIENT INFO", f"{word} OFF", "CLIENT INFO")
            ],
            f"{word} in MULTI, aborted": [
                do("MULTI", f"{word} ON", "NOSUCH", "EXEC", "CLIENT INFO")
            ],
            f"{word} and SELECT": [do(f"{word} ON", "SELECT 3", f"{word} OFF", "CLIENT INFO")],
            f"{word} and AUTH": [do(f"{word} ON", "AUTH bob pw", f"{word} OFF", "ACL WHOAMI")],
            f"{word} MAYBE": [do(f"{word} MAYBE", f"{word}", f"{word} ON x", "CLIENT INFO")],
        }
    return made


def _queued():
    """What a transaction does to its own connection."""
    made = {}
    members = {
        "SELECT": ["SELECT 6"], "two SELECTs": ["SELECT 6", "SET k six", "SELECT 5"],
        "a SELECT that fails": ["SELECT 6", "SELECT 99"], "CLIENT ID": ["CLIENT ID"],
        "CLIENT GETNAME": ["CLIENT GETNAME", "CLIENT SETNAME me", "CLIENT GETNAME"],
        "CLIENT SETNAME": ["CLIENT SETNAME me"], "a bad name": [("CLIENT", "SETNAME", "a b")],
        "CLIENT INFO": ["CLIENT SETNAME me", "CLIENT INFO"], "HELLO": ["HELLO"],
        "HELLO 3": ["HELLO 3", "HGETALL none", "CLIENT GETNAME"],
        "HELLO 2": ["HELLO 2", "HGETALL none"],
        "HELLO 4": ["HELLO 4"], "tracking": ["CLIENT TRACKING ON", "CLIENT TRACKINGINFO"],
        "tracking OFF": ["CLIENT TRACKING OFF"], "CACHING": ["CLIENT CACHING YES"],
        "GETREDIR": ["CLIENT GETREDIR", "CLIENT TRACKINGINFO"], "MONITOR": ["MONITOR"],
        "WAIT": ["SET j 1", "WAIT 0 0"], "NO-EVICT": ["CLIENT NO-EVICT ON"],
        "an unknown command": ["NOSUCH x"], "READONLY": ["READONLY"], "ASKING": ["ASKING"],
        "UNWATCH and SELECT": ["UNWATCH", "SELECT 6"], "MULTI and SELECT": ["MULTI", "SELECT 6"],
        "WATCH and SELECT": ["WATCH k", "SELECT 6"], "an error and SELECT": ["INCR l", "SELECT 6"],
        "nested replies": ["LRANGE l 0 -1", "EVAL 'return {1,{},{2,{3}}}' 0", "SELECT 6", "GET n"],
    }
    after = ("GET k", *WHO, "HGETALL none", "CLIENT INFO")
    for name, inside in members.items():
        first = do("RPUSH l a b", "SET k 0")
        for three in ("", ", RESP3"):
            start = [first, do("HELLO 3")] if three else [first]
            made[f"{name} in a transaction{three}"] = [
                *start, do("MULTI", "SET k 1", *inside, "GET k", "EXEC", *after, n=0)
            ]
            made[f"{name} in a transaction, one by one{three}"] = [
                *start, do("MULTI"), do("SET k 1"), *(do(c) for c in inside), do("GET k"),
                do("EXEC", n=0), do(*after, n=0),
            ]
        made[f"{name} in a transaction, discarded"] = [
            first, do("MULTI", *inside, "DISCARD", *after, n=0)
        ]
        made[f"{name} in a transaction, aborted"] = [
            first, do("MULTI", *inside, "GET", "EXEC", *after, n=0)
        ]
        made[f"{name} in a transaction, watch broken"] = [
            first, do("WATCH k"), do("SET k 1", on="b"), do("MULTI", *inside, "EXEC", *after, n=0)
        ]
        made[f"{name} in a transaction, under WATCH"] = [
            first, do("WATCH k"), do("MULTI", *inside, "EXEC", *after, n=0)
        ]
        made[f"{name} in a transaction, silent"] = [
            first, do("CLIENT REPLY OFF", "MULTI", *inside, "EXEC", "CLIENT REPLY ON", *after, n=0)
        ]
        made[f"{name} behind a MULTI that is refused"] = [
            first, do("AUTH kim pw", "MULTI", *inside, "EXEC", *after, n=0)
        ]
        made[f"{name} behind a DISCARD that is refused"] = [
            first, do("AUTH bob pw", "MULTI", *inside, "DISCARD", *after, "EXEC", *after, n=0)
        ]
        made[f"{name} in a transaction while tracking"] = [
            first, do("HELLO 3", "CLIENT TRACKING ON", "GET k"),
            do("MULTI", *inside, "DISCARD", "MULTI", "GET k", *inside, "EXEC", n=0),
            do("CLIENT TRACKING OFF", *after, n=0),
        ]
    return made
