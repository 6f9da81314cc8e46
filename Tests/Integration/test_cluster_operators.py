"""What operators see of a pool in front of a real cluster."""

import urllib.request

import pytest

from harness.cluster import Cluster
from harness.daemon import run_cli, yaml
from harness.ports import free_port
from harness.waiting import eventually
from harness.wire import ErrorReply

pytestmark = pytest.mark.daemon


@pytest.fixture(scope="module")
def cluster(keep):
    return keep.started(Cluster(2, replicas=1))


def online(folder, keys):
    """The exit code, and the lines about the pool."""
    path = folder / "cluster.yaml"
    path.write_text(yaml({"pools": {"big": {"listen": f"127.0.0.1:{free_port()}"} | keys}}))
    done = run_cli("check", "--online", path)
    return done.returncode, [
        line.removeprefix("pool big: ") for line in done.stderr.splitlines()[:-1]]


def test_check_online(cluster, tmp_path):
    first = cluster.nodes[0].address.text
    code, lines = online(tmp_path, cluster.settings | {"cluster": [first]})
    assert code == 0, lines
    assert "the cluster has 4 nodes, 2 of them primaries; 16384 of 16384 slots have an owner" in lines
    assert "3 more nodes can be reached" in lines
    code, lines = online(tmp_path, cluster.settings | {"cluster": [first], "maxNodes": 3})
    assert code != 0
    assert "maxNodes (3) is less than the nodes of the cluster (4)" in lines


def test_check_online_finds_what_is_missing(launch, cluster, tmp_path):
    plain = launch.server()
    code, lines = online(tmp_path, {"cluster": [plain.tcp.text]})
    assert code != 0
    assert any("CLUSTER NODES: ERR This instance has cluster support disabled" in line
               for line in lines), lines
    assert lines[-1] == "no node says who serves which slot"
    if cluster.is_tls:
        return
    for node in cluster.nodes:
        node.command("ACL", "SETUSER", "default", "-readonly")
    try:
        code, lines = online(tmp_path, cluster.settings)
        assert code != 0 and any("refuses READONLY: NOPERM" in line for line in lines), lines
    finally:
        for node in cluster.nodes:
            node.command("ACL", "SETUSER", "default", "+readonly")


def test_console_status_and_page(launch, cluster):
    page = f"127.0.0.1:{free_port()}"
    redpool = launch.redpool(None, pool=cluster.settings, settings={"http": {"listen": page}},
                             console=True)
    cluster.wait_for_map(redpool)
    [row] = redpool.show("CLUSTERS")
    assert (row["state"], row["slots_ok"], row["nodes"], row["down"]) == ("whole", 16384, 4, 0)
    assert row["error"] is None and row["version"] >= 1
    nodes = {row["node"]: row for row in redpool.show("NODES")}
    assert set(nodes) == {node.address.place for node in cluster.nodes}
    for node in cluster.primaries:
        row = nodes[node.address.place]
        assert row["role"] == "primary" and row["id"] == node.id
        assert row["slots"] == len(node.claim().slots) and row["open"] >= 1
    replica = cluster.replicas_of(cluster.primaries[0])[0]
    row = nodes[replica.address.place]
    assert row["role"] == "replica" and row["primary"] == cluster.primaries[0].address.place
    assert row["slots"] == 0
    with urllib.request.urlopen(f"http://{page}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    assert 'redpool_cluster_slots_covered{pool="main"} 16384' in text
    with urllib.request.urlopen(f"http://{page}/readyz", timeout=20) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(f"http://{page}/", timeout=20) as answer:
        assert "Clusters" in answer.read().decode()


def test_failover_is_seen(launch):
    # With two primaries nobody could vote.
    cluster = launch.started(Cluster(3, replicas=1))
    pool = cluster.settings | {"clusterRefresh": "1s"}
    redpool = launch.redpool(None, pool=pool, console=True)
    cluster.wait_for_map(redpool)
    old = cluster.primaries[0]
    new = cluster.kill_primary(old)
    eventually(lambda: redpool.show("CLUSTERS")[0]["failovers"] == 1, 30, what="the failover")
    eventually(lambda: redpool.show("CLUSTERS")[0]["down"] == 1, 30, what="the node that is down")
    rows = {row["node"]: row for row in redpool.show("NODES")}
    assert rows[old.address.place]["state"] == "down" and rows[old.address.place]["last_error"]
    assert rows[new.address.place]["role"] == "primary" and rows[new.address.place]["slots"] > 0
    [line] = [line for line in redpool.log().splitlines() if "event=failover" in line]
    assert f"primary={new.address.place}" in line and f"old={old.address.place}" in line
    assert any("event=node.down" in line for line in redpool.log().splitlines())
    old.start()
    eventually(lambda: redpool.show("CLUSTERS")[0]["down"] == 0, 60, what="the node is back")


def test_without_a_map_clients_are_told_why(launch):
    plain = launch.server()
    redpool = launch.redpool(None, pool={"cluster": [plain.tcp.text]}, console=True)
    client = redpool.connect()
    reply = client.command("GET", "k")
    assert isinstance(reply, ErrorReply)
    assert reply == (
        b"UPSTREAMDOWN pool main: the cluster's map is not known, last error: "
        b"CLUSTER NODES: ERR This instance has cluster support disabled")
    [row] = redpool.show("CLUSTERS")
    assert row["state"] == "unknown"
    assert row["error"] == "CLUSTER NODES: ERR This instance has cluster support disabled"
    assert any("event=cluster.unknown" in line for line in redpool.log().splitlines())
