"""What one client can do to itself or to others in front of a cluster, on purpose or by accident."""

import socket

import pytest

from harness.cluster import Cluster, slot_of
from harness.servers import FOUND
from harness.waiting import always, eventually
from harness.wire import ErrorReply, encode

pytestmark = pytest.mark.daemon

LARGE = "x" * 300_000


@pytest.fixture(scope="module")
def three(keep):
    """Three primaries, for tests that leave their slots in any state."""
    return keep.started(Cluster(replicas=0))


@pytest.fixture
def cluster(three):
    three.settle()
    return three


class Ground:
    """A daemon, and a key whose slot can be moved from `source` to `target`."""

    def __init__(self, launch, cluster, **pool):
        self.cluster = cluster
        self.redpool = launch.redpool(None, pool=cluster.settings | pool, console=True)
        cluster.wait_for_map(self.redpool)
        self.source, self.target, *_ = cluster.primaries
        [self.key] = cluster.keys_of(self.source, 1)
        [self.other] = cluster.keys_of(self.target, 1)
        self.slot = slot_of(self.key)

    def move(self):
        self.cluster.move_slots([self.slot], self.source, self.target)
        self.source, self.target = self.target, self.source

    def connect(self):
        return self.redpool.connect()


@pytest.fixture
def ground(launch, cluster):
    return Ground(launch, cluster)


# Large commands


def test_large_commands_go_to_the_node_of_their_key(ground):
    with ground.connect() as client:
        for _ in range(2):
            for key in (ground.key, ground.other):
                assert client.command("SET", key, LARGE) == b"OK"
                assert client.command("STRLEN", key) == len(LARGE)


def test_a_large_command_behind_multi_is_in_the_transaction(ground):
    with ground.connect() as client:
        assert client.command("MULTI") == b"OK"
        assert client.command("SET", ground.other, LARGE) == b"QUEUED"
        assert ground.cluster.command("EXISTS", ground.other) == 0
        assert client.command("STRLEN", ground.other) == b"QUEUED"
        assert client.command("EXEC") == [b"OK", len(LARGE)]


@pytest.mark.parametrize("when", ["before", "behind"])
def test_a_transaction_with_a_large_member_does_not_move_without_it(ground, when):
    """It runs as a whole, or not at all."""
    first, large, last = (f"{name}:{ground.key}" for name in "abc")
    with ground.connect() as client:
        assert client.command("MULTI") == b"OK"
        assert client.command("INCR", first) == b"QUEUED"
        if when == "before":
            ground.move()
        client.command("SET", large, LARGE)
        if when == "behind":
            ground.move()
        client.command("INCR", last)
        reply = client.command("EXEC")
        assert isinstance(reply, ErrorReply) and reply.startswith(b"EXECABORT "), reply
        assert client.command("EXISTS", first, large, last) == 0


def test_a_large_command_while_a_key_of_another_node_is_watched(ground):
    with ground.connect() as client:
        assert client.command("WATCH", ground.key) == b"OK"
        reply = client.command("SET", ground.other, LARGE)
        text = f"TRYAGAIN pool main: slot {slot_of(ground.other)} has moved; the command did not run"
        assert reply == text.encode()
        assert client.command("MULTI") == b"OK"
        assert client.command("INCR", ground.key) == b"QUEUED"
        assert client.command("EXEC") == [1]


# MULTI that Redpool has answered


def test_a_pause_of_the_server_between_multi_and_the_first_command(ground):
    with ground.connect() as client, ground.connect() as another:
        assert client.command("MULTI") == b"OK"
        # What has an upstream of its own is about that node.
        assert another.command("WATCH", ground.key) == b"OK"
        assert another.command("CLIENT", "PAUSE", "2000", "WRITE") == b"OK"
        assert client.command("SET", ground.key, "1") == b"QUEUED"
        assert client.command("EXEC") == [b"OK"]
        assert another.command("CLIENT", "UNPAUSE") == b"OK"


def test_no_upstream_for_a_transaction(launch, cluster):
    """What has been refused an upstream is not left out of a transaction that runs."""
    ground = Ground(launch, cluster, maxOpen=2, maxPinned=1, poolTimeout="300ms")
    with ground.connect() as client, ground.connect() as holder:
        assert holder.command("WATCH", ground.key) == b"OK"
        assert client.command("MULTI") == b"OK"
        reply = client.command("SET", f"a:{ground.key}", "1")
        assert isinstance(reply, ErrorReply), reply
        assert holder.command("UNWATCH") == b"OK"
        client.command("SET", f"b:{ground.key}", "1")
        reply = client.command("EXEC")
        assert isinstance(reply, ErrorReply) and reply.startswith(b"EXECABORT "), reply
        assert client.command("EXISTS", f"a:{ground.key}", f"b:{ground.key}") == 0


def test_a_denied_member_does_not_go_with_its_transaction(launch, cluster):
    ground = Ground(launch, cluster, denyCommands=["FLUSHALL"])
    with ground.connect() as client:
        assert client.command("SET", ground.other, "kept") == b"OK"
        assert client.command("MULTI") == b"OK"
        assert client.command("INCR", f"a:{ground.key}") == b"QUEUED"
        assert isinstance(client.command("FLUSHALL"), ErrorReply)
        ground.move()
        client.command("INCR", f"b:{ground.key}")
        reply = client.command("EXEC")
        assert isinstance(reply, ErrorReply) and reply.startswith(b"EXECABORT "), reply
        assert client.command("GET", ground.other) == b"kept"
        assert client.command("EXISTS", f"a:{ground.key}", f"b:{ground.key}") == 0


@pytest.mark.parametrize("words", [("CLIENT", "ID"), ("MULTI",), ("CLIENT", "GETNAME"), ("PING",),
                                   ("BLPOP", "{0}", "1"), ("WATCH", "{0}"), ("EVAL", "return 1", "0")])
def test_what_follows_a_transaction_that_moves(ground, words):
    """Replies in the order of the commands."""
    key = f"list:{ground.key}"
    with ground.connect() as client:
        assert client.command("RPUSH", key, "a") == 1
        assert client.command("MULTI") == b"OK"
        assert client.command("INCR", f"a:{ground.key}") == b"QUEUED"
        ground.move()
        assert client.command("INCR", f"b:{ground.key}") == b"QUEUED"
        client.send(encode("EXEC") + encode(*(word.format(key) for word in words))
                    + encode("INCR", f"c:{ground.key}"))
        assert client.read() == [1, 1]
        assert not isinstance(client.read(), ErrorReply)
        assert client.read() == (b"QUEUED" if words == ("MULTI",) else 1)


@pytest.mark.parametrize("watching", [False, True])
@pytest.mark.parametrize("words", ["MOVED {0} {1}", "ASK {0} {1}", "TRYAGAIN later", "CLUSTERDOWN x"])
def test_a_script_that_makes_up_refusals(ground, words, watching):
    """It has run, and does not run again, also where the client has an upstream of its own."""
    with ground.connect() as client:
        if watching:
            assert client.command("WATCH", f"w:{ground.key}") == b"OK"
        text = words.format(ground.slot, ground.target)
        script = f"redis.call('INCR', KEYS[1]) return redis.error_reply('{text}')"
        reply = client.command("EVAL", script, "1", ground.key)
        if words.endswith("{1}"):
            # The node can have said so: nobody knows.
            text = (f"TRYAGAIN pool main: slot {ground.slot} has moved and come back; it is not "
                    "known whether the script has run")
        assert reply == text.encode()
        assert client.command("GET", ground.key) == b"1"


def test_a_script_of_a_watching_client_follows_its_slot(ground):
    with ground.connect() as client:
        assert client.command("WATCH", f"w:{ground.key}") == b"OK"
        assert client.command("EVAL", "return redis.call('INCR', KEYS[1])", "1", ground.key) == 1
        ground.move()
        assert client.command("EVAL", "return redis.call('INCR', KEYS[1])", "1", ground.key) == 2
        assert client.command("GET", ground.key) == b"2"


@pytest.mark.parametrize("server", [one for one in FOUND if one.splits_replies], ids=str)
def test_a_script_that_can_make_up_replies_follows_its_slot(launch, server):
    """There each script has a fence behind it."""
    ground = Ground(launch, launch.started(Cluster(replicas=0, binary=server.path)))
    script = "return redis.call('INCR', KEYS[1])"
    with ground.connect() as client:
        for round in range(1, 4):
            assert client.command("EVAL", script, "1", ground.key) == round
            ground.move()


@pytest.mark.parametrize("word", ["QUIT", "RESET"])
def test_a_way_out_of_a_transaction_that_cannot_run(launch, cluster, word):
    ground = Ground(launch, cluster, maxOpen=2, maxPinned=1, poolTimeout="300ms")
    with ground.connect() as client, ground.connect() as holder:
        assert holder.command("WATCH", ground.key) == b"OK"
        assert client.command("MULTI") == b"OK"
        assert isinstance(client.command("SET", ground.key, "1"), ErrorReply)
        assert client.command(word) == (b"OK" if word == "QUIT" else b"RESET")
        if word == "RESET":
            assert client.command("SET", ground.key, "1") == b"OK"


def test_a_member_that_fails_keeps_its_transaction_from_running(ground):
    """Also where the other node would queue it."""
    with ground.connect() as client:
        assert client.command("MULTI") == b"OK"
        assert client.command("INCR", f"a:{ground.key}") == b"QUEUED"
        assert isinstance(client.command("GET"), ErrorReply)
        ground.move()
        client.command("INCR", f"b:{ground.key}")
        reply = client.command("EXEC")
        assert isinstance(reply, ErrorReply) and reply.startswith(b"EXECABORT "), reply
        assert client.command("EXISTS", f"a:{ground.key}", f"b:{ground.key}") == 0


# What waits for a time


@pytest.mark.parametrize("words", [("BLPOP", "a:{}", "b:{}", "5"), ("WATCH", "a:{}", "b:{}")])
def test_an_own_upstream_and_a_slot_half_on_its_way(ground, words):
    """TRYAGAIN for a command with an upstream of its own."""
    gone, stays = f"a:{ground.key}", f"b:{ground.key}"
    with ground.connect() as client, ground.connect() as another:
        for key in (gone, stays):
            assert another.command("RPUSH", key, "1") == 1
        ground.cluster.begin_move(ground.slot, ground.target)
        ground.cluster.carry(ground.source, ground.target, [gone])
        client.send(encode(*(word.format(ground.key) for word in words)))
        always(lambda: not client.is_answered(), 0.3, what="a command that waits")
        ground.cluster.end_move(ground.slot, ground.source, ground.target)
        wanted = [gone.encode(), b"1"] if words[0] == "BLPOP" else b"OK"
        assert client.read() == wanted


# Silence


@pytest.mark.parametrize("mode", ["SKIP", "OFF"])
@pytest.mark.parametrize("words", [
    ("BLPOP", "{0}", "0"), ("GET", "s:{0}"), ("EVAL", "return 1", "1", "{0}"), ("WATCH", "{0}")])
@pytest.mark.parametrize("watching", [False, True])
def test_a_silent_command_that_is_refused(ground, mode, words, watching):
    with ground.connect() as client, ground.connect() as another:
        assert another.command("RPUSH", ground.key, "1") == 1
        assert client.command("SET", f"s:{ground.key}", "1") == b"OK"
        if watching:
            assert client.command("WATCH", f"w:{ground.key}") == b"OK"
        ground.move()
        client.send(encode("CLIENT", "REPLY", mode) + encode(*(w.format(ground.key) for w in words)))
        if mode == "OFF":
            client.send(encode("CLIENT", "REPLY", "ON"))
            assert client.read() == b"OK"
        assert client.command("ECHO", "hello") == b"hello"


def test_a_silent_transaction_that_moves(ground):
    with ground.connect() as client:
        client.send(encode("CLIENT", "REPLY", "OFF") + encode("MULTI"))
        client.send(encode("INCR", f"a:{ground.key}"))
        eventually(lambda: b" multi=1 " in ground.source.command("CLIENT", "LIST"),
                   what="a transaction")
        ground.move()
        client.send(encode("INCR", f"b:{ground.key}") + encode("EXEC"))
        client.send(encode("CLIENT", "REPLY", "ON"))
        assert client.read() == b"OK"
        assert client.command("MGET", f"a:{ground.key}", f"b:{ground.key}") == [b"1", b"1"]


# WATCH


@pytest.mark.parametrize("behind", ["MULTI", "CLIENT ID", "WATCH"])
def test_what_follows_a_watch_whose_slot_has_moved(ground, behind):
    with ground.connect() as client:
        assert client.command("GET", ground.key) is None
        ground.move()
        words = (*behind.split(), f"b:{ground.key}") if behind == "WATCH" else behind.split()
        client.send(encode("WATCH", ground.key) + encode(*words))
        assert client.read() == b"OK"
        assert not isinstance(client.read(), ErrorReply)


def test_half_a_command_behind_a_watch_whose_slot_has_moved(ground):
    with ground.connect() as client:
        assert client.command("GET", ground.key) is None
        ground.move()
        half = encode("SET", ground.key, "12345")
        client.send(encode("WATCH", ground.key) + half[:-9])
        assert client.read() == b"OK"
        client.send(half[-9:])
        assert client.read() == b"OK"
        assert client.command("GET", ground.key) == b"12345"


@pytest.mark.parametrize("behind", [("CLIENT", "ID"), ("CLIENT", "SETNAME", "me"), ("MULTI",)])
def test_what_follows_a_refused_command_of_a_watching_client(ground, behind):
    with ground.connect() as client:
        assert client.command("WATCH", f"w:{ground.key}") == b"OK"
        assert client.command("SET", ground.key, "1") == b"OK"
        ground.move()
        client.send(encode("GET", ground.key) + encode(*behind))
        assert client.read() == b"1"
        assert not isinstance(client.read(), ErrorReply)


# Clients that do not read


def test_a_watching_client_that_does_not_read(ground):
    with ground.connect() as client:
        assert client.command("SET", ground.key, "x" * 1_000_000) == b"OK"
        assert client.command("WATCH", f"w:{ground.key}") == b"OK"
        client.send(encode("GET", ground.key) * 12)
        eventually(lambda: any(row["waiting_bytes"] > 0 for row in ground.redpool.show("CLIENTS")),
                   what="output that waits")
        ground.move()
        client.send(encode("GET", ground.key))
        for _ in range(13):
            assert len(client.read()) == 1_000_000


def test_a_client_that_reads_gets_all_of_a_long_pipeline(launch, cluster):
    ground = Ground(launch, cluster, clientOutputLimit="16MB")
    keys = [f"{name}:{key}" for name in range(10) for key in (ground.key, ground.other)]
    with ground.connect() as client:
        for key in keys:
            assert client.command("SET", key, "x" * 1_000_000) == b"OK"
        client.send(b"".join(encode("GET", key) for key in keys) * 10)
        for _ in range(10 * len(keys)):
            assert len(client.read()) == 1_000_000


def test_a_client_that_reads_gets_all_behind_a_node_that_is_late(launch, cluster):
    """What the other nodes answer meanwhile is not kept without limit."""
    ground = Ground(launch, cluster, clientOutputLimit="16MB")
    with ground.connect() as client:
        assert client.command("SET", ground.other, "x" * 1_000_000) == b"OK"
        ground.source.pause()
        client.send(encode("GET", ground.key) + encode("GET", ground.other) * 100)
        always(lambda: not client.is_answered(), 0.5, what="a client that waits")
        ground.source.resume()
        assert client.read() is None
        for _ in range(100):
            assert len(client.read()) == 1_000_000


def test_clients_that_do_not_read_leave_nothing_behind(launch, cluster):
    ground = Ground(launch, cluster, clientOutputLimit="4MB", maxOpen=2)
    with ground.connect() as client:
        for key in (ground.key, ground.other):
            assert client.command("SET", key, "x" * 1_000_000) == b"OK"
        for _ in range(6):
            lazy = ground.connect()
            lazy.send((encode("GET", ground.key) + encode("GET", ground.other)) * 20)
            eventually(lazy.is_answered, what="a first reply")
            lazy.reset()
        for key in (ground.key, ground.other) * 10:
            assert len(client.command("GET", key)) == 1_000_000


@pytest.mark.parametrize("warm", [False, True])
def test_scripts_of_a_watching_client_for_other_nodes(ground, warm):
    script = "return redis.call('INCR', KEYS[1])"
    with ground.connect() as client:
        if warm:
            for key in (ground.key, ground.other):
                assert client.command("EVAL", script, "1", f"warm:{key}") == 1
        assert client.command("WATCH", ground.key) == b"OK"
        assert client.command("EVAL", script, "1", ground.other) == 1
        assert client.command("EVAL", script, "1", ground.other) == 2
        client.send(encode("GET", ground.other) + encode("EVAL", script, "1", ground.other))
        assert client.read() == b"2"
        assert client.read() == 3


def test_no_other_client_gets_the_connection_of_a_shard_subscriber(ground):
    """The node can tell the end of the channel's slot behind the client's own SUNSUBSCRIBE."""
    channel = f"channel:{ground.key}"

    def clients():
        return ground.source.command("CLIENT", "LIST").decode().splitlines()

    with ground.connect() as client:
        assert client.command("SSUBSCRIBE", channel) == [b"ssubscribe", channel.encode(), 1]
        [own] = [line.split()[0] for line in clients() if " ssub=1 " in line]
        assert client.command("SUNSUBSCRIBE", channel) == [b"sunsubscribe", channel.encode(), 0]
        eventually(lambda: not any(line.startswith(f"{own} ") for line in clients()),
                   what="a closed connection")
        assert client.command("INCR", ground.key) == 1


# Clients that leave


def test_a_client_that_has_ended_its_input_gets_all_replies(ground):
    with ground.connect() as client:
        keys = [f"{name}:{key}" for name in range(50) for key in (ground.key, ground.other)]
        client.send(b"".join(encode("INCR", key) for key in keys))
        client.send(encode("MULTI") + encode("INCR", ground.key) + encode("EXEC"))
        client.socket.shutdown(socket.SHUT_WR)
        for _ in keys:
            assert client.read() == 1
        assert [client.read() for _ in range(3)] == [b"OK", b"QUEUED", [1]]
        assert client.read_until_closed() == b""


@pytest.mark.parametrize("how", ["half-closed", "closed", "reset"])
def test_a_watching_client_that_leaves_while_it_waits_for_another_node(launch, cluster, how):
    """Nobody else's wait ends with it."""
    ground = Ground(launch, cluster, maxOpen=2, maxPinned=1)
    with ground.connect() as holder, ground.connect() as waiter, ground.connect() as client:
        assert client.command("WATCH", ground.key) == b"OK"
        # Nobody can have an upstream of this node before its holders leave.
        assert holder.command("WATCH", ground.other) == b"OK"
        ground.target.command("CLIENT", "PAUSE", "1500", "WRITE")
        waiter.send(encode("INCR", ground.other) * 3)
        client.send(encode("INCR", f"x:{ground.other}"))
        eventually(lambda: [row["cmd"] for row in ground.redpool.show("CLIENTS")
                            if row["state"] == "active"] == ["incr", "incr"],
                   what="both at work")
        if how == "half-closed":
            client.socket.shutdown(socket.SHUT_WR)
        elif how == "reset":
            client.reset()
        else:
            client.close()
        assert [waiter.read() for _ in range(3)] == [1, 2, 3]
        assert holder.command("UNWATCH") == b"OK"
        assert waiter.command("WATCH", ground.key) == b"OK"
        assert waiter.command("INCR", ground.key) == 1
        eventually(lambda: all(row["shared"] + row["pinned"] <= 1
                               for row in ground.redpool.show("NODES")), what="free upstreams")
