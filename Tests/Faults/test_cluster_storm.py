"""Clients that send commands in every way, while slots move to and fro, primaries change and are
killed, and nodes close connections: no command runs twice, and none that is answered is lost."""

import random
import time

import pytest

from harness.cluster import Cluster
from harness.servers import FOUND
from harness.waiting import eventually
from mixture import LIBRARY, Mixture

pytestmark = [pytest.mark.daemon, pytest.mark.long]

OTHERS = ("redis 6.2", "valkey 8.0")
SERVERS = [server for server in FOUND if server in FOUND[:1] or server.name in OTHERS]


class Weather:
    """What happens to a cluster."""

    def __init__(self, cluster, slots, seed):
        self.cluster, self.slots = cluster, slots
        self.random = random.Random(seed)
        self.moved = 0
        self.rested = dict.fromkeys(slots, 0.0)
        self._look()

    def _look(self):
        """Who serves the slots. Asking for each move would take longer than the move."""
        self.cluster.wait_ok()
        eventually(self._is_settled, 60, what="one owner for each slot")

    def _is_settled(self) -> bool:
        """A primary that has come back claims its slots until it hears of its successor."""
        self.primaries = self.cluster.primaries
        served = [(node, node.claim().slots) for node in self.primaries]
        claims = [(slot, node) for slot in self.slots for node, its in served if slot in its]
        self.owners = dict(claims)
        return len(claims) == len(self.slots)

    def move(self):
        """A slot goes to another node, and comes back later. A command behind ASK of its former
        move has run by then: the servers could not tell it from one of this move."""
        # A node that has not heard of the latest epoch would claim the slot with too low a one.
        eventually(self._is_agreed, 60, what="one epoch")
        rested = eventually(self._rested, what="a slot that has rested")
        slot = self.random.choice(rested)
        source = self.owners[slot]
        target = self.random.choice([node for node in self.primaries if node is not source])
        self._set_slot(target, slot, "IMPORTING", source.id)
        self._set_slot(source, slot, "MIGRATING", target.id)
        keys = source.command("CLUSTER", "GETKEYSINSLOT", slot, 1000)
        # One after the other, so that some are here and some are there.
        for key in keys if self.random.random() < 0.5 else []:
            self.cluster.carry(source, target, [key])
        while keys := source.command("CLUSTER", "GETKEYSINSLOT", slot, 1000):
            self.cluster.carry(source, target, keys)
        others = [node for node in self.primaries if node not in (source, target)]
        for node in (target, source, *others):
            self._set_slot(node, slot, "NODE", target.id)
        self.owners[slot] = target
        self.moved += 1
        self.rested[slot] = time.monotonic() + 0.5

    def _rested(self) -> list:
        now = time.monotonic()
        return [slot for slot in self.slots if self.rested[slot] <= now]

    def _is_agreed(self) -> bool:
        return len({node.says("cluster_current_epoch") for node in self.primaries}) == 1

    @staticmethod
    def _set_slot(node, slot, *words):
        reply = node.command("CLUSTER", "SETSLOT", slot, *words)
        assert reply == b"OK", reply

    def close_connections(self):
        node = self.random.choice(self.primaries)
        node.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def fail_over(self):
        self.cluster.wait_ok()
        self.cluster.failover(self.random.choice(self.primaries))
        self._look()

    def kill(self):
        self.cluster.wait_ok()
        victim = self.random.choice(self.primaries)
        self.cluster.kill_primary(victim)
        victim.start()
        self._look()


@pytest.mark.parametrize("onUpstreamLoss", ["close", "error"])
@pytest.mark.parametrize("server", SERVERS, ids=str)
def test_each_command_runs_once(launch, server, full, onUpstreamLoss):
    if not full:
        pytest.skip("takes two minutes: REDPOOL_FULL=1")
    # No node must be taken for lost because the machine is busy.
    cluster = launch.started(Cluster(binary=server.path, timeout=5000))
    pool = cluster.settings | {"onUpstreamLoss": onUpstreamLoss, "maxOpen": 12}
    redpool = launch.redpool(None, pool=pool, settings={"threads": 2}, console=True)
    cluster.wait_for_map(redpool)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    has_functions = server.compatible >= (7, 0)
    if has_functions:
        with redpool.connect() as client:
            assert client.command("FUNCTION", "LOAD", LIBRARY) == b"mixture"
    slots = [index * 16_384 // 12 + 5 for index in range(12)]
    weather = Weather(cluster, slots, seed)
    # What loses writes comes last.
    for others in ([], [weather.fail_over, weather.kill]):
        events = [weather.move] * 40 + [weather.close_connections] * 2 + others
        mixture = Mixture(
            redpool.tcp, 40, slots, seed=seed, functions=has_functions,
            splits=server.splits_replies)
        with mixture:
            until = time.monotonic() + 60
            while time.monotonic() < until:
                weather.random.choice(events)()
            weather.fail_over()
            mixture.go_on()
        print(f"{mixture.commands} commands, {weather.moved} slots moved, "
              f"{sum(mixture.unknown)} closed, told {dict(mixture.told)}")
        cluster.wait_ok()
        mistakes = mixture.mistakes(cluster, loses=bool(others))
        assert not mistakes, (len(mistakes), mistakes[:10])
        cluster.settle()
    assert "upstream.desync" not in redpool.log()
