"""A client that leaves while much of what it has sent is unread: nobody waits in its place, nothing
is taken from a queue in its name, and the daemon does not spin."""

import socket
import time

import pytest

from harness.waiting import always, eventually
from harness.wire import Closed, encode

MB = 1 << 20
INCR = encode("INCR", "unread:count")
BLPOP = encode("BLPOP", "unread:list", "0")
# More than the daemon keeps of a command that waits and the kernel keeps between them.
MUCH = encode("SET", "unread:value", b"x" * 1000) * 6000
ENDS = {"close": lambda client: client.close(), "reset": lambda client: client.reset()}
# What a client does before much more: commands that are answered, and what blocks behind them.
BLOCKED = {
    "blocked": ((), BLPOP),
    "blocked for WAIT": ((("SET", "unread:value", "x"),), encode("WAIT", "1", "0")),
    "blocked by many names": (
        (), encode("BLPOP", *(f"unread:{n:0100}" for n in range(2000)), "unread:list", "0")
    ),
    "blocked by a stream": ((), encode("XREAD", "BLOCK", "0", "STREAMS", "unread:" + "s" * 200_000, "$")),
    "blocked and watching": ((("WATCH", "w"),), BLPOP),
    "blocked before SELECT": ((("WATCH", "w"),), BLPOP + encode("SELECT", "1")),
    "blocked in a transaction's place": ((("MULTI",), ("EXEC",)), BLPOP),
    "blocked and subscribed": ((("HELLO", "3"), ("SUBSCRIBE", "unread:channel")), BLPOP),
    # He has no right to MULTI, so what is sent behind it is not queued.
    "blocked behind a refused MULTI": ((("AUTH", "kim", "pw"),), encode("MULTI") + BLPOP),
    "blocked behind a refused MULTI, watching": (
        (("AUTH", "kim", "pw"), ("WATCH", "w"), ("MULTI",)), BLPOP
    ),
}


@pytest.fixture(scope="module", params=[1, 2], ids=["1 thread", "2 threads"])
def world(keep, request):
    server = keep.server()
    server.command("ACL", "SETUSER", "kim", "on", ">pw", "~*", "&*", "+@all", "-multi")
    pool = {"maxOpen": 5, "maxPinned": 2, "poolTimeout": "60s"}
    return server, keep.redpool(server, pool=pool, settings={"threads": request.param})


def send_what_fits(client, data):
    """Sends until the daemon has taken it all, takes no more for a while, or closes."""
    client.socket.settimeout(0.3)
    try:
        for start in range(0, len(data), 65_536):
            client.send(data[start : start + 65_536])
    except (TimeoutError, ConnectionError):
        pass
    client.socket.settimeout(20)


def blocked(server, count):
    return server.info("blocked_clients") == str(count)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("state", BLOCKED)
def test_blocked_client_with_much_behind_it_leaves(world, state, end):
    server, redpool = world
    server.command("DEL", "unread:list")
    setup, command = BLOCKED[state]
    client = redpool.connect()
    for words in setup:
        client.command(*words)
    client.send(command)
    eventually(lambda: blocked(server, 1))
    send_what_fits(client, MUCH)
    ENDS[end](client)
    eventually(lambda: blocked(server, 0), what="an end that is noticed")
    assert server.command("RPUSH", "unread:list", "job") == 1
    with redpool.connect() as next_one:
        assert next_one.command("BLPOP", "unread:list", "1") == [b"unread:list", b"job"]


@pytest.mark.parametrize("end", ENDS)
def test_client_that_waits_to_block_leaves(world, end):
    """Its turn comes later: nothing is taken from the list for it then."""
    server, redpool = world
    server.command("DEL", "unread:list")
    holders = [redpool.connect() for _ in range(2)]
    for holder in holders:
        assert holder.command("WATCH", "w") == b"OK"
    with redpool.connect() as neighbour:
        count = len(neighbour.command("CLIENT", "LIST").splitlines())
        client = redpool.connect()
        client.send(BLPOP)
        eventually(lambda: redpool.has_read(client))
        send_what_fits(client, MUCH)
        ENDS[end](client)
        eventually(lambda: len(neighbour.command("CLIENT", "LIST").splitlines()) == count)
        assert server.command("RPUSH", "unread:list", "job") == 1
        for holder in holders:
            holder.close()
        assert neighbour.command("WATCH", "w") == b"OK"
        assert server.command("LLEN", "unread:list") == 1


def test_what_is_behind_a_blocked_command_runs_when_it_is_over(world):
    server, redpool = world
    server.command("DEL", "unread:list", "unread:count")
    count = 100_000
    with redpool.connect(60) as client:
        client.send(BLPOP)
        eventually(lambda: blocked(server, 1))
        client.send(INCR * count)
        server.command("RPUSH", "unread:list", "job")
        assert client.read() == [b"unread:list", b"job"]
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_until_closed() == b"".join(b":%d\r\n" % n for n in range(1, count + 1))


def test_large_command_that_does_not_block_is_answered_after_the_end(world):
    server, redpool = world
    server.command("DEL", "unread:stream")
    server.command("XADD", "unread:stream", "1-1", "field", "value")
    keys = ["unread:stream", "unread:" + "s" * 200_000, "0", "0"]
    with redpool.connect() as client:
        client.send(encode("XREAD", "COUNT", "1", "STREAMS", *keys))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read() == [[b"unread:stream", [[b"1-1", [b"field", b"value"]]]]]


def test_what_is_behind_a_blocked_command_has_a_limit(launch):
    """The server closes such a client too, at its `client-query-buffer-limit`."""
    server = launch.server()
    redpool = launch.redpool(server, pool={"clientOutputLimit": "1mb"})
    with redpool.connect() as client:
        client.send(BLPOP)
        eventually(lambda: blocked(server, 1))
        send_what_fits(client, MUCH)
        eventually(lambda: blocked(server, 0))
        with pytest.raises(Closed):
            client.read()
    assert "event=client.input_limit" in redpool.log()
    assert redpool.peak_rss() < 40 * MB


def test_what_is_behind_blocked_commands_counts_in_the_total(launch):
    server = launch.server()
    redpool = launch.redpool(server, settings={"totalOutputLimit": "16mb"})
    clients = [redpool.connect() for _ in range(12)]
    for client in clients:
        client.send(BLPOP)
    eventually(lambda: blocked(server, 12))
    for client in clients:
        send_what_fits(client, MUCH)
    eventually(lambda: not blocked(server, 12))
    assert not blocked(server, 0)
    # The program, the total, and what is copied while buffers grow; without a limit 72 MB and more.
    assert redpool.peak_rss() < 10 * MB + 16 * MB + 2 * 11 * MB
    for client in clients:
        client.close()
    eventually(lambda: blocked(server, 0))


@pytest.mark.parametrize("transport", ["tcp", "unix"])
@pytest.mark.parametrize("end", ENDS)
def test_paused_client_leaves(launch, transport, end):
    """The server takes nothing, so the client is not read: its end costs no time."""
    server = launch.server()
    redpool = launch.redpool(server, settings={"log": {"clients": True}})
    redpool.warm_up()
    client = getattr(redpool, transport).connect()
    server.pause()
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        while True:
            client.send(MUCH[:65_536])
    eventually(lambda: rests(redpool), what="a daemon that rests")
    if end == "reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    if end == "reset" and transport == "tcp":
        eventually(lambda: "reason=client_reset" in redpool.log(), 5)
    assert rests(redpool)
    server.resume()
    eventually(lambda: redpool.log().count("event=client.disconnected") == 2)


def rests(redpool):
    """It takes less than a tenth of a processor for half a second."""
    began, used = time.monotonic(), redpool.cpu_seconds()
    always(lambda: True, 0.5)
    return redpool.cpu_seconds() - used < (time.monotonic() - began) / 10
