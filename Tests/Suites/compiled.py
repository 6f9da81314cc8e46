"""hiredis's, phpredis's and redigo's own tests, from packages of Debian 12."""

import os
import pathlib
import re

from cache import CACHE, debian_source, run
from outcome import Outcome, finish, start


class Hiredis:
    """test.c of the C library; its errors of unreachable hosts are left to the resolver."""

    name = "hiredis 0.14.1 test.c"

    def prepare(self):
        self.folder = next(debian_source("hiredis").glob("*/test.c")).parent
        if not (self.folder / "hiredis-test").exists():
            run("make", "-s", "static", "hiredis-test", cwd=self.folder)

    def begin(self, stand, only=None):
        command = ["./hiredis-test", "-h", "127.0.0.1", "-p", stand.port, "-s", stand.path]
        return start([*command, "--skip-throughput"], stand, self.folder)

    def end(self, process, timeout) -> Outcome:
        text = finish(process, timeout)
        outcome = Outcome()
        plain = re.sub(r"\x1b\[[\d;]*m", "", text)
        for number, name, state in re.findall(r"#(\d+) (.*?): (PASSED|FAILED)", plain):
            outcome.add(f"{number} {name}", state.lower())
        if process.returncode != 0 and not outcome.failed:
            outcome.add("the program", "failed", text[-200:])
        return outcome


class PhpRedis:
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
                lines = re.findall(rf"^Assertion failed.*\({current}\)", text, re.M)
                outcome.add(current, state.lower(), " ".join(lines))
                current = None
        if not outcome.tests or current:
            outcome.add("the program", "failed", text[-200:])
        return outcome


class Redigo:
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
        for state, name in re.findall(r"^--- (PASS|FAIL|SKIP): (\S+)", text, re.M):
            outcome.add(name, {"PASS": "passed", "FAIL": "failed", "SKIP": "skipped"}[state])
        if process.returncode != 0 and not outcome.failed:
            outcome.add("the program", "failed", text[-200:])
        return outcome
