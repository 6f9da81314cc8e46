"""Runs real clients' suites against redis-server and through Redpool, and compares.

Fails when a test fails through Redpool only and `known.py` has no reason for it.
"""

import argparse
import os
import pathlib
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "Integration"))

from applications import Applications  # noqa: E402
from compiled import Hiredis, PhpRedis, Redigo  # noqa: E402
from harness.daemon import Redpool  # noqa: E402
from harness.server import RedisServer  # noqa: E402
from known import reason  # noqa: E402
from perl_redis import PerlRedis  # noqa: E402
from redis_own import RedisOwn  # noqa: E402
from redis_py import RedisPy  # noqa: E402

TIMEOUT = 600


class Stand:
    """A server of its own for one suite, with or without Redpool in front."""

    def __init__(self, through):
        self._server = RedisServer("--enable-debug-command", "yes")
        # DEBUG is how these suites provoke errors; by default Redpool refuses it.
        settings = {"maxOpen": 32, "denyCommands": ["SYNC", "PSYNC", "REPLCONF"]}
        # They also stop the server for longer than a pool should let anybody wait.
        settings |= {"poolTimeout": "10s"}
        # For suites that start their own servers; None means a direct connection.
        self.settings = settings if through else None
        self._redpool = Redpool(self._server, pool=settings) if through else None
        front = self._redpool or self._server
        self.port, self.path = front.tcp.port, front.unix.path
        self._folder = tempfile.TemporaryDirectory(prefix="redpool-suite-")
        self.folder = pathlib.Path(self._folder.name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            if self._redpool:
                self._redpool.close()
        finally:
            self._server.close()
            self._folder.cleanup()


def once(suite, through, only=None):
    with Stand(through) as stand:
        return suite.end(suite.begin(stand, only), TIMEOUT)


def compare(suite):
    """Both outcomes, and the tests that fail through Redpool again when they run alone."""
    with ThreadPoolExecutor(2) as pool:
        direct, through = pool.map(lambda way: once(suite, way), (False, True))
    suspects = sorted(through.failed - direct.failed) + sorted(direct.ran - through.tests.keys())
    confirmed, flaky = [], []
    for name in suspects:
        again = once(suite, True, [name])
        fails = again.tests.get(name, "failed") == "failed"
        through.messages.update(again.messages)
        (confirmed if fails else flaky).append(name)
    return direct, through, confirmed, flaky


def suites(short):
    """The longest first, so that the short ones fill what is left of the time."""
    yield RedisPy("5.2.1", 3, parser="hiredis", short=short)
    yield RedisPy("5.2.1", 2, short=short)
    if not short:
        yield PerlRedis()
        yield RedisPy("5.2.1", 3)
        yield RedisPy("6.4.0", 2, parser="hiredis")
        yield RedisPy("6.4.0", 3)
        yield RedisOwn("types")
        yield RedisOwn("connections")
    yield RedisOwn("scripts")
    yield PhpRedis()
    yield Applications()
    yield Redigo()
    yield Hiredis()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="what fits into four minutes")
    parser.add_argument("--jobs", type=int, default=2, help="suites side by side (default 2)")
    parser.add_argument("names", nargs="*", help="only suites with one of these in their name")
    arguments = parser.parse_args()
    chosen = [
        suite
        for suite in suites(arguments.short)
        if not arguments.names or any(word in suite.name for word in arguments.names)
    ]
    for suite in chosen:
        suite.prepare()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        rows = list(pool.map(report, chosen))
    show(rows)
    sys.exit(0 if rows and not any(row[NEW] for row in rows) else 1)


# The column of `show` that has to be 0.
NEW = 4


def report(suite):
    """Runs one suite, says what is to be said of its tests, and returns its row."""
    began = time.monotonic()
    direct, through, confirmed, flaky = compare(suite)
    seconds = round(time.monotonic() - began)
    lines = [f"{suite.name}: {seconds} s"]
    for name in confirmed:
        why = reason(suite.name, name)
        word = "explained" if why else "NEW"
        lines.append(f"  {word}: {name}: {why or through.messages.get(name, 'did not run')}")
    for name in flaky:
        lines.append(f"  passed when run alone: {name}: {through.messages.get(name, '')}")
    for name in sorted(direct.failed):
        lines.append(f"  fails on a direct connection: {name}: {direct.messages.get(name, '')}")
    print("\n".join(lines), flush=True)
    new = [name for name in confirmed if not reason(suite.name, name)]
    return (
        suite.name, len(through.ran), len(direct.failed), len(through.failed), len(new),
        len(confirmed) - len(new), seconds,
    )


def show(rows):
    head = ("suite", "tests", "failed direct", "failed through", "difference", "explained", "s")
    print("\n| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    main()
