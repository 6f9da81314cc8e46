"""Many clients, few upstreams: the reason to run a pool at all."""

import asyncio
import random
import threading
import time

import pytest

from harness.load import in_threads
from harness.waiting import eventually
from harness.watcher import MaxOpenWatcher
from harness.wire import AsyncConnection, Connection, ErrorReply, encode

MAX_OPEN = 32


def test_five_thousand_clients_half_idle_half_working(launch):
    server = launch.server()
    redpool = launch.redpool(server)

    async def open_all():
        made = []
        for start in range(0, 5000, 500):
            batch = (AsyncConnection.open(redpool.tcp) for _ in range(start, start + 500))
            made += await asyncio.gather(*batch)
        return made

    async def work(number, client):
        for turn in range(10):
            token = f"{number}-{turn}"
            assert await client.command("ECHO", token) == token.encode()
            assert await client.command("INCR", f"n:{number}") == turn + 1

    async def everybody():
        async with asyncio.timeout(165):
            clients = await open_all()
            working, idle = clients[::2], clients[1::2]
            await asyncio.gather(*(work(*item) for item in enumerate(working)))
            # The idle ones were served nothing so far, and each of them still is at the end.
            replies = await asyncio.gather(*(client.command("PING") for client in idle))
            assert replies == [b"PONG"] * len(idle)
            for client in clients:
                client.close()

    with MaxOpenWatcher(server, MAX_OPEN):
        asyncio.run(everybody())
    assert server.command("DBSIZE") == 2500


@pytest.mark.daemon
def test_ten_thousand_short_sessions(launch):
    server = launch.server()
    redpool = launch.redpool(server)
    server.command("PING")
    before = int(server.info("total_connections_received"))

    def work(index):
        for session in range(1250):
            with redpool.connect() as client:
                assert client.command("SET", f"s:{index}", session) == b"OK"
                assert client.command("GET", f"s:{index}") == str(session).encode()
                assert client.command("INCR", "sessions") > session

    in_threads(8, work, timeout=300)
    assert server.command("GET", "sessions") == b"10000"
    assert int(server.info("total_connections_received")) - before <= MAX_OPEN


@pytest.mark.daemon
def test_churn_of_every_kind_never_passes_max_open(launch, full):
    """Clients come and go in every way there is; the server is watched all the while."""
    server = launch.server()
    redpool = launch.redpool(server, pool={"maxOpen": 6, "minIdle": 2, "poolTimeout": "200ms"})
    over = threading.Event()
    begun, seconds = time.monotonic(), 120 if full else 8

    def is_enough():
        passed = time.monotonic() - begun
        return passed > seconds and watcher.peak > 2 and watcher.samples > 100

    def end():
        try:
            eventually(is_enough, seconds + 120, what="a large and well watched pool")
        finally:
            over.set()

    def work(index):
        chance = random.Random(index)
        while not over.is_set():
            with Connection(redpool.tcp if chance.random() < 0.5 else redpool.unix) as client:
                chance.choice(CHURN)(client, chance)

    with MaxOpenWatcher(server, 6) as watcher:
        in_threads(17, lambda index: work(index) if index < 16 else end(), timeout=400)
    # What the clients left behind is given back: shared and pinned work is served as at first.
    with redpool.connect() as client:
        eventually(lambda: not isinstance(client.command("INCR", "after"), ErrorReply))
        eventually(lambda: not isinstance(client.command("MULTI"), ErrorReply))
        assert client.command("INCR", "after") == b"QUEUED"
        assert isinstance(client.command("EXEC"), list)


def _ordinary(client, chance):
    for _ in range(chance.randrange(1, 10)):
        client.command("INCR", "churn")


def _pipeline_and_vanish(client, chance):
    client.send(encode("INCR", "churn") * chance.randrange(1, 200))
    client.reset()


def _transaction(client, chance):
    client.send(encode("MULTI") + encode("INCR", "churn") + encode("EXEC"))
    for _ in range(3):
        client.read()


def _transaction_and_vanish(client, chance):
    client.command("MULTI")
    client.send(encode("INCR", "churn"))


def _block_and_vanish(client, chance):
    client.send(encode("BLPOP", "never", "5"))
    if chance.random() < 0.5:
        client.reset()


def _subscribe(client, chance):
    client.command("SUBSCRIBE", "channel")


def _half_a_command(client, chance):
    client.send(encode("SET", "k", "v" * 5000)[: chance.randrange(1, 5000)])


CHURN = [
    *[_ordinary, _ordinary, _pipeline_and_vanish, _transaction, _transaction_and_vanish],
    *[_block_and_vanish, _subscribe, _half_a_command],
]
