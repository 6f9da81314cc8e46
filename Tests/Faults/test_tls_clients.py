"""Many clients with TLS: they do not delay others, and take no memory with them when they leave."""

import asyncio
import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

import pytest

from harness.certificates import authority
from harness.tls import SecureSocket, client_context
from harness.waiting import eventually
from harness.wire import AsyncConnection, Connection

pytestmark = pytest.mark.daemon
MB = 1 << 20


@contextlib.contextmanager
def storm(port, count, nice=0):
    """`count` clients that are about to connect. If they are too nice on a busy machine, their
    handshakes end after 10 s."""
    process = subprocess.Popen(
        [
            sys.executable, str(pathlib.Path(__file__).with_name("storm.py")), str(port),
            str(count), authority().file,
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=lambda: os.nice(nice),
    )
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.stdin.close()
        process.wait(60)


async def latencies(clients, is_over):
    """The seconds that the clients' PINGs took, 20 a second each."""
    found = []

    async def ask(client, delay):
        await asyncio.sleep(delay)
        while not is_over():
            began = time.monotonic()
            await client.command("PING")
            found.append(time.monotonic() - began)
            await asyncio.sleep(max(0, began + 0.05 - time.monotonic()))

    await asyncio.gather(*(ask(client, i / 1000) for i, client in enumerate(clients)))
    return found


def p99(values) -> float:
    return sorted(values)[len(values) * 99 // 100]


async def measure(redpool, process):
    clients = [await AsyncConnection.open(redpool.tcp6) for _ in range(50)]
    for client in clients:
        await client.command("PING")
    end = time.monotonic() + 2
    before = await latencies(clients, lambda: time.monotonic() > end)
    process.stdin.write("go\n")
    done = asyncio.ensure_future(asyncio.to_thread(process.stdout.readline))
    during = await latencies(clients, done.done)
    line = await done
    for client in clients:
        client.close()
    return before, during, line


def cpu_time(redpool) -> float:
    """Seconds of all threads of the daemon, to the microsecond."""
    tasks = pathlib.Path(f"/proc/{redpool.process.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def test_others_have_their_turns_in_a_storm(launch):
    """One turn goes on with at most 4 handshakes, or for 1 ms. What is measured is the time that the
    daemon works between a command and its answer: on a busy machine it is the same."""
    redpool = launch.redpool(launch.server(), tls=True)
    with storm(redpool.tcp.port, 700) as process, Connection(redpool.tcp6) as client:
        assert client.command("PING") == b"PONG"
        process.stdin.write("go\n")
        done = threading.Thread(target=process.stdout.readline)
        done.start()
        work = []
        while done.is_alive():
            before = cpu_time(redpool)
            assert client.command("PING") == b"PONG"
            work.append(cpu_time(redpool) - before)
    print(f"{len(work)} answers, at most {max(work) * 1000:.1f} ms of work for one")
    assert max(work) < 0.03


@pytest.mark.alone
def test_a_storm_of_handshakes_delays_nobody(launch):
    """1,000 connects at once beside 50 plain clients at a fixed rate."""
    redpool = launch.redpool(launch.server(), tls=True)
    best = None
    # What else the machine does can only make it worse.
    for _ in range(3):
        # What they take of the machine is not what is measured.
        with storm(redpool.tcp.port, 1000, nice=19) as process:
            before, during, line = asyncio.run(measure(redpool, process))
        assert line.startswith("done "), line
        rise = p99(during) - p99(before)
        print(f"p99 {p99(before):.4f} -> {p99(during):.4f} s, {line.strip()} s")
        best = rise if best is None else min(best, rise)
        if best < 0.010:
            break
    assert best < 0.010, f"the p99 of others rose by {best * 1000:.1f} ms"


def test_idle_clients_take_little(launch):
    """16 KB each is the target."""
    redpool = launch.redpool(launch.server(), tls=True)
    context = client_context()
    with contextlib.ExitStack() as stack:
        connect(redpool, context, stack)
        before, count = redpool.rss(), 500
        for _ in range(count):
            connect(redpool, context, stack)
        each = (redpool.rss() - before) / count
    print(f"{each / 1024:.1f} KB for each idle client")
    assert each < 20 << 10


def connect(redpool, context, stack):
    client = stack.enter_context(Connection(redpool.tcp, made=made(redpool, context)))
    assert client.command("PING") == b"PONG"


def made(redpool, context, session=None):
    plain = socket.create_connection((redpool.tcp.host, redpool.tcp.port), 20)
    return SecureSocket(plain, context, session=session)


def test_short_sessions_leave_nothing(launch, full):
    """Connects and closes: the memory is back where it was."""
    redpool = launch.redpool(launch.server(), tls=True)
    context = client_context()

    def sessions(count):
        for index in range(count):
            client = Connection(redpool.tcp, made=made(redpool, context))
            assert client.command("PING") == b"PONG"
            # Half of them say goodbye.
            if index % 2:
                assert client.command("QUIT") == b"OK"
            client.close()

    sessions(300)
    before, fds = redpool.rss(), redpool.fds()
    sessions(10_000 if full else 1000)
    eventually(lambda: redpool.fds() <= fds)
    eventually(lambda: redpool.rss() - before < MB, what="the memory being back")


def test_those_who_do_not_read_are_bounded(launch):
    """Ciphertext that waits counts as output: `totalOutputLimit` holds for it as well."""
    redpool = launch.redpool(
        launch.server(), tls=True, pool={"clientOutputLimit": "64kb"},
        settings={"totalOutputLimit": "4mb"},
    )
    context = client_context()
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(Connection(redpool.tcp6))
        assert writer.command("SET", "large", b"x" * (8 * MB)) == b"OK"
        before = redpool.rss()
        for _ in range(40):
            client = stack.enter_context(Connection(redpool.tcp, made=made(redpool, context)))
            client.send(b"*2\r\n$3\r\nGET\r\n$5\r\nlarge\r\n")
        eventually(lambda: writer.command("PING") == b"PONG")
        assert redpool.rss() - before < 24 * MB
