"""A cluster whose slots move, whose primaries change, die and restart, for a long time."""

import signal
import time

import pytest

from harness.cluster import Cluster, spread
from harness.ledger import Ledger
from harness.waiting import eventually

pytestmark = [pytest.mark.daemon, pytest.mark.long]

# What the allocator may keep, in bytes.
KEPT = 4 << 20


def move(cluster):
    source, target, *_ = cluster.primaries
    cluster.move_slots(sorted(source.claim().slots)[-30:], source, target)
    cluster.wait_ok()


def fail_over(cluster):
    cluster.failover(cluster.primaries[1])


def kill(cluster):
    victim = cluster.primaries[2]
    cluster.kill_primary(victim)
    victim.start()
    cluster.wait_ok()


def restart(cluster):
    [replica] = cluster.replicas_of(cluster.primaries[0])
    replica.restart(signal.SIGTERM)
    cluster.wait_ok()


EVENTS = (move, fail_over, kill, restart)


def test_memory_and_descriptors_are_as_at_the_start(launch, full):
    # In a long run no node must be taken for lost because the machine is busy.
    cluster = launch.started(Cluster(timeout=5000) if full else Cluster())
    pool = cluster.settings | {"idleTimeout": "1s", "minIdle": 0, "poolTimeout": "30s"}
    redpool = launch.redpool(None, pool=pool, console=True)
    cluster.wait_for_map(redpool)
    counted = spread(40)
    total = dict.fromkeys(counted, 0)

    def round(seconds):
        """All events in turn, again and again, under load."""
        until = time.monotonic() + seconds
        with Ledger(redpool.tcp, counted) as ledger:
            while True:
                for event in EVENTS:
                    event(cluster)
                    ledger.go_on()
                if time.monotonic() >= until:
                    break
        for key, acknowledged, unknown in zip(counted, ledger.rounds, ledger.unknown):
            total[key] += acknowledged + unknown
        told = {word.split()[0] for _, word in ledger.errors}
        assert told <= {b"UPSTREAMDOWN", b"UPSTREAMLOST", b"CLUSTERDOWN"}, ledger.errors[:3]
        return sum(ledger.rounds)

    def at_rest():
        """Descriptors and memory, when all idle upstreams are closed."""
        eventually(lambda: len(redpool.show("CLIENTS")) == 0, 60, what="no clients")
        lowest = redpool.fds()

        def is_still():
            nonlocal lowest
            before, lowest = lowest, min(lowest, redpool.fds())
            return before == lowest

        eventually(lambda: redpool.show("UPSTREAMS") == [], 60, what="no upstreams")
        eventually(is_still, what="no descriptor closing")
        return redpool.fds(), redpool.rss()

    # The first round makes what is kept.
    round(0)
    fds, memory = at_rest()
    rounds = round(1_800 if full else 0)
    fds_after, memory_after = at_rest()
    print(f"{rounds} rounds; descriptors {fds} to {fds_after}, memory {memory} to {memory_after}")
    # Each node may be asked for the map just then.
    assert fds_after <= fds + len(cluster.nodes)
    assert memory_after <= memory * 1.1 + KEPT
    for key, value in zip(counted, cluster.values(counted)):
        assert value <= total[key]
    assert "upstream.desync" not in redpool.log()
