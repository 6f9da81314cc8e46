"""An upgrade in place: another program takes over the process, and no client notices."""

import contextlib
import socket

import pytest

from harness.daemon import run_cli
from harness.tls import SecureSocket, client_context
from harness.waiting import eventually
from harness.wire import Connection, ErrorReply, encode
from upgrades import upgrade

pytestmark = [pytest.mark.daemon, pytest.mark.plain]
BOTH = pytest.mark.parametrize("threads", [1, 2])


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
        with redpool.connect() as publisher:
            # Clients count, on however many hubs they are.
            assert publisher.command("PUBLISH", "c", "1") == 8
            assert publisher.command("PUBSUB", "NUMSUB", "b", "a") == [b"b", 8, b"a", 0]
        assert direct.command("PUBLISH", "b", "2") == 2
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


@BOTH
def test_what_a_stopped_server_owes_is_not_lost(launch, threads):
    """Commands of several clients are on shared upstreams, and nobody answers during the upgrade."""
    server = launch.server()
    redpool = launch.redpool(server, console=True, settings={"threads": threads})
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redpool.connect()) for _ in range(20)]
        for client in clients:
            assert client.command("PING") == b"PONG"
        gone = redpool.connect()
        assert gone.command("PING") == b"PONG"
        server.pause()
        try:
            for client in clients:
                client.send(b"".join(encode("INCR", "n") for _ in range(10)))
            gone.send(encode("INCR", "n") * 10)
            eventually(lambda: all(redpool.has_read(client) for client in [*clients, gone]))
            gone.reset()
            eventually(lambda: len(redpool.show("CLIENTS")) == 20)
            assert "20 clients carried" in upgrade(redpool)
            assert "20 clients carried" in upgrade(redpool)
        finally:
            server.resume()
        found = sorted(client.read() for client in clients for _ in range(10))
        assert len(set(found)) == 200 and found[-1] <= 210, found
        for client in clients:
            assert client.command("PING") == b"PONG"
        eventually(lambda: server.command("GET", "n") == b"210")
        # What was carried is replaced when it is answered.
        eventually(lambda: totals(redpool)["upstreams_closed.upgrade"] > 0)


def test_clients_with_tls_resume(launch):
    """They are closed, with close_notify, and come back by a short handshake."""
    redpool = launch.redpool(launch.server(), console=True, tls=True)
    context, session = client_context(), None
    for turn in range(3):
        plain = socket.create_connection((redpool.tcp.host, redpool.tcp.port), 20)
        secure = SecureSocket(plain, context, session=session)
        with Connection(redpool.tcp, made=secure) as client:
            assert client.command("PING") == b"PONG"
            assert secure.is_resumed == (turn > 0)
            session = secure.session
            assert "1 closed (TLS)" in upgrade(redpool)
            assert secure.recv(1) == b"" and secure.was_told


def totals(redpool) -> dict:
    return {row["name"]: int(row["total"]) for row in redpool.show("STATS", "main")}


@BOTH
def test_no_counter_falls(launch, threads):
    redpool = launch.redpool(
        launch.server(), console=True, pool={"denyCommands": ["DEBUG"]}, settings={"threads": threads}
    )
    with redpool.connect() as client, redpool.connect() as other:
        for number in range(50):
            assert client.command("SET", "a", b"x" * 1000) == b"OK"
            assert isinstance(other.command("INCR", "a"), ErrorReply)
        assert isinstance(other.command("DEBUG", "x"), ErrorReply)
        before = totals(redpool)
        for turn in range(3):
            upgrade(redpool)
            after = totals(redpool)
            falls = {name: (before[name], after[name]) for name in before
                     if after[name] < before[name]
                     and not name.startswith(("worker_busy", "log_lines"))}
            assert not falls, falls
            for name in ("clients_accepted", "commands.shared", "error_replies.ERR",
                         "refused_commands.denied"):
                assert after[name] == before[name], (name, before, after)
            before = after
