"""Clients that do not read, and clients that upload slowly: memory is bounded and comes back."""

import pytest

from harness.load import Neighbours
from harness.waiting import eventually
from harness.wire import Closed, encode

MB = 1 << 20
MAX_OPEN = 32
LIMIT = 4 * MB
# What malloc keeps of small pieces, and the buffers that a debug build's classes take.
KEPT = 24 * MB


def test_clients_that_do_not_read_and_then_do(launch, full):
    """A megabyte for each. What waits is held for the upstreams that have begun, not for all."""
    count = 1000 if full else 300
    redpool = start(launch)
    baseline = redpool.rss()
    clients = ask(redpool, count, 1)
    settled(redpool)
    for client in clients:
        assert len(client.read()) == MB
        client.close()
    # Per upstream: the output's high-water mark, and as much again for who shared it.
    assert redpool.peak_rss() < baseline + MAX_OPEN * 2 * MB + KEPT
    given_back(redpool, baseline)


def test_pipelines_of_clients_that_do_not_read(launch, full):
    """Ten megabytes for each, more than any socket holds: nobody's output passes its limit."""
    count = 200 if full else 60
    redpool = start(launch, clientOutputLimit=f"{LIMIT // MB}mb")
    baseline = redpool.rss()
    clients = ask(redpool, count, 10)
    settled(redpool)
    served = sum(has_all(client, 10) for client in clients)
    # Those who share an upstream with somebody that reads, and do not themselves, are closed.
    assert served > 0
    assert redpool.peak_rss() < baseline + count * (LIMIT + MB // 2) + KEPT
    given_back(redpool, baseline)
    print(f"{served} of {count} served")


def start(launch, **pool):
    """A daemon that has relayed a large reply before, so that its buffers are there."""
    server = launch.server()
    redpool = launch.redpool(server, pool={"maxOpen": MAX_OPEN, "poolTimeout": "60s"} | pool)
    server.command("SET", "big", b"x" * MB)
    with redpool.connect() as first:
        assert len(first.command("GET", "big")) == MB
    return redpool


def ask(redpool, count, replies):
    clients = [redpool.connect(60) for _ in range(count)]
    for client in clients:
        client.send(encode("GET", "big") * replies)
    return clients


def has_all(client, replies) -> bool:
    """Whether all replies come; a client that is closed had some of them, and part of one."""
    with client:
        try:
            return all(len(client.read()) == MB for _ in range(replies))
        except Closed as end:
            assert len(end.partial) < MB + 20
            return False


def given_back(redpool, baseline):
    print(f"baseline {baseline >> 20} MB, peak {redpool.peak_rss() >> 20} MB", end=", ")
    eventually(lambda: redpool.rss() < baseline + KEPT, 20, what="memory given back")
    print(f"afterwards {redpool.rss() >> 20} MB")


def settled(redpool):
    """Until the daemon has stopped working: its CPU time stands still."""
    seen = []

    def stands_still():
        seen.append(redpool.cpu_seconds())
        return len(seen) > 20 and seen[-1] - seen[-20] <= 0.02

    eventually(stands_still, 30, what="a daemon at rest")


@pytest.mark.parametrize("end", ["finish", "vanish"])
def test_slow_uploaders(launch, full, end):
    """A hundred large values come in small pieces, in turn; the others do not notice."""
    size = 100 * MB if full else MB
    server = launch.server()
    redpool = launch.redpool(server, pool={"maxOpen": MAX_OPEN, "poolTimeout": "1h"})
    with redpool.connect() as first:
        assert first.command("SET", "warm", b"x" * MB) == b"OK"
    baseline = redpool.rss()
    with Neighbours(redpool.tcp) as neighbours:
        clients = [redpool.connect(120) for _ in range(100)]
        for number, client in enumerate(clients):
            client.send(encode("SET", f"upload:{number}", b"x" * size)[: 200_000])
        before = neighbours.rounds
        eventually(lambda: neighbours.rounds > before + 50)
        if end == "finish":
            finish(clients, size)
            assert server.command("DBSIZE") == 100 + 1 + 3
        for client in clients:
            client.close()
    if end == "vanish":
        eventually(lambda: server.command("DBSIZE") == 1 + 3)
    # Nobody's value is held: only what has not gone on yet, 128 KB before and 1 MB behind a pin.
    assert redpool.peak_rss() < baseline + 100 * MB // 4 + MAX_OPEN * MB + KEPT
    given_back(redpool, baseline)


def finish(clients, size):
    """The rest of every value. Only those who hold an upstream are read, so the first go first."""
    piece = b"x" * 65_536
    for number, client in enumerate(clients):
        rest = len(encode("SET", f"upload:{number}", b"")) - 1 - len("0") + len(str(size)) + size
        rest += 1 - 200_000
        while rest > len(piece) + 2:
            client.send(piece)
            rest -= len(piece)
        client.send(b"x" * (rest - 2) + b"\r\n")
        assert client.read() == b"OK"
