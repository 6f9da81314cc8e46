"""Every command of the console in every situation, and in each of its forms."""

import contextlib
import json
import re
import subprocess
import time

import pytest

from harness.load import in_threads
from harness.tasks import stopped, tasks
from harness.waiting import eventually
from harness.wire import encode

pytestmark = pytest.mark.daemon

# The header of each table.
TABLES = {
    "POOLS": "pool", "CLIENTS": "id", "UPSTREAMS": "id", "SUBSCRIPTIONS": "pool",
    "NODES": "pool", "SENTINELS": "pool",
    "STATS": "pool", "LATENCY": "pool", "ERRORS": "pool", "SLOWLOG": "time", "CONFIG": "key", "MEMORY": "term", "VERSION": "name",
    "HELP": "command",
}
VARIANTS = [
    "SHOW CLIENTS main BY wait LIMIT 3", "SHOW CLIENTS BY idle", "SHOW CLIENTS BY commands",
    "SHOW CLIENTS BY bytes", "SHOW CLIENTS BY pinned", "SHOW UPSTREAMS main", "SHOW STATS main",
    "SHOW SUBSCRIPTIONS main LIMIT 3",
    "SHOW LATENCY main", "SHOW ERRORS main", "SHOW SLOWLOG 3", "SHOW CONFIG log.",
]
# What they answer, everywhere.
OTHERS = {
    "PING": "PONG", "CLIENT ID": r"\d+", "CLIENT SETNAME me": "OK", "CLIENT GETNAME": "me",
    "COMMAND": r"\[\]", "COMMAND DOCS": r"\[\]", "INFO": "(?s)# Server.*# Pools.*",
    "INFO clients": "(?s)# Clients.*", "LOG LEVEL info FOR 1s": "OK", "LOG CLIENTS off FOR 1s": "OK",
    "KILL CLIENT 999999": "ERR no client has the id 999999.*",
    "KILL UPSTREAM 999999": "ERR no upstream has the id 999999.*",
    "RECONNECT main": "OK .* when free.*", "RESUME main": "OK|NOTPAUSED .*",
    "PAUSE main MAX 50ms": "OK.*|TIMEOUT .*", "RELOAD": "OK|ERR .*|.*has not answered.*",
}


def text(reply) -> str:
    if isinstance(reply, list) and reply:
        return "\n".join(line.decode() for line in reply)
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def ask(console, words, form=()):
    """The reply, which has to come within seconds."""
    began = time.monotonic()
    reply = console.command(*words.split(), *form)
    assert time.monotonic() - began < 10, words
    return reply


def see_table(console, version, words):
    reply = ask(console, words)
    assert isinstance(reply, list) == (version == 2), (words, reply)
    head = TABLES[words.split()[1]]
    assert re.match(rf" *{head} ", text(reply).splitlines()[0]), (words, reply)
    rows = json.loads(ask(console, words, ["JSON"]))
    assert all(next(iter(row)) == head for row in rows), words


def see_others(console, version):
    for one, wanted in OTHERS.items():
        assert re.fullmatch(wanted, text(ask(console, one))), one


def ask_everything(redpool, at_once=1):
    """Each command gets the answer that it is to have."""
    tables = [f"SHOW {table}" for table in TABLES] + VARIANTS
    for version in (2, 3):
        def work(index):
            with redpool.console(30) as console:
                assert console.command("HELLO", version)
                for words in tables[index::at_once]:
                    see_table(console, version, words)

        in_threads(at_once, work)
        if at_once > 1 and version == 2:
            continue
        with redpool.console(30) as console:
            assert console.command("HELLO", version)
            see_others(console, version)


def pipe(redpool, *options) -> str:
    """What redis-cli prints that gets all commands through a pipe."""
    words = [f"SHOW {table}" for table in TABLES] + [f"SHOW {table} JSON" for table in TABLES]
    done = subprocess.run(
        ["redis-cli", *options, "-s", redpool.admin.path], input="\n".join([*words, "PING", ""]),
        capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, done
    return done.stdout


def everything_answers(redpool):
    ask_everything(redpool)
    for options in ([], ["-3"]):
        said = pipe(redpool, *options)
        assert said.endswith("PONG\n") and not re.search("^ERR", said, re.M), said
        for head in TABLES.values():
            assert re.search(rf"^ *{head} ", said, re.M), head
            assert f'"{head}": ' in said or head == "time", head


def test_when_all_is_well(launch):
    redpool = launch.redpool(launch.server(), console=True)
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        everything_answers(redpool)


def test_at_max_clients(launch):
    redpool = launch.redpool(launch.server(), settings={"maxClients": 3}, console=True)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            assert stack.enter_context(redpool.connect()).command("PING") == b"PONG"
        assert b"max number" in stack.enter_context(redpool.connect()).read_until_closed()
        everything_answers(redpool)


@pytest.mark.parametrize("threads", [1, 2])
def test_during_an_outage(launch, threads):
    server = launch.server()
    redpool = launch.redpool(
        server, pool={"poolTimeout": "60s"}, settings={"threads": threads}, console=True)
    redpool.warm_up()
    with redpool.connect() as client:
        server.stop()
        eventually(lambda: redpool.show("POOLS")[0]["state"] == "down", what="the outage")
        client.send(encode("GET", "k"))
        eventually(lambda: redpool.show("POOLS")[0]["waiting"] == 1, what="a waiter")
        everything_answers(redpool)


@pytest.mark.parametrize("threads", [1, 2])
def test_with_a_server_that_hangs(launch, threads):
    server = launch.server()
    redpool = launch.redpool(server, settings={"threads": threads}, console=True)
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        server.pause()
        client.send(encode("GET", "k"))
        eventually(lambda: redpool.show("POOLS")[0]["in_flight"] == 1, what="a command in flight")
        everything_answers(redpool)
        server.resume()
        assert client.read() is None


@pytest.mark.parametrize("threads", [1, 2])
def test_while_draining(launch, threads):
    redpool = launch.redpool(
        launch.server(), settings={"drainTimeout": "120s", "threads": threads}, console=True)
    with redpool.connect() as client:
        assert client.command("MULTI") == b"OK"
        redpool.signal()
        eventually(lambda: "drain.begin" in redpool.log())
        everything_answers(redpool)
        assert client.command("EXEC") == []
    assert redpool.wait() == 0


@pytest.mark.parametrize("threads", [1, 2])
def test_with_a_worker_stopped(launch, threads):
    redpool = launch.redpool(launch.server(), settings={"threads": threads}, console=True)
    redpool.warm_up()
    with stopped(tasks(redpool.process)[f"worker-{threads - 1}"]):
        # Each answer takes half a second.
        ask_everything(redpool, at_once=11)
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"


def test_without_descriptors(launch):
    redpool = launch.redpool(launch.server(), limit=128, console=True)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(redpool.connect())
        assert first.command("PING") == b"PONG"
        # As many clients as there is room for, and then some.
        for _ in range(128):
            stack.enter_context(redpool.connect())
        redpool.limit_fds(redpool.fds())
        stack.enter_context(redpool.connect())
        eventually(lambda: "listener.rest" in redpool.log() or "client.rejected" in redpool.log())
        everything_answers(redpool)
        assert first.command("PING") == b"PONG"


# --- who waits longest


def wait_for_a_reply(redpool, server, culprit, others):
    server.pause()
    return lambda client: client.send(encode("GET", "k"))


def wait_for_a_pin(redpool, server, culprit, others):
    others[-1].command("WATCH", "k")
    others[-2].command("WATCH", "k")
    return lambda client: client.send(encode("BLPOP", "never", "0"))


def wait_for_a_server(redpool, server, culprit, others):
    server.stop()
    return lambda client: client.send(encode("GET", "k"))


def wait_for_resume(redpool, server, culprit, others):
    assert culprit.command("SUBSCRIBE", "c")[0] == b"subscribe"
    with redpool.console() as console:
        assert console.command("PAUSE", "main", "MAX", "60s").startswith(b"OK")
    return lambda client: client.send(encode("PING"))


def wait_behind_a_script(redpool, server, culprit, others):
    script = "local t = redis.call('TIME')[1] repeat until redis.call('TIME')[1] - t > 3"
    culprit.send(encode("EVAL", script, "0"))
    eventually(lambda: redpool.show("CLIENTS", "BY", "wait")[0]["cmd"] == "eval")
    return lambda client: client is culprit or client.send(encode("GET", "k"))


def wait_for_its_own_reading(redpool, server, culprit, others):
    server.command("SET", "large", "x" * 30_000_000)
    culprit.send(encode("GET", "large"))
    return lambda client: client is culprit or client.send(encode("PING"))


@pytest.mark.parametrize("way, states", [
    (wait_for_a_reply, {"active"}), (wait_for_a_pin, {"waiting"}), (wait_for_a_server, {"waiting"}),
    (wait_for_resume, {"waiting"}), (wait_behind_a_script, {"active"}),
    (wait_for_its_own_reading, {"active"}),
])
def test_the_one_that_waits_longest_is_found(launch, way, states):
    server = launch.server()
    redpool = launch.redpool(
        server, pool={"maxOpen": 4, "maxPinned": 2, "poolTimeout": "60s"}, console=True)
    redpool.warm_up()
    with contextlib.ExitStack() as stack:
        culprit, *others = (stack.enter_context(redpool.connect(60)) for _ in range(8))
        number = culprit.command("CLIENT", "ID")
        assert all(other.command("PING") == b"PONG" for other in others)
        wait = way(redpool, server, culprit, others)

        def first():
            return redpool.show("CLIENTS", "main", "BY", "wait", "LIMIT", "1")[0]

        wait(culprit)
        row = eventually(
            lambda: (row := first())["id"] == number and row["since_ms"] >= 20 and row,
            what="the culprit")
        for other in others[:5]:
            wait(other)
        for _ in range(3):
            row = first()
            assert row["id"] == number and row["state"] in states, row
        server.resume()
