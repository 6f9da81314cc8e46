"""Clients that do not read, and clients that upload slowly: memory is bounded and comes back."""

import contextlib

import pytest

from harness.load import Neighbours
from harness.server import TLS
from harness.waiting import eventually
from harness.wire import Closed, Connection, encode

KB, MB = 1 << 10, 1 << 20
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


@pytest.mark.parametrize("count, replies", [(60, 10), (1000, 1)])
def test_total_output_limit(launch, full, count, replies):
    """Whatever is asked for and not read: the sum of what waits stays below its own limit."""
    total = 64 * MB
    count = count if full else min(count, 400)
    redpool = start(launch, {"totalOutputLimit": "64mb"}, poolTimeout="10s")
    baseline = redpool.rss()
    # A unix socket holds little, so that nearly everything would be the daemon's to keep.
    clients = ask(redpool, count, replies, redpool.unix)
    settled(redpool)
    peak = redpool.peak_rss()
    served = sum(has_all(client, replies) for client in clients)
    print(f"{served} of {count} served")
    assert peak < baseline + documented(clients=count, total=total) + SLACK
    # Those who had nothing waiting for them, or read in time, lose nothing.
    assert served > 0
    given_back(redpool, baseline)
    with redpool.connect() as late:
        assert late.command("ECHO", "still here") == b"still here"


def test_clients_that_do_not_read_keep_no_upstreams(launch):
    """As many as there are upstreams; who comes after them is served, sooner or later."""
    server = launch.server()
    pool = {"maxOpen": 2, "poolTimeout": "10s", "clientOutputLimit": "2mb"}
    redpool = launch.redpool(server, pool=pool)
    server.command("SET", "big", b"x" * MB)
    clients = []
    for _ in range(2):
        clients += ask(redpool, 1, 20, redpool.unix)
        settled(redpool)
    with redpool.connect(30) as late:
        assert late.command("ECHO", "served") == b"served"
    for client in clients:
        client.close()
    assert "event=client.output_limit" in redpool.log()


LONG = b"n" * 30_000
TRIES = {
    "exec": encode("MULTI") + encode("CLIENT", "ID") + encode("GET", "big") * 8 + encode("EXEC"),
    "names": encode("CLIENT", "SETNAME", LONG) + encode("CLIENT", "SETINFO", "LIB-NAME", LONG),
    "own name": encode("CLIENT", "SETNAME", LONG) + encode("CLIENT", "GETNAME") * 50,
    "own line": encode("CLIENT", "SETNAME", LONG) + encode("CLIENT", "INFO") * 20,
    "list": encode("CLIENT", "SETNAME", LONG[:9000]) + encode("CLIENT", "LIST") * 5,
    "login": encode("HELLO", "3", "AUTH", "default", LONG, "SETNAME", LONG),
    "kill": encode("CLIENT", "SETNAME", LONG) + encode("CLIENT", "KILL", "ID", "0") * 5,
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", TRIES)
def test_five_hundred_clients_who_try(launch, kind, threads):
    """Whatever a client can have kept for it, many of them at once: the manual's sum holds."""
    limits = {"totalOutputLimit": "16mb", "threads": threads}
    redpool = start(launch, limits, poolTimeout="2s")
    baseline = redpool.rss()
    clients = [Connection(redpool.unix, 60) for _ in range(500)]
    for client in clients:
        client.socket.setblocking(False)
        with contextlib.suppress(OSError):
            client.socket.send(TRIES[kind])
    settled(redpool)
    peak = redpool.peak_rss()
    print(f"peak {(peak - baseline) / MB:.1f} MB over {baseline / MB:.1f} MB")
    # The input of those who wait is as long as what they have sent.
    bound = documented(clients=500, total=16 * MB) + 500 * len(TRIES[kind])
    assert peak < baseline + bound + SLACK
    for client in clients:
        client.close()
    given_back(redpool, baseline)
    with redpool.connect() as late:
        assert late.command("ECHO", "still here") == b"still here"


def test_input_behind_commands_that_block_is_given_back(launch):
    """Not to the allocator alone, which would keep it for good."""
    redpool = start(launch, {"totalOutputLimit": "32mb"}, clientOutputLimit="8mb", maxOpen=8)
    baseline = redpool.rss()
    behind = encode("BLPOP", "nothing", "0") + encode("ECHO", "x" * 2 * MB)[:-3]
    for _ in range(4):
        clients = [Connection(redpool.unix, 60) for _ in range(300)]
        for client in clients:
            client.socket.setblocking(False)
        for piece in range(0, len(behind), 128 * KB):
            for client in clients:
                with contextlib.suppress(OSError):
                    client.socket.send(behind[piece : piece + 128 * KB])
        settled(redpool)
        for client in clients:
            client.close()
        settled(redpool)
    assert redpool.peak_rss() > baseline + KEPT
    given_back(redpool, baseline, kept=12 * MB)


def documented(clients=0, waiting=0, total=0):
    """docs/operations.md, Memory, without the program itself."""
    upstream = (256 + (192 if TLS else 0)) * KB
    return clients * KB + waiting * 256 * KB + total + MAX_OPEN * upstream


# What malloc cannot give back in between.
SLACK = 8 * MB


def test_ten_thousand_idle_clients(launch):
    """They cost what the manual says, and nothing once they have left."""
    redpool = start(launch, {"maxClients": 10_000})
    baseline = redpool.rss()
    clients = []
    for _ in range(10):
        crowd = [Connection(redpool.unix, 60) for _ in range(1000)]
        for client in crowd:
            client.send(encode("GET", "nothing"))
        assert {client.read() for client in crowd} == {None}
        clients += crowd
    used = redpool.rss() - baseline
    print(f"{used / 10_000:.0f} bytes for each of 10,000 clients")
    assert used < documented(clients=10_000) - MAX_OPEN * 256 * KB
    for client in clients:
        client.close()
    given_back(redpool, baseline)


def start(launch, settings=None, **pool):
    """A daemon that has relayed a large reply before, so that its buffers are there."""
    server = launch.server()
    pool = {"maxOpen": MAX_OPEN, "poolTimeout": "60s"} | pool
    redpool = launch.redpool(server, pool=pool, settings=settings)
    server.command("SET", "big", b"x" * MB)
    with redpool.connect() as first:
        assert len(first.command("GET", "big")) == MB
    return redpool


def ask(redpool, count, replies, address=None):
    clients = [Connection(address or redpool.tcp, 60) for _ in range(count)]
    for client in clients:
        client.send(encode("GET", "big") * replies)
    return clients


def has_all(client, replies) -> bool:
    """Whether all replies come; a client that is closed had some of them, and part of one, and one
    that got no upstream was told so.
    """
    with client:
        try:
            for _ in range(replies):
                reply = client.read()
                assert len(reply) == MB or reply.startswith(b"POOLTIMEOUT"), reply[:100]
            return len(reply) == MB
        except Closed as end:
            assert len(end.partial) < MB + 20
            return False


def given_back(redpool, baseline, kept=KEPT):
    print(f"baseline {baseline >> 20} MB, peak {redpool.peak_rss() >> 20} MB", end=", ")
    eventually(lambda: redpool.rss() < baseline + kept, 60, what="memory given back")
    print(f"afterwards {redpool.rss() >> 20} MB")


def settled(redpool):
    """Until the daemon has stopped working: its CPU time stands still."""
    seen = []

    def stands_still():
        seen.append(redpool.cpu_seconds())
        return len(seen) > 20 and seen[-1] - seen[-20] <= 0.02

    eventually(stands_still, 60, what="a daemon at rest")


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
