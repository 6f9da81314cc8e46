"""Long names and long messages on a hub: they harm nobody but those who asked for them."""

import pytest

from harness.waiting import eventually
from harness.wire import Closed, encode

pytestmark = pytest.mark.daemon
# What may wait for a listener: `clientOutputLimit`, and at least this.
LIMIT = 1 << 20


@pytest.fixture
def redpool(launch):
    return launch.redpool(
        launch.server(), pool={"pubsub": "shared", "clientOutputLimit": "64kb"}, console=True)


def subscribed(redpool, name, protocol=3):
    client = redpool.connect()
    client.command("HELLO", protocol)
    client.send(encode("SUBSCRIBE", name))
    assert client.read() == [b"subscribe", name, 1]
    return client


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_name_that_is_longer_than_the_output_limit(redpool, protocol):
    """Its confirmation is more than may wait for the client, which is closed; others stay."""
    neighbour = subscribed(redpool, b"news", protocol)
    long = b"x" * (2 << 20)
    with redpool.connect() as client:
        client.command("HELLO", protocol)
        client.send(encode("SUBSCRIBE", long))
        with pytest.raises(Closed):
            client.read()
    with redpool.connect() as other:
        eventually(lambda: other.command("PUBSUB", "CHANNELS") == [b"news"], what="its end")
        other.command("PUBLISH", "news", "m")
        assert neighbour.read() == [b"message", b"news", b"m"]
        # The hub goes on, with more subscriptions as well.
        neighbour.send(encode("SUBSCRIBE", "more"))
        assert neighbour.read() == [b"subscribe", b"more", 2]


def test_a_long_ping(redpool):
    neighbour = subscribed(redpool, b"news", 2)
    loud = subscribed(redpool, b"news", 2)
    loud.send(encode("PING", b"x" * (2 << 20)))
    with pytest.raises(Closed):
        loud.read()
    with redpool.connect() as other:
        other.command("PUBLISH", "news", "m")
        assert neighbour.read() == [b"message", b"news", b"m"]


@pytest.mark.parametrize("size", [LIMIT - 100, LIMIT + 100, 4 << 20, 20 << 20])
def test_a_long_message(redpool, size):
    """It closes those who would get it, if it is longer than what may wait for them."""
    listener, neighbour = subscribed(redpool, b"news"), subscribed(redpool, b"other")
    message = b"x" * size
    with redpool.connect() as other:
        assert other.command("PUBLISH", "news", message) == 1
        if size < LIMIT:
            assert listener.read() == [b"message", b"news", message]
        else:
            with pytest.raises(Closed):
                listener.read()
        other.command("PUBLISH", "other", "m")
        assert neighbour.read() == [b"message", b"other", b"m"]
