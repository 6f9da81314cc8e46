"""What becomes of a command that a node has refused: a middleman in front of each node makes them
say what no healthy cluster says so often, so early or in such pieces."""

import itertools
import os
import signal
import threading
import time

import pytest

from harness.cluster import Cluster, slot_of
from harness.middleman import Middleman
from harness.tasks import halt
from harness.waiting import always, eventually
from harness.wire import Connection, ErrorReply, encode

pytestmark = pytest.mark.daemon

MOST = 5
TRYAGAIN = b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n"
CLUSTERDOWN = b"-CLUSTERDOWN The cluster is down\r\n"


@pytest.fixture(scope="module")
def three(keep):
    return keep.started(Cluster(replicas=0, front=Middleman))


class Ground:
    """A daemon in front of three nodes. `key` is one of the first's, `a`; `other` one of `b`'s."""

    def __init__(self, launch, cluster, **pool):
        self.cluster, self.names = cluster, itertools.count()
        self.a, self.b, self.c = cluster.primaries
        [self.key] = cluster.keys_of(self.a, 1)
        [self.other] = cluster.keys_of(self.b, 1)
        self.slot = slot_of(self.key)
        self.redpool = launch.redpool(None, pool=cluster.settings | pool, console=True)
        self.client = launch.started(self.redpool.connect(60))
        for key in (self.key, self.other):
            eventually(lambda: self.client.command("GET", key) is None, what="the map")

    def arm(self, node, fault, times=1, marker=None):
        node.middleman.arm((marker or self.key).encode(), fault, times)

    def moved(self, node) -> bytes:
        return self.refusal("MOVED", node.address)

    def ask(self, node) -> bytes:
        return self.refusal("ASK", node.address)

    def refusal(self, word, address) -> bytes:
        return f"-{word} {self.slot} {address.host}:{address.port}\r\n".encode()

    def incr(self):
        return self.client.command("INCR", self.key)

    @property
    def value(self) -> int:
        return int(self.a.command("GET", self.key) or 0)

    def keeps_moving(self) -> bytes:
        return f"CLUSTERDOWN pool main: slot {self.slot} keeps moving ({MOST} redirects)".encode()

    def seen(self, *nodes) -> int:
        """How many times the command has come to these nodes."""
        return sum(node.middleman.seen[self.key.encode()] for node in nodes)


@pytest.fixture
def cluster(three):
    for node in three.nodes:
        node.middleman.disarm()
        node.middleman.seen.clear()
        node.middleman.heard.clear()
    three.settle()
    return three


@pytest.fixture
def ground(launch, cluster):
    return Ground(launch, cluster)


@pytest.fixture
def hasty(launch, cluster):
    return Ground(launch, cluster, poolTimeout="500ms")


# MOVED


def test_moved_to_a_node_that_sends_it_back(ground):
    ground.arm(ground.a, ground.moved(ground.b))
    assert ground.incr() == 1
    assert ground.incr() == 2 and ground.value == 2


@pytest.mark.parametrize("times", [1, MOST])
def test_moved_to_the_one_who_says_it(ground, times):
    ground.arm(ground.a, ground.moved(ground.a), times)
    assert ground.incr() == 1 and ground.value == 1
    assert ground.seen(ground.a) == times + 1


def test_moved_to_the_one_who_says_it_for_ever(ground):
    ground.arm(ground.a, ground.moved(ground.a), 1000)
    assert ground.incr() == ground.keeps_moving()
    assert ground.seen(ground.a) == MOST + 1 and ground.value == 0
    ground.a.middleman.disarm()
    assert ground.incr() == 1


def test_moved_in_a_circle(ground):
    ground.arm(ground.a, ground.moved(ground.b), 1000)
    ground.arm(ground.b, ground.moved(ground.c), 1000)
    ground.arm(ground.c, ground.moved(ground.a), 1000)
    assert ground.incr() == ground.keeps_moving()
    assert ground.seen(ground.a, ground.b, ground.c) == MOST + 1
    for node in (ground.a, ground.b, ground.c):
        node.middleman.disarm()
    eventually(lambda: ground.incr() == 1, what="the slot being found again")
    assert ground.value == 1


def test_moved_to_an_address_that_nobody_has_named(ground):
    """It becomes a node; the next answers tell that it is one of the known ones."""
    ground.arm(ground.a, ground.refusal("MOVED", ground.a.real))
    assert ground.incr() == 1
    assert ground.incr() == 2 and ground.value == 2


def test_moved_to_an_unknown_address_without_room_for_it(launch, cluster):
    ground = Ground(launch, cluster, maxNodes=3)
    ground.arm(ground.a, ground.refusal("MOVED", ground.a.real))
    place = f"{ground.a.real.host}:{ground.a.real.port}"
    reply = ground.incr()
    assert isinstance(reply, ErrorReply) and reply.startswith(b"CLUSTERDOWN pool main: "), reply
    assert f"slot {ground.slot} has moved to {place}".encode() in reply, reply
    assert ground.value == 0 and ground.incr() == 1


def test_moved_to_an_address_where_nobody_is(ground, launch):
    gone = launch.server()
    gone.stop()
    ground.arm(ground.a, ground.refusal("MOVED", gone.tcp))
    reply = ground.incr()
    # It has run, or provably not.
    assert reply == 1 or isinstance(reply, ErrorReply), reply
    assert ground.value == (reply == 1)
    eventually(lambda: not isinstance(ground.incr(), ErrorReply), what="the slot's own node")


NO_REFUSALS = [
    b"-MOVED 16384 127.0.0.1:1\r\n", b"-MOVED x 127.0.0.1:1\r\n", b"-MOVED 1\r\n", b"-MOVED \r\n",
    b"-MOVED 1 127.0.0.1\r\n", b"-MOVED 1 127.0.0.1:99999\r\n", b"-MOVED -1 127.0.0.1:1\r\n",
    b"-MOVED 18446744073709551617 127.0.0.1:1\r\n", b"-MOVED 1 127.0.0.1:1 x\r\n",
    b"-MOVED 1 " + b"x" * 400 + b":1\r\n", b"-ASK 1\r\n", b"-TRYAGAINST it\r\n",
    b"-CLUSTERDOWNTOWN it\r\n", b"-MOVEDx 1 127.0.0.1:1\r\n",
]


@pytest.mark.parametrize("reply", NO_REFUSALS)
def test_what_is_not_understood_is_the_clients(ground, reply):
    """So is a refusal of another slot than the command's."""
    ground.arm(ground.a, reply)
    assert ground.incr() == reply[1:-2]
    assert ground.incr() == 1


def test_moved_of_another_slot_is_the_clients(ground):
    place = f"{ground.b.address.host}:{ground.b.address.port}"
    words = f"MOVED {(ground.slot + 1) % 16_384} {place}".encode()
    ground.arm(ground.a, b"-" + words + b"\r\n")
    assert ground.incr() == words
    assert ground.incr() == 1


# ASK


def test_ask_and_the_command_are_in_one_piece(ground):
    """While others send a lot to the same node."""
    ground.cluster.begin_move(ground.slot, ground.b)
    stop = threading.Event()

    def disturb():
        with ground.redpool.connect() as client:
            while not stop.is_set():
                client.send(encode("GET", ground.other) * 20)
                for _ in range(20):
                    client.read()

    others = [threading.Thread(target=disturb, daemon=True) for _ in range(4)]
    for other in others:
        other.start()
    for count in range(1, 51):
        assert ground.incr() == count
    stop.set()
    for other in others:
        other.join(20)
    # The map has stayed: each went to the slot's node first.
    asked = [link for link, frame in ground.a.middleman.heard if b"INCR" in frame.upper()]
    assert len(asked) == 50
    latest = {}
    checked = 0
    for link, frame in list(ground.b.middleman.heard):
        if ground.key.encode() in frame:
            before = latest.get(link)
            assert before is None or b"ASKING" in before.upper(), before
            checked += before is not None
        latest[link] = frame
    assert checked
    ground.cluster.end_move(ground.slot, ground.a, ground.b)
    assert ground.incr() == 51


def test_a_block_that_keeps_moving(ground):
    """No client sees MOVED, also not in place of a member's reply."""
    ground.arm(ground.a, ground.moved(ground.a), 1000)
    ground.client.send(encode("MULTI") + encode("INCR", ground.key) + encode("EXEC"))
    assert ground.client.read() == b"OK"
    assert ground.client.read() == ground.keeps_moving()
    assert ground.client.read().startswith(b"EXECABORT ")
    ground.a.middleman.disarm()
    assert ground.incr() == 1


def test_a_command_of_a_module_follows_moved(ground):
    """The node that is asked first is any one: where the keys are is not known."""
    info = b"*1\r\n*7\r\n$7\r\nfoo.bar\r\n:2\r\n*2\r\n+write\r\n+module\r\n:1\r\n:1\r\n:1\r\n*0\r\n"
    asked = ground.b
    assert ground.client.command("GET", ground.other) is None
    ground.arm(asked, info, marker="foo.bar")
    ground.arm(asked, ground.moved(ground.a), marker="foo.bar")
    ground.arm(ground.a, b":1\r\n", marker="foo.bar")
    assert ground.client.command("foo.bar", ground.key) == 1
    assert ground.incr() == 1


def test_a_split_command_that_one_node_refuses(ground):
    assert ground.incr() == 1
    assert ground.client.command("SET", ground.other, "1") == b"OK"
    ground.arm(ground.b, b"-OOM no memory\r\n", marker=ground.other)
    assert ground.client.command("DEL", ground.key, ground.other) == (
        b"PARTIAL pool main: DEL ran for 1 of 2 slots: OOM no memory")
    assert ground.value == 0


def test_ask_for_a_node_that_takes_nothing_over(ground):
    ground.arm(ground.a, ground.ask(ground.b))
    assert ground.incr() == 1 and ground.value == 1


def test_ask_in_a_circle(ground):
    ground.arm(ground.a, ground.ask(ground.b), 1000)
    ground.arm(ground.b, ground.ask(ground.a), 1000)
    assert ground.incr() == ground.keeps_moving()
    assert ground.seen(ground.a, ground.b) == MOST + 1 and ground.value == 0


def test_ask_then_moved_count_together(ground):
    ground.arm(ground.a, ground.ask(ground.b))
    ground.arm(ground.b, ground.moved(ground.c))
    # The third sends it home by itself.
    assert ground.incr() == 1 and ground.value == 1


# TRYAGAIN and CLUSTERDOWN


@pytest.mark.parametrize("reply,least", [(TRYAGAIN, 0.01 + 0.02 + 0.04), (CLUSTERDOWN, 0.0)])
def test_later_is_tried_again(ground, reply, least):
    ground.arm(ground.a, reply, 3)
    began = time.monotonic()
    assert ground.incr() == 1 and ground.value == 1
    assert time.monotonic() - began >= least
    assert ground.seen(ground.a) == 3 + 1


@pytest.mark.parametrize("reply", [TRYAGAIN, CLUSTERDOWN])
def test_later_for_ever_ends_in_time(hasty, reply):
    hasty.arm(hasty.a, reply, 10_000)
    began = time.monotonic()
    assert hasty.incr() == reply[1:-2]
    assert 0.2 < time.monotonic() - began < 8
    assert hasty.seen(hasty.a) > 1
    hasty.a.middleman.disarm()
    assert hasty.incr() == 1


@pytest.mark.parametrize("reply", [TRYAGAIN, CLUSTERDOWN])
def test_nothing_is_overtaken_by_a_second_try(ground, reply):
    """A later command of this client for the same slot may have run."""
    ground.arm(ground.a, reply)
    ground.client.send(encode("INCR", ground.key) + encode("INCRBY", ground.key, "10"))
    assert ground.client.read() == reply[1:-2]
    assert ground.client.read() == 10


@pytest.mark.parametrize("reply", [TRYAGAIN, CLUSTERDOWN])
def test_commands_for_other_slots_do_not_prevent_it(ground, reply):
    """Nor do they run twice, and replies are in order."""
    [near] = ground.cluster.keys_of(ground.c, 1)
    ground.arm(ground.a, reply, 2)
    ground.client.send(
        encode("INCRBY", ground.other, "100") + encode("INCR", ground.key)
        + encode("INCRBY", near, "10") + encode("INCRBY", ground.other, "100"))
    assert [ground.client.read() for _ in range(4)] == [100, 1, 10, 200]


@pytest.mark.parametrize("word", ["READONLY", "LOADING", "MASTERDOWN"])
def test_a_primary_that_does_not_serve(ground, word):
    """It may be one no more; its words are the client's."""
    ground.arm(ground.a, f"-{word} because\r\n".encode())
    assert ground.incr() == f"{word} because".encode()
    assert ground.incr() == 1


# In pieces


class Held:
    """A reply of which a middleman sends a first piece, and the rest when told."""

    def __init__(self, middleman, reply, at):
        self._middleman, self._pieces = middleman, (reply[:at], reply[at:])
        self._link = None

    def __call__(self, link):
        self._link = link
        link.send(self._pieces[0])

    @property
    def is_begun(self) -> bool:
        return self._link is not None

    def go_on(self):
        self._middleman.order(lambda: self._link.send(self._pieces[1]))


@pytest.mark.parametrize("at", [1, 3, 8, 20, -2, -1])
@pytest.mark.parametrize("word", ["MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"])
def test_half_a_refusal(ground, word, at):
    """The client sees nothing of it."""
    made = {"MOVED": ground.moved(ground.b), "ASK": ground.ask(ground.b), "TRYAGAIN": TRYAGAIN,
            "CLUSTERDOWN": CLUSTERDOWN}
    held = Held(ground.a.middleman, made[word], at)
    ground.arm(ground.a, held)
    ground.client.send(encode("INCR", ground.key) + encode("GET", ground.other))
    eventually(lambda: held.is_begun, what="a first piece")
    always(lambda: not ground.client.is_answered(), 0.05, what="silence")
    held.go_on()
    assert ground.client.read() == 1
    assert ground.client.read() is None
    assert ground.value == 1


@pytest.mark.parametrize("reply", [b"-ERR some other\r\n", b"-MOVEMENT is none\r\n", b":77\r\n"])
def test_half_a_reply(ground, reply):
    held = Held(ground.a.middleman, reply, 4)
    ground.arm(ground.a, held)
    ground.client.send(encode("INCR", ground.key))
    eventually(lambda: held.is_begun, what="a first piece")
    held.go_on()
    assert ground.client.read_raw() == reply
    assert ground.incr() == 1


def test_half_a_refusal_and_no_more(ground):
    """Nobody knows whether the command has run."""
    ground.arm(ground.a, lambda link: (link.send(ground.moved(ground.b)[:9]), link.close()))
    ground.client.send(encode("INCR", ground.key))
    # As with any other loss: closed.
    assert ground.client.read_until_closed() == b""
    assert ground.value == 0
    with ground.redpool.connect() as another:
        assert another.command("INCR", ground.key) == 1


# What cannot be sent again


def test_a_large_command_that_has_been_passed_on(ground):
    ground.arm(ground.a, ground.moved(ground.b))
    reply = ground.client.command("SET", ground.key, "x" * 300_000)
    text = f"TRYAGAIN pool main: slot {ground.slot} has moved; the command did not run"
    assert reply == text.encode()
    # The map is put right when it turns out that the node had no reason.
    eventually(lambda: ground.client.command("STRLEN", ground.key) == 0, what="the slot's node")
    # The next map of the daemon's may still be one from before.
    large = ("SET", ground.key, "y" * 300_000)
    eventually(lambda: ground.client.command(*large) == b"OK", what="the slot's node again")


@pytest.mark.parametrize("words", ["MOVED {} 127.0.0.1:1", "ASK {} 127.0.0.1:1", "TRYAGAIN later"])
def test_refusals_that_a_script_makes_up(ground, words):
    """It has run, and is not run again."""
    text = words.format(ground.slot)
    script = f"redis.call('INCR', KEYS[1]) return redis.error_reply('{text}')"
    reply = ground.client.command("EVAL", script, "1", ground.key)
    assert reply == text.encode()
    assert ground.value == 1


@pytest.mark.parametrize("words", ["TRYAGAIN later", "CLUSTERDOWN later"])
def test_a_script_whose_first_way_was_lost_makes_up_a_refusal(ground, words):
    """It has run once, although the node that it was sent to first has provably not received it."""
    script = f"redis.call('INCR', KEYS[1]) return redis.error_reply('{words}')"
    pid = ground.redpool.process.pid
    # Both nodes have an idle upstream.
    for key in (ground.key, ground.other):
        assert ground.client.command("EVAL", "return 1", 1, key) == 1

    def moved(link):
        """The daemon reads of the move and of the other node's end in one go."""
        halt(ground.redpool.process)
        link.send(ground.moved(ground.b))
        ground.b.middleman.strike("close")
        os.kill(pid, signal.SIGCONT)

    # The script is refused, and so is the question whether it has made that up.
    ground.arm(ground.a, ground.moved(ground.b))
    ground.arm(ground.a, moved)
    reply = ground.client.command("EVAL", script, 1, ground.key)
    # It has come to `b` in the end, which has sent it back.
    assert reply == words.encode()
    assert ground.value == 1


@pytest.mark.parametrize("version", ["2", "3"])
def test_a_shard_channel_that_has_left_before_its_subscriber(ground, version):
    """The node has forgotten the subscription."""
    client, channel = ground.client, f"channel:{ground.key}"
    client.command("HELLO", version)
    assert client.command("SSUBSCRIBE", channel) == [b"ssubscribe", channel.encode(), 1]
    ground.arm(ground.a, ground.moved(ground.b), marker=channel)
    client.send(encode("SUNSUBSCRIBE", channel))
    assert client.read() == [b"sunsubscribe", channel.encode(), 1]


def test_a_queued_command_that_is_refused(ground):
    """Nothing has run: the whole transaction goes again, unseen."""
    ground.arm(ground.a, ground.moved(ground.b), marker="second")
    tail = ground.key
    for words in (("MULTI",), ("INCR", f"first:{tail}"), ("INCR", f"second:{tail}")):
        assert ground.client.command(*words) in (b"OK", b"QUEUED")
    assert ground.client.command("EXEC") == [1, 1]
    assert ground.client.command("MGET", f"first:{tail}", f"second:{tail}") == [b"1", b"1"]


def test_a_queued_command_that_is_refused_for_ever(ground):
    ground.arm(ground.a, ground.moved(ground.a), 1000, marker="second")
    tail = ground.key
    assert ground.client.command("MULTI") == b"OK"
    replies = [ground.client.command("INCR", f"{name}:{tail}") for name in ("first", "second")]
    assert replies[0] == b"QUEUED"
    reply = ground.client.command("EXEC")
    assert isinstance(reply, ErrorReply) and reply.startswith(b"EXECABORT "), reply
    assert ground.a.middleman.seen[b"second"] <= 2 + MOST
    ground.a.middleman.disarm()
    assert ground.client.command("EXISTS", f"first:{tail}", f"second:{tail}") == 0


def test_clients_of_other_nodes_notice_nothing(ground):
    """While one node refuses everything for ever."""
    ground.arm(ground.a, CLUSTERDOWN, 100_000)
    with Connection(ground.redpool.tcp) as another:
        ground.client.send(encode("INCR", ground.key))
        began = time.monotonic()
        for count in range(1, 101):
            assert another.command("INCR", ground.other) == count
        assert time.monotonic() - began < 5
        assert not ground.client.is_answered()
    ground.a.middleman.disarm()
    assert ground.client.read() == 1
