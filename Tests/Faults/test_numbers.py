"""Numbers that a server or a client makes up: no arithmetic on them may end the daemon."""

import re
import time

import pytest

from harness.waiting import eventually
from harness.wire import encode

# Ends of ranges, one beyond them, what overflows when it becomes nanoseconds, and what is no number.
NUMBERS = [
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"18446744073709551615",
    b"99999999999999999999",
    b"9223372037",
    b"-9223372037",
    b"2147483648",
    b"-1",
    b"+60",
    b"060",
    b"",
]


def bulk(text) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text), text)


def serves(redpool):
    """The daemon lives, by way of an upstream that has been through the handshake."""
    with redpool.connect() as client:
        assert client.command("ECHO", "alive") == b"alive"
    assert redpool.process.poll() is None


@pytest.fixture(scope="module")
def server(keep):
    return keep.server()


@pytest.fixture
def between(launch, server):
    return launch.middleman(server)


# --- what the handshake reads


@pytest.mark.parametrize("number", NUMBERS)
def test_server_s_own_timeout(launch, between, number):
    between.arm(b"timeout", b"*2\r\n$7\r\ntimeout\r\n" + bulk(number), times=1000)
    redpool = launch.redpool(between)
    serves(redpool)
    assert between.seen[b"timeout"] > 0


def test_server_s_timeout_sets_the_pace_of_pings(launch, between):
    """A third of it, where the configuration wants none."""
    between.arm(b"timeout", b"*2\r\n$7\r\ntimeout\r\n$1\r\n1\r\n", times=1000)
    between.arm(b"PING", "trickle", times=1000)
    redpool = launch.redpool(between, pool={"pingInterval": "0s", "minIdle": 1})
    redpool.warm_up()
    before = between.seen[b"PING"]
    eventually(lambda: between.seen[b"PING"] > before + 3, what="PINGs by themselves")


@pytest.mark.parametrize("number", NUMBERS)
def test_other_numbers_of_the_handshake(launch, between, number):
    version = b"redis_version:%s.%s.%s\r\nrun_id:%s\r\n" % (number, number, number, number)
    line = b"id=%s addr=%s fd=%s db=%s sub=%s\n" % ((number,) * 5)
    between.arm(b"INFO\r\n$6\r\nserver", bulk(version), times=1000)
    between.arm(b"CLIENT\r\n$4\r\nINFO", bulk(line), times=1000)
    redpool = launch.redpool(between)
    serves(redpool)
    with redpool.connect() as client:
        assert b"sub=0" in client.command("CLIENT", "LIST")


@pytest.mark.parametrize("reply", [b":2\r\n", b"$2\r\nab\r\n", b"*2\r\n:1\r\n:1\r\n", b"*0\r\n"])
def test_block_is_not_trusted_where_the_server_is_not_understood(launch, between, reply):
    """Only two entries of COMMAND INFO say that MULTI and EXEC go by their own names. Otherwise a
    block needs an upstream of its own, and here is none.
    """
    between.arm(b"multi", reply, times=1000)
    redpool = launch.redpool(between, pool={"maxOpen": 1, "poolTimeout": "50ms"})
    redpool.warm_up()
    with redpool.connect() as client:
        client.send(encode("MULTI") + encode("SET", "block", "1") + encode("EXEC"))
        assert client.read().startswith(b"PINLIMIT ")


# --- what is read of replies later


@pytest.mark.parametrize("number", NUMBERS[:2] + NUMBERS[5:9])
@pytest.mark.parametrize("hello", [(), ("HELLO", "3")])
def test_counts_of_confirmations(launch, server, between, number, hello):
    """The client gets them as they are, and its upstream goes to nobody after it."""
    redpool = launch.redpool(between, pool={"maxOpen": 4})
    with redpool.connect() as client:
        if hello:
            client.command(*hello)
        mark = b">3" if hello else b"*3"
        for kind in (b"subscribe", b"psubscribe", b"subscribe"):
            confirmation = mark + b"\r\n" + bulk(kind) + bulk(b"c") + b":%s\r\n" % number
            between.arm(b"\r\n%s\r\n" % kind, confirmation)
            client.send(encode(kind, "c"))
            assert client.read() == [kind, b"c", int(number)]
    serves(redpool)


@pytest.mark.parametrize("number", NUMBERS[:2] + NUMBERS[5:9])
def test_ids(launch, between, number):
    """Of connections, as CLIENT ID and HELLO say them."""
    between.arm(b"CLIENT\r\n$2\r\nID", b":%s\r\n" % number, times=1000)
    hello = b"%%1\r\n$2\r\nid\r\n:%s\r\n" % number
    between.arm(b"HELLO", hello, times=1000)
    redpool = launch.redpool(between)
    with redpool.connect() as client, redpool.connect() as blocked, redpool.connect() as other:
        mine = client.command("CLIENT", "ID")
        blocked.command("HELLO", "3")
        serial = blocked.command("CLIENT", "ID")
        assert serial != mine
        blocked.send(encode("BLPOP", "nothing", "0"))
        assert other.command("CLIENT", "UNBLOCK", str(serial)) in (0, 1)
        assert other.command("CLIENT", "ID") not in (mine, serial)
    serves(redpool)


@pytest.mark.parametrize("number", NUMBERS)
def test_lengths_and_counts(launch, between, number):
    """What cannot be one ends the connection; the header of what can is passed on."""
    redpool = launch.redpool(between)
    for kind in (b"$", b"*", b"%", b"~", b"=", b"!", b":", b">", b"|"):
        between.arm(b"marked", kind + number + b"\r\n")
        with redpool.connect() as client:
            client.send(encode("GET", "marked"))
            assert client.socket.recv(100) in (b"", kind + number + b"\r\n")
        # Nobody is to wait behind what never comes to its end.
        between.strike("close")
    serves(redpool)


# --- what clients send


COMMANDS = [
    ("SELECT", "N"),
    ("HELLO", "N"),
    ("CLIENT", "KILL", "ID", "N"),
    ("CLIENT", "KILL", "ID", "1000000", "MAXAGE", "N"),
    ("CLIENT", "UNBLOCK", "N"),
    ("CLIENT", "TRACKING", "ON", "REDIRECT", "N"),
    ("WAIT", "0", "N"),
    ("WAIT", "N", "1"),
    ("XREAD", "BLOCK", "N", "STREAMS"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_numbers_of_clients(launch, server, command):
    """The replies are those of a direct connection."""
    redpool = launch.redpool(server)
    for number in NUMBERS:
        words = [number if word == "N" else word for word in command]
        with redpool.connect() as client, server.connect() as direct:
            assert client.command(*words) == direct.command(*words), words
    serves(redpool)


PAUSES = {
    "beyond 64 bits in nanoseconds": ["9223372036854"],
    "of the server's longest": ["9000000000000000000"],
    "of ten digits": ["1000000000"],
    "and a shorter one behind it": ["60000", "1"],
}


@pytest.mark.parametrize("lengths", PAUSES.values(), ids=PAUSES)
def test_pause_holds_up_only_what_writes(launch, server, lengths):
    """However long it is: a tick of the daemon later as well."""
    redpool = launch.redpool(server, pool={"maxOpen": 4})
    with redpool.connect() as pauser, redpool.connect() as writer, redpool.connect() as reader:
        assert reader.command("SET", "paused", "v") == b"OK"
        try:
            for length in lengths:
                assert pauser.command("CLIENT", "PAUSE", length, "WRITE") == b"OK"
            since = time.monotonic()
            eventually(lambda: time.monotonic() - since > 0.3, what="a tick of the daemon's")
            writer.send(encode("GET", "paused") + encode("SET", "paused", "w"))
            for _ in range(20):
                assert reader.command("GET", "paused") == b"v"
            assert writer.read() == b"v"
        finally:
            assert server.command("CLIENT", "UNPAUSE") == b"OK"
        assert writer.read() == b"OK"


def test_pause_that_is_none(launch, server):
    """The server refuses it, or takes its end for a moment of the past: writes go as always."""
    settings = {"log": {"stats": "1s"}}
    redpool = launch.redpool(server, settings=settings)
    with redpool.connect() as client:
        for length in ("9223372036854775807", "-1", "1\0", "+1000000", "60000000000000000000"):
            client.command("CLIENT", "PAUSE", length)
            assert client.command("SET", "k", "v") == b"OK"
    # The pauses themselves and nothing else had an upstream of their own.
    eventually(lambda: commands(redpool.log()) == {"shared": "5", "pinned": "5"})


def commands(log) -> dict:
    """Of which kinds they were, by the last summary line."""
    return dict(re.findall(r"commands_(shared|pinned)=(\d+)", log.rpartition("pool.statistics")[2]))
