"""PAUSE, RESUME, RECONNECT and KILL of the console: nothing is sent, and nobody is told."""

import os
import re
import threading
import time

import pytest

from harness.tasks import stopped, tasks
from harness.waiting import always, comes, eventually
from harness.wire import Closed, Connection, ErrorReply, encode

pytestmark = pytest.mark.daemon


class Ground:
    """A daemon with a console, in front of a unix socket that can be moved to another server."""

    def __init__(self, launch, tmp_path, pool=None, settings=None):
        self.server = launch.server("--repl-diskless-sync-delay", "0")
        self._place = tmp_path / "upstream.sock"
        self.lead_to(self.server)
        self.redpool = launch.redpool(
            self.server, console=True, pool={"upstream": f"unix:{self._place}"} | (pool or {}),
            settings=settings,
        )
        self.redpool.warm_up()

    def lead_to(self, server):
        """From now on, connections go to this server."""
        new = f"{self._place}.new"
        os.symlink(server.unix.path, new)
        os.replace(new, self._place)

    def connect(self) -> Connection:
        return self.redpool.connect(60)

    def console(self, *words):
        with self.redpool.console(60) as console:
            return console.command(*words)

    def error(self, *words) -> str:
        """The error that a command of the console is answered with."""
        reply = self.console(*words)
        assert isinstance(reply, ErrorReply), reply
        return reply.decode()

    def pause(self, *words) -> str:
        reply = self.console("PAUSE", "main", *words)
        assert not isinstance(reply, ErrorReply), reply
        return reply.decode()

    def resume(self):
        assert self.console("RESUME", "main") == b"OK"

    def upstreams(self) -> int:
        """Connections of the daemon at the server: all but that of the test."""
        return len(self.server.command("CLIENT", "LIST").splitlines()) - 1

    def commands(self) -> int:
        """Commands that the server has carried out."""
        return int(self.server.info("total_commands_processed"))


@pytest.fixture
def ground(launch, tmp_path):
    return Ground(launch, tmp_path)


class Worker(threading.Thread):
    """Sends one command after the other until it is told to end, and keeps what goes wrong."""

    def __init__(self, ground):
        super().__init__()
        self._client = ground.connect()
        self._ends = threading.Event()
        self.rounds = 0
        self.problem = None
        self.start()

    def run(self):
        try:
            while not self._ends.is_set():
                self.round(self._client)
                self.rounds += 1
        except (Closed, OSError, AssertionError) as problem:
            self.problem = problem
        self._client.close()

    def end(self):
        self._ends.set()
        self.join(60)
        assert not self.is_alive() and self.problem is None, self.problem


class Counter(Worker):
    """Increments a key of its own: each reply is one more than the last."""

    def __init__(self, ground, key):
        self.key = key
        super().__init__(ground)

    def round(self, client):
        reply = client.command("INCR", self.key)
        assert reply == self.rounds + 1, (reply, self.rounds)


class Teller(Counter):
    """The same in transactions, some of them step by step."""

    def round(self, client):
        if self.rounds % 2:
            client.send(encode("MULTI") + encode("INCR", self.key) + encode("EXEC"))
            replies = [client.read() for _ in range(3)]
        else:
            assert client.command("WATCH", self.key) == b"OK"
            replies = [client.command(*w) for w in (["MULTI"], ["INCR", self.key], ["EXEC"])]
        assert replies == [b"OK", b"QUEUED", [self.rounds + 1]], replies


def run_on(workers, rounds=20):
    """Waits until each of them has done so much more."""
    before = [worker.rounds for worker in workers]
    eventually(
        lambda: all(
            worker.problem or worker.rounds >= begun + rounds
            for worker, begun in zip(workers, before)
        ),
        what="rounds of all",
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_a_planned_failover_costs_nobody_anything(launch, tmp_path, threads):
    ground = Ground(launch, tmp_path, settings={"threads": threads})
    old, new = ground.server, launch.server()
    host, port = "127.0.0.1", str(old.port)
    assert new.command("REPLICAOF", host, port) == b"OK"
    eventually(lambda: new.info("master_link_status") == "up", what="the replica")
    workers = [Counter(ground, f"c{number}") for number in range(6)]
    workers += [Teller(ground, f"t{number}") for number in range(4)]
    run_on(workers)
    assert ground.pause("MAX", "60s", "CLOSE") == "OK"
    eventually(
        lambda: new.info("master_repl_offset") == old.info("master_repl_offset"),
        what="the replica having everything",
    )
    ledger = {worker.key: new.command("GET", worker.key) for worker in workers}
    assert new.command("REPLICAOF", "NO", "ONE") == b"OK"
    assert {key: old.command("GET", key) for key in ledger} == ledger
    ground.lead_to(new)
    ground.resume()
    run_on(workers)
    for worker in workers:
        worker.end()
    assert {key: old.command("GET", key) for key in ledger} == ledger
    for worker in workers:
        assert new.command("GET", worker.key) == str(worker.rounds).encode()


@pytest.mark.parametrize("threads", [1, 2])
def test_pauses_under_load_cost_nobody_anything(launch, tmp_path, full, threads):
    """8 pauses, 40 with REDPOOL_FULL=1. While one lasts, nothing changes at the server."""
    ground = Ground(launch, tmp_path, settings={"threads": threads})
    workers = [Counter(ground, f"c{number}") for number in range(6)]
    workers += [Teller(ground, f"t{number}") for number in range(4)]
    times = []
    for _ in range(40 if full else 8):
        run_on(workers, 3)
        began = time.monotonic()
        assert ground.pause("MAX", "60s") == "OK"
        times.append(time.monotonic() - began)
        ledger = {worker.key: ground.server.command("GET", worker.key) for worker in workers}
        assert ground.upstreams() == 0
        assert {key: ground.server.command("GET", key) for key in ledger} == ledger
        ground.resume()
    run_on(workers, 3)
    for worker in workers:
        worker.end()
        assert ground.server.command("GET", worker.key) == str(worker.rounds).encode()
    print(f"{len(times)} pauses: the longest took {max(times) * 1000:.0f} ms until OK")


class Asker(Worker):
    """Asks for nothing that a restart of the server loses."""

    def round(self, client):
        text = f"{self.rounds}".encode()
        assert client.command("ECHO", text) == text
        assert client.command("SET", "k", text) == b"OK"


def test_a_restart_of_the_server_costs_nobody_anything(ground):
    workers = [Asker(ground) for _ in range(6)]
    run_on(workers)
    assert ground.pause("MAX", "60s") == "OK"
    ground.server.restart()
    assert ground.upstreams() == 0
    ground.resume()
    run_on(workers)
    for worker in workers:
        worker.end()


def test_nobody_is_refused_while_the_server_is_down(launch, tmp_path):
    ground = Ground(launch, tmp_path, pool={"poolTimeout": "100ms"})
    assert ground.pause("MAX", "60s") == "OK"
    ground.server.stop()
    with ground.connect() as client:
        client.send(encode("PING"))
        always(lambda: not client.is_answered(), 0.3, what="silence")
        ground.server.start()
        ground.resume()
        assert client.read() == b"PONG"


def test_a_drain_does_not_end_it(launch, tmp_path):
    ground = Ground(launch, tmp_path, settings={"drainTimeout": "500ms"})
    with ground.connect() as client, ground.connect() as idle:
        assert ground.pause("MAX", "60s") == "OK"
        client.send(encode("INCR", "n"))
        eventually(lambda: ground.redpool.show("POOLS")[0]["waiting"] == 1)
        ground.redpool.signal()
        assert idle.read_until_closed() == b""
        assert ground.redpool.wait() == 0
        assert client.read_until_closed() == b""
    assert " cut=1" in ground.redpool.log()
    assert ground.server.command("GET", "n") is None


def test_a_worker_that_hangs_fails_it_and_sends_nothing(launch, tmp_path):
    ground = Ground(launch, tmp_path, settings={"threads": 2})
    clients = [ground.connect() for _ in range(4)]
    rows = {client.command("CLIENT", "ID"): client for client in clients}
    places = {row["id"]: row["worker"] for row in ground.redpool.show("CLIENTS")}
    with stopped(tasks(ground.redpool.process)["worker-1"]):
        error = ground.error("PAUSE", "main", "MAX", "200ms")
        assert error.startswith("TIMEOUT ") and error.endswith("no answer from worker 1")
        for number, client in rows.items():
            if places[number] == 0:
                assert client.command("PING") == b"PONG"
    for client in clients:
        assert client.command("PING") == b"PONG"
        client.close()


def test_nothing_is_sent_and_nothing_stays_connected(ground):
    with ground.connect() as early, ground.connect() as late:
        assert early.command("SET", "k", "v") == b"OK"
        assert ground.pause() == "OK"
        assert ground.upstreams() == 0
        before = ground.commands()
        early.send(encode("GET", "k"))
        late.send(encode("SUBSCRIBE", "c"))
        eventually(lambda: ground.redpool.has_read(early) and ground.redpool.has_read(late))
        always(lambda: ground.upstreams() == 0, 0.3, what="no connection")
        # This test's own: CLIENT LIST and INFO.
        replies = ground.server.command("INFO", "commandstats").decode()
        assert "cmdstat_subscribe" not in replies
        assert ground.commands() - before < 100
        ground.resume()
        assert early.read() == b"v"
        assert late.read() == [b"subscribe", b"c", 1]
    log = ground.redpool.log()
    assert "event=pool.paused" in log and "event=pool.resumed" in log and "reason=resume" in log


def test_waiting_is_not_refused_however_long_it_lasts(launch, tmp_path):
    ground = Ground(launch, tmp_path, pool={"poolTimeout": "100ms"})
    assert ground.pause() == "OK"
    with ground.connect() as client:
        client.send(encode("INCR", "n"))
        always(lambda: not client.is_answered(), 0.5, what="silence")
        ground.resume()
        assert client.read() == 1
    assert "event=client.refused" not in ground.redpool.log()


class Consumer(Worker):
    """Takes elements with BLPOP."""

    def __init__(self, ground):
        self.taken = []
        super().__init__(ground)

    def round(self, client):
        reply = client.command("BLPOP", "q", "5")
        assert not isinstance(reply, ErrorReply), reply
        if reply:
            self.taken.append(int(reply[1]))


@pytest.mark.parametrize("threads", [1, 2])
def test_no_element_of_a_queue_is_lost_or_read_twice(launch, tmp_path, threads):
    ground = Ground(launch, tmp_path, settings={"threads": threads})
    consumers = [Consumer(ground) for _ in range(4)]
    produced = 0
    with Connection(ground.server.unix) as producer:
        for turn in range(8):
            for _ in range(5):
                producer.command("RPUSH", "q", str(produced))
                produced += 1
            pause = threading.Thread(target=ground.pause)
            pause.start()
            while pause.is_alive():
                producer.command("RPUSH", "q", str(produced))
                produced += 1
            pause.join()
            assert ground.server.info("blocked_clients") == "0"
            ground.resume()
        sizes = [len(consumer.taken) for consumer in consumers]
        for _ in consumers:
            eventually(lambda: producer.command("LLEN", "q") == 0, what="an empty queue")
        for consumer in consumers:
            consumer._ends.set()
        for _ in range(2 * len(consumers)):
            producer.command("RPUSH", "q", str(produced))
            produced += 1
    for consumer in consumers:
        consumer.end()
    assert sum(sizes) > 0
    left = [int(element) for element in ground.server.command("LRANGE", "q", "0", "-1")]
    taken = [element for consumer in consumers for element in consumer.taken]
    assert sorted(taken + left) == list(range(produced))


def test_it_ends_by_itself(ground):
    with ground.connect() as client:
        assert ground.pause("MAX", "300ms") == "OK"
        client.send(encode("PING"))
        assert client.read() == b"PONG"
    assert "reason=max" in ground.redpool.log()
    assert ground.error("RESUME", "main").startswith("NOTPAUSED ")


def test_an_open_transaction_fails_it_and_then_it_has_resumed(ground):
    with ground.connect() as client, ground.connect() as other:
        assert client.command("MULTI") == b"OK"
        error = ground.error("PAUSE", "main", "MAX", "200ms")
        assert error.startswith("TIMEOUT pool main ")
        assert error.endswith("1 upstream busy: 1 in a transaction")
        assert other.command("PING") == b"PONG"
        assert client.command("PING") == b"QUEUED"
        assert client.command("EXEC") == [b"PONG"]


def test_a_transaction_may_end(ground):
    with ground.connect() as client:
        assert client.command("WATCH", "k") == b"OK"
        pause = threading.Thread(target=ground.pause)
        pause.start()
        eventually(lambda: "event=pool.paused" in ground.redpool.log())
        for words in (["GET", "k"], ["MULTI"], ["SET", "k", "v"]):
            assert not isinstance(client.command(*words), ErrorReply)
        assert pause.is_alive()
        assert client.command("EXEC") == [b"OK"]
        pause.join(60)
        assert not pause.is_alive()
        ground.resume()


def held_clients(ground):
    """Two subscribers and a tracking client."""
    clients = [ground.connect() for _ in range(3)]
    for subscriber in clients[:2]:
        assert subscriber.command("SUBSCRIBE", "c") == [b"subscribe", b"c", 1]
    clients[2].command("HELLO", "3")
    assert clients[2].command("CLIENT", "TRACKING", "ON") == b"OK"
    return clients


@pytest.mark.parametrize("threads", [1, 3])
def test_subscribers_stay_and_are_counted(launch, tmp_path, threads):
    ground = Ground(launch, tmp_path, settings={"threads": threads})
    first, second, tracker = held_clients(ground)
    with first, second, tracker:
        assert ground.pause() == "OK 3 upstreams held: 2 subscribed, 1 tracking"
        assert ground.upstreams() == 3
        tracker.send(encode("INCR", "n"))
        eventually(lambda: ground.redpool.has_read(tracker))
        assert ground.server.command("PUBLISH", "c", "hello") == 2
        for client in (first, second):
            assert client.read() == [b"message", b"c", b"hello"]
        assert ground.server.command("GET", "n") is None
        ground.resume()
        assert tracker.read() == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_what_waits_on_an_upstream_of_its_own_is_shown(launch, tmp_path, threads):
    """A subscriber, and a client with a pipe, wait for RESUME without a place in the queue."""
    ground = Ground(launch, tmp_path, settings={"threads": threads})
    with ground.connect() as holder, ground.connect() as piped:
        assert holder.command("SUBSCRIBE", "c") == [b"subscribe", b"c", 1]
        assert piped.command("MULTI") == b"OK" and piped.command("SUBSCRIBE", "c") == b"QUEUED"
        assert piped.command("EXEC") == [[b"subscribe", b"c", 1]]
        assert ground.pause("MAX", "60s").startswith("OK 2 upstreams held")
        assert ground.redpool.show("POOLS")[0]["waiting"] == 0
        for client in (holder, piped):
            client.send(encode("PING"))
        eventually(lambda: ground.redpool.show("POOLS")[0]["waiting"] == 2, what="both waiting")
        rows = ground.redpool.show("CLIENTS")
        assert {(row["state"], row["reason"]) for row in rows} == {("waiting", "paused")}, rows
        ground.resume()
        assert holder.read() == piped.read() == [b"pong", b""]
    eventually(lambda: "event=pool.resumed" in ground.redpool.log())
    # With two workers the line is that of the last one.
    assert re.search(r" waiting=[12]$", ground.redpool.log(), re.M)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_redirection_waits_as_well(launch, tmp_path, threads):
    """The client that is to get the messages has no upstream yet when the pool is paused."""
    ground = Ground(launch, tmp_path, settings={"threads": threads},
                    pool={"maxOpen": 4, "maxPinned": 2, "poolTimeout": "1s"})
    blocked = [ground.connect() for _ in range(2)]
    for client in blocked:
        client.send(encode("BLPOP", "never", "0"))
    eventually(lambda: ground.redpool.show("POOLS")[0]["pinned"] == 2, what="no pin left")
    with ground.connect() as target, ground.connect() as tracker:
        number = target.command("CLIENT", "ID")
        tracker.send(encode("CLIENT", "TRACKING", "ON", "REDIRECT", number))
        eventually(
            lambda: any(row["reason"] == "gathering" for row in ground.redpool.show("CLIENTS")),
            what="the wait for the target")
        assert ground.pause("MAX", "60s") == "OK"
        always(lambda: not tracker.is_answered(), 2, what="silence")
        ground.resume()
        assert tracker.read() == b"OK"
        assert tracker.command("CLIENT", "GETREDIR") == number
    for client in blocked:
        assert client.read() is None
        client.close()


def test_with_close_they_are_closed(ground):
    clients = held_clients(ground)
    with ground.connect() as other:
        assert ground.pause("CLOSE") == "OK"
        assert ground.upstreams() == 0
        for client in clients:
            assert client.read_until_closed() == b""
            client.close()
        ground.resume()
        assert other.command("PING") == b"PONG"


def test_resume_ends_a_pause_that_is_not_quiet(ground):
    answers = []
    with ground.connect() as client:
        assert client.command("MULTI") == b"OK"
        pause = threading.Thread(
            target=lambda: answers.append(ground.error("PAUSE", "main")))
        pause.start()
        eventually(lambda: "event=pool.paused" in ground.redpool.log())
        assert ground.error("PAUSE", "main").startswith("BUSY ")
        ground.resume()
        pause.join(60)
        assert answers[0].startswith("RESUMED ")
        assert client.command("EXEC") == []


@pytest.mark.parametrize("threads", [1, 2])
def test_reconnect_replaces_all_upstreams_unseen(launch, tmp_path, threads):
    ground = Ground(launch, tmp_path, settings={"threads": threads})
    workers = [Counter(ground, f"c{number}") for number in range(4)]
    workers += [Teller(ground, f"t{number}") for number in range(2)]
    run_on(workers)

    def ids():
        rows = ground.server.command("CLIENT", "LIST").decode().splitlines()
        return {row.split()[0] for row in rows if " cmd=client" not in row}

    for _ in range(3):
        before = ids()
        assert ground.console("RECONNECT", "main").startswith(b"OK ")
        eventually(lambda: not before & ids(), what="other connections")
        run_on(workers)
    for worker in workers:
        worker.end()


@pytest.mark.parametrize("threads", [1, 3])
def test_kill_client(launch, tmp_path, threads):
    ground = Ground(launch, tmp_path, settings={"threads": threads})
    clients = [ground.connect() for _ in range(4)]
    victim = clients[2].command("CLIENT", "ID")
    assert ground.console("KILL", "CLIENT", str(victim)) == b"OK"
    assert clients[2].read_until_closed() == b""
    assert ground.error("KILL", "CLIENT", str(victim)).startswith("ERR no client ")
    for client in clients[:2] + clients[3:]:
        assert client.command("PING") == b"PONG"
    for client in clients:
        client.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_kill_upstream(launch, tmp_path, threads):
    ground = Ground(
        launch, tmp_path, pool={"onUpstreamLoss": "error"}, settings={"threads": threads})
    with ground.connect() as client:
        assert ground.server.command("CLIENT", "PAUSE", "60000", "WRITE") == b"OK"
        client.send(encode("SET", "k", "v"))
        busy = eventually(
            lambda: [row["id"] for row in ground.redpool.show("UPSTREAMS") if row["in_flight"]],
            what="the command being in flight",
        )
        assert ground.console("KILL", "UPSTREAM", str(busy[0])) == b"OK"
        reply = client.read()
        assert reply.startswith(b"UPSTREAMLOST ") and b"(killed)" in reply
        assert ground.error("KILL", "UPSTREAM", str(busy[0])).startswith("ERR no upstream ")
        assert ground.server.command("CLIENT", "UNPAUSE") == b"OK"
        assert client.command("PING") == b"PONG"


def test_a_server_that_does_not_answer_fails_it(ground):
    os.kill(ground.server.pid, 19)
    try:
        with ground.connect() as client:
            client.send(encode("PING"))
            eventually(lambda: ground.redpool.has_read(client))
            assert ground.error("PAUSE", "main", "MAX", "300ms").startswith("TIMEOUT ")
            os.kill(ground.server.pid, 18)
            assert client.read() == b"PONG"
    finally:
        os.kill(ground.server.pid, 18)


def test_without_the_right_to_release_it_says_who_is_blocked(ground):
    with ground.connect() as client:
        client.send(encode("BLPOP", "q", "0"))
        eventually(lambda: ground.server.info("blocked_clients") == "1")
        assert ground.server.command("ACL", "SETUSER", "default", "-client|unblock") == b"OK"
        assert "busy: 1 blocked" in ground.error("PAUSE", "main", "MAX", "500ms")
        ground.server.command("RPUSH", "q", "x")
        assert client.read() == [b"q", b"x"]
    assert comes(lambda: "event=pause.blocked" in ground.redpool.log(), 15)
