"""What the process is started with, and what is sent to it: arguments, descriptors, files, signals."""

import os
import signal
import socket
import subprocess

import pytest

from harness.daemon import BINARY, run_cli, yaml
from harness.ports import free_port
from harness.waiting import eventually
from harness.wire import Address, Connection

pytestmark = pytest.mark.daemon
# Runs a command where /proc is empty.
NO_PROC = [
    "unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"]), "sh", "-c",
    'mount -t tmpfs none /proc && exec "$@"', "sh"]


@pytest.fixture
def no_proc():
    if subprocess.run([*NO_PROC, "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody hide /proc")
    return NO_PROC


@pytest.mark.parametrize("arguments, code, words", [
    (["version"], 0, "redpool "), (["--bogus"], 64, "--bogus"), (["check", "no-such"], 66, "no-such"),
    (["run", "--config", "no-such"], 66, "no-such")])
def test_command_line_without_proc(no_proc, arguments, code, words):
    done = subprocess.run(
        [*no_proc, BINARY, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == code and words in done.stdout + done.stderr, done


def test_daemon_without_proc(launch, no_proc):
    redpool = launch.redpool(launch.server(), prefix=no_proc)
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
    assert redpool.stop() == 0


# --- descriptors


@pytest.fixture
def start(launch, tmp_path):
    """Starts a daemon in front of a server by way of shell code that says `"$@"`; the process and
    where it listens."""
    server, address = launch.server(), Address("127.0.0.1", free_port())
    path, made = tmp_path / "redpool.yaml", []
    pool = {"listen": address.text, "upstream": server.tcp.text, "minIdle": 4}
    path.write_text(yaml({"pools": {"main": pool}, "log": {"clients": True, "level": "debug"}}))

    def started(shell):
        words = ["sh", "-c", f"exec {shell}", "sh", BINARY, "run", "--config", str(path)]
        made.append(subprocess.Popen(words, stdin=subprocess.DEVNULL))
        eventually(lambda: answers(address), what="the daemon answering")
        return made[0], address

    yield started
    for process in made:
        process.kill()
        process.wait(60)


def answers(address) -> bool:
    try:
        with Connection(address) as client:
            return client.command("PING") == b"PONG"
    except OSError:
        return False


@pytest.mark.parametrize("closed", [(2,), (1, 2), (0,), (0, 1, 2), (1,)])
def test_closed_descriptors_are_not_taken_by_sockets(start, closed):
    """What the log is written to is never a connection."""
    process, address = start('"$@" ' + " ".join(f"{number}>&-" for number in closed))
    for number in closed:
        assert os.readlink(f"/proc/{process.pid}/fd/{number}") == "/dev/null"
    clients = [Connection(address) for _ in range(8)]
    for client in clients:
        assert client.command("ECHO", "mine") == b"mine"
        client.close()
    assert process.poll() is None


@pytest.mark.parametrize("arguments", [["version"], ["check", "no-such"]])
def test_no_descriptors_at_all(arguments):
    words = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", BINARY, *arguments]
    assert subprocess.run(words, timeout=60).returncode == (66 if "no-such" in arguments else 0)


def test_a_log_file_that_may_not_grow(start, tmp_path):
    """The system says so with SIGXFSZ, which would end the process."""
    process, address = start(f'sh -c \'ulimit -f 1; exec "$@" 2>{tmp_path}/log\' sh "$@"')
    eventually(lambda: answers(address) and os.path.getsize(tmp_path / "log") >= 512)
    # Logged by the main thread, where signals arrive, before it ends in order.
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


# --- signals


@pytest.mark.parametrize("which", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE])
def test_signals_without_a_meaning_end_nothing(launch, which):
    redpool = launch.redpool(launch.server())
    with redpool.connect() as client:
        for _ in range(100):
            redpool.signal(which)
        assert client.command("PING") == b"PONG"
    redpool.signal(signal.SIGTERM)
    assert redpool.wait() == 0


# --- files


def special(kind, folder):
    if kind == "device":
        return "/dev/zero"
    path = str(folder / kind)
    if kind == "FIFO":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
    return path


@pytest.mark.parametrize("kind", ["FIFO", "device", "socket"])
@pytest.mark.parametrize("command", [["check"], ["run", "--config"]], ids=["check", "run"])
def test_configuration_that_is_no_regular_file(tmp_path, command, kind):
    """A FIFO would be waited for until somebody writes to it."""
    path = special(kind, tmp_path)
    done = run_cli(*command, path, timeout=20)
    assert done.returncode == 66 and f"{path}: it is a {kind}" in done.stderr, done


@pytest.mark.parametrize("kind", ["FIFO", "device", "socket"])
def test_password_file_that_is_no_regular_file(tmp_path, kind):
    path = tmp_path / "redpool.yaml"
    pool = {"listen": "127.0.0.1:1", "upstream": "127.0.0.1:2"}
    pool["passwordFile"] = special(kind, tmp_path)
    path.write_text(yaml({"pools": {"main": pool}}))
    done = run_cli("check", path, timeout=20)
    assert done.returncode == 78 and f"cannot be read: it is a {kind}" in done.stderr, done
