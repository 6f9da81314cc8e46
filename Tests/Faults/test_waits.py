"""Commands that wait on some versions of the server: nobody else waits behind them."""

import os

import pytest

from harness.daemon import ROOT
from harness.ports import free_port
from harness.waiting import eventually
from harness.wire import encode

VALKEY = ROOT / ".servers" / "valkey-8"


def cluster(launch):
    """A primary of a cluster and its only replica."""
    ports = [free_port(), free_port()]
    primary, replica = [
        launch.server(
            "--cluster-enabled", "yes", "--cluster-port", str(port), "--cluster-node-timeout",
            "60000", "--repl-diskless-sync-delay", "0", binary=str(VALKEY),
        )
        for port in ports
    ]
    assert primary.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383") == b"OK"
    name = primary.command("CLUSTER", "MYID")
    assert replica.command("CLUSTER", "MEET", "127.0.0.1", primary.port, ports[0]) == b"OK"
    eventually(lambda: replica.command("CLUSTER", "REPLICATE", name) == b"OK")
    eventually(lambda: primary.command("CLUSTER", "REPLICAS", name), what="a replica of the cluster")
    eventually(lambda: "state=online" in primary.info("slave0"))
    return primary, replica, name


@pytest.mark.skipif(not os.access(VALKEY, os.X_OK), reason="scripts/install-servers fetches it")
def test_moving_a_slot_waits_for_a_replica(launch):
    """CLUSTER SETSLOT of Valkey 8. In MULTI it ends that server, 8.0.1, also without Redpool."""
    primary, replica, name = cluster(launch)
    redpool = launch.redpool(primary)
    move = ("CLUSTER", "SETSLOT", "5", "NODE", name, "TIMEOUT")
    with redpool.connect() as client, redpool.connect() as other:
        for one in (client, other):
            assert one.command("PING") == b"PONG"
        replica.pause()
        client.send(encode(*move, "60000"))
        eventually(lambda: b" cmd=cluster|setslot " in primary.command("CLIENT", "LIST"))
        for _ in range(5):
            assert other.command("PING") == b"PONG"
        client.close()
        eventually(lambda: b" cmd=cluster|setslot " not in primary.command("CLIENT", "LIST"))
