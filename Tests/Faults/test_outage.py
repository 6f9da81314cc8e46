"""What the log says of a server that is gone or hangs: cause, duration, whom it cost what."""

import asyncio
import re
import signal
import threading
import time

import pytest

from harness.server import TLS
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
    # To a client with TLS the server cannot say it: there is no handshake yet.
    cause = "in the TLS handshake" if TLS else "max number of clients reached"
    assert cause in merged[0]["msg"]
    assert cause in merged[0]["err"]


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
    # The one with the upstream leaves last; it may still be seen before some of the others.
    for client in reversed(clients):
        client.close()
    moving = eventually(lambda: told(redpool, "pool.moving"))
    assert moving[0]["reason"] == "waiting"
    assert int(waiting[0]["left"]) + int(moving[0]["left"]) >= 1
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


class Crowd:
    """Clients that ask all the time and connect again when they are closed, on a thread."""

    def __init__(self, address, count):
        self.answers, self.errors, self.closed = 0, 0, 0
        self._address, self._count = address, count
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()

    def goes_on(self):
        """Waits until all of them may have had another answer."""
        answers = self.answers
        eventually(lambda: self.answers > answers + self._count)

    def end(self):
        self._stop.set()
        self._thread.join()

    async def _run(self):
        await asyncio.gather(*(self._ask() for _ in range(self._count)))

    async def _ask(self):
        while not self._stop.is_set():
            reader, writer = await asyncio.open_connection(self._address.host, self._address.port)
            while not self._stop.is_set():
                writer.write(encode("GET", "hush-key"))
                try:
                    line = await reader.readline()
                except ConnectionError:
                    line = b""
                if not line:
                    self.closed += 1
                    break
                self.errors += line.startswith(b"-")
                self.answers += line.startswith(b"$")
                await asyncio.sleep(0.2 if line.startswith(b"-") else 0.05)
            writer.close()


def crowded(launch, patience, clients=500, threads=1):
    """A server, a daemon and its clients, all of whom have had an answer."""
    server = launch.server()
    redpool = launch.redpool(
        server, pool={"poolTimeout": patience},
        settings={"threads": threads, "log": {"format": "logfmt", "stats": "0s"}})
    redpool.warm_up()
    crowd = Crowd(redpool.tcp, clients)
    eventually(lambda: crowd.answers > 3 * clients, what="answers to all")
    return server, redpool, crowd


def pass_time(seconds):
    """What is tested is what is logged in that time."""
    threading.Event().wait(seconds)


@pytest.mark.long
@pytest.mark.parametrize("threads", [1, 2])
def test_a_killed_server_costs_few_lines(launch, full, threads):
    """They alone tell the cause, how long it lasted, and what it has cost whom."""
    length = 20 if full else 5
    server, redpool, crowd = crowded(launch, "5s" if full else "1s", threads=threads)
    before = len(redpool.log().splitlines())
    try:
        server.stop(signal.SIGKILL)
        pass_time(length)
        server.start()
        up = eventually(lambda: told(redpool, "pool.up"))[0]
        crowd.goes_on()
    finally:
        crowd.end()
    lines = redpool.log().splitlines()[before:]
    assert len(lines) <= 12, lines
    assert any("Connection refused" in line for line in lines)
    assert 1000 * (length - 1) < int(up["down_ms"]) < 1000 * (length + 20)
    assert 0 < int(told(redpool, "pool.down")[0]["clients"]) <= 500
    assert int(up["clients"]) > 450
    # It ends when one worker has a connection. The other one may refuse some more.
    assert crowd.errors > 500
    assert crowd.errors / 2 < int(up["refused"]) <= crowd.errors
    assert threads > 1 or int(up["refused"]) == crowd.errors
    assert int(up["closed"]) == crowd.closed
    assert "hush" not in redpool.log()


@pytest.mark.long
@pytest.mark.parametrize("threads", [1, 2])
def test_a_stopped_server_costs_few_lines(launch, full, threads):
    length = 20 if full else 7
    server, redpool, crowd = crowded(launch, "5s", threads=threads)
    before = len(redpool.log().splitlines())
    try:
        server.pause()
        pass_time(length)
        server.resume()
        eventually(lambda: [line for line in told(redpool, "pool.moving")
                            if line["reason"] == "stalled"])
        crowd.goes_on()
    finally:
        crowd.end()
    lines = redpool.log().splitlines()[before:]
    assert len(lines) <= 12, lines
    stalled, moving = told(redpool, "pool.stalled"), told(redpool, "pool.moving")
    assert len(stalled) == 1
    assert int(stalled[0]["clients"]) + int(stalled[0]["waiting"]) > 450
    assert int(stalled[0]["in_flight"]) >= int(stalled[0]["clients"]) > 0
    assert int(stalled[0]["oldest_ms"]) >= 5000
    ends = [int(line["stalled_ms"]) for line in moving if line["reason"] == "stalled"]
    assert len(ends) == 1 and 1000 * (length - 1) < ends[0] < 1000 * (length + 20)
    assert "hush" not in redpool.log()


@pytest.mark.long
def test_ten_minutes_without_a_server(launch, full):
    """In CI the arithmetic alone: `OutageTests.lines`."""
    if not full:
        pytest.skip("takes ten minutes: REDPOOL_FULL=1")
    server, redpool, crowd = crowded(launch, "5s", clients=100)
    before = len(redpool.log().splitlines())
    try:
        server.stop(signal.SIGKILL)
        pass_time(600)
        lines = redpool.log().splitlines()[before:]
    finally:
        crowd.end()
    assert len(lines) <= 15, lines
    assert 9 <= len(told(redpool, "pool.down")) <= 11
    assert "hush" not in redpool.log()
