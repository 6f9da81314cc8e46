"""hiredis's, phpredis's and redigo's own tests, from packages of Debian 12."""

import os
import pathlib
import re
import shutil
import socket

from cache import CACHE, debian_source, run
from outcome import PROGRAM, Outcome, Suite, finish, start


# The releases of the C library: Debian 12's, the copy in Redis 7.0's source, Debian 13's.
HIREDIS = {
    "0.14.1": lambda: debian_source("hiredis").glob("*/test.c"),
    "1.0.3": lambda: debian_source("redis").glob("redis-*/deps/hiredis/test.c"),
    "1.2.0": lambda: debian_source("hiredis", "trixie").glob("*/test.c"),
}


# The address from which its tests want no answer, and one from which there is none anywhere.
HOLE = ("192.168.254.254", "127.0.0.2")
# Tests that end the whole program in front of a cluster: CLIENT TRACKING and MONITOR are refused;
# DEBUG SLEEP holds one node up, and not the others; with RESP3 a message can come before replies.
ENDINGS = [
    "test_resp3_push_handler", "test_monitor", "test_blocking_connection_timeouts",
    "test_command_timeout_during_pubsub", "test_pubsub_handling_resp3",
]
CALLS = rf"(?m)^( +)(?:if \(major >= 6\) )?((?:{'|'.join(ENDINGS)})\()"


class Hiredis(Suite):
    """test.c of the C library; its errors of unreachable hosts are left to the resolver."""

    def __init__(self, version):
        self.version = version
        self.name = f"hiredis {version} test.c"
        self.source = HIREDIS[version]

    def prepare(self):
        source = next(self.source())
        self.folder = source.parent
        if self.in_front_of_cluster:
            self.folder = CACHE / "sources" / f"hiredis-{self.version}-in-front-of-cluster"
            if not self.folder.exists():
                shutil.copytree(source.parent, self.folder)
                (self.folder / "hiredis-test").unlink(missing_ok=True)
            source = self.folder / source.name
        if not (self.folder / "hiredis-test").exists():
            text = source.read_text().replace(*HOLE)
            if self.in_front_of_cluster:
                text = re.sub(CALLS, r"\1if (0) \2", text)
            source.write_text(text)
            run("make", "-s", "static", "hiredis-test", "TEST_ASYNC=1", cwd=self.folder)

    def begin(self, stand, only=None):
        command = ["./hiredis-test", "-h", "127.0.0.1", "-p", stand.port, "-s", stand.path]
        process = start([*command, "--skip-throughput"], stand, self.folder)
        process.hole = self._hole(stand.port)
        return process

    @staticmethod
    def _hole(port) -> list:
        """A port that answers no connection: those that it may hold unaccepted are there."""
        listener = socket.create_server((HOLE[1], port), backlog=0)
        sockets = [listener]
        for _ in range(4):
            sockets.append(socket.socket())
            sockets[-1].setblocking(False)
            sockets[-1].connect_ex(listener.getsockname())
        return sockets

    def end(self, process, timeout) -> Outcome:
        text = finish(process, timeout)
        outcome = Outcome()
        plain = re.sub(r"\x1b\[[\d;]*m", "", text)
        for number, name, state in re.findall(r"#(\d+) (.*?): (PASSED|FAILED)", plain):
            outcome.add(f"{number} {name}", state.lower())
        if process.returncode != 0 and not outcome.failed:
            outcome.add(PROGRAM, "failed", text[-200:])
        return outcome


class PhpRedis(Suite):
    """TestRedis.php of the PHP extension, with its session handler tests."""

    name = "phpredis 5.3.7 RedisTest"

    def prepare(self):
        found = debian_source("php-redis").glob("redis-5*/tests/TestRedis.php")
        self.folder = next(found).parent

    def begin(self, stand, only=None):
        command = ["php", "TestRedis.php", "--host", "127.0.0.1", "--port", stand.port]
        command += ["--class", "Redis", "--nocolors"]
        if only and len(only) == 1:
            command += ["--test", only[0]]
        # Without it the session tests look for an extension in the source tree.
        environment = {"TEST_PHP_ARGS": "-d memory_limit=256M"}
        return start(command, stand, self.folder, environment)

    def end(self, process, timeout) -> Outcome:
        text = finish(process, timeout)
        outcome = Outcome()
        current = None
        for name, state in re.findall(r"^(test\w+) |\[(PASSED|FAILED|SKIPPED)\]", text, re.M):
            if name:
                current = name
            elif current:
                lines = re.findall(rf"^(?:Assertion failed|Uncaught).*\({current}\)", text, re.M)
                outcome.add(current, state.lower(), " ".join(lines))
                current = None
        if not outcome.tests or current:
            outcome.add(PROGRAM, "failed", text[-200:])
        return outcome


class Redigo(Suite):
    """The tests of the Go package `redis`, from the library package: Debian ships them with it."""

    name = "redigo 1.8.3 redis"
    folder = pathlib.Path("/usr/share/gocode/src/github.com/gomodule/redigo/redis")

    def prepare(self):
        self.program = CACHE / "redigo.test"
        if self.program.exists():
            return
        CACHE.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode"}
        run("go", "test", "-c", "-o", self.program, ".", cwd=self.folder, env=environment)

    def begin(self, stand, only=None):
        server = pathlib.Path(__file__).resolve().parent / "standin" / "redis-server"
        command = [self.program, "-test.v", "-redis-server", server, "-redis-port", stand.port]
        if only:
            command += ["-test.run", "|".join(f"^{name}$" for name in only)]
        return start(command, stand, self.folder)

    def end(self, process, timeout) -> Outcome:
        text = finish(process, timeout)
        outcome = Outcome()
        states = {"PASS": "passed", "FAIL": "failed", "SKIP": "skipped"}
        for part in re.split(r"^=== RUN +", text, flags=re.M):
            if found := re.search(r"^--- (PASS|FAIL|SKIP): (\S+)", part, re.M):
                state, name = found.groups()
                outcome.add(name, states[state], part if state == "FAIL" else "")
        if process.returncode != 0 and not outcome.failed:
            outcome.add(PROGRAM, "failed", text[-200:])
        return outcome
