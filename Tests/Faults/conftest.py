"""What the fault tests share; see README.md beside this file."""

import contextlib
import os
import pathlib
import resource
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "Integration"))

from harness.daemon import Redpool  # noqa: E402
from harness.server import RedisServer  # noqa: E402
from island import Island, Unavailable  # noqa: E402
from middleman import Middleman  # noqa: E402
from shim import Shim  # noqa: E402

FULL = os.environ.get("REDPOOL_FULL") == "1"


def pytest_configure():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.fixture(scope="session")
def full() -> bool:
    """Whether the long tests run at the full size (REDPOOL_FULL=1)."""
    return FULL


class Launcher:
    """Starts servers, middlemen and daemons that live as long as one test or one module."""

    def __init__(self):
        self._started = contextlib.ExitStack()

    def server(self, *options, **settings) -> RedisServer:
        return self._keep(RedisServer(*options, **settings))

    def island(self) -> Island:
        """A network of its own for a server; skips the test where that cannot be had."""
        try:
            return self._keep(Island())
        except Unavailable as reason:
            pytest.skip(str(reason))

    def middleman(self, server, unix=False) -> Middleman:
        return self._keep(Middleman(server, unix))

    def redpool(self, upstream, **settings) -> Redpool:
        """A daemon in front of a server, or of a middleman on the transport that he has."""
        address = getattr(upstream, "address", upstream.tcp)
        pool = {"upstream": address.text} | settings.pop("pool", {})
        return self._keep(Redpool(upstream, pool=pool, **settings))

    def started(self, made):
        """Keeps something else that has `close`."""
        return self._keep(made)

    def close(self):
        self._started.close()

    def _keep(self, made):
        self._started.callback(made.close)
        return made


@pytest.fixture
def launch():
    made = Launcher()
    yield made
    made.close()


@pytest.fixture(scope="module")
def keep():
    """As `launch`, for what all tests of a module use."""
    made = Launcher()
    yield made
    made.close()


@pytest.fixture
def shim(tmp_path) -> Shim:
    """Calls of the C library that can be made to fail; for `redpool(environment=...)`."""
    if not Shim.is_possible():
        pytest.skip("no gcc to make calls of the C library fail with")
    return Shim(tmp_path)
