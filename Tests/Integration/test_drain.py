"""A drain releases clients whose commands block: each gets what comes first, then it is closed."""

import contextlib
import itertools
import re
import threading
import time

import pytest

from harness.servers import FOUND
from harness.tasks import stopped, tasks
from harness.waiting import eventually
from harness.wire import Closed, Connection, ErrorReply, encode

pytestmark = pytest.mark.daemon
# A drain that waits for a blocked client takes the one; one that does not, less than the other even
# on a busy machine.
LONG_DRAIN = {"drainTimeout": "120s"}
AT_ONCE = 30
# How long a drain with one blocked client may take on a machine that is not busy, in seconds.
QUICK = 0.3

# Commands that block until another client acts.
BLOCKING = {
    "BLPOP": ["BLPOP", "q", "0"],
    "BRPOP": ["BRPOP", "q", "r", "0"],
    "BLMOVE": ["BLMOVE", "q", "r", "LEFT", "RIGHT", "0"],
    "BZPOPMIN": ["BZPOPMIN", "z", "0"],
    "XREAD": ["XREAD", "BLOCK", "0", "STREAMS", "s", "$"],
    "WAIT": ["WAIT", "1", "0"],
}


def is_blocked(server, count=1) -> bool:
    return server.info("blocked_clients") == str(count)


def block(server, client, *command):
    """Sends a command and waits until it blocks."""
    client.send(encode(*command))
    eventually(lambda: is_blocked(server), what="the command blocking")


def blocked_ids(server) -> list:
    rows = server.command("CLIENT", "LIST").decode().splitlines()
    return [re.search(r"id=(\d+)", row)[1] for row in rows if re.search(r" flags=\w*b", row)]


def begin(target, protocol, command) -> Connection:
    """A client that has written once and then sent a command that blocks."""
    client = target.connect()
    client.command("HELLO", protocol)
    client.command("SET", "k", "v")
    client.send(encode(*command))
    return client


def reply_to_unblock(server, protocol, command):
    """What a direct client gets after CLIENT UNBLOCK."""
    with begin(server, protocol, command) as client:
        blocked = eventually(lambda: blocked_ids(server), what="the command blocking")
        number = blocked[0]
        assert server.command("CLIENT", "UNBLOCK", number, "TIMEOUT") == 1
        return client.read_raw()


@pytest.mark.parametrize("found", FOUND, ids=str)
def test_every_blocking_command_is_released(launch, found):
    server = launch.server(binary=found.path)
    redpool = launch.redpool(server, settings=LONG_DRAIN)
    cases = list(itertools.product((2, 3), BLOCKING.values()))
    wanted = [reply_to_unblock(server, *case) for case in cases]
    clients = [begin(redpool, *case) for case in cases]
    eventually(lambda: is_blocked(server, len(clients)), what="all commands blocking")
    redpool.signal()
    assert [client.read_raw() for client in clients] == wanted
    assert all(client.read_until_closed() == b"" for client in clients)
    assert redpool.wait(AT_ONCE) == 0
    assert " cut=0" in redpool.log()
    assert server.command("PING") == b"PONG"


def seconds_of_a_drain(launch, server) -> float:
    redpool = launch.redpool(server, settings=LONG_DRAIN)
    with redpool.connect() as client:
        block(server, client, "BLPOP", "q", "0")
        started = time.monotonic()
        redpool.signal()
        assert redpool.wait(AT_ONCE) == 0
        taken = time.monotonic() - started
        assert client.read() is None
    return taken


def test_a_blocked_client_does_not_hold_up_a_drain(launch):
    server = launch.server()
    # Another process may take the processor from one of them, hardly from all.
    times = []
    while not times or (min(times) >= QUICK and len(times) < 5):
        times.append(seconds_of_a_drain(launch, server))
    assert min(times) < QUICK


@pytest.mark.parametrize("threads", [2, 3])
def test_clients_of_all_workers_are_released(launch, threads):
    server = launch.server()
    redpool = launch.redpool(server, settings=LONG_DRAIN | {"threads": threads})
    clients = [redpool.connect() for _ in range(3 * threads)]
    for client in clients:
        client.send(encode("BLPOP", "q", "0"))
    eventually(lambda: is_blocked(server, len(clients)))
    redpool.signal()
    assert [client.read() for client in clients] == [None] * len(clients)
    assert redpool.wait(AT_ONCE) == 0


def test_what_follows_a_blocked_command_is_carried_out_but_does_not_block(launch):
    server = launch.server()
    redpool = launch.redpool(server, settings=LONG_DRAIN)
    with redpool.connect() as client:
        block(server, client, "BLPOP", "q", "0")
        client.send(encode("INCR", "n") + encode("BLPOP", "q", "0") + encode("INCR", "n"))
        eventually(lambda: redpool.has_read(client))
        redpool.signal()
        assert client.read_until_closed() == b"*-1\r\n:1\r\n"
    assert redpool.wait(AT_ONCE) == 0
    assert server.command("GET", "n") == b"1"


def test_clients_that_wait_to_block_are_closed(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool={"maxOpen": 2}, settings=LONG_DRAIN)
    with redpool.connect() as first, redpool.connect() as second:
        block(server, first, "BLPOP", "q", "0")
        second.send(encode("BLPOP", "q", "0"))
        eventually(lambda: redpool.has_read(second))
        redpool.signal()
        assert second.read_until_closed() == b""
        assert first.read() is None
    assert redpool.wait(AT_ONCE) == 0


def test_a_subscriber_that_blocks_is_released(launch):
    server = launch.server()
    redpool = launch.redpool(server, settings=LONG_DRAIN)
    with redpool.connect() as client:
        client.command("HELLO", "3")
        client.command("SUBSCRIBE", "c")
        block(server, client, "BLPOP", "q", "0")
        redpool.signal()
        assert client.read() is None
        assert client.read_until_closed() == b""
    assert redpool.wait(AT_ONCE) == 0


def test_an_upload_that_blocks_is_released(launch):
    server = launch.server()
    redpool = launch.redpool(server, settings=LONG_DRAIN)
    with redpool.connect() as client:
        block(server, client, "BLPOP", "q" * 200_000, "0")
        redpool.signal()
        assert client.read() is None
    assert redpool.wait(AT_ONCE) == 0


@pytest.mark.parametrize("found", FOUND, ids=str)
def test_a_pause_of_somebody_else_does_not_cost_the_server(launch, found):
    """CLIENT UNBLOCK for a connection that a pause delays ends the server's process."""
    server = launch.server(binary=found.path)
    redpool = launch.redpool(server, settings=LONG_DRAIN)
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        assert server.command("CLIENT", "PAUSE", "100000", "WRITE") == b"OK"
        block(server, client, "BLPOP", "q", "0")
        redpool.signal()
        eventually(lambda: is_blocked(server, 2), what="the release being delayed as well")
        assert server.command("CLIENT", "UNPAUSE") == b"OK"
        assert client.read() is None
    assert redpool.wait(AT_ONCE) == 0
    assert server.command("PING") == b"PONG"


def test_a_user_without_the_right_is_released_by_the_pool(launch):
    server = launch.server()
    rights = ["on", ">secret", "~*", "&*", "+@all", "-client|unblock"]
    assert server.command("ACL", "SETUSER", "alice", *rights) == b"OK"
    redpool = launch.redpool(server, settings=LONG_DRAIN)
    with redpool.connect() as client:
        assert client.command("AUTH", "alice", "secret") == b"OK"
        block(server, client, "BLPOP", "q", "0")
        redpool.signal()
        assert client.read() is None
    assert redpool.wait(AT_ONCE) == 0


@pytest.mark.parametrize("right", ["-multi", "-publish", "-client|unblock", "resetchannels"])
def test_without_the_right_the_drain_ends_at_its_time(launch, right):
    server = launch.server()
    redpool = launch.redpool(server, settings={"drainTimeout": "1s"})
    with redpool.connect() as client:
        block(server, client, "BLPOP", "q", "0")
        assert server.command("ACL", "SETUSER", "default", right) == b"OK"
        redpool.signal()
        assert redpool.wait(AT_ONCE) == 0
        assert client.read_until_closed() == b""
    assert "event=drain.blocked" in redpool.log()
    assert " cut=1" in redpool.log()


class Consumer(threading.Thread):
    """Takes elements with BLPOP until it is closed."""

    def __init__(self, redpool):
        super().__init__()
        self._client = redpool.connect(timeout=60)
        self.taken = []
        self.start()

    def run(self):
        try:
            while True:
                reply = self._client.command("BLPOP", "q", "0")
                assert reply is None or not isinstance(reply, ErrorReply), reply
                if reply:
                    self.taken.append(int(reply[1]))
        except (Closed, ConnectionError):
            self._client.close()


class Producer(threading.Thread):
    """Pushes consecutive numbers, one at a time, until it is stopped."""

    def __init__(self, server):
        super().__init__()
        self._server = Connection(server.tcp)
        self._ends = threading.Event()
        self.count = 0
        self.start()

    def run(self):
        while not self._ends.is_set():
            self._server.command("RPUSH", "q", str(self.count))
            self.count += 1
            # Most of the time the consumers have to wait.
            self._ends.wait(0.0005 * (self.count % 4))

    def stop(self):
        self._ends.set()
        self.join()
        self._server.close()


def test_no_element_is_lost_or_read_twice(launch, full):
    """20 drains, 1,000 with REDPOOL_FULL=1."""
    server = launch.server()
    producer = Producer(server)
    taken = []
    try:
        for turn in range(1000 if full else 20):
            threads = 2 if turn % 2 else 1
            redpool = launch.redpool(server, settings=LONG_DRAIN | {"threads": threads})
            consumers = [Consumer(redpool) for _ in range(4)]
            begun = producer.count
            eventually(lambda: producer.count > begun + 10, what="elements in this turn")
            redpool.signal()
            assert redpool.wait(AT_ONCE) == 0
            for consumer in consumers:
                consumer.join(AT_ONCE)
                taken += consumer.taken
            assert " cut=0" in redpool.log()
    finally:
        producer.stop()
    left = [int(element) for element in server.command("LRANGE", "q", "0", "-1")]
    assert sorted(taken + left) == list(range(producer.count))
    assert len(taken) > 0


# --- clients whose command is on the way


def begin_drain(redpool):
    redpool.signal()
    eventually(lambda: "event=drain.begin" in redpool.log(), what="the drain")


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_what_has_arrived_is_answered(launch, threads, tls):
    """The worker hears of the drain before it reads commands that the kernel has had for it."""
    redpool = launch.redpool(
        launch.server(), tls=tls, settings={"threads": threads} | LONG_DRAIN)
    redpool.warm_up()
    with redpool.connect() as new, redpool.connect() as old, redpool.connect() as subscriber:
        assert old.command("SET", "k", "v") == b"OK"
        assert subscriber.command("SUBSCRIBE", "c") == [b"subscribe", b"c", 1]
        assert new.command("CLIENT", "GETNAME") is None
        with contextlib.ExitStack() as stack:
            for name, thread in tasks(redpool.process).items():
                if name.startswith("worker-"):
                    stack.enter_context(stopped(thread))
            begin_drain(redpool)
            new.send(encode("PING"))
            old.send(encode("GET", "k") + encode("PING"))
            subscriber.send(encode("SUBSCRIBE", "d"))
        assert new.read() == b"PONG"
        assert [old.read(), old.read()] == [b"v", b"PONG"]
        assert subscriber.read() == [b"subscribe", b"d", 2]
        for client in (new, old, subscriber):
            assert client.read_until_closed() == b""
    assert redpool.wait(AT_ONCE) == 0 and " cut=0" in redpool.log()


def test_a_client_that_has_just_connected_is_heard(launch):
    """Its first command may come up to 100 ms behind its connection. On a busy machine it comes
    later, so this is tried a few times."""
    server = launch.server()

    def is_heard() -> bool:
        redpool = launch.redpool(server)
        redpool.warm_up()
        with redpool.connect() as client:
            begin_drain(redpool)
            client.send(encode("PING"))
            try:
                answer = client.read()
            except (Closed, OSError):
                return False
            assert answer == b"PONG" and client.read_until_closed() == b""
        assert redpool.wait(AT_ONCE) == 0
        return True

    assert any(is_heard() for _ in range(5))


def test_clients_that_say_nothing_delay_a_drain_hardly(launch):
    redpool = launch.redpool(launch.server(), settings=LONG_DRAIN)
    with redpool.connect() as first, redpool.connect() as second:
        begin_drain(redpool)
        assert first.read_until_closed() == second.read_until_closed() == b""
    assert redpool.wait(AT_ONCE) == 0 and " cut=0" in redpool.log()
