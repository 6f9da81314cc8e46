"""Reads from replicas, whether a cluster or Sentinels name them: a client tells no difference."""

import contextlib
import signal
from dataclasses import dataclass

import pytest

from harness.cluster import Cluster
from harness.sentinels import Watched
from harness.servers import FOUND
from harness.waiting import always, eventually
from harness.wire import ErrorReply, encode

from replica_reads import calls, reads_from, wait_for_replica

pytestmark = pytest.mark.daemon

OTHERS = ("redis 6.2", "valkey 8.0")
SERVERS = [server for server in FOUND if server in FOUND[:1] or server.name in OTHERS]


@dataclass
class InCluster:
    """A shard of a cluster."""

    cluster: Cluster

    @property
    def settings(self):
        return self.cluster.settings

    @property
    def primary(self):
        [primary] = self.cluster.primaries
        return primary

    @property
    def replicas(self):
        return self.cluster.replicas_of(self.primary)

    def settle(self):
        self.cluster.settle()

    def is_known(self, redpool):
        self.cluster.wait_for_map(redpool)

    def start_replicas(self, redpool, replicas):
        for replica in replicas:
            replica.start()


@dataclass
class BehindSentinels:
    watched: Watched

    @property
    def settings(self):
        return self.watched.settings

    @property
    def primary(self):
        return self.watched.primary

    @property
    def replicas(self):
        return self.watched.replicas

    def settle(self):
        pass

    def is_known(self, redpool):
        with redpool.connect() as client:
            assert client.command("PING") == b"PONG"

    def start_replicas(self, redpool, replicas):
        def named():
            return [row["node"] for row in redpool.show("NODES") if row["state"] == "replica"]

        eventually(lambda: named() == [], 30, what="replicas that the Sentinels call down")
        for replica in replicas:
            replica.start()
            assert replica.command("REPLICAOF", "127.0.0.1", self.primary.tcp.port) == b"OK"


KINDS = [(kind, server) for server in SERVERS for kind in ("cluster", "Sentinels")]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}")
def shared(keep, request):
    """A primary with two replicas, which nobody changes for good."""
    kind, server = request.param
    if kind == "cluster":
        return InCluster(keep.started(Cluster(1, replicas=2, binary=server.path)))
    return BehindSentinels(keep.started(Watched(replicas=2, binary=server.path)))


@pytest.fixture
def world(shared):
    shared.settle()
    return shared


def start(launch, world, reads="replica", **settings):
    """The daemon, when it knows its servers; and these are empty."""
    pool = world.settings | {"reads": reads}
    redpool = launch.redpool(None, pool=pool, settings=settings, console=True)
    world.is_known(redpool)
    assert world.primary.command("FLUSHALL") == b"OK"
    return redpool


@pytest.mark.parametrize("protocol", [2, 3])
def test_replicas_answer_reads_and_nothing_else(launch, world, protocol):
    primary, replicas = world.primary, world.replicas
    redpool = start(launch, world)
    with redpool.connect() as client, redpool.connect() as writer:
        if protocol == 3:
            assert client.command("HELLO", "3")[b"proto"] == 3
        assert writer.command("SET", "k", "one") == b"OK"
        wait_for_replica(client, "k", replicas)
        written = calls(primary, "set")
        before = [calls(node, "get") for node in (primary, *replicas)]
        for _ in range(50):
            assert client.command("GET", "k") == b"one"
        after = [calls(node, "get") for node in (primary, *replicas)]
        assert sum(after) - sum(before) == 50
        assert after[0] - before[0] <= 5, "reads go to replicas"
        assert 0 in (after[1] - before[1], after[2] - before[2]), "a client keeps its replica"
        # Commands of other kinds find the primary behind a read on a replica.
        assert client.command("SET", "k", "two") == b"OK"
        assert client.command("GET", "k") == b"two"
        assert client.command("PUBLISH", "nobody", "x") == 0
        assert client.command("EVAL", "return redis.call('SET', KEYS[1], 'three')", 1, "k") == b"OK"
        assert client.command("EVAL", "return 7", 0) == 7
        client.send(encode("MULTI") + encode("GET", "k") + encode("EXEC"))
        assert [client.read() for _ in range(3)] == [b"OK", b"QUEUED", [b"three"]]
        assert client.command("MULTI") == b"OK"
        assert client.command("SET", "k", "four") == b"QUEUED"
        assert client.command("EXEC") == [b"OK"]
        assert client.command("GET", "k") == b"four"
        assert client.command("WATCH", "k") == b"OK"
        assert client.command("GET", "k") == b"four"
        assert client.command("UNWATCH") == b"OK"
        assert client.command("BLPOP", "nothing", "0.01") is None
        assert client.command("DBSIZE") == 1
        assert client.command("SCAN", 0)[1] == [b"k"]
        assert calls(primary, "set") >= written + 2
    log = redpool.log()
    assert "upstream.desync" not in log and "READONLY" not in log


def test_clients_are_spread_over_replicas(launch, world):
    redpool = start(launch, world)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redpool.connect()) for _ in range(24)]
        wait_for_replica(clients[0], "k", world.replicas)
        before = [calls(node, "get") for node in world.replicas]
        for client in clients:
            assert client.command("GET", "k") is None
        assert all(calls(node, "get") > old for node, old in zip(world.replicas, before))


@pytest.mark.parametrize("threads", [1, 2])
def test_pipelines_keep_their_order(launch, world, threads):
    """A write waits for the reads before it, and a read behind it sees it."""
    redpool = start(launch, world, threads=threads)
    with redpool.connect() as client:
        wait_for_replica(client, "p", world.replicas)
        for number in range(200):
            client.send(b"".join((
                encode("GET", "p"), encode("GET", "p"), encode("SET", "p", number),
                encode("GET", "p"), encode("INCR", "p"), encode("GET", "p"))))
            old = str(number).encode() if number else None
            new, next_ = str(number).encode(), str(number + 1).encode()
            assert [client.read() for _ in range(6)] == [old, old, b"OK", new, number + 1, next_]
            if number % 50 == 0:
                wait_for_replica(client, "p", world.replicas)
        # Writes that are sent behind another one in one piece are writes as well.
        for number in range(4):
            wait_for_replica(client, "p", world.replicas)
            client.send(encode("PING") + encode("SET", "a", number) + encode("SET", "p", number))
            assert [client.read() for _ in range(3)] == [b"PONG", b"OK", b"OK"]
            assert client.command("GET", "p") == str(number).encode()
            assert client.command("GET", "a") == str(number).encode()
    assert "upstream.desync" not in redpool.log()


def test_reads_of_clients_that_ask_for_it(launch, world):
    redpool = start(launch, world, reads="client")
    with redpool.connect() as asking, redpool.connect() as other:
        assert asking.command("READONLY") == b"OK"
        wait_for_replica(asking, "k", world.replicas)
        always(lambda: reads_from(other, "k", world.primary), 0.3)
        assert asking.command("READWRITE") == b"OK"
        assert reads_from(asking, "k", world.primary)
        assert asking.command("READONLY") == b"OK"
        wait_for_replica(asking, "k", world.replicas)
        assert asking.command("RESET") == b"RESET"
        assert reads_from(asking, "k", world.primary)
        asking.send(encode("GET", "none") + encode("READONLY") + encode("GET", "none"))
        assert [asking.read() for _ in range(3)] == [None, b"OK", None]
        assert isinstance(asking.command("READONLY", "x"), ErrorReply)


def test_reads_can_be_changed_at_a_reload(launch, world):
    redpool = start(launch, world, reads="primary")
    with redpool.connect() as client:
        always(lambda: reads_from(client, "k", world.primary), 0.3)
        for reads in ("replica", "client"):
            redpool.reload(reads=reads)
            if reads == "client":
                assert client.command("READONLY") == b"OK"
            wait_for_replica(client, "k", world.replicas)
            redpool.reload(reads="primary")
            eventually(
                lambda: reads_from(client, "k", world.primary), what="reads from the primary")
            always(lambda: reads_from(client, "k", world.primary), 0.3)


def test_scripts_that_only_read(launch, world):
    if world.primary.command("EVAL_RO", "return 1", 0) != 1:
        pytest.skip("this server has no EVAL_RO")
    redpool = start(launch, world)
    with redpool.connect() as client:
        wait_for_replica(client, "k", world.replicas)
        name = client.command("SCRIPT", "LOAD", "return redis.call('STRLEN', KEYS[1])").decode()
        for node in world.replicas:
            assert node.command("SCRIPT", "FLUSH") == b"OK"
        # NOSCRIPT of a replica: the primary has it.
        for _ in range(20):
            assert client.command("EVALSHA_RO", name, 1, "k") == 0
        for _ in range(20):
            assert client.command("EVAL_RO", "return #KEYS", 1, "k") == 1
        reply = client.command("EVAL_RO", "return redis.call('SET', KEYS[1], 1)", 1, "k")
        assert isinstance(reply, ErrorReply)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_reads_while_replicas_go(launch, world, how):
    """Reads in flight there go to the primary: nobody sees an error."""
    replicas = world.replicas
    redpool = start(launch, world)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redpool.connect(30)) for _ in range(20)]
        for client in clients:
            assert client.command("SET", "k", "v") == b"OK"
        wait_for_replica(clients[0], "k", replicas)

        def read():
            for client in clients:
                assert [client.read() for _ in range(10)] == [b"v"] * 10

        def ask():
            for client in clients:
                client.send(encode("GET", "k") * 10)

        for replica in replicas:
            for _ in range(20):
                ask()
                read()
            ask()
            replica.stop(how)
            read()
            ask()
            read()
        assert reads_from(clients[0], "k", world.primary)
        world.start_replicas(redpool, replicas)
        wait_for_replica(clients[0], "k", replicas)
        for _ in range(20):
            ask()
            read()
    assert "upstream.desync" not in redpool.log()
