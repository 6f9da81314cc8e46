"""What the differential tests share; see README.md beside this file."""

import os
import resource

import pytest

import integration  # noqa: F401  (makes the integration tests' harness importable)

FULL = os.environ.get("REDPOOL_FULL") == "1"


def pytest_configure():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.fixture(scope="session")
def full() -> bool:
    """Whether the long tests run at the full size (REDPOOL_FULL=1)."""
    return FULL
