"""The summary line of each pool: its own numbers, over all workers."""

import contextlib
import fcntl
import os
import re
import subprocess

import pytest

from harness.daemon import BINARY, yaml
from harness.waiting import eventually
from harness.wire import Address, Connection, encode

pytestmark = pytest.mark.daemon


def last_line(redpool, pool) -> dict:
    """The fields of the pool's latest statistics."""
    lines = [
        line for line in redpool.log().splitlines()
        if "event=pool.statistics" in line and f" pool={pool} " in f"{line} "
    ]
    return dict(re.findall(r"(\S+?)=(\S+)", lines[-1])) if lines else {}


@pytest.mark.parametrize("threads", [1, 2])
def test_each_pool_has_numbers_of_its_own(launch, tmp_path, threads):
    server = launch.server()
    other = Address(path=f"{tmp_path}/other.sock")
    redpool = launch.redpool(
        server,
        pools={"other": {"listen": other.text, "upstream": server.tcp.text}},
        settings={"threads": threads, "log": {"stats": "1s"}, "maxClients": 5},
    )
    busy = [redpool.connect() for _ in range(3)]
    for client in busy:
        for _ in range(4):
            client.command("INCR", "n")
    quiet = [Connection(other) for _ in range(2)]
    assert quiet[0].command("BLPOP", "nothing", "0.01") is None
    assert quiet[1].command("RESET") == b"RESET"
    # One too many, for this pool.
    refused = Connection(other)
    assert b"max number of clients" in refused.read_until_closed()

    def counts(pool, **wanted):
        found = last_line(redpool, pool)
        return found and all(found.get(name) == str(value) for name, value in wanted.items())

    eventually(
        lambda: counts(
            "main", clients=3, accepted=3, rejected=0, commands_shared=12, commands_pinned=0,
            commands_local=0),
        what="main's numbers",
    )
    eventually(
        lambda: counts(
            "other", clients=2, accepted=2, rejected=1, commands_shared=0, commands_pinned=1,
            commands_local=1),
        what="other's numbers",
    )
    for client in busy:
        client.close()
    eventually(lambda: counts("main", clients=0, accepted=3), what="their clients gone")
    assert counts("other", clients=2)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_hangs_and_who_waits(launch, threads):
    """The ages are those of the moment, the quantiles those of the waits since the last line."""
    server = launch.server()
    redpool = launch.redpool(
        server, pool={"maxOpen": 2, "denyCommands": ["flushall"]},
        settings={"threads": threads, "log": {"stats": "1s"}})
    holder, waiter, plain = (redpool.connect() for _ in range(3))
    for _ in range(3):
        assert b"is refused by Redpool" in plain.command("FLUSHALL")
    holder.send(encode("BLPOP", "list", "0"))
    eventually(lambda: any(row["cmd"] == "blpop" for row in server.upstreams()))
    waiter.send(encode("BLPOP", "list", "0"))

    def now(**least):
        found = last_line(redpool, "main")
        return found and all(int(found[name]) >= value for name, value in least.items())

    eventually(lambda: now(waiting=1, oldest_wait_ms=100, refused=3))
    found = last_line(redpool, "main")
    # What blocks on purpose is not in flight.
    assert (found["in_flight"], found["oldest_in_flight_ms"], found["log_lost"]) == ("0", "0", "0")
    server.command("RPUSH", "list", "a")
    assert holder.read() == [b"list", b"a"]
    eventually(lambda: now(wait_p50_us=100_000, wait_p99_us=100_000, waits=1))
    eventually(lambda: last_line(redpool, "main")["wait_p99_us"] == "0")
    server.pause()
    plain.send(encode("GET", "a") * 4)
    eventually(lambda: now(in_flight=4, oldest_in_flight_ms=100))
    server.resume()
    eventually(lambda: last_line(redpool, "main")["in_flight"] == "0")


def answers(address) -> bool:
    with contextlib.suppress(OSError), Connection(address) as client:
        return client.command("PING") == b"PONG"
    return False


def test_lost_lines_are_counted(launch, tmp_path):
    """Nobody reads the log: its lines are dropped, and the first that gets through says how many."""
    server = launch.server()
    path = tmp_path / "redpool.yaml"
    path.write_text(yaml({
        "log": {"stats": "1s", "format": "logfmt", "level": "debug"},
        "pools": {"main": {
            "listen": f"unix:{tmp_path}/main.sock", "upstream": server.tcp.text}},
    }))
    daemon = subprocess.Popen([BINARY, "run", "--config", path], stderr=subprocess.PIPE)
    try:
        address = Address(path=f"{tmp_path}/main.sock")
        eventually(lambda: answers(address), what="the socket that is listened on")
        # One page: it has room for a line only when it is empty.
        fcntl.fcntl(daemon.stderr, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(daemon.stderr.fileno(), False)

        for _ in range(20):
            with Connection(address) as client:
                client.command("CLIENT", "ID")
        read = []

        def lost():
            read.append(daemon.stderr.read() or b"")
            found = re.findall(rb"log_lost=(\d+)", b"".join(read))
            return any(int(count) > 0 for count in found)

        eventually(lost)
    finally:
        daemon.kill()
        daemon.wait()
        daemon.stderr.close()
