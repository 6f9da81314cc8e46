"""The clients that people use, on every kind of listener: redis-cli, redis-py and phpredis."""

import json
import pathlib
import subprocess

import pytest
import redis

from harness.certificates import authority
from harness.waiting import eventually

LISTENERS = ["tcp", "tcp6", "unix"]
PHP = pathlib.Path(__file__).with_name("php")


def cli(address, *arguments, **options) -> str:
    done = subprocess.run(
        ["redis-cli", *address.cli, *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(params=LISTENERS)
def address(request, redpool):
    return getattr(redpool, request.param)


def test_redis_cli(address):
    assert cli(address, "PING") == "PONG"
    assert cli(address, "SET", "greeting", "hello world") == "OK"
    assert cli(address, "GET", "greeting") == "hello world"
    assert cli(address, "-r", "5", "INCR", "counter").split() == ["1", "2", "3", "4", "5"]
    assert cli(address, "NOSUCH").startswith("ERR unknown command")


def test_redis_cli_session_from_standard_input(address):
    lines = "SET a 1\nINCR a\nMULTI\nINCR a\nINCR a\nEXEC\nSELECT 3\nGET a\n"
    assert cli(address, input=lines).split() == "OK 2 OK QUEUED QUEUED 3 4 OK".split()


def test_redis_cli_mass_insertion(address, server):
    commands = b"".join(b"SET mass:%d %d\r\n" % (i, i) for i in range(20_000))
    done = subprocess.run(
        ["redis-cli", *address.cli, "--pipe"], input=commands, capture_output=True, timeout=150
    )
    assert b"errors: 0, replies: 20000" in done.stdout, done
    assert server.command("DBSIZE") == 20_000


def test_redis_cli_resp3(address):
    assert cli(address, "-3", "HSET", "h", "field", "value") == "1"
    assert json.loads(cli(address, "-3", "--json", "HGETALL", "h")) == {"field": "value"}


def test_redis_cli_scan_and_big_keys(address):
    for key in range(30):
        cli(address, "SET", f"scan:{key}", "x")
    assert len(cli(address, "--scan", "--pattern", "scan:*").split()) == 30
    assert "30 keys" in cli(address, "--bigkeys")


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def client(request, address):
    with redis.Redis(**address.redis_py, protocol=request.param, socket_timeout=30) as made:
        yield made


def test_redis_py_types(client):
    assert client.ping()
    assert client.set("s", b"\x00\r\n\xff") and client.get("s") == b"\x00\r\n\xff"
    assert client.get("missing") is None
    assert client.hset("h", mapping={"a": 1, "b": 2}) == 2
    assert client.hgetall("h") == {b"a": b"1", b"b": b"2"}
    assert client.rpush("l", 1, 2, 3) == 3 and client.lrange("l", 0, -1) == [b"1", b"2", b"3"]
    assert client.sadd("set", "x", "y") == 2 and client.smembers("set") == {b"x", b"y"}
    assert client.zadd("z", {"a": 1.5}) == 1 and client.zscore("z", "a") == 1.5
    assert client.xadd("stream", {"f": "v"}) and client.xlen("stream") == 1
    assert client.eval("return ARGV[1]", 0, "v") == b"v"
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        client.lpush("s", 1)


def test_redis_py_pipeline_and_transaction(client):
    pipeline = client.pipeline(transaction=False)
    for number in range(1000):
        pipeline.set(f"p:{number}", number).get(f"p:{number}")
    replies = pipeline.execute()
    assert replies[1::2] == [str(number).encode() for number in range(1000)]
    with client.pipeline(transaction=True) as transaction:
        assert transaction.incr("t").incr("t").execute() == [1, 2]


def test_redis_py_optimistic_lock(client):
    client.set("balance", 10)
    with client.pipeline() as pipeline:
        pipeline.watch("balance")
        client.incr("balance")
        pipeline.multi()
        pipeline.set("balance", 0)
        with pytest.raises(redis.WatchError):
            pipeline.execute()
    assert client.get("balance") == b"11"


def test_redis_py_publish_and_subscribe(client):
    def two():
        """The next two messages, their data by their types."""
        found = eventually(lambda: listener.get_message(timeout=10))
        other = eventually(lambda: listener.get_message(timeout=10))
        return {message["type"]: message["data"] for message in (found, other)}

    with client.pubsub() as listener:
        listener.subscribe("news")
        listener.psubscribe("ne*")
        # Both are in force before anything is published.
        assert two() == {"subscribe": 1, "psubscribe": 2}
        assert client.publish("news", "hello") == 2
        assert two() == {"message": b"hello", "pmessage": b"hello"}


def test_redis_py_blocking_pop(client):
    client.rpush("queue", "job")
    assert [*client.blpop("queue", timeout=5)] == [b"queue", b"job"]
    assert client.blpop("queue", timeout=0.1) is None


def test_php_redis(address):
    host, port = (address.path, 0) if address.path else (address.host, address.port)
    done = subprocess.run(
        ["php", str(PHP / "basic.php"), host, str(port)]
        + ([authority().file] if address.tls else []),
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0 and not done.stderr, done
    seen = json.loads(done.stdout)
    assert "not a valid float" in seen.pop("error")
    assert seen == {
        "set": True,
        "get": True,
        "missing": False,
        "hash": {"a": "1", "b": "2"},
        "list": ["x", "y", "z"],
        "pipeline": True,
        "transaction": [True, 2],
        "script": ["k", "v"],
        "persistent": [1, 2, 3],
    }
