"""Messages that come when nobody is subscribed any more: in RESP3 they are dropped, wherever reads
cut them, and their upstream takes no new command.
"""

import contextlib
import re
import threading

import pytest

from harness.waiting import eventually
from harness.wire import Closed, ErrorReply, encode
from simple import Simple, last_word, name_of, unread

LATE = b">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$4\r\nlate\r\n"
VALUE = b"$1\r\nv\r\n"
OK = b"+OK\r\n"


class Late(Simple):
    """A server that sends a late message with the reply to a command whose last argument is
    `late:PLACE:CUT`: before or behind it, in two reads when there is a cut. `armed` does the same
    for the next command of a name.
    """

    def __init__(self):
        super().__init__(
            HELLO=b"%1\r\n$5\r\nproto\r\n:3\r\n", ECHO=last_word, GET=VALUE,
            LRANGE=b"*2\r\n$1\r\na\r\n" + LATE + b"$1\r\nb\r\n",
            **dict.fromkeys(("CLIENT", "DISCARD", "MULTI", "SELECT", "UNWATCH", "WATCH"), OK),
        )
        self.armed = {}

    def in_three(self):
        """The connections that speak RESP3; in RESP2 such a message looks like a reply."""
        return [near for near in self.connections if near in self.asked["HELLO"]]

    def push_now(self, data=LATE):
        """Sends it over every such connection."""
        for near in self.in_three():
            with contextlib.suppress(OSError):
                near.sendall(data)

    def answer(self, near, words):
        plan = self.armed.pop(name_of(words), None) or words[-1]
        if not (match := re.fullmatch(rb"late:(\w+):(\d+)", plan)):
            super().answer(near, words)
            return
        reply = self.answers[name_of(words)]
        reply = reply(words) if callable(reply) else reply
        data = LATE + reply if match[1] == b"before" else reply + LATE
        cut = int(match[2])
        near.sendall(data[:cut])
        if cut:
            eventually(lambda: unread(near) == 0, what="the first part read")
        near.sendall(data[cut:])


@pytest.fixture
def late(launch):
    """A late server, a daemon, and a client in RESP3 with an upstream that is ready for it."""
    server = launch.started(Late())
    redpool = launch.redpool(server, pool={"maxOpen": 4})
    client = redpool.connect()
    client.command("HELLO", "3")
    assert client.command("GET", "k") == b"v"
    yield server, redpool, client
    client.close()


def settled(redpool, server, client, before):
    """The upstream of before is closed, the client goes on, and nothing was poisoned."""
    eventually(lambda: not set(before) & set(server.connections), what="the upstream's end")
    assert client.command("GET", "k") == b"v"
    assert "event=upstream.stray_push" in redpool.log()
    assert "upstream.desync" not in redpool.log() and "upstream.lost" not in redpool.log()


@pytest.mark.parametrize("place", ["before", "behind"])
def test_cut_at_every_byte(late, place):
    server, redpool, client = late
    with redpool.connect() as other:
        other.command("HELLO", "3")
        for cut in range(len(LATE + VALUE)):
            assert client.command("GET", "k") == other.command("GET", "k") == b"v"
            carrier = server.asked["GET"][-1]
            marked = encode("GET", f"late:{place}:{cut}")
            client.send(encode("GET", "a") + marked + encode("GET", "b"))
            assert [client.read(), client.read(), client.read()] == [b"v"] * 3, cut
            assert other.command("GET", "k") == b"v"
            eventually(lambda carrier=carrier: carrier not in server.connections)
            assert not client.has_more() and not other.has_more()
    assert "upstream.desync" not in redpool.log() and "upstream.lost" not in redpool.log()


@pytest.mark.parametrize("cut", [0, 1, 5, len(LATE) - 1])
def test_idle(late, cut):
    server, redpool, client = late
    before = server.in_three()
    for near in before:
        near.sendall(LATE[:cut])
        eventually(lambda near=near: unread(near) == 0, what="the first part read")
        # It may be closed already.
        with contextlib.suppress(OSError):
            near.sendall(LATE[cut:])
    eventually(lambda: "event=upstream.stray_push" in redpool.log())
    settled(redpool, server, client, before)


def test_takes_no_new_command_but_answers_those_in_flight(late):
    """Who waits there gets his reply; who comes gets another upstream."""
    server, redpool, client = late
    held = threading.Event()
    answer = server.answer
    carrier = server.asked["GET"][-1]

    def hold(near, words):
        if words[-1] == b"slow":
            server.push_now()
            held.wait(20)
        answer(near, words)

    server.answer = hold
    client.send(encode("GET", "slow"))
    eventually(lambda: "stray_push" in redpool.log(), what="the message dropped")
    with redpool.connect() as other:
        other.command("HELLO", "3")
        assert other.command("GET", "k") == b"v"
        assert server.asked["GET"][-1] is not carrier
    assert carrier in server.connections
    held.set()
    assert client.read() == b"v"
    settled(redpool, server, client, [carrier])


PLACES = [("before", 0), ("before", 1), ("before", 20), ("behind", 0)]


@pytest.mark.parametrize("place, cut", PLACES)
def test_while_its_database_is_changed(late, place, cut):
    server, redpool, client = late
    with redpool.connect() as other:
        # Known, so that the second one finds a connection that is converted.
        other.command("HELLO", "3")
        assert other.command("SELECT", "1") == b"OK"
        assert other.command("GET", "k") == b"v"
        assert client.command("SELECT", "2") == b"OK"
        assert client.command("SELECT", "1") == b"OK"
        before = [near for near in server.connections]
        server.armed["SELECT"] = f"late:{place}:{cut}".encode()
        for _ in range(20):
            assert client.command("SELECT", "2") == b"OK"
            assert client.command("GET", "k") == b"v"
            assert other.command("GET", "k") == b"v"
        eventually(lambda: set(before) - set(server.connections), what="the upstream's end")
    assert "event=upstream.stray_push" in redpool.log()
    assert "upstream.desync" not in redpool.log() and "upstream.lost" not in redpool.log()


@pytest.mark.parametrize("place, cut", PLACES)
def test_while_it_is_given_a_name(late, place, cut):
    """The client gets another upstream; of the message it hears nothing."""
    server, redpool, client = late
    assert client.command("CLIENT", "SETNAME", "me") == b"OK"
    server.armed["CLIENT"] = f"late:{place}:{cut}".encode()
    # Too large to wait for its end, and nothing that could be followed while it comes in.
    client.send(encode("WATCH", "x" * (200 << 10)))
    assert client.read() == b"OK"
    assert client.command("GET", "k") == b"v"
    eventually(lambda: "event=upstream.stray_push" in redpool.log())
    assert "upstream.desync" not in redpool.log()


@pytest.mark.parametrize("cut", [0, 1, 20])
def test_held_by_one_who_has_not_subscribed(late, cut):
    """He keeps what he holds, and hears nothing."""
    server, redpool, client = late
    assert client.command("WATCH", "k") == b"OK"
    carrier = server.asked["WATCH"][-1]
    for place in ("before", "behind"):
        assert client.command("GET", f"late:{place}:{cut}") == b"v"
    assert client.command("MULTI") == b"OK"
    carrier.sendall(LATE)
    assert client.command("DISCARD") == b"OK"
    assert client.command("UNWATCH") == b"OK"
    settled(redpool, server, client, [carrier])


def test_inside_of_a_reply_it_is_part_of_it(late):
    server, redpool, client = late
    before = list(server.connections)
    client.send(encode("LRANGE", "l", "0", "-1"))
    assert client.read_raw().startswith(b"*2\r\n$1\r\na\r\n>3\r\n")
    client.read_raw()
    assert before == server.connections and "stray_push" not in redpool.log()


@pytest.mark.parametrize("data", [b"+OK\r\n", LATE.replace(b">", b"*"), b"|1\r\n"])
def test_what_could_be_a_reply_poisons(late, data):
    server, redpool, client = late
    server.push_now(data)
    eventually(lambda: "upstream.desync" in redpool.log())
    assert client.command("GET", "k") == b"v"


@pytest.mark.parametrize("protocol", ["2", "3"])
def test_first_answers_of_a_connection(launch, protocol):
    """A new connection has subscribed to nothing: what comes is no Redis."""
    server = launch.started(Late())
    redpool = launch.redpool(server, pool={"maxOpen": 1})
    server.armed = {"ECHO": b"late:before:0", "HELLO": b"late:before:0"}
    if protocol == "3":
        # Its command is the one that is answered so.
        with redpool.connect() as client, pytest.raises(Closed):
            client.command("HELLO", "3")
    with redpool.connect() as client:
        reply = client.command("GET", "k")
        assert reply == b"v" or isinstance(reply, ErrorReply), reply
        eventually(lambda: client.command("GET", "k") == b"v")
