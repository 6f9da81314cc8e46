"""What was published before a subscriber leaves comes before the answer to its last command."""

import pytest

from harness.laggard import Laggard
from harness.wire import Closed, encode

pytestmark = pytest.mark.daemon

# What a client listens by, and how a message looks that is behind it.
WAYS = {
    "SUBSCRIBE": (["SUBSCRIBE", "c"], [b"message", b"c", b"m"]),
    "PSUBSCRIBE": (["PSUBSCRIBE", "?"], [b"pmessage", b"?", b"c", b"m"]),
}


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("last", ["QUIT", "RESET"])
@pytest.mark.parametrize("mode", ["pinned", "shared"])
def test_a_message_comes_before_the_end(launch, mode, last, way, protocol):
    server = launch.server()
    # What the server sends takes longer than what the client does.
    late = launch.started(Laggard(server, delays=(0.05,)))
    redpool = launch.redpool(late, pool={"pubsub": mode})
    command, message = WAYS[way]
    with redpool.connect() as client:
        client.command("HELLO", str(protocol))
        client.command(*command)
        assert server.command("PUBLISH", "c", "m") == 1
        client.send(encode(last))
        assert client.read() == message
        assert client.read() == (b"OK" if last == "QUIT" else b"RESET")
        if last == "QUIT":
            with pytest.raises(Closed):
                client.read()
        else:
            assert client.command("PING") == b"PONG"
        assert server.command("PUBLISH", "c", "m") == 0
