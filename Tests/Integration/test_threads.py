"""Several workers look like one: limits, clients of each other, drain."""

import contextlib
import os
import re
import threading
import time
from collections import Counter

import pytest

from harness.load import Neighbours, in_threads
from harness.waiting import always, eventually
from harness.watcher import MaxOpenWatcher
from harness.wire import Closed, Connection, ErrorReply, encode

pytestmark = pytest.mark.daemon


@pytest.fixture(params=[2, 4])
def threads(request):
    return request.param


def rows(client, *filters) -> dict:
    """The clients that CLIENT LIST shows, by id."""
    text = client.command("CLIENT", "LIST", *filters).decode()
    found = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in text.splitlines()]
    return {int(row["id"]): row for row in found}


def epolls(redpool) -> dict:
    """Which epoll instance, and so which worker, each descriptor of the daemon belongs to."""
    owners = {}
    folder = f"/proc/{redpool.process.pid}/fdinfo"
    for epoll in os.listdir(folder):
        with contextlib.suppress(OSError), open(f"{folder}/{epoll}") as info:
            for descriptor in re.findall(r"^tfd:\s+(\d+)", info.read(), re.M):
                owners[int(descriptor)] = epoll
    return owners


def by_worker(redpool, clients) -> dict:
    """The given clients, a list for each worker."""
    ids = [client.command("CLIENT", "ID") for client in clients]
    table = rows(clients[0])
    owners = epolls(redpool)
    found = {}
    for client, number in zip(clients, ids):
        found.setdefault(owners[int(table[number]["fd"])], []).append(client)
    return found


def close_all(clients):
    for client in clients:
        client.close()


@pytest.mark.parametrize("address", ["tcp", "unix"])
def test_even_a_few_clients_are_spread_evenly(launch, threads, address):
    redpool = launch.redpool(launch.server(), settings={"threads": threads})
    clients = [Connection(getattr(redpool, address)) for _ in range(2 * threads)]
    groups = by_worker(redpool, clients)
    assert sorted(map(len, groups.values())) == [2] * threads
    # Where some have left, the next ones come.
    emptied = next(iter(groups.values()))
    close_all(emptied)
    rest = [client for client in clients if client not in emptied]
    eventually(lambda: len(rows(rest[0])) == len(rest))
    rest += [Connection(getattr(redpool, address)) for _ in range(2)]
    assert sorted(map(len, by_worker(redpool, rest).values())) == [2] * threads
    close_all(rest)


@pytest.mark.parametrize("on_first", [0, 2, 5, 7])
def test_pins_are_had_wherever_they_are_asked_for(launch, on_first):
    server = launch.server()
    redpool = launch.redpool(
        server, pool={"maxOpen": 8, "maxPinned": 7}, settings={"threads": 2}
    )
    clients = [redpool.connect(timeout=30) for _ in range(18)]
    first, second = by_worker(redpool, clients).values()
    blocked = first[:on_first] + second[: 7 - on_first]
    with MaxOpenWatcher(server, 8):
        for index, client in enumerate(blocked):
            client.send(encode("BLPOP", f"q:{index}", "60"))
        eventually(lambda: int(server.info("blocked_clients")) == 7, what="all being blocked")
        # One connection is left, and both workers need it.
        for turn in range(10):
            for client in (first[8], second[8]):
                assert client.command("INCR", "turns") > turn
        for index, client in enumerate(blocked):
            assert first[7].command("RPUSH", f"q:{index}", index) == 1
            assert client.read() == [f"q:{index}".encode(), str(index).encode()]
        assert all(client.command("PING") == b"PONG" for client in clients)
    close_all(clients)


@pytest.mark.parametrize("max_open", [1, 2, 5, 8])
def test_max_open_holds_under_churn(launch, threads, max_open):
    server = launch.server()
    redpool = launch.redpool(
        server, pool={"maxOpen": max_open, "poolTimeout": "20s"}, settings={"threads": threads}
    )
    stop = time.monotonic() + 4

    def work(index):
        turn = 0
        while time.monotonic() < stop:
            with redpool.connect(timeout=30) as client:
                for _ in range(5):
                    turn += 1
                    assert client.command("INCR", f"n:{index}") == turn
                if max_open > 1 and index % 3 == 0:
                    assert client.command("BLPOP", "nothing", "0.01") is None
                if max_open > 1 and index % 3 == 1:
                    assert client.command("WATCH", "w") == b"OK"
                    assert client.command("MULTI") == b"OK"
                    assert client.command("INCR", f"t:{index}") == b"QUEUED"
                    assert len(client.command("EXEC")) == 1

    with MaxOpenWatcher(server, max_open):
        in_threads(24, work)
    assert "event=worker" not in redpool.log()


def test_clients_of_all_workers_are_listed(launch, threads):
    redpool = launch.redpool(launch.server(), settings={"threads": threads})
    clients = [redpool.connect() for _ in range(3 * threads)]
    ids = [client.command("CLIENT", "ID") for client in clients]
    assert ids == sorted(set(ids)), "ids grow in the order of the connections"
    for index, client in enumerate(clients):
        assert client.command("CLIENT", "SETNAME", f"name-{index}") == b"OK"
    for client in clients:
        table = rows(client)
        assert list(table) == ids
        assert [row["name"] for row in table.values()] == [f"name-{i}" for i in range(len(ids))]
    assert list(rows(clients[0], "ID", ids[1], ids[-1])) == [ids[1], ids[-1]]
    with redpool.connect() as subscriber:
        subscriber.command("SUBSCRIBE", "news")
        for client in clients:
            assert len(rows(client, "TYPE", "pubsub")) == 1
    close_all(clients)


def test_lists_are_asked_for_in_pipelines(launch, threads):
    redpool = launch.redpool(launch.server(), settings={"threads": threads})
    clients = [redpool.connect() for _ in range(threads)]
    # All have been accepted, and are listed from here on.
    assert all(client.command("PING") == b"PONG" for client in clients)
    for client in clients:
        client.send(
            (encode("INCR", "n") + encode("CLIENT", "LIST") + encode("ECHO", "behind")) * 50
        )
    for client in clients:
        for _ in range(50):
            assert client.read() > 0
            assert client.read().count(b"id=") == threads
            assert client.read() == b"behind"
    close_all(clients)


def test_clients_of_all_workers_can_be_killed(launch, threads):
    redpool = launch.redpool(launch.server(), settings={"threads": threads})
    killer = redpool.connect()
    assert killer.command("PING") == b"PONG"
    victims = [redpool.connect() for _ in range(2 * threads)]
    for victim in victims:
        number = victim.command("CLIENT", "ID")
        assert killer.command("CLIENT", "KILL", "ID", number) == 1
        assert victim.read_until_closed() == b""
        assert killer.command("CLIENT", "KILL", "ID", number) == 0
    victims = [redpool.connect() for _ in range(2 * threads)]
    assert all(victim.command("PING") == b"PONG" for victim in victims)
    host, port = victims[1].socket.getsockname()
    assert killer.command("CLIENT", "KILL", f"{host}:{port}") == b"OK"
    assert victims.pop(1).read_until_closed() == b""
    assert killer.command("CLIENT", "KILL", "TYPE", "normal") == len(victims)
    assert all(victim.read_until_closed() == b"" for victim in victims)
    assert len(rows(killer)) == 1
    killer.close()


def test_clients_of_all_workers_can_be_unblocked(launch, threads):
    server = launch.server()
    redpool = launch.redpool(server, settings={"threads": threads})
    blocked = [redpool.connect() for _ in range(2 * threads)]
    ids = [client.command("CLIENT", "ID") for client in blocked]
    with redpool.connect() as other:
        for client in blocked:
            client.send(encode("BLPOP", "nothing", "60"))
        eventually(lambda: int(server.info("blocked_clients")) == len(blocked))
        for client, number in zip(blocked, ids):
            assert other.command("CLIENT", "UNBLOCK", number) == 1
            assert client.read() is None
            assert other.command("CLIENT", "UNBLOCK", number) == 0
        blocked[0].send(encode("BLPOP", "nothing", "60"))
        eventually(lambda: int(server.info("blocked_clients")) == 1)
        assert other.command("CLIENT", "UNBLOCK", ids[0], "ERROR") == 1
        assert blocked[0].read().startswith(b"UNBLOCKED ")
        assert all(client.command("PING") == b"PONG" for client in blocked)
    close_all(blocked)


def test_invalidations_go_to_a_client_of_another_worker(launch, threads):
    redpool = launch.redpool(launch.server(), settings={"threads": threads})
    for _ in range(threads):
        # Some of the pairs are on two workers, whichever gets the first.
        with redpool.connect() as receiver, redpool.connect() as tracker:
            number = receiver.command("CLIENT", "ID")
            assert receiver.command("SUBSCRIBE", "__redis__:invalidate")[0] == b"subscribe"
            tracked = tracker.command("CLIENT", "TRACKING", "ON", "REDIRECT", number)
            assert tracked == b"OK"
            tracker.command("GET", "watched")
            with redpool.connect() as writer:
                assert writer.command("SET", "watched", "new") == b"OK"
            assert receiver.read() == [b"message", b"__redis__:invalidate", [b"watched"]]


def test_max_clients_holds_for_all_workers(launch, threads):
    redpool = launch.redpool(launch.server(), settings={"threads": threads, "maxClients": 10})
    clients = [redpool.connect() for _ in range(10)]
    assert all(client.command("PING") == b"PONG" for client in clients)
    for _ in range(5):
        with redpool.connect() as extra:
            assert extra.read_until_closed() == b"-ERR max number of clients reached\r\n"
    close_all(clients)


def test_a_drain_waits_for_every_worker(launch, threads):
    server = launch.server()
    redpool = launch.redpool(server, settings={"threads": threads, "drainTimeout": "120s"})
    clients = [redpool.connect(timeout=30) for _ in range(2 * threads)]
    assert all(client.command("PING") == b"PONG" for client in clients)
    server.pause()
    for client in clients:
        client.send(encode("INCR", "total"))
    eventually(lambda: server.unread_bytes() > 0, what="a command reaching the server")
    # Of some worker's clients; what the others have not read yet is not in flight.
    eventually(lambda: all(redpool.has_read(client) for client in clients))
    redpool.signal()
    eventually(lambda: "event=drain.begin" in redpool.log())
    server.resume()
    assert sorted(client.read() for client in clients) == list(range(1, len(clients) + 1))
    assert all(client.read_until_closed() == b"" for client in clients)
    assert redpool.wait(30) == 0
    assert redpool.log().count("event=drain.begin") == 1
    assert redpool.log().count("event=drain.end") == 1


def test_statistics_are_one_line_for_all_workers(launch, threads):
    redpool = launch.redpool(
        launch.server(), settings={"threads": threads, "log": {"stats": "1s"}}
    )
    clients = [redpool.connect() for _ in range(3 * threads)]
    for client in clients:
        for _ in range(10):
            client.command("INCR", "n")
    wanted = f" clients={len(clients)} .* commands_shared={10 * len(clients)} "
    eventually(lambda: re.search(wanted, redpool.log()), what="the sums being logged")
    started = time.monotonic()
    before = len(statistics(redpool))
    eventually(lambda: len(statistics(redpool)) >= before + 5)
    assert time.monotonic() - started > 2.5
    # A worker that spoke for itself would know of some of them only.
    assert all(f" clients={len(clients)} " in line for line in statistics(redpool)[before:])
    close_all(clients)


def statistics(redpool) -> list:
    return re.findall("^.*event=pool.statistics.*\n", redpool.log(), re.M)


def test_no_increment_runs_twice_when_the_server_is_killed(launch, threads):
    server = launch.server("--appendonly", "yes", "--appendfsync", "always")
    redpool = launch.redpool(server, settings={"threads": threads})
    stop = threading.Event()
    answered, unknown = Counter(), Counter()

    def work(index):
        while not stop.is_set():
            try:
                with redpool.connect(timeout=30) as client:
                    while not stop.is_set():
                        unknown[index] += 1
                        reply = client.command("INCR", f"ledger:{index}")
                        unknown[index] -= 1
                        # An error: it was refused before it was sent.
                        answered[index] += not isinstance(reply, ErrorReply)
            except (Closed, ConnectionError):
                pass

    workers = [threading.Thread(target=work, args=(index,)) for index in range(16)]
    for worker in workers:
        worker.start()
    for _ in range(3):
        before = sum(answered.values())
        eventually(lambda: sum(answered.values()) > before + 200, 60)
        server.stop(9)
        server.start()
    before = sum(answered.values())
    eventually(lambda: sum(answered.values()) > before + 200, 60)
    stop.set()
    for worker in workers:
        worker.join(60)
    for index in range(16):
        value = int(server.command("GET", f"ledger:{index}") or 0)
        assert answered[index] <= value <= answered[index] + unknown[index]


def test_a_thousand_clients(launch, threads):
    server = launch.server()
    redpool = launch.redpool(server, settings={"threads": threads})
    clients = [redpool.connect(timeout=60) for _ in range(1000)]
    with MaxOpenWatcher(server, 32), Neighbours(redpool.tcp):
        for turn in range(1, 6):
            for index, client in enumerate(clients):
                client.send(encode("INCR", f"n:{index}") + encode("ECHO", f"{index}"))
            for index, client in enumerate(clients):
                assert client.read() == turn
                assert client.read() == str(index).encode()
    assert len(rows(clients[0])) >= 1000
    sizes = [len(group) for group in by_worker(redpool, clients).values()]
    assert len(sizes) == threads and max(sizes) - min(sizes) <= 4
    close_all(clients)


def test_workers_that_do_not_serve_a_pool_keep_out_of_it(launch, tmp_path):
    """Pools of four connections are served by two workers each; the other six want none."""
    server = launch.server()
    pool = {"maxOpen": 4, "maxPinned": 3, "minIdle": 2}
    others = {
        f"other-{index}": pool | {
            "listen": f"unix:{tmp_path}/{index}.sock", "upstream": server.tcp.text}
        for index in range(11)
    }
    redpool = launch.redpool(server, pool=pool, pools=others, settings={"threads": 8})
    # Ours is one of those that the server counts.
    wanted = 1 + 2 * 12
    eventually(lambda: int(server.info("connected_clients")) == wanted, what="minIdle")
    always(lambda: int(server.info("connected_clients")) == wanted, 1, what="minIdle")
    clients = [redpool.connect() for _ in range(4)]
    for client in clients[:3]:
        client.send(encode("BLPOP", "nothing", "60"))
    eventually(lambda: int(server.info("blocked_clients")) == 3, what="all pins")
    assert clients[3].command("PING") == b"PONG"
    close_all(clients)
