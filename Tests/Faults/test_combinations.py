"""Where features meet: clients in front of a cluster that send commands in every way, and listeners
of both kinds, while slots move, the running program is replaced, the pool pauses, and reloads change
how new listeners subscribe. Each alone has tests of its own.
"""

import random
import time

import pytest

from harness.cluster import Cluster
from harness.servers import FOUND
from harness.waiting import eventually
from harness.wire import ErrorReply
from mixture import LIBRARY, Mixture
from upgrades import Publisher, Subscribers, upgrade
from weather import Weather

pytestmark = [pytest.mark.daemon, pytest.mark.long]

CHANNELS = [b"c%d" % number for number in range(5)]
LISTENERS = 10
CLIENTS = 20
OTHERS = ("redis 6.2", "valkey 8.0", "valkey 8.1")


class Voice(Publisher):
    """A publisher in front of a cluster: how many have heard a message, each node says of itself."""

    def again(self):
        channel = self._channels[self.count % len(self._channels)]
        assert isinstance(self._client.command("PUBLISH", channel, self.count), int)
        self.count += 1


class Operator:
    """What an operator does to the daemon. Each of it is to be without a trace for clients."""

    def __init__(self, redpool):
        self.redpool = redpool
        self.upgrades = self.pauses = 0
        self._kinds = ["shared", "pinned"]

    def upgrade(self):
        upgrade(self.redpool)
        self.upgrades += 1

    def change_kind(self):
        """New listeners share subscriptions, or do not any more; others stay as they are."""
        self.redpool.reload(pubsub=self._kinds[0])
        self._kinds.reverse()

    def pause(self):
        """A client that watches keys and needs another node keeps the pool from getting quiet."""
        with self.redpool.console(timeout=60) as console:
            reply = console.command("PAUSE", "main", "MAX", "1s")
            self.pauses += 1
            if not isinstance(reply, ErrorReply):
                assert reply.startswith(b"OK"), reply
                console.command("RESUME", "main")
            else:
                assert reply.startswith(b"TIMEOUT "), reply


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "server", [server for server in FOUND if server in FOUND[:1] or server.name in OTHERS], ids=str)
def test_nobody_notices_anything(launch, full, server, threads):
    if server != FOUND[0] and not full:
        pytest.skip("with other servers: REDPOOL_FULL=1")
    # No node must be taken for lost because the machine is busy.
    cluster = launch.started(Cluster(binary=server.path, replicas=0, timeout=5000))
    redpool = launch.redpool(
        None, pool=cluster.settings | {"pubsub": "pinned", "maxOpen": 60},
        settings={"threads": threads}, console=True)
    cluster.wait_for_map(redpool)
    has_functions = server.compatible >= (7, 0)
    if has_functions:
        with redpool.connect() as client:
            assert client.command("FUNCTION", "LOAD", LIBRARY) == b"mixture"
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    slots = [index * 16_384 // 12 + 5 for index in range(12)]
    weather, operator = Weather(cluster, slots, seed), Operator(redpool)
    mixture = Mixture(
        redpool.tcp, CLIENTS, slots, seed=seed, functions=has_functions,
        splits=server.splits_replies)
    own = Subscribers(redpool.tcp, LISTENERS, CHANNELS)
    operator.change_kind()
    sharing = Subscribers(redpool.tcp, LISTENERS, CHANNELS)
    with own, sharing, mixture:
        with Voice(redpool.tcp, CHANNELS, None) as voice:
            begin = [operator.upgrade, operator.change_kind, operator.pause, weather.move]
            others = [weather.move] * 6 + begin
            until = time.monotonic() + (60 if full else 8)
            while begin or time.monotonic() < until:
                (begin.pop() if begin else weather.random.choice(others))()
            mixture.go_on()
        own.check(voice.count)
        sharing.check(voice.count)
    print(f"{mixture.commands} commands, {voice.count} messages, {weather.moved} slots moved, "
          f"{operator.upgrades} upgrades, {operator.pauses} pauses, told {dict(mixture.told)}")
    assert not sum(mixture.unknown), "clients were closed"
    mistakes = mixture.mistakes(cluster)
    assert not mistakes, (len(mistakes), mistakes[:10])
    assert operator.upgrades and operator.pauses and weather.moved and voice.count
    assert "upstream.desync" not in redpool.log()
    eventually(
        lambda: [row["cmd"] for row in redpool.show("CLIENTS")] == ["publish"],
        what="all but the publisher being gone")
    [pool] = redpool.show("POOLS")
    assert (pool["waiting"], pool["in_flight"]) == (0, 0), pool
