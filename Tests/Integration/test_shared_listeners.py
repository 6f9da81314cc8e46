"""Subscribers that share an upstream and do not read: nobody else notices, and what they cost; and
what the server counts of those who share."""

import statistics
import threading
import time

import pytest

from harness.audience import Audience, message
from harness.certificates import authority
from harness.waiting import eventually
from harness.wire import Connection, encode

pytestmark = pytest.mark.daemon

CHANNEL = b"c"


def start(launch, server, threads=1, settings=None, **pool):
    return launch.redpool(
        server, pool={"pubsub": "shared"} | pool, settings={"threads": threads} | (settings or {}))


def hubs(server) -> list:
    return [row for row in server.upstreams() if row["sub"] != "0" or row["psub"] != "0"]


def drain_hub(server):
    """Nothing waits at the server for a hub."""
    rows = hubs(server)
    assert rows
    for row in rows:
        assert (row["omem"], row["oll"]) == ("0", "0"), row


@pytest.mark.parametrize("threads", [1, 2])
def test_one_that_does_not_read_is_closed_alone(launch, server, threads, full):
    count = 1_000 if full else 200
    redpool = start(launch, server, threads, clientOutputLimit="1mb")
    text = b"x" * 10_000
    with Audience(redpool.tcp, count) as audience, redpool.connect(60) as publisher:
        audience.subscribe(lambda _: CHANNEL)
        slow = audience.listeners[5]
        audience.stall([slow])
        sent, taken = 0, []
        while "output_limit" not in redpool.log() and sent < 2_000:
            began = time.monotonic()
            server.command("PUBLISH", CHANNEL, text)
            sent += 1
            size = sent * len(message(CHANNEL, text))
            audience.pump(lambda: all(
                len(one.received) >= size for one in audience.listeners if one is not slow))
            taken.append(time.monotonic() - began)
            drain_hub(server)
        assert "output_limit" in redpool.log(), sent
        audience.hear(lambda one: message(CHANNEL, text, one.is_three) * sent)
        assert not any(one.is_closed for one in audience.listeners if one is not slow)
        # What it got is the beginning of what it was due.
        audience.wake([slow])
        audience.pump(lambda: slow.is_closed)
        due = message(CHANNEL, text, slow.is_three) * sent
        assert len(slow.received) < len(due) and due.startswith(bytes(slow.received))
        half = len(taken) // 2
        # Its place in memory makes nobody wait longer; a busy machine may.
        assert statistics.median(taken[half:]) < 4 * statistics.median(taken[:half]) + 0.05
        assert redpool.log().count("event=client.output_limit") == 1
        publisher.command("PUBLISH", CHANNEL, "end")


@pytest.mark.alone
def test_what_many_that_do_not_read_cost(launch, server, full):
    """Each message waits in memory once, however many wait for it."""
    count, messages = (1_000, 8) if full else (200, 8)
    redpool = start(
        launch, server, clientOutputLimit="64mb", settings={"totalOutputLimit": "1gb"})
    text = b"y" * (1 << 20)
    with Audience(redpool.tcp, count) as audience:
        audience.subscribe(lambda _: CHANNEL)
        stalled = audience.listeners[: count // 2]
        audience.stall(stalled)
        before = redpool.rss()
        for turn in range(messages):
            server.command("PUBLISH", CHANNEL, text)
            size = (turn + 1) * len(message(CHANNEL, text))
            audience.pump(lambda: all(
                len(one.received) >= size for one in audience.listeners if not one.is_stalled), 300)
        # Two encodings of each message, and a little for each who waits.
        bound = messages * int(2.2 * len(text)) + count * 4096 + (16 << 20)
        assert redpool.rss() - before < bound, (redpool.rss() - before, bound)
        audience.hear(lambda one: message(CHANNEL, text, one.is_three) * messages, 300)
        drain_hub(server)
        for one in audience.listeners:
            if not one.is_stalled:
                one.received.clear()
        audience.wake(stalled)
        wanted = len(message(CHANNEL, text)) * messages
        audience.pump(lambda: all(len(one.received) >= wanted for one in stalled), 300)
        for one in stalled:
            assert bytes(one.received) == message(CHANNEL, text, one.is_three) * messages
        # It comes back: the blocks are freed with their last reader.
        eventually(lambda: redpool.rss() - before < (48 << 20), what="memory as before")


def test_a_message_longer_than_the_limit_closes_its_listeners_only(launch, server):
    redpool = start(launch, server, clientOutputLimit="1mb")
    with Audience(redpool.tcp, 6) as audience, redpool.connect() as other:
        audience.subscribe(lambda _: CHANNEL)
        other.command("SUBSCRIBE", "other")
        server.command("PUBLISH", CHANNEL, "z" * (10 << 20))
        audience.pump(lambda: all(one.is_closed for one in audience.listeners))
        server.command("PUBLISH", "other", "m")
        assert other.read() == [b"message", b"other", b"m"]


def test_ordinary_clients_are_answered_while_many_are_told(launch, server, full):
    """A message to many is spread over iterations: PING takes its turn between them."""
    count = 2_000 if full else 500
    redpool = start(launch, server)
    with Audience(redpool.tcp, count, mixed=False) as audience, redpool.connect() as client:
        audience.subscribe(lambda _: CHANNEL)
        taken, stop = [], threading.Event()

        def ask():
            while not stop.is_set():
                began = time.monotonic()
                assert client.command("PING") == b"PONG"
                taken.append(time.monotonic() - began)

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            turns = 0
            while turns < 20 or (len(taken) < 50 and turns < 2_000):
                server.command("PUBLISH", CHANNEL, b"t%04d" % turns)
                turns += 1
            wanted = b"".join(message(CHANNEL, b"t%04d" % turn) for turn in range(turns))
            audience.hear(lambda _: wanted)
        finally:
            stop.set()
            thread.join(60)
        # The whole audience takes several turns of 1 ms each.
        assert len(taken) >= 50 and sorted(taken)[len(taken) // 2] < 0.05


class Counted:
    """The same subscribers through Redpool and directly, of three users and two pools."""

    def __init__(self, launch, server, direct, tmp_path, threads):
        for one in (server, direct):
            for name in ("ann", "bob"):
                one.command("ACL", "SETUSER", name, "on", f">{name}", "~*", "&*", "+@all")
        path = tmp_path / "second.sock"
        # Counts are of an address: that of both pools has to be the same.
        place = {"upstream": server.address.text}
        if server.address.tls:
            place["tlsCaFile"] = authority().file
        self.redpool = launch.redpool(
            server, pool={"pubsub": "shared"}, settings={"threads": threads},
            pools={"second": {"listen": [f"unix:{path}"], "pubsub": "shared"} | place})
        second = type(self.redpool.unix)(path=str(path))
        self.sides = {
            "redpool": [self.redpool.tcp, second], "direct": [direct.unix, direct.unix]}
        self.clients = {"redpool": [], "direct": []}

    def subscribe(self, index):
        user = [None, "ann", "bob"][index % 3]
        commands = [("SUBSCRIBE", f"c{index % 4}", "all"),
            ("PSUBSCRIBE", "c*" if index % 2 else "c?"),
                    ("SSUBSCRIBE", f"s{index % 3}")]
        for side, addresses in self.sides.items():
            client = Connection(addresses[index % 2], timeout=60)
            if user:
                client.command("AUTH", user, user)
            client.command("HELLO", "3")
            for words in commands:
                client.send(encode(*words))
                for _ in words[1:]:
                    client.read()
            self.clients[side].append(client)

    def leave(self, index):
        for clients in self.clients.values():
            client = clients.pop(index)
            client.send(encode("QUIT"))
            while (found := client.read()) != b"OK":
                assert found[0] in (b"message", b"pmessage", b"smessage"), found

    def counts(self, side) -> list:
        asked = [
            ("PUBSUB", "NUMSUB", "c0", "c1", "c2", "c3", "all", "none"), ("PUBSUB", "NUMSUB"),
            ("PUBSUB", "SHARDNUMSUB", "s0", "s1", "s2", "none"), ("PUBSUB", "NUMPAT"),
            *(("PUBLISH", name, "m") for name in ("c0", "c3", "all", "none", "cx")),
            *(("SPUBLISH", name, "m") for name in ("s0", "none")),
        ]
        with Connection(self.sides[side][0], timeout=60) as client:
            found = [client.command(*words) for words in asked]
            client.send(b"".join(encode("PUBLISH", f"c{one % 4}", "m") for one in range(40)))
            return found + [client.read() for _ in range(40)]


@pytest.mark.parametrize("threads", [1, 2])
def test_counts_are_those_of_direct_connections(launch, server, tmp_path, threads):
    direct = launch.server()
    counted = Counted(launch, server, direct, tmp_path, threads)
    assert counted.counts("redpool") == counted.counts("direct")
    for index in range(24):
        counted.subscribe(index)
        if index % 5 == 0:
            assert counted.counts("redpool") == counted.counts("direct"), index
    while counted.clients["direct"]:
        counted.leave(0)
        if len(counted.clients["direct"]) % 5 == 0:
            assert counted.counts("redpool") == counted.counts("direct")


def test_counts_while_subscriptions_change(launch, server):
    """Never negative, never more than ever were subscribed."""
    redpool = start(launch, server, 2)
    stop = threading.Event()

    def change(index):
        with redpool.connect(60) as client:
            while not stop.is_set():
                client.send(encode("SUBSCRIBE", "c", f"c{index}") + encode("PSUBSCRIBE", "c*"))
                client.send(encode("UNSUBSCRIBE") + encode("PUNSUBSCRIBE"))
                seen = 0
                while seen < 6:
                    seen += client.read()[0] not in (b"message", b"pmessage")

    threads = [threading.Thread(target=change, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    try:
        with redpool.connect(60) as client:
            for _ in range(300):
                found = client.command("PUBLISH", "c", "m")
                assert 0 <= found <= 12, found
                assert 0 <= client.command("PUBSUB", "NUMSUB", "c")[1] <= 6
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    eventually(lambda: not hubs(server), what="no hub left")
    with redpool.connect() as client:
        assert client.command("PUBLISH", "c", "m") == 0
