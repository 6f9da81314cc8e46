"""Keys of pools in front of a cluster do at a reload what their class says. The clients are there
before."""

import pytest

from harness.cluster import Cluster
from harness.waiting import eventually
from harness.wire import Closed, ErrorReply

from reload_classes import key

pytestmark = pytest.mark.daemon
# Imported by test_reload_keys.
KEYS = ("cluster", "crossSlot", "clusterRefresh", "maxNodes", "clusterCommands", "announce", "reads",
        "maxReplicaLag")


@pytest.fixture(scope="module")
def cluster(keep):
    return keep.started(Cluster(2, replicas=0))


def start(launch, behind, **keys):
    """The daemon, whose map is known, and a client."""
    redpool = launch.redpool(None, pool=behind.settings | keys, console=True)
    eventually(lambda: row(redpool)["state"] != "unknown", what="the map")
    return redpool, redpool.connect()


def row(redpool) -> dict:
    [found] = redpool.show("CLUSTERS")
    return found


@key("cluster", "structural")
def test_cluster(launch, cluster):
    other = launch.started(Cluster(1, replicas=0))
    assert cluster.command("SET", "k", "first") == b"OK"
    assert other.command("SET", "k", "second") == b"OK"
    seeds = [node.address.text for node in cluster.nodes]
    redpool, client = start(launch, cluster, cluster=seeds[:1])
    assert client.command("GET", "k") == b"first"
    redpool.reload(cluster=seeds)
    assert client.command("GET", "k") == b"first"
    assert row(redpool)["version"] == 1, "the same cluster"
    redpool.reload(**other.settings)
    with pytest.raises((Closed, OSError)):
        client.command("GET", "k")
    eventually(lambda: row(redpool)["state"] == "whole", what="the other map")
    assert redpool.connect().command("GET", "k") == b"second"


@key("crossSlot", "live")
def test_cross_slot(launch, cluster):
    redpool, client = start(launch, cluster)
    assert client.command("MGET", "a", "b") == [None, None]
    redpool.reload(crossSlot="refuse")
    reply = client.command("MGET", "a", "b")
    assert isinstance(reply, ErrorReply) and reply.startswith(b"CROSSSLOT")


@key("clusterRefresh", "live")
def test_cluster_refresh(launch, cluster):
    def asked() -> int:
        return sum(
            int(text.partition("calls=")[2].partition(",")[0])
            for node in cluster.nodes
            for text in node.command("INFO", "commandstats").decode().splitlines()
            if text.startswith("cmdstat_cluster|nodes:"))

    redpool, _ = start(launch, cluster, clusterRefresh="1h")
    redpool.reload(clusterRefresh="1s")
    before = asked()
    # A view of the test's own is one of them.
    eventually(lambda: asked() >= before + 3, 30, what="questions each second")


@key("maxNodes", "live")
def test_max_nodes(launch, cluster):
    redpool, _ = start(launch, cluster, maxNodes=1)
    assert row(redpool)["state"] == "partial" and row(redpool)["nodes"] == 1
    redpool.reload(maxNodes=2)
    eventually(lambda: row(redpool)["state"] == "whole", what="both nodes")
    assert row(redpool)["nodes"] == 2


@key("clusterCommands", "live")
def test_cluster_commands(launch, cluster):
    redpool, client = start(launch, cluster)
    assert b"cluster_known_nodes:1" in client.command("CLUSTER", "INFO")
    redpool.reload(clusterCommands="off")
    assert client.command("CLUSTER", "INFO") == b"ERR This instance has cluster support disabled"


@key("announce", "live")
def test_announce(launch, cluster):
    redpool, client = start(launch, cluster)
    redpool.reload(announce="redis.example.com:6399")
    assert b"redis.example.com:6399" in client.command("CLUSTER", "NODES")


def calls(node) -> int:
    """How often a node has executed STRLEN."""
    text = node.command("INFO", "commandstats").decode().partition("cmdstat_strlen:calls=")[2]
    return int(text.partition(",")[0] or 0)


@pytest.fixture(scope="module")
def pair(keep):
    """A primary and its replica."""
    made = keep.started(Cluster(1, replicas=1))
    return made, made.replicas_of(made.primaries[0])[0]


def is_read(client, replica) -> bool:
    before = calls(replica)
    assert client.command("STRLEN", "k") == 0
    return calls(replica) > before


@key("reads", "live")
def test_reads(launch, pair):
    cluster, replica = pair
    redpool, client = start(launch, cluster)
    assert not is_read(client, replica)
    redpool.reload(reads="replica")
    eventually(lambda: is_read(client, replica), what="reads from the replica")
    redpool.reload(reads="client")
    assert not is_read(client, replica)
    assert client.command("READONLY") == b"OK"
    eventually(lambda: is_read(client, replica), what="reads from the replica")


@key("maxReplicaLag", "live")
def test_max_replica_lag(launch, pair):
    cluster, replica = pair
    redpool, client = start(launch, cluster, reads="replica")
    eventually(lambda: is_read(client, replica), what="reads from the replica")
    redpool.reload(maxReplicaLag="2s")
    [found] = [
        line for line in redpool.show("CONFIG", "pools.main")
        if line["key"].endswith(".maxReplicaLag")]
    assert found["value"] == "2s"
    assert is_read(client, replica)
