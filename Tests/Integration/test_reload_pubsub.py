"""`pubsub` and `pubsubLoss` at a reload: subscriptions stay where they are, new ones follow."""

import pytest

from harness.waiting import eventually
from harness.wire import Closed, encode

from reload_classes import key

pytestmark = pytest.mark.daemon
KEYS = ("pubsub", "pubsubLoss")


def subscribed(redpool, *channels):
    client = redpool.connect()
    client.send(encode("SUBSCRIBE", *channels))
    for number, channel in enumerate(channels, 1):
        assert client.read() == [b"subscribe", channel.encode(), number]
    return client


def subscribers(server):
    """The server's connections with subscriptions."""
    return sum("sub=0 psub=0" not in line
               for line in server.command("CLIENT", "LIST", "TYPE", "pubsub").decode().splitlines())


@key("pubsub", "live")
def test_pubsub(launch):
    server = launch.server()
    redpool = launch.redpool(server)
    first = [subscribed(redpool, "news") for _ in range(3)]
    assert subscribers(server) == 3
    redpool.reload(pubsub="shared")
    second = [subscribed(redpool, "news") for _ in range(5)]
    assert subscribers(server) == 4
    assert server.command("PUBLISH", "news", "one") == 4
    for client in first + second:
        assert client.read() == [b"message", b"news", b"one"]
    redpool.reload(pubsub="pinned")
    third = [subscribed(redpool, "news") for _ in range(2)]
    assert subscribers(server) == 6
    # Those that are shared go on so, with more of them as well.
    second[0].send(encode("SUBSCRIBE", "other"))
    assert second[0].read() == [b"subscribe", b"other", 2]
    assert subscribers(server) == 6
    assert server.command("PUBLISH", "news", "two") == 6
    for client in first + second + third:
        assert client.read() == [b"message", b"news", b"two"]
    for client in second:
        client.close()
    eventually(lambda: subscribers(server) == 5, what="the hub being given back")


@key("pubsubLoss", "live")
def test_pubsub_loss(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool={"pubsub": "shared"})
    client = subscribed(redpool, "news")
    redpool.reload(pubsubLoss="resubscribe")
    assert server.command("CLIENT", "KILL", "TYPE", "pubsub") == 1
    eventually(lambda: server.command("PUBLISH", "news", "again") == 1, what="the hub")
    assert client.read() == [b"message", b"news", b"again"]
    redpool.reload(pubsubLoss="close")
    assert server.command("CLIENT", "KILL", "TYPE", "pubsub") == 1
    with pytest.raises(Closed):
        client.read()
