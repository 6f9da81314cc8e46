"""What the pool promises, seen from a real server."""

import contextlib
import pathlib
import re
import time

import pytest

from harness.load import Neighbours, in_threads
from harness.waiting import always, eventually
from harness.watcher import MaxOpenWatcher
from harness.wire import ErrorReply, encode

pytestmark = pytest.mark.daemon

# Keeps the server busy for 30 ms, so that other upstreams are wanted beside this one.
BUSY = (
    "local s = redis.call('TIME') repeat local n = redis.call('TIME') "
    "until (n[1] - s[1]) * 1000000 + n[2] - s[2] > 30000 return 1"
)


def ids(server) -> set:
    return {row["id"] for row in server.upstreams()}


def make_it_grow(redpool, clients=24):
    def work(index):
        with redpool.connect(timeout=30) as client:
            for _ in range(3):
                assert client.command("EVAL", BUSY, "0") == 1
                assert client.command("INCR", "grow") > 0

    in_threads(clients, work)


def test_min_idle_is_opened_before_any_client_comes(launch):
    server = launch.server()
    launch.redpool(server, pool={"minIdle": 5})
    eventually(lambda: server.client_count() == 5)
    always(lambda: server.client_count() == 5, 0.5, what="minIdle connections")


def test_min_idle_zero_opens_nothing_before_the_first_command(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool={"minIdle": 0})
    with redpool.connect() as client:
        always(lambda: server.client_count() == 0, 0.3, what="no upstream")
        assert client.command("PING") == b"PONG"
        assert server.client_count() == 1


def test_idle_timeout_shrinks_the_pool_to_min_idle(launch):
    server = launch.server()
    redpool = launch.redpool(
        server, pool={"minIdle": 2, "idleTimeout": "1s", "pingInterval": "500ms"}
    )
    with MaxOpenWatcher(server, 32) as watcher:
        make_it_grow(redpool)
    assert watcher.peak > 2, "the pool never grew, so nothing is shown by its shrinking"
    eventually(lambda: server.client_count() == 2, 25)
    always(lambda: server.client_count() == 2, 0.5, what="minIdle connections")


def test_max_idle_bounds_what_is_kept(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool={"maxIdle": 2, "minIdle": 1})
    make_it_grow(redpool)
    eventually(lambda: server.client_count() <= 2)


def test_max_lifetime_replaces_every_upstream_and_no_client_notices(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool={"maxLifetime": "1s", "maxOpen": 8, "minIdle": 2})
    with MaxOpenWatcher(server, 8) as watcher, Neighbours(redpool.tcp) as neighbours:
        first = eventually(lambda: ids(server))
        eventually(lambda: not ids(server) & first, 25, what="every upstream being replaced")
        second = ids(server)
        eventually(lambda: not ids(server) & second, 25, what="their successors being replaced")
        eventually(lambda: len(watcher.ids) >= 4 and neighbours.rounds > 100, 60)


def test_busy_upstream_is_replaced_too_at_the_end_of_its_lifetime(launch):
    """One client that never stops must not keep its upstream for ever."""
    server = launch.server()
    redpool = launch.redpool(server, pool={"maxLifetime": "1s", "minIdle": 1})
    with redpool.connect() as client:
        assert client.command("INCR", "k") == 1
        first, count = ids(server), 1
        deadline = time.monotonic() + 20
        while ids(server) & first and time.monotonic() < deadline:
            client.send(encode("INCR", "k") * 50)
            assert [client.read() for _ in range(50)] == list(range(count + 1, count + 51))
            count += 50
        assert not ids(server) & first


def test_idle_upstreams_are_pinged(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool={"minIdle": 1, "pingInterval": "1s"})
    with redpool.connect() as client:
        assert client.command("GET", "k") is None
        # The only one; its PING may have come since.
        (row,) = server.upstreams()

        def pinged():
            return any(r["id"] == row["id"] and r["cmd"] == "ping" for r in server.upstreams())

        eventually(pinged)
        assert client.command("GET", "k") is None


def test_ping_that_is_not_answered_retires_the_upstream(launch):
    server = launch.server()
    redpool = launch.redpool(
        server, pool={"minIdle": 1, "pingInterval": "300ms", "connectTimeout": "500ms"}
    )
    before = eventually(lambda: ids(server))
    server.pause()
    started = time.monotonic()
    eventually(lambda: time.monotonic() - started > 4)
    server.resume()
    eventually(lambda: ids(server) and not ids(server) & before, 25)
    with redpool.connect() as client:
        eventually(lambda: client.command("PING") == b"PONG")


@contextlib.contextmanager
def blocked_clients(server, redpool, count):
    """`count` clients that each hold a pin in BLPOP."""
    with contextlib.ExitStack() as stack:
        for number in range(count):
            client = stack.enter_context(redpool.connect(timeout=30))
            client.send(encode("BLPOP", f"queue:{number}", "0"))
        eventually(lambda: server.info("blocked_clients") == str(count))
        yield


def test_pins_never_starve_the_rest(launch):
    server = launch.server()
    # All are open from the start: the pins' deadline is then no matter of how fast one is opened.
    redpool = launch.redpool(
        server, pool={"maxOpen": 8, "minIdle": 8, "maxPinned": 4, "poolTimeout": "1s"}
    )
    eventually(lambda: server.client_count() == 8)
    redpool.warm_up()
    with MaxOpenWatcher(server, 8), blocked_clients(server, redpool, 4):
        with Neighbours(redpool.tcp) as neighbours, redpool.connect() as fifth:
            started = time.monotonic()
            reply = fifth.command("BLPOP", "queue:x", "0")
            waited = time.monotonic() - started
            assert isinstance(reply, ErrorReply) and reply.startswith(b"PINLIMIT"), reply
            assert b"main" in reply and b"4" in reply, reply
            assert 0.95 <= waited < 9
            assert fifth.command("PING") == b"PONG"
            eventually(lambda: neighbours.rounds > 20)


def test_refusal_says_that_pins_are_off(launch):
    redpool = launch.redpool(launch.server(), pool={"maxPinned": 0, "poolTimeout": "20s"})
    redpool.warm_up()
    with redpool.connect() as client:
        reply = client.command("BLPOP", "queue", "0")
        assert reply == (
            b"PINLIMIT pool main: maxPinned is 0, no client can have a connection of its own")
        assert client.command("PING") == b"PONG"


def manual_sizing() -> dict:
    """The settings that docs/operations.md gives for 40 workers that block."""
    page = pathlib.Path(__file__).parents[2] / "docs" / "operations.md"
    example = page.read_text().split("**40 queue workers that block**")[1].split("```")[1]
    return {key: int(value) for key, value in re.findall(r"(max\w+): (\d+)", example)}


def test_sizing_of_the_manual_lets_others_log_in(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool=manual_sizing() | {"poolTimeout": "1s"})
    with blocked_clients(server, redpool, 40), redpool.connect() as client:
        assert client.command("HELLO", "3")[b"proto"] == 3
        assert client.command("SELECT", "1") == b"OK"
        assert client.command("SET", "k", "v") == b"OK"


def test_waiting_pin_is_served_when_another_ends(launch):
    server = launch.server()
    redpool = launch.redpool(
        server, pool={"maxOpen": 4, "maxPinned": 1, "poolTimeout": "20s"}
    )
    with redpool.connect() as first, redpool.connect(timeout=30) as second:
        assert first.command("WATCH", "k") == b"OK"
        second.send(encode("WATCH", "k"))
        with redpool.connect() as other:
            assert other.command("PING") == b"PONG"
        first.close()
        assert second.read() == b"OK"


def test_waiting_client_that_leaves_gives_up_its_place(launch):
    server = launch.server()
    redpool = launch.redpool(
        server, pool={"maxOpen": 4, "maxPinned": 1, "poolTimeout": "20s"}
    )
    with redpool.connect() as first, redpool.connect() as leaving, redpool.connect(30) as last:
        assert first.command("WATCH", "k") == b"OK"
        leaving.send(encode("INCR", "gone") + encode("BLPOP", "none", "0") + encode("INCR", "never"))
        assert leaving.read() == 1
        last.send(encode("WATCH", "k"))
        leaving.close()
        first.close()
        assert last.read() == b"OK"
    assert server.command("GET", "never") is None


def test_paused_server_ends_in_pool_timeout(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool={"maxOpen": 4, "poolTimeout": "300ms"})
    redpool.warm_up()
    with redpool.connect(30) as first, redpool.connect() as second:
        assert first.command("SET", "k", "1") == b"OK"
        server.pause()
        first.send(encode("INCR", "k"))
        eventually(lambda: server.unread_bytes() > 0)
        # The command in flight has no deadline of ours; one that finds no upstream has.
        eventually(lambda: _pool_timeout(redpool), what="POOLTIMEOUT")
        server.resume()
        assert first.read() == 2
        eventually(lambda: second.command("GET", "k") == b"2")


def _pool_timeout(redpool):
    with redpool.connect() as client:
        started = time.monotonic()
        client.send(encode("WATCH", "k"))
        reply = client.read()
        assert isinstance(reply, ErrorReply), reply
        assert time.monotonic() - started < 8
        return reply.startswith(b"POOLTIMEOUT")


def test_slow_commands_do_not_delay_quick_ones(launch):
    """A slow reader's large reply holds up nobody: others are served meanwhile."""
    server = launch.server()
    redpool = launch.redpool(server)
    server.command("SET", "big", b"x" * (8 << 20))
    with Neighbours(redpool.tcp) as neighbours, redpool.connect() as slow:
        slow.send(encode("GET", "big"))
        before = neighbours.rounds
        eventually(lambda: neighbours.rounds > before + 100)
        assert len(slow.read()) == 8 << 20


def test_an_endless_script_in_a_pipeline_holds_up_nobody_else(launch):
    """It has to stay behind its client's quick command; others get an upstream of their own."""
    server = launch.server()
    assert server.command("CONFIG", "SET", "lua-time-limit", "50") == b"OK"
    redpool = launch.redpool(server, pool={"minIdle": 1, "maxOpen": 8})
    pipeline = encode("GET", "k") + encode("EVAL", "while 1 do end", "0")
    replies = []
    with redpool.connect() as first, redpool.connect() as second, redpool.connect() as third:
        # A PING that the server got before the script says nothing: once more, then.
        while not any(reply.startswith(b"BUSY") for reply in replies):
            assert len(replies) < 50, "the PING always came before the script"
            assert first.command("PING") == second.command("PING") == b"PONG"
            # Back to back: upstreams that have answered nothing for 10 ms are avoided anyway.
            first.send(pipeline)
            second.send(encode("PING"))
            eventually(lambda: server.command("PING").startswith(b"BUSY"), what="the script")
            replies.append(second.read())
            assert third.command("SCRIPT", "KILL") == b"OK"
            assert first.read() is None
            ended = first.read()
            assert isinstance(ended, ErrorReply) and b"killed" in ended, ended
    eventually(lambda: server.command("PING") == b"PONG")
