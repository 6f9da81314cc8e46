"""States cost no connection more than they must, and no element is lost on the way."""

import contextlib
import re
import socket

import pytest

from crowd import Pace, run_crowd
from harness.daemon import Redpool
from harness.server import RedisServer
from harness.waiting import eventually
from harness.wire import encode


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


def interactive(key, rounds):
    """Optimistic updates, each repeated until it succeeds."""
    for _ in range(rounds):
        done = False
        while not done:
            assert (yield encode("WATCH", key), 1) == b"+OK\r\n"
            value = yield encode("GET", key), 1
            value = 0 if value == b"$-1\r\n" else int(value.split(b"\r\n")[1])
            assert (yield encode("MULTI"), 1) == b"+OK\r\n"
            assert (yield encode("SET", key, value + 1), 1) == b"+QUEUED\r\n"
            answer = yield encode("EXEC"), 1
            assert answer in (b"*1\r\n+OK\r\n", b"*-1\r\n")
            done = answer != b"*-1\r\n"


def burst(key, rounds):
    data = encode("MULTI") + encode("INCR", key) + encode("GET", key) + encode("EXEC")
    for _ in range(rounds):
        answer = yield data, 4
        assert answer.startswith(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:"), answer


# The pool is as large as it may become from the start: what is opened later was closed before.
FULL_POOL = {"maxOpen": 16, "minIdle": 16, "maxIdle": 16, "poolTimeout": "60s"}


@pytest.mark.parametrize("one", [interactive, burst])
def test_transactions_open_no_connection(one, full):
    clients, rounds, keys = 1000, 50 if full else 5, 100
    with pair(**FULL_POOL) as (server, redpool):
        eventually(lambda: server.client_count() == 16, 20)
        run_crowd(redpool.tcp, [one(f"k{i % keys}", 1) for i in range(clients)])
        before = opened(server)
        run_crowd(redpool.tcp, [one(f"k{i % keys}", rounds) for i in range(clients)])
        assert opened(server) == before
        assert server.client_count() == 16
        total = sum(int(server.command("GET", f"k{i}")) for i in range(keys))
        assert total == clients * (rounds + 1)


def is_counted(answer):
    assert answer.startswith(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:"), answer


def test_optimistic_updates_beside_a_thousand_blocks_a_second(full):
    """1,000 clients with WATCH, GET, MULTI, SET, EXEC, and 1,000 whole transactions a second by the
    clock: nothing is opened, and nothing is counted twice or lost."""
    clients, rounds, rate, seconds = 1000, 20 if full else 2, 1000, 60 if full else 5
    block = encode("MULTI") + encode("INCR", "paced") + encode("GET", "paced") + encode("EXEC")
    with pair(**FULL_POOL) as (server, redpool):
        eventually(lambda: server.client_count() == 16, 20)
        run_crowd(redpool.tcp, [interactive(f"k{i % 100}", 1) for i in range(clients)])
        before = opened(server)
        pace = Pace(redpool.tcp, block, 4, is_counted, rate, seconds, clients=200)
        run_crowd(redpool.tcp, [interactive(f"k{i % 100}", rounds) for i in range(clients)])
        answered, elapsed = pace.finish()
        print(f"{answered / elapsed:.0f} transactions a second")
        assert opened(server) == before
        assert server.client_count() == 16
        assert int(server.command("GET", "paced")) == answered == rate * seconds
        total = sum(int(server.command("GET", f"k{i}")) for i in range(100))
        assert total == clients * (rounds + 1)


def test_transactions_do_not_make_a_small_pool_flap(full):
    """With the default limits of idle connections, pins that come and go are still not worth a
    connection each: all that is opened is what the pool grows by."""
    rounds = 20 if full else 3
    with pair(maxOpen=16, poolTimeout="60s") as (server, redpool):
        gone = opened(server) - server.client_count() - 1  # The harness's own connection stays.
        run_crowd(redpool.tcp, [interactive(f"k{i}", rounds) for i in range(100)])
        assert opened(server) - 1 - gone <= 16


def popper(received):
    """Pops with BLPOP, one element at a time, until it is told to end."""
    while True:
        value = (yield encode("BLPOP", "queue", "0"), 1).split(b"\r\n")[4]
        if value == b"end":
            return
        received.append(value)


def worker(index, turns):
    for turn in range(turns):
        answer = yield encode("RPUSH", "queue", f"{index}:{turn}"), 1
        assert re.fullmatch(rb":[1-9]\d*\r\n", answer), answer
        assert (yield encode("SET", f"w{index}", turn), 1) == b"+OK\r\n"
        assert (yield encode("GET", f"w{index}"), 1) == b"$%d\r\n%d\r\n" % (len(str(turn)), turn)


def is_blocked(server, count):
    return lambda: server.info("blocked_clients") == str(count)


def ending(server, count, workers):
    """The last of the workers tells every popper to end."""
    left = [workers]

    def wrap(one):
        yield from one
        left[0] -= 1
        if left[0] == 0:
            server.command("RPUSH", "queue", *["end"] * count)

    return wrap


def test_blocked_clients_lose_nothing(full):
    blocked, workers, turns, killed = 200, 1000, 50 if full else 5, 20
    with pair(maxOpen=256, poolTimeout="60s") as (server, redpool):
        # These are killed while they are blocked, before anything is pushed.
        doomed = [redpool.connect(timeout=60) for _ in range(killed)]
        for client in doomed:
            client.send(encode("BLPOP", "queue", "0"))
        eventually(is_blocked(server, killed), 20)
        for index, client in enumerate(doomed):
            client.reset() if index % 2 else client.close()
        eventually(is_blocked(server, 0), 20)

        received = []
        poppers = [popper(received) for _ in range(blocked)]
        wrap = ending(server, blocked, workers)
        crowd = [wrap(worker(index, turns)) for index in range(workers)]
        run_crowd(
            redpool.tcp, poppers, then=crowd,
            when=lambda: eventually(is_blocked(server, blocked), 30),
        )
        assert sorted(received) == sorted(
            b"%d:%d" % (i, t) for i in range(workers) for t in range(turns)
        )
        assert server.command("LLEN", "queue") == 0


def served(server) -> int:
    """How many BLPOPs the server has answered: its slow log has a command once that is over, and
    one whose client went away while it was blocked never is."""
    return sum(entry[3][0] == b"BLPOP" for entry in server.command("SLOWLOG", "GET", "-1"))


@pytest.mark.parametrize("order", ["killed first", "at the same time", "pushed first"])
def test_a_killed_client_loses_only_what_was_on_the_way(order, full):
    """Redis serves at most once: an element with which the server has answered a client that was
    killed is lost, on a direct connection as well. No other may be, and none comes twice."""
    rounds = 2_000 if full else 200
    with pair(maxOpen=32, poolTimeout="30s") as (server, redpool):
        server.command("CONFIG", "SET", "slowlog-log-slower-than", "0")
        server.command("CONFIG", "SET", "slowlog-max-len", "10000000")
        kept, lost = [], []
        with redpool.connect(timeout=60) as pusher:
            for turn in range(rounds):
                victim = redpool.connect(timeout=60)
                victim.send(encode("BLPOP", "queue", "0"))
                eventually(is_blocked(server, 1), interval=0.001)
                push = encode("RPUSH", "queue", f"e{turn}")
                if order == "pushed first":
                    pusher.send(push)
                    assert pusher.read() == 1
                victim.socket.shutdown(socket.SHUT_RDWR)
                if order == "killed first":
                    eventually(is_blocked(server, 0), interval=0.001)
                if order != "pushed first":
                    pusher.send(push)
                    assert pusher.read() == 1
                value = pusher.command("LPOP", "queue")
                (lost if value is None else kept).append(f"e{turn}".encode())
                assert value is None or value == kept[-1]
                victim.close()
                eventually(is_blocked(server, 0), interval=0.001)
        assert len(lost) == served(server)
        assert server.command("LLEN", "queue") == 0
        if order != "at the same time":
            assert len(lost) == (rounds if order == "pushed first" else 0)
