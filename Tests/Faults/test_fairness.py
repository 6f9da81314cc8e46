"""One client or a crowd that wants everything: the others go on being served."""

import asyncio
import re
import multiprocessing
import select
import socket
import statistics
import subprocess
import time

import pytest

from harness.load import Neighbours
from harness.waiting import always, eventually
from harness.wire import AsyncConnection, Connection, encode

POLITE = 50
ROUNDS = 40

async def polite(address, rounds=ROUNDS):
    """The latencies of fifty clients that wait for each reply, in seconds. All get all of them."""
    clients = [await AsyncConnection.open(address) for _ in range(POLITE)]
    taken = []

    async def work(number, client):
        for turn in range(rounds):
            started = time.monotonic()
            token = f"{number}-{turn}".encode()
            assert await client.command("ECHO", token) == token
            taken.append(time.monotonic() - started)

    async with asyncio.timeout(100):
        await asyncio.gather(*(work(*item) for item in enumerate(clients)))
    for client in clients:
        client.close()
    return taken


class Greedy:
    """redis-benchmark with one client and a deep pipeline that never ends."""

    def __init__(self, address, depth):
        self._process = subprocess.Popen(
            ["redis-benchmark", *address.cli, "-c", "1", "-P", str(depth), "-l", "INCR", "greedy"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait(20)


@pytest.mark.alone
@pytest.mark.parametrize("depth", [1000, 20_000])
def test_greedy_pipeline(launch, depth):
    """It gets as much as the server gives it, but not the others' turns."""
    server = launch.server()
    redpool = launch.redpool(server)
    alone = statistics.median(asyncio.run(polite(redpool.tcp)))
    with Greedy(redpool.tcp, depth):
        eventually(lambda: int(server.command("GET", "greedy") or 0) > 5 * depth)
        before = int(server.command("GET", "greedy"))
        through = statistics.median(asyncio.run(polite(redpool.tcp)))
        assert int(server.command("GET", "greedy")) > before
    with Greedy(server.tcp, depth):
        direct = statistics.median(asyncio.run(polite(server.tcp)))
    print(
        f"median of {POLITE} clients: {alone * 1e3:.1f} ms alone, {through * 1e3:.1f} ms beside a "
        f"pipeline of {depth}; without Redpool {direct * 1e3:.1f} ms"
    )
    # No more than a few turns of the greedy one, each of at most 64 KB of commands. The longest few
    # are those in which somebody else had the processor.
    assert through < max(5 * direct, alone + 0.5)


def pour(address, data, count, stop):
    """Clients that send all that is taken, and read what comes back."""
    sockets = [address.connect() for _ in range(count)]
    for one in sockets:
        one.setblocking(False)
    while not stop.is_set():
        readable, writable, _ = select.select(sockets, sockets, [], 0.1)
        for one in readable:
            one.recv(1 << 18)
        for one in writable:
            try:
                one.send(data)
            except BlockingIOError:
                pass


def latency_beside(address, data):
    """The median of a neighbour's round trips, in seconds, while twenty others send `data`."""
    taken = []
    # A process of its own: the neighbour is not to wait for Python.
    context = multiprocessing.get_context("fork")
    stop = context.Event()
    crowd = context.Process(target=pour, args=(address, data, 20, stop))
    with Connection(address, 60) as neighbour:
        crowd.start()
        try:
            warm = time.monotonic() + 0.3
            while len(taken) < 9:
                began = time.monotonic()
                assert neighbour.command("ECHO", "x") == b"x"
                if began > warm:
                    taken.append(time.monotonic() - began)
        finally:
            stop.set()
            crowd.join(10)
            crowd.kill()
    return statistics.median(taken)


FLOODS = {
    "blank lines": b"\r\n" * 50_000,
    "inline": b"PING\r\n" * 20_000,
    "unknown inline": b"a\r\n" * 30_000,
    "quoted": b'get "a b c"\r\n' * 8000,
    "refused": encode("DEBUG", "x") * 4000,
    "unknown": encode("nosuch") * 6000,
    "rewritten": encode("CLIENT", "ID") * 4000,
    "names": encode("CLIENT", "SETNAME", "x") * 3000,
    "watches": (encode("WATCH", "a") + encode("UNWATCH")) * 2000,
}


@pytest.mark.alone
@pytest.mark.parametrize("flood", FLOODS)
def test_flood_of_what_costs_more_than_its_bytes(launch, flood):
    """A turn is bounded by what is done in it: others wait about as long as beside the server."""
    server = launch.server()
    redpool = launch.redpool(server)
    redpool.warm_up()
    through = latency_beside(redpool.tcp, FLOODS[flood])
    # The first server may be busy with what is left for a while.
    direct = latency_beside(launch.server().tcp, FLOODS[flood])
    print(f"{through * 1e3:.1f} ms, without Redpool {direct * 1e3:.1f} ms")
    assert through < 3 * direct + 0.05


@pytest.mark.parametrize("state", ["open", "held", "piped"])
def test_what_is_left_of_a_turn_goes_on(launch, state):
    """Lines, blank lines and arrays of many turns in one go, and the end of them: all are answered."""
    redpool = launch.redpool(launch.server())
    commands = (b"INCR turns\r\n" + b"\r\n" * 7 + encode("INCR", "turns")) * 3000
    with redpool.connect() as client:
        if state != "open":
            assert client.command("WATCH", "w") == b"OK"
        if state == "piped":
            client.send(encode("SET", "large", b"x" * 200_000))
            assert client.read() == b"OK"
        client.send(commands)
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_until_closed() == b"".join(b":%d\r\n" % n for n in range(1, 6001))


def test_accept_storm(launch):
    """Thousands who come and go do not keep the others from being served."""
    redpool = launch.redpool(launch.server())
    with Neighbours(redpool.tcp) as neighbours:
        eventually(lambda: neighbours.rounds > 10)
        for _ in range(5):
            before = neighbours.rounds
            crowd = [redpool.connect() for _ in range(1000)]
            eventually(lambda: neighbours.rounds > before + 5)
            for client in crowd:
                client.close()
    with redpool.connect() as late:
        assert late.command("PING") == b"PONG"


@pytest.fixture
def starving(launch, shim):
    """A server, a daemon whose calls of the kernel can be made to fail, and how to do that."""
    server = launch.server()
    return server, launch.redpool(server, pool={"maxOpen": 4}, environment=shim.environment), shim.say


def test_no_memory_for_new_clients(starving):
    """The listener rests without spinning; whoever is connected notices nothing."""
    _, redpool, fail = starving
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        fail("accept4")
        late = redpool.connect()
        late.send(encode("ECHO", "late"))
        eventually(lambda: "event=listener.rest" in redpool.log())
        cpu, clock = redpool.cpu_seconds(), time.monotonic()
        eventually(lambda: client.command("PING") and time.monotonic() - clock > 1.5, interval=0.05)
        assert redpool.cpu_seconds() - cpu < 0.5
        fail("")
        assert late.read() == b"late"
        late.close()


def test_no_memory_for_upstreams(starving):
    """Waiting commands are told why; the next connection that can be had serves again."""
    server, redpool, fail = starving
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        fail("socket")
        server.command("CLIENT", "KILL", "TYPE", "normal")
        refusal = eventually(
            lambda: (lambda reply: reply.startswith(b"UPSTREAMDOWN") and reply)(
                client.command("ECHO", "x")
            )
        )
        assert b"No buffer space available" in refusal, refusal
        fail("")
        eventually(lambda: client.command("ECHO", "back") == b"back")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "command",
    [("BLPOP", "list", "0"), ("MULTI",), ("SUBSCRIBE", "channel"), ("WAIT", "1", "300")],
    ids=lambda command: command[0],
)
def test_last_upstream_stays_shared_while_the_server_is_full(launch, threads, command):
    """Those who would hold it wait until the server takes another connection."""
    server = launch.server("--maxclients", "12")
    redpool = launch.redpool(server, settings={"threads": threads})
    others = [redpool.connect() for _ in range(4)]
    assert {other.command("SET", "k", "v") for other in others} == {b"OK"}
    fillers = fill(server)
    holder = redpool.connect()
    assert holder.command("SET", "held", "v") == b"OK"
    holder.send(encode(*command))
    always(lambda: {one.command("SET", "k", "v") for one in others} == {b"OK"}, 0.5)
    for filler in fillers:
        filler.close()
    if command[0] == "BLPOP":
        eventually(lambda: server.info("blocked_clients") == "1")
        assert others[0].command("RPUSH", "list", "x") == 1
        assert holder.read() == [b"list", b"x"]
    else:
        answers = {"MULTI": b"OK", "SUBSCRIBE": [b"subscribe", b"channel", 1], "WAIT": 0}
        assert holder.read() == answers[command[0]]
        assert others[0].command("GET", "k") == b"v"
    for client in (holder, *others):
        client.close()


def fill(server):
    """Connections until the server refuses one."""
    made = []
    while True:
        one = server.connect()
        made.append(one)
        try:
            if one.command("PING") != b"PONG":
                return made
        except OSError:
            return made


@pytest.mark.parametrize("threads", [1, 2])
def test_output_buffer_limit_of_the_server(launch, threads):
    """Replies that are far below it each do not add up to it: nobody loses any."""
    size = 100_000
    server = launch.server("--client-output-buffer-limit", "normal 4mb 0 0")
    server.command("SET", "v", "x" * size)
    redpool = launch.redpool(server, settings={"threads": threads})
    clients = [redpool.connect(60) for _ in range(80)]
    # First without any knowledge of the replies, then with it, and 80 for one client.
    for client in clients:
        client.send(encode("GET", "v"))
    assert {len(client.read()) for client in clients} == {size}
    clients[0].send(encode("GET", "v") * 80)
    clients[1].send(encode("GET", "v"))
    assert len(clients[1].read()) == size
    assert {len(clients[0].read()) for _ in range(80)} == {size}
    assert "upstream.lost" not in redpool.log()
    for client in clients:
        client.close()


def test_output_buffer_limit_that_is_set_later(launch):
    """It is asked for again behind PING, and holds for connections that are there."""
    server = launch.server()
    server.command("SET", "v", "x" * 100_000)
    redpool = launch.redpool(server, pool={"pingInterval": "100ms"})
    redpool.warm_up()
    server.command("CONFIG", "SET", "client-output-buffer-limit", "normal 4mb 0 0")
    asked = questions(server)
    # Two each time; the first of these may have begun before.
    eventually(lambda: questions(server) >= asked + 4)
    clients = [redpool.connect(60) for _ in range(80)]
    for client in clients:
        client.send(encode("GET", "v"))
    assert {len(client.read()) for client in clients} == {100_000}
    assert "upstream.lost" not in redpool.log()
    for client in clients:
        client.close()


def questions(server):
    """How often CONFIG GET was called."""
    found = re.search(rb"cmdstat_config\|get:calls=(\d+)", server.command("INFO", "commandstats"))
    return int(found.group(1)) if found else 0


def test_full_wait_queue_and_its_end(launch):
    """Everybody who waits has a place, a deadline, and gets an answer in words."""
    server = launch.server()
    redpool = launch.redpool(server, pool={"maxOpen": 2, "poolTimeout": "500ms"})
    redpool.warm_up()
    with Connection(redpool.tcp) as holder:
        holder.send(encode("BLPOP", "list", "0"))
        eventually(lambda: server.info("blocked_clients") == "1")
        clients = [redpool.connect() for _ in range(500)]
        for client in clients:
            client.send(encode("BLPOP", "list", "0"))
        replies = [client.read() for client in clients]
        assert all(reply.startswith(b"PINLIMIT pool main: ") for reply in replies)
        for client in clients:
            client.close()


def test_slow_pipelines_are_queued_behind_each_other(launch):
    """More slow commands than upstreams like to have at once, and a server that takes its time:
    they wait where they would on a connection of their own, not in a queue with a deadline."""
    server = launch.server()
    redpool = launch.redpool(server, pool={"maxOpen": 4, "poolTimeout": "200ms"})
    redpool.warm_up()
    server.command("RPUSH", "list", *range(10))
    clients = [redpool.connect() for _ in range(12)]
    for client in clients:
        assert client.command("PING") == b"PONG"
    server.pause()
    for client in clients:
        client.send(encode("LRANGE", "list", "0", "-1") * 64)
    with redpool.connect() as last:
        # Its deadline comes after that of anybody who waits by now.
        reply = last.command("BLPOP", "nothing", "0")
        assert reply.startswith((b"POOLTIMEOUT", b"PINLIMIT")), reply
    server.resume()
    for client in clients:
        for _ in range(64):
            assert client.read() == [b"%d" % number for number in range(10)]


@pytest.mark.alone
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "command",
    [
        ("CLIENT", "LIST", "ID", "999999999"),
        ("CLIENT", "LIST", "TYPE", "pubsub"),
        ("CLIENT", "KILL", "ID", "999999999"),
        ("CLIENT", "KILL", "ADDR", "127.0.0.1:1"),
        ("CLIENT", "KILL", "LADDR", "127.0.0.1:1"),
        ("CLIENT", "KILL", "USER", "nobody"),
    ],
    ids=lambda command: " ".join(command[1:3]),
)
def test_orders_about_nobody_cost_next_to_nothing(launch, threads, command):
    """However many clients there are. Five hundred of them in one write, and somebody's PING."""
    server = launch.server()
    server.command("ACL", "SETUSER", "nobody")
    redpool = launch.redpool(server, settings={"threads": threads})
    with redpool.connect() as greedy, redpool.connect() as other:
        idle = [redpool.connect() for _ in range(2000)]
        assert {one.command("PING") for one in (*idle, greedy, other)} == {b"PONG"}
        greedy.send(encode(*command) * 500)
        began = time.monotonic()
        assert other.command("PING") == b"PONG"
        waited = time.monotonic() - began
        answers = {greedy.read() for _ in range(500)}
        taken = time.monotonic() - began
        for one in idle:
            one.close()
    print(f"PING after {waited:.3f} s, all {taken:.3f} s")
    assert answers <= {0, b""}
    # Each used to take 10 ms and more.
    assert waited < 1
    assert taken < 3


@pytest.mark.alone
def test_a_pipeline_of_lists_takes_turns_with_others(launch):
    """Whole lists cost what they are long; others have their turn after each."""
    redpool = launch.redpool(launch.server())
    with redpool.connect() as greedy, redpool.connect() as other:
        idle = [redpool.connect() for _ in range(1000)]
        assert {one.command("PING") for one in (*idle, greedy, other)} == {b"PONG"}
        before = redpool.rss()
        greedy.send(encode("CLIENT", "LIST") * 200 + encode("ECHO", "behind"))
        began = time.monotonic()
        assert other.command("PING") == b"PONG"
        assert time.monotonic() - began < 0.5
        # What it has not read is not made: its own socket takes a few lists.
        always(lambda: redpool.rss() - before < 16 << 20, 0.3)
        lists = [greedy.read() for _ in range(200)]
        assert {text.count(b"\n") for text in lists} == {1002}
        assert greedy.read() == b"behind"
        for one in idle:
            one.close()


def test_orders_keep_nothing_while_the_server_hangs(launch):
    """Lists of the other workers' clients are asked for when they are wanted, not kept ready."""
    server = launch.server()
    redpool = launch.redpool(server, settings={"threads": 2})
    idle = [redpool.connect() for _ in range(500)]
    greedy = [redpool.connect() for _ in range(4)]
    assert {one.command("PING") for one in idle + greedy} == {b"PONG"}
    server.pause()
    before = redpool.rss()
    for one in greedy:
        one.send(encode("CLIENT", "LIST") * 100)
    always(lambda: redpool.rss() - before < 8 << 20, 1)
    server.resume()
    for one in greedy:
        assert {one.read().count(b"\n") for _ in range(100)} == {504}
    assert redpool.rss() - before < 32 << 20
    for one in idle + greedy:
        one.close()
