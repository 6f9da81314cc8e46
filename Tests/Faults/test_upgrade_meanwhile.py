"""What happens to the daemon, its server and its clients while an upgrade is under way."""

import contextlib
import os
import pathlib
import shutil
import signal

import pytest

from harness.daemon import BINARY, listener_files
from harness.ports import free_port
from harness.shim import Shim
from harness.waiting import eventually
from harness.wire import Address, Closed, Connection, encode
from upgrades import Asking, Clients, asked, execution, rehearsal, replace, upgrade

pytestmark = [pytest.mark.daemon, pytest.mark.plain]


@pytest.fixture
def program(tmp_path):
    """The file that the daemon is started from."""
    return shutil.copy(BINARY, tmp_path / "redpool")


def slow(program):
    """Puts a program in the place of one that runs, whose rehearsal waits for a file. Returns what
    ends it."""
    mark = program.with_suffix(".goes-on")
    replace(program, rehearsal(f'while [ ! -e {mark} ]; do sleep 0.01; done; exec {BINARY} "$@"'))
    return mark.touch


def start(launch, program, **settings):
    server = launch.server()
    settings = {"drainTimeout": "3s", "threads": 2} | settings
    return server, launch.redpool(server, console=True, binary=program, settings=settings)


# MARK: A drain


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_drain_while_it_rehearses(launch, program, how):
    _, redpool = start(launch, program)
    mark = program.with_suffix(".never")
    replace(program, rehearsal(f"while [ ! -e {mark} ]; do sleep 0.01; done"))
    asking = Asking(redpool)
    redpool.signal(how)
    assert asking.end() == b"ERR upgrade refused: Redpool is to end"
    assert redpool.wait() == 0


def test_a_drain_while_workers_stop(launch, program):
    server, redpool = start(launch, program)
    with redpool.connect() as client:
        command = encode("SET", "large", b"x" * 300_000)
        client.send(command[:200_000])
        eventually(lambda: server.client_count() and redpool.has_read(client))
        asking = Asking(redpool)
        redpool.signal()
        assert asking.end() == b"ERR upgrade refused: Redpool is to end"
        client.send(command[200_000:])
        assert client.read() == b"OK"
        assert client.read_until_closed() == b""
    assert redpool.wait() == 0


def test_a_pause_while_it_rehearses(launch, program):
    """The other program would send what is held back."""
    server, redpool = start(launch, program)
    goes_on = slow(program)
    with redpool.connect() as client, redpool.console() as console:
        assert client.command("PING") == b"PONG"
        asking = Asking(redpool)
        assert console.command("PAUSE", "main") == b"OK"
        client.send(encode("SET", "paused", "x"))
        goes_on()
        assert asking.end() == b"ERR upgrade refused: pool main is paused: resume it first"
        assert server.command("GET", "paused") is None and not client.is_answered()
        assert console.command("RESUME", "main") == b"OK"
        assert client.read() == b"OK"
        assert "1 client carried" in upgrade(redpool)
        assert client.command("PING") == b"PONG"
    assert redpool.stop() == 0


# MARK: The server


def test_a_server_that_hangs(launch, program):
    """Blocked clients are carried; a command on a shared upstream is waited for."""
    server, redpool = start(launch, program, drainTimeout="1s")
    with Clients(redpool, server) as clients, redpool.connect() as client:
        clients.are_served()
        server.pause()
        assert asked(redpool).startswith(b"upgraded ")
        client.send(encode("INCR", "n"))
        eventually(lambda: redpool.has_read(client))
        server.resume()
        assert client.read() == 1
        clients.are_served()
    assert redpool.stop() == 0


def test_a_server_that_dies(launch, program):
    """What was on it is lost in the usual way, with or without an upgrade."""
    server, redpool = start(launch, program)
    goes_on = slow(program)
    with redpool.connect() as idle, redpool.connect() as blocked:
        assert idle.command("SET", "a", "1") == b"OK"
        blocked.send(encode("BLPOP", "list", "0"))
        eventually(lambda: server.info("blocked_clients") == "1")
        asking = Asking(redpool)
        server.stop(signal.SIGKILL)
        goes_on()
        assert asking.end().startswith(b"upgraded ")
        # `onUpstreamLoss` is `close`.
        assert blocked.read_until_closed() == b""
        server.start()
        eventually(lambda: idle.command("SET", "a", "1") == b"OK")
    assert redpool.stop() == 0


def test_a_server_that_dies_with_the_execution(launch, program):
    """Another program takes over connections that are dead already."""
    server, redpool = start(launch, program)
    with redpool.connect() as idle, redpool.connect() as multi, redpool.connect() as blocked:
        assert idle.command("SET", "a", "1") == b"OK" == multi.command("MULTI")
        blocked.send(encode("BLPOP", "list", "0"))
        eventually(lambda: server.info("blocked_clients") == "1")
        replace(program, execution(f"kill -9 {server.pid}; while kill -0 {server.pid}; do "
                                   f"grep -q 'State:.Z' /proc/{server.pid}/status && break; done"))
        assert "clients carried" in upgrade(redpool)
        for client in (multi, blocked):
            assert client.read_until_closed() == b""
        server.stop()
        server.start()
        eventually(lambda: idle.command("SET", "a", "1") == b"OK")
    assert redpool.stop() == 0


# MARK: Other clients


def secured(launch, program, **options):
    """Another pool, whose clients speak TLS: an upgrade closes them when all workers stand."""
    secure = Address(host="127.0.0.1", port=free_port(), tls=True)
    server = launch.server()
    pool = {"listen": secure.text, "upstream": server.address.text} | listener_files()
    settings = {"drainTimeout": "10s", "threads": 2}
    return secure, launch.redpool(
        server, console=True, binary=program, settings=settings, pools={"secure": pool}, **options)


def test_clients_that_were_closed_for_another_file_are_told(launch, program):
    """It has come between the rehearsal and the execution, so there is another try."""
    secure, redpool = secured(launch, program)
    tried = program.with_suffix(".tried")
    replace(program, rehearsal(f'{BINARY} "$@"; touch {tried}; exit 0'))
    with redpool.connect() as client, Connection(secure) as closed:
        assert closed.command("PING") == b"PONG"
        command = encode("SET", "large", b"x" * 300_000)
        client.send(command[:200_000])
        eventually(lambda: redpool.has_read(client))
        asking = Asking(redpool)
        eventually(tried.exists, what="a rehearsal")
        shutil.copy(BINARY, f"{program}.good")
        pathlib.Path(f"{program}.good").rename(program)
        client.send(command[200_000:])
        assert asking.end().endswith(b": 1 client carried, 1 closed (TLS)")
        assert client.read() == b"OK"


def test_nobody_is_accepted_while_workers_stand(launch, program, tmp_path):
    """The end of a client ends the rest of the listeners that have found no memory."""
    if not Shim.is_possible():
        pytest.skip("no gcc to make accept4 fail with")
    shim = Shim(tmp_path)
    secure, redpool = secured(launch, program, environment=shim.environment)
    for turn in range(5):
        with Connection(secure) as closed:
            assert closed.command("PING") == b"PONG"
            shim.say("accept4")
            with redpool.connect() as waiting:
                eventually(lambda: redpool.log().count("event=listener.rest") > turn)
                shim.say("")
                assert "1 closed (TLS)" in upgrade(redpool)
                assert waiting.command("PING") == b"PONG"


def test_clients_with_tls_are_closed(launch, program):
    secure = Address(host="127.0.0.1", port=free_port(), tls=True)
    server = launch.server()
    redpool = launch.redpool(server, console=True, binary=program, pools={
        "secure": {"listen": secure.text, "upstream": server.address.text} | listener_files()})
    with Clients(redpool, server) as clients, Connection(secure) as client:
        assert client.command("PING") == b"PONG"
        answer = upgrade(redpool)
        assert "4 clients carried (1 blocked)" in answer
        print(answer)
        with pytest.raises(Closed):
            client.read()
        clients.are_served()
        with Connection(secure) as again:
            assert again.command("PING") == b"PONG"


def test_no_descriptors(launch, program):
    """However many are left, nobody is lost."""
    server, redpool = start(launch, program, threads=1)
    with Clients(redpool, server) as clients:
        clients.are_served()
        refused = 0
        for left in range(40):
            with redpool.console(timeout=60) as console:
                console.command("PING")
                # The next one gets the lowest number that is free.
                numbers = {int(name) for name in os.listdir(f"/proc/{redpool.process.pid}/fd")}
                free = (number for number in range(1 << 16) if number not in numbers)
                for _ in range(left):
                    next(free)
                redpool.limit_fds(next(free))
                answer = console.command("UPGRADE")
            redpool.limit_fds(None)
            print(left, answer)
            assert answer.startswith((b"ERR upgrade refused: ", b"ERR upgrade failed: ", b"upgraded "))
            clients.are_served()
            refused += answer.startswith(b"ERR ")
            if answer.startswith(b"upgraded "):
                break
        assert refused
    assert redpool.stop() == 0


# MARK: Passwords


def test_passwords_go_nowhere(launch, program):
    """Not to the rehearsal, not to a log; and nothing is left of the file."""
    server, redpool = start(launch, program, log={"level": "debug"})
    server.command("ACL", "SETUSER", "bob", "on", ">canary-password", "~*", "+@all")
    seen = pathlib.Path(f"{program}.seen")
    replace(program, rehearsal(f'cat /proc/self/fd/3 > {seen}; exec {BINARY} "$@"'))
    with redpool.connect() as client, redpool.connect() as half:
        assert client.command("AUTH", "bob", "canary-password") == b"OK"
        half.send(b"*3\r\n$4\r\nAUTH\r\n$3\r\nbob\r\n$15\r\ncanary-pass")
        eventually(lambda: redpool.has_read(half))
        before = redpool.memory().count(b"canary-password")
        assert "2 clients carried" in upgrade(redpool)
        assert client.command("ACL", "WHOAMI") == b"bob"
        folder = pathlib.Path(f"/proc/{redpool.process.pid}/fd")
        assert not [one for one in folder.iterdir() if "redpool-hand-over" in os.readlink(one)]
        # Redpool logs its upstreams in with it. No copy of the hand-over is left beside.
        eventually(
            lambda: redpool.memory().count(b"canary-password") <= before, what="no more copies")
        half.send(b"word\r\n")
        assert half.read() == b"OK"
    assert seen.stat().st_size > 64 and b"canary" not in seen.read_bytes()
    assert "canary" not in redpool.log()


def test_what_clients_have_sent_is_not_kept(launch, program):
    """The program that has taken over needs the hand-over only once."""
    _, redpool = start(launch, program, threads=1)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redpool.connect()) for _ in range(40)]
        for number, client in enumerate(clients):
            client.send(b"*2\r\n$4\r\nECHO\r\n$100000\r\ncanary%04d" % number + b"x" * 90_000)
            eventually(lambda: redpool.has_read(client))
        assert "40 clients carried" in upgrade(redpool)
        for client in clients:
            client.send(b"x" * 9_990 + b"\r\n")
            assert len(client.read()) == 100_000
    # Some memory is given back, and keeps its contents.
    eventually(lambda: redpool.memory().count(b"canary") < 20, what="hardly any copies")
