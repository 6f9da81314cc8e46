"""The files of unix listeners: made, refused, given to a group, and removed only by their owner."""

import grp
import os
import signal
import socket
import stat

import pytest

from harness.daemon import fails, run_cli, starting
from harness.waiting import eventually
from harness.wire import Address, Connection, encode

pytestmark = pytest.mark.daemon


def test_unix_listener_in_a_missing_folder(write, tmp_path):
    path = write({"listen": f"unix:{tmp_path}/no/such/x.sock", "upstream": "127.0.0.1:1"})
    fails(73, "x.sock", "No such file", arguments=["run", "--config", path])


def test_unix_listener_that_a_live_daemon_holds(launch, write):
    redpool = launch.redpool(launch.server())
    path = write({"listen": redpool.unix.text, "upstream": "127.0.0.1:1"})
    with starting("run", "--config", path) as second:
        second.says("in use", redpool.unix.path)
        with Connection(redpool.unix) as client:
            assert client.command("PING") == b"PONG"
        assert redpool.stop() == 0
        second.says("event=ready")
        Connection(redpool.unix).close()


def test_unix_listener_left_by_a_dead_daemon_is_replaced(launch):
    server = launch.server()
    crashed = launch.redpool(server)
    crashed.crash()
    assert os.path.exists(crashed.unix.path)
    redpool = launch.redpool(server, pool={"listen": crashed.unix.text})
    with Connection(crashed.unix) as client:
        assert client.command("PING") == b"PONG"
    assert redpool.stop() == 0


@pytest.mark.parametrize("kind", ["regular file", "directory", "symbolic link", "FIFO"])
def test_a_file_that_is_no_socket_is_never_replaced(write, tmp_path, kind):
    place, precious = tmp_path / "place", tmp_path / "precious"
    precious.write_text("data")
    {
        "regular file": lambda: place.hardlink_to(precious),
        "directory": place.mkdir,
        "symbolic link": lambda: place.symlink_to(precious),
        "FIFO": lambda: os.mkfifo(place),
    }[kind]()
    before = os.lstat(place).st_ino
    path = write({"listen": f"unix:{place}", "upstream": "127.0.0.1:1"})
    fails(73, str(place), f"there is a {kind} in its place", arguments=["run", "--config", path])
    assert os.lstat(place).st_ino == before and precious.read_text() == "data"


@pytest.mark.parametrize("is_relative", [False, True])
def test_a_socket_that_is_bound_but_does_not_listen_yet_is_not_taken(
    write, tmp_path, monkeypatch, is_relative
):
    """Another daemon is starting; its socket refuses connections as one that was left behind."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "x.sock"
    path = write({"listen": f"unix:{place}", "upstream": "127.0.0.1:1"})
    with socket.socket(socket.AF_UNIX) as other:
        other.bind("x.sock" if is_relative else str(place))
        before = os.stat(place).st_ino
        with starting("run", "--config", path) as redpool:
            redpool.says("in use", str(place))
            redpool.process.terminate()
            assert redpool.process.wait(30) == 0
        assert os.stat(place).st_ino == before
        other.listen()
        Address(path=str(place)).connect(5).close()


# How a daemon ends, and with how many workers.
ENDS = [("drain", 1), ("drain", 2), ("quit", 1), ("quit", 2)]


@pytest.mark.parametrize("end, threads", ENDS)
@pytest.mark.parametrize("other", ["regular file", "another daemon's socket"])
def test_a_file_of_somebody_else_is_not_removed_at_the_end(launch, other, end, threads):
    server = launch.server()
    redpool = launch.redpool(server, settings={"threads": threads})
    os.remove(redpool.unix.path)
    if other == "regular file":
        with open(redpool.unix.path, "w") as file:
            file.write("precious")
    else:
        launch.redpool(server, pool={"listen": redpool.unix.text})
    redpool.signal(signal.SIGTERM if end == "drain" else signal.SIGQUIT)
    assert redpool.wait() == 0
    if other == "regular file":
        with open(redpool.unix.path) as file:
            assert file.read() == "precious"
    else:
        with Connection(redpool.unix) as client:
            assert client.command("PING") == b"PONG"


def test_a_second_signal_removes_no_successors_socket(launch):
    """While the first daemon drains, the second one listens; its file may even have the same number."""
    server = launch.server()
    redpool = launch.redpool(server, settings={"drainTimeout": "120s"})
    with redpool.connect() as client:
        client.send(encode("BLPOP", "nothing", "0"))
        eventually(lambda: server.info("blocked_clients") == "1")
        # Nobody can unblock the client.
        server.pause()
        redpool.signal()
        eventually(lambda: not os.path.exists(redpool.unix.path), what="the file being removed")
        successor = launch.redpool(server, pool={"listen": redpool.unix.text})
        redpool.signal()
        assert redpool.wait(30) == 0
    server.resume()
    with Connection(redpool.unix) as client:
        assert client.command("PING") == b"PONG"
    assert successor.stop() == 0


def test_unknown_group(write, tmp_path):
    pool = {"listen": f"unix:{tmp_path}/x.sock", "upstream": "127.0.0.1:1"}
    path = write(pool | {"socketGroup": "no-such-group"})
    done = run_cli("run", "--config", path)
    assert done.returncode in (73, 78) and "no-such-group" in done.stderr, done


def test_listener_that_is_not_permitted(write, run_as_nobody, tmp_path):
    path = write({"listen": f"unix:{tmp_path}/x.sock", "upstream": "127.0.0.1:2"})
    path.chmod(0o644)
    done = run_as_nobody(path)
    assert done.returncode == 77 and "Permission denied" in done.stderr, done
    assert "x.sock" in done.stderr and len(done.stderr.splitlines()) == 1


def test_group_that_the_user_is_not_in(write, run_as_nobody, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(0o777)
    pool = {"listen": f"unix:{folder}/x.sock", "upstream": "127.0.0.1:2", "socketGroup": "daemon"}
    path = write(pool)
    path.chmod(0o644)
    done = run_as_nobody(path)
    assert done.returncode == 77 and len(done.stderr.splitlines()) == 1, done
    assert "to group daemon: user nobody is not in group daemon" in done.stderr, done
    assert not os.path.exists(folder / "x.sock")


@pytest.mark.parametrize("mode", ["0600", "0660", "0666", "0777"])
def test_unix_listener_mode(launch, mode):
    redpool = launch.redpool(launch.server(), pool={"socketMode": mode})
    assert stat.S_IMODE(os.stat(redpool.unix.path).st_mode) == int(mode, 8)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to give a file to a group")
def test_unix_listener_group(launch):
    redpool = launch.redpool(launch.server(), pool={"socketGroup": "daemon"})
    assert os.stat(redpool.unix.path).st_gid == grp.getgrnam("daemon").gr_gid
