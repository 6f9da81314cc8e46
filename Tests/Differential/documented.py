"""Differences that stay, each with its reason; docs/compatibility.md repeats this table.

A case of this table has to differ: when it no longer does, its row is out of date.
"""

import re
from dataclasses import dataclass

from mutate import c_string, has_nul_subcommand, is_quit_with_nul, read
from play import closed, do

LOST = "Redis drops replies that it has not written yet when it sees POST; Redpool delivers them"
REPLY_ACL = "Redpool carries out CLIENT REPLY OFF and SKIP, and does not know the user's rights"
SILENT_SUBSCRIBE = "confirmations inside an array that is hidden cannot be told apart: it is closed"
# Logins that succeed, as `read` spells them; so does any of the default user's.
RIGHTFUL = (("BOB", "PW"), ("ANN", "PW"), ("EVE", "PW"))
SILENT_END = "the server forgets to close a connection that ends without a reply"
UNFIT = "it turns the connection into something that cannot be shared; refused by default"


@dataclass(frozen=True)
class Documented:
    """`script` answers differently through Redpool, because of `reason`."""

    name: str
    reason: str
    script: list


DIFFERENCES = [
    Documented("SYNC", UNFIT, [do("PSYNC x 1")]),
    Documented("REPLCONF", UNFIT, [do("REPLCONF listening-port 1")]),
    Documented("DEBUG", UNFIT, [do("DEBUG SLEEP 0")]),
    Documented("SCRIPT DEBUG", UNFIT, [do("SCRIPT DEBUG NO")]),
    Documented("MODULE LOAD", UNFIT, [do("MODULE LOAD /nowhere")]),
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
    ),
    Documented("POST behind a pipeline", LOST, [do("SET k 1", "POST /", n=0)]),
]

NO_CONTAINER = "a subcommand that no container can have is answered as one of a container"

# Differences of some versions only: the names of scripted cases, which servers, the reason.
OF_VERSIONS = [
    (
        r"^subcommands: (FUNCTION|CLUSTER|XINFO), one write$",
        lambda server: server.compatible < (7, 0),
        NO_CONTAINER,
    ),
    (
        r"(\bMULTI|one write|^subscribed|by pattern|^monitoring(, RESP3)?), then POST$"
        r"|^frame: (POST|Host:).*, in MULTI$",
        lambda server: server.compatible < (7, 0),
        "up to 6.2 they are commands, which MULTI queues, and which subscribers and those who"
        " monitor may not send; Redpool closes at once",
    ),
    (
        r"AUTH (bob wrong|nobody pw|off pw)' in a pipeline$|^AUTH wrong, then right$",
        lambda server: loses_refusals(server),
        "the server does not answer a refused login behind replies that it has not written yet",
    ),
]


def loses_refusals(server) -> bool:
    """Redis from 7.2 on and Valkey leave a refused AUTH unanswered in a pipeline."""
    return server.compatible >= (7, 2)


def is_left_silent(name, server) -> bool:
    """Whether a case ends in a refused login that neither side answers: EXEC's array is one short."""
    return loses_refusals(server) and bool(
        re.search(r"^error of '(AUTH|HELLO 3 AUTH) (bob wrong|nobody pw|off pw)' in MULTI$", name)
    )


def left_out(sequence, server) -> list:
    """A random sequence without the commands whose replies this server may keep to itself, and
    without those that this server understands and Redpool does not want to."""
    if server.splits_replies:
        sequence = _without_scripts_in_transactions(sequence)
    sequence = _without_silent_doubt(sequence)
    if server.compatible < (7, 0):
        sequence = [
            c for c in sequence
            if not (has_nul_subcommand(c) or is_quit_with_nul(c) or _is_of_no_container(c))
        ]
    if server.compares_with_last_name:
        sequence = _without_last_names(sequence)
    if not loses_refusals(server):
        return sequence
    return [c for c in sequence if not _may_be_refused(read(c))]


def _is_of_no_container(command) -> bool:
    """FUNCTION is no command before 7.0, and is answered as one if no subcommand has that word."""
    if read(command)[0] != "FUNCTION" or len(command) < 2:
        return False
    return not command[1].replace("-", "").isalnum()


def _without_silent_doubt(sequence) -> list:
    """A silent transaction with a member that is looked at closes its client at a login, or at a name
    that the table does not have."""
    kept, is_silent, has_begun = [], False, False
    for command in sequence:
        words = read(command)
        # SKIP changes nothing while replies are off.
        if words[:2] == ("CLIENT", "REPLY") and words[2:] in (("ON",), ("OFF",)):
            is_silent = words[2] == "OFF"
        if words[0] in ("MULTI", "EXEC", "DISCARD", "RESET"):
            has_begun = words[0] == "MULTI"
        if not (is_silent and has_begun and words[0] in ("AUTH", "NOSUCH")):
            kept.append(command)
    return kept


def _without_last_names(sequence) -> list:
    """Behind a GET, `GET\\0x` is GET to Redis 8; to Redpool a name with a NUL is none."""
    kept, last = [], ""
    for command in sequence:
        name = c_string(command[0])
        if "\0" not in command[0] or name != last:
            kept.append(command)
            last = name
    return kept


def _without_scripts_in_transactions(sequence) -> list:
    """Valkey 8.0 lets scripts make replies up: with members that are looked at they make a pipe of
    the client, and ids become those of upstreams."""
    kept, has_begun = [], False
    for command in sequence:
        name = read(command)[0]
        has_begun = has_begun or name == "MULTI"
        if not (has_begun and name.startswith(("EVAL", "FCALL"))):
            kept.append(command)
    return kept


def _may_be_refused(command) -> bool:
    """Whether it is a login with words that the server knows to be wrong."""
    if command[0] == "AUTH":
        return len(command) == 3 and command[1] != "DEFAULT" and command[1:] not in RIGHTFUL
    return command[0] == "HELLO" and command[2:3] == ("AUTH",) and command[3:5] not in RIGHTFUL


def why_different(name, server) -> str:
    """Why a scripted case differs on a server; empty when it must not."""
    for pattern, concerns, reason in OF_VERSIONS:
        if concerns(server) and re.search(pattern, name):
            return reason
    return ""
