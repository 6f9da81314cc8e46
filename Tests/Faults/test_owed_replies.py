"""Clients to whom a reply is owed that does not come: nobody else may pay for it, or be deceived."""

import contextlib
import socket

import pytest

from harness.servers import FOUND
from harness.waiting import eventually
from harness.wire import Closed, encode

PINS = 2
STATUS = "#!lua flags=no-writes\nreturn redis.status_reply('1x')"
SILENT = [("CLIENT", "REPLY", "OFF"), ("MULTI",)]
# What a client sends before it leaves: it is owed a reply that never comes.
LEFT = {
    "a refused login in a silent transaction": [*SILENT, ("AUTH", "nobody", "x"), ("EXEC",)],
    "two of them": [*SILENT, ("AUTH", "nobody", "x"), ("AUTH", "nobody", "x"), ("EXEC",)],
    "a HELLO with a refused login": [*SILENT, ("HELLO", "3", "AUTH", "nobody", "x"), ("EXEC",)],
    "no element": [*SILENT, ("REPLCONF", "ACK", "0"), ("EXEC",)],
    "no reply": [("REPLCONF", "ACK", "0")],
    "a status like a line of MONITOR": [
        ("MONITOR",), ("CLIENT", "REPLY", "OFF"), ("EVAL_RO", STATUS, "0"),
    ],
    "BLPOP behind a MULTI that is refused": [
        ("AUTH", "kim", "pw"), ("MULTI",), ("BLPOP", "owed", "0"),
    ],
    "WAIT behind a MULTI that is refused": [
        ("AUTH", "kim", "pw"), ("MULTI",), ("SET", "k", "1"), ("WAIT", "9", "0"),
    ],
}


@pytest.fixture(scope="module", params=FOUND, ids=str)
def world(request, keep):
    server = keep.server(binary=request.param.path)
    pool = {"maxOpen": PINS + 2, "maxPinned": PINS, "denyCommands": ["shutdown"], "poolTimeout": "5s"}
    redpool = keep.redpool(server, pool=pool)
    for name, rules in (("kim", ("-multi",)), ("eve", ("-select",))):
        server.command("ACL", "SETUSER", name, "on", ">pw", "~*", "&*", "+@all", *rules)
    return server, redpool


def say(client, *commands):
    """Sends one after the other, as far as the other side goes along."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for command in commands:
            client.send(encode(*command))


def upstreams_at_rest(server):
    # Of a transaction that is over, Valkey 8.1 shows 0; one that is open has a flag.
    rows = server.upstreams()
    return all(row["flags"] == "N" and int(row["multi"]) <= 0 for row in rows)


@pytest.mark.parametrize("name", LEFT)
def test_who_leaves_keeps_no_pin(world, name):
    server, redpool = world
    for _ in range(PINS):
        with redpool.connect() as client:
            say(client, *LEFT[name])
    clients = [redpool.connect() for _ in range(PINS)]
    for client in clients:
        with client:
            eventually(lambda: client.command("WATCH", "k") == b"OK", 15)
    server.command("RPUSH", "owed", "job")
    eventually(lambda: upstreams_at_rest(server), 15)
    assert server.command("LLEN", "owed") == 1
    server.command("DEL", "owed")
    assert "desync" not in redpool.log()


BUSY = """local t = redis.call('TIME'); local ends = t[1] + t[2] / 1e6 + 2.5
repeat t = redis.call('TIME') until t[1] + t[2] / 1e6 > ends
return 'late'"""


def test_a_late_reply_still_comes(world):
    """The server is told of the client's end before it answers; nobody else gets the connection."""
    server, redpool = world
    with redpool.connect(timeout=20) as client:
        assert client.command("WATCH", "k") == b"OK"
        client.send(encode("EVAL", BUSY, "0") + encode("UNWATCH"))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read() == b"late"
        assert client.read() == b"OK"
        with pytest.raises(Closed):
            client.read()
    with redpool.connect(timeout=20) as other:
        for _ in range(20):
            assert other.command("GET", "none") is None
            assert other.command("WATCH", "k") == b"OK"
            assert other.command("UNWATCH") == b"OK"
    assert "desync" not in redpool.log()


@pytest.mark.parametrize("name", ["AUTH", "REPLCONF", "MONITOR"])
def test_a_reply_in_the_wrong_place_deceives_nobody(world, name):
    """SELECT's error goes to the command before it, and the +OK of the next one to SELECT."""
    server, redpool = world
    first = {
        "AUTH": [*SILENT, ("AUTH", "eve", "wrong"), ("EXEC",)],
        "REPLCONF": [*SILENT, ("REPLCONF", "ACK", "0"), ("EXEC",)],
        "MONITOR": [("MONITOR",), ("EVAL_RO", STATUS, "0")],
    }[name]
    with redpool.connect() as client:
        say(client, ("AUTH", "eve", "pw"), *first, ("SELECT", "5"), ("UNWATCH",))
        with contextlib.suppress(Closed, TimeoutError, ConnectionResetError):
            client.socket.settimeout(1)
            while client.socket.recv(1 << 16):
                pass
    with redpool.connect() as other:
        assert other.command("AUTH", "eve", "pw") == b"OK"
        assert other.command("SELECT", "5").startswith(b"NOPERM")


def test_refused_logins_of_who_gets_anothers_invalidations(world):
    """The server may say nothing to a login while a message waits to be written."""
    server, redpool = world
    with redpool.connect() as receiver, redpool.connect() as tracker:
        receiver.command("HELLO", "3")
        number = str(receiver.command("CLIENT", "ID"))
        assert tracker.command("CLIENT", "TRACKING", "ON", "REDIRECT", number, "BCAST") == b"OK"
        for turn in range(20):
            tracker.send(encode("SET", "k", "1") * 50)
            receiver.send(encode("AUTH", "nobody", "x") + encode("ECHO", f"turn-{turn}."))
            eventually(lambda: f"turn-{turn}.".encode() in receiver.socket.recv(1 << 16), 10)
            assert [tracker.read() for _ in range(50)] == [b"OK"] * 50


def test_a_block_whose_multi_is_refused_blocks_nobody_else(world):
    _, redpool = world
    with redpool.connect() as client, redpool.connect() as other:
        for one in (client, other):
            assert one.command("AUTH", "kim", "pw") == b"OK"
        client.send(encode("MULTI") + encode("BLPOP", "owed", "0") + encode("EXEC"))
        assert client.read().startswith(b"NOPERM")
        for _ in range(20):
            assert other.command("GET", "none") is None
