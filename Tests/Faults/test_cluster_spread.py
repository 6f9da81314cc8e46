"""Pipelines over several nodes: commands for one node share an entry in the queue of its upstream,
though commands for others are between them. What strikes one of them strikes no other.
"""

import random

import pytest

from harness.cluster import Cluster
from harness.middleman import PUSH, Middleman
from harness.waiting import eventually
from harness.wire import Closed, ErrorReply, encode

pytestmark = pytest.mark.daemon

ROUNDS = 5


@pytest.fixture(scope="module")
def cluster(keep):
    return keep.started(Cluster(replicas=0, front=Middleman))


@pytest.fixture
def client(launch, cluster):
    """It has a connection to each node, and so has the pool."""
    for node in cluster.nodes:
        node.middleman.disarm()
    cluster.settle()
    redpool = launch.redpool(None, pool=cluster.settings | {"onUpstreamLoss": "error"})
    client = launch.started(redpool.connect(60))
    for key in keys_of(cluster):
        eventually(lambda key=key: client.command("DEL", key) in (0, 1), what="the map")
    return client


def keys_of(cluster):
    """Of node a, b, c, a, b, c and so on, each in a slot of its own."""
    found = [cluster.keys_of(node, ROUNDS) for node in cluster.primaries]
    return [key for row in zip(*found, strict=True) for key in row]


def pipeline(keys) -> bytes:
    """The reply to each command is the number of its key."""
    return b"".join(encode("INCRBY", key, str(number)) for number, key in enumerate(keys))


@pytest.mark.parametrize("which", range(3 * ROUNDS))
@pytest.mark.parametrize("word", ["MOVED", "ASK", "TRYAGAIN"])
def test_one_of_many_is_refused(client, cluster, which, word):
    """It is sent again, and its reply comes at its place."""
    keys = keys_of(cluster)
    node = cluster.primaries[which % 3]
    rest = {"TRYAGAIN": "Multiple keys request during rehashing of slot"}.get(
        word, f"{slot(cluster, keys[which])} {node.address.host}:{node.address.port}")
    node.middleman.arm(keys[which].encode(), f"-{word} {rest}\r\n".encode())
    client.send(pipeline(keys))
    assert [client.read() for _ in keys] == list(range(len(keys)))
    assert node.middleman.seen[keys[which].encode()] >= 2


def slot(cluster, key) -> int:
    return cluster.primaries[0].command("CLUSTER", "KEYSLOT", key)


@pytest.mark.parametrize("which", range(3 * ROUNDS))
@pytest.mark.parametrize(
    "reply", [b"-WRONGTYPE odd\r\n", b"$2000\r\n" + 2000 * b"x" + b"\r\n", b"*1\r\n*1\r\n$-1\r\n"])
def test_one_of_many_has_an_unusual_reply(client, cluster, which, reply):
    keys = keys_of(cluster)
    cluster.primaries[which % 3].middleman.arm(keys[which].encode(), reply)
    client.send(pipeline(keys))
    for number in range(len(keys)):
        if number == which:
            assert client.read_raw() == reply
        else:
            assert client.read() == number


@pytest.mark.parametrize("which", range(0, 3 * ROUNDS, 3))
@pytest.mark.parametrize("kind", ["close", "reset", "last"])
def test_a_node_is_lost_amid_many(client, cluster, which, kind):
    """Who is answered, is; who is not, is told so at its place, and not executed twice."""
    keys = keys_of(cluster)
    cluster.primaries[0].middleman.arm(keys[which].encode(), kind)
    client.send(pipeline(keys))
    replies = []
    try:
        replies = [client.read() for _ in keys]
    except Closed:
        pytest.fail(f"closed behind {replies}")
    for number, reply in enumerate(replies):
        if number % 3 or number < which:
            assert reply == number
        elif isinstance(reply, ErrorReply):
            assert reply.startswith(b"UPSTREAMLOST "), reply
        else:
            assert reply == number
    nodes = cluster.primaries
    for number, key in enumerate(keys):
        assert int(nodes[number % 3].command("GET", key) or 0) in (0, number)


@pytest.mark.parametrize("odd", [PUSH, b"!oops\r\n"])
def test_a_push_or_garbage_amid_a_block(cluster, client, odd):
    """The replies to its members before that stay behind those to earlier commands."""
    [early], [key] = [cluster.keys_of(node, 1) for node in cluster.primaries[:2]]
    first, second = cluster.primaries[:2]
    assert client.command("HELLO", "3")[b"proto"] == 3
    for each in (early, key):
        assert client.command("GET", each) is None
    # Those to MULTI and to SET come at once, with something else behind them.
    second.middleman.arm(b"MULTI", "swallow")
    second.middleman.arm(b"one", b"+OK\r\n" + odd + b"+QUEUED\r\n")
    first.pause()
    client.send(encode("GET", early) + encode("MULTI") + encode("SET", key, "one")
                + encode("GET", key) + encode("EXEC") + encode("GET", early))
    eventually(lambda: second.middleman.struck, what="the push")
    first.resume()
    assert client.read() is None
    if odd == PUSH:
        assert [client.read() for _ in range(3)] == [b"OK", b"QUEUED", b"QUEUED"]
        assert len(client.read()) == 2
    else:
        for _ in range(4):
            assert client.read().startswith(b"UPSTREAMLOST ")
    assert client.read() is None


@pytest.mark.parametrize("seed", range(4))
def test_pipelines_of_everything(client, cluster, seed):
    """Silent commands, splits and scripts between commands with one key."""
    chance = random.Random(seed)
    keys = keys_of(cluster)
    values = dict.fromkeys(keys, 0)
    for key in keys:
        assert client.command("SET", key, "0") == b"OK"
    for _ in range(60):
        sent, expected = bytearray(), []
        for _ in range(chance.randrange(2, 40)):
            key, other = chance.sample(keys, 2)
            kind = chance.randrange(12)
            if kind == 0:
                sent += encode("CLIENT", "REPLY", "SKIP")
            if kind < 7:
                values[key] += 1
                sent += encode("INCR", key)
                expected += [] if kind == 0 else [values[key]]
            elif kind == 7:
                sent += encode("MGET", key, other)
                expected.append([str(values[each]).encode() for each in (key, other)])
            elif kind == 8:
                sent += encode("DEL", key, other) + encode("SET", key, "0")
                sent += encode("SET", other, "0")
                values[key] = values[other] = 0
                expected += [2, b"OK", b"OK"]
            elif kind == 9:
                values[key] += 5
                sent += encode("EVAL", "return redis.call('INCRBY', KEYS[1], 5)", "1", key)
                expected.append(values[key])
            elif kind == 10:
                sent += encode("LPUSH", key, "x")
                expected.append(ErrorReply(
                    b"WRONGTYPE Operation against a key holding the wrong kind of value"))
            else:
                size = chance.choice([10, 60, 1100, 20_000])
                sent += encode("SET", other, "0" * size) + encode("GET", other)
                sent += encode("SET", other, str(values[other]))
                expected += [b"OK", b"0" * size, b"OK"]
        client.send(bytes(sent))
        assert [client.read() for _ in expected] == expected
