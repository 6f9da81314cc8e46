"""redis-benchmark runs through Redpool to its end, within the bound on upstreams."""

import subprocess

import pytest

from harness.watcher import MaxOpenWatcher

TESTS = "ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange,mset"
# The names that redis-benchmark -q prints for them.
NAMES = (
    "PING_INLINE PING_MBULK SET GET INCR LPUSH RPUSH LPOP RPOP SADD HSET SPOP ZADD ZPOPMIN "
    "LRANGE_100 LRANGE_300 LRANGE_500 LRANGE_600 MSET"
).split()
MAX_OPEN = 32


def benchmark(server, redpool, arguments, names):
    server.command("FLUSHALL")
    with MaxOpenWatcher(server, MAX_OPEN, interval=0.01):
        done = subprocess.run(
            ["redis-benchmark", *redpool.tcp.cli, "-q", *arguments],
            capture_output=True,
            text=True,
            timeout=240,
        )
    assert done.returncode == 0, done
    output = done.stdout.replace("\r", "\n")
    assert "rror" not in output + done.stderr, output[-2000:]
    finished = [line.split(":")[0].split(" ")[0] for line in output.splitlines() if "p50=" in line]
    assert all(name in finished for name in names), (finished, done.stderr)


@pytest.mark.parametrize(
    "shape",
    ["-c 50 -n 4000", "-c 1000 -n 4000", "-c 50 -P 16 -n 16000", "-c 50 -P 64 -n 16000"],
)
def test_clients_and_pipelines(server, redpool, shape):
    benchmark(server, redpool, ["-t", TESTS, *shape.split()], NAMES)


@pytest.mark.parametrize("size", [3, 64, 1024, 16384])
def test_value_sizes(server, redpool, size):
    count = 2000 if size <= 1024 else 60
    benchmark(server, redpool, ["-t", TESTS, "-n", str(count), "-d", str(size)], NAMES)


@pytest.mark.parametrize("size", [65536, 262144, 1048576])
def test_large_value_sizes(server, redpool, size):
    """Without LRANGE, whose replies would be gigabytes, and with fewer requests."""
    tests = "set,get,lpush,lpop,sadd,hset,zadd,mset"
    arguments = ["-t", tests, "-n", "60", "-c", "20", "-d", str(size)]
    benchmark(server, redpool, arguments, [name.upper() for name in tests.split(",")])


def test_random_keys_and_idle_connections(server, redpool):
    arguments = ["-t", "set,get,incr", "-n", "5000", "-r", "100000", "-c", "200"]
    benchmark(server, redpool, arguments, ["SET", "GET", "INCR"])
