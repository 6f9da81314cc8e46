"""Order: of one client's pipeline, whatever its length, and of many clients' at once."""

import asyncio
import random

import pytest

from harness.load import in_threads
from harness.wire import AsyncConnection, Connection, encode


@pytest.mark.parametrize("length", [10, 100, 1_000, 10_000, 100_000])
@pytest.mark.parametrize("listener", ["tcp", "unix"])
def test_a_pipeline_of_any_length_is_answered_in_order(server, redpool, length, listener):
    with Connection(getattr(redpool, listener), timeout=150) as client:
        burst = b"".join(
            encode("SET", f"p:{i}", i) if i % 2 else encode("ECHO", f"token-{i}")
            for i in range(length)
        )
        replies = []

        # Two threads, because a pipeline this long fills the socket buffers of both sides.
        def work(index):
            if index == 0:
                client.send(burst)
            else:
                replies.extend(client.read() for _ in range(length))

        in_threads(2, work, timeout=150)
    expected = [b"OK" if i % 2 else f"token-{i}".encode() for i in range(length)]
    assert replies == expected
    assert server.command("DBSIZE") == length // 2


def test_everything_is_written_before_anything_is_read(redpool):
    """10,000 replies wait for a client that does nothing but write at first."""
    with redpool.connect(timeout=30) as client:
        client.send(b"".join(encode("ECHO", i) for i in range(10_000)))
        assert [client.read() for _ in range(10_000)] == [b"%d" % i for i in range(10_000)]


def test_quit_behind_a_pipeline_comes_after_every_reply(redpool):
    with redpool.connect() as client:
        client.send(b"".join(encode("ECHO", i) for i in range(1000)) + encode("QUIT"))
        expected = b"".join(b"$%d\r\n%d\r\n" % (len(str(i)), i) for i in range(1000))
        assert client.read_until_closed() == expected + b"+OK\r\n"


def test_half_closed_client_gets_every_reply(redpool):
    with redpool.connect() as client:
        client.send(b"".join(encode("INCR", "half") for _ in range(500)))
        client.socket.shutdown(1)
        assert client.read_until_closed() == b"".join(b":%d\r\n" % i for i in range(1, 501))


def test_many_clients_interleave_and_none_sees_another_one_s_reply(redpool):
    async def work(number):
        chance = random.Random(number)
        client = await AsyncConnection.open(redpool.tcp if number % 2 else redpool.unix)
        mine = 0
        for _ in range(60):
            batch, expected = [], []
            for _ in range(chance.choice([1, 1, 2, 5, 30])):
                command, reply = _random_command(chance, number, mine)
                mine += command[0] == "INCR"
                batch.append(encode(*command))
                expected.append(reply)
            client.send(b"".join(batch))
            assert [await client.read() for _ in expected] == expected
        client.close()

    async def everybody():
        async with asyncio.timeout(150):
            await asyncio.gather(*(work(number) for number in range(60)))

    asyncio.run(everybody())


def _random_command(chance, number, mine):
    """A command of client `number`, which has counted to `mine`, with the reply it must get."""
    token = f"client-{number}-{chance.random()}" + "x" * chance.choice([0, 10, 3000])
    kind = chance.randrange(5)
    if kind == 0:
        return ("INCR", f"mine:{number}"), mine + 1
    if kind == 1:
        return ("GET", f"missing:{number}"), None
    if kind == 2:
        return ("EVAL", "return {ARGV[1], {ARGV[1]}}", "0", token), [
            token.encode(),
            [token.encode()],
        ]
    return ("ECHO", token), token.encode()


def test_a_slow_command_does_not_change_the_order(redpool):
    busy = "local s = redis.call('TIME') repeat local n = redis.call('TIME') until " + (
        "(n[1] - s[1]) * 1000000 + n[2] - s[2] > 50000 return ARGV[1]"
    )
    with redpool.connect() as client:
        client.send(encode("ECHO", "first") + encode("EVAL", busy, "0", "slow"))
        client.send(encode("ECHO", "last"))
        assert [client.read() for _ in range(3)] == [b"first", b"slow", b"last"]
