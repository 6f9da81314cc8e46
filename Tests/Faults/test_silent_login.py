"""Servers from 7.2 on leave a refused login unanswered while messages wait to be written. Its
client must get what a direct connection gets: nothing for the login, and the next reply.
"""

import pytest

from harness.waiting import eventually
from harness.wire import encode
from simple import Simple, bulk, last_word

WRONG = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
LOGINS = {"AUTH": ("AUTH", "bob", "no"), "HELLO": ("HELLO", "3", "AUTH", "bob", "no")}
CONFIRMED = b">3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n"
PROTOCOL = b"%1\r\n$5\r\nproto\r\n:3\r\n"
MESSAGE = b">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$1\r\nm\r\n"
LINE = b'+1700000000.000000 [0 127.0.0.1:5] "GET" "x"\r\n'


def hello(login):
    """A HELLO that answers logins so, and all others well."""
    return lambda words: login if len(words) > 2 else PROTOCOL


@pytest.fixture
def play(launch):
    """A server with an answer to logins, and a client that listens; the rest is as wanted."""

    def begin(login=b"", version=b"7.2.4", kind="SUBSCRIBE", **answers):
        info = bulk(b"redis_version:%b\r\nrun_id:abc\r\n" % version)
        answers = {
            "ECHO": last_word, "PING": b"+PONG\r\n", "INFO": info,
            "GET": bulk(b"v"), "SUBSCRIBE": CONFIRMED, "MONITOR": b"+OK\r\n", "AUTH": login,
            "HELLO": hello(login), "CLIENT": b":7\r\n",
        } | answers
        server = launch.started(Simple(**answers))
        redpool = launch.redpool(server, pool={"maxOpen": 4})
        client = redpool.connect()
        if kind == "SUBSCRIBE":
            client.command("HELLO", "3")
        client.command(*([kind, "ch"] if kind == "SUBSCRIBE" else [kind]))
        server.carrier = server.asked[kind][-1]
        return server, redpool, client

    return begin


@pytest.mark.parametrize("kind", ["SUBSCRIBE", "MONITOR"])
@pytest.mark.parametrize("login", LOGINS)
def test_refused_without_a_word(play, kind, login):
    server, _, client = play(kind=kind)
    # The second one shows that the first has left nothing behind.
    for _ in range(2):
        client.send(encode(*LOGINS[login]) + encode("GET", "k"))
        assert client.read() == b"v"
    assert client.command("GET", "k") == b"v"
    assert server.asked["GET"][-1] is server.carrier, "it has lost what it held"


@pytest.mark.parametrize("login", LOGINS)
def test_messages_in_between(play, login):
    """They reach the client, in their place."""
    _, _, client = play(MESSAGE)
    client.send(encode(*LOGINS[login]) + encode("GET", "k"))
    assert [client.read(), client.read()] == [[b"message", b"ch", b"m"], b"v"]
    _, _, client = play(LINE, kind="MONITOR")
    client.send(encode("AUTH", "bob", "no") + encode("GET", "k"))
    assert client.read_raw() == LINE
    assert client.read() == b"v"


@pytest.mark.parametrize("answer", [WRONG, b"+OK\r\n", b"-ERR unknown command 'AUTH'\r\n"])
def test_answered(play, answer):
    server, _, client = play(answer)
    client.send(encode("AUTH", "bob", "pw") + encode("GET", "k"))
    assert client.read_raw() == answer
    assert client.read() == b"v"
    assert server.asked["ECHO"][-1] is server.carrier


@pytest.mark.parametrize("words", [b"BUSY x", b"LOADING x", b"NOPERM x", b"MASTERDOWN x"])
@pytest.mark.parametrize("login", [b"", WRONG], ids=["ignored", "answered"])
def test_error_in_the_place_of_the_fence(play, words, login):
    server, _, client = play(login)
    server.answers["ECHO"] = b"-" + words + b"\r\n"
    client.send(encode("AUTH", "bob", "no") + encode("GET", "k"))
    if login:
        assert client.read_raw() == WRONG
    assert client.read() == b"v"


@pytest.mark.parametrize("reply", [b"$16\r\n0123456789abcdef\r\n", b"$1\r\nv\r\n"])
def test_wrong_bulk(play, reply):
    _, redpool, client = play(reply)
    client.send(encode("AUTH", "bob", "no"))
    assert client.read_until_closed() == b""
    eventually(lambda: "event=upstream.desync" in redpool.log())


def test_before_7_2_every_login_is_answered(play):
    server, _, client = play(WRONG, version=b"7.0.15")
    before = len(server.asked["ECHO"])
    client.send(encode("AUTH", "bob", "no"))
    assert client.read_raw() == WRONG
    assert len(server.asked["ECHO"]) == before


def test_user_without_a_fence(play):
    """Bytes pass through from there on: whatever the server does is what the client sees."""
    refused = {"ECHO": b"-NOPERM x\r\n", "PING": b"-NOPERM x\r\n"}
    server, _, client = play(b"", **refused)
    client.send(encode("AUTH", "bob", "no") + encode("GET", "k"))
    assert client.read() == b"v"
    assert server.asked["GET"][-1] is server.carrier


def test_client_that_leaves_is_gone(play):
    """Its upstream is cleaned or closed as if the login had been answered."""
    server, redpool, client = play(b"", ECHO=last_word)
    client.send(encode("AUTH", "bob", "no"))
    client.close()
    eventually(lambda: server.carrier not in server.connections, what="the upstream's end")
    with redpool.connect() as other:
        assert other.command("GET", "k") == b"v"
