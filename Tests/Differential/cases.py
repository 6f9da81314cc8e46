"""The scripted cases: what both sides must answer alike.

FAMILIES are lists of commands that run in several forms (one by one, in one write, in split
writes, in RESP3, inside MULTI); the other modules hold scripts of their own.
"""

from cases_held import held
from cases_several import several
from cases_single import single
from cases_words import spelled
from play import closed, do, hang_up, split
from tables import ERRORS, EXCLUDED, FAMILIES, STATES, UNSUBSCRIPTIONS

HELLO3 = do("HELLO 3")


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
        made[f"{name}, then HELLO 3"] = [*steps, do("HELLO 3", n=0), do("GET none", n=0)]
        made[f"{name}, then HELLO 2"] = [*steps, do("HELLO 2", "PING", n=0)]
        made[f"{name}, then CLIENT ID"] = [*steps, do("CLIENT ID", "CLIENT GETNAME", n=0)]
        made[f"{name}, then tracking"] = [
            *steps, do("CLIENT TRACKING ON", "GET k", "CLIENT TRACKING OFF", "GET k", n=0)
        ]
        made[f"{name}, then MONITOR"] = [*steps, do("MONITOR", "PING", "RESET", "PING", n=0)]
        made[f"{name}, then NO-EVICT"] = [
            *steps, do("CLIENT NO-EVICT ON", "PING", "CLIENT NO-EVICT OFF", "CLIENT ID", n=0)
        ]
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


def all_cases() -> dict:
    """Every case by name."""
    parts = (
        _forms(), _excluded(), _errors(), _states(), _unsubscriptions(), _frames(), several(),
        single(), held(), spelled(),
    )
    made = {}
    for part in parts:
        assert not made.keys() & part.keys(), made.keys() & part.keys()
        made |= part
    return made
