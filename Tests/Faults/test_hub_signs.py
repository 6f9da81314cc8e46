"""What a client can say or make a server say that looks like a failover: others go on listening."""

import pytest

from harness.waiting import eventually
from harness.wire import ErrorReply

pytestmark = pytest.mark.daemon


@pytest.mark.parametrize("words", [
    ("EVAL", "return redis.error_reply('READONLY made up')", "0"),
    ("EVAL", "return redis.error_reply('LOADING made up')", "0"),
    ("EVAL", "return redis.error_reply('MASTERDOWN made up')", "0"),
])
def test_a_script_that_makes_up_a_sign_costs_no_listener(launch, words):
    redpool = launch.redpool(launch.server(), pool={"pubsub": "shared"}, console=True)
    with redpool.connect() as listener, redpool.connect() as client:
        assert listener.command("SUBSCRIBE", "all") == [b"subscribe", b"all", 1]
        assert isinstance(client.command(*words), ErrorReply)
        # Whatever the sign costs, it has cost it by then.
        assert client.command("GET", "k") is None
        assert client.command("PUBLISH", "all", "one") == 1
        assert listener.read() == [b"message", b"all", b"one"]
    assert "event=pubsub.lost" not in redpool.log()


def test_a_replica_on_purpose_keeps_its_listeners(launch):
    """A client that writes there costs nobody else anything."""
    primary, replica = launch.server(), launch.server()
    replica.command("REPLICAOF", primary.tcp.host, str(primary.tcp.port))
    eventually(lambda: b"master_link_status:up" in replica.command("INFO", "replication"),
               what="replication")
    redpool = launch.redpool(replica, pool={"pubsub": "shared"}, console=True)
    with redpool.connect() as listener, redpool.connect() as client:
        assert listener.command("SUBSCRIBE", "all") == [b"subscribe", b"all", 1]
        for _ in range(3):
            assert client.command("SET", "k", "v").startswith(b"READONLY ")
        assert primary.command("PUBLISH", "all", "one") == 0
        assert listener.read() == [b"message", b"all", b"one"]
