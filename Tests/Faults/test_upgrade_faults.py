"""What can go wrong before another program is executed: the exact words, and nobody is lost."""

import pathlib
import shutil
import signal

import pytest

from harness.daemon import BINARY
from harness.waiting import eventually
from harness.wire import encode
from upgrades import Asking, Clients, asked, execution, rehearsal, replace, upgrade

pytestmark = [pytest.mark.daemon, pytest.mark.plain]


@pytest.fixture
def program(tmp_path):
    """The file that the daemon is started from."""
    return shutil.copy(BINARY, tmp_path / "redpool")


@pytest.fixture
def world(launch, program):
    """A daemon with clients of every kind that is carried, and its server."""
    server = launch.server()
    redpool = launch.redpool(
        server, console=True, binary=program, settings={"drainTimeout": "1s", "threads": 2})
    with Clients(redpool, server) as clients:
        yield redpool, server, clients
    assert redpool.stop() == 0


def is_refused(world, text, *words):
    """The upgrade is refused with this text, which the log has as well; everybody is served."""
    redpool, _, clients = world
    before = redpool.log().count("event=upgrade.refused")
    answer = asked(redpool, *words)
    assert answer == f"ERR upgrade refused: {text}".encode()
    assert redpool.log().count("event=upgrade.refused") == before + 1
    clients.are_served()


def gone(path):
    path.unlink()


def not_executable(path):
    path.chmod(0o644)


def no_program(path):
    replace(path, "A text.\n")


@pytest.mark.parametrize(
    "change, words",
    [
        (gone, "No such file or directory"), (not_executable, "Permission denied"),
        (no_program, "Exec format error"),
    ], ids=lambda one: getattr(one, "__name__", ""))
def test_a_file_that_cannot_be_executed(world, program, change, words):
    change(program)
    is_refused(world, f"cannot execute {program}: {words}")
    shutil.copy(BINARY, program.with_suffix(".new")).rename(program)
    assert "clients carried" in upgrade(world[0])
    world[2].are_served()


REHEARSALS = {
    "one that does not know how": ("exit 64", "{} does not know how to take over: restart instead"),
    "another program that ends well": (
        "echo done; exit 0", "the rehearsal of {} ended with exit code 0: done"),
    "an exit code": ("exit 3", "the rehearsal of {} ended with exit code 3"),
    "an exit code with words": (
        "echo no; echo never >&2; exit 1",
        "the rehearsal of {} ended with exit code 1: no; never"),
    "no version": ("exit 0", "the rehearsal of {} ended with exit code 0"),
    "a signal": ("kill -ILL $$", "the rehearsal of {} ended with signal 4"),
    "a trap": (
        "echo 'main.swift:3: Fatal error: Index out of range' >&2; echo ...; kill -TRAP $$",
        "the rehearsal of {} ended with signal 5: main.swift:3: Fatal error: Index out of range"),
    "a refusal": ("echo there is no pool x; exit 78", "there is no pool x"),
    "closed output": (
        "exec >&- 2>&-; exec sleep 300", "the rehearsal of {} ended with signal 9"),
}


@pytest.mark.parametrize("name", REHEARSALS)
def test_a_rehearsal_that_fails(world, program, name):
    script, text = REHEARSALS[name]
    replace(program, rehearsal(script))
    is_refused(world, text.format(program))


def test_a_rehearsal_that_hangs(world, program):
    replace(program, rehearsal("exec sleep 300"))
    is_refused(world, f"the rehearsal of {program} has taken 10s")


def test_a_rehearsal_that_says_much(world, program):
    """The beginning of it is told."""
    replace(program, rehearsal("yes word | head -c 10000000; exit 1"))
    redpool, _, clients = world
    answer = asked(redpool)
    assert answer.startswith(
        f"ERR upgrade refused: the rehearsal of {program} ended with exit code 1: word; word"
        .encode())
    assert len(answer) < 2000
    assert max(len(line) for line in redpool.log().splitlines()) < 2000
    clients.are_served()


# MARK: The configuration


def test_another_configuration(world):
    redpool, _, clients = world
    text = redpool.config_path.read_text()
    redpool.config_path.write_text(text.replace('"8s"', '"7s"'))
    is_refused(world, "redpool.yaml is not what is in effect (pools.main.poolTimeout): reload first")
    redpool.config_path.write_text(text + "treads: 2\n")
    line = len(text.splitlines()) + 1
    is_refused(
        world, f"redpool.yaml:{line}:1: treads: unknown key (did you mean threads?)")
    redpool.config_path.unlink()
    is_refused(world, f"cannot read {redpool.config_path}: No such file or directory")
    redpool.config_path.write_text(text)
    assert "clients carried" in upgrade(redpool)
    clients.are_served()


def test_a_configuration_that_changes_behind_the_rehearsal(world, program):
    redpool, _, clients = world
    text = redpool.config_path.read_text()
    line = len(text.splitlines()) + 1
    for change, refusal in (
        (f"echo treads: 2 >> {redpool.config_path}",
         f"redpool.yaml:{line}:1: treads: unknown key (did you mean threads?)"),
        (f"rm {redpool.config_path}",
         f"cannot read {redpool.config_path}: No such file or directory"),
    ):
        replace(program, rehearsal(f'{BINARY} "$@" || exit; {change}; exit 0'))
        is_refused(world, refusal)
        redpool.config_path.write_text(text)


@pytest.mark.parametrize("change", ["echo treads: 2 >> {}", "rm {}"])
def test_a_configuration_that_changes_with_the_execution(world, program, change):
    """What was in effect stays so."""
    redpool, _, clients = world
    text = redpool.config_path.read_text()
    replace(program, execution(change.format(redpool.config_path)))
    assert "clients carried" in upgrade(redpool)
    redpool.config_path.write_text(text)
    clients.are_served()


def test_a_program_that_does_not_know_the_command_line(world, program):
    """Only the rehearsal has its own, which is tried."""
    redpool, _, clients = world
    other = program.with_suffix(".other")
    other.write_bytes(pathlib.Path(BINARY).read_bytes().replace(b"--config", b"--konfig"))
    other.chmod(0o755)
    replace(program, execution(f'exec {other} "$@"'))
    answer = asked(redpool)
    assert answer == (
        b"ERR upgrade failed: 0.9.0 has failed before it took over; 0.9.0 serves on")
    clients.are_served()


# MARK: The file changes


def test_a_file_that_always_changes(world, program):
    again = f"cp {program} {program}.new; mv {program}.new {program}"
    replace(program, rehearsal(f"{again}; echo redpool 1; exit 0"))
    is_refused(world, f"{program} changes while it is being tried")


def test_a_file_that_changes_once(world, program):
    """What is tried is what is executed."""
    redpool, _, clients = world
    shutil.copy(BINARY, f"{program}.good")
    replace(program, rehearsal(f"mv {program}.good {program}; echo redpool 1; exit 0"))
    assert "clients carried" in upgrade(redpool)
    clients.are_served()


@pytest.mark.parametrize("good", [True, False])
def test_a_file_that_changes_while_workers_stop(world, program, good):
    """Nothing is executed that has not been tried."""
    redpool, server, clients = world
    tried = program.with_suffix(".tried")
    replace(program, rehearsal(f'{BINARY} "$@"; touch {tried}; exit 0'))
    with redpool.connect() as client:
        command = encode("SET", "large", b"x" * 300_000)
        client.send(command[:200_000])
        eventually(lambda: server.client_count() and redpool.has_read(client))
        asking = Asking(redpool)
        eventually(tried.exists, what="a rehearsal")
        if good:
            shutil.copy(BINARY, f"{program}.good")
            pathlib.Path(f"{program}.good").rename(program)
        else:
            no_program(program)
        client.send(command[200_000:])
        answer = asking.end()
        if good:
            assert answer.startswith(b"upgraded ")
        else:
            assert answer == (
                f"ERR upgrade refused: cannot execute {program}: Exec format error".encode())
        assert client.read() == b"OK"
    clients.are_served()


# MARK: What cannot be carried


def test_a_large_command(world):
    redpool, server, clients = world
    with redpool.connect() as client:
        command = encode("SET", "large", b"x" * 300_000)
        client.send(command[:200_000])
        eventually(lambda: server.client_count() and redpool.has_read(client))
        is_refused(
            world,
            "1 client cannot be carried after 1s (1 large command): repeat, or use --cut")
        client.send(command[200_000:])
        assert client.read() == b"OK"
        client.send(command[:200_000])
        eventually(lambda: redpool.has_read(client))
        print(upgrade(redpool, "CUT"))
        assert client.read_until_closed() == b""
    clients.are_served()


def test_a_login(world):
    redpool, server, clients = world
    server.command("ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all")
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        server.pause()
        client.send(encode("AUTH", "bob", "pw"))
        eventually(lambda: redpool.has_read(client))
        answer = asked(redpool)
        server.resume()
        assert answer == (
            b"ERR upgrade refused: 1 client cannot be carried after 1s (1 login): "
            b"repeat, or use --cut")
        assert client.read() == b"OK"
        assert "clients carried" in upgrade(redpool)
        assert client.command("ACL", "WHOAMI") == b"bob"
    clients.are_served()


# MARK: Other orders meanwhile


@pytest.fixture
def slow(world, program):
    """A rehearsal that waits for a file. Returns what ends it."""
    mark = program.with_suffix(".goes-on")
    replace(program, rehearsal(f'while [ ! -e {mark} ]; do sleep 0.01; done; exec {BINARY} "$@"'))
    return mark.touch


def test_two_upgrades_at_once(world, slow):
    redpool, _, clients = world
    first = Asking(redpool)
    assert asked(redpool) == b"ERR an upgrade is under way"
    clients.are_served()
    slow()
    assert first.end().startswith(b"upgraded ")
    clients.are_served()


def test_a_reload_meanwhile(world, slow):
    redpool, _, clients = world
    first = Asking(redpool)
    redpool.signal(signal.SIGHUP)
    eventually(lambda: "an upgrade is under way" in redpool.log())
    with redpool.console() as console:
        assert console.command("RELOAD") == b"ERR an upgrade is under way"
    slow()
    assert first.end().startswith(b"upgraded ")
    clients.are_served()


def test_what_a_caller_sends_behind_its_command(world):
    redpool, _, clients = world
    with redpool.console() as console:
        console.send(encode("UPGRADE") + encode("PING") + b"*1\r\n$4\r\nPI")
        assert console.read().startswith(b"upgraded ")
        assert console.read() == b"PONG"
        console.send(b"NG\r\n")
        assert console.read() == b"PONG"
    clients.are_served()


def test_a_caller_that_leaves(world, slow):
    """The upgrade goes on without it."""
    redpool, _, clients = world
    with redpool.console() as console:
        console.send(encode("UPGRADE"))
        eventually(lambda: "event=upgrade.begin" in redpool.log())
    # Somebody else may get its descriptor.
    with redpool.connect() as client, redpool.console() as other:
        assert client.command("PING") == b"PONG" == other.command("PING")
        slow()
        eventually(
            lambda: any(f"event=upgrade.{end}" in redpool.log() for end in ("done", "failed")),
            what="the end of the upgrade")
        assert "event=upgrade.done" in redpool.log()
        assert client.command("ECHO", "x") == b"x"
    clients.are_served()
