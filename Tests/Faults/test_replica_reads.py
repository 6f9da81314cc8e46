"""Reads from the replicas of a cluster: no client misses a write of its own, whatever happens."""

import contextlib
import time

import pytest

from harness.cluster import Cluster, key_in, slot_of, spread
from harness.middleman import Middleman
from harness.relay import Relay
from harness.servers import FOUND
from harness.waiting import always, eventually
from harness.wire import Closed, encode

from replica_reads import calls, reads_from, wait_for_replica

pytestmark = [pytest.mark.daemon]

OTHERS = ("redis 6.2", "valkey 8.0")
SERVERS = [server for server in FOUND if server in FOUND[:1] or server.name in OTHERS]


def start(launch, cluster, reads="replica", **pool):
    redpool = launch.redpool(None, pool=cluster.settings | {"reads": reads} | pool, console=True)
    cluster.wait_for_map(redpool)
    return redpool


@pytest.fixture(scope="module", params=SERVERS, ids=str)
def two(keep, request):
    """One primary with two replicas."""
    return keep.started(Cluster(1, replicas=2, binary=request.param.path))


@pytest.fixture
def pair(two):
    two.settle()
    [primary] = two.primaries
    return two, primary, two.replicas_of(primary)


def test_own_writes_while_replication_stands_still(launch, full):
    """The link is up, and nothing comes over it."""
    relays = []

    def front(node):
        relays.append(Relay(node.real))
        return relays[-1]

    cluster = launch.started(Cluster(1, replicas=2, tls=False, front=front))
    [primary] = cluster.primaries
    replicas = cluster.replicas_of(primary)
    redpool = start(launch, cluster, maxReplicaLag="1h")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redpool.connect()) for _ in range(50)]
        reader = stack.enter_context(redpool.connect())
        keys = [key_in(17 * index, "own") for index in range(50)]
        for client, key in zip(clients, keys):
            assert client.command("SET", key, 0) == b"OK"
        wait_for_replica(reader, keys[0], replicas)
        relays[cluster.nodes.index(primary)].hold()
        until = time.monotonic() + (30 if full else 3)
        rounds = stale = 0
        # On a machine that is too busy for a question a second, replicas are read now and then.
        while time.monotonic() < until or (not stale and time.monotonic() < until + 30):
            rounds += 1
            for client, key in zip(clients, keys):
                assert client.command("SET", key, rounds) == b"OK"
            for client, key in zip(clients, keys):
                assert client.command("GET", key) == str(rounds).encode()
            # Who has not written may read old values: the rule is what protects the others.
            stale += reader.command("GET", keys[0]) != str(rounds).encode()
        assert stale > 0
        with cluster.connect(replicas[0]) as direct:
            assert direct.command("READONLY") == b"OK"
            assert direct.command("GET", keys[0]) == b"0", "replication stood still"
        relays[cluster.nodes.index(primary)].release()
        for client, key in zip(clients[:3], keys):
            wait_for_replica(client, key, replicas)
            assert client.command("GET", key) == str(rounds).encode()
    assert "upstream.desync" not in redpool.log()


def test_a_replica_that_lags_is_left(launch):
    relays = []

    def front(node):
        relays.append(Relay(node.real))
        return relays[-1]

    cluster = launch.started(Cluster(1, replicas=1, tls=False, front=front))
    [primary] = cluster.primaries
    redpool = start(launch, cluster, maxReplicaLag="2s")
    with redpool.connect() as reader, redpool.connect() as writer:
        assert writer.command("SET", "k", "old") == b"OK"
        wait_for_replica(reader, "k", cluster.replicas_of(primary))
        relays[cluster.nodes.index(primary)].hold()
        assert writer.command("SET", "k", "new") == b"OK"
        eventually(lambda: reader.command("GET", "k") == b"new", 5, what="the new value")
        always(lambda: reader.command("GET", "k") == b"new", 2)
        relays[cluster.nodes.index(primary)].release()
        wait_for_replica(reader, "k", cluster.replicas_of(primary))


def test_a_replica_that_does_not_answer_is_left(launch, pair):
    """Its clients wait until it goes on; others read elsewhere from then on."""
    cluster, primary, replicas = pair
    redpool = start(launch, cluster)
    with redpool.connect() as client, redpool.connect() as other:
        wait_for_replica(client, "k", replicas)
        for replica in replicas:
            replica.pause()

        def is_left():
            """A single probe could pass over a replica, for want of an upstream at that moment."""
            with contextlib.ExitStack() as stack:
                probes = [stack.enter_context(redpool.connect(1)) for _ in range(8)]
                for probe in probes:
                    probe.send(encode("GET", "k"))
                try:
                    return all([probe.read() is None for probe in probes])
                except TimeoutError:
                    return False

        eventually(is_left, what="reads from the primary")
        assert other.command("GET", "k") is None
        assert reads_from(other, "k", primary)
        for replica in replicas:
            replica.resume()
        wait_for_replica(other, "k", replicas)


def test_reads_of_keys_in_several_slots(launch):
    """The parts of a split command are read from replicas, and written keys from primaries."""
    cluster = launch.started(Cluster(replicas=1))
    redpool = start(launch, cluster)
    replicas = [node for primary in cluster.primaries for node in cluster.replicas_of(primary)]
    keys = spread(12)
    with redpool.connect() as client, redpool.connect() as reader:
        for key in keys:
            assert client.command("SET", key, key) == b"OK"

        def shares():
            before = [calls(node, "mget") + calls(node, "exists") for node in replicas]
            assert reader.command("MGET", *keys) == [key.encode() for key in keys]
            assert reader.command("EXISTS", *keys) == len(keys)
            after = [calls(node, "mget") + calls(node, "exists") for node in replicas]
            return all(new > old for new, old in zip(after, before))

        eventually(shares, what="parts at all replicas")
        for number in range(50):
            client.send(encode("SET", keys[3], number) + encode("MGET", *keys)
                        + encode("SET", keys[3], "later"))
            values = [key.encode() for key in keys]
            values[3] = str(number).encode()
            assert [client.read() for _ in range(3)] == [b"OK", values, b"OK"]
            reader.send(encode("MGET", *keys) * 20)
            assert all(len(reader.read()) == len(keys) for _ in range(20))
    assert "upstream.desync" not in redpool.log()


@pytest.mark.long
@pytest.mark.parametrize("server", SERVERS, ids=str)
def test_own_writes_while_primaries_change(launch, server, full):
    """A replica becomes the primary, and the primary a replica."""
    cluster = launch.started(Cluster(replicas=1, binary=server.path))
    redpool = start(launch, cluster)
    keys = spread(30)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redpool.connect(60)) for _ in keys]
        counts = [0] * len(keys)

        def write_and_read(times):
            for _ in range(times):
                for index, client in enumerate(clients):
                    counts[index] += 1
                    client.send(encode("INCR", keys[index]) + encode("GET", keys[index]))
                for index, client in enumerate(clients):
                    value = str(counts[index]).encode()
                    assert client.read() == counts[index] and client.read() == value
                for index, client in enumerate(clients):
                    assert client.command("GET", keys[index]) == str(counts[index]).encode()

        write_and_read(20)
        for primary in cluster.primaries:
            [new, *_] = cluster.replicas_of(primary)
            assert new.command("CLUSTER", "FAILOVER") == b"OK"
            eventually(lambda: write_and_read(1) or new.claim().is_primary, 30,
                       what="another primary")
            write_and_read(10)
            cluster.wait_ok()
            write_and_read(10)
        [key] = cluster.keys_of(new, 1)
        with redpool.connect() as reader:
            wait_for_replica(reader, key, cluster.replicas_of(new))
    assert "upstream.desync" not in redpool.log()


def test_own_writes_while_a_slot_moves(launch):
    """Keys that are on their way are read where they are."""
    cluster = launch.started(Cluster(2, replicas=1))
    redpool = start(launch, cluster)
    source, target = cluster.primaries
    slot = min(source.claim().slots)
    keys = [key_in(slot, f"n{index}") for index in range(20)]
    with redpool.connect() as client:
        for key in keys:
            assert client.command("SET", key, key) == b"OK"
        wait_for_replica(client, keys[0], cluster.replicas_of(source))
        cluster.begin_move(slot, target)
        # An absent key is written where the slot goes, and is read there.
        new = key_in(slot, "new")
        assert client.command("SET", new, "there") == b"OK"
        assert client.command("GET", new) == b"there"
        cluster.carry(source, target, keys[:10])
        until = time.monotonic() + 3
        while time.monotonic() < until:
            assert client.command("GET", new) == b"there"
            for key in keys:
                assert client.command("GET", key) == key.encode()
        cluster.end_move(slot, source, target)
        until = time.monotonic() + 3
        while time.monotonic() < until:
            assert client.command("GET", new) == b"there"
            for key in keys:
                assert client.command("GET", key) == key.encode()
        wait_for_replica(client, new, cluster.replicas_of(target))
    assert "upstream.desync" not in redpool.log()


def test_a_write_asked_of_a_replica_does_not_run_twice(launch):
    """A node hands a slot over to one that is a replica by the daemon's map, which is behind. What
    is lost there may have run, whatever the connection was made for."""
    cluster = launch.started(Cluster(2, replicas=1, front=Middleman))
    redpool = start(launch, cluster)
    source, target = cluster.primaries
    [replica] = cluster.replicas_of(target)
    [key], [other] = cluster.keys_of(source, 1), cluster.keys_of(target, 1)
    place = f"{replica.address.host}:{replica.address.port}"
    source.middleman.arm(key.encode(), f"-ASK {slot_of(key)} {place}\r\n".encode(), 1)
    replica.middleman.arm(key.encode(), "close", 1)
    with redpool.connect() as reader, redpool.connect() as client:
        wait_for_replica(reader, other, [replica])
        client.send(encode("INCR", key))
        with pytest.raises(Closed):
            client.read()
    assert replica.middleman.seen[key.encode()] == 1
    assert source.middleman.seen[key.encode()] == 1
