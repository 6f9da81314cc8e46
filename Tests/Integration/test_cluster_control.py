"""CLIENT UNBLOCK in front of a cluster: the server's ids of connections are one node's."""

import pytest

from harness.cluster import Cluster, spread
from harness.waiting import eventually
from harness.wire import ErrorReply, encode

pytestmark = pytest.mark.daemon


@pytest.fixture(scope="module")
def cluster(keep):
    return keep.started(Cluster(replicas=0))


@pytest.fixture(scope="module", params=[1, 3], ids="threads={}".format)
def redpool(request, keep, cluster):
    made = keep.redpool(None, pool=cluster.settings, settings={"threads": request.param})
    cluster.wait_for_map(made)
    return made


def blocked(client, key) -> int:
    """The id of a client that blocks for a key from now on."""
    number = client.command("CLIENT", "ID")
    client.send(encode("BLPOP", key, "60"))
    return number


def unblock(client, number):
    """It is not in the node's queue yet when the client has sent its command."""
    words = ("CLIENT", "UNBLOCK", number, "ERROR")
    eventually(lambda: client.command(*words) == 1, what="a client unblocked")


def is_unblocked(client) -> bool:
    reply = client.read()
    return isinstance(reply, ErrorReply) and reply.startswith(b"UNBLOCKED ")


def test_clients_of_all_nodes_are_unblocked(redpool):
    others = [redpool.connect() for _ in range(4)]
    for key in spread(6):
        with redpool.connect() as client:
            for other in others:
                number = blocked(client, key)
                unblock(other, number)
                assert is_unblocked(client)
                assert other.command("CLIENT", "UNBLOCK", number) == 0


def test_no_other_client_is_unblocked(redpool):
    """The ids of two nodes are often the same."""
    clients = [redpool.connect() for _ in range(30)]
    numbers = [blocked(client, key) for client, key in zip(clients, spread(30))]
    with redpool.connect() as other:
        for client, number in zip(clients, numbers):
            unblock(other, number)
            assert is_unblocked(client)


def test_a_client_with_a_state_unblocks_on_its_node_alone(redpool):
    here, there = spread(2)
    with redpool.connect() as client, redpool.connect() as another:
        assert client.command("WATCH", here) == b"OK"
        number = blocked(another, there)
        assert client.command("CLIENT", "UNBLOCK", number) == 0
        assert client.command("UNWATCH") == b"OK"
        unblock(client, number)
        assert is_unblocked(another)
        assert client.command("WATCH", here) == b"OK"
        number = blocked(another, here)
        unblock(client, number)
        assert is_unblocked(another)
