"""Reads from the replicas that Sentinels name: no client misses a write of its own, whatever
happens."""

import contextlib
import signal
import threading
import time

import pytest

from harness.sentinels import Watched
from harness.servers import FOUND
from harness.waiting import eventually
from harness.wire import ErrorReply, encode

from replica_reads import calls, reads_from, wait_for_replica

pytestmark = pytest.mark.daemon

OTHERS = ("redis 6.2", "valkey 8.0")
SERVERS = [server for server in FOUND if server in FOUND[:1] or server.name in OTHERS]


def start(launch, watched, reads="replica", settings=None, **pool):
    """The daemon, when it has found the primary."""
    redpool = launch.redpool(
        None, pool=watched.settings | {"reads": reads} | pool, settings=settings or {}, console=True)
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
    return redpool


@pytest.fixture(scope="module", params=SERVERS, ids=str)
def three(keep, request):
    """A primary with two replicas, which nobody changes for good."""
    return keep.started(Watched(replicas=2, binary=request.param.path))


def test_databases_and_acknowledgements(launch, three):
    """A client reads from the database that it has selected, whoever answers."""
    redpool = start(launch, three)
    with redpool.connect() as client, redpool.connect() as writer:
        assert client.command("SELECT", 2) == b"OK"
        assert writer.command("SELECT", 2) == b"OK"
        assert writer.command("SET", "second", "one") == b"OK"
        wait_for_replica(client, "second", three.replicas)
        for _ in range(20):
            assert client.command("GET", "second") == b"one"
        assert client.command("SET", "second", "two") == b"OK"
        assert client.command("GET", "second") == b"two"
        assert client.command("WAIT", 2, 5000) == 2
        assert client.command("SELECT", 0) == b"OK"
        assert client.command("GET", "second") is None


def test_what_changes_nothing_does_not_keep_a_client_from_replicas(launch, three):
    """A client that connects, introduces itself and reads has not written."""
    redpool = start(launch, three)
    with redpool.connect() as client:
        wait_for_replica(client, "k", three.replicas)
    # A question may be on its way, and its answer late: one of these is answered by a replica.
    def comes_there():
        with redpool.connect() as client:
            assert client.command("CLIENT", "SETNAME", "short") == b"OK"
            assert client.command("SELECT", 1) == b"OK"
            assert client.command("PING") == b"PONG"
            return any([reads_from(client, "k", node) for node in three.replicas])
    eventually(comes_there, what="a read of a new client at a replica")


def test_cursors_stay_at_the_primary(launch, three):
    """The cursors of two servers are different: what one has given means nothing to the other."""
    redpool = start(launch, three)
    with redpool.connect() as client:
        for number in range(2000):
            client.send(encode("HSET", "h", f"f{number}", number))
        for _ in range(2000):
            client.read()
        wait_for_replica(client, "h", three.replicas)
        found, cursor = set(), b"0"
        while True:
            cursor, items = client.command("HSCAN", "h", cursor, "COUNT", 50)
            found.update(items[::2])
            client.command("SET", "between", 1) if len(found) % 3 == 0 else None
            client.command("GET", "between")
            if cursor == b"0":
                break
        assert len(found) == 2000
        assert all(calls(node, "hscan") == 0 for node in three.replicas)


def test_what_the_console_says_of_replicas(launch, three):
    places = {f"127.0.0.1:{node.tcp.port}" for node in three.replicas}
    redpool = start(launch, three, reads="client")
    with redpool.connect() as client:
        assert client.command("READONLY") == b"OK"
        wait_for_replica(client, "k", three.replicas)

        def reads():
            [number] = {row["replica_reads"] for row in redpool.show("SENTINELS")}
            return number

        before = reads()
        served = sum(calls(node, "get") for node in three.replicas)
        for _ in range(20):
            assert client.command("GET", "none") is None
        served = sum(calls(node, "get") for node in three.replicas) - served
        assert served > 0
        eventually(lambda: reads() == before + served, what="the count of reads")
        totals = {row["name"]: row["total"] for row in redpool.show("STATS")}
        assert totals["replica_reads"] == before + served
        rows = redpool.show("SENTINELS")
        assert len(rows) == 3 and {row["replicas"] for row in rows} == {2}
        assert {row["error"] for row in rows} == {None}
        nodes = redpool.show("NODES")
        assert {row["node"] for row in nodes if row["state"] == "replica"} <= places
        redpool.reload(reads="primary")
        eventually(lambda: {row["replicas"] for row in redpool.show("SENTINELS")} == {None},
                   what="no count of replicas")
        assert reads() >= before + served


def test_what_a_replica_refuses_the_primary_is_asked(launch, three):
    """A client's user has a right at the primary that it does not have at replicas."""
    rights = ["on", ">secret", "~*", "&*", "+@all"]
    for node in three.servers:
        assert node.command("ACL", "SETUSER", "reader", *rights) == b"OK"
    for node in three.replicas:
        assert node.command("ACL", "SETUSER", "reader", "-get") == b"OK"
    redpool = start(launch, three)
    with redpool.connect() as client:
        assert client.command("AUTH", "reader", "secret") == b"OK"
        wait_for_replica(client, "k", three.replicas)
        assert client.command("SET", "r", "v") == b"OK"
        wait_for_replica(client, "k", three.replicas)
        for _ in range(20):
            client.send(encode("GET", "r") + encode("STRLEN", "r") + encode("GET", "r")
                        + encode("GET", "r") + encode("STRLEN", "r"))
            assert [client.read() for _ in range(5)] == [b"v", 1, b"v", b"v", 1]
        # What both refuse, the client gets.
        assert three.primary.command("ACL", "SETUSER", "reader", "-get") == b"OK"
        refused = client.command("GET", "r")
        assert isinstance(refused, ErrorReply) and "NOPERM" in str(refused)
        assert client.command("STRLEN", "r") == 1
    assert "upstream.desync" not in redpool.log()


@pytest.mark.parametrize("how", ["stopped", "held"])
def test_own_writes_of_many_clients(launch, how, full):
    """While a replica is stopped, or gets nothing of what the primary writes."""
    # A relay would stop with the replica, as soon as that has no room for more.
    watched = launch.started(Watched(replicas=2, down_after=60000, is_relayed=how == "held"))
    primary, replicas = watched.primary, watched.replicas
    redpool = start(launch, watched, maxReplicaLag="1h", commandTimeout="20s")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redpool.connect(60)) for _ in range(20)]
        reader = stack.enter_context(redpool.connect(60))
        for index, client in enumerate(clients):
            assert client.command("SET", f"own{index}", 0) == b"OK"
        wait_for_replica(reader, "own0", replicas)
        for client in clients:
            wait_for_replica(client, "own0", replicas)
        if how == "stopped":
            replicas[0].pause()
        else:
            watched.relay.hold()
        until = time.monotonic() + (30 if full else 4)
        rounds = stale = 0
        while time.monotonic() < until or (how == "held" and not stale):
            assert time.monotonic() < until + 30, "old values, which the rule is about"
            rounds += 1
            for index, client in enumerate(clients):
                client.send(encode("SET", f"own{index}", rounds) + encode("GET", f"own{index}"))
            for client in clients:
                assert [client.read(), client.read()] == [b"OK", str(rounds).encode()]
            for index, client in enumerate(clients):
                client.send(encode("GET", f"own{index}"))
            for client in clients:
                assert client.read() == str(rounds).encode()
            if how == "held":
                # Who has not written may read old values.
                stale += reader.command("GET", "own0") != str(rounds).encode()
        if how == "stopped":
            replicas[0].resume()
        else:
            for replica in replicas:
                assert replica.command("GET", "own0") == b"0", "replication stood still"
            watched.relay.release()
        for index, client in enumerate(clients[:3]):
            wait_for_replica(client, "own0", replicas)
            assert client.command("GET", f"own{index}") == str(rounds).encode()
        assert watched.primary is primary
    assert "upstream.desync" not in redpool.log()


class Readers:
    """Clients that count up, each its own key, and read what they have written."""

    def __init__(self, redpool, clients):
        self._redpool, self._stop = redpool, threading.Event()
        self.rounds, self.problems = [0] * clients, []
        self._threads = [
            threading.Thread(target=self._work, args=(index,), daemon=True)
            for index in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def go_on(self):
        before = list(self.rounds)
        eventually(lambda: all(now > then for now, then in zip(self.rounds, before)), 60,
                   what="progress of all clients")

    def _work(self, index):
        key, value = f"count{index}", 0
        while not self._stop.is_set():
            # What was acknowledged over this connection, and since which primary.
            with contextlib.suppress(OSError), self._redpool.connect(60) as client:
                known = None
                while not self._stop.is_set():
                    value += 1
                    reply = client.command("SET", key, value)
                    if isinstance(reply, ErrorReply):
                        continue
                    known = value
                    for _ in range(3):
                        read = client.command("GET", key)
                        # A failover throws the last writes away: then all later reads say so too.
                        if read != str(known).encode() and not isinstance(read, ErrorReply):
                            self.problems.append((time.monotonic(), index, known, read))
                    self.rounds[index] += 1


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.long)])
def test_failovers_under_load(launch, threads):
    """Nothing is proven of a replica until it is seen in the history of the new primary."""
    watched = launch.started(Watched(replicas=2))
    redpool = start(launch, watched, settings={"threads": threads}, poolTimeout="20s")
    with redpool.connect(60) as client:
        wait_for_replica(client, "k", watched.replicas)
        with Readers(redpool, 10) as readers:
            readers.go_on()
            for _ in range(2):
                before = time.monotonic()
                watched.failover()
                readers.go_on()
                after = time.monotonic()
                readers.go_on()
                # Writes of about a second are lost when the primary changes, with or without
                # replicas; before and behind that nothing is missed.
                problems, readers.problems = readers.problems, []
                assert [one for one in problems if not before < one[0] < after] == []
                wait_for_replica(client, "k", watched.replicas)
                readers.go_on()
            assert readers.problems == []
            old = watched.primary
            old.stop(signal.SIGKILL)
            watched.wait_for_another(old)
            readers.go_on()
            at = time.monotonic()
            readers.go_on()
            wait_for_replica(client, "k", [s for s in watched.replicas if s is not old])
            readers.go_on()
            assert [one for one in readers.problems if one[0] > at] == []
    assert "upstream.desync" not in redpool.log()


def test_rights_of_the_user_for_the_sentinels(launch, tmp_path):
    """Without the right to SENTINEL REPLICAS nothing else is lost."""
    watched = launch.started(Watched(login=("watcher", "of-sentinels")))
    secret = tmp_path / "secret"
    secret.write_text("of-sentinels\n")
    secret.chmod(0o600)
    for sentinel in watched.sentinels:
        assert sentinel.command("ACL", "SETUSER", "watcher", "-sentinel|replicas") == b"OK"
    redpool = start(launch, watched, sentinelUsername="watcher",
                    sentinelPasswordFile=str(secret))
    with redpool.connect() as client:
        eventually(lambda: "SENTINEL REPLICAS: NOPERM" in redpool.log(), what="a warning")
        rows = redpool.show("SENTINELS")
        assert all(row["error"].startswith("SENTINEL REPLICAS: NOPERM ") for row in rows), rows
        assert {row["replicas"] for row in rows} == {0} and {row["state"] for row in rows} == {
            "connected"}
        assert client.command("SET", "k", "v") == b"OK"
        assert client.command("GET", "k") == b"v"
        for sentinel in watched.sentinels:
            assert sentinel.command("ACL", "SETUSER", "watcher", "+sentinel|replicas") == b"OK"
        wait_for_replica(client, "k", watched.replicas)
