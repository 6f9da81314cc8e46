"""Random sequences on both sides: at least 20,000 of them, and some on every other server."""

import os

import pytest

from random_run import run_all
from servers import DEFAULT, FOUND


def check(server, wanted):
    first = int(os.environ.get("REDPOOL_SEED", "1"))
    played, failures = run_all(first, wanted, server=server)
    assert not failures, "\n\n".join(failures)
    assert played == wanted


def test_random_sequences_do_not_differ(full):
    check(DEFAULT, 200_000 if full else 20_000)


@pytest.mark.parametrize("server", FOUND[1:], ids=str)
def test_random_sequences_do_not_differ_on(server, full):
    check(server, 20_000 if full else 3_000)
