"""MONITOR shows what clients have sent, as often as they have sent it, and nothing of Redpool's own."""

import pathlib
import re

import pytest

from harness.server import DEFAULT, RedisServer
from harness.waiting import eventually
from harness.wire import encode

# What Redpool sends, as lines show it; PING and SELECT are told by their number.
OURS = re.compile(
    rb'"(ECHO|PING)" "[0-9a-f]{16}"|"INFO" "server"|"COMMAND" "INFO"|"CLIENT" "(INFO|ID|SETNAME)"|"HELLO"'
    rb'|"AUTH"|"DISCARD"|"UNWATCH"|"READWRITE"|"PUBLISH" "redpool:wait"|"EVAL" "error'
)


class Watch:
    """A client that monitors."""

    def __init__(self, front, *before):
        self.link = front.connect()
        for command in before:
            self.link.command(*command)
        assert self.link.command("MONITOR") == b"OK"

    def lines(self, mark, front) -> list:
        """All lines up to the one of an ECHO of `mark`, that one left out."""
        with front.connect() as other:
            assert other.command("ECHO", mark) == mark.encode()
        found = []
        while mark.encode() not in (line := self.link.read()):
            if b" unix:" not in line:  # the harness
                found.append(re.sub(rb"^\S+ \[\d+ [^\]]*\] ", b"", line))
        return found


@pytest.fixture(scope="module", params=["redis-server", "redis-6.2", "valkey-8"])
def server(request):
    folder = pathlib.Path(__file__).resolve().parents[2] / ".servers"
    binary = DEFAULT if request.param == "redis-server" else str(folder / request.param)
    if request.param != "redis-server" and not pathlib.Path(binary).exists():
        pytest.skip(f"no {binary}")
    made = RedisServer(binary=binary)
    request.addfinalizer(made.close)
    made.command("ACL", "SETUSER", "bob", "on", ">pw", "+@all", "~*", "&*")
    return made


@pytest.fixture(params=[1, 2])
def threads(request):
    return request.param


SETTINGS = {"pingInterval": "100ms", "maxOpen": 16}


def pings(server) -> int:
    return int(re.match(r"calls=(\d+)", server.info("cmdstat_ping"))[1])


def test_only_clients_commands_are_shown(launch, server, threads):
    """New upstreams, in other databases, as other users, blocked, cleaned and probed."""
    redpool = launch.redpool(server, pool=SETTINGS, settings={"threads": threads})
    watch = Watch(redpool)
    sent = []
    clients = [redpool.connect() for _ in range(6)]

    def send(client, *command):
        sent.append(b" ".join(b'"%b"' % word.encode() for word in command))
        return client.command(*command)

    for number, client in enumerate(clients):
        send(client, "SET", f"k{number}", "v")
        send(client, "PING")
    for client in clients[:3]:
        send(client, "WATCH", "k")
        send(client, "MULTI")
    for client in clients[:2]:
        client.close()
    clients[2].command("DISCARD")
    sent.append(b'"DISCARD"')
    with redpool.connect() as bob:
        bob.command("AUTH", "bob", "pw")
        bob.command("SELECT", "3")
        send(bob, "GET", "k")
    send(clients[4], "EVAL", "return 1", "0")
    before = pings(server)
    eventually(lambda: pings(server) >= before + 3)
    lines = watch.lines("end-of-it", redpool)
    shown = [line for line in lines if not line.startswith((b'"AUTH"', b'"SELECT"'))]
    assert sorted(shown) == sorted(sent)
    assert len([line for line in lines if line.startswith(b'"AUTH"')]) <= 1
    assert len([line for line in lines if line.startswith(b'"SELECT"')]) <= 1
    for client in [*clients, watch.link]:
        client.close()


def test_clients_ping_is_shown_as_often_as_it_was_sent(launch, server, threads):
    redpool = launch.redpool(server, pool=SETTINGS, settings={"threads": threads})
    watches = [Watch(redpool), Watch(redpool, ("HELLO", "3")), Watch(redpool, ("WATCH", "k"))]
    clients = [redpool.connect() for _ in range(4)]
    before = pings(server)
    rounds = 40
    for number in range(1, rounds + 1):
        for client in clients:
            client.send(encode("PING"))
        for client in clients:
            assert client.read() == b"PONG"
        # An idle upstream is probed.
        eventually(lambda: number % 20 or pings(server) >= before + 4 * number + number // 5)
    for number, watch in enumerate(watches):
        lines = watch.lines(f"end-{number}", redpool)
        assert lines.count(b'"PING"') == 4 * rounds
        others = {line for line in lines if line != b'"PING"' and not line.startswith(b'"ECHO" "end')}
        # What the second and the third have sent before they monitored.
        assert others <= {b'"HELLO" "3"', b'"WATCH" "k"'}
    for client in [*clients, *(watch.link for watch in watches)]:
        client.close()


def test_first_line_is_that_of_the_first_command(launch, server, threads):
    """As the tests of hiredis and of Redis read it."""
    for _ in range(3):
        redpool = launch.redpool(server, settings={"threads": threads})
        watch = Watch(redpool)
        with redpool.connect() as client:
            client.command("SET", "foo", "bar")
        assert watch.link.read().endswith(b'"SET" "foo" "bar"')
        watch.link.close()


def test_one_that_begins_while_others_are_at_work(launch, server, threads):
    """New upstreams are being made when a client begins to monitor."""
    redpool = launch.redpool(server, pool=SETTINGS, settings={"threads": threads})
    for number in range(10):
        held = [redpool.connect() for _ in range(4)]
        for client in held:
            client.send(encode("BLPOP", f"none{number}", "0"))
        watch = Watch(redpool)
        lines = watch.lines(f"end-{number}", redpool)
        assert [line for line in lines if OURS.search(line)] == []
        for client in [*held, watch.link]:
            client.close()


def test_monitor_ends_with_reset_and_begins_again(launch, server, threads):
    redpool = launch.redpool(server, pool=SETTINGS, settings={"threads": threads})
    with redpool.connect() as client, redpool.connect() as other:
        for _ in range(5):
            client.command("CLIENT", "SETNAME", "me")
            client.command("WATCH", "k")
            assert client.command("MONITOR") == b"OK"
            # One that monitors already is not answered.
            client.send(encode("MONITOR"))
            client.send(encode("CLIENT", "SETNAME", "me"))
            other.command("SET", "a", "b")
            found = []
            while not found or b'"SET"' not in found[-1]:
                found.append(client.read())
            shown = [line for line in found if OURS.search(line)]
            # Redis before 7.0 shows no CLIENT.
            assert all(b'"SETNAME" "me"' in line for line in shown) and len(shown) <= 1
            client.send(encode("RESET"))
            while client.read() != b"RESET":
                pass
            assert client.command("GET", "a") == b"b"


def test_long_lines_come_whole(launch, server, threads):
    redpool = launch.redpool(server, pool=SETTINGS, settings={"threads": threads})
    watch = Watch(redpool)
    with redpool.connect() as client:
        for length in (900, 1024, 1200, 1279, 1280, 1281, 5000, 300_000):
            before = pings(server)
            eventually(lambda: pings(server) > before)
            client.command("SET", "k", "x" * length)
            while not (line := watch.link.read()).endswith(b'"SET" "k" "' + b"x" * length + b'"'):
                assert not OURS.search(line)
    watch.link.close()


def test_nothing_is_noted_when_nobody_monitors_any_more(launch, server):
    redpool = launch.redpool(server, pool=SETTINGS)
    watch = Watch(redpool)
    watch.link.close()
    with redpool.connect() as client:
        client.command("PING")
        again = Watch(redpool)
        client.command("PING")
        assert again.link.read().endswith(b'"PING"')
        again.link.close()
