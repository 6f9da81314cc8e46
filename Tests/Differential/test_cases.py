"""The scripted cases, played on both sides: on two servers at a time, as a case mostly waits."""

import multiprocessing
import signal
import sys

import pytest

from cases import all_cases
from documented import DIFFERENCES, is_left_silent, why_different
from harness.servers import FOUND, WANTED, WHY_MISSING
from play import SHORT_TIMEOUT, TIMEOUT, compare
from versions import cases
from world import World

CASES = all_cases() | cases()
AT_ONCE = 2


class Lane:
    """The cases of one server, played in a process of their own."""

    def __init__(self, server, rows, names):
        self._found = {}
        self._pipe, theirs = multiprocessing.Pipe(duplex=False)
        self._process = multiprocessing.Process(
            target=play_all, args=(server, rows, names, theirs), daemon=True
        )
        self._process.start()
        theirs.close()

    def found(self, name):
        """What differs in a case or in a row of DIFFERENCES, or None."""
        while name not in self._found:
            one, found = self._pipe.recv()
            self._found[one] = found
        return self._found[name]

    def close(self):
        self._process.terminate()
        self._process.join()


def play_all(server, rows, names, results):
    """Plays what is asked for, in this order, and says what differs in it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    world = World(server=server)
    try:
        # First of all: the ids of upstreams are still short then, and can be told from those of
        # clients.
        for row in rows:
            results.send((row.name, compare(world, row.script, SHORT_TIMEOUT)))
        for name in names:
            is_brief = why_different(name, server) or is_left_silent(name, server)
            results.send((name, compare(world, CASES[name], SHORT_TIMEOUT if is_brief else TIMEOUT)))
    finally:
        # The end of the last case and the end of the test may meet: everything is put away once.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        world.close()


@pytest.fixture(scope="module")
def lanes(request):
    """The lanes of all servers that are asked for, begun when they are near."""
    wanted = {server: ([], []) for server in FOUND}
    for item in request.session.items:
        if item.path == request.path and "lane" in getattr(item, "fixturenames", ()):
            chosen = item.callspec.params
            rows, names = wanted[chosen["lane"]]
            rows += [chosen["row"]] if "row" in chosen else []
            names += [chosen["name"]] if "name" in chosen else []
    begun = {}

    def begin(server):
        ahead = [one for one in FOUND[FOUND.index(server) :] if any(wanted[one])]
        for one in ahead[:AT_ONCE]:
            if one not in begun:
                begun[one] = Lane(one, *wanted[one])
        return begun[server]

    yield begin
    for lane in begun.values():
        lane.close()


@pytest.fixture(scope="module", params=FOUND, ids=str)
def lane(request, lanes):
    made = lanes(request.param)
    yield made
    made.close()


@pytest.fixture
def server(request):
    return request.node.callspec.params["lane"]


def test_there_are_enough_cases():
    assert len(CASES) >= 200


@pytest.mark.parametrize("name", WANTED)
def test_server_is_there(name):
    if name not in {server.name for server in FOUND}:
        pytest.skip(f"{name}: {WHY_MISSING}")


@pytest.mark.parametrize("row", DIFFERENCES, ids=lambda row: row.name)
def test_a_documented_difference_is_still_one(lane, row):
    assert lane.found(row.name) is not None, f"{row.name}: no longer differs"


@pytest.mark.parametrize("name", CASES)
def test_as_on_a_direct_connection(lane, server, name):
    found = lane.found(name)
    if why_different(name, server):
        assert found is not None, f"no longer differs: {name}"
    else:
        assert found is None, found
