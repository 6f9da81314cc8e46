"""What the log says of a server that is gone or hangs: cause, duration, whom it cost what."""

import re

import pytest

from harness.waiting import eventually
from harness.wire import Closed

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
