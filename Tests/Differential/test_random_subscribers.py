"""Random sequences of several subscribers: 10,000, and 100,000 with REDPOOL_FULL=1."""

import os

import pytest

from harness.servers import FOUND
from subscriber_run import run

pytestmark = pytest.mark.long
SERVERS = FOUND if os.environ.get("REDPOOL_FULL") == "1" else FOUND[:1]


def check(count, **options):
    first = int(os.environ.get("REDPOOL_SEED", "1"))
    played, failures = run(first, count, **options)
    assert not failures, "\n\n".join(failures)
    assert played == count


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("server", SERVERS, ids=str)
def test_subscribers_are_as_their_twins(server, threads, full):
    count = 100_000 // len(SERVERS) // 2 if full else 5_000
    check(count, mode="shared", server=server, threads=threads)


@pytest.mark.parametrize("threads", [1, 2])
def test_so_they_are_when_hubs_are_read_late(threads, full):
    check(2_000 if full else 30, mode="shared", threads=threads, late=True)


def test_the_comparison_holds_for_pinned_subscribers(full):
    check(2_000 if full else 100, mode="pinned")
