"""`pubsub: shared` on servers of other versions: what they word, clients get."""

import pytest

from harness.servers import FOUND
from harness.wire import Connection, encode

pytestmark = pytest.mark.daemon
ENDS = (b"end", [b"pong", b"end"])


def answers(address, protocol, commands):
    """What a client gets for all commands, and for a PING behind them."""
    with Connection(address) as client:
        client.command("HELLO", protocol)
        client.send(b"".join(encode(*words) for words in commands) + encode("PING", "end"))
        found = [client.read()]
        while found[-1] not in ENDS:
            found.append(client.read())
    return found


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("server", FOUND, ids=str)
def test_shard_channels_that_the_server_may_not_have(launch, server, protocol):
    """Redis 6.2 quotes the name as the client has written it."""
    target = launch.server(binary=server.path)
    redpool = launch.redpool(target, pool={"pubsub": "shared"})
    commands = [["Ssubscribe", "a"], ["SUBSCRIBE", "x"], ["sSUBSCRIBE", "a"],
                ["SUNSUBSCRIBE", "a"], ["GET", "k"]]
    expected = answers(target.tcp, protocol, commands)
    assert answers(redpool.tcp, protocol, commands) == expected
