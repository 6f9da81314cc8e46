"""Random sequences on both sides: at least 20,000 of them, and some on every other server."""

import os

import pytest

from random_run import run_all
from servers import FOUND

DEFAULT, *OTHERS = FOUND


def check(server, wanted):
    first = int(os.environ.get("REDPOOL_SEED", "1"))
    played, failures = run_all(first, wanted, binary=server.path)
    assert not failures, "\n\n".join(failures)
    assert played == wanted


def test_random_sequences_do_not_differ(full):
    check(DEFAULT, 200_000 if full else 20_000)


@pytest.mark.parametrize("server", OTHERS, ids=str)
def test_random_sequences_do_not_differ_on(server, full):
    check(server, 20_000 if full else 3_000)
