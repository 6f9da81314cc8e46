"""An INCR ledger while the server is killed, frozen, cut off, and throws its clients out."""

import asyncio
import os
import random
import time

import pytest

from chaos import Counter, Vandal, gather, open_upstreams
from harness.waiting import eventually

CLIENTS = 200
MAX_OPEN = 8
# poolTimeout, commandTimeout, one retry, two ticks, and what 200 clients on a busy machine need.
DEADLINE = 0.8 + 1.0 + 0.8 + 0.2 + 12.0
# What a run has to have seen, or it goes on, for another two minutes at most.
ENOUGH = {"strikes": 10, "acknowledged": 20 * CLIENTS, "peak": MAX_OPEN // 2 + 1}


@pytest.mark.long
@pytest.mark.parametrize("place", ["loopback", "island"])
def test_ledger(launch, full, place):
    seconds = 600 if full else 60
    seed = int(os.environ.get("REDPOOL_SEED", random.SystemRandom().randrange(1 << 30)))
    print(f"REDPOOL_SEED={seed}")
    island = launch.island() if place == "island" else None
    server = launch.server("--appendonly", "yes", "--appendfsync", "always", island=island)
    redpool = launch.redpool(
        server,
        # So many clients want more upstreams than there may be.
        pool={
            "maxOpen": MAX_OPEN, "maxPipeline": 10, "commandTimeout": "1s",
            "connectTimeout": "500ms", "poolTimeout": "800ms",
        },
    )
    chance = random.Random(seed)
    counters = [Counter(n, redpool.tcp, DEADLINE, chance) for n in range(CLIENTS)]
    vandal = Vandal(server, seed, island)
    fds = redpool.fds()
    peak = asyncio.run(run(counters, vandal, server, seconds))
    assert ENOUGH["peak"] <= peak <= MAX_OPEN
    with server.connect() as control:
        for counter in counters:
            counter.check(control.command("GET", counter.key))
    report(counters, vandal, peak)
    eventually(lambda: redpool.fds() <= fds + MAX_OPEN, what="closed descriptors")


async def run(counters, vandal, server, seconds):
    begun = time.monotonic()
    over = asyncio.Event()
    peak = 0

    async def count(counter):
        while not over.is_set():
            await counter.step()

    def is_enough():
        seen = {
            "strikes": sum(vandal.done.values()),
            "acknowledged": sum(counter.acknowledged for counter in counters),
            "peak": peak,
        }
        return all(seen[what] >= ENOUGH[what] for what in ENOUGH)

    def goes_on():
        passed = time.monotonic() - begun
        return passed < seconds or (passed < seconds + 120 and not is_enough())

    async def break_things():
        while goes_on():
            await progress(counters, over)
            await asyncio.to_thread(vandal.strike)
        vandal.leave()
        # Once it is left alone, everybody gets work done on the connection that he has.
        before = [counter.acknowledged for counter in counters]
        for index, counter in enumerate(counters):
            limit = time.monotonic() + 25
            while counter.acknowledged == before[index]:
                assert time.monotonic() < limit, f"{counter.key} is stuck"
                await asyncio.wait([asyncio.ensure_future(over.wait())], timeout=0.05)
        over.set()

    async def watch():
        nonlocal peak
        before = set()
        while not over.is_set():
            now = await asyncio.to_thread(open_upstreams, server.address.port)
            peak = max(peak, len(now & before))
            before = now

    await gather([break_things(), watch(), *(count(counter) for counter in counters)])
    for counter in counters:
        counter.close()
    return peak


async def progress(counters, over):
    """Until every client could have had five commands answered, refused or lost."""

    def total():
        return sum(c.acknowledged + c.unknown + c.refused for c in counters)

    before = total()
    while total() - before < 5 * CLIENTS and not over.is_set():
        await asyncio.wait([asyncio.ensure_future(over.wait())], timeout=0.02)


def report(counters, vandal, peak):
    acknowledged = sum(counter.acknowledged for counter in counters)
    unknown = sum(counter.unknown for counter in counters)
    refused = sum(counter.refused for counter in counters)
    slowest = max(counter.slowest for counter in counters)
    print(
        f"{acknowledged} acknowledged, {unknown} unknown, {refused} refused, "
        f"slowest {slowest:.2f} s, {peak} upstreams at most, {dict(vandal.done)}"
    )
    assert acknowledged >= ENOUGH["acknowledged"]
    assert sum(vandal.done.values()) >= ENOUGH["strikes"]
