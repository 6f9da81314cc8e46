"""The scripted cases in front of a cluster, beside one server: their keys are in one slot."""

import os
import re

import pytest

from cases import all_cases
from cases_several import several
from cluster_world import ClusterWorld
from documented import is_left_silent, why_different
from harness.servers import FOUND
from frames import difference
from play import SHORT_TIMEOUT, TIMEOUT, do, play, words
from tables import FAMILIES

pytestmark = pytest.mark.long

DATABASES = "a cluster has one database"
FOREIGN = "a script has to name its keys: those of another node are refused"
CURSOR = "the cursor says on which node the scan goes on"
CLUSTER = "clients see a cluster of one node"
ONE_NODE = "it is about one node, and refused"

# Commands that are answered otherwise in front of a cluster, with reasons. Each must still be.
DIFFERENCES = {
    "SELECT 1": DATABASES,
    "SELECT 99": DATABASES,
    "SELECT -1": DATABASES,
    "MOVE {t}none 2": DATABASES,
    "SWAPDB 6 7": DATABASES,
    "EVAL 'return redis.call(\"SELECT\",3)' 0": DATABASES,
    "EVAL 'local r = {} for i = 1, 9 do r[i] = redis.pcall(\"GET\", i) end return r' 0": FOREIGN,
    "SCAN 0": CURSOR,
    "CLUSTER INFO": CLUSTER,
    "CLIENT TRACKING ON": ONE_NODE,
    "MONITOR": ONE_NODE,
}


def is_left_out(words) -> bool:
    """Whether it is one of those; in capitals."""
    name, second = words[0], words[1] if words[1:] else ""
    if name == "SELECT":
        return len(words) == 2 and second.lstrip("-").isdigit() and second != "0"
    if name == "EVAL" and "CALL" in second:
        return "SELECT" in second or ('"GET"' in second and words[2:] == ["0"])
    if name == "CLIENT":
        return second == "TRACKING"
    return name in ("MOVE", "SWAPDB", "SCAN", "CLUSTER", "MONITOR")


# Cases that differ by chance: where a client without a key goes, nobody can tell.
BY_CHANCE = (
    # An unknown command before the first key chooses the node of a transaction: that key's command is
    # refused then, and EXEC as well, as it is on one server.
    "in a doomed",
    # A node says MOVED before it says that a subscriber may not: he may, on another node.
    "subscriber in RESP3 that goes back to RESP2",
)


# Cases that differ, by what docs/cluster.md says of it; not each of them does on each server.
BY_RULE = {
    "commands that Redpool cannot follow are refused":
        r"(MULTI|in one write|half-sent transaction), then "
        r"(AUTH|SUBSCRIBE|HELLO|the unsubscribes|CLIENT REPLY)"
        r"|^words: (REPLY|TRACKING|CAPA|LIST).*NUL|numbers: LIST ID, in an open MULTI"
        r"|error of .(AUTH|HELLO|CLIENT SETNAME).* in MULTI"
        r"|(SUBSCRIBE|AUTH bob|CLIENT REPLY|^AUTH|^REPLY).* in MULTI",
    "READONLY, READWRITE and ASKING are answered with OK": r"READONLY|READWRITE|ASKING",
    "MULTI is answered before a node has it": r"behind a MULTI that is refused",
    "a connection with a state has transactions, WATCH and shard channels on one node":
        r"NO-EVICT|[Tt]racking|monitoring|MONITOR|SSUBSCRIBE"
        r"|subscribed( by pattern)?(, RESP3)?, then (a transaction|WATCH)",
    FOREIGN: r"RESP3 in a script|messages to oneself in a transaction",
}


def is_by_rule(name) -> bool:
    return any(re.search(pattern, name) for pattern in BY_RULE.values())


def chosen() -> dict:
    """Of all cases those with keys in forms of their own; all of them at the full size."""
    made = {name: case for name, case in all_cases().items()
            if not name.startswith(BY_CHANCE) and not is_by_rule(name)}
    if os.environ.get("REDPOOL_FULL") == "1":
        return made
    forms = ("one by one", "one write", "RESP3", "in MULTI, one write", "in MULTI, one by one")
    kept = {f"{family}, {form}" for family in FAMILIES for form in forms} | set(several())
    kept |= {name for name in made if re.match(r"(watching|behind|in MULTI,)", name)}
    kept |= {name for name in made if re.match(r"error of .*(, RESP3| pipeline)$", name)}
    return {name: case for name, case in made.items() if name in kept}


CASES = chosen()
# In the answer to HELLO.
MODES = b"$4\r\nmode\r\n$7\r\ncluster\r\n", b"$4\r\nmode\r\n$10\r\nstandalone\r\n"


def compare(world, script, timeout):
    """As play.compare; but one side says that it is a cluster."""
    world.empty()
    direct, proxied = (play(side, script, timeout) for side in (world.direct, world.proxied))
    for name in direct:
        alike = proxied[name].replace(*MODES)
        if found := difference(direct[name], alike, world.server.shows_past_transactions):
            return f"client {name!r}: {found}"
    return None


@pytest.fixture(scope="module", params=FOUND[:1], ids=str)
def world(request):
    made = ClusterWorld(request.param, is_left_out)
    yield made
    made.close()


# First of all: what a cluster leaves out is left out below.
@pytest.mark.parametrize("command", DIFFERENCES)
def test_a_documented_difference_is_still_one(world, command):
    assert is_left_out([word.decode().upper() for word in words(command)])
    assert compare(world, [do(command)], SHORT_TIMEOUT), f"{command}: {DIFFERENCES[command]}"


@pytest.mark.parametrize("name", CASES)
def test_as_one_server(world, name):
    differs = why_different(name, world.server)
    brief = differs or is_left_silent(name, world.server)
    script = world.tagger.script(CASES[name])
    found = compare(world, script, SHORT_TIMEOUT if brief else TIMEOUT)
    if differs:
        assert found is not None, f"no longer differs: {name}"
    else:
        assert found is None, found
