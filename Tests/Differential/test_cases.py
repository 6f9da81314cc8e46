"""The scripted cases, played on both sides."""

import pytest

from cases import all_cases
from documented import DIFFERENCES, is_left_silent, why_different
from harness.servers import FOUND, WANTED, WHY_MISSING
from play import SHORT_TIMEOUT, TIMEOUT, compare
from versions import cases
from world import World

pytestmark = pytest.mark.long
CASES = all_cases() | cases()


@pytest.fixture(scope="module", params=FOUND, ids=str)
def world(request):
    made = World(server=request.param)
    yield made
    made.close()


def test_there_are_enough_cases():
    assert len(CASES) >= 200


@pytest.mark.parametrize("name", WANTED)
def test_server_is_there(name):
    if name not in {server.name for server in FOUND}:
        pytest.skip(f"{name}: {WHY_MISSING}")


# First of all: the ids of upstreams are still short then, and can be told from those of clients.
@pytest.mark.parametrize("row", DIFFERENCES, ids=lambda row: row.name)
def test_a_documented_difference_is_still_one(world, row):
    found = compare(world, row.script, SHORT_TIMEOUT)
    assert found is not None, f"{row.name}: no longer differs"


@pytest.mark.parametrize("name", CASES)
def test_as_on_a_direct_connection(world, name):
    differs = why_different(name, world.server)
    is_brief = differs or is_left_silent(name, world.server)
    found = compare(world, CASES[name], SHORT_TIMEOUT if is_brief else TIMEOUT)
    if differs:
        assert found is not None, f"no longer differs: {name}"
    else:
        assert found is None, found
