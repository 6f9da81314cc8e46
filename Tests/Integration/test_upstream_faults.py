"""The server restarts, hangs, closes idle connections: what clients may and may not notice."""

import asyncio
import collections
import random
import signal
import time

import pytest

from harness.load import in_threads
from harness.waiting import eventually
from harness.watcher import MaxOpenWatcher
from harness.wire import AsyncConnection, Closed, Connection, ErrorReply, encode

pytestmark = pytest.mark.daemon
MAX_OPEN = 32

# Error words that say that the command did not run.
REFUSED = (b"UPSTREAMDOWN", b"POOLTIMEOUT", b"LOADING")


class Ledger:
    """Every INCR that was ever sent, each on a key of its own, and what became of it.

    A key that holds 2 ran twice. A key that was answered 1 has to hold 1; one that was refused
    must not exist; one whose connection was closed may exist or not.
    """

    def __init__(self):
        self.answered, self.refused, self.unknown = [], [], []

    async def add(self, client, key):
        """Sends one INCR; returns whether the connection still lives."""
        try:
            reply = await client.command("INCR", key)
        except Closed as end:
            assert end.partial == b""
            self.unknown.append(key)
            return False
        if isinstance(reply, ErrorReply):
            assert reply.startswith(REFUSED), reply
            self.refused.append(key)
        else:
            assert reply == 1, f"{key} ran {reply} times"
            self.answered.append(key)
        return True

    def check(self, server):
        with server.connect() as control:
            for keys, allowed in (
                (self.answered, {b"1"}),
                (self.refused, {None}),
                (self.unknown, {b"1", None}),
            ):
                control.send(b"".join(encode("GET", key) for key in keys))
                wrong = [key for key in keys if control.read() not in allowed]
                assert not wrong, (len(wrong), wrong[:5], allowed)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["restart", "crash"])
def test_server_restart_under_idle_and_working_clients(launch, how):
    server = launch.server("--appendonly", "yes", "--appendfsync", "everysec")
    redpool = launch.redpool(server)
    ledger = Ledger()
    progress = collections.Counter()
    over = asyncio.Event()

    async def work(number):
        client = await AsyncConnection.open(redpool.tcp)
        count = 0
        while not over.is_set():
            count += 1
            before = len(ledger.answered)
            if not await ledger.add(client, f"ledger:{number}:{count}"):
                # The daemon is up whatever the server does, so this must work at once.
                client.close()
                client = await AsyncConnection.open(redpool.tcp)
            progress[number] += len(ledger.answered) > before
        client.close()

    def everybody_works():
        return all(progress[number] >= 5 for number in range(100))

    async def everything():
        idle = [await AsyncConnection.open(redpool.tcp) for _ in range(100)]
        assert {await client.command("PING") for client in idle} == {b"PONG"}
        workers = [asyncio.create_task(work(number)) for number in range(100)]
        await asyncio.to_thread(eventually, lambda: len(progress) == 100)
        await asyncio.to_thread(server.restart, how)
        progress.clear()
        await asyncio.to_thread(eventually, everybody_works, 25)
        over.set()
        await asyncio.gather(*workers)
        assert {await client.command("PING") for client in idle} == {b"PONG"}

    asyncio.run(everything())
    ledger.check(server)
    assert len(ledger.answered) >= 600


def test_pinned_clients_are_closed_by_a_restart_and_others_are_not(launch):
    server = launch.server()
    redpool = launch.redpool(server)
    with redpool.connect(30) as pinned, redpool.connect() as blocked, redpool.connect() as idle:
        assert idle.command("PING") == b"PONG"
        assert pinned.command("WATCH", "k") == b"OK"
        blocked.send(encode("BLPOP", "queue", "0"))
        eventually(lambda: server.info("blocked_clients") == "1")
        server.restart()
        assert blocked.read_until_closed() == b""
        assert pinned.read_until_closed() == b""
        eventually(lambda: idle.command("SET", "k", "1") == b"OK")


async def idle_for(seconds):
    """Not a wait for anything: being idle this long is what the test is about."""
    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=seconds)


def test_server_that_closes_idle_connections(launch, full):
    """The server's `timeout` is 2 s, clients pause for 1 to 5 s: nobody sees an error."""
    server = launch.server("--timeout", "2")
    redpool = launch.redpool(server)
    seconds = 180 if full else 20
    deadline = time.monotonic() + seconds

    async def work(number):
        chance = random.Random(number)
        client = await AsyncConnection.open(redpool.tcp)
        count = 0
        while time.monotonic() < deadline:
            count += 1
            assert await client.command("INCR", f"idle:{number}") == count
            assert await client.command("GET", f"idle:{number}") == str(count).encode()
            await idle_for(chance.uniform(1, 5))
        client.close()

    async def everybody():
        await asyncio.gather(*(work(number) for number in range(20)))

    asyncio.run(everybody())


def test_idle_connections_killed_by_the_server_are_no_error(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool={"minIdle": 4})
    eventually(lambda: server.client_count() == 4)
    with redpool.connect() as client:
        for count in range(1, 51):
            before = {row["id"] for row in server.upstreams()}
            for upstream in before:
                server.command("CLIENT", "KILL", "ID", upstream)
            assert client.command("INCR", "counter") == count
            eventually(lambda: {row["id"] for row in server.upstreams()} - before)


def test_hung_server_is_waited_for(launch):
    """Frozen for a second: nothing in flight is lost, nothing runs twice."""
    server = launch.server()
    redpool = launch.redpool(server, pool={"poolTimeout": "10s"})

    def work(index):
        with redpool.connect(timeout=30) as client:
            for count in range(1, 201):
                assert client.command("INCR", f"hung:{index}") == count

    def freeze(index):
        if index < 10:
            work(index)
            return
        eventually(lambda: server.command("EXISTS", "hung:0"))
        server.pause()
        started = time.monotonic()
        eventually(lambda: time.monotonic() - started > 1.0)
        server.resume()

    with MaxOpenWatcher(server, MAX_OPEN):
        in_threads(11, freeze)


def test_down_server_fails_at_once_and_recovers_by_itself(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool={"maxOpen": 4, "poolTimeout": "300ms"})
    redpool.warm_up()
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        server.stop(signal.SIGKILL)
        reply = eventually(lambda: _refusal(client, redpool), what="UPSTREAMDOWN")
        assert b"main" in reply and b"refused" in reply.lower(), reply
        server.start()
        eventually(lambda: client.command("SET", "k", "1") == b"OK")
        assert client.command("GET", "k") == b"1"


def _refusal(client, redpool):
    """UPSTREAMDOWN's text once a new client gets it; the first client is never closed for it."""
    with Connection(redpool.tcp) as other:
        reply = other.command("GET", "k")
    assert isinstance(reply, ErrorReply), reply
    assert client.command("GET", "k").startswith((b"UPSTREAMDOWN", b"POOLTIMEOUT"))
    return reply if reply.startswith(b"UPSTREAMDOWN") else None


def test_an_outage_is_no_flood_in_the_log(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool={"poolTimeout": "100ms"})
    clients = [redpool.connect() for _ in range(200)]
    server.stop(signal.SIGKILL)
    for _ in range(20):
        for client in clients:
            client.send(encode("GET", "k"))
        assert all(client.read().startswith(REFUSED) for client in clients)
    for client in clients:
        client.close()
    lines = redpool.log().splitlines()
    assert 2 <= len(lines) <= 20, lines


def test_daemon_that_starts_before_its_server(launch):
    server = launch.server()
    server.stop()
    redpool = launch.redpool(server, pool={"poolTimeout": "800ms"})
    with redpool.connect() as client:
        assert client.command("PING").startswith((b"UPSTREAMDOWN", b"POOLTIMEOUT"))
        server.start()
        eventually(lambda: client.command("PING") == b"PONG")


def test_errors_of_a_loading_or_read_only_server_pass_through(launch):
    server = launch.server()
    redpool = launch.redpool(server)
    with redpool.connect() as client:
        assert client.command("SET", "k", "1") == b"OK"
        server.command("REPLICAOF", "127.0.0.1", "1")
        reply = client.command("SET", "k", "2")
        assert isinstance(reply, ErrorReply) and reply.startswith(b"READONLY"), reply
        server.command("REPLICAOF", "NO", "ONE")
        assert client.command("SET", "k", "3") == b"OK"
