"""Upstreams that are idle while another program takes over: it uses them, when their server has
shown who it is."""

import contextlib
import shutil
import signal
import ssl

import pytest

from harness.certificates import authority
from harness.daemon import BINARY
from harness.waiting import eventually
from peers import Peer, answer
from replica_reads import calls
from upgrades import execution, replace, upgrade

pytestmark = [pytest.mark.daemon, pytest.mark.plain]


@pytest.fixture
def program(tmp_path):
    """The file that the daemon is started from."""
    return shutil.copy(BINARY, tmp_path / "redpool")


def at_server(server) -> set[bytes]:
    """Redpool's connections, as the server has them; and the one that asks is not one."""
    lines = server.command("CLIENT", "LIST").splitlines()
    return {line.split()[0] for line in lines if b"cmd=client|list" not in line}


def numbers(redpool) -> set[int]:
    """Redpool's own numbers of them."""
    return {row["id"] for row in redpool.show("UPSTREAMS")}


def all_idle(redpool, wanted):
    def states():
        return sorted(row["state"] for row in redpool.show("UPSTREAMS"))

    eventually(lambda: states() == ["idle"] * wanted, what=f"{wanted} idle upstreams")


def test_those_with_tls_end_in_order(launch):
    """Their server is told so: it sees no broken stream."""
    told = []

    def conversation(peer, near):
        try:
            answer(peer, near)
            told.append(True)
        except ssl.SSLError:
            told.append(False)

    peer = launch.started(Peer(conversation))
    peer.heeds_ragged_ends()
    redpool = launch.redpool(
        peer, console=True, pool={"minIdle": 3, "tlsCaFile": authority().file})
    all_idle(redpool, 3)
    assert "0 clients carried" in upgrade(redpool)
    eventually(lambda: peer.connections == len(told) + 3, what="the ends of the former ones")
    assert all(told)
    all_idle(redpool, 3)


@pytest.mark.parametrize("threads", ["1", "2", "2 to 1"])
def test_they_stay(launch, threads):
    """Nothing is dialled, and nobody logs in."""
    server = launch.server()
    redpool = launch.redpool(
        server, console=True, pool={"minIdle": 6, "maxIdle": 8, "maxOpen": 8},
        settings={"threads": int(threads[0])})
    all_idle(redpool, 6)
    with redpool.connect() as client, redpool.connect() as other:
        # Their server numbers them, and it knows who is in another database.
        assert client.command("SELECT", 3) == b"OK" == client.command("SET", "k", "three")
        assert other.command("GET", "k") is None
        all_idle(redpool, 6)
        if threads == "2 to 1":
            redpool.reload_settings(threads=1)
        before = at_server(server)
        assert len(before) == 6
        selects = calls(server, "select")
        for _ in range(3):
            assert "2 clients carried" in upgrade(redpool)
            all_idle(redpool, 6)
            assert at_server(server) == before
            assert calls(server, "select") == selects
            assert client.command("GET", "k") == b"three"
            assert other.command("GET", "k") is None
            selects = calls(server, "select")
    assert "upstream.lost" not in redpool.log()
    assert redpool.stop() == 0


def test_a_user_of_a_client_need_not_log_in_again(launch):
    server = launch.server()
    server.command("ACL", "SETUSER", "bob", "on", ">secret", "~*", "&*", "+@all")
    redpool = launch.redpool(server, console=True)
    with redpool.connect() as bob, redpool.connect() as other:
        assert bob.command("AUTH", "bob", "secret") == b"OK"
        assert bob.command("ACL", "WHOAMI") == b"bob"
        assert other.command("ACL", "WHOAMI") == b"default"
        all_idle(redpool, 2)
        logins = calls(server, "auth") + calls(server, "hello")
        upgrade(redpool)
        for _ in range(10):
            assert bob.command("ACL", "WHOAMI") == b"bob"
            assert other.command("ACL", "WHOAMI") == b"default"
        assert calls(server, "auth") + calls(server, "hello") == logins


def test_a_server_that_does_not_answer(launch):
    """They are given up, and clients get what they get from a server that hangs."""
    server = launch.server()
    redpool = launch.redpool(server, console=True, pool={"minIdle": 4})
    all_idle(redpool, 4)
    with redpool.connect() as client:
        assert client.command("SET", "k", "1") == b"OK"
        before = numbers(redpool)
        server.pause()
        try:
            assert "1 client carried" in upgrade(redpool)
            eventually(lambda: not before & numbers(redpool), what="no former upstream")
        finally:
            server.resume()
        assert client.command("GET", "k") == b"1"
    assert redpool.stop() == 0


def test_another_server_at_the_address(launch, program):
    """It came between the two programs: what was connected is dead, and nobody meets it."""
    server = launch.server()
    redpool = launch.redpool(
        server, console=True, binary=program, pool={"minIdle": 4}, settings={"threads": 2})
    all_idle(redpool, 4)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redpool.connect()) for _ in range(8)]
        for client in clients:
            assert client.command("PING") == b"PONG"
        before = numbers(redpool)
        replace(program, execution(
            f"kill -9 {server.pid}; while kill -0 {server.pid}; do "
            f"grep -q 'State:.Z' /proc/{server.pid}/status && break; done"))
        assert "8 clients carried" in upgrade(redpool)
        server.stop(signal.SIGKILL)
        server.start()
        for client in clients:
            eventually(lambda: client.command("PING") == b"PONG")
        all_idle(redpool, 4)
        assert not before & numbers(redpool)
    assert redpool.stop() == 0
