"""States cost no connection more than they must, and no element is lost on the way."""

import contextlib
import socket
import threading

import pytest

from integration import Closed, Redpool, RedisServer, encode, eventually


@contextlib.contextmanager
def pair(**pool):
    server = RedisServer()
    try:
        redpool = Redpool(server, pool=pool)
        try:
            yield server, redpool
        finally:
            redpool.close()
    finally:
        server.close()


def opened(server) -> int:
    return int(server.info("total_connections_received"))


def in_threads(count, work):
    problems = []

    def run(index):
        try:
            work(index)
        except BaseException as problem:  # noqa: BLE001  (reported by the main thread)
            problems.append(problem)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


def interactive(client, key):
    """One optimistic update, until it succeeds."""
    while True:
        assert client.command("WATCH", key) == b"OK"
        value = int(client.command("GET", key) or 0)
        assert client.command("MULTI") == b"OK"
        assert client.command("SET", key, value + 1) == b"QUEUED"
        if client.command("EXEC") is not None:
            return


def burst(client, key):
    client.send(encode("MULTI") + encode("INCR", key) + encode("GET", key) + encode("EXEC"))
    assert [client.read_raw() for _ in range(3)] == [b"+OK\r\n", b"+QUEUED\r\n", b"+QUEUED\r\n"]
    assert len(client.read()) == 2


@pytest.mark.parametrize("one", [interactive, burst])
def test_transactions_open_no_connection(one, full):
    clients, rounds = (200, 50) if full else (40, 50)
    with pair(maxOpen=16, minIdle=2, poolTimeout="30s") as (server, redpool):

        def work(index):
            with redpool.connect(timeout=60) as client:
                for _ in range(rounds):
                    one(client, f"k{index % 10}")

        in_threads(clients, work)
        # The warm-up was as hard as what follows, so the pool has grown as far as it will.
        server.command("CONFIG", "RESETSTAT")
        kept = server.client_count()
        in_threads(clients, work)
        grown = opened(server)
        total = sum(int(server.command("GET", f"k{i}")) for i in range(10))
        assert total == 2 * clients * rounds
        assert server.client_count() <= max(kept, 16)
        assert grown <= 16 - kept, f"{grown} connections were opened in the steady state"


class Popper:
    """A client that pops with BLPOP, one element at a time, until it is told to end."""

    def __init__(self, address):
        self.connection = address()
        self.received = []
        self.killed = False

    def run(self):
        try:
            while True:
                self.connection.send(encode("BLPOP", "queue", "0"))
                value = self.connection.read()[1]
                self.received.append(value)
                if value == b"end":
                    return
        except (Closed, OSError):
            if not self.killed:
                raise


def test_blocked_clients_lose_nothing(full):
    blocked, elements = 200, 20_000 if full else 3_000
    with pair(maxOpen=256, poolTimeout="30s") as (server, redpool):
        poppers = [Popper(lambda: redpool.connect(timeout=120)) for _ in range(blocked)]
        # These are blocked, and are killed before anything is pushed: nothing may go to them.
        doomed = [redpool.connect(timeout=60) for _ in range(20)]
        for client in doomed:
            client.send(encode("BLPOP", "queue", "0"))
        eventually(lambda: server.info("blocked_clients") == "20", 20)
        threads = [threading.Thread(target=popper.run) for popper in poppers]
        for thread in threads:
            thread.start()
        eventually(lambda: server.info("blocked_clients") == str(blocked + 20), 30)
        for index, client in enumerate(doomed):
            client.reset() if index % 2 else client.close()
        eventually(lambda: server.info("blocked_clients") == str(blocked), 20)

        def others(index):
            with redpool.connect(timeout=60) as client:
                for turn in range(elements // 10):
                    assert client.command("RPUSH", "queue", f"{index}:{turn}") >= 1
                    assert client.command("INCR", "others") > 0

        in_threads(10, others)
        eventually(lambda: server.command("LLEN", "queue") == 0, 30)
        server.command("RPUSH", "queue", *["end"] * blocked)
        for thread in threads:
            thread.join(60)
        got = sorted(v for popper in poppers for v in popper.received if v != b"end")
        pushed = sorted(b"%d:%d" % (i, t) for i in range(10) for t in range(elements // 10))
        assert got == pushed


def test_clients_killed_while_elements_come_lose_only_what_was_on_the_way(full):
    """Redis serves at most once: an element whose reply was under way to a client that was killed
    is lost on a direct connection as well. Nothing else may be, and nothing comes twice."""
    rounds = 2_000 if full else 300
    with pair(maxOpen=32, poolTimeout="30s") as (server, redpool):
        seen, lost = [], 0
        with redpool.connect(timeout=60) as pusher:
            for turn in range(rounds):
                victim, keeper = redpool.connect(timeout=60), redpool.connect(timeout=60)
                victim.send(encode("BLPOP", "queue", "0"))
                eventually(lambda: server.info("blocked_clients") == "1")
                victim.socket.shutdown(socket.SHUT_RDWR)
                pusher.send(encode("RPUSH", "queue", f"e{turn}"))
                assert pusher.read() >= 1
                keeper.send(encode("LPOP", "queue"))
                value = keeper.read()
                if value is None:
                    lost += 1
                else:
                    seen.append(value)
                victim.close()
                keeper.close()
                eventually(lambda: server.info("blocked_clients") == "0")
        assert len(seen) + lost == rounds and len(set(seen)) == len(seen)
        assert server.command("LLEN", "queue") == 0
        # The daemon gives the place up in the loop iteration that sees the end.
        assert lost <= rounds // 10, f"{lost} of {rounds} elements went to clients that had left"
