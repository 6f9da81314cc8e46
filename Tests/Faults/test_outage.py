"""What the log says of a server that is gone or hangs: cause, duration, whom it cost what."""

import re
import time

import pytest

from harness.waiting import eventually
from harness.wire import Closed, encode

pytestmark = pytest.mark.daemon


def fields(line) -> dict:
    return {name: value.strip('"') for name, value in re.findall(r'(\w+)=("[^"]*"|\S*)', line)}


def events(redpool) -> list:
    """The fields of each line but the statistics."""
    lines = [fields(line) for line in redpool.log().splitlines()]
    return [line for line in lines if line.get("event") not in (None, "pool.statistics")]


def told(redpool, event) -> list:
    return [line for line in events(redpool) if line["event"] == event]


@pytest.mark.parametrize("threads", [1, 2])
def test_an_outage_has_a_beginning_and_an_end(launch, threads):
    server = launch.server()
    redpool = launch.redpool(
        server, pool={"poolTimeout": "500ms", "maxOpen": 8},
        settings={"threads": threads, "log": {"format": "logfmt"}})
    redpool.warm_up()
    server.stop()
    clients = [redpool.connect() for _ in range(4)]
    eventually(lambda: told(redpool, "pool.down"))
    refused = 0
    for client in clients:
        for _ in range(25):
            try:
                refused += client.command("GET", "hush-key").startswith(b"UPSTREAMDOWN")
            except Closed:
                break
    assert refused >= 50
    server.start()
    eventually(lambda: told(redpool, "pool.up"))
    down, up = told(redpool, "pool.down"), told(redpool, "pool.up")
    assert len(down) == 1 and len(up) == 1
    assert down[0]["err"] == "Connection refused" and down[0]["level"] == "error"
    assert int(up[0]["refused"]) == refused
    assert 0 < int(up[0]["down_ms"]) < 60_000
    assert int(up[0]["dial_failures"]) > 1
    assert up[0]["clients"] == "4"
    # What it has cost is told before its end, and once.
    names = [line["event"] for line in events(redpool)]
    assert names.count("client.refused") == 1
    # With several workers the first failed dial can be before the others have noticed.
    assert names.count("upstream.connect_failed") <= threads - 1
    eventually(lambda: clients[0].command("GET", "hush-key") is None)
    assert [line["event"] for line in events(redpool)][-1] == "pool.up"
    assert "hush" not in redpool.log()


def test_merged_lines_repeat_what_was_said_last(launch):
    """The server is there, but refuses some dials: no outage, and a merged line with its cause."""
    server = launch.server()
    redpool = launch.redpool(
        server, pool={"maxOpen": 4, "minIdle": 1}, settings={"log": {"format": "logfmt"}})
    with redpool.connect() as client:
        assert client.command("GET", "hush-key") is None
        server.command("CONFIG", "SET", "maxclients", "1")
        with redpool.connect() as other:
            other.send(b"*1\r\n$5\r\nMULTI\r\n")
            merged = eventually(
                lambda: [line for line in told(redpool, "upstream.connect_failed")
                         if int(line["count"]) > 1], 15)
    assert "cannot connect to" in merged[0]["msg"]
    assert "max number of clients reached" in merged[0]["msg"]
    assert "max number of clients reached" in merged[0]["err"]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_server_that_hangs_is_told_of(launch, threads):
    """Once for the pool, with the clients and commands that it keeps waiting, and the end of it."""
    server = launch.server()
    redpool = launch.redpool(
        server, pool={"maxOpen": 8}, settings={"threads": threads, "log": {"format": "logfmt"}})
    clients = [redpool.connect() for _ in range(8)]
    for client in clients:
        assert client.command("GET", "hush-key") is None
    with redpool.connect() as blocked:
        # Whoever waits on purpose is not among them.
        blocked.send(encode("BLPOP", "hush-key", "0"))
        server.pause()
        for client in clients:
            client.send(encode("GET", "hush-key") * 3)
        stalled = eventually(lambda: told(redpool, "pool.stalled"), 15)
        server.resume()
        moving = eventually(lambda: told(redpool, "pool.moving"), 15)
        for client in clients:
            assert [client.read() for _ in range(3)] == [None] * 3
    assert len(stalled) == len(moving) == 1
    assert stalled[0]["level"] == "warning" and moving[0]["level"] == "notice"
    assert stalled[0]["in_flight"] == "24" and stalled[0]["clients"] == "8"
    assert 5000 <= int(stalled[0]["oldest_ms"]) < 10_000
    assert int(moving[0]["stalled_ms"]) >= 5000 and moving[0]["reason"] == "stalled"
    assert not told(redpool, "pool.down") and "hush" not in redpool.log()


def test_commands_that_block_are_no_stall(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool={"maxOpen": 4}, settings={"log": {"format": "logfmt"}})
    with redpool.connect() as blocked, redpool.connect() as subscriber:
        blocked.send(encode("BLPOP", "hush-key", "6"))
        subscriber.send(encode("SUBSCRIBE", "hush"))
        assert blocked.read() is None
    assert not told(redpool, "pool.stalled")


@pytest.mark.parametrize("threads", [1, 2])
def test_clients_that_wait_for_an_upstream_are_told_of(launch, threads):
    """They leave before `poolTimeout` and are refused nothing."""
    server = launch.server()
    redpool = launch.redpool(
        server, pool={"maxOpen": 2}, settings={"threads": threads, "log": {"format": "logfmt"}})
    redpool.warm_up()
    began = time.monotonic()
    clients = [redpool.connect() for _ in range(20)]
    for client in clients:
        client.send(encode("BLPOP", "hush-key", "30"))
    waiting = eventually(lambda: told(redpool, "pool.waiting"))
    assert time.monotonic() - began < 2 or threads > 1
    assert waiting[0]["reason"] == "waiting" and waiting[0]["level"] == "warning"
    assert int(waiting[0]["waiting"]) >= 18
    assert 1000 <= int(waiting[0]["oldest_ms"]) < 10_000
    assert waiting[0]["open"] == "2/2" and waiting[0]["pinned"] == "1"
    for client in clients:
        client.close()
    moving = eventually(lambda: told(redpool, "pool.moving"))
    assert moving[0]["reason"] == "waiting"
    assert int(waiting[0]["left"]) + int(moving[0]["left"]) >= 18
    assert len(told(redpool, "pool.waiting")) == 1 and "hush" not in redpool.log()


def test_clients_that_leave_at_once_are_told_of(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool={"maxOpen": 2}, settings={"log": {"format": "logfmt"}})
    with redpool.connect() as holder:
        holder.send(encode("BLPOP", "hush-key", "0"))
        eventually(lambda: any(row["cmd"] == "blpop" for row in server.upstreams()))
        with redpool.connect() as client:
            client.send(encode("BLPOP", "hush-key", "0"))
            # The answer shows that it has been read, and that the wait has begun.
            with redpool.connect() as other:
                eventually(lambda: b"cmd=blpop" in other.command("CLIENT", "LIST", "ID", "2"))
        waiting = eventually(lambda: told(redpool, "pool.waiting"))
    assert int(waiting[0]["left"]) >= 1
