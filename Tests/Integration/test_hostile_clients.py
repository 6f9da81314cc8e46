"""One client misbehaves; its neighbours, checked all the while, notice nothing."""

import errno
import random

import pytest

from harness.daemon import DIRECT
from harness.load import Neighbours
from harness.waiting import eventually
from harness.wire import Closed, ErrorReply, encode

MB = 1 << 20
CLOSED_BY_PEER = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)


def test_client_that_stops_reading(launch):
    """400 MB of replies are asked for and never read."""
    server = launch.server()
    redpool = launch.redpool(server)
    server.command("SET", "big", b"x" * MB)
    with Neighbours(redpool.tcp) as neighbours, redpool.connect() as deaf:
        deaf.send(encode("GET", "big") * 400)
        before = neighbours.rounds
        eventually(lambda: neighbours.rounds > before + 200, 30)
    if not DIRECT:
        assert redpool.peak_rss() < 128 * MB


@pytest.mark.daemon
def test_client_that_stops_reading_is_closed_past_its_output_limit(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool={"clientOutputLimit": "1mb"})
    server.command("SET", "medium", b"x" * 10_000)
    with Neighbours(redpool.tcp), redpool.connect() as deaf:
        deaf.send(encode("GET", "medium") * 5000)
        eventually(lambda: redpool.process.poll() is None and "output" in redpool.log(), 20)
        with pytest.raises(Closed):
            while True:
                deaf.read_raw()
    assert redpool.peak_rss() < 64 * MB


def test_client_that_sends_a_byte_at_a_time(redpool):
    with Neighbours(redpool.tcp) as neighbours, redpool.connect() as slow:
        slow.send(b"*2\r\n$4\r\nEC")
        neighbours.go_on()
        slow.send(b"HO\r\n$1\r\nx\r\n")
        assert slow.read() == b"x"
        for number in range(5):
            for byte in encode("SET", f"slow:{number}", "a\r\nb"):
                slow.send(bytes([byte]))
            assert slow.read() == b"OK"
            for byte in b"GET slow:%d\r\n" % number:
                slow.send(bytes([byte]))
            assert slow.read() == b"a\r\nb"


def test_client_that_reads_a_little_at_a_time(server, redpool):
    server.command("SET", "big", b"y" * (2 * MB))
    with Neighbours(redpool.tcp) as neighbours, redpool.connect(timeout=30) as slow:
        slow.send(encode("GET", "big"))
        seen = len(slow.socket.recv(997))
        neighbours.go_on()
        while seen < 2 * MB + len(b"$2097152\r\n\r\n"):
            data = slow.socket.recv(997)
            assert data
            seen += len(data)


@pytest.mark.parametrize("size", [10, 5_000, 300_000, 20 * MB])
@pytest.mark.parametrize("end", ["close", "reset"])
def test_clients_that_vanish_inside_a_command(server, redpool, size, end):
    with Neighbours(redpool.tcp) as neighbours:
        for number in range(20 if size < MB else 3):
            ghost = redpool.connect()
            ghost.send(encode("SET", f"ghost:{number}", b"x" * size)[: -size // 2 - 2])
            getattr(ghost, end)()
        before = neighbours.rounds
        eventually(lambda: neighbours.rounds > before + 50)
    assert server.command("KEYS", "ghost:*") == []


@pytest.mark.parametrize("end", ["close", "reset"])
def test_clients_that_vanish_inside_a_reply(server, redpool, end):
    server.command("SET", "big", b"z" * (20 * MB))
    with Neighbours(redpool.tcp) as neighbours:
        for _ in range(5):
            ghost = redpool.connect()
            ghost.send(encode("GET", "big") + encode("INCR", "behind"))
            assert ghost.socket.recv(100)
            getattr(ghost, end)()
        before = neighbours.rounds
        eventually(lambda: neighbours.rounds > before + 50)


def test_whole_commands_of_a_client_that_vanishes_run_once(server, redpool):
    for number in range(50):
        with redpool.connect() as ghost:
            ghost.send(encode("INCR", "ran") * 10)
            ghost.socket.shutdown(1)
            ghost.read_until_closed()
        assert server.command("GET", "ran") == str(10 * (number + 1)).encode()


@pytest.mark.parametrize("seed", range(4))
def test_clients_that_send_garbage(server, redpool, seed):
    chance = random.Random(seed)
    before = server.log().count("Protocol error")
    with Neighbours(redpool.tcp):
        for _ in range(100):
            with redpool.connect() as noise:
                try:
                    noise.send(garbage(chance))
                    noise.socket.shutdown(1)
                    noise.read_until_closed()
                except OSError as failure:
                    assert failure.errno in CLOSED_BY_PEER, failure
    if not DIRECT:
        assert server.log().count("Protocol error") == before


def garbage(chance) -> bytes:
    """Random bytes, or a valid pipeline with a few bytes changed, dropped or put in."""
    if chance.random() < 0.3:
        return chance.randbytes(chance.randrange(1, 5000))
    data = bytearray(b"".join(encode("ECHO", chance.randbytes(20)) for _ in range(10)))
    for _ in range(chance.randrange(1, 6)):
        position = chance.randrange(len(data))
        kind = chance.randrange(3)
        if kind == 0:
            data[position] = chance.randrange(256)
        elif kind == 1:
            del data[position]
        else:
            data.insert(position, chance.choice(b"*$\r\n0123456789"))
    return bytes(data)


def test_client_that_announces_what_it_never_sends(redpool):
    """Half a gigabyte announced a hundred times over costs nothing."""
    with Neighbours(redpool.tcp) as neighbours:
        greedy = [redpool.connect() for _ in range(100)]
        for client in greedy:
            client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nx")
        neighbours.go_on()
        for client in greedy:
            client.close()
    if not DIRECT:
        assert redpool.rss() < 128 * MB


def test_a_hundred_thousand_arguments(redpool):
    with Neighbours(redpool.tcp), redpool.connect(timeout=30) as client:
        assert client.command("RPUSH", "many", *range(100_000)) == 100_000
        assert isinstance(client.command("LPUSH", "neighbour:0", "x"), ErrorReply)
