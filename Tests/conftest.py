"""The fixtures of the tests against real servers and clients; see the README.md of each suite."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess

import pytest

from harness.daemon import BINARY, DIRECT, Direct, Redpool, yaml
from harness.island import Island, Unavailable
from harness.middleman import Middleman
from harness.server import TLS, RedisServer
from harness.shim import Shim

FULL = os.environ.get("REDPOOL_FULL") == "1"


def pytest_configure():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Ignored where a shell runs the tests in the background, and so in all processes of the tests.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def pytest_sessionstart():
    tools = ("redis-server", "redis-cli", "redis-benchmark", "php", "openssl")
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        pytest.exit(f"missing: {', '.join(missing)}; scripts/test installs what is needed", 2)
    if not DIRECT and not os.access(BINARY, os.X_OK):
        pytest.exit(f"no daemon at {BINARY}; scripts/test builds it", 2)


def pytest_collection_modifyitems(items):
    # Workers begin with the long ones, so that no one is left with them at the end.
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    for item in items if DIRECT else ():
        if item.get_closest_marker("daemon"):
            item.add_marker(pytest.mark.skip(reason="REDPOOL_DIRECT=1"))
    for item in items if TLS else ():
        if item.get_closest_marker("plain"):
            item.add_marker(pytest.mark.skip(reason="about upstreams without TLS"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    if config.getoption("dist") != "loadfile":
        return None
    from harness.dealing import Dealing

    return Dealing(config, log)


@pytest.fixture(scope="session")
def full() -> bool:
    """Whether the long tests run at the full size (REDPOOL_FULL=1)."""
    return FULL


@pytest.fixture(scope="module")
def server():
    """The module's private redis-server."""
    made = RedisServer()
    yield made
    made.close()


@pytest.fixture(scope="module")
def redpool(server):
    """A daemon with default settings in front of `server`; it has to drain cleanly at the end."""
    made = Direct(server) if DIRECT else Redpool(server)
    yield made
    code = 0 if DIRECT else made.stop()
    made.close()
    assert code == 0


@pytest.fixture(autouse=True)
def empty_server(request):
    """Every test starts with an empty keyspace on the module's server."""
    made = request.getfixturevalue("server") if "server" in request.fixturenames else None
    if isinstance(made, RedisServer):
        assert made.command("FLUSHALL") == b"OK"


class Launcher:
    """Starts servers, middlemen and daemons that live as long as one test or one module."""

    def __init__(self):
        self._started = contextlib.ExitStack()

    def server(self, *options, **settings) -> RedisServer:
        return self.started(RedisServer(*options, **settings))

    def island(self) -> Island:
        """A network of its own for a server; skips the test where that cannot be had."""
        try:
            return self.started(Island())
        except Unavailable as reason:
            pytest.skip(str(reason))

    def middleman(self, server, unix=False, tls=None) -> Middleman:
        return self.started(Middleman(server, unix, tls))

    def redpool(self, upstream, **settings):
        return self.started(Direct(upstream) if DIRECT else Redpool(upstream, **settings))

    def started(self, made):
        """Keeps something that has `close`."""
        self._started.callback(made.close)
        return made

    def close(self):
        self._started.close()


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


@pytest.fixture
def write(tmp_path):
    """Writes a configuration with the given `main` pool and returns its path."""

    def made(pool, **settings):
        path = tmp_path / "redpool.yaml"
        path.write_text(yaml({"pools": {"main": pool}} | settings))
        return path

    return made


@pytest.fixture
def run_as_nobody(tmp_path):
    """Runs the daemon as a user who owns nothing here."""
    if os.getuid() != 0:
        pytest.skip("needs root to become somebody else")
    program = shutil.copy(BINARY, tmp_path / "redpool")
    for folder in (tmp_path, *tmp_path.parents):
        if "pytest-of-" in str(folder):
            folder.chmod(0o755)

    def made(path):
        return subprocess.run(
            [program, "run", "--config", path],
            capture_output=True,
            text=True,
            timeout=20,
            user="nobody",
            group="nogroup",
        )

    return made
