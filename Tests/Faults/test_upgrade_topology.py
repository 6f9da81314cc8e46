"""An upgrade in place behind Sentinels and in front of a cluster: nobody waits for the first map."""

import contextlib

import pytest

from harness.cluster import Cluster
from harness.sentinels import Watched
from harness.waiting import eventually
from harness.wire import encode
from upgrades import upgrade

pytestmark = [pytest.mark.daemon, pytest.mark.plain, pytest.mark.long]
BOTH = pytest.mark.parametrize("threads", [1, 2])


@pytest.fixture(scope="module")
def three(keep):
    return keep.started(Cluster(replicas=0))


@pytest.fixture(scope="module")
def watched(keep):
    return keep.started(Watched())


@BOTH
def test_state_on_every_node_stays(launch, three, threads):
    three.settle()
    redpool = launch.redpool(
        None, pool=three.settings | {"pubsub": "shared"}, console=True,
        settings={"threads": threads})
    three.wait_for_map(redpool)
    with contextlib.ExitStack() as stack:
        def connect():
            return stack.enter_context(redpool.connect())

        keys = [three.keys_of(node, 1)[0].encode() for node in three.primaries]
        blocked = [connect() for _ in keys]
        multis = [connect() for _ in keys]
        empty, watcher, listener, sharded, other = (connect() for _ in range(5))
        for key, client in zip(keys, blocked):
            client.send(encode("BLPOP", b"list " + key, 0))
        for node in three.primaries:
            eventually(lambda: node.info("blocked_clients") == "1")
        for key, client in zip(keys, multis):
            assert client.command("MULTI") == b"OK"
            assert client.command("INCR", key) == b"QUEUED"
        assert empty.command("MULTI") == b"OK"
        assert watcher.command("WATCH", keys[0]) == b"OK"
        assert listener.command("SUBSCRIBE", "c") == [b"subscribe", b"c", 1]
        assert sharded.command("SSUBSCRIBE", keys[1]) == [b"ssubscribe", keys[1], 1]
        number = other.command("CLIENT", "ID")
        for _ in range(2):
            said = upgrade(redpool)
            assert "(3 blocked, 2 subscribed)" in said, said
        assert other.command("CLIENT", "ID") == number
        for key, client in zip(keys, multis):
            assert client.command("INCR", key) == b"QUEUED"
            assert client.command("EXEC") == [1, 2]
        assert empty.command("SET", keys[2], "7") == b"QUEUED"
        assert empty.command("EXEC") == [b"OK"]
        assert other.command("GET", keys[2]) == b"7"
        assert watcher.command("MULTI") == b"OK"
        assert watcher.command("GET", keys[0]) == b"QUEUED"
        assert watcher.command("EXEC") is None
        for key, client in zip(keys, blocked):
            name = b"list " + key
            assert other.command("RPUSH", name, "x") == 1
            assert client.read() == [name, b"x"]
        assert other.command("PUBLISH", "c", "m") == 1
        assert listener.read() == [b"message", b"c", b"m"]
        assert other.command("SPUBLISH", keys[1], "m") == 1
        assert sharded.read() == [b"smessage", keys[1], b"m"]
        for client, name in ((listener, "UNSUBSCRIBE"), (sharded, "SUNSUBSCRIBE")):
            assert client.command(name)[2] == 0
            assert client.command("PING") == b"PONG"


def test_a_scan_goes_on(launch, three):
    """Cursors name nodes by numbers that this process has given."""
    three.settle()
    redpool = launch.redpool(None, pool=three.settings, console=True)
    three.wait_for_map(redpool)
    keys = {key.encode() for node in three.primaries for key in three.keys_of(node, 100)}
    with redpool.connect() as client:
        for key in keys:
            assert client.command("SET", key, "1") == b"OK"
        found, cursor = set(), b"0"
        while True:
            cursor, some = client.command("SCAN", cursor, "COUNT", 20)
            found.update(some)
            upgrade(redpool)
            if cursor == b"0":
                break
        assert found == keys


@BOTH
def test_the_primary_is_known(launch, watched, threads):
    """Without the Sentinels, which are asked again later, and after a failover before them."""
    redpool = launch.redpool(
        None, pool=watched.settings | {"pubsub": "shared"}, console=True,
        settings={"threads": threads})
    with contextlib.ExitStack() as stack:
        client, blocked, multi, listener = (
            stack.enter_context(redpool.connect()) for _ in range(4))
        eventually(lambda: client.command("PING") == b"PONG")
        blocked.send(encode("BLPOP", "list", 0))
        eventually(lambda: watched.primary.info("blocked_clients") == "1")
        assert multi.command("MULTI") == b"OK"
        assert multi.command("PING") == b"QUEUED"
        assert listener.command("SUBSCRIBE", "c") == [b"subscribe", b"c", 1]
        for sentinel in watched.sentinels:
            sentinel.pause()
        try:
            assert "(1 blocked, 1 subscribed)" in upgrade(redpool)
            assert client.command("SET", "a", "1") == b"OK"
            assert multi.command("EXEC") == [b"PONG"]
            assert client.command("RPUSH", "list", "x") == 1
            assert blocked.read() == [b"list", b"x"]
            assert client.command("PUBLISH", "c", "m") == 1
            assert listener.read() == [b"message", b"c", b"m"]
            assert listener.command("UNSUBSCRIBE") == [b"unsubscribe", b"c", 0]
        finally:
            for sentinel in watched.sentinels:
                sentinel.resume()
        watched.failover()
        eventually(lambda: client.command("SET", "a", "2") == b"OK")
        assert client.command("GET", "a") == b"2" == watched.primary.command("GET", "a")
