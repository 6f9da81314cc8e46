"""A cluster of private, real processes: primaries, their replicas, and slots that move."""

import binascii
import contextlib
import functools
import itertools
import re
import signal
from dataclasses import dataclass

from .certificates import authority, server_certificate
from .ports import BUS
from .server import DEFAULT, TLS, RedisServer, has_tls
from .waiting import comes, eventually
from .wire import Connection, ErrorReply

SLOTS = 16384
# After this time without an answer, in milliseconds, a node is taken for lost.
NODE_TIMEOUT = 1000


def slot_of(key) -> int:
    """The slot of a key."""
    data = key if isinstance(key, bytes) else key.encode()
    begin = data.find(b"{")
    end = data.find(b"}", begin + 1)
    if begin >= 0 and end > begin + 1:
        data = data[begin + 1 : end]
    return binascii.crc_hqx(data, 0) % SLOTS


@functools.cache
def _tags() -> dict:
    found = {}
    for number in itertools.count():
        found.setdefault(slot_of(f"{number:x}"), f"{number:x}")
        if len(found) == SLOTS:
            return found


def key_in(slot, name="k") -> str:
    """A key of this slot: those of different names are different."""
    return f"{name}:{{{_tags()[slot]}}}"


def spread(count, name="k") -> list:
    """Keys of different slots, spread over all nodes."""
    return [key_in(index * SLOTS // count, name) for index in range(count)]


@dataclass(frozen=True)
class Row:
    """What a line of CLUSTER NODES says of a node."""

    id: str
    port: int
    flags: frozenset
    primary: str
    epoch: int
    slots: frozenset
    # Those that it says to be on their way from it or to it; only in its own answer.
    moving: frozenset

    @property
    def is_primary(self) -> bool:
        return "master" in self.flags

    @property
    def is_in_order(self) -> bool:
        return not self.flags & {"fail", "fail?", "handshake", "noaddr"}


def _row(line) -> Row:
    node, address, flags, primary, _, _, epoch, _, *ranges = line.split()
    slots, moving = set(), set()
    for text in ranges:
        if text.startswith("["):
            moving.add(int(re.match(r"\[(\d+)-", text)[1]))
            continue
        first, _, last = text.partition("-")
        slots.update(range(int(first), int(last or first) + 1))
    port = int(address.partition("@")[0].rpartition(":")[2])
    return Row(node, port, frozenset(flags.split(",")), primary, int(epoch), frozenset(slots),
               frozenset(moving))


class Node(RedisServer):
    """One server of a cluster. With a `host` it listens there, not on 127.0.0.1.

    `address` is where the daemon finds it, and what the others say of it.
    """

    def __init__(self, *options, host=None, tls=TLS, password=None, **settings):
        self.is_paused = False
        self.is_tls = tls
        self.middleman = None
        words = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]
        # Replicas stay with their primaries. Valkey's SETSLOT, which waits for replicas, goes on with
        # the next cron run only.
        words += ["--cluster-migration-barrier", "100", "--repl-diskless-sync-delay", "0"]
        words += ["--hz", "100", *options]
        if host:
            words += ["--bind", host, "--protected-mode", "no"]
        if tls:
            words += ["--tls-cluster", "yes", "--tls-replication", "yes"]
        if password:
            words += ["--masterauth", password]
        certificate = server_certificate() if tls else None
        super().__init__(*words, password=password, certificate=certificate, bus=True, **settings)
        if host:
            self.tcp = type(self.tcp)(host=host, port=self.port)
        if tls and host:
            self.tls = type(self.tls)(host=host, port=self.tls.port, tls=True)
        self.address = self.real = self.tls if tls else self.tcp
        assert self.command("CONFIG", "SET", "cluster-announce-ip", self.tcp.host) == b"OK"
        self.id = self.command("CLUSTER", "MYID").decode()

    def stand_behind(self, middleman):
        """From now on the others name the middleman's address, and the daemon comes through him."""
        self.middleman, self.address = middleman, middleman.address
        name = "cluster-announce-tls-port" if self.is_tls else "cluster-announce-port"
        assert self.command("CONFIG", "SET", name, middleman.tcp.port) == b"OK"

    def meet(self, other):
        """CLUSTER MEET."""
        place = (other.real.host, other.address.port, other.real.port + BUS)
        assert self.command("CLUSTER", "MEET", *place) == b"OK"

    def pause(self):
        super().pause()
        self.is_paused = True

    def resume(self):
        super().resume()
        self.is_paused = False

    def stop(self, how=signal.SIGTERM):
        super().stop(how)
        self.is_paused = False

    @property
    def is_alive(self) -> bool:
        """Whether it answers."""
        return self._process.poll() is None and not self.is_paused

    def view(self) -> dict:
        """What it knows of all nodes, by their ids."""
        text = self.command("CLUSTER", "NODES").decode()
        return {row.id: row for row in map(_row, text.splitlines())}

    def claim(self) -> Row:
        """What it says of itself."""
        return self.view()[self.id]

    def says(self, field) -> str:
        """A field of CLUSTER INFO."""
        return re.search(rf"{field}:(\S+)", self.command("CLUSTER", "INFO").decode())[1]

    def __repr__(self):
        return f"{self.address.host}:{self.address.port}"


class Cluster:
    """`primaries` nodes with all slots in even shares, each with `replicas` replicas.

    `timeout` is the node timeout in milliseconds, `places` has the place (settings of a Node) for
    those that are not on 127.0.0.1, by index; the replicas come after all primaries, in the same
    order. `front(node)` makes what stands in front of a node: a middleman.
    """

    def __init__(self, primaries=3, replicas=1, *, binary=DEFAULT, timeout=NODE_TIMEOUT,
                 password=None, tls=TLS, places=None, front=None, options=()):
        self._stack = contextlib.ExitStack()
        # As servers alone: those without TLS are spoken to without it.
        tls = tls and has_tls(binary)
        self.timeout, self.password, self.is_tls = timeout, password, tls
        self.nodes = []
        try:
            for index in range(primaries * (1 + replicas)):
                node = Node(
                    "--cluster-node-timeout", str(timeout), *options, tls=tls, password=password,
                    binary=binary, **(places or {}).get(index, {}))
                self._stack.callback(node.close)
                self.nodes.append(node)
                if front:
                    node.stand_behind(self._stack.enter_context(contextlib.closing(front(node))))
            self._join(primaries)
        except BaseException:
            self.close()
            raise

    def _join(self, primaries):
        share = SLOTS / primaries
        for index, node in enumerate(self.nodes):
            assert node.command("CLUSTER", "SET-CONFIG-EPOCH", index + 1) == b"OK"
            if index < primaries:
                slots = range(round(index * share), round((index + 1) * share))
                assert node.command("CLUSTER", "ADDSLOTS", *slots) == b"OK"
        for node in self.nodes:
            # Waiting for gossip takes longer.
            for other in self.nodes:
                if other is not node:
                    node.meet(other)
        eventually(self._is_met, 60, what="nodes that know each other")
        for index, node in enumerate(self.nodes[primaries:]):
            chosen = self.nodes[index % primaries].id
            assert node.command("CLUSTER", "REPLICATE", chosen) == b"OK"
        self.wait_ok()

    def _is_met(self) -> bool:
        views = [node.view() for node in self.nodes]
        return all(
            len(view) == len(self.nodes) and all(row.is_in_order for row in view.values())
            for view in views)

    @property
    def alive(self) -> list:
        """The nodes that answer."""
        return [node for node in self.nodes if node.is_alive]

    @property
    def primaries(self) -> list:
        """The nodes that answer and serve slots, in the order of their first slots."""
        claims = [(node, node.claim()) for node in self.alive]
        found = [(min(row.slots), node) for node, row in claims if row.is_primary and row.slots]
        return [node for _, node in sorted(found, key=lambda pair: pair[0])]

    def replicas_of(self, primary) -> list:
        """The nodes that answer and follow this one."""
        return [node for node in self.alive if node.claim().primary == primary.id]

    def owner(self, slot) -> Node:
        """The node that serves a slot: of those that claim it the one with the highest epoch."""
        claims = [(node.claim(), node) for node in self.alive]
        found = [(row.epoch, node) for row, node in claims if row.is_primary and slot in row.slots]
        assert found, f"nobody serves slot {slot}"
        return max(found, key=lambda pair: pair[0])[1]

    def command(self, name, key, *rest):
        """A command with one key, sent to the node that serves it."""
        return self.owner(slot_of(key)).command(name, key, *rest)

    def values(self, keys) -> list:
        """The counters of these names."""
        nodes = {slot: node for node in self.primaries for slot in node.claim().slots}
        return [int(nodes[slot_of(key)].command("GET", key) or 0) for key in keys]

    def keys_of(self, node, count, name="k") -> list:
        """Keys of different slots of a node, spread over all that it serves."""
        slots = sorted(node.claim().slots)
        assert len(slots) >= count
        return [key_in(slots[index * len(slots) // count], name) for index in range(count)]

    @property
    def settings(self) -> dict:
        """The keys of a pool in front of it; the file of a password is the test's."""
        found = {"cluster": [node.address.text for node in self.nodes]}
        return found | ({"tlsCaFile": authority().file} if self.is_tls else {})

    def wait_for_map(self, redpool):
        """Waits until the daemon answers for every node."""
        with redpool.connect(60) as client:
            for node in self.primaries:
                [key] = self.keys_of(node, 1, "no such key")
                eventually(lambda: client.command("GET", key) is None, what=f"{node} answering")

    def wait_ok(self):
        """Waits until all that are alive say the same, and nothing is wrong with them.

        A node of Redis 6.2 that has heard of a slot's moves in another order, from a node with a
        higher epoch, believes that one for ever. Who serves slots says so again with a new epoch.
        """
        if comes(self._is_ok, 20, 0.02):
            return
        for node in self.primaries:
            node.command("CLUSTER", "BUMPEPOCH")
        if not comes(self._is_ok, 60, 0.02):
            said = [f"{node}:\n{node.command('CLUSTER', 'NODES').decode()}" for node in self.alive]
            raise AssertionError("the cluster does not come in order: " + "\n".join(said))

    def _is_ok(self) -> bool:
        alive = self.alive
        views = [node.view() for node in alive]
        said = [{row.id: (row.is_primary, row.primary, row.slots) for row in view.values()}
                for view in views]
        first = said[0]
        if any(other != first for other in said):
            return False
        if not all(view[node.id].is_in_order for view in views for node in alive):
            return False
        served = set().union(*(first[node.id][2] for node in alive))
        return (
            len(served) == SLOTS
            and all(node.says("cluster_state") == "ok" for node in alive)
            and all(node.info("master_link_status") == "up" for node in alive
                    if not first[node.id][0]))

    def settle(self):
        """Everything as it was: all nodes run, no slot is on its way, no key is there. Only that
        roles and slots may have changed."""
        for node in self.nodes:
            if node.is_paused:
                node.resume()
            if not node.is_alive:
                node.start()
        self.wait_ok()
        for node in self.primaries:
            for slot in node.claim().moving:
                assert node.command("CLUSTER", "SETSLOT", slot, "STABLE") == b"OK"
            assert node.command("FLUSHALL") == b"OK"

    def configure(self, name, value):
        """CONFIG SET on all nodes."""
        for node in self.alive:
            assert node.command("CONFIG", "SET", name, value) == b"OK"

    def failover(self, primary) -> Node:
        """CLUSTER FAILOVER on a replica, until all agree. Returns the new primary."""
        [new, *_] = self.replicas_of(primary)

        def is_begun():
            # Refused while the link to the primary is down.
            return not isinstance(new.command("CLUSTER", "FAILOVER"), ErrorReply)

        # It gives up after five seconds if the primary does not answer in time.
        for _ in range(10):
            eventually(is_begun, 60, what="a failover begun")
            if comes(lambda: new.claim().is_primary, 6):
                self.wait_ok()
                return new
        raise AssertionError("no failover")

    def kill_primary(self, primary) -> Node:
        """kill -9, until a replica has taken its place and all agree. Returns the new primary."""
        replicas = self.replicas_of(primary)
        primary.stop(signal.SIGKILL)
        eventually(lambda: any(node.claim().is_primary for node in replicas), 60,
                   what="a replica in its place")
        self.wait_ok()
        return next(node for node in replicas if node.claim().is_primary)

    def begin_move(self, slot, target) -> Node:
        """From now on a slot is on its way: absent keys are served there. Returns its node."""
        source = self.owner(slot)
        self._set_slot(target, slot, "IMPORTING", source.id)
        self._set_slot(source, slot, "MIGRATING", target.id)
        return source

    def carry(self, source, target, keys):
        """Moves keys of a slot that is on its way."""
        auth = ("AUTH", self.password) if self.password else ()
        place = (target.real.host, target.real.port)
        reply = source.command("MIGRATE", *place, "", 0, 20_000, *auth, "KEYS", *keys)
        # NOKEY if they have expired or were deleted meanwhile.
        assert reply in (b"OK", b"NOKEY"), reply

    def end_move(self, slot, source, target):
        """Moves the rest of the keys; then the target serves the slot."""
        while keys := source.command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            self.carry(source, target, keys)
        others = [node for node in self.primaries if node not in (source, target)]
        for node in (target, source):
            self._set_slot(node, slot, "NODE", target.id)
        for node in others:
            reply = node.command("CLUSTER", "SETSLOT", slot, "NODE", target.id)
            # Another failover may have made it a replica, which hears of the slot all the same.
            assert reply in (b"OK", b"ERR Please use SETSLOT only with masters."), reply

    def move_slots(self, slots, source, target, between=None):
        """Moves slots one after the other, as `redis-cli --cluster reshard` does. `between(slot)`
        is called when a slot is half on its way: half of its keys are there."""
        for slot in slots:
            self._set_slot(target, slot, "IMPORTING", source.id)
            self._set_slot(source, slot, "MIGRATING", target.id)
            if between:
                keys = source.command("CLUSTER", "GETKEYSINSLOT", slot, 100)
                if half := keys[: len(keys) // 2]:
                    self.carry(source, target, half)
                between(slot)
            self.end_move(slot, source, target)

    @staticmethod
    def _set_slot(node, slot, *words):
        reply = node.command("CLUSTER", "SETSLOT", slot, *words)
        assert reply == b"OK", reply

    def connect(self, node, timeout=20.0) -> Connection:
        """A connection to a node itself."""
        made = Connection(node.real, timeout)
        if self.password:
            assert made.command("AUTH", self.password) == b"OK"
        return made

    def close(self):
        self._stack.close()
