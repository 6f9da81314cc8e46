"""Scripted cases of one client, each of its own kind."""

from play import closed, do, hang_up

NESTED = ("SUBSCRIBE a", "PSUBSCRIBE a*", "SSUBSCRIBE a", "MONITOR")


def single() -> dict:
    """The cases by name."""
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
        "REPLY OFF and messages to oneself in a transaction": [
            do("HELLO 3", "CLIENT REPLY OFF", "SUBSCRIBE c", n=2),
            do("MULTI", "SET k 1", "PUBLISH c x", "SELECT 2", "PUBLISH c y", "EXEC", n=2),
            do("CLIENT REPLY ON", "PING"),
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
