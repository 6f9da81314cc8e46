"""Replies that count subscribers, with `pubsub: shared`: clients count, and not the connections
that they share."""

import random

import pytest

from harness.waiting import eventually
from harness.wire import encode

pytestmark = pytest.mark.daemon


def subscribed(client, verb, *names):
    client.send(encode(verb, *names))
    for _ in names:
        client.read()


@pytest.mark.parametrize("threads", [1, 2])
def test_clients_count(launch, threads):
    server = launch.server()
    redpool = launch.redpool(server, pool={"pubsub": "shared"}, settings={"threads": threads})
    clients = [redpool.connect() for _ in range(9)]
    for index, client in enumerate(clients):
        if index % 2:
            client.command("HELLO", 3)
        subscribed(client, "SUBSCRIBE", "a", f"own{index}")
        subscribed(client, "SSUBSCRIBE", "s")
    for client in clients[:4]:
        subscribed(client, "PSUBSCRIBE", "a*")
    other = redpool.connect()
    eventually(lambda: other.command("PUBLISH", "a", "m") == 13, what="all clients being counted")
    assert other.command("PUBLISH", "ab", "m") == 4
    assert other.command("PUBLISH", "own3", "m") == 1
    assert other.command("PUBLISH", "b", "m") == 0
    assert other.command("SPUBLISH", "s", "m") == 9
    assert other.command("PUBSUB", "NUMSUB", "a", "own1", "b") == [b"a", 9, b"own1", 1, b"b", 0]
    assert other.command("PUBSUB", "SHARDNUMSUB", "s", "a") == [b"s", 9, b"a", 0]
    assert other.command("PUBSUB", "NUMPAT") == 1
    assert other.command("PUBSUB", "NUMSUB") == []
    for client in clients[:3]:
        client.close()
    eventually(lambda: other.command("PUBLISH", "a", "m") == 7, what="those that left")
    # Their order is that of the members of a transaction, where the server's number stands.
    other.send(encode("PUBLISH", "a", "m") * 3 + encode("PUBLISH", "a") + encode("PING"))
    assert [other.read() for _ in range(3)] == [7] * 3
    assert b"wrong number of arguments" in other.read()
    assert other.read() == b"PONG"


@pytest.mark.parametrize("seed", [1])
def test_patterns_match_as_the_server_matches(launch, seed, full):
    """Two clients share each pattern: each counts."""
    rng = random.Random(seed)
    server = launch.server()
    redpool = launch.redpool(server, pool={"pubsub": "shared"})
    one, two, other = redpool.connect(), redpool.connect(), redpool.connect()
    letters = "ab*?[]^-\\\x7f\xe9"

    def text(most):
        return "".join(rng.choice(letters) for _ in range(rng.randint(1, most))).encode("latin-1")

    for _ in range(1000 if full else 100):
        patterns = list({text(8) for _ in range(10)})
        for client in (one, two):
            subscribed(client, "PSUBSCRIBE", *patterns)
        for _ in range(10):
            name = text(6)
            alone = server.command("PUBLISH", name, "m")
            assert other.command("PUBLISH", name, "m") == 2 * alone, (patterns, name)
        for client in (one, two):
            client.send(encode("PUNSUBSCRIBE"))
            ends = 0
            while ends < len(patterns):
                ends += client.read()[0] == b"punsubscribe"


def test_clients_with_an_upstream_of_their_own_count_as_others_do(launch):
    redpool = launch.redpool(launch.server(), pool={"pubsub": "shared"})
    listeners = [redpool.connect() for _ in range(2)]
    for listener in listeners:
        subscribed(listener, "SUBSCRIBE", "c")
    holder = redpool.connect()
    holder.command("HELLO", 3)
    assert holder.command("CLIENT", "TRACKING", "ON") == b"OK"
    assert holder.command("PUBLISH", "c", "m") == 2
    assert holder.command("PUBSUB", "NUMSUB", "c") == [b"c", 2]
    # In a transaction the server's number stands.
    assert holder.command("MULTI") == b"OK"
    assert holder.command("PUBLISH", "c", "m") == b"QUEUED"
    assert holder.command("EXEC") == [1]


def test_a_publish_when_the_own_hub_is_about_to_go(launch):
    """The new user's hub has nothing of the client: what it is told of is on that of the old one."""
    server = launch.server()
    server.command("ACL", "SETUSER", "bob", "on", ">pw", "~*", "&*", "+@all")
    redpool = launch.redpool(server, pool={"pubsub": "shared"})
    with redpool.connect() as client:
        client.command("HELLO", 3)
        subscribed(client, "PSUBSCRIBE", "p*")
        assert client.command("AUTH", "bob", "pw") == b"OK"
        client.send(encode("PSUBSCRIBE", "p*") + encode("PUBLISH", "c", "m"))
        assert client.read() == [b"psubscribe", b"p*", 1]
        assert client.read() == 0
