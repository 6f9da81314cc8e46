"""Upgrades under load: no client notices, whatever it does."""

import contextlib
import threading
from statistics import median

import pytest

from harness.ledger import Crowd, Ledger, Pipelines
from harness.tasks import tasks
from harness.waiting import eventually
from upgrades import (
    Holders, Idle, Large, Newcomers, Producer, Publisher, Subscribers, Takers, upgrade)

pytestmark = [pytest.mark.daemon, pytest.mark.plain]
CHANNELS = [b"c%d" % number for number in range(10)]
SUBSCRIBERS = 200


def start(launch, threads):
    server = launch.server()
    redpool = launch.redpool(
        server, console=True, pool={"maxOpen": 400, "pubsub": "pinned"},
        settings={"threads": threads})
    return server, redpool


def workers(redpool) -> int:
    return sum(name.startswith("worker-") for name in tasks(redpool.process))


def upgrade_while(redpool, change) -> str:
    """Upgrades; meanwhile `change` is called."""
    beside = threading.Thread(target=change)
    beside.start()
    try:
        return upgrade(redpool)
    finally:
        beside.join(60)


@pytest.mark.long
@pytest.mark.parametrize("threads", ["1", "2", "2 to 1"])
def test_nobody_notices(launch, full, threads):
    """Working, blocked, subscribed, holding, idle and coming clients."""
    server, redpool = start(launch, int(threads[0]))
    pid, upgrades = redpool.process.pid, 100 if full else 10 if threads == "2" else 4
    listener = [redpool.tcp, redpool.tcp6, redpool.unix]
    with contextlib.ExitStack() as stack:
        use = stack.enter_context
        subscribers = use(Subscribers(redpool.tcp, SUBSCRIBERS, CHANNELS))
        idle = use(Idle(listener, 5000 if full else 1000))
        holders = use(Holders(redpool, server))
        with contextlib.ExitStack() as busy:
            use = busy.enter_context
            poppers = Takers(redpool.tcp, 40, ["q1", "q2", "q3", "q4"], "BLPOP")
            movers = Takers(redpool.tcp6, 10, ["m1", "m2"], "BLMOVE")
            producer = use(Producer(server, poppers, movers))
            newcomers = use(Newcomers(redpool))
            publisher = use(Publisher(redpool.tcp, CHANNELS, SUBSCRIBERS // len(CHANNELS)))
            crowds = [
                use(crowd) for crowd in (
                    poppers, movers, Ledger(redpool.tcp, [f"n{n}" for n in range(30)]),
                    Pipelines(redpool.tcp6, [[f"p{n}:{k}" for k in range(20)] for n in range(10)]),
                    Large(redpool.unix, 10))]
            for turn in range(upgrades):
                if turn == 1 and threads == "2 to 1":
                    redpool.reload_settings(threads=1)
                holders.begin()
                print(upgrade_while(redpool, holders.change))
                assert workers(redpool) == int(threads[-1] if turn else threads[0])
                holders.end()
                for crowd in crowds:
                    crowd.go_on()
                idle.check()
        for crowd in crowds:
            crowd.is_well()
        for takers in (poppers, movers):
            takers.check(server, producer.made)
        ledger = crowds[2]
        assert [int(server.command("GET", key)) for key in ledger.keys] == ledger.rounds
        subscribers.check(publisher.count)
    assert redpool.process.pid == pid and redpool.stop() == 0


def test_descriptors_and_memory_are_flat(launch, full):
    """However many upgrades there are."""
    server, redpool = start(launch, 2)
    upgrades = 100 if full else 10
    with contextlib.ExitStack() as stack:
        holders = stack.enter_context(Holders(redpool, server))
        idle = stack.enter_context(Idle([redpool.tcp, redpool.unix], 200))
        first, memory = None, []
        for _ in range(upgrades):
            holders.begin()
            upgrade_while(redpool, holders.change)
            holders.end()
            idle.check()
            # One command at a time, so the number of upstreams is the same each time.
            first = first or redpool.fds()
            eventually(lambda: redpool.fds() <= first, what="descriptors as before")
            memory.append(redpool.rss())
    print(first, memory)
    assert memory[-1] <= 1.1 * memory[0]


@pytest.mark.alone
@pytest.mark.parametrize("threads", [1, 2])
def test_the_longest_pause(launch, full, threads):
    """Of 50 working clients beside 5,000 idle ones."""
    _, redpool = start(launch, threads)
    with contextlib.ExitStack() as stack:
        idle = stack.enter_context(Idle([redpool.tcp, redpool.unix], 5000))
        ledger = stack.enter_context(Ledger(redpool.tcp, [f"n{n}" for n in range(50)]))
        before, pauses = max(ledger.longest), []
        for _ in range(100 if full else 5):
            ledger.longest[:] = [0.0] * len(ledger.keys)
            print(upgrade(redpool))
            ledger.go_on()
            pauses.append(max(ledger.longest))
        idle.check()
    print(
        f"longest pause {max(pauses) * 1000:.0f} ms, median {median(pauses) * 1000:.0f} ms; "
        f"{before * 1000:.0f} ms without an upgrade")
    ledger.is_well()
    # A busy machine may stretch one or the other.
    assert median(pauses) < 0.2
    assert max(pauses) < 2


class Uploads(Crowd):
    """Large commands, one after the other."""

    VALUE = b"x" * (4 << 20)

    async def round(self, index, client):
        return await client.command("SET", f"upload:{index}", self.VALUE, timeout=60) == b"OK"


def test_large_commands_come_to_their_end(launch):
    """There is always one under way, and none lasts long."""
    server = launch.server()
    redpool = launch.redpool(server, console=True, settings={"drainTimeout": "3s"})
    with Uploads(redpool.unix, 6) as crowd:
        for _ in range(3):
            print(upgrade(redpool))
            crowd.go_on()
    crowd.is_well()
