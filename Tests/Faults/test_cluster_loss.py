"""A cluster that loses a node, a slot or the link to one of them."""

import os
import signal

import pytest

from harness.cluster import Cluster, slot_of, spread
from harness.ledger import Ledger
from harness.tasks import halt
from harness.waiting import eventually
from harness.wire import Connection, ErrorReply, encode

pytestmark = [pytest.mark.daemon, pytest.mark.long]


@pytest.fixture
def slack(full):
    """What a loaded machine may add to a deadline, in seconds; at the full size it is quiet."""
    return 0.0 if full else 8.0


def start(launch, cluster, **pool):
    """The daemon, when it serves keys of every node."""
    redpool = launch.redpool(None, pool=cluster.settings | pool, console=True)
    cluster.wait_for_map(redpool)
    return redpool


@pytest.fixture(scope="module")
def three(keep):
    """Three primaries without replicas. The others serve their slots when one is gone."""
    made = keep.started(Cluster(replicas=0))
    made.configure("cluster-require-full-coverage", "no")
    return made


@pytest.fixture
def bare(three):
    three.settle()
    three.configure("cluster-require-full-coverage", "no")
    return three


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_a_dead_node_does_not_disturb_the_others(launch, bare, how, slack):
    redpool = start(
        launch, bare, poolTimeout="2s", connectTimeout="1s", commandTimeout="2s",
        onUpstreamLoss="error")
    victim, *others = bare.primaries
    [lost] = bare.keys_of(victim, 1)
    keys = [key for node in others for key in bare.keys_of(node, 10)]
    with Ledger(redpool.tcp, keys) as ledger, redpool.connect(60) as client:
        assert client.command("SET", lost, "1") == b"OK"
        if how == "kill":
            victim.stop(signal.SIGKILL)
        else:
            victim.pause()
        ledger.longest = [0.0] * len(keys)
        client.send(encode("GET", lost))
        reply = client.read()
        assert isinstance(reply, ErrorReply), reply
        # This client's connection is good for the rest.
        assert client.command("GET", keys[0]) is not None
        ledger.go_on()
        worst = max(ledger.longest)
        assert worst < 0.5 + slack, f"a client of another node waited {worst:.2f} s"
        if how == "kill":
            victim.start()
        else:
            victim.resume()
        bare.wait_ok()
        wanted = None if how == "kill" else b"1"
        eventually(lambda: client.command("GET", lost) == wanted, 60, what="the node being back")
        ledger.go_on()
    ledger.is_well()
    assert bare.values(keys) == ledger.rounds


def test_a_slot_that_nobody_serves(launch, bare):
    redpool = start(launch, bare, poolTimeout="1s")
    first, second, _ = bare.primaries
    [key] = bare.keys_of(first, 1)
    [other] = bare.keys_of(second, 1)
    for node in bare.nodes:
        assert node.command("CLUSTER", "DELSLOTS", slot_of(key)) == b"OK"
    try:
        with redpool.connect() as client:
            assert client.command("GET", key) == b"CLUSTERDOWN Hash slot not served"
            assert client.command("SET", other, "1") == b"OK"
            client.send(encode("GET", key) + encode("GET", other))
            assert client.read() == b"CLUSTERDOWN Hash slot not served"
            assert client.read() == b"1"
    finally:
        assert first.command("CLUSTER", "ADDSLOTS", slot_of(key)) == b"OK"
        bare.wait_ok()
    with redpool.connect() as client:
        eventually(lambda: client.command("SET", key, "1") == b"OK", what="the slot being back")


@pytest.fixture
def cut_off(launch):
    """A cluster of six whose first primary is on an island, and the island."""
    island = launch.island()
    here = {"host": island.gateway}
    places = {index: here for index in range(6)} | {0: {"island": island}}
    return launch.started(Cluster(tls=False, places=places)), island


def test_a_primary_that_is_cut_off_gets_no_more_writes(launch, cut_off):
    """It is alone on the other side of a cut, and still says that it has its slots when it is
    back."""
    cluster, island = cut_off
    old, (replica,) = cluster.nodes[0], cluster.replicas_of(cluster.nodes[0])
    redpool = start(launch, cluster, clusterRefresh="1s", poolTimeout="30s", commandTimeout="2s")
    keys = spread(30)
    hit = {index for index, key in enumerate(keys) if cluster.owner(slot_of(key)) is old}
    with Ledger(redpool.tcp, keys) as ledger:
        island.cut("both")
        eventually(lambda: replica.claim().is_primary, 60, what="a replica in its place")
        ledger.go_on()
        assert {index for index, _ in ledger.errors} <= hit, ledger.errors[:3]
        before = list(ledger.unknown), len(ledger.errors)
        island.mend()
        cluster.wait_ok()
        assert not old.claim().is_primary
        ledger.go_on()
        assert before == (ledger.unknown, len(ledger.errors))
    for value, acknowledged, unknown in zip(
            cluster.values(keys), ledger.rounds, ledger.unknown):
        assert value <= acknowledged + unknown


def test_with_the_minority_the_map_stays(launch, cut_off):
    """The daemon is on the island, alone with one primary, while writes go on elsewhere."""
    cluster, island = cut_off
    old, (replica,) = cluster.nodes[0], cluster.replicas_of(cluster.nodes[0])
    [key] = cluster.keys_of(old, 1)
    other = next(key for key in spread(3) if cluster.owner(slot_of(key)) is not old)
    pool = cluster.settings | {
        "poolTimeout": "1s", "connectTimeout": "1s", "commandTimeout": "2s", "onUpstreamLoss": "error"}
    redpool = launch.redpool(None, pool=pool, console=True, prefix=island.prefix)

    with Connection(redpool.unix, timeout=60) as client:
        def served():
            return {row["node"]: row["slots"] for row in redpool.show("NODES") if row["slots"]}

        for one in (key, other):
            eventually(lambda: client.command("SET", one, "before") == b"OK", what="a map")
        before = served()
        assert len(before) == 3
        island.cut("both")
        eventually(lambda: replica.claim().is_primary, 60, what="a replica in its place")
        assert replica.command("SET", key, "meanwhile") == b"OK"
        # The primary here knows that it is in the minority.
        reply = client.command("SET", key, "lost")
        assert isinstance(reply, ErrorReply) and reply.startswith(b"CLUSTERDOWN "), reply
        reply = client.command("GET", other)
        assert isinstance(reply, ErrorReply), reply
        assert served() == before
        island.mend()
        cluster.wait_ok()
        eventually(lambda: client.command("GET", key) == b"meanwhile", 60, what="the new primary")
        assert client.command("GET", other) == b"before"
        assert served() != before


def test_commands_that_were_never_written_are_sent_again(launch, bare):
    """The daemon reads them, and in the same turn of its loop the end of all its connections."""
    redpool = start(launch, bare)
    keys = spread(24)
    pid = redpool.process.pid
    with redpool.connect(60) as client:
        for round in range(1, 21):
            halt(redpool.process)
            try:
                client.send(b"".join(encode("INCR", key) for key in keys))
                for node in bare.primaries:
                    node.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            finally:
                os.kill(pid, signal.SIGCONT)
            assert [client.read() for _ in keys] == [round] * len(keys)
