"""`pubsub: shared` in front of a cluster: channels on one node for each worker, shard channels on
those of their slots."""

import contextlib
import re

import pytest

from harness.cluster import Cluster, key_in, slot_of
from harness.waiting import eventually
from harness.wire import ErrorReply, encode

pytestmark = pytest.mark.daemon


@pytest.fixture(scope="module")
def cluster(keep):
    return keep.started(Cluster(3, replicas=0))


def start(launch, cluster, threads=1, **pool):
    redpool = launch.redpool(
        None, pool=cluster.settings | {"pubsub": "shared"} | pool, settings={"threads": threads},
        console=True)
    cluster.wait_for_map(redpool)
    return redpool


def subscribers(cluster):
    return sum(
        len(node.command("CLIENT", "LIST", "TYPE", "pubsub").decode().splitlines())
        for node in cluster.nodes)


def subscribers_on(cluster, shard):
    """How many connections a shard channel has at its node."""
    return sum(node.command("PUBSUB", "SHARDNUMSUB", shard)[1] for node in cluster.nodes)


def told(client, verb, *names):
    client.send(encode(verb, *names))
    return [client.read() for _ in names]


@pytest.mark.parametrize("protocol", [2, 3])
def test_channels_and_patterns(launch, cluster, protocol):
    redpool = start(launch, cluster)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redpool.connect()) for _ in range(6)]
        for client in clients:
            client.command("HELLO", protocol)
            assert told(client, "SUBSCRIBE", "a", "b") == [[b"subscribe", b"a", 1],
                                                           [b"subscribe", b"b", 2]]
            assert told(client, "PSUBSCRIBE", "a*") == [[b"psubscribe", b"a*", 3]]
        assert subscribers(cluster) == 1
        for number, node in enumerate(cluster.nodes):
            node.command("PUBLISH", "a", str(number))
            for client in clients:
                text = str(number).encode()
                assert client.read() == [b"message", b"a", text]
                assert client.read() == [b"pmessage", b"a*", b"a", text]
    eventually(lambda: subscribers(cluster) == 0, what="the hub being given back")


@pytest.mark.parametrize("protocol", [2, 3])
def test_shard_channels_of_several_nodes(launch, cluster, protocol):
    """A client may have shard channels on all nodes; one command has one slot."""
    redpool = start(launch, cluster)
    names = [key_in(slot) for slot in (1, 6000, 12000)]
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redpool.connect()) for _ in range(4)]
        for client in clients:
            client.command("HELLO", protocol)
            for number, name in enumerate(names, 1):
                assert told(client, "SSUBSCRIBE", name) == [[b"ssubscribe", name.encode(), number]]
            client.send(encode("SSUBSCRIBE", names[0], names[1]))
            reply = client.read()
            assert isinstance(reply, ErrorReply) and reply.startswith(b"CROSSSLOT")
        assert subscribers(cluster) == 3
        with redpool.connect() as other:
            for name in names:
                other.command("SPUBLISH", name, "m")
                for client in clients:
                    assert client.read() == [b"smessage", name.encode(), b"m"]
        for client in clients:
            client.send(encode("SUNSUBSCRIBE"))
            ends = [client.read() for _ in names]
            assert {end[1].decode() for end in ends} == set(names)
            assert [end[2] for end in ends] == [2, 1, 0]
    eventually(lambda: subscribers(cluster) == 0, what="the hubs being given back")


def test_a_slot_that_has_moved(launch):
    """Those who listen are told, as the server tells them; others are led to the new node."""
    cluster = launch.started(Cluster(3, replicas=0))
    redpool = start(launch, cluster, clusterRefresh="1h")
    name = key_in(1)
    with redpool.connect() as one, redpool.connect() as two, redpool.connect() as other:
        assert told(one, "SSUBSCRIBE", name) == [[b"ssubscribe", name.encode(), 1]]
        cluster.move_slots([1], cluster.primaries[0], cluster.primaries[1])
        assert one.read() == [b"sunsubscribe", name.encode(), 0]
        assert told(two, "SSUBSCRIBE", name) == [[b"ssubscribe", name.encode(), 1]]
        assert told(one, "SSUBSCRIBE", name) == [[b"ssubscribe", name.encode(), 1]]
        other.command("SPUBLISH", name, "m")
        for client in (one, two):
            assert client.read() == [b"smessage", name.encode(), b"m"]
    assert "desync" not in redpool.log()


@pytest.mark.parametrize("threads", [1, 2])
def test_clients_count(launch, cluster, threads):
    """A node counts hubs, and only those that are there. Clients of Redpool count wherever their hub
    is, and whichever node carries the command out."""
    redpool = start(launch, cluster, threads=threads)
    names = [key_in(slot) for slot in (1, 6000, 12000)]
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redpool.connect()) for _ in range(8)]
        for number, client in enumerate(clients):
            client.command("HELLO", 2 + number % 2)
            told(client, "SUBSCRIBE", "a", f"own{number}")
            for name in names:
                told(client, "SSUBSCRIBE", name)
        for client in clients[:3]:
            told(client, "PSUBSCRIBE", "a*")
        # One on each node: PUBLISH counts that of its node, NUMSUB all.
        apart = [stack.enter_context(node.connect()) for node in cluster.nodes]
        for client in apart:
            told(client, "SUBSCRIBE", "a")
        other = stack.enter_context(redpool.connect())
        for slot in (1, 6000, 12000) * 3:
            # What it asks next goes to the node that it was on last.
            other.command("SET", key_in(slot, "turn"), "1")
            eventually(lambda: other.command("PUBLISH", "a", "m") == 8 + 3 + 1, what="all counted")
            assert other.command("PUBLISH", "ab", "m") == 3
            assert other.command("PUBLISH", "own5", "m") == 1
            assert other.command("PUBLISH", "b", "m") == 0
        for name in names:
            assert other.command("SPUBLISH", name, "m") == 8
        assert other.command("PUBSUB", "NUMSUB", "a", "own1", "b") == [
            b"a", 8 + 3, b"own1", 1, b"b", 0]
        wanted = [part for name in names for part in (name.encode(), 8)]
        assert other.command("PUBSUB", "SHARDNUMSUB", *names, "x") == wanted + [b"x", 0]
        # In the order of what is in flight on several nodes.
        other.send(b"".join(
            encode("SET", name, "v") + encode("PUBLISH", "own2", "m") + encode("SPUBLISH", name, "m")
            + encode("PUBSUB", "NUMSUB", "own3") for name in names))
        for _ in names:
            assert [other.read() for _ in range(4)] == [b"OK", 1, 8, [b"own3", 1]]
        # A client with an upstream of its own. In MULTI, and for SPUBLISH, the node's number stands.
        holder = stack.enter_context(redpool.connect())
        assert holder.command("WATCH", names[1]) == b"OK"
        assert holder.command("PUBLISH", "own2", "m") == 1
        assert holder.command("PUBLISH", "ab", "m") == 3
        assert holder.command("PUBSUB", "NUMSUB", "own1") == [b"own1", 1]
        hubs = subscribers_on(cluster, names[1])
        assert holder.command("SPUBLISH", names[1], "m") == hubs
        assert holder.command("MULTI") == b"OK"
        assert holder.command("SPUBLISH", names[1], "m") == b"QUEUED"
        assert holder.command("EXEC") == [hubs]
        for client in clients[4:]:
            client.close()
        eventually(lambda: other.command("PUBLISH", "a", "m") == 4 + 3 + 1, what="those that left")
        eventually(lambda: other.command("SPUBLISH", names[0], "m") == 4, what="those that left")


def test_a_count_follows_its_slot(launch):
    """SPUBLISH that a node refuses is sent to the one that it names, and counted there."""
    cluster = launch.started(Cluster(3, replicas=0))
    redpool = start(launch, cluster, clusterRefresh="1h")
    name = key_in(1)
    with redpool.connect() as one, redpool.connect() as two, redpool.connect() as other:
        for client in (one, two):
            told(client, "SSUBSCRIBE", name)
        eventually(lambda: other.command("SPUBLISH", name, "m") == 2, what="both being counted")
        cluster.move_slots([1], cluster.primaries[0], cluster.primaries[1])
        assert other.command("SPUBLISH", name, "m") == 0
        for client in (one, two):
            frames = [client.read()]
            while frames[-1][0] != b"sunsubscribe":
                frames.append(client.read())
            told(client, "SSUBSCRIBE", name)
        eventually(lambda: other.command("SPUBLISH", name, "m") == 2, what="both being counted")
    assert "desync" not in redpool.log()


class Ears:
    """Clients that listen to one name, one of RESP2 and one of RESP3."""

    def __init__(self, redpool, stack, verb, name):
        self.name = name
        self.kind = b"smessage" if verb == "SSUBSCRIBE" else b"message"
        self.clients = [stack.enter_context(redpool.connect(60)) for _ in range(2)]
        for number, client in enumerate(self.clients):
            client.command("HELLO", 2 + number)
            assert told(client, verb, name) == [[verb.lower().encode(), name.encode(), 1]]

    def hear(self, node, text):
        """Each gets this message next: nothing has happened to it."""
        verb = "PUBLISH" if self.kind == b"message" else "SPUBLISH"
        assert node.command(verb, self.name, text) == 1
        for client in self.clients:
            assert client.read() == [self.kind, self.name.encode(), text.encode()]

    def are_closed(self):
        for client in self.clients:
            assert client.read_until_closed() == b""


def events(redpool, name) -> list:
    """How many clients each line about this names."""
    lines = [line for line in redpool.log().splitlines() if f"event={name} " in line]
    return [int(re.search(r"clients=(\d+)", line)[1]) for line in lines]


def node_of(cluster, channel):
    """The node that has the hub of a channel; None if there is none."""
    found = [node for node in cluster.alive if node.command("PUBSUB", "NUMSUB", channel)[1]]
    assert len(found) < 2
    return found[0] if found else None


@pytest.mark.parametrize("loss", ["close", "resubscribe"])
def test_a_lost_node(launch, loss):
    """It closes the listeners of what was there, or channels come again elsewhere; others notice
    nothing."""
    cluster = launch.started(Cluster(3, replicas=1))
    redpool = start(launch, cluster, pubsubLoss=loss)
    with contextlib.ExitStack() as stack:
        channel = Ears(redpool, stack, "SUBSCRIBE", "all")
        home = node_of(cluster, "all")
        [remote, last] = [node for node in cluster.primaries if node is not home]
        shards = {
            node: Ears(redpool, stack, "SSUBSCRIBE", cluster.keys_of(node, 1)[0])
            for node in (home, remote, last)
        }

        # A node with shard hubs alone.
        cluster.kill_primary(remote)
        shards[remote].are_closed()
        cluster.wait_for_map(redpool)
        channel.hear(home, "one")
        for node in (home, last):
            shards[node].hear(node, "one")
        anew = Ears(redpool, stack, "SSUBSCRIBE", shards[remote].name)
        anew.hear(cluster.owner(slot_of(anew.name)), "two")
        assert events(redpool, "pubsub.lost") == [2]

        # That with the channels.
        heir = cluster.kill_primary(home)
        shards[home].are_closed()
        cluster.wait_for_map(redpool)
        if loss == "close":
            channel.are_closed()
            channel = Ears(redpool, stack, "SUBSCRIBE", "all")
        eventually(lambda: node_of(cluster, "all") is not None, 60, what="the hub elsewhere")
        channel.hear(node_of(cluster, "all"), "three")
        anew.hear(cluster.owner(slot_of(anew.name)), "three")
        shards[last].hear(last, "three")
        late = Ears(redpool, stack, "SSUBSCRIBE", shards[home].name)
        late.hear(heir, "four")
        assert events(redpool, "pubsub.gap") == ([2] if loss == "resubscribe" else [])
        assert sum(events(redpool, "pubsub.lost")) == (4 if loss == "resubscribe" else 6)
    assert "desync" not in redpool.log()


def test_a_slot_that_moves_while_its_channel_ends(launch):
    """What a node says by itself when a slot leaves is not taken for the answer to SUNSUBSCRIBE of
    Redpool's own: the hub stays, and so do its other listeners."""
    cluster = launch.started(Cluster(2, replicas=0))
    redpool = start(launch, cluster)
    one, two = cluster.primaries
    [still] = cluster.keys_of(one, 1)
    with redpool.connect() as steady, cluster.connect(one) as mover:
        assert told(steady, "SSUBSCRIBE", still) == [[b"ssubscribe", still.encode(), 1]]
        for slot in range(1000, 1010):
            leaver = redpool.connect()
            told(leaver, "SSUBSCRIBE", key_in(slot))
            cluster.begin_move(slot, two)
            assert two.command("CLUSTER", "SETSLOT", slot, "NODE", two.id) == b"OK"
            one.pause()
            # It finds both when it goes on, this one first.
            mover.send(encode("CLUSTER", "SETSLOT", slot, "NODE", two.id))
            leaver.close()
            eventually(lambda: len(redpool.show("CLIENTS")) == 1, what="the client being gone")
            one.resume()
            assert mover.read() == b"OK"
            assert one.command("SPUBLISH", still, str(slot)) == 1
            assert steady.read() == [b"smessage", still.encode(), str(slot).encode()]
    eventually(lambda: subscribers(cluster) == 0, what="the hubs being given back")
    assert "desync" not in redpool.log() and "pubsub.lost" not in redpool.log()
