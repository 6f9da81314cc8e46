"""Reads from the replicas that Sentinels name: no client misses a write of its own, whatever
happens."""

import contextlib
import signal
import threading
import time

import pytest

from harness.sentinels import Watched
from harness.servers import FOUND
from harness.waiting import always, eventually
from harness.wire import ErrorReply, encode

from test_replica_reads import calls, reads_from, wait_for_replica

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


@pytest.mark.parametrize("protocol", [2, 3])
def test_replicas_answer_reads_and_nothing_else(launch, three, protocol):
    primary, replicas = three.primary, three.replicas
    redpool = start(launch, three)
    with redpool.connect() as client, redpool.connect() as writer:
        if protocol == 3:
            assert client.command("HELLO", "3")[b"proto"] == 3
        assert client.command("SELECT", 2) == b"OK"
        assert writer.command("SELECT", 2) == b"OK"
        assert writer.command("FLUSHDB") == b"OK"
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
        assert client.command("MGET", "k", "other") == [b"one", None]
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
        assert client.command("WAIT", 2, 5000) == 2
        assert client.command("SELECT", 0) == b"OK"
        assert client.command("GET", "k") is None
        assert calls(primary, "set") >= written + 2
    log = redpool.log()
    assert "upstream.desync" not in log and "READONLY" not in log


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


def test_clients_are_spread_over_replicas(launch, three):
    redpool = start(launch, three)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redpool.connect()) for _ in range(24)]
        wait_for_replica(clients[0], "k", three.replicas)
        before = [calls(node, "get") for node in three.replicas]
        for client in clients:
            assert client.command("GET", "spread") is None
        assert all(calls(node, "get") > old for node, old in zip(three.replicas, before))


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


@pytest.mark.parametrize("threads", [1, 2])
def test_pipelines_keep_their_order(launch, three, threads):
    """A write waits for the reads before it, and a read behind it sees it."""
    redpool = start(launch, three, settings={"threads": threads})
    with redpool.connect() as client:
        assert client.command("DEL", "p") in (0, 1)
        wait_for_replica(client, "p", three.replicas)
        for number in range(200):
            client.send(b"".join((
                encode("GET", "p"), encode("GET", "p"), encode("SET", "p", number),
                encode("GET", "p"), encode("INCR", "p"), encode("GET", "p"))))
            old = str(number).encode() if number else None
            new, next_ = str(number).encode(), str(number + 1).encode()
            assert [client.read() for _ in range(6)] == [old, old, b"OK", new, number + 1, next_]
            if number % 50 == 0:
                wait_for_replica(client, "p", three.replicas)
        # Writes that are sent behind another one in one piece are writes as well.
        for number in range(20):
            wait_for_replica(client, "p", three.replicas)
            client.send(encode("PING") + encode("SET", "a", number) + encode("SET", "p", number))
            assert [client.read() for _ in range(3)] == [b"PONG", b"OK", b"OK"]
            assert client.command("GET", "p") == str(number).encode()
            assert client.command("GET", "a") == str(number).encode()
    assert "upstream.desync" not in redpool.log()


def test_reads_of_clients_that_ask_for_it(launch, three):
    redpool = start(launch, three, reads="client")
    with redpool.connect() as asking, redpool.connect() as other:
        assert asking.command("READONLY") == b"OK"
        wait_for_replica(asking, "k", three.replicas)
        always(lambda: reads_from(other, "k", three.primary), 0.3)
        assert asking.command("READWRITE") == b"OK"
        assert reads_from(asking, "k", three.primary)
        assert asking.command("READONLY") == b"OK"
        wait_for_replica(asking, "k", three.replicas)
        assert asking.command("RESET") == b"RESET"
        assert reads_from(asking, "k", three.primary)
        asking.send(encode("GET", "none") + encode("READONLY") + encode("GET", "none"))
        assert [asking.read() for _ in range(3)] == [None, b"OK", None]
        assert isinstance(asking.command("READONLY", "x"), ErrorReply)


def test_reads_can_be_changed_at_a_reload(launch, three):
    redpool = start(launch, three, reads="primary")
    with redpool.connect() as client:
        always(lambda: reads_from(client, "k", three.primary), 0.3)
        redpool.reload(reads="replica")
        wait_for_replica(client, "k", three.replicas)
        redpool.reload(reads="primary")
        eventually(lambda: reads_from(client, "k", three.primary), what="reads from the primary")
        always(lambda: reads_from(client, "k", three.primary), 0.3)
        assert client.command("SET", "k", "v") == b"OK"
        states = {row["state"] for row in redpool.show("NODES")}
        eventually(lambda: {row["state"] for row in redpool.show("NODES")} == {"primary"},
                   what=f"no replicas: {states}")
        redpool.reload(reads="replica")
        wait_for_replica(client, "k", three.replicas)


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


def test_scripts_that_only_read(launch, three):
    if three.primary.command("EVAL_RO", "return 1", 0) != 1:
        pytest.skip("this server has no EVAL_RO")
    redpool = start(launch, three)
    with redpool.connect() as client:
        wait_for_replica(client, "k", three.replicas)
        name = client.command("SCRIPT", "LOAD", "return redis.call('STRLEN', KEYS[1])").decode()
        for node in three.replicas:
            assert node.command("SCRIPT", "FLUSH") == b"OK"
        # NOSCRIPT of a replica: the primary has it.
        for _ in range(20):
            assert client.command("EVALSHA_RO", name, 1, "absent") == 0
        for _ in range(20):
            assert client.command("EVAL_RO", "return #KEYS", 1, "k") == 1
        reply = client.command("EVAL_RO", "return redis.call('SET', KEYS[1], 1)", 1, "k")
        assert isinstance(reply, ErrorReply)


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


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_reads_while_replicas_go(launch, how):
    """Reads in flight there go to the primary: nobody sees an error."""
    watched = launch.started(Watched(replicas=2))
    primary, replicas = watched.primary, watched.replicas
    redpool = start(launch, watched)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redpool.connect(30)) for _ in range(20)]
        for client in clients:
            assert client.command("SET", "k", "v") == b"OK"
        wait_for_replica(clients[0], "k", replicas)

        def read():
            for client in clients:
                client.send(encode("GET", "k") * 10)
            for client in clients:
                assert [client.read() for _ in range(10)] == [b"v"] * 10

        for replica in replicas:
            for _ in range(20):
                read()
            for client in clients:
                client.send(encode("GET", "k") * 10)
            replica.stop(how)
            for client in clients:
                assert [client.read() for _ in range(10)] == [b"v"] * 10
            read()
        assert reads_from(clients[0], "k", primary)

        def named():
            return [row["node"] for row in redpool.show("NODES") if row["state"] == "replica"]

        eventually(lambda: named() == [], 30, what="replicas that the Sentinels call down")
        for replica in replicas:
            replica.start()
            assert replica.command("REPLICAOF", "127.0.0.1", primary.tcp.port) == b"OK"
        wait_for_replica(clients[0], "k", replicas)
        for _ in range(20):
            read()
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
