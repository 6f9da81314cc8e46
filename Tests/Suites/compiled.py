"""hiredis's and phpredis's own tests, from the source packages of Debian 12."""

import re

from cache import debian_source, run
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
