"""Random sequences on both sides: at least 20,000 of them, and some on every other server;
half of them with one thread of Redpool, half with two."""

import os

import pytest

from harness.servers import DEFAULT, FOUND
from random_run import run_all

pytestmark = pytest.mark.long
# So that none of them meets the limit of a single test on a busy machine, and that they can be
# played side by side.
PARTS = 10


def check(server, wanted, before=0, threads=1):
    """Plays `wanted` sequences, behind as many as other parts play before them."""
    first = int(os.environ.get("REDPOOL_SEED", "1")) + before
    played, failures = run_all(first, wanted, processes=1, server=server, threads=threads)
    assert not failures, "\n\n".join(failures)
    assert played == wanted


@pytest.mark.parametrize("part", range(PARTS))
def test_random_sequences_do_not_differ(full, part):
    wanted = (200_000 if full else 20_000) // PARTS
    check(DEFAULT, wanted, before=part * wanted, threads=1 + part % 2)


@pytest.mark.parametrize("server", FOUND[1:], ids=str)
def test_random_sequences_do_not_differ_on(server, full):
    half = (20_000 if full else 3_000) // 2
    check(server, half)
    check(server, half, before=half, threads=2)
