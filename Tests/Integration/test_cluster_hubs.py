"""`pubsub: shared` in front of a cluster: channels on one node for each worker, shard channels on
those of their slots."""

import contextlib

import pytest

from harness.cluster import Cluster, key_in
from harness.waiting import eventually
from harness.wire import ErrorReply, encode

pytestmark = pytest.mark.daemon


@pytest.fixture(scope="module")
def cluster(keep):
    return keep.started(Cluster(3, replicas=0))


def start(launch, cluster, **pool):
    redpool = launch.redpool(None, pool=cluster.settings | {"pubsub": "shared"} | pool, console=True)
    cluster.wait_for_map(redpool)
    return redpool


def subscribers(cluster):
    return sum(
        len(node.command("CLIENT", "LIST", "TYPE", "pubsub").decode().splitlines())
        for node in cluster.nodes)


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
