"""Differences that stay, each with its reason; docs/compatibility.md repeats this table.

A case of this table has to differ: when it no longer does, its row is out of date.
"""

from dataclasses import dataclass

from play import closed, do, more

UPSTREAMS = "what it shows are connections of the server, and those are Redpool's upstreams"
QUEUED_ID = "the elements of EXEC's array are not rewritten: the id is the upstream's"
PIPED_ID = "bytes pass through unread while a client tracks or monitors: the id is the upstream's"
LOST = "Redis drops replies that it has not written yet when it sees POST; Redpool delivers them"
REPLY_ACL = "Redpool carries out CLIENT REPLY OFF and SKIP, and does not know the user's rights"
SILENT_SUBSCRIBE = "confirmations inside an array that is hidden cannot be told apart: it is closed"
SILENT_END = "Redis up to 7.0 forgets to close a connection that ends without a reply"
UNFIT = "it turns the connection into something that cannot be shared; refused by default"


@dataclass(frozen=True)
class Documented:
    """`script` answers differently through Redpool, because of `reason`.

    `before`: from this version of Redis on, or what Valkey is compatible with, it does not.
    """

    name: str
    reason: str
    script: list
    before: tuple = (99,)

    def concerns(self, server) -> bool:
        return server.compatible < self.before


DIFFERENCES = [
    Documented("SYNC", UNFIT, [do("PSYNC x 1")]),
    Documented("REPLCONF", UNFIT, [do("REPLCONF listening-port 1")]),
    Documented("DEBUG", UNFIT, [do("DEBUG SLEEP 0")]),
    Documented("SCRIPT DEBUG", UNFIT, [do("SCRIPT DEBUG NO")]),
    Documented("MODULE LOAD", UNFIT, [do("MODULE LOAD /nowhere")]),
    Documented("MONITOR", UPSTREAMS, [do("MONITOR"), do("GET k", on="b"), more(1)]),
    Documented("CLIENT ID in MULTI", QUEUED_ID, [do("MULTI", "CLIENT ID", "EXEC")]),
    Documented("HELLO in MULTI", QUEUED_ID, [do("MULTI", "HELLO 3", "EXEC")]),
    Documented("HELLO while tracking", PIPED_ID, [do("HELLO 3", "CLIENT TRACKING ON", "HELLO 3")]),
    Documented(
        "CLIENT REPLY without the right to",
        REPLY_ACL,
        [do("AUTH nor pw", "CLIENT REPLY OFF", "PING", n=1)],
    ),
    Documented(
        "SUBSCRIBE, CLIENT REPLY in MULTI under CLIENT REPLY OFF",
        SILENT_SUBSCRIBE,
        [do("CLIENT REPLY OFF", "MULTI", "SUBSCRIBE a b", "EXEC", n=2)],
    ),
    Documented(
        "QUIT and protocol errors under CLIENT REPLY OFF",
        SILENT_END,
        [do("CLIENT REPLY OFF", n=0), closed("QUIT")],
        before=(7, 2),
    ),
    Documented("POST behind a pipeline", LOST, [do("SET k 1", "POST /", n=0)]),
]
