"""What cluster-aware clients, the console and the log say of a pool in front of a cluster."""

import os

import pytest
import redis

from harness.certificates import authority
from harness.cluster import Cluster, key_in, slot_of
from harness.ports import free_port
from harness.server import has_tls
from harness.servers import FOUND
from harness.waiting import eventually
from harness.wire import Connection, ErrorReply, encode

pytestmark = pytest.mark.daemon


@pytest.fixture(scope="module")
def cluster(keep):
    return keep.started(Cluster(replicas=0))


@pytest.fixture(scope="module")
def shared(keep, cluster):
    made = keep.redpool(None, pool=cluster.settings, console=True)
    cluster.wait_for_map(made)
    return made


@pytest.fixture
def redpool(shared, cluster):
    for node in cluster.nodes:
        assert node.command("FLUSHALL") == b"OK"
    return shared


def secret(folder, text):
    path = folder / "password"
    path.write_text(f"{text}\n")
    os.chmod(path, 0o600)
    return str(path)


# The cluster of one node


def aware(redpool, **options) -> redis.RedisCluster:
    return redis.RedisCluster(**redpool.tcp.redis_py, **options)


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_cluster_aware_client(redpool, cluster, protocol):
    client = aware(redpool, protocol=protocol)
    try:
        nodes = client.get_nodes()
        assert [(node.host, node.port) for node in nodes] == [(redpool.tcp.host, redpool.tcp.port)]
        for number in range(300):
            assert client.set(f"key:{number}", number)
        assert [client.get(f"key:{number}") for number in range(0, 300, 7)] == [
            str(number).encode() for number in range(0, 300, 7)]
        assert client.dbsize() == 300
        assert client.mget_nonatomic([f"key:{number}" for number in range(20)]) == [
            str(number).encode() for number in range(20)]
        assert len(list(client.scan_iter(count=50))) == 300
        with client.pipeline() as made:
            for number in range(50):
                made.incr(f"key:{number}")
            assert made.execute() == [number + 1 for number in range(50)]
        assert client.delete("key:1", "key:2") == 2
        assert {node.command("DBSIZE") > 0 for node in cluster.nodes} == {True}
    finally:
        client.close()


def test_a_cluster_aware_client_that_reads_from_replicas(redpool):
    """READONLY is answered, and changes nothing."""
    client = aware(redpool, read_from_replicas=True)
    try:
        assert client.set("k", "v") and client.get("k") == b"v"
    finally:
        client.close()


def test_one_node_has_all_slots(redpool):
    with redpool.connect() as client:
        [[first, last, node, *rest]] = client.command("CLUSTER", "SLOTS")
        assert (first, last, rest) == (0, 16_383, [])
        host, port, identity = node[:3]
        assert (host.decode(), port) == (redpool.tcp.host, redpool.tcp.port)
        assert len(identity) == 40
        assert client.command("CLUSTER", "MYID") == identity
        [line] = client.command("CLUSTER", "NODES").decode().splitlines()
        assert line.split()[0].encode() == identity and line.split()[-1] == "0-16383"
        assert "myself,master" in line and f"{redpool.tcp.host}:{redpool.tcp.port}@" in line
        info = dict(line.split(":") for line in client.command("CLUSTER", "INFO").decode().split())
        assert info["cluster_state"] == "ok" and info["cluster_slots_assigned"] == "16384"
        assert info["cluster_known_nodes"] == info["cluster_size"] == "1"
        for word in ("READONLY", "READWRITE", "ASKING"):
            assert client.command(word) == b"OK"


def test_a_unix_socket_has_no_host(redpool):
    with Connection(redpool.unix) as client:
        [[_, _, node, *_]] = client.command("CLUSTER", "SLOTS")
        assert not node[0]


def test_another_address_is_announced(launch, redpool, cluster):
    pool = cluster.settings | {"announce": "cache.example.com:7000"}
    redpool = launch.redpool(None, pool=pool)
    with redpool.connect() as client:
        [[_, _, node, *_]] = client.command("CLUSTER", "SLOTS")
        assert node[:2] == [b"cache.example.com", 7000]


def test_questions_about_slots(redpool, cluster):
    with redpool.connect() as client:
        for key in ("a", "{t}a", "x{}", "", "k" * 1_000):
            assert client.command("CLUSTER", "KEYSLOT", key) == slot_of(key)
        for slot in (0, 6_000, 12_000, 16_383):
            key = key_in(slot)
            assert client.command("SET", key, "1") == b"OK"
            assert client.command("CLUSTER", "COUNTKEYSINSLOT", slot) == 1
            assert client.command("CLUSTER", "GETKEYSINSLOT", slot, 10) == [key.encode()]
        for words in (("COUNTKEYSINSLOT", "16384"), ("COUNTKEYSINSLOT", "x"), ("KEYSLOT",),
                      ("COUNTKEYSINSLOT",), ("GETKEYSINSLOT", "1")):
            assert client.command("CLUSTER", *words) == cluster.nodes[0].command("CLUSTER", *words)


def test_the_cluster_is_not_changed_from_here(redpool, cluster):
    before = [node.claim() for node in cluster.nodes]
    with redpool.connect() as client:
        for words in (("FAILOVER",), ("RESET",), ("FORGET", "0" * 40), ("MEET", "127.0.0.1", "1"),
                      ("SETSLOT", "1", "STABLE"), ("DELSLOTS", "1"), ("FLUSHSLOTS",)):
            reply = client.command("CLUSTER", *words)
            wanted = f"ERR CLUSTER {words[0]} is refused by Redpool: send it to the node itself"
            assert reply == wanted.encode(), reply
    assert [node.claim() for node in cluster.nodes] == before


def test_without_an_emulated_cluster(launch, redpool, cluster):
    redpool = launch.redpool(None, pool=cluster.settings | {"clusterCommands": "off"})
    cluster.wait_for_map(redpool)
    with redpool.connect() as client:
        for words in (("SLOTS",), ("NODES",), ("INFO",), ("KEYSLOT", "k")):
            reply = client.command("CLUSTER", *words)
            assert reply == b"ERR This instance has cluster support disabled", words
        assert client.command("SET", "k", "v") == b"OK"


# Seeds, passwords, TLS


def test_one_seed_is_enough(launch, cluster):
    pool = cluster.settings
    seeds = [f"{'rediss://' if cluster.is_tls else ''}127.0.0.1:{free_port()}", pool["cluster"][2]]
    redpool = launch.redpool(None, pool=pool | {"cluster": seeds})
    cluster.wait_for_map(redpool)


def test_no_seed_answers(launch):
    pool = {"cluster": [f"127.0.0.1:{free_port()}" for _ in range(2)], "poolTimeout": "1s"}
    redpool = launch.redpool(None, pool=pool)
    with redpool.connect() as client:
        reply = client.command("GET", "k")
        assert isinstance(reply, ErrorReply)
        assert reply.startswith(
            b"UPSTREAMDOWN pool main: the cluster's map is not known, last error: "), reply
        assert b"Connection refused" in reply, reply


def test_a_seed_that_is_no_cluster(launch):
    server = launch.server()
    pool = {"cluster": [server.address.text], "poolTimeout": "1s"}
    if server.address.tls:
        pool["tlsCaFile"] = authority().file
    redpool = launch.redpool(None, pool=pool)
    wanted = (b"UPSTREAMDOWN pool main: the cluster's map is not known, last error: CLUSTER NODES: "
              b"ERR This instance has cluster support disabled")
    with redpool.connect() as client:
        eventually(lambda: client.command("GET", "k") == wanted, what=wanted)


def test_a_cluster_that_comes_later(launch):
    """The daemon is there first; then the nodes start, and then they become a cluster."""
    made = launch.started(Cluster(replicas=0))
    for node in made.nodes:
        node.stop()
    redpool = launch.redpool(None, pool=made.settings | {"poolTimeout": "60s"})
    with redpool.connect(60) as client:
        client.send(encode("SET", "k", "v"))
        for node in made.nodes:
            node.start()
        made.wait_ok()
        assert client.read() == b"OK"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_passwords(launch, tmp_path, tls):
    if tls and not has_tls(FOUND[0].path):
        pytest.skip("the server has no TLS")
    made = launch.started(Cluster(replicas=0, password="of-servers", tls=tls))
    pool = made.settings | {"passwordFile": secret(tmp_path, "of-servers"), "poolTimeout": "2s"}
    redpool = launch.redpool(None, pool=pool, console=True)
    with redpool.connect() as client:
        for slot in (0, 8_000, 16_383):
            key = key_in(slot)
            eventually(lambda: client.command("SET", key, "1") == b"OK", what="a map")
        assert client.command("DBSIZE") == 3
    if tls:
        assert {row["tls"] for row in redpool.show("UPSTREAMS")} == {"TLSv1.3"}
    assert "of-servers" not in redpool.log()
    other = tmp_path / "other"
    other.mkdir()
    wrong = launch.redpool(None, pool=pool | {"passwordFile": secret(other, "nonsense")})
    with wrong.connect() as client:
        reply = client.command("GET", "k")
        assert isinstance(reply, ErrorReply), reply
    assert "nonsense" not in wrong.log() and "WRONGPASS" in wrong.log()


# What the operator sees


def test_nodes(redpool, cluster):
    rows = redpool.show("NODES")
    assert {row["node"] for row in rows} == {repr(node) for node in cluster.nodes}
    assert {row["pool"] for row in rows} == {"main"}
    slots = {row["node"]: row["slots"] for row in rows}
    for node in cluster.nodes:
        served = node.claim().slots
        assert str(slots[repr(node)]) in (f"{min(served)}-{max(served)}", str(len(served))), slots


def test_upstream_that_is_a_node_is_told_once(launch, cluster):
    redpool = launch.redpool(cluster.nodes[0])
    with redpool.connect() as client:
        key = cluster.keys_of(cluster.nodes[1], 1)[0]
        eventually(lambda: client.command("GET", key).startswith(b"MOVED "), what="MOVED")
    words = "upstream is a node of a cluster: use cluster"
    eventually(lambda: words in redpool.log(), what=words)
    with redpool.connect() as client:
        assert client.command("GET", key).startswith(b"MOVED ")
    assert redpool.log().count(words) == 1
