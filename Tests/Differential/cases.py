"""The scripted cases: what both sides must answer alike.

FAMILIES are lists of commands that run in several forms (one by one, in one write, in split
writes, in RESP3, inside MULTI); CASES are scripts of their own.
"""

from play import bytes_of, closed, do, hang_up, more, split
from tables import ERRORS, EXCLUDED, FAMILIES, STATES, UNSUBSCRIPTIONS

HELLO3 = do("HELLO 3")
NESTED = ("SUBSCRIBE a", "PSUBSCRIBE a*", "SSUBSCRIBE a", "MONITOR")


def _forms():
    """Every family in every form."""
    made = {}
    for name, commands in FAMILIES.items():
        made[f"{name}, one by one"] = [do(c) for c in commands]
        made[f"{name}, one write"] = [do(*commands)]
        made[f"{name}, RESP3"] = [do("HELLO 3", *commands)]
        made[f"{name}, split writes"] = [split(*commands)]
        made[f"{name}, in MULTI, one write"] = [do("MULTI", *commands, "EXEC")]
        made[f"{name}, in MULTI, one by one"] = [do("MULTI"), *map(do, commands), do("EXEC")]
        made[f"{name}, in database 2"] = [do("SELECT 2"), do(*commands), do("SELECT 0", "DBSIZE")]
    return made


def _excluded():
    """Section 3: every member that keeps a transaction from going out in one piece."""
    made = {}
    for member in EXCLUDED:
        block = ["MULTI", "SET k 1", member, "GET k", "EXEC", "PING after"]
        # How many replies come depends on the member, so only the end of the stream tells.
        made[f"{member!r} in MULTI, one write"] = [do(*block, n=2)]
        made[f"{member!r} in MULTI, interactive"] = [
            do("MULTI"), do("SET k 1"), *_member(member), do("GET k", n=0),
            do("EXEC", n=0), do("PING after", n=0),
        ]
        made[f"{member!r} in MULTI, split writes"] = [split(*block, n=2)]
        made[f"{member!r} in MULTI, RESP3"] = [do("HELLO 3", *block, n=2)]
        made[f"{member!r} in MULTI, discarded"] = [do("MULTI", member, "DISCARD", "PING x", n=1)]
    return made


def _member(member):
    return [do(member, n=0)]


def _errors():
    made = {}
    for command in ERRORS:
        made[f"error of {command!r}"] = [do(command), do("PING"), do("GET k")]
        made[f"error of {command!r}, RESP3"] = [do("HELLO 3"), do(command), do("PING")]
        made[f"error of {command!r} in MULTI"] = [do("MULTI", command, "SET k 1", "EXEC", "GET k")]
        made[f"error of {command!r} in a pipeline"] = [do("SET k 1", command, "GET k")]
    return made


def _states():
    """Every state that a session can be in, with everything that may follow."""
    made = {}
    for name, steps in STATES.items():
        made[f"{name}, then half-close"] = [*steps, hang_up("SET k 1", "GET k")]
        # A silent connection that ends: see documented.py.
        is_silent = "REPLY" in name
        if name != "with REPLY OFF":
            made[f"{name}, then QUIT"] = [*steps, closed("GET k", "QUIT")]
        made[f"{name}, then RESET"] = [*steps, do("RESET", "GET k", "CLIENT GETNAME", n=0)]
        if "tracking" not in name:
            made[f"{name}, then HELLO 3"] = [*steps, do("HELLO 3", n=0), do("GET none", n=0)]
        if "tracking" not in name:  # See documented.py.
            made[f"{name}, then HELLO 2"] = [*steps, do("HELLO 2", "PING", n=0)]
        made[f"{name}, then SELECT"] = [*steps, do("SELECT 3", "SET k 3", "GET k", n=0)]
        made[f"{name}, then AUTH"] = [*steps, do("AUTH bob pw", "ACL WHOAMI", "INCR k", n=0)]
        made[f"{name}, then SETNAME"] = [*steps, do("CLIENT SETNAME n", "CLIENT GETNAME", n=0)]
        made[f"{name}, then a transaction"] = [*steps, do("MULTI", "SET k 1", "EXEC", n=0)]
        made[f"{name}, then WATCH"] = [*steps, do("WATCH k", "MULTI", "GET k", "EXEC", n=0)]
        made[f"{name}, then SUBSCRIBE"] = [*steps, do("SUBSCRIBE c", "PING", "UNSUBSCRIBE", n=0)]
        made[f"{name}, then a blocking pop"] = [*steps, do("BLPOP none 0.01", "GET k", n=0)]
        if all(step.n for step in steps):
            # Redis loses replies that are not written yet when POST comes: a race.
            made[f"{name}, then POST"] = [*steps, closed("POST / HTTP/1.1")]
        if not is_silent:
            made[f"{name}, then a protocol error"] = [*steps, closed(b"*1\r\nx\r\n")]
        made[f"{name}, then an unknown command"] = [*steps, do("NOSUCH x", "EXEC", n=0)]
        made[f"{name}, then a partial command"] = [*steps, hang_up(b"*2\r\n$3\r\nGET\r\n$1\r\n")]
        made[f"{name}, then EVAL"] = [*steps, do("EVAL 'return {1,2}' 0", "PING", n=0)]
        made[f"{name}, then the unsubscribes"] = [
            *steps, do("UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "GET k", n=0)
        ]
        made[f"{name}, then CLIENT REPLY OFF"] = [
            *steps, do("CLIENT REPLY OFF", "SET k v", "GET k", "CLIENT REPLY ON", "GET k", n=0)
        ]
        made[f"{name}, then CLIENT REPLY SKIP"] = [
            *steps, do("CLIENT REPLY SKIP", "SET k v", "GET k", "CLIENT REPLY ON", n=0)
        ]
    return made


def _unsubscriptions():
    return {
        f"{commands}{', RESP3' if three else ''}": [*([HELLO3] if three else []), do(*commands, n=0)]
        for commands in UNSUBSCRIPTIONS
        for three in (False, True)
    }


def _frames():
    """Section 1.4 and 6: frames and lines as they should not be."""
    closing = {
        "count is no number": b"*x\r\n",
        "count has a sign": b"*+1\r\n",
        "count has a leading zero": b"*01\r\n",
        "count is too large": b"*2147483648\r\n",
        "bulk is no bulk": b"*1\r\n+PING\r\n",
        "bulk length is no number": b"*1\r\n$x\r\n",
        "bulk length is negative": b"*1\r\n$-1\r\n",
        "bulk length is too large": b"*1\r\n$536870913\r\n",
        "bulk length has a leading zero": b"*1\r\n$04\r\n",
        "unbalanced quotes": b"SET k \"v\r\n",
        "quotes that go on": b"SET k 'v'w\r\n",
        "POST": b"POST / HTTP/1.1\r\n",
        "Host:": b"Host: here\r\n",
        "POST as an array": b"*2\r\n$4\r\nPOST\r\n$1\r\n/\r\n",
    }
    going_on = {
        "empty line": b"\r\nPING\r\n",
        "empty array": b"*0\r\nPING\r\n",
        "null array": b"*-1\r\nPING\r\n",
        "bulk without its end": b"*1\r\n$4\r\nPINGXX",
        "header without its LF": b"*1\rX$4\r\nPING\r\n",
        "inline with quotes": b"SET k \"a b\\x41\\n\"\r\n",
        "inline in single quotes": b"SET k 'a\\'b'\r\n",
        "inline with LF only": b"PING\n",
        "inline and array": b"SET k v\r\n*1\r\n$4\r\nPING\r\nGET k\r\n",
        "upper and lower case": b"pInG\r\nsEt k 1\r\n",
        "empty command name": b"*1\r\n$0\r\n\r\n",
        "binary name": b"*1\r\n$3\r\n\x00\xff\r\r\n",
        "empty arguments": b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$0\r\n\r\n",
    }
    made = {f"frame: {name}": [do("SET k 1"), closed(data)] for name, data in closing.items()}
    made |= {f"frame: {name}": [do(data, n=0)] for name, data in going_on.items()}
    made |= {
        f"frame: {name}, byte by byte": [split(data, n=0, at=list(range(1, len(data))))]
        for name, data in going_on.items()
    }
    made |= {
        f"frame: {name}, in MULTI": [do("MULTI", "SET k 1"), closed(data)]
        for name, data in closing.items()
    }
    return made


def _several():
    """Scripts of more than one client."""
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
            do("PING"), do("XREAD BLOCK 10000 STREAMS st $", n=0), do("PING", on="b"),
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


def _single():
    made = {
        "large value": [do(("SET", "k", "x" * 300_000)), do("GET k"), do("STRLEN k")],
        "large value, pipelined": [do("PING", ("SET", "k", "x" * 300_000), "STRLEN k", "GET k")],
        "large value in MULTI": [do("MULTI", ("SET", "k", "x" * 300_000), "EXEC", "STRLEN k")],
        "large value under WATCH": [do("WATCH k"), do(("SET", "k", "x" * 300_000), "GET k")],
        "large value, RESP3": [do("HELLO 3", ("SET", "k", "x" * 300_000), "STRLEN k")],
        "long status": [do("EVAL \"return redis.status_reply(string.rep('x',100000))\" 0")],
        "deep reply": [do("EVAL 'local t={} for i=1,500 do t={t} end return t' 0")],
        "long pipeline": [do(*[f"INCR n{i % 7}" for i in range(500)])],
        "many transactions": [do(*["MULTI", "INCR n", "EXEC"] * 60)],
        "many selects": [do(*[c for i in range(30) for c in (f"SELECT {i % 5}", "INCR n")])],
        "SELECT sees its own database": [
            do("SET k zero", "SELECT 5", "GET k", "SET k five", "SELECT 0", "GET k", "SELECT 5",
               "GET k")
        ],
        "SELECT in a pipeline with MULTI": [
            do("SELECT 1", "MULTI", "SET k 1", "EXEC", "SELECT 0", "MULTI", "GET k", "EXEC")
        ],
        "SELECT in MULTI moves": [do("MULTI", "SELECT 6", "SET k 6", "EXEC", "GET k"), do("GET k")],
        "SELECT in MULTI discarded": [do("MULTI", "SELECT 6", "DISCARD", "SET k 0", "GET k")],
        "AUTH, then NOPERM": [do("AUTH bob pw", "ACL WHOAMI", "INCR n", "SET n 1", "GET n")],
        "AUTH with MULTI refused": [do("AUTH ann pw", "MULTI", "SET k 1", "EXEC", "GET k")],
        "AUTH with EXEC refused": [do("AUTH eve pw", "MULTI", "SET k 1", "EXEC", "GET k")],
        "AUTH with DISCARD refused": [
            do("AUTH bob pw", "MULTI", "SET k 1", "DISCARD", "EXEC", "GET k")
        ],
        "AUTH with SELECT refused": [do("AUTH ann pw", "SELECT 3", "SET k 1", "GET k")],
        "AUTH with SUBSCRIBE refused": [do("AUTH ann pw", "SUBSCRIBE c", "GET k")],
        "AUTH with a channel refused": [do("AUTH ann pw", "PSUBSCRIBE d*", "PUBLISH d x")],
        "AUTH with CLIENT refused": [do("AUTH eve pw", "CLIENT ID", "CLIENT SETNAME x")],
        "AUTH to a user that is off": [do("AUTH off pw", "ACL WHOAMI")],
        "AUTH wrong, then right": [do("AUTH bob no", "AUTH bob pw", "AUTH bob no", "ACL WHOAMI")],
        "AUTH keeps the database": [do("SELECT 3", "SET k 3", "AUTH bob pw", "GET k")],
        "AUTH keeps the protocol": [do("HELLO 3", "AUTH bob pw", "GET none")],
        "AUTH keeps the name": [do("CLIENT SETNAME me", "AUTH bob pw", "CLIENT GETNAME")],
        "AUTH in MULTI": [do("MULTI", "AUTH bob pw", "ACL WHOAMI", "EXEC", "ACL WHOAMI")],
        "HELLO AUTH": [do("HELLO 3 AUTH bob pw SETNAME me", "ACL WHOAMI", "CLIENT GETNAME")],
        "HELLO AUTH wrong": [
            do("HELLO 3 AUTH bob no SETNAME me", "ACL WHOAMI", "CLIENT GETNAME", "GET none")
        ],
        "HELLO 2 AUTH": [do("HELLO 3", "HELLO 2 AUTH bob pw", "ACL WHOAMI", "GET none")],
        "HELLO SETNAME with a space": [do(("HELLO", "3", "SETNAME", "a b"), "CLIENT GETNAME", "GET x")],
        "HELLO SETNAME first, AUTH wrong": [
            do("HELLO 3 SETNAME me AUTH bob no", "CLIENT GETNAME", "GET none")
        ],
        "HELLO twice": [do("HELLO 3", "HELLO 3", "GET none", "HELLO 2", "HELLO", "GET none")],
        "RESP3 types": [
            do("HELLO 3", "HSET h a 1", "HGETALL h", "SADD t 1", "SMEMBERS t", "ZADD z 1.5 a",
               "ZSCORE z a", "ZRANGE z 0 -1 WITHSCORES", "EVAL 'return true' 0", "GET none",
               "CONFIG GET maxmemory", "XREAD STREAMS none 0", "GEOADD g 1 2 m", "GEOPOS g m",
               "CLIENT GETNAME", "MGET none none")
        ],
        "RESP3 in a script": [
            do("HELLO 3", ("EVAL", "redis.setresp(3) return redis.call('HGETALL','h')", "0"),
               ("EVAL", "return {double=3.5}", "0"), ("EVAL", "return {map={a=1}}", "0"))
        ],
        "names": [
            do("CLIENT SETNAME me", "CLIENT GETNAME", ("CLIENT", "SETNAME", "a b"),
               "CLIENT GETNAME", "CLIENT SETNAME ''", "CLIENT GETNAME")
        ],
        "name in a held connection": [
            do("CLIENT SETNAME me"), do("WATCH k"), do("CLIENT GETNAME"), do("CLIENT SETNAME you"),
            do("CLIENT GETNAME"), do("UNWATCH"), do("CLIENT GETNAME"),
        ],
        "CLIENT INFO": [do("CLIENT SETNAME me", "SELECT 2"), do("CLIENT INFO")],
        "CLIENT INFO, RESP3": [do("HELLO 3 SETNAME me"), do("CLIENT INFO")],
        "CLIENT INFO in a subscription": [do("HELLO 3", "SUBSCRIBE c"), do("CLIENT INFO")],
        "CLIENT NO-EVICT": [do("CLIENT NO-EVICT ON", "PING", "CLIENT NO-EVICT OFF", "GET k")],
        "REPLY OFF and errors": [
            do("CLIENT REPLY OFF", "NOSUCH", "GET", "SELECT 99", "CLIENT REPLY ON", "PING", n=2)
        ],
        "REPLY SKIP twice": [
            do("CLIENT REPLY SKIP", "CLIENT REPLY SKIP", "PING a", "PING b", n=1)
        ],
        "REPLY SKIP and an error": [do("CLIENT REPLY SKIP", "NOSUCH", "PING", n=1)],
        "REPLY SKIP and SELECT": [do("CLIENT REPLY SKIP", "SELECT 2", "SET k 2", "GET k", n=2)],
        "REPLY SKIP and MULTI": [do("CLIENT REPLY SKIP", "MULTI", "SET k 2", "EXEC", n=2)],
        "REPLY OFF and MULTI": [
            do("CLIENT REPLY OFF", "MULTI", "SET k 2", "EXEC", "CLIENT REPLY ON", "GET k", n=2)
        ],
        "REPLY OFF and BLPOP": [
            do("CLIENT REPLY OFF", "BLPOP none 0.01", "CLIENT REPLY ON", "GET k", n=2)
        ],
        "REPLY OFF and WATCH": [
            do("CLIENT REPLY OFF", "WATCH k", "UNWATCH", "CLIENT REPLY ON", "GET k", n=2)
        ],
        "REPLY OFF and SUBSCRIBE": [
            do("CLIENT REPLY OFF", "SUBSCRIBE c", "PING", "UNSUBSCRIBE", "CLIENT REPLY ON", n=0)
        ],
        "REPLY OFF and SUBSCRIBE, RESP3": [
            do("HELLO 3", "CLIENT REPLY OFF", "SUBSCRIBE c", "PING", "CLIENT REPLY ON", n=0)
        ],
        "REPLY OFF and HELLO": [
            do("CLIENT REPLY OFF", "HELLO 3", "CLIENT REPLY ON", "GET none", n=2)
        ],
        "REPLY OFF and AUTH": [
            do("CLIENT REPLY OFF", "AUTH bob pw", "CLIENT REPLY ON", "ACL WHOAMI", n=2)
        ],
        "REPLY OFF and CLIENT ID": [
            do("CLIENT REPLY OFF", "CLIENT ID", "CLIENT GETNAME", "CLIENT LIST", "CLIENT REPLY ON",
               n=1)
        ],
        "REPLY OFF and SETNAME": [
            do("CLIENT REPLY OFF", "CLIENT SETNAME me", "CLIENT REPLY ON", "CLIENT GETNAME", n=2)
        ],
        "REPLY OFF and a large value": [
            do("CLIENT REPLY OFF", ("SET", "k", "x" * 300_000), "CLIENT REPLY ON", "STRLEN k", n=2)
        ],
        "REPLY in MULTI": [do("MULTI", "CLIENT REPLY ON", "EXEC", "PING")],
        "REPLY OFF, then unsubscribed": [
            do("CLIENT REPLY OFF", "UNSUBSCRIBE x", "CLIENT REPLY ON", "PING", n=0)
        ],
        "QUIT with arguments": [closed("QUIT x y")],
        "QUIT behind a pipeline": [closed("SET k 1", "GET k", "QUIT")],
        "QUIT in MULTI": [do("MULTI", "SET k 1"), closed("QUIT"), do("GET k", on="b")],
        "QUIT while subscribed": [do("SUBSCRIBE c"), closed("QUIT")],
        "half-close behind MULTI without EXEC": [hang_up("MULTI", "SET k 1"), do("GET k", on="b")],
        "half-close behind a whole block": [
            hang_up("MULTI", "SET k 1", "EXEC"), do("GET k", on="b")
        ],
        "half-close behind a subscription": [hang_up("SUBSCRIBE c", "UNSUBSCRIBE")],
        "half-close behind HELLO": [hang_up("HELLO 3", "GET none", "SELECT 2", "PING")],
        "half-close behind WATCH": [hang_up("WATCH k", "MULTI", "SET k 1", "EXEC", "GET k")],
        "half-close behind AUTH": [hang_up("AUTH bob pw", "ACL WHOAMI", "INCR k")],
        "half-close at once": [hang_up()],
        "XREADGROUP with a group called BLOCK": [
            do("XGROUP CREATE st BLOCK $ MKSTREAM", "XADD st 1-1 a b",
               "XREADGROUP GROUP BLOCK STREAMS STREAMS st >")
        ],
        "MULTI refused, nested": [do("MULTI", "MULTI", "SET k 1", "EXEC", "GET k")],
        "WATCH in MULTI": [do("MULTI", "WATCH k", "SET k 1", "EXEC", "GET k")],
        "EXEC with an argument": [do("MULTI", "SET k 1", "EXEC x", "GET k", "EXEC")],
        "CLIENT INFO of a watch that is broken": [
            do("WATCH k"), do("CLIENT INFO"), do("SET k 1", on="b"),
            do("CLIENT INFO", "UNWATCH", "CLIENT INFO"),
        ],
        "EXEC with an argument, outside": [do("EXEC x", "EXEC", "DISCARD", "DISCARD x")],
        "DISCARD with an argument": [do("MULTI", "SET k 1", "DISCARD x", "GET k", "EXEC", "GET k")],
        "aborted": [do("MULTI", "NOSUCH", "SET k 1", "EXEC", "GET k")],
        "wrong type in EXEC": [do("LPUSH k x", "MULTI", "INCR k", "GET k", "LLEN k", "EXEC")],
        "empty transaction": [do("MULTI", "EXEC"), do("MULTI"), do("EXEC")],
        "UNWATCH alone": [do("UNWATCH", "UNWATCH x", "WATCH k", "UNWATCH x", "UNWATCH")],
        "ASKING": [do("ASKING"), do("GET k"), do("ASKING", "SET k 1", "GET k")],
        "READONLY and READWRITE": [do("READONLY"), do("READWRITE"), do("GET k")],
        "SUBSCRIBE twice to one": [do("SUBSCRIBE c c", "UNSUBSCRIBE c c", "PING", n=5)],
        "restricted while subscribed": [
            do("SUBSCRIBE c"), do("GET k"), do("MULTI"), do("HELLO 3", n=0), do("PING x", n=0)
        ],
        "RESET ends a subscription": [do("SUBSCRIBE c", "RESET", "GET k", n=3)],
        "RESET in MULTI": [do("MULTI", "SET k 1", "RESET", "GET k", "EXEC")],
        "RESET with everything": [
            do("HELLO 3", "SELECT 4", "CLIENT SETNAME me", "AUTH bob pw", "WATCH k", "RESET",
               "ACL WHOAMI", "CLIENT GETNAME", "SET k 1", "SELECT 0", "GET k")
        ],
        "tracking needs RESP3": [do("CLIENT TRACKING ON", "CLIENT TRACKINGINFO", "GET k", n=3)],
        "CLIENT CACHING without tracking": [do("CLIENT CACHING YES", "CLIENT GETREDIR", "PING")],
        "CLIENT ID stays": [do("CLIENT ID", "WATCH k", "CLIENT ID", "UNWATCH", "CLIENT ID")],
    }
    for words in NESTED:
        made[f"{words}, RESP3, in MULTI"] = [do("HELLO 3", "MULTI", words, "EXEC", n=4)]
    return made


def all_cases() -> dict:
    """Every case by name."""
    parts = (
        _forms(), _excluded(), _errors(), _states(), _unsubscriptions(), _frames(), _several(),
        _single(),
    )
    made = {}
    for part in parts:
        assert not made.keys() & part.keys(), made.keys() & part.keys()
        made |= part
    return made


__all__ = ["all_cases", "bytes_of"]
