"""Runs real clients' suites against redis-server and through Redpool, and compares.

Fails when a test fails through Redpool only and `known.py` has no reason for it; with `--cluster`,
where Redpool is in front of a cluster, `known_cluster.py`.
"""

import argparse
import os
import pathlib
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from applications import Applications  # noqa: E402
from compiled import HIREDIS, Hiredis, PhpRedis, Redigo  # noqa: E402
from harness.certificates import server_certificate  # noqa: E402
from harness.cluster import Cluster  # noqa: E402
from harness.daemon import TLS as CLIENTS_TLS, Redpool  # noqa: E402
from harness.server import TLS, RedisServer  # noqa: E402
from known import stale  # noqa: E402
from node_redis import NodeRedis  # noqa: E402
from outcome import PROGRAM  # noqa: E402
from perl_redis import PerlRedis  # noqa: E402
from redis_own import RedisOwn  # noqa: E402
from redis_py import AwareRedisPy, PlainRedisPy, RedisPy  # noqa: E402

TIMEOUT = 1200
OPTIONS = ["--enable-debug-command", "yes"]


class Stand:
    """A server of its own for one suite, or a cluster of three, behind so many threads of
    Redpool; 0 is without."""

    def __init__(self, threads, cluster=False):
        certificate = server_certificate() if CLIENTS_TLS else None
        # These suites use DEBUG and SYNC, which Redpool refuses by default.
        pool = {"maxOpen": 32, "denyCommands": [], "poolTimeout": "5s"}
        # For suites that start their own servers; None means a direct connection.
        self.settings = {"threads": threads, "pools": {"main": pool}} if threads else None
        self._cluster = Cluster(3, 0, options=OPTIONS) if cluster else None
        self._server = self._cluster or RedisServer(*OPTIONS, certificate=certificate)
        self._redpool = None
        if threads:
            self._redpool = self._front(pool, {"threads": threads})
        front = self._redpool or (self._cluster.nodes[0] if cluster else self._server)
        # As many as a cluster-aware client sees.
        self.nodes = 3 if cluster and not threads else 1
        self.port, self.path = front.tcp.port, front.unix.path
        if CLIENTS_TLS and not threads:
            self.port = front.tls.port
        self._folder = tempfile.TemporaryDirectory(prefix="redpool-suite-")
        self.folder = pathlib.Path(self._folder.name)

    def _front(self, pool, settings):
        try:
            if not self._cluster:
                return Redpool(self._server, pool=pool, settings=settings)
            made = Redpool(None, pool=self._cluster.settings | pool, settings=settings)
            self._cluster.wait_for_map(made)
            return made
        except AssertionError:
            self._server.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            if self._redpool:
                self._redpool.close()
        finally:
            self._server.close()
            self._folder.cleanup()


def once(suite, threads, only=None):
    with Stand(threads, suite.has_cluster(threads)) as stand:
        return suite.end(suite.begin(stand, only), TIMEOUT)


def compare(suite, threads):
    """Both outcomes, and what fails through Redpool a second time: alone, or in its place."""
    with ThreadPoolExecutor(2) as pool:
        direct, through = pool.map(lambda count: once(suite, count), (0, threads))
    missing = sorted(direct.ran - through.tests.keys())
    through.messages.update((name, "did not run") for name in missing)
    suspects = sorted(through.failed - direct.failed) + missing
    # What says why it fails needs no second time.
    confirmed = [name for name in suspects if suite.by_message(through, name)]
    for names in suite.groups([name for name in suspects if name not in confirmed]):
        again = once(suite, threads, names)
        confirmed += [name for name in names if _fails(name, again, through)]
    flaky = [name for name in suspects if name not in confirmed]
    if PROGRAM in direct.failed:
        # Then there is nothing to compare with.
        confirmed.append(PROGRAM)
        through.messages[PROGRAM] = f"on a direct connection: {direct.messages.get(PROGRAM, '')}"
    if flaky:
        # What came before it may be what makes it fail.
        whole = once(suite, threads)
        confirmed += [name for name in flaky if _fails(name, whole, through)]
    return direct, through, confirmed, [name for name in flaky if name not in confirmed]


def _fails(name, again, through) -> bool:
    through.messages.update(again.messages)
    return again.tests.get(name, "passed" if name == PROGRAM else "failed") == "failed"


def suites(short):
    """The longest first, so that the short ones fill what is left of the time."""
    # It comes from no registry that is known here: only with copies of its source.
    yield from map(NodeRedis, os.environ.get("REDPOOL_NODE_REDIS", "").split())
    yield RedisPy("5.2.1", 3, parser="hiredis", short=short)
    yield RedisPy("5.2.1", 2, short=short)
    if not short:
        yield PerlRedis()
        yield RedisPy("5.2.1", 3)
        yield RedisPy("6.4.0", 2, parser="hiredis")
        yield RedisPy("6.4.0", 3)
        yield RedisPy("8.1.0")
        yield RedisPy("8.1.0", 2, parser="hiredis")
        yield RedisOwn("collections")
        yield RedisOwn("types")
        yield RedisOwn("connections")
    yield RedisOwn("scripts")
    yield PhpRedis()
    yield Applications()
    yield Redigo()
    yield from (Hiredis(version) for version in HIREDIS)


def cluster_suites(short):
    """Plain clients, compared with one server; and cluster-aware ones, with the cluster itself."""
    made = [PlainRedisPy("5.2.1", 2), AwareRedisPy("5.2.1", 2)]
    if not short:
        made += [PlainRedisPy("8.1.0"), AwareRedisPy("8.1.0")]
    made += [PlainRedisPy("5.2.1", 3, parser="hiredis"), AwareRedisPy("5.2.1", 3, parser="hiredis")]
    made += [PhpRedis(), Redigo(), *(Hiredis(version) for version in HIREDIS)]
    for suite in made:
        suite.in_front_of_cluster = True
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="what fits into four minutes")
    parser.add_argument("--cluster", action="store_true", help="in front of a cluster of three")
    parser.add_argument("--threads", type=int, default=1, help="Redpool's threads (default 1)")
    parser.add_argument("--jobs", type=int, default=2, help="suites side by side (default 2)")
    parser.add_argument("names", nargs="*", help="only suites with one of these in their name")
    arguments = parser.parse_args()
    chosen = [
        suite
        for suite in (cluster_suites if arguments.cluster else suites)(arguments.short)
        if not arguments.names or any(word in suite.name for word in arguments.names)
    ]
    if CLIENTS_TLS:
        chosen = [suite for suite in chosen if suite.speaks_tls]
    if TLS or CLIENTS_TLS:
        # Made once, before there are threads.
        server_certificate()
    for suite in chosen:
        suite.prepare()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        runs = list(pool.map(lambda suite: Run(suite, arguments.threads), chosen))
    show(runs)
    unneeded = stale([(run.suite, run.through, run.confirmed) for run in runs])
    for entry in unneeded:
        print(f"STALE: known.py has a reason for what does not fail: {entry}")
    sys.exit(0 if runs and not unneeded and not any(run.new for run in runs) else 1)


class Run:
    """A suite's run to its end, and what is to be said of its tests."""

    def __init__(self, suite, threads):
        began = time.monotonic()
        self.suite = suite
        self.direct, self.through, self.confirmed, self.flaky = compare(suite, threads)
        self.seconds = round(time.monotonic() - began)
        self.new = [name for name in self.confirmed if not suite.reason(self.through, name)]
        print("\n".join(self._lines()), flush=True)

    def _lines(self):
        direct, through = self.direct.messages, self.through.messages
        yield f"{self.suite.name}: {self.seconds} s"
        for name in self.confirmed:
            why = self.suite.reason(self.through, name)
            word = "explained" if why else "NEW"
            yield f"  {word}: {name}: {why or through.get(name, '')}"
        for name in self.flaky:
            yield f"  passed when run again: {name}: {through.get(name, '')}"
        for name in sorted(self.direct.failed):
            yield f"  fails on a direct connection: {name}: {direct.get(name, '')}"

    def row(self):
        return (
            self.suite.name, len(self.through.ran), len(self.direct.failed),
            len(self.through.failed), len(self.new), len(self.confirmed) - len(self.new),
            self.seconds,
        )


def show(runs):
    head = ("suite", "tests", "failed direct", "failed through", "difference", "explained", "s")
    print("\n| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for run in runs:
        print("| " + " | ".join(map(str, run.row())) + " |")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    main()
