"""Socket activation: listening sockets that the service manager has opened."""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess

import pytest

from harness.daemon import BINARY, ROOT
from harness.ports import free_port
from harness.wire import Address, Connection

pytestmark = pytest.mark.daemon


class Sockets:
    """The sockets of a service manager, and how it starts a service with them."""

    def __init__(self):
        self._kept = contextlib.ExitStack()
        self._descriptors = []

    def close(self):
        self._kept.close()

    def listen(self, family, address, only_v6=True) -> socket.socket:
        made = self._kept.enter_context(socket.socket(family))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only_v6))
        made.bind(address)
        made.listen()
        return self.take(made)

    def take(self, made) -> socket.socket:
        # Away from the numbers that the service gets.
        high = fcntl.fcntl(made.fileno(), fcntl.F_DUPFD, 50)
        self._kept.callback(os.close, high)
        self._descriptors.append(high)
        return made

    def start(self, pid="$$", count=None) -> dict:
        """How a daemon is started: `prefix` and `pass_fds`."""
        places = " ".join(f"{3 + i}<&{fd}" for i, fd in enumerate(self._descriptors))
        names = f"LISTEN_PID={pid} LISTEN_FDS={count or len(self._descriptors)} LISTEN_FDNAMES=x"
        script = f'exec env {names} "$@" {places}'
        return {"prefix": ["bash", "-c", script, "bash"], "pass_fds": tuple(self._descriptors)}


@pytest.fixture
def manager():
    made = Sockets()
    yield made
    made.close()


def answers(address) -> bool:
    with Connection(address, 5) as client:
        return client.command("PING") == b"PONG"


def test_clients_wait_over_a_restart(launch, manager):
    server, port = launch.server(), free_port()
    manager.listen(socket.AF_INET, ("127.0.0.1", port))
    address, pool = Address("127.0.0.1", port), {"listen": f"127.0.0.1:{port}"}
    first = launch.redpool(server, pool=pool, **manager.start())
    assert answers(address)
    assert first.stop() == 0
    with Connection(address) as client:
        launch.redpool(server, pool=pool, **manager.start())
        assert client.command("PING") == b"PONG"


def test_a_listen_without_a_socket_is_bound(launch, manager):
    passed, other = free_port(), free_port()
    manager.listen(socket.AF_INET, ("127.0.0.1", passed))
    pool = {"listen": [f"127.0.0.1:{other}", f"127.0.0.1:{passed}"]}
    launch.redpool(launch.server(), pool=pool, **manager.start())
    assert answers(Address("127.0.0.1", passed)) and answers(Address("127.0.0.1", other))


@pytest.mark.parametrize("threads", [1, 2])
def test_sockets_reach_their_pools(launch, manager, threads):
    one, two = launch.server(), launch.server()
    first, second = free_port(), free_port()
    manager.listen(socket.AF_INET6, ("::1", second))
    manager.listen(socket.AF_INET, ("127.0.0.1", first))
    pools = {"other": {"listen": f"[::1]:{second}", "upstream": two.tcp.text}}
    launch.redpool(
        one, pool={"listen": f"127.0.0.1:{first}"}, pools=pools, settings={"threads": threads},
        **manager.start(),
    )
    for address, value in ((Address("127.0.0.1", first), "1"), (Address("::1", second), "2")):
        with Connection(address) as client:
            assert client.command("SET", "k", value) == b"OK"
    assert (one.command("GET", "k"), two.command("GET", "k")) == (b"1", b"2")


@pytest.mark.parametrize("only_v6", [True, False])
def test_a_socket_for_all_addresses(launch, manager, only_v6):
    """systemd makes one socket for both families of `ListenStream=6380`."""
    port = free_port()
    manager.listen(socket.AF_INET6, ("::", port), only_v6)
    launch.redpool(launch.server(), pool={"listen": f"*:{port}", "allowUnauthenticated": True}, **manager.start())
    assert answers(Address("127.0.0.1", port)) and answers(Address("::1", port))


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGQUIT])
def test_an_inherited_unix_socket_keeps_its_file(launch, manager, tmp_path, end):
    path = str(tmp_path / "x.sock")
    manager.listen(socket.AF_UNIX, path)
    mode = os.stat(path).st_mode
    redpool = launch.redpool(
        launch.server(), pool={"listen": f"unix:{path}", "socketMode": "0600"}, **manager.start()
    )
    assert answers(Address(path=path))
    redpool.signal(end)
    assert redpool.wait() == 0
    assert os.stat(path).st_mode == mode


def test_the_descriptors_are_adopted(launch, manager):
    port = free_port()
    manager.listen(socket.AF_INET, ("127.0.0.1", port))
    pool = {"listen": f"127.0.0.1:{port}"}
    redpool = launch.redpool(launch.server(), pool=pool, **manager.start())
    flags = {}
    for name in os.listdir(f"/proc/{redpool.process.pid}/fdinfo"):
        with open(f"/proc/{redpool.process.pid}/fdinfo/{name}") as text:
            flags[int(name)] = int(text.read().split("flags:")[1].split()[0], 8)
    assert flags[3] & os.O_CLOEXEC and flags[3] & os.O_NONBLOCK


def test_sockets_for_another_process_are_not_taken(launch, manager):
    passed, other = free_port(), free_port()
    manager.listen(socket.AF_INET, ("127.0.0.1", passed))
    launch.redpool(launch.server(), pool={"listen": f"127.0.0.1:{other}"}, **manager.start(pid=1))
    assert answers(Address("127.0.0.1", other))


def fails(manager, path, code, *words, **options):
    how = manager.start(**options)
    done = subprocess.run(
        [*how["prefix"], BINARY, "run", "--config", path], pass_fds=how["pass_fds"],
        capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == code, done
    assert len(done.stderr.splitlines()) == 1 and all(word in done.stderr for word in words), done


def test_a_socket_without_a_listen(write, manager):
    passed, other = free_port(), free_port()
    manager.listen(socket.AF_INET, ("127.0.0.1", passed))
    path = write({"listen": f"127.0.0.1:{other}", "upstream": "127.0.0.1:1"})
    fails(manager, path, 78, f"at 127.0.0.1:{passed}", f"127.0.0.1:{other}")


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_socket_that_does_not_listen(write, manager, kind):
    with socket.socket(socket.AF_INET, kind) as made:
        made.bind(("127.0.0.1", 0))
        manager.take(made)
        path = write({"listen": f"127.0.0.1:{free_port()}", "upstream": "127.0.0.1:1"})
        fails(manager, path, 73, "descriptor 3", "no listening stream socket")


@pytest.mark.parametrize("count", ["2", "many", "-1", "999999999999"])
def test_a_wrong_number_of_sockets(write, manager, count):
    port = free_port()
    manager.listen(socket.AF_INET, ("127.0.0.1", port))
    path = write({"listen": f"127.0.0.1:{port}", "upstream": "127.0.0.1:1"})
    fails(manager, path, 73, "descriptor", count=count)


def test_the_shipped_socket_fits_the_shipped_pool():
    unit = (ROOT / "systemd/redpool.socket").read_text().splitlines()
    streams = {line.split("=")[1] for line in unit if line.startswith("ListenStream=")}
    done = subprocess.run(
        [BINARY, "check", str(ROOT / "config/redpool.yaml")], capture_output=True, text=True
    )
    assert streams == {"127.0.0.1:6380"} and "127.0.0.1:6380" in done.stdout
