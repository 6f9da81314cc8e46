"""An upgrade in place: another program takes over the process, and no client notices."""

import contextlib

import pytest

from harness.daemon import BINARY, run_cli
from harness.waiting import eventually
from harness.wire import Connection, ErrorReply, encode

pytestmark = pytest.mark.daemon
BOTH = pytest.mark.parametrize("threads", [1, 2])


def upgrade(redpool, *words) -> str:
    """Upgrades, and returns what the daemon says of it."""
    with redpool.console() as console:
        reply = console.command("UPGRADE", *words)
    assert not isinstance(reply, ErrorReply), reply
    return reply.decode()


@BOTH
def test_idle_clients_are_carried(launch, threads):
    """Everything that a client knows of its connection stays as it was."""
    server = launch.server()
    redpool = launch.redpool(server, console=True, settings={"threads": threads})
    pid = redpool.process.pid
    with redpool.connect() as plain, redpool.connect() as named, Connection(redpool.unix) as unix:
        assert plain.command("SET", "a", "1") == b"OK"
        assert named.command("HELLO", "3", "SETNAME", "me")[b"proto"] == 3
        assert unix.command("SELECT", "5") == b"OK" == unix.command("SET", "b", "2")
        numbers = [client.command("CLIENT", "ID") for client in (plain, named, unix)]
        for _ in range(3):
            assert "clients carried" in upgrade(redpool)
            assert redpool.process.pid == pid and redpool.process.poll() is None
            assert [client.command("CLIENT", "ID") for client in (plain, named, unix)] == numbers
            assert plain.command("GET", "a") == b"1"
            assert named.command("CLIENT", "GETNAME") == b"me"
            assert unix.command("GET", "b") == b"2"
            assert unix.command("GET", "a") is None
            with redpool.connect() as new:
                assert new.command("CLIENT", "ID") > max(numbers)
    assert redpool.stop() == 0


def test_blocked_clients_stay_blocked(launch):
    server = launch.server()
    redpool = launch.redpool(server, console=True)
    with redpool.connect() as blocked, redpool.connect() as other:
        blocked.send(encode("BLPOP", "list", 0))
        eventually(lambda: server.info("blocked_clients") == "1")
        assert "(1 blocked)" in upgrade(redpool)
        assert server.info("blocked_clients") == "1"
        assert other.command("RPUSH", "list", "x") == 1
        assert blocked.read() == [b"list", b"x"]
        assert blocked.command("PING") == b"PONG"


def test_transactions_and_watched_keys_stay(launch):
    server = launch.server()
    redpool = launch.redpool(server, console=True)
    with redpool.connect() as multi, redpool.connect() as loser, redpool.connect() as winner:
        assert multi.command("MULTI") == b"OK"
        assert multi.command("INCR", "n") == b"QUEUED"
        assert loser.command("WATCH", "w") == b"OK" == winner.command("WATCH", "x")
        upgrade(redpool)
        assert multi.command("INCR", "n") == b"QUEUED"
        assert multi.command("EXEC") == [1, 2]
        assert multi.command("SET", "w", "changed") == b"OK"
        for client, result in ((loser, None), (winner, [b"OK"])):
            assert client.command("MULTI") == b"OK"
            assert client.command("SET", "y", "1") == b"QUEUED"
            assert client.command("EXEC") == result


def test_subscribers_stay(launch):
    server = launch.server()
    redpool = launch.redpool(server, console=True, pool={"pubsub": "pinned"})
    with redpool.connect() as subscriber, redpool.connect() as other:
        subscriber.send(encode("SUBSCRIBE", "c"))
        assert subscriber.read() == [b"subscribe", b"c", 1]
        assert "(1 subscribed)" in upgrade(redpool)
        assert other.command("PUBLISH", "c", "m") == 1
        assert subscriber.read() == [b"message", b"c", b"m"]
        subscriber.send(encode("UNSUBSCRIBE", "c"))
        assert subscriber.read() == [b"unsubscribe", b"c", 0]
        assert subscriber.command("PING") == b"PONG"


def test_the_command_line_upgrades(launch):
    redpool = launch.redpool(launch.server(), console=True)
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        done = run_cli("upgrade", "--socket", redpool.admin.path)
        assert done.returncode == 0 and done.stdout.startswith("upgraded "), done
        assert client.command("PING") == b"PONG"
    redpool.stop()
    assert run_cli("upgrade", "--socket", redpool.admin.path).returncode == 69


@BOTH
def test_hubs_stay(launch, threads):
    """Subscribers that share connections get what is published, before and after."""
    server = launch.server()
    redpool = launch.redpool(
        server, console=True, pool={"pubsub": "shared"}, settings={"threads": threads}
    )
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redpool.connect()) for _ in range(6)]
        for number, client in enumerate(clients):
            if number % 2:
                client.command("HELLO", "3")
            assert client.command("SUBSCRIBE", "all") == [b"subscribe", b"all", 1]
            own = b"own%d" % number
            assert client.command("PSUBSCRIBE", own) == [b"psubscribe", own, 2]
        direct = stack.enter_context(server.connect())
        hubs = int(server.info("connected_clients"))
        for turn in range(3):
            assert "(6 subscribed)" in upgrade(redpool)
            message = b"message %d" % turn
            assert direct.command("PUBLISH", "all", message) >= 1
            for client in clients:
                assert client.read() == [b"message", b"all", message]
        assert int(server.info("connected_clients")) <= hubs
        for number, client in enumerate(clients):
            own = b"own%d" % number
            assert direct.command("PUBLISH", own, "x") == 1
            assert client.read() == [b"pmessage", own, own, b"x"]
            assert client.command("UNSUBSCRIBE", "all") == [b"unsubscribe", b"all", 1]
            assert client.command("SUBSCRIBE", "more") == [b"subscribe", b"more", 2]
            assert client.command("PUNSUBSCRIBE") == [b"punsubscribe", own, 1]
            assert client.command("UNSUBSCRIBE") == [b"unsubscribe", b"more", 0]
            assert client.command("PING") == b"PONG"
        eventually(lambda: direct.command("PUBSUB", "CHANNELS") == [])


def test_fewer_threads(launch):
    """What was on two threads is on one: each user has two hubs there."""
    server = launch.server()
    redpool = launch.redpool(
        server, console=True, pool={"pubsub": "shared"}, settings={"threads": 2}
    )
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redpool.connect()) for _ in range(8)]
        for client in clients:
            assert client.command("SUBSCRIBE", "a", "b") == [b"subscribe", b"a", 1]
            assert client.read() == [b"subscribe", b"b", 2]
        assert "restart" in redpool.reload_settings(threads=1)
        assert "(8 subscribed)" in upgrade(redpool)
        direct = stack.enter_context(server.connect())
        eventually(lambda: direct.command("PUBSUB", "NUMSUB", "a") == [b"a", 2])
        for client in clients:
            assert client.command("UNSUBSCRIBE", "a") == [b"unsubscribe", b"a", 1]
            assert client.command("SUBSCRIBE", "c") == [b"subscribe", b"c", 2]
        assert direct.command("PUBLISH", "c", "1") == direct.command("PUBLISH", "b", "2") == 2
        assert direct.command("PUBLISH", "a", "3") == 0
        for client in clients:
            assert client.read() == [b"message", b"c", b"1"]
            assert client.read() == [b"message", b"b", b"2"]
            assert client.command("UNSUBSCRIBE") == [b"unsubscribe", b"b", 1]
            assert client.read() == [b"unsubscribe", b"c", 0]
        with redpool.connect() as one, redpool.connect() as two:
            for client in (one, two):
                assert client.command("SUBSCRIBE", "d") == [b"subscribe", b"d", 1]
            assert direct.command("PUBSUB", "NUMSUB", "d") == [b"d", 1]


@BOTH
def test_monitors_stay(launch, threads):
    """Nothing of Redpool's own is seen, whoever has sent it."""
    server = launch.server()
    redpool = launch.redpool(server, console=True, settings={"threads": threads})
    with redpool.connect() as monitor, redpool.connect() as client:
        assert monitor.command("MONITOR") == b"OK"
        for turn in range(3):
            assert client.command("SET", f"key{turn}", "1") == b"OK"
            upgrade(redpool)
            assert client.command("GET", f"key{turn}") == b"1"
            assert b'"SET" "key%d"' % turn in monitor.read()
            assert b'"GET" "key%d"' % turn in monitor.read()


def test_tracking_stays(launch):
    server = launch.server()
    redpool = launch.redpool(server, console=True)
    with contextlib.ExitStack() as stack:
        own, tracker, target, writer = (stack.enter_context(redpool.connect()) for _ in range(4))
        own.command("HELLO", "3")
        assert own.command("CLIENT", "TRACKING", "ON") == b"OK"
        number = target.command("CLIENT", "ID")
        assert target.command("SUBSCRIBE", "__redis__:invalidate")[0] == b"subscribe"
        assert tracker.command("CLIENT", "TRACKING", "ON", "REDIRECT", number) == b"OK"
        assert own.command("GET", "a") is None and tracker.command("GET", "b") is None
        upgrade(redpool)
        assert tracker.command("CLIENT", "GETREDIR") == number
        assert writer.command("MSET", "a", "1", "b", "2") == b"OK"
        assert own.read() == [b"invalidate", [b"a"]]
        assert target.read() == [b"message", b"__redis__:invalidate", [b"b"]]
        assert own.command("GET", "a") == b"1"
        assert tracker.command("CLIENT", "TRACKING", "OFF") == b"OK"
