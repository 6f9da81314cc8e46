"""Clients that stop in the middle of a large command: those who hold an upstream for it are closed
after a minute without a byte, so that others get their turn."""

import pytest

from harness.waiting import always, eventually
from harness.wire import Closed, encode

VALUE = b"x" * 300_000
UPLOAD = encode("SET", "stalled:value", VALUE)
BEGUN = UPLOAD[:200_000]


class Clock:
    """The daemon's time, which the test can move on."""

    def __init__(self, shim):
        self._shim, self._seconds = shim, 0

    def pass_seconds(self, seconds):
        self._seconds += seconds
        self._shim.say(f"clock {self._seconds}")


@pytest.fixture
def world(launch, shim):
    """One pin, no limit on the wait for it, and a clock."""
    server = launch.server()
    pool = {"maxOpen": 3, "maxPinned": 1, "poolTimeout": "1h", "transactionTimeout": "0s"}
    settings = {"log": {"clients": True}}
    redpool = launch.redpool(server, pool=pool, settings=settings, environment=shim.environment)
    redpool.warm_up()
    return server, redpool, Clock(shim)


def begin(redpool, data=BEGUN, *before):
    client = redpool.connect()
    for words in before:
        client.command(*words)
    client.send(data)
    eventually(lambda: redpool.has_read(client))
    return client


def stalled(redpool):
    return redpool.log().count("reason=upload_stalled")


def goes_on(redpool, seconds=0.4):
    """Nobody is closed for it, for a few of the daemon's ticks."""
    before = stalled(redpool)
    always(lambda: stalled(redpool) == before, seconds)


@pytest.mark.parametrize("before", [(), (("MULTI",),), (("WATCH", "w"),)], ids=len)
def test_minute_without_a_byte(world, before):
    """Alone, and inside a state that holds an upstream anyway."""
    server, redpool, clock = world
    client = begin(redpool, BEGUN, *before)
    clock.pass_seconds(55)
    goes_on(redpool)
    client.send(UPLOAD[len(BEGUN) : -10])
    eventually(lambda: redpool.has_read(client))
    clock.pass_seconds(55)
    goes_on(redpool)
    clock.pass_seconds(10)
    with pytest.raises(Closed):
        client.read()
        client.read()
    eventually(lambda: stalled(redpool))
    assert "event=client.upload_stalled" in redpool.log()
    with redpool.connect() as other:
        assert other.command("WATCH", "w") == b"OK"
    assert server.command("EXISTS", "stalled:value") == 0


def test_who_waits_for_the_upstream_has_his_turn(world):
    server, redpool, clock = world
    first = begin(redpool)
    second = redpool.connect()
    second.send(BEGUN)
    clock.pass_seconds(65)
    with pytest.raises(Closed):
        first.read()
    # The client's line and the warning come after its end.
    eventually(lambda: stalled(redpool) == 2)
    goes_on(redpool)
    second.send(UPLOAD[len(BEGUN) :])
    assert second.read() == b"OK"
    assert server.command("GET", "stalled:value") == VALUE
    assert stalled(redpool) == 2, "one line for the client, one warning"


def test_who_holds_nothing_has_all_the_time(world):
    """Half of a small command, and a large one that has been refused."""
    _, redpool, clock = world
    whole = encode("SET", "stalled:small", VALUE[:100_000])
    small = begin(redpool, whole[:1000])
    refused = begin(redpool, encode("DEBUG", "OBJECT", "x" * 300_000)[:200_000])
    assert refused.read().startswith(b"ERR 'debug' is refused")
    clock.pass_seconds(120)
    goes_on(redpool)
    small.send(whole[1000:])
    assert small.read() == b"OK"
    refused.send(encode("DEBUG", "OBJECT", "x" * 300_000)[200_000:] + encode("PING"))
    assert refused.read() == b"PONG"


def test_server_that_takes_nothing_is_no_stalled_upload(world):
    server, redpool, clock = world
    # More than kernels take on the way.
    value = b"y" * (100 << 20)
    with redpool.connect(60) as client:
        client.send(encode("SET", "stalled:value", value)[:200_000])
        eventually(lambda: redpool.has_read(client))
        server.pause()
        client.socket.settimeout(0.3)
        rest, sent = encode("SET", "stalled:value", value), 200_000
        with pytest.raises(TimeoutError):
            while sent < len(rest):
                sent += client.socket.send(rest[sent : sent + 65_536])
        clock.pass_seconds(120)
        goes_on(redpool)
        server.resume()
        client.socket.settimeout(60)
        client.send(rest[sent:])
        assert client.read() == b"OK"
