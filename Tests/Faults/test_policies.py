"""Failover signs and the deadlines of commands and transactions."""

import contextlib
import signal
import time

import pytest

from harness.waiting import always, eventually
from harness.wire import Connection, ErrorReply, encode

# What a loaded machine may add to a deadline.
SLACK = 8.0
SIGNS = {
    "READONLY": b"-READONLY You can't write against a read only replica.\r\n",
    "LOADING": b"-LOADING Redis is loading the dataset in memory\r\n",
    "MASTERDOWN": b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is no.\r\n",
}


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("held", [False, True], ids=["shared", "held"])
def test_failover_sign(launch, sign, held):
    """It reaches the client as it is, and that upstream is used no more than it has to be."""
    server = launch.server()
    middleman = launch.middleman(server)
    redpool = launch.redpool(middleman)
    middleman.arm(b"fault:sign", SIGNS[sign])
    with redpool.connect() as client:
        if held:
            assert client.command("WATCH", "k") == b"OK"
        accepted = middleman.accepted
        client.send(encode("SET", "fault:sign", "1") + encode("ECHO", "behind"))
        assert client.read_raw() == SIGNS[sign]
        assert client.read() == b"behind"
        suspects = [link for link in list(middleman.links) if b"behind" in link.last]
        if held:
            # There is another upstream already: a pin leaves one to the others.
            assert suspects and client.command("UNWATCH") == b"OK"
        else:
            eventually(lambda: middleman.accepted > accepted)
        eventually(lambda: not set(suspects) & set(middleman.links))
        assert client.command("SET", "fault:sign", "2") == b"OK"
    assert server.command("GET", "fault:sign") == b"2"


def test_real_replica(launch):
    """A failover with two real servers' words: written again as soon as it can be."""
    server = launch.server()
    redpool = launch.redpool(server)
    with redpool.connect() as client:
        assert client.command("SET", "k", "1") == b"OK"
        before = {row["id"] for row in server.upstreams()}
        server.command("REPLICAOF", "127.0.0.1", "1")
        reply = client.command("SET", "k", "2")
        assert isinstance(reply, ErrorReply) and reply.startswith(b"READONLY"), reply
        eventually(lambda: {row["id"] for row in server.upstreams()} - before)
        server.command("REPLICAOF", "NO", "ONE")
        assert client.command("SET", "k", "3") == b"OK"


def test_a_sign_replaces_every_upstream(launch):
    """All of them lead to the old primary, also those that have said nothing."""
    server = launch.server()
    redpool = launch.redpool(server, pool={"minIdle": 3, "maxOpen": 6})
    with redpool.connect() as client, redpool.connect() as holder:
        assert holder.command("WATCH", "k") == b"OK"
        assert client.command("SET", "k", "1") == b"OK"
        eventually(lambda: len(server.upstreams()) >= 4)
        before = {row["id"] for row in server.upstreams()}
        server.command("REPLICAOF", "127.0.0.1", "1")
        assert client.command("SET", "k", "2").startswith(b"READONLY")
        # The holder's goes when its state is over.
        eventually(lambda: len(before & {row["id"] for row in server.upstreams()}) == 1)
        assert holder.command("UNWATCH") == b"OK"
        eventually(lambda: not before & {row["id"] for row in server.upstreams()})
        server.command("REPLICAOF", "NO", "ONE")
        assert client.command("SET", "k", "3") == b"OK"


def test_a_change_of_role_is_noticed_without_a_write(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool={"minIdle": 2, "pingInterval": "1s"})
    with redpool.connect() as client:
        assert client.command("GET", "k") is None
        eventually(lambda: len(server.upstreams()) >= 2)
        before = {row["id"] for row in server.upstreams()}
        server.command("REPLICAOF", "127.0.0.1", "1")
        eventually(lambda: not before & {row["id"] for row in server.upstreams()})
        assert client.command("GET", "k") is None
        # A replica that stays one costs no connection any more.
        after = {row["id"] for row in server.upstreams()}
        always(lambda: after <= {row["id"] for row in server.upstreams()}, 3)


def test_writes_to_a_replica_cost_ever_fewer_connections(launch):
    """Somebody has a pool of a replica, and a client that writes there again and again."""
    server = launch.server()
    server.command("REPLICAOF", "127.0.0.1", "1")
    redpool = launch.redpool(server)
    with redpool.connect() as client:
        opened = set()
        ends = time.monotonic() + 8
        while time.monotonic() < ends:
            assert client.command("SET", "k", "1").startswith(b"READONLY")
            opened |= {row["id"] for row in server.upstreams()}
            time.sleep(0.02)
    # Signs count at 0, 1, 3 and 7 s.
    assert 4 <= len(opened) <= 8, opened


BEHIND = encode("ECHO", "behind")
MANY_KEYS = [f"{number}".zfill(100) for number in range(1500)]
BLOCKED = {
    "BLPOP": encode("BLPOP", "list", "0"),
    "BLPOP and more": encode("BLPOP", "list", "0") + BEHIND + encode("RPUSH", "behind", "x"),
    "BLPOP in another database": encode("SELECT", "3") + encode("BLPOP", "list", "0"),
    "large BLPOP": encode("BLPOP", *MANY_KEYS, "0") + BEHIND,
    "BLMOVE": encode("BLMOVE", "a", "b", "LEFT", "LEFT", "60"),
    "XREAD": encode("XREAD", "BLOCK", "0", "STREAMS", "stream", "$") + BEHIND,
    "WAIT": encode("SET", "k", "v") + encode("WAIT", "3", "0") + BEHIND,
    "BLPOP while watching": encode("WATCH", "k") + encode("BLPOP", "list", "0") + BEHIND,
    "BLPOP behind EXEC": encode("WATCH", "k") + encode("MULTI") + encode("EXEC")
    + encode("BLPOP", "list", "0"),
    "BLPOP while subscribed": encode("HELLO", "3") + encode("SUBSCRIBE", "c")
    + encode("BLPOP", "list", "0"),
}


@pytest.mark.parametrize("policy", ["close", "error"])
def test_role_change_ends_blocked_clients(launch, policy):
    """The server says why, and closes; so does Redpool, and what comes behind is not run."""
    server = launch.server()
    redpool = launch.redpool(server, pool={"onUpstreamLoss": policy})
    with redpool.connect() as other, contextlib.ExitStack() as stack:
        assert other.command("PING") == b"PONG"
        pairs = {}
        for name, commands in BLOCKED.items():
            pairs[name] = redpool.connect(), Connection(server.tcp)
            for client in pairs[name]:
                stack.enter_context(client).send(commands)
        eventually(lambda: server.info("blocked_clients") == str(2 * len(BLOCKED)))
        assert server.command("REPLICAOF", "127.0.0.1", "1") == b"OK"
        for name, (client, direct) in pairs.items():
            ours, theirs = client.read_until_closed(), direct.read_until_closed()
            assert b"-UNBLOCKED force unblock" in theirs and b"behind" not in theirs, name
            if b"proto" in theirs:
                # HELLO's answer has the id of a connection.
                ours, theirs = (text[text.index(b">") :] for text in (ours, theirs))
            assert ours == theirs, name
        assert other.command("ECHO", "alive") == b"alive"
        assert server.command("EXISTS", "behind") == 0


def test_unblocked_by_another_client_is_no_role_change(launch):
    """CLIENT UNBLOCK concerns one wait: neither the client nor its upstream ends."""
    server = launch.server()
    redpool = launch.redpool(server)
    with redpool.connect() as client:
        client.send(encode("BLPOP", "list", "0"))
        eventually(lambda: server.info("blocked_clients") == "1")
        before = [row["id"] for row in server.upstreams() if row["cmd"] == "blpop"]
        assert server.command("CLIENT", "UNBLOCK", before[0], "ERROR") == 1
        assert client.read() == b"UNBLOCKED client unblocked via CLIENT UNBLOCK"
        assert client.command("ECHO", "alive") == b"alive"
        assert set(before) <= {row["id"] for row in server.upstreams()}


def test_error_of_a_script_that_looks_like_a_role_change(launch):
    server = launch.server()
    redpool = launch.redpool(server)
    text = "UNBLOCKED force unblock from blocking operation"
    with redpool.connect() as client:
        for _ in range(2):
            reply = client.command("EVAL", f"return redis.error_reply('{text}')", "0")
            assert reply == text.encode()
            assert client.command("WATCH", "k") == b"OK"
        assert client.command("ECHO", "alive") == b"alive"


@pytest.mark.parametrize("policy", ["close", "error"])
def test_command_timeout(launch, policy):
    """A command that takes too long ends its upstream, nobody else's; blocking ones may wait."""
    server = launch.server()
    middleman = launch.middleman(server)
    redpool = launch.redpool(
        middleman, pool={"commandTimeout": "2s", "onUpstreamLoss": policy}
    )
    with (
        redpool.connect() as client, redpool.connect() as blocked, redpool.connect() as transaction
    ):
        blocked.send(encode("BLPOP", "list", "0"))
        eventually(lambda: server.info("blocked_clients") == "1")
        assert transaction.command("MULTI") == b"OK"
        middleman.arm(b"fault:slow", "stall")
        started = time.monotonic()
        client.send(encode("GET", "fault:slow"))
        if policy == "close":
            assert client.read_until_closed() == b""
        else:
            reply = client.read()
            assert reply.startswith(b"UPSTREAMLOST pool main") and b"command_timeout" in reply
            assert client.command("ECHO", "alive") == b"alive"
        assert 2.0 <= time.monotonic() - started < 2.0 + SLACK
        # Both have waited longer than commandTimeout by now, and neither was struck.
        assert transaction.command("INCR", "k") == b"QUEUED"
        assert transaction.command("EXEC") == [1]
        assert server.command("RPUSH", "list", "x") == 1
        assert blocked.read() == [b"list", b"x"]


def test_answers_that_came_in_time_count(launch):
    """A daemon that was not running reads what has come before it looks at deadlines."""
    server = launch.server()
    redpool = launch.redpool(server, pool={"commandTimeout": "2s"})
    with redpool.connect() as client, server.connect() as control:
        assert control.command("CLIENT", "PAUSE", "60000", "WRITE") == b"OK"
        client.send(encode("INCR", "n"))
        eventually(lambda: control.command("INFO", "clients").count(b"blocked_clients:1\r\n") == 1)
        redpool.signal(signal.SIGSTOP)
        # The daemon's own timers are due by now, and the answer comes after them.
        stopped = time.monotonic()
        eventually(lambda: time.monotonic() - stopped > 0.2, what="a tick")
        assert control.command("CLIENT", "UNPAUSE") == b"OK"
        eventually(lambda: time.monotonic() - stopped > 2.2, what="more than the timeout")
        redpool.signal(signal.SIGCONT)
        assert client.read() == 1
        assert client.command("INCR", "n") == 2


@pytest.mark.parametrize("command", ["WATCH", "MULTI"])
def test_transaction_timeout(launch, command):
    """Counted from the client's last command; its upstream serves others afterwards."""
    server = launch.server()
    redpool = launch.redpool(
        server, pool={"transactionTimeout": "500ms", "maxOpen": 2, "maxPinned": 1}
    )
    with redpool.connect() as idle, redpool.connect() as holder, redpool.connect() as subscriber:
        assert idle.command("PING") == b"PONG"
        # Before the daemon's clock starts.
        started = time.monotonic()
        assert holder.command(*((command, "k") if command == "WATCH" else (command,))) == b"OK"
        assert holder.read_until_closed() == b""
        assert 0.5 <= time.monotonic() - started < 0.5 + SLACK
        eventually(lambda: subscriber.command("SUBSCRIBE", "c") == [b"subscribe", b"c", 1])
        # A subscription is no transaction, and an idle client holds nothing.
        assert idle.command("PING") == b"PONG"
        started = time.monotonic()
        eventually(lambda: time.monotonic() - started > 0.8, what="more than the timeout")
        assert server.command("PUBLISH", "c", "still here") == 1
        assert subscriber.read() == [b"message", b"c", b"still here"]


def test_blackholed_link_is_found_by_the_probe(launch):
    """An idle upstream that answers nothing any more is replaced before a client needs it."""
    middleman = launch.middleman(launch.server())
    redpool = launch.redpool(middleman, pool={"pingInterval": "1s", "connectTimeout": "2s"})
    with redpool.connect() as client:
        assert client.command("ECHO", "x") == b"x"
        accepted, old = middleman.accepted, set(middleman.links)
        middleman.strike("stall")
        eventually(lambda: middleman.accepted > accepted and not old & set(middleman.links))
        assert client.command("ECHO", "y") == b"y"
