"""Errors of Redpool's own leave a line in the log: merged, with the numbers that the client was given."""

import contextlib
import re

import pytest

from harness.http import Http, total
from harness.tasks import stopped, tasks
from harness.waiting import eventually
from harness.wire import encode

pytestmark = pytest.mark.daemon


def refusals(redpool) -> dict:
    """The texts of the lines by reason."""
    found = {}
    for line in redpool.log().splitlines():
        if "event=client.refused" in line:
            assert "level=warning" in line
            reason, text = re.search(r'reason=(\S+)', line)[1], re.search(r'msg="([^"]*)"', line)[1]
            found.setdefault(reason, []).append(text)
    return found


@pytest.fixture
def watched(launch):
    """A server and a daemon in front of it, whose log can be read by a program."""

    def made(threads=1, **pool):
        server = launch.server()
        settings = {"log": {"format": "logfmt"}, "threads": threads}
        return server, launch.redpool(server, pool=pool, settings=settings)

    return made


def test_storm_of_pins_leaves_a_line(watched):
    _, redpool = watched(maxOpen=2, maxPinned=1, poolTimeout="200ms")
    with redpool.connect() as holder:
        holder.send(encode("BLPOP", "hush-key", "0"))
        clients = [redpool.connect() for _ in range(20)]
        eventually(lambda: clients[0].command("WATCH", "hush-key").startswith(b"PINLIMIT"))
        for client in clients:
            client.send(encode("WATCH", "hush-key"))
        texts = [client.read() for client in clients]
        assert all(text.startswith(b"PINLIMIT") for text in texts)
    lines = refusals(redpool)["pin_limit"]
    assert len(lines) == 1
    assert re.search(r"PINLIMIT pool main: 1 of 1 connections are pinned", lines[0])
    assert "hush" not in redpool.log()


def test_server_that_is_gone(watched):
    server, redpool = watched(poolTimeout="300ms")
    redpool.warm_up()
    server.stop()
    with redpool.connect() as client:
        text = b""
        while not text.startswith(b"UPSTREAMDOWN"):
            text = client.command("GET", "hush-key")
        for _ in range(50):
            client.command("GET", "hush-key")
    lines = refusals(redpool)["upstream_down"]
    assert len(lines) == 1 and "UPSTREAMDOWN pool main: cannot connect" in lines[0]


def test_server_that_lets_nobody_connect(watched):
    server, redpool = watched(poolTimeout="300ms", minIdle=0, connectTimeout="10s")
    server.pause()
    with redpool.connect() as client:
        word = client.command("GET", "hush-key").split()[0]
    server.resume()
    reasons = {b"POOLTIMEOUT": "pool_timeout", b"UPSTREAMDOWN": "upstream_down"}
    assert list(refusals(redpool)) == [reasons[word]]


def test_denied_commands(watched):
    _, redpool = watched(denyCommands=["flushall"])
    with redpool.connect() as client:
        for _ in range(50):
            assert b"is refused by Redpool" in client.command("FLUSHALL")
        lines = refusals(redpool)["denied"]
        assert len(lines) == 1 and "flushall" in lines[0]
        assert client.command("GET", "nothing") is None
    assert list(refusals(redpool)) == ["denied"]


def test_burst_is_summed_up(watched):
    """Those that were merged get a line with their number when the burst is over."""
    _, redpool = watched(denyCommands=["flushall"])
    with redpool.connect() as client:
        for _ in range(50):
            client.command("FLUSHALL")
    eventually(lambda: "count=49" in redpool.log(), 15)


# A pool has so many waiters at most, split over its workers.
MOST_WAITERS = 100_000


def test_a_queue_that_is_full(launch):
    """Of 63 workers all but one hang, so that one gets all clients. There is one pin, which the
    first of them gets, unless a worker that hangs has it."""
    http, threads = Http(), 63
    redpool = launch.redpool(
        launch.server(), pool={"maxOpen": 2 * threads, "maxPinned": 1, "poolTimeout": "60s"},
        settings={"threads": threads, "log": {"format": "logfmt"}} | http.settings)
    room = MOST_WAITERS // threads
    with contextlib.ExitStack() as stack:
        for name, thread in tasks(redpool.process).items():
            if name.startswith("worker-") and name != "worker-7":
                stack.enter_context(stopped(thread))
        # New clients go to the one that turns.
        eventually(lambda: http.get("/healthz").status == 503, what="hanging workers")
        for _ in range(room + 1):
            stack.enter_context(redpool.connect()).send(encode("WATCH", "k"))
        eventually(lambda: total(http.metrics(), "redpool_pool_waiting") == room, what="waiters")
        last = stack.enter_context(redpool.connect())
        text = last.command("WATCH", "k").decode()
        assert re.fullmatch(
            r"POOLTIMEOUT pool main: the wait queue is full \(\d+/126 open, 1587 waiting\)", text)
        assert refusals(redpool) == {"queue_full": [text]}
        refused = total(http.metrics(), "redpool_refused_commands_total", reason="queue_full")
        assert refused in (1, 2)
