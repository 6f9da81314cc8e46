"""CLIENT TRACKING REDIRECT takes the id of any client of the pool, whatever it holds and does."""

import pytest

from harness.server import RedisServer
from harness.waiting import eventually
from harness.wire import Push, encode

INVALIDATED = [b"invalidate", [b"watched"]]


@pytest.fixture(scope="module")
def server(request):
    made = RedisServer()
    request.addfinalizer(made.close)
    return made


@pytest.fixture(params=[1, 2])
def threads(request):
    return request.param


@pytest.fixture
def front(launch, server, threads):
    return launch.redpool(server, settings={"threads": threads})


def pairs(front, threads):
    """Some are on two workers, whichever gets the first."""
    for _ in range(threads):
        with front.connect() as receiver, front.connect() as tracker:
            yield receiver, tracker


def redirect(tracker, number):
    return tracker.command("CLIENT", "TRACKING", "ON", "REDIRECT", number)


def change(front, tracker, value="new"):
    tracker.command("GET", "watched")
    with front.connect() as writer:
        assert writer.command("SET", "watched", value) == b"OK"


@pytest.mark.parametrize("before", [(), ("WATCH", "k"), ("CLIENT", "REPLY", "ON"), ("SELECT", "3")], ids=str)
def test_one_that_holds_no_subscription(front, threads, before):
    for receiver, tracker in pairs(front, threads):
        receiver.command("HELLO", "3")
        number = receiver.command("CLIENT", "ID")
        if before:
            receiver.command(*before)
        assert redirect(tracker, number) == b"OK"
        assert tracker.command("CLIENT", "GETREDIR") == number
        change(front, tracker)
        assert receiver.read() == Push(INVALIDATED)
        assert receiver.command("CLIENT", "ID") == number
        assert receiver.command("PING") == b"PONG"
        # Twice, and still when what it held is over.
        receiver.command("UNWATCH")
        change(front, tracker, "newer")
        assert receiver.read() == Push(INVALIDATED)


def test_one_that_subscribes_afterwards(front, threads):
    for receiver, tracker in pairs(front, threads):
        number = receiver.command("CLIENT", "ID")
        assert redirect(tracker, number) == b"OK"
        change(front, tracker)
        # In RESP2 nothing is said to one that is not subscribed.
        assert receiver.command("SUBSCRIBE", "__redis__:invalidate")[0] == b"subscribe"
        change(front, tracker)
        assert receiver.read() == [b"message", b"__redis__:invalidate", [b"watched"]]


@pytest.mark.parametrize("before", [("WATCH", "k"), ("CLIENT", "NO-EVICT", "ON")], ids=str)
def test_one_that_holds_an_upstream_before_it_subscribes(front, threads, before):
    for receiver, tracker in pairs(front, threads):
        number = receiver.command("CLIENT", "ID")
        receiver.command(*before)
        receiver.command("SUBSCRIBE", "__redis__:invalidate")
        assert redirect(tracker, number) == b"OK"
        change(front, tracker)
        assert receiver.read() == [b"message", b"__redis__:invalidate", [b"watched"]]


def test_one_that_is_blocked(front, threads, server):
    for receiver, tracker in pairs(front, threads):
        receiver.command("HELLO", "3")
        number = receiver.command("CLIENT", "ID")
        receiver.send(encode("BLPOP", "list", "0"))
        eventually(lambda: server.info("blocked_clients") == "1")
        assert redirect(tracker, number) == b"OK"
        change(front, tracker)
        assert receiver.read() == Push(INVALIDATED)
        assert tracker.command("RPUSH", "list", "x") == 1
        assert receiver.read() == [b"list", b"x"]
        change(front, tracker)
        assert receiver.read() == Push(INVALIDATED)


def test_one_in_a_transaction_after_it(front, threads):
    for receiver, tracker in pairs(front, threads):
        receiver.command("HELLO", "3")
        number = receiver.command("CLIENT", "ID")
        receiver.command("MULTI")
        receiver.command("PING")
        tracker.send(encode("CLIENT", "TRACKING", "ON", "REDIRECT", number))
        assert receiver.command("EXEC") == [b"PONG"]
        assert tracker.read() == b"OK"
        change(front, tracker)
        assert receiver.read() == Push(INVALIDATED)


def test_itself_and_each_other(front, threads):
    for first, second in pairs(front, threads):
        numbers = [one.command("CLIENT", "ID") for one in (first, second)]
        first.send(encode("CLIENT", "TRACKING", "ON", "REDIRECT", numbers[1]))
        second.send(encode("CLIENT", "TRACKING", "ON", "REDIRECT", numbers[0]))
        assert [first.read(), second.read()] == [b"OK", b"OK"]
        assert redirect(first, numbers[0]) == b"OK"
        assert first.command("CLIENT", "GETREDIR") == numbers[0]


def test_one_that_nobody_is(front, threads, server):
    with front.connect() as tracker, server.connect() as direct:
        assert redirect(tracker, 999_999) == redirect(direct, 999_999)


def test_off_takes_one_too(front, threads, server):
    for receiver, tracker in pairs(front, threads):
        number = receiver.command("CLIENT", "ID")
        off = ("CLIENT", "TRACKING", "OFF", "REDIRECT")
        for meant in (number, tracker.command("CLIENT", "ID")):
            assert tracker.command(*off, meant) == b"OK"
            assert redirect(tracker, meant) == b"OK"
            assert tracker.command(*off, meant) == b"OK"
            assert tracker.command("CLIENT", "GETREDIR") == -1
        assert redirect(tracker, number) == b"OK"
        with server.connect() as direct:
            for meant in (999_999, 0, -1, "x"):
                assert tracker.command(*off, meant) == direct.command(*off, meant)
        assert tracker.command("CLIENT", "GETREDIR") == number
        tracker.command("MULTI")
        assert tracker.command(*off, number) == b"QUEUED"
        assert tracker.command("EXEC") == [b"OK"]


def test_its_upstream_ends_with_it(front, threads, server):
    for receiver, tracker in pairs(front, threads):
        tracker.command("HELLO", "3")
        number = receiver.command("CLIENT", "ID")
        assert redirect(tracker, number) == b"OK"
        tracker.command("GET", "watched")
        receiver.close()
        with front.connect() as writer:
            def broken():
                writer.command("SET", "watched", "1")
                tracker.send(encode("GET", "watched"))
                return isinstance(tracker.read(), Push)
            eventually(broken)


@pytest.mark.parametrize("pins", [1, 2])
def test_without_a_pin_to_be_had_nobody_else_waits(launch, server, threads, pins):
    pool = {"maxOpen": 8, "maxPinned": pins, "poolTimeout": "500ms"}
    redpool = launch.redpool(server, pool=pool, settings={"threads": threads})
    receiver, tracker, blocked = (redpool.connect() for _ in range(3))
    number = receiver.command("CLIENT", "ID")
    if pins == 2:
        blocked.send(encode("BLPOP", "none", "0"))
        eventually(lambda: server.info("blocked_clients") == "1")
    tracker.send(encode("CLIENT", "TRACKING", "ON", "REDIRECT", number))
    for _ in range(20):
        assert receiver.command("PING") == b"PONG"
    assert tracker.read().startswith(b"PINLIMIT")
    assert receiver.command("PING") == b"PONG"
    for client in (receiver, tracker, blocked):
        client.close()


ENDS = {
    "OFF": lambda tracker: tracker.command("CLIENT", "TRACKING", "OFF"),
    "RESET": lambda tracker: tracker.command("RESET"),
    "leaving": lambda tracker: tracker.close(),
    "tracking without": lambda tracker: (
        tracker.command("HELLO", "3"), tracker.command("CLIENT", "TRACKING", "ON")
    ),
    "refused": lambda tracker: None,
}


@pytest.mark.parametrize("end", ENDS)
def test_its_upstream_is_given_up_when_nobody_tracks_for_it(launch, server, threads, end):
    redpool = launch.redpool(server, pool={"maxOpen": 12, "maxPinned": 6}, settings={"threads": threads})
    for _ in range(5):
        receiver, tracker, other = (redpool.connect() for _ in range(3))
        receiver.command("HELLO", "3")
        number = receiver.command("CLIENT", "ID")
        if end == "refused":
            # BCAST and OPTIN exclude each other.
            refused = ("CLIENT", "TRACKING", "ON", "BCAST", "OPTIN", "REDIRECT", number)
            assert tracker.command(*refused).startswith(b"ERR")
        else:
            assert redirect(tracker, number) == b"OK"
            if redirect(other, number) != b"OK":
                raise AssertionError
            other.command("CLIENT", "TRACKING", "OFF")
            change(redpool, tracker)
            assert receiver.read() == Push(INVALIDATED)
        ENDS[end](tracker)
        assert receiver.command("PING") == b"PONG"
        tracker.close()
        other.close()
        held = receiver
        # Of six pins none is left to it: all can be had.
        blocked = [redpool.connect() for _ in range(6)]
        for client in blocked:
            client.send(encode("BLPOP", "none", "0"))
        eventually(lambda: server.info("blocked_clients") == "6")
        for client in [*blocked, held]:
            client.close()
        eventually(lambda: server.info("blocked_clients") == "0")
