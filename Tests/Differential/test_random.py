"""Random sequences on both sides: at least 20,000 of them."""

import os

from random_run import run_all


def test_random_sequences_do_not_differ(full):
    first = int(os.environ.get("REDPOOL_SEED", "1"))
    wanted = 200_000 if full else 20_000
    played, failures = run_all(first, wanted)
    assert not failures, "\n\n".join(failures)
    assert played == wanted
