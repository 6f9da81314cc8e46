"""What the daemon itself reads, remembers or makes up counts: whoever tries, memory is bounded."""

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
