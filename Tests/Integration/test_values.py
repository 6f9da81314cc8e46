"""Values of every size, and the daemon's memory while large ones move."""

import hashlib

import pytest

from harness.daemon import DIRECT
from harness.load import Neighbours, in_threads
from harness.wire import Connection

MB = 1 << 20
CHUNK = bytes(range(256)) * 4096


@pytest.mark.parametrize("size", [0, 1, 2, 1023, 16384, 65535, 65536, 65537, MB, 10 * MB])
def test_round_trip(redpool, size):
    value = (b"\r\n$-1\r\n\x00\xff" * (size // 9 + 1))[:size]
    with redpool.connect() as client:
        assert client.command("SET", "value", value) == b"OK"
        assert client.command("STRLEN", "value") == size
        assert client.command("GET", "value") == value
        assert client.command("PING") == b"PONG"


@pytest.mark.alone
def test_several_of_a_hundred_megabytes_in_little_memory(launch):
    """What is buffered depends on how fast the clients read."""
    server = launch.server()
    redpool = launch.redpool(server)
    size = 100 * MB

    def work(index):
        with Connection(redpool.tcp if index else redpool.unix, timeout=150) as client:
            sent = upload(client, f"large:{index}", size, index)
            assert client.read() == b"OK"
            assert download(client, f"large:{index}", size) == sent
            assert client.command("PING") == b"PONG"

    with Neighbours(redpool.tcp, slowest=30.0) as neighbours:
        in_threads(4, work, timeout=165)
    assert neighbours.rounds > 10
    if not DIRECT:
        assert redpool.peak_rss() < 96 * MB


def upload(client, key, size, salt) -> bytes:
    """Sends SET with a value of `size` bytes that differs by `salt`; returns the value's hash."""
    seen = hashlib.sha1()
    client.send(b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n" % (len(key), key.encode(), size))
    for number in range(size // len(CHUNK)):
        chunk = b"%08d" % (number * 10 + salt) + CHUNK[8:]
        seen.update(chunk)
        client.send(chunk)
    client.send(b"\r\n")
    return seen.digest()


def download(client, key, size) -> bytes:
    """Sends GET and hashes the value as it comes, without keeping it."""
    seen = hashlib.sha1()
    client.send(b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(key), key.encode()))
    with client.socket.makefile("rb") as stream:
        assert stream.readline() == b"$%d\r\n" % size
        left = size
        while left:
            data = stream.read(min(left, MB))
            assert data, "closed inside the value"
            seen.update(data)
            left -= len(data)
        assert stream.read(2) == b"\r\n"
    return seen.digest()


@pytest.mark.daemon
def test_idle_clients_after_large_work_cost_little(launch):
    """Buffers exist only while something is in them."""
    server = launch.server()
    redpool = launch.redpool(server)
    clients = [redpool.connect() for _ in range(500)]
    for client in clients:
        assert client.command("SET", "v", b"x" * 100_000) == b"OK"
        assert len(client.command("GET", "v")) == 100_000
    assert redpool.rss() < 48 * MB
    for client in clients:
        client.close()
