"""What happens to a cluster while clients use it."""

import random
import time

from harness.waiting import eventually


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
