"""redis-py's own test suite, from its source distribution, without what needs a cluster, Sentinel,
TLS or modules."""

import xml.etree.ElementTree as xml

from cache import CACHE, python_source, virtualenv
from harness.certificates import authority
from harness.daemon import TLS
from outcome import Outcome, Suite, finish, start

TOOLS = [
    "pytest==8.4.2", "pytest-asyncio==0.23.8", "pytest-timeout==2.4.0", "mock==5.2.0",
    "numpy==1.26.4", "PyJWT==2.10.1", "packaging==24.2",
]

# Files that need a cluster, Sentinel, TLS, modules or an identity provider.
WITHOUT = [
    "cluster", "cluster_transaction", "sentinel", "sentinel_managed_connection", "ssl", "bloom",
    "json", "search", "timeseries", "graph", "graph_utils", "vsets", "scenario",
]
# A proxy of the suite's own that delays replies; its fixed port allows one run at a time.
WITHOUT += ["cwe_404"]
# What needs several databases, or libraries for tracing.
WITHOUT += ["multidb", "observability"]
# Sockets of its own making, which tell the client of a server's maintenance.
WITHOUT += ["maint_notifications"]

MARKS = [
    "onlycluster", "redismod", "ssl", "graph", "replica", "cp_integration", "auth_integration",
]

# What a short run leaves out: tests of the client's own parts that send no or few commands.
SHORT_WITHOUT = [
    "helpers", "utils", "retry", "backoff", "parsers", "encoding", "command_parser", "connect",
    "max_connections_error", "auth",
]

# The suite traces every allocation of its own, which takes most of its time.
PLUGIN = "import tracemalloc\ntracemalloc.start = lambda *_: None\n"

# The suite uses a cluster-aware client where INFO says that the server is a node of a cluster.
PLAIN = """import pytest

@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session):
    session.config.REDIS_INFO["cluster_enabled"] = 0
"""

SETTINGS = """[pytest]
asyncio_mode = auto
timeout = 60
filterwarnings = ignore
"""


def address(port) -> str:
    if not TLS:
        return f"redis://127.0.0.1:{port}/0"
    return f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority().file}"


class RedisPy(Suite):
    """Without a protocol the suite takes the client's own default."""

    speaks_tls = True
    kind = ""
    plugins = ["untraced"]
    without, marks = WITHOUT, MARKS

    def __init__(self, version, protocol=None, parser="", short=False):
        words = [f"redis-py {version}", self.kind, f"RESP{protocol}" if protocol else "", parser]
        self.name = ", ".join(filter(None, words))
        self.version, self.protocol, self.short = version, protocol, short
        extra = [f"{parser}==3.2.1"] if parser else []
        self.requirements = [f"redis=={version}", *extra, *TOOLS]
        self.environment = f"redis-{version}-{parser or 'python'}"

    def prepare(self):
        self.python = virtualenv(self.environment, *self.requirements)
        self.folder = python_source(self.python, "redis", self.version)
        (CACHE / "plugins").mkdir(parents=True, exist_ok=True)
        (CACHE / "plugins" / "untraced.py").write_text(PLUGIN)
        (CACHE / "plugins" / "plain.py").write_text(PLAIN)
        (CACHE / "plugins" / "pytest.ini").write_text(SETTINGS)

    def begin(self, stand, only=None):
        report = stand.folder / "report.xml"
        ignored = self.without + (SHORT_WITHOUT if self.short else [])
        if self.version >= "6":
            # It imports the client of an identity provider.
            ignored = [*ignored, "credentials"]
        command = [
            self.python, "-m", "pytest", "-c", CACHE / "plugins" / "pytest.ini",
            "--rootdir", self.folder, "-p", "no:cacheprovider", "-q",
            "--redis-url", address(stand.port), "--redis-cluster-nodes", stand.nodes,
            "--tb", "short", "--junitxml", report,
            "-m", " and ".join(f"not {mark}" for mark in self.marks),
        ]
        for name in self.plugins:
            command += ["-p", name]
        if self.protocol:
            command += ["--protocol", self.protocol]
        for name in ignored:
            paths = f"tests/test_{name}", f"tests/test_asyncio/test_{name}", f"tests/{name}"
            for path in paths:
                for file in (self.folder / path, self.folder / f"{path}.py"):
                    if file.exists():
                        command += ["--ignore", file.relative_to(self.folder)]
        command += only or ["tests"]
        environment = {"PYTHONPATH": str(CACHE / "plugins"), "PYTHONDONTWRITEBYTECODE": "1"}
        return start(command, stand, self.folder, environment, report=report)

    def end(self, process, timeout) -> Outcome:
        text = finish(process, timeout)
        if not process.report.exists():
            raise RuntimeError(f"{self.name}: no report\n{text[-3000:]}")
        outcome = Outcome()
        for case in xml.parse(process.report).getroot().iter("testcase"):
            name = self._node(case)
            problem = case.find("failure")
            problem = case.find("error") if problem is None else problem
            if problem is not None:
                outcome.add(name, "failed", problem.get("message") or "")
            else:
                outcome.add(name, "passed" if case.find("skipped") is None else "skipped")
        return outcome

    @staticmethod
    def _node(case) -> str:
        """The name by which pytest runs this test again."""
        words = case.get("classname").split(".")
        files = [i for i in range(len(words), 0, -1) if words[i - 1].startswith("test_")]
        if not files:
            # A file that could not be imported.
            return case.get("name")
        split = files[0]
        return "::".join(["/".join(words[:split]) + ".py", *words[split:], case.get("name")])


class PlainRedisPy(RedisPy):
    """Clients that know nothing of the cluster."""

    kind = "plain"
    plugins = ["untraced", "plain"]

    def groups(self, names) -> list:
        """A cluster takes seconds to start."""
        return [names] if names else []


class AwareRedisPy(RedisPy):
    """RedisCluster, with the tests of its own."""

    kind = "RedisCluster"
    is_aware = True
    # The nodes have no port for TLS.
    speaks_tls = False
    without = [name for name in WITHOUT if not name.startswith("cluster")]
    marks = [mark for mark in MARKS if mark != "onlycluster"] + ["onlynoncluster"]

    def prepare(self):
        super().prepare()
        # Names of certificates are made from it when a file of tests is imported.
        (self.folder / "dockers" / "cluster" / "tls").mkdir(parents=True, exist_ok=True)

    def groups(self, names) -> list:
        return [names] if names else []
