"""Scripted cases of more than one client."""

from play import do, hang_up, more


def several() -> dict:
    """The cases by name."""
    return {
        "WATCH broken by another": [
            do("WATCH k"), do("SET k 1", on="b"), do("MULTI"), do("SET k 2"), do("EXEC"), do("GET k")
        ],
        "WATCH broken in another database": [
            do("WATCH k"), do("SELECT 2", "SET k 1", on="b"), do("MULTI", "GET k", "EXEC")
        ],
        "WATCH survives EXEC and DISCARD outside MULTI": [
            do("WATCH k"), do("EXEC"), do("DISCARD"), do("SET k 1", on="b"),
            do("MULTI"), do("EXEC"),
        ],
        "WATCH given up": [
            do("WATCH k"), do("UNWATCH"), do("SET k 1", on="b"), do("MULTI", "GET k", "EXEC")
        ],
        "WATCH, SELECT, then broken": [
            do("WATCH k"), do("SELECT 1"), do("SET k 1", on="b"), do("MULTI"), do("EXEC")
        ],
        "WATCH broken by oneself": [do("WATCH k"), do("SET k 1"), do("MULTI", "EXEC")],
        "WATCH broken by FLUSHALL": [
            do("SET k 1"), do("WATCH k"), do("FLUSHALL", on="b"), do("MULTI", "EXEC")
        ],
        "UNWATCH in MULTI": [
            do("WATCH k"), do("MULTI"), do("UNWATCH"), do("SET k 1", on="b"), do("EXEC")
        ],
        "blocked, then served": [
            do("PING"), do("BLPOP q 10", n=0), do("PING", on="b"), do("RPUSH q x", on="b"), more(1)
        ],
        "blocked with a pipeline behind": [
            do("BLPOP q 10", "PING", "GET k", n=0), do("PING", on="b"), do("RPUSH q x", on="b"),
            more(3),
        ],
        "two blocked, first come": [
            do("PING"), do("PING", on="b"), do("BLPOP q 10", n=0), do("PING", on="c"),
            do("BLPOP q 10", n=0, on="b"), do("PING", on="c"),
            do("RPUSH q x", on="c"), more(1), do("RPUSH q y", on="c"), more(1, on="b"),
        ],
        "blocked in another database": [
            do("SELECT 4"), do("BLPOP q 10", n=0), do("PING", on="b"), do("SELECT 4", on="b"),
            do("RPUSH q x", on="b"), more(1),
        ],
        "XREAD BLOCK served": [
            # Not `$`, which means whatever is there once a pin is had.
            do("PING"), do("XREAD BLOCK 10000 STREAMS st 0", n=0), do("PING", on="b"),
            do("XADD st 5-1 f v", on="b"), more(1),
        ],
        "published": [
            do("SUBSCRIBE c d", n=2), do("PUBLISH c x", "PUBLISH e y", "PUBLISH d z", on="b"),
            more(2),
        ],
        "published to RESP3": [
            do("HELLO 3"), do("SUBSCRIBE c", "PSUBSCRIBE c*", n=2), do("PUBLISH c x", on="b"),
            more(2), do("GET k"), do("UNSUBSCRIBE c", "PUNSUBSCRIBE"), do("GET k"),
        ],
        "sharded": [
            do("SSUBSCRIBE c"), do("SPUBLISH c x", on="b"), more(1), do("SUNSUBSCRIBE c"),
            do("SPUBLISH c y", on="b"), do("GET k"),
        ],
        "publishing to oneself in RESP3": [do("HELLO 3", "SUBSCRIBE c", "PUBLISH c x", n=4)],
        "PUBSUB sees a subscriber": [
            do("SUBSCRIBE c1"), do("PSUBSCRIBE c*", on="b"),
            do("PUBSUB CHANNELS c*", "PUBSUB NUMSUB c1 c2", "PUBLISH c1 x", on="c"), more(1),
            more(1, on="b"),
        ],
        "tracking": [
            do("HELLO 3", "CLIENT TRACKING ON", "GET k"), do("SET k 1", on="b"), more(1),
            do("CLIENT TRACKING OFF", "GET k"), do("SET k 2", on="b"), do("GET k"),
        ],
        "tracking in BCAST": [
            do("HELLO 3", "CLIENT TRACKING ON BCAST PREFIX p"), do("SET p1 1", on="b"), more(1),
            do("GET k"),
        ],
        "subscriber in RESP3 that goes back to RESP2": [
            do("HELLO 3", "SUBSCRIBE c", "HELLO 2"), do("PUBLISH c x", on="b"), more(1),
            do("GET k"), do("PING"),
        ],
        "CLIENT KILL by its own id is an error without one": [do("CLIENT KILL ID 999999999")],
        "CLIENT KILL of nobody": [do("CLIENT KILL 1.2.3.4:5"), do("PING")],
        "CLIENT UNBLOCK of nobody": [do("CLIENT UNBLOCK 999999999"), do("PING")],
        "a blocked client hangs up": [
            do("PING"), hang_up("BLPOP q 10", "SET k 1"), do("RPUSH q x", "LLEN q", "GET k", on="b")
        ],
    }
