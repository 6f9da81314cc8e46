"""What the daemon itself reads, remembers or makes up counts: whoever tries, memory is bounded."""

import contextlib
import time

import pytest
from simple import Simple, bulk, last_word

from harness.waiting import eventually
from harness.wire import Closed, Connection, encode

KB, MB = 1 << 10, 1 << 20
# What malloc cannot give back in between, and what passes through in one turn.
SLACK = 12 * MB
TOTAL = 16 * MB
LIMITS = {"totalOutputLimit": "16mb"}


def test_exec_with_a_rewritten_member_is_not_collected(launch):
    """Its array passes by as it comes, and stops when the client does not read."""
    server, redpool = start(launch)
    server.command("SET", "big", b"x" * 50 * MB)
    with redpool.connect() as client:
        begin(client, 4)
        baseline = redpool.rss()
        client.send(encode("EXEC"))
        eventually(lambda: redpool.rss() > baseline + MB // 2, what="a reply that has begun")
        settled(redpool)
        assert redpool.peak_rss() < baseline + TOTAL + SLACK
        reply = client.read()
        assert [len(element) for element in reply[1:5]] == [50 * MB] * 4
        assert reply[0] == reply[5] == client.command("CLIENT", "ID")
    assert redpool.peak_rss() < baseline + TOTAL + SLACK


def begin(client, count):
    """A transaction that reads `count` large values between two ids."""
    assert client.command("MULTI") == b"OK"
    for words in [("CLIENT", "ID"), *[("GET", "big")] * count, ("CLIENT", "ID")]:
        assert client.command(*words) == b"QUEUED"


@pytest.mark.parametrize("step", ["PING", "ECHO", "INFO", "CONFIG", "COMMAND", "CLIENT"])
@pytest.mark.parametrize("kind", [b"$2000000000\r\n", b"-ERR "])
def test_handshake_of_a_hostile_server(launch, step, kind):
    """An answer that does not end is given up, and said so."""
    server = launch.started(Flooding(step, kind))
    redpool = launch.redpool(server, pool={"connectTimeout": "60s"})
    baseline = redpool.rss()
    eventually(lambda: server.broken > 0 or redpool.rss() > baseline + 64 * MB)
    assert redpool.peak_rss() < baseline + SLACK
    # A fence with wrong digits is known at its first bytes.
    is_wrong = step in ("PING", "ECHO") and kind.startswith(b"$")
    problem = "a wrong answer" if is_wrong else "does not end"
    eventually(lambda: problem in redpool.log())


class Flooding(Simple):
    """Begins its answer to one command of the handshake, and never ends it."""

    def __init__(self, step, kind):
        super().__init__(
            ECHO=last_word, PING=b"+PONG\r\n", INFO=bulk(b"redis_version:7.0.15\r\nrun_id:a\r\n"),
            CONFIG=b"*2\r\n$7\r\ntimeout\r\n$1\r\n0\r\n", CLIENT=bulk(b"id=3 addr=x:1 db=0"),
        )
        if step == "PING":
            self.answers["ECHO"] = b"-ERR unknown command\r\n"
        self._step = step
        self._kind = kind
        self.broken = 0

    def answer(self, near, words):
        if words[0].decode() != self._step:
            super().answer(near, words)
            return
        try:
            near.sendall(self._kind)
            for _ in range(256):
                near.sendall(b"x" * MB)
        except OSError:
            self.broken += 1
            raise


def test_exec_walked_in_pieces(launch):
    """Wherever its bytes are cut, the client's own values stand where they belong."""
    server = launch.server()
    between = launch.middleman(server)
    redpool = launch.redpool(between)
    server.command("SET", "text", b"$5\r\nhello\r\n+1 is no line\r\n:7\r\n" * 20)
    with redpool.connect() as client:
        client.command("CLIENT", "SETNAME", "somebody")
        number = client.command("CLIENT", "ID")
        between.arm(b"EXEC", "trickle")
        for words in [
            ("MULTI",), ("GET", "text"), ("CLIENT", "ID"), ("LRANGE", "none", "0", "-1"),
            ("CLIENT", "GETNAME"), ("CLIENT", "INFO"), ("INCR", "text"), ("CLIENT", "LIST"),
            ("SELECT", "2"), ("GET", "text"), ("CLIENT", "ID"),
        ]:
            client.send(encode(*words))
            assert client.read() in (b"OK", b"QUEUED")
        reply = client.command("EXEC")
        assert between.seen[b"EXEC"] == 1
        text, mine, none, name, info, error, listed, done, nothing, again = reply
        assert text == server.command("GET", "text")
        assert (mine, again, name, none) == (number, number, b"somebody", [])
        assert (done, nothing) == (b"OK", None)
        assert error.startswith(b"ERR value is not an integer")
        assert f"id={number} ".encode() in info and b" name=somebody " in info
        assert listed.count(b"\n") == 1 and b" name=somebody " in listed
        assert b" db=2 " in client.command("CLIENT", "INFO")


def test_messages_are_not_collected(launch):
    """One whose invalidations go elsewhere has its pushes looked at: their beginnings only."""
    server, redpool = start(launch)
    with redpool.connect() as receiver, redpool.connect() as client:
        assert receiver.command("SUBSCRIBE", "any")[0] == b"subscribe"
        assert b"proto" in client.command("HELLO", "3")
        with redpool.connect() as other:
            listed = other.command("CLIENT", "LIST", "TYPE", "PUBSUB").decode()
        number = listed.split("id=")[1].split()[0]
        assert client.command("CLIENT", "TRACKING", "ON", "REDIRECT", number) == b"OK"
        assert client.command("SUBSCRIBE", "large")[0] == b"subscribe"
        baseline = redpool.rss()
        server.command("PUBLISH", "large", b"x" * 25 * MB)
        settled(redpool)
        assert redpool.peak_rss() < baseline + TOTAL + SLACK
        assert client.read() == [b"message", b"large", b"x" * 25 * MB]


def test_hidden_lines_are_not_collected(launch):
    """MONITOR's lines that CLIENT REPLY OFF hides are dropped as they come."""
    server, redpool = start(launch)
    with redpool.connect() as client:
        assert client.command("MONITOR") == b"OK"
        client.send(encode("CLIENT", "REPLY", "OFF") + encode("ECHO", "taken"))
        eventually(lambda: b"cmd=echo" in server.command("CLIENT", "LIST"))
        baseline = redpool.rss()
        server.command("SET", "large", b"x" * 30 * MB)
        settled(redpool)
        client.send(encode("CLIENT", "REPLY", "ON"))
        # Lines that came before OFF.
        while (reply := client.read())[:1].isdigit():
            assert len(reply) < KB
        assert reply == b"OK"
        assert redpool.peak_rss() < baseline + TOTAL + SLACK


@pytest.mark.parametrize("words", [("HELLO", "2"), ("CLIENT", "ID"), ("CLIENT", "INFO")])
def test_replies_that_are_longer_than_any(launch, words):
    """They end the connection to such a server, and its client's, as an unknown outcome does."""
    server = launch.server()
    between = launch.middleman(server)
    redpool = launch.redpool(between)
    with redpool.connect() as client, redpool.connect() as other:
        assert client.command("PING") == b"PONG"
        baseline = redpool.rss()
        between.arm(encode(*words), b"$60000000\r\n" + b"x" * 60_000_000 + b"\r\n")
        with pytest.raises(Closed):
            client.command(*words)
        assert redpool.peak_rss() < baseline + SLACK
        assert other.command("ECHO", "still here") == b"still here"


def test_long_list_of_the_server(launch):
    """Redpool's own list takes its place, with the fields of its first line."""
    server = launch.server()
    between = launch.middleman(server)
    redpool = launch.redpool(between)
    with redpool.connect() as client:
        line = client.command("CLIENT", "INFO")
        baseline = redpool.rss()
        text = line * (30 * MB // len(line))
        between.arm(b"LIST", b"$%d\r\n%b\r\n" % (len(text), text))
        listed = client.command("CLIENT", "LIST")
        assert listed.count(b"\n") == 1
        assert listed.split()[0] == line.split()[0]
        assert redpool.peak_rss() < baseline + SLACK
        assert client.command("ECHO", "in step") == b"in step"


def test_long_names_of_many_clients(launch):
    """Names count like replies that are not read: those with the longest go, and nobody else."""
    server, redpool = start(launch)
    baseline = redpool.rss()
    with redpool.connect() as short:
        assert short.command("CLIENT", "SETNAME", "short") == b"OK"
        clients = [redpool.connect() for _ in range(500)]
        for client in clients:
            client.send(encode("CLIENT", "SETNAME", b"x" * 100_000))
            with contextlib.suppress(Closed):
                assert client.read() == b"OK"
        assert redpool.peak_rss() < baseline + TOTAL // 4 + 500 * KB + SLACK
        assert "event=client.output_limit" in redpool.log()
        assert short.command("CLIENT", "GETNAME") == b"short"
        assert len(short.command("GET", "warm")) == MB
    for client in clients:
        client.close()
    eventually(lambda: redpool.rss() < baseline + SLACK, what="memory given back")


@pytest.mark.parametrize("words", [("CLIENT", "GETNAME"), ("CLIENT", "INFO"), ("CLIENT", "LIST")])
def test_replies_of_our_own_are_bounded(launch, words):
    """A few bytes ask for a hundred thousand: they ask, and do not read."""
    server, redpool = start(launch)
    clients = [Connection(redpool.unix) for _ in range(60)]
    for client in clients:
        assert client.command("CLIENT", "SETNAME", b"x" * 50_000) == b"OK"
    baseline = redpool.rss()
    for client in clients:
        client.send(encode(*words) * 20)
    settled(redpool)
    assert redpool.peak_rss() < baseline + TOTAL + SLACK
    with redpool.connect() as late:
        assert late.command("ECHO", "still here") == b"still here"


def test_what_a_stopped_server_has_not_judged(launch):
    """Names that are in flight count as well: of one client not more than one that is long."""
    server, redpool = start(launch)
    with redpool.connect() as client:
        assert client.command("CLIENT", "PAUSE", "1000", "WRITE") == b"OK"
        baseline = redpool.rss()
        server.pause()
        try:
            for number in range(20):
                client.socket.settimeout(0.2)
                client.send(encode("CLIENT", "SETNAME", b"%02d" % number * 25_000))
        except TimeoutError:
            pass
        finally:
            settled(redpool)
            server.resume()
        assert redpool.peak_rss() < baseline + SLACK


def test_members_of_a_transaction_are_bounded(launch):
    """More than is kept of them makes a pipe of the connection; nothing is lost."""
    server, redpool = start(launch)
    with redpool.connect() as client:
        assert client.command("MULTI") == b"OK"
        baseline = redpool.rss()
        for number in range(400):
            assert client.command("CLIENT", "SETNAME", b"x" * 100_000) == b"QUEUED"
        assert redpool.rss() < baseline + SLACK
        assert client.command("EXEC") == [b"OK"] * 400
        assert client.command("CLIENT", "GETNAME") == b"x" * 100_000


def test_list_that_is_too_long(launch):
    """It is refused in words, before a byte of it is sent."""
    redpool = launch.redpool(launch.server(), pool={"clientOutputLimit": "64kb"})
    with redpool.connect() as client, redpool.connect() as other:
        assert client.command("CLIENT", "SETNAME", b"x" * 100_000) == b"OK"
        assert other.command("CLIENT", "LIST").startswith(b"OUTPUTLIMIT pool main: ")
        assert other.command("CLIENT", "LIST", "ID", "0") == b""
        assert other.command("ECHO", "in step") == b"in step"


@pytest.mark.alone
def test_clients_that_do_not_read_are_given_one_second_together(launch):
    """However many they are, whoever waits behind them waits for the first one only."""
    server = launch.server()
    redpool = launch.redpool(server, pool={"maxOpen": 2, "clientOutputLimit": "2mb"})
    server.command("SET", "big", b"x" * MB)
    others = [redpool.connect() for _ in range(20)]
    crowd = [Connection(redpool.unix) for _ in range(12)]
    for client in crowd:
        client.send(encode("GET", "big") * 8)
    started = time.monotonic()
    for client in others:
        client.send(encode("PING"))
    assert {client.read() for client in others} == {b"PONG"}
    waited = time.monotonic() - started
    print(f"{waited:.1f} s")
    assert waited < 6
    assert "event=client.output_limit" in redpool.log()


def start(launch, **settings):
    """A daemon that has relayed a large reply before, so that its buffers are there."""
    server = launch.server()
    redpool = launch.redpool(server, settings=LIMITS | settings)
    server.command("SET", "warm", b"x" * MB)
    with redpool.connect() as first:
        assert len(first.command("GET", "warm")) == MB
    return server, redpool


def settled(redpool):
    """Until the daemon has stopped working: its CPU time stands still."""
    seen = []

    def stands_still():
        seen.append(redpool.cpu_seconds())
        return len(seen) > 20 and seen[-1] - seen[-20] <= 0.02

    eventually(stands_still, 30, what="a daemon at rest")
