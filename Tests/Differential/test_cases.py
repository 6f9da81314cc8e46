"""The scripted cases, played on both sides."""

import pytest

from cases import all_cases
from documented import DIFFERENCES
from play import compare
from servers import FOUND, MISSING, WHY_MISSING
from world import World

CASES = all_cases()


@pytest.fixture(scope="module", params=FOUND, ids=str)
def world(request):
    made = World(binary=request.param.path)
    made.version = request.param
    yield made
    made.close()


def test_there_are_enough_cases():
    assert len(CASES) >= 200


@pytest.mark.parametrize("name", MISSING)
def test_every_version_is_there(name):
    pytest.skip(f"{name}: {WHY_MISSING}")


@pytest.mark.parametrize("script", CASES.values(), ids=CASES.keys())
def test_as_on_a_direct_connection(world, script):
    found = compare(world, script)
    assert found is None, found


@pytest.mark.parametrize("row", DIFFERENCES, ids=lambda row: row.name)
def test_a_documented_difference_is_still_one(world, row):
    differs = compare(world, row.script) is not None
    assert differs == row.concerns(world.version), f"{row.name}: differs is {differs}"
