"""The scripted cases of subscribers on both sides, with `pubsub: pinned` and `pubsub: shared`; on
servers other than the first with REDPOOL_FULL=1."""

import os

import pytest

from cases import all_cases
from cases_subscribed import subscribed
from documented import why_different
from documented_subscriptions import how_compared, left_out
from frames import difference
from harness.servers import FOUND
from play import SHORT_TIMEOUT, TIMEOUT, do, play
from versions import cases
from world import World

pytestmark = pytest.mark.long
MODES = ("pinned", "shared")
SERVERS = FOUND if os.environ.get("REDPOOL_FULL") == "1" else FOUND[:1]
OWN = subscribed()


def subscribes(script) -> bool:
    """Whether a client of a script subscribes to something."""
    return any(b"SUBSCRIBE" in b"".join(step.pieces).upper() for step in script)


# Those of test_cases.py are played there with `pinned`.
OTHERS = {name: script for name, script in (all_cases() | cases()).items() if subscribes(script)}


@pytest.fixture(
    scope="module", params=[(mode, server) for server in SERVERS for mode in MODES],
    ids=lambda pair: f"{pair[0]}-{pair[1]}",
)
def world(request):
    mode, server = request.param
    # Subscribers that are pinned need an upstream each.
    pool = {"maxOpen": 16} if mode == "pinned" else {"pubsub": "shared"}
    made = World(server=server, pool=pool)
    made.mode = mode
    yield made
    made.close()


def of_version(script, name, server) -> list:
    """Before 7.0 nobody is restricted by a shard channel: of that case its refusal is left."""
    if server.compatible >= (7, 0) or "restricted: a shard channel" not in name:
        return script
    return script[: script.index(do("SSUBSCRIBE c")) + 1]


def check(world, name, script):
    script = of_version(script, name, world.server)
    differs = why_different(name, world.server)
    how = how_compared(name, world) if not differs else "differs"
    world.empty()
    timeout = SHORT_TIMEOUT if how == "differs" else TIMEOUT
    direct, proxied = (play(side, script, timeout) for side in (world.direct, world.proxied))
    blurs = world.server.shows_past_transactions
    found = [
        f"client {client!r}: {different}" for client in direct
        if (different := difference(
            left_out(direct[client], how), left_out(proxied[client], how), blurs))
    ]
    if how == "differs":
        assert found, f"no longer differs: {name}"
    else:
        assert not found, found[0]


@pytest.mark.parametrize("name", OWN)
def test_subscribers_are_as_on_a_direct_connection(world, name):
    check(world, name, OWN[name])


@pytest.mark.parametrize("name", OTHERS)
def test_so_are_others_that_subscribe(world, name):
    if world.mode == "shared":
        check(world, name, OTHERS[name])
