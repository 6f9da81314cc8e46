"""Clients that block behind a server with TLS, in an upgrade: what blocks goes to the other
program, and no element is lost or comes twice."""

import contextlib
import shutil
import time

import pytest

from harness.certificates import authority, server_certificate
from harness.daemon import BINARY
from harness.shim import Shim
from harness.waiting import eventually
from harness.wire import ErrorReply, encode
from test_upgrade_back import SOURCE
from upgrades import Producer, Takers, asked, rehearsal, replace, upgrade

pytestmark = pytest.mark.daemon
BOTH = pytest.mark.parametrize("threads", [1, 2])
# Each brings an element of `a` when one is pushed, and then this is the reply.
COMMANDS = {
    "BLPOP": (("BLPOP", "a", "0"), [b"a", b"x"]),
    "BRPOP": (("BRPOP", "a", "60"), [b"a", b"x"]),
    "BLMOVE": (("BLMOVE", "a", "b", "LEFT", "LEFT", "0.0"), b"x"),
    "BRPOPLPUSH": (("BRPOPLPUSH", "a", "b", "7.5"), b"x"),
    "BLMPOP": (("BLMPOP", "30", "1", "a", "LEFT"), [b"a", [b"x"]]),
    "BZPOPMIN": (("BZPOPMIN", "z", "60"), [b"z", b"x", b"1"]),
    "BZPOPMAX": (("BZPOPMAX", "z", "0"), [b"z", b"x", b"1"]),
    "BZMPOP": (("BZMPOP", "60", "1", "z", "MAX"), [b"z", [[b"x", b"1"]]]),
    "XREAD": (("XREAD", "BLOCK", "0", "STREAMS", "s", "0"), [[b"s", [[b"1-1", [b"f", b"x"]]]]]),
    "XREADGROUP": (("XREADGROUP", "GROUP", "g", "c", "BLOCK", "60000", "STREAMS", "s", ">"),
                   [[b"s", [[b"1-1", [b"f", b"x"]]]]]),
}


def secure(launch, threads=1, **settings):
    """A server and a daemon that speaks TLS to it."""
    server = launch.server(certificate=server_certificate())
    pool = {"upstream": server.tls.text, "tlsCaFile": authority().file} | settings.pop("pool", {})
    own = {name: settings.pop(name) for name in ("binary", "environment") if name in settings}
    return server, launch.redpool(
        server, console=True, pool=pool, settings={"threads": threads} | settings, **own)


@pytest.fixture
def shim(tmp_path):
    if not Shim.is_possible():
        pytest.skip("no gcc to make calls of the C library fail with")
    return Shim(tmp_path, SOURCE)


def blocked(server) -> int:
    return int(server.info("blocked_clients"))


def block(server, client, *command, behind=b""):
    before = blocked(server)
    client.send(encode(*command) + behind)
    eventually(lambda: blocked(server) == before + 1, what="a blocked client")


def waits(server) -> list:
    """The connections on which a client is blocked."""
    return sorted(row["id"] for row in server.upstreams() if "b" in row["flags"])


def give(server):
    assert server.command("RPUSH", "a", "x") == 1
    assert server.command("ZADD", "z", "1", "x") == 1
    assert server.command("XADD", "s", "1-1", "f", "x") == b"1-1"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_blocked_command_goes_on(launch, name):
    """The client gets the element, once, and then what it has sent behind the command."""
    words, reply = COMMANDS[name]
    server, redpool = secure(launch)
    if not server.command("COMMAND", "INFO", name)[0]:
        pytest.skip(f"the server has no {name}")
    assert server.command("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM") == b"OK"
    with redpool.connect() as client, redpool.connect() as idle:
        number = client.command("CLIENT", "ID")
        block(server, client, *words, behind=encode("CLIENT", "ID") + b"*1\r\n$4\r\nPI")
        for _ in range(3):
            assert "2 clients carried" in upgrade(redpool)
            eventually(lambda: blocked(server) == 1, what="a client that blocks again")
        assert not client.is_answered()
        give(server)
        assert client.read() == reply
        client.send(b"NG\r\n")
        assert client.read() == number and client.read() == b"PONG" == idle.command("PING")
        assert not client.is_answered()
    assert redpool.stop() == 0


@pytest.mark.parametrize("version", ["2", "3"])
def test_the_timeout_goes_on(launch, version):
    """What has passed counts, but for the moments in which nobody serves."""
    server, redpool = secure(launch)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redpool.connect()) for _ in range(3)]
        for client in clients:
            client.command("HELLO", version)
        began = time.monotonic()
        block(server, clients[0], "BLPOP", "a", "2")
        block(server, clients[1], "BLMOVE", "a", "b", "LEFT", "LEFT", "2.5")
        block(server, clients[2], "XREAD", "BLOCK", "3000", "STREAMS", "s", "0")
        for turn in range(3):
            time.sleep(max(0, began + 0.5 * turn - time.monotonic()))
            upgrade(redpool)
        for client, timeout in zip(clients, (2, 2.5, 3)):
            assert client.read() is None
            took = time.monotonic() - began
            assert timeout - 0.05 <= took < timeout + 0.9, took
            print(timeout, took)
            assert client.command("PING") == b"PONG"
    assert redpool.stop() == 0


@BOTH
def test_all_of_them_go_on(launch, threads):
    server, redpool = secure(launch, threads)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redpool.connect()) for _ in range(8)]
        for client in clients:
            block(server, client, "BLPOP", "a", "0")
        for _ in range(3):
            assert "8 clients carried" in upgrade(redpool)
            eventually(lambda: blocked(server) == 8, what="all clients blocking again")
        elements = [b"%d" % number for number in range(8)]
        server.command("RPUSH", "a", *elements)
        assert sorted(client.read() for client in clients) == [[b"a", one] for one in elements]
    assert redpool.stop() == 0


OBSTACLES = {
    "XREAD $": ("XREAD", "BLOCK", "0", "STREAMS", "s", "$"),
    "WAIT": ("WAIT", "3", "0"),
    "a strange timeout": ("BLPOP", "other", "1e3"),
}


@pytest.mark.parametrize("name", OBSTACLES)
def test_others_are_waited_for(launch, name):
    """Nobody loses a place for an upgrade that does not come about."""
    server, redpool = secure(launch, drainTimeout="1s")
    with redpool.connect() as client, redpool.connect() as other:
        block(server, client, "BLPOP", "a", "0")
        assert other.command("SET", "k", "v") == b"OK"
        block(server, other, *OBSTACLES[name])
        before = waits(server)
        answer = asked(redpool)
        assert answer == (b"ERR upgrade refused: 1 client cannot be carried after 1s (1 upstream "
                          b"with TLS): repeat, or use --cut"), answer
        assert waits(server) == before
        assert "1 client carried, 1 closed (upstream with TLS)" in upgrade(redpool, "CUT")
        assert other.read_until_closed() == b""
        eventually(lambda: blocked(server) == 1)
        server.command("RPUSH", "a", "x")
        assert client.read() == [b"a", b"x"]
    assert redpool.stop() == 0


def test_one_in_a_transaction_or_with_a_watch_is_waited_for(launch):
    server, redpool = secure(launch, drainTimeout="1s")
    with redpool.connect() as client:
        assert client.command("WATCH", "k") == b"OK"
        block(server, client, "BLPOP", "a", "0")
        before = waits(server)
        assert b"(1 upstream with TLS)" in asked(redpool)
        assert waits(server) == before
        server.command("RPUSH", "a", "x")
        assert client.read() == [b"a", b"x"]


RIGHTS = ["on", ">secret", "~*", "&*", "+@all", "-client|unblock"]


def test_a_user_without_the_right(launch):
    """The pool's user unblocks its command, or else it is waited for."""
    server, redpool = secure(launch, drainTimeout="1s")
    assert server.command("ACL", "SETUSER", "alice", *RIGHTS) == b"OK"
    with redpool.connect() as client:
        assert client.command("AUTH", "alice", "secret") == b"OK"
        block(server, client, "BLPOP", "a", "0")
        assert "1 client carried" in upgrade(redpool)
        eventually(lambda: blocked(server) == 1)
        assert server.command("ACL", "SETUSER", "default", "-client|unblock") == b"OK"
        before = waits(server)
        assert b"(1 upstream with TLS)" in asked(redpool)
        assert waits(server) == before and "event=upgrade.blocked" in redpool.log()
        server.command("RPUSH", "a", "x")
        assert client.read() == [b"a", b"x"]
        assert client.command("ACL", "WHOAMI") == b"alice"


def test_another_client_that_unblocks(launch):
    """A nil that somebody else has asked for is the client's."""
    server, redpool = secure(launch)
    with redpool.connect() as client, redpool.connect() as other:
        number = client.command("CLIENT", "ID")
        block(server, client, "BLPOP", "a", "0")
        upgrade(redpool)
        eventually(lambda: blocked(server) == 1)
        assert other.command("CLIENT", "UNBLOCK", number) == 1
        assert client.read() is None
        block(server, client, "BLPOP", "a", "0")
        upgrade(redpool)
        eventually(lambda: blocked(server) == 1)
        assert other.command("CLIENT", "UNBLOCK", number, "ERROR") == 1
        assert client.read().startswith(b"UNBLOCKED ")


def test_it_is_sent_again_if_no_upgrade_comes_about(launch):
    """One thread has recalled its commands, and another one has a client in the way."""
    server, redpool = secure(launch, threads=2, drainTimeout="2s")
    large = encode("SET", "large", b"x" * 300_000)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redpool.connect()) for _ in range(8)]
        for number, client in enumerate(clients):
            block(server, client, "BLPOP", f"list{number}", "0", behind=encode("PING"))
        slow = stack.enter_context(redpool.connect())
        slow.send(large[:200_000])
        eventually(lambda: redpool.has_read(slow))
        before = int(server.info("total_connections_received"))
        assert b"(1 large command)" in asked(redpool)
        eventually(lambda: blocked(server) == 8)
        # They have kept their connections; only what unblocks them may have been opened.
        assert int(server.info("total_connections_received")) <= before + 2
        for number, client in enumerate(clients):
            assert not client.is_answered()
            server.command("RPUSH", f"list{number}", number)
            assert client.read() == [b"list%d" % number, b"%d" % number]
            assert client.read() == b"PONG"
        slow.send(large[200_000:])
        assert slow.read() == b"OK"
        assert "9 clients carried" in upgrade(redpool)
    assert redpool.stop() == 0


def test_it_is_sent_again_if_the_execution_is_given_up(launch, tmp_path):
    """All threads stand still already when the file turns out to have changed."""
    program = shutil.copy(BINARY, tmp_path / "redpool")
    server, redpool = secure(launch, threads=2, binary=program)
    with redpool.connect() as client:
        began = time.monotonic()
        block(server, client, "BLPOP", "a", "3", behind=encode("PING"))
        text = redpool.config_path.read_text()
        before = waits(server)
        replace(program, rehearsal(f'{BINARY} "$@" || exit; rm {redpool.config_path}; exit 0'))
        assert b"No such file" in asked(redpool)
        eventually(lambda: waits(server) == before)
        redpool.config_path.write_text(text)
        assert client.read() is None and 2.95 <= time.monotonic() - began < 3.5
        assert client.read() == b"PONG"


def test_it_is_sent_again_if_the_other_program_fails(launch, shim):
    server, redpool = secure(launch, environment=shim.environment)
    with redpool.connect() as client:
        block(server, client, "BLPOP", "a", "0", behind=encode("PING"))
        shim.say("getpeername trap")
        assert b"ended with signal 4 before it took over" in asked(redpool)
        eventually(lambda: blocked(server) == 1)
        server.command("RPUSH", "a", "x")
        assert client.read() == [b"a", b"x"] and client.read() == b"PONG"


def test_a_pause_of_the_server(launch):
    """The server unblocks nobody while a CLIENT PAUSE delays commands."""
    server, redpool = secure(launch, drainTimeout="1s")
    with redpool.connect() as client:
        block(server, client, "BLPOP", "a", "0")
        assert server.command("CLIENT", "PAUSE", "3000", "WRITE") == b"OK"
        [before] = waits(server)
        assert b"(1 upstream with TLS)" in asked(redpool)
        # Beside what unblocks, which waits as well.
        assert before in waits(server)
        assert server.command("CLIENT", "UNPAUSE") == b"OK"
        assert "1 client carried" in upgrade(redpool)
        eventually(lambda: blocked(server) == 1)
        server.command("RPUSH", "a", "x")
        assert client.read() == [b"a", b"x"]


def test_more_clients_than_may_block(launch):
    """Those that wait for a connection to block on wait behind those that have one."""
    server, redpool = secure(launch, pool={"maxOpen": 6, "maxPinned": 3, "poolTimeout": "60s"})
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redpool.connect(timeout=60)) for _ in range(9)]
        for client in clients:
            client.send(encode("BLPOP", "a", "0"))
        eventually(lambda: blocked(server) == 3)
        for _ in range(3):
            assert "9 clients carried" in upgrade(redpool)
            eventually(lambda: blocked(server) == 3)
        for number in range(9):
            server.command("RPUSH", "a", number)
        assert sorted(client.read()[1] for client in clients) == [b"%d" % one for one in range(9)]
    assert redpool.stop() == 0


class Impatient(Takers):
    """Takers whose commands often find nothing in time."""

    TIMEOUT = "0.05"

    async def round(self, index, client):
        place = index % len(self.lists)
        name = self.lists[place]
        reply = await client.command("BLPOP", name, self.TIMEOUT, timeout=60)
        if isinstance(reply, ErrorReply) or (reply is not None and reply[0] != name.encode()):
            self.errors.append((index, reply))
            return False
        if reply is not None:
            self.taken[place].append(int(reply[1]))
        return True


@pytest.mark.long
@BOTH
def test_no_element_is_lost_or_comes_twice(launch, threads, full):
    """15 upgrades beside a producer, 1,000 with REDPOOL_FULL=1."""
    server, redpool = secure(launch, threads, pool={"maxOpen": 64, "maxPinned": 48})
    takers = [
        Takers(redpool.tcp, 12, ["one", "two", "three"], "BLPOP"),
        Takers(redpool.tcp, 12, ["four", "five", "six"], "BLMOVE"),
        Impatient(redpool.tcp, 6, ["seven", "eight"], "BLPOP"),
    ]
    with contextlib.ExitStack() as stack:
        producer = stack.enter_context(Producer(server, *takers))
        for one in takers:
            stack.enter_context(one)
        for _ in range(1000 if full else 15):
            assert "30 clients carried" in upgrade(redpool)
    for one in takers:
        one.check(server, producer.made)
