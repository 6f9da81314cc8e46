"""Start, readiness, drain, exit codes: what an operator and a service manager see."""

import contextlib
import os
import select
import signal
import socket
import threading
import time

import pytest

from harness.daemon import fails, run_cli, starting
from harness.ports import free_port
from harness.tasks import stopped, tasks
from harness.waiting import always, eventually
from harness.wire import Address, Closed, Connection, encode

pytestmark = pytest.mark.daemon
# The line of a daemon that runs as root, as it does in CI.
ROOT = "event=process.root"
# A drain that waits for something takes the one; one that does not, less than the other even on a
# busy machine.
LONG_DRAIN = {"drainTimeout": "120s"}
AT_ONCE = 30
# What a busy machine may add.
BUSY = 3


def refuses(address) -> bool:
    try:
        address.connect(1).close()
        return False
    except (ConnectionRefusedError, ConnectionResetError, FileNotFoundError):
        return True
    except TimeoutError:
        # The kernel may drop a SYN that meets a closing listener. The next one is answered.
        return False


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_idle_daemon_drains_at_once(launch, which):
    redpool = launch.redpool(launch.server(), settings=LONG_DRAIN)
    clients = [redpool.connect() for _ in range(20)]
    assert all(client.command("PING") == b"PONG" for client in clients)
    redpool.signal(which)
    assert redpool.wait(AT_ONCE) == 0
    assert all(client.read_until_closed() == b"" for client in clients)
    assert not os.path.exists(redpool.unix.path)


def test_sigquit_ends_it_at_once(launch):
    redpool = launch.redpool(launch.server(), settings=LONG_DRAIN)
    with redpool.connect() as client:
        assert client.command("WATCH", "k") == b"OK"
        redpool.signal(signal.SIGQUIT)
        assert redpool.wait(AT_ONCE) == 0
    assert not os.path.exists(redpool.unix.path)


def test_sighup_ends_nothing(launch):
    redpool = launch.redpool(launch.server())
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        redpool.signal(signal.SIGHUP)
        eventually(lambda: "reload.done" in redpool.log())
        assert client.command("PING") == b"PONG"


def in_flight(server, redpool):
    """A client whose INCR has been written to a server that does not answer yet."""
    client = redpool.connect(timeout=30)
    assert client.command("PING") == b"PONG"
    server.pause()
    client.send(encode("INCR", "in-flight"))
    eventually(lambda: server.unread_bytes() > 0, what="the command reaching the server")
    return client


def test_commands_in_flight_are_finished(launch):
    server = launch.server()
    redpool = launch.redpool(server, settings=LONG_DRAIN)
    with in_flight(server, redpool) as client:
        redpool.signal()
        eventually(lambda: refuses(redpool.tcp), what="the listener being closed")
        assert redpool.process.poll() is None
        server.resume()
        assert client.read() == 1
        assert client.read_until_closed() == b""
        assert redpool.wait(AT_ONCE) == 0
    assert server.command("GET", "in-flight") == b"1"


def test_drain_has_a_deadline(launch):
    server = launch.server()
    redpool = launch.redpool(server, settings={"drainTimeout": "1s"})
    with in_flight(server, redpool) as client:
        redpool.signal()
        assert redpool.wait() == 0
        assert client.read_until_closed() == b""
        server.resume()


def test_second_signal_ends_it_at_once(launch):
    server = launch.server()
    redpool = launch.redpool(server, settings=LONG_DRAIN)
    with in_flight(server, redpool):
        redpool.signal()
        eventually(lambda: refuses(redpool.tcp), what="the listener being closed")
        always(lambda: redpool.process.poll() is None, 0.3, what="draining")
        redpool.signal()
        assert redpool.wait(AT_ONCE) == 0
        server.resume()


def test_an_open_transaction_is_done_whole_or_not_at_all(launch):
    server = launch.server()
    redpool = launch.redpool(server, settings=LONG_DRAIN)
    with redpool.connect() as client:
        assert client.command("MULTI") == b"OK"
        assert client.command("INCR", "k") == b"QUEUED"
        redpool.signal()
        eventually(lambda: refuses(redpool.tcp), what="the listener being closed")
        try:
            reply = client.command("EXEC")
        except (Closed, ConnectionError):
            reply = None
        assert redpool.wait(AT_ONCE) == 0
    assert (reply, server.command("GET", "k")) in (([1], b"1"), (None, None))


def test_drain_under_load_loses_no_answered_command(launch):
    server = launch.server()
    redpool = launch.redpool(server)
    clients = [redpool.connect() for _ in range(50)]
    for client in clients:
        client.send(encode("INCR", "total") * 200)
    redpool.signal()
    answers = sum(client.read_until_closed().count(b"\r\n") for client in clients)
    assert redpool.wait() == 0
    assert answers <= int(server.command("GET", "total") or 0) <= 50 * 200


class Messages:
    """A call reads one datagram's lines as a dict."""

    def __init__(self, listener):
        self._listener = listener

    def __call__(self) -> dict:
        return dict(line.split("=", 1) for line in self._listener.recv(4096).decode().splitlines())

    def fileno(self) -> int:
        return self._listener.fileno()

    def skip(self):
        """Drops what has come."""
        while select.select([self._listener], [], [], 0)[0]:
            self()


@pytest.fixture
def notify(tmp_path):
    """A service manager's socket; `messages` reads one datagram's lines as a dict."""
    path = str(tmp_path / "notify.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(30)
        yield path, Messages(listener)


def until_keys(messages, *keys):
    """What all messages up to the one that completes `keys` have said."""
    seen = {}
    while not seen.keys() >= set(keys):
        seen |= messages()
    return seen


def test_service_manager_hears_of_ready_and_stopping(launch, notify):
    path, messages = notify
    redpool = launch.redpool(
        launch.server(), environment={"NOTIFY_SOCKET": path}, settings=LONG_DRAIN
    )
    assert until_keys(messages, "READY", "STATUS")["READY"] == "1"
    redpool.signal()
    assert until_keys(messages, "STOPPING")["STOPPING"] == "1"
    assert redpool.wait(AT_ONCE) == 0


def test_ready_does_not_wait_for_the_server(launch, notify):
    path, messages = notify
    server = launch.server()
    server.stop()
    launch.redpool(server, environment={"NOTIFY_SOCKET": path})
    assert until_keys(messages, "READY")["READY"] == "1"


@pytest.mark.parametrize("threads", [1, 2])
def test_the_watchdog_hears_of_workers_that_turn(launch, notify, threads):
    path, messages = notify
    watched = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"}
    redpool = launch.redpool(launch.server(), environment=watched, settings={"threads": threads})
    for _ in range(3):
        assert until_keys(messages, "WATCHDOG")["WATCHDOG"] == "1"
    with stopped(tasks(redpool.process)[f"worker-{threads - 1}"]):
        eventually(lambda: "event=worker.hangs" in redpool.log())
        assert f"no turn of worker {threads - 1} for 500 ms" in redpool.log()
        received = threading.Event()
        reader = threading.Thread(target=lambda: (messages(), received.set()))
        # What was sent before is still to be read.
        messages.skip()
        reader.start()
        assert not received.wait(1)
    assert received.wait(20), "the watchdog hearing of them again"
    reader.join()


def until_status(messages, wanted, seconds):
    """Reads messages until the status has these words. Returns that status."""
    deadline = time.monotonic() + seconds
    while wanted not in (status := messages().get("STATUS", "")):
        assert time.monotonic() < deadline, status
    return status


@pytest.mark.parametrize("threads", [1, 2])
def test_the_status_follows_the_truth(launch, notify, threads):
    path, messages = notify
    one, other = launch.server(), launch.server()
    cache = {"listen": f"127.0.0.1:{free_port()}", "upstream": other.tcp.text}
    redpool = launch.redpool(
        one, pools={"cache": cache}, environment={"NOTIFY_SOCKET": path},
        settings=LONG_DRAIN | {"threads": threads})
    assert until_keys(messages, "READY")["STATUS"] == "2 pools, 0 clients"
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        assert until_status(messages, "1 client", 10) == "2 pools, 1 client"
        began = time.monotonic()
        other.stop()
        status = until_status(messages, "down", 10)
        assert time.monotonic() - began < 2 + BUSY
        assert status == "2 pools, 1 down (cache: Connection refused), 1 client"
        # Nothing has changed: nothing is said.
        assert not select.select([messages], [], [], 1.5)[0]
        other.start()
        assert until_status(messages, "2 pools, 1 client", 20)
        in_doubt = redpool.connect()
        assert in_doubt.command("MULTI") == b"OK"
        until_status(messages, "2 clients", 10)
        redpool.signal()
        stopping = until_keys(messages, "STOPPING")
        assert stopping["STATUS"].startswith("Draining, ")
        until_status(messages, "Draining, 1 client", 10)
        in_doubt.close()
        assert redpool.wait(AT_ONCE) == 0


def test_the_status_is_told_once_a_second(launch, notify):
    path, messages = notify
    redpool = launch.redpool(launch.server(), environment={"NOTIFY_SOCKET": path})
    until_keys(messages, "READY")
    times = []
    while len(times) < 3:
        # The number of clients differs whenever somebody looks.
        clients = [redpool.connect() for _ in range(len(times) + 1)]
        messages()
        times.append(time.monotonic())
        for client in clients:
            client.close()
    assert times[2] - times[0] > 1.5


def test_a_service_manager_that_does_not_read_holds_nothing_up(launch, notify):
    path, messages = notify
    redpool = launch.redpool(launch.server(), environment={"NOTIFY_SOCKET": path})
    until_keys(messages, "READY")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                other.sendto(b"X=1", path)
    redpool.signal()
    assert redpool.wait(AT_ONCE) == 0
    assert "event=notify.failed" in redpool.log()


def test_nobody_watches_another_process(launch, notify):
    path, messages = notify
    watched = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000", "WATCHDOG_PID": "1"}
    redpool = launch.redpool(launch.server(), environment=watched)
    until_keys(messages, "READY")
    redpool.signal()
    assert "WATCHDOG" not in until_keys(messages, "STOPPING")


def test_a_long_drain_asks_for_time(launch, notify):
    path, messages = notify
    redpool = launch.redpool(
        launch.server(), environment={"NOTIFY_SOCKET": path}, settings=LONG_DRAIN
    )
    redpool.signal()
    assert int(until_keys(messages, "STOPPING")["EXTEND_TIMEOUT_USEC"]) >= 120_000_000


def test_abstract_notify_socket(launch):
    name = f"redpool-test-{os.getpid()}-{free_port()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        listener.settimeout(30)
        launch.redpool(launch.server(), environment={"NOTIFY_SOCKET": "@" + name})
        assert b"READY=1" in listener.recv(4096)


def test_unusable_notify_socket_is_no_reason_not_to_start(launch, tmp_path):
    gone = str(tmp_path / "nobody.sock")
    redpool = launch.redpool(launch.server(), environment={"NOTIFY_SOCKET": gone})
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"


# --- starts that fail


def test_missing_file(tmp_path):
    path = tmp_path / "no-such.yaml"
    fails(66, str(path), "No such file", arguments=["run", "--config", path])
    fails(66, str(path), "No such file", arguments=["check", path])


def occupied(write, **settings):
    """A listening socket, its address, and a configuration that has the address."""
    taken = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{taken.getsockname()[1]}"
    path = write({"listen": address, "upstream": "127.0.0.1:1"}, **settings)
    return taken, address, path


def test_a_port_that_stays_in_use(write, tmp_path):
    """Ten seconds, and one line however little the log has."""
    taken, address, path = occupied(write, log={"level": "info"})
    quiet = tmp_path / "quiet.yaml"
    quiet.write_text(path.read_text().replace("info", "error"))
    with taken, starting("run", "--config", quiet) as second:
        began = time.monotonic()
        fails(73, address, "in use", arguments=["run", "--config", path])
        assert time.monotonic() - began > 9
        assert second.process.wait(AT_ONCE) == 73
        assert len(second.lines()) == 1
        second.says(address, "in use")


def test_a_port_that_is_in_use_for_a_moment(write):
    taken, address, path = occupied(write)
    with taken, starting("run", "--config", path) as redpool:
        redpool.says("listen.busy")
        always(lambda: redpool.process.poll() is None, 1, what="waiting")
        taken.close()
        redpool.says("event=ready")
        host, port = address.split(":")
        socket.create_connection((host, int(port))).close()
        warnings = [line for line in redpool.lines() if "level=warning" in line and ROOT not in line]
        assert len(warnings) == 1
        assert "listen.busy" in warnings[0]
        assert address in warnings[0]
        redpool.process.terminate()
        assert redpool.process.wait(AT_ONCE) == 0


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_ends_the_wait_for_a_port(write, tmp_path, which):
    taken = socket.create_server(("127.0.0.1", 0))
    places = [f"unix:{tmp_path}/x.sock", f"127.0.0.1:{taken.getsockname()[1]}"]
    path = write({"listen": places, "upstream": "127.0.0.1:1"})
    with taken, starting("run", "--config", path) as redpool:
        redpool.says("listen.busy")
        assert os.path.exists(tmp_path / "x.sock")
        redpool.process.send_signal(signal.SIGHUP)
        redpool.says("reload.refused")
        began = time.monotonic()
        redpool.process.send_signal(which)
        assert redpool.process.wait(AT_ONCE) == 0
        assert time.monotonic() - began < 5
        assert not os.path.exists(tmp_path / "x.sock")


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGQUIT])
def test_signals_between_two_tries(write, tmp_path, which):
    """None ends the process by itself, whenever it comes."""
    taken = socket.create_server(("127.0.0.1", 0))
    places = [f"unix:{tmp_path}/x.sock", f"127.0.0.1:{taken.getsockname()[1]}"]
    path = write({"listen": places, "upstream": "127.0.0.1:1"})
    # Each try takes 100 ms.
    slowly = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=bind"]
    slowly += ["-e", "inject=bind:delay_enter=100000"]
    with taken, starting("run", "--config", path, prefix=slowly) as redpool:
        redpool.says("listen.busy")
        began, sent = time.monotonic(), 0
        while time.monotonic() - began < 1:
            redpool.process.send_signal(signal.SIGHUP)
            sent += 1
            eventually(
                lambda: redpool.process.poll() is not None
                or sum("reload.refused" in line for line in redpool.lines()) >= sent,
                interval=0, what="the signal in the log",
            )
            assert redpool.process.poll() is None, redpool.lines()
        redpool.process.send_signal(which)
        assert redpool.process.wait(AT_ONCE) == 0
        assert not os.path.exists(tmp_path / "x.sock")


def test_nobody_waits_for_a_port_when_another_address_is_wrong(write, tmp_path):
    taken = socket.create_server(("127.0.0.1", 0))
    places = [f"127.0.0.1:{taken.getsockname()[1]}", f"unix:{tmp_path}/no/such/x.sock"]
    path = write({"listen": places, "upstream": "127.0.0.1:1"})
    with taken:
        began = time.monotonic()
        fails(73, "x.sock", "No such file", arguments=["run", "--config", path])
        assert time.monotonic() - began < 5


def test_the_check_of_a_file_is_not_about_ports(write):
    taken, _, path = occupied(write)
    with taken:
        assert run_cli("check", path).returncode == 0


def test_unreadable_file(write, run_as_nobody):
    path = write({"listen": "127.0.0.1:1", "upstream": "127.0.0.1:2"})
    path.chmod(0o600)
    done = run_as_nobody(path)
    assert done.returncode == 66 and "Permission denied" in done.stderr, done
    assert len(done.stderr.splitlines()) == 1


# --- listeners


def test_any_address_serves_both_families(launch):
    port = free_port()
    launch.redpool(launch.server(), pool={"listen": f"*:{port}", "allowUnauthenticated": True})
    for host in ("127.0.0.1", "::1"):
        with Connection(Address(host=host, port=port)) as client:
            assert client.command("PING") == b"PONG"


@pytest.mark.parametrize("kind", ["tcp", "tcp6", "unix"])
def test_every_kind_of_upstream(launch, kind):
    server = launch.server()
    redpool = launch.redpool(server, pool={"upstream": getattr(server, kind).text})
    with redpool.connect() as client:
        assert client.command("INCR", kind) == 1


def test_upstream_by_url_with_a_database(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool={"upstream": f"redis://127.0.0.1:{server.port}/5"})
    with redpool.connect() as client:
        assert client.command("SET", "where", "five") == b"OK"
        assert client.command("GET", "where") == b"five"
    with server.connect() as direct:
        assert direct.command("GET", "where") is None
        assert direct.command("SELECT", "5") == b"OK"
        assert direct.command("GET", "where") == b"five"


def test_two_pools_keep_their_servers_apart(launch):
    one, two = launch.server(), launch.server()
    port = free_port()
    other = {"listen": f"127.0.0.1:{port}", "upstream": two.tcp.text}
    redpool = launch.redpool(one, pools={"other": other})
    with redpool.connect() as first, Connection(Address("127.0.0.1", port)) as second:
        assert first.command("SET", "k", "one") == b"OK"
        assert second.command("SET", "k", "two") == b"OK"
    assert (one.command("GET", "k"), two.command("GET", "k")) == (b"one", b"two")


def test_no_error_is_logged_in_an_uneventful_life(launch):
    redpool = launch.redpool(launch.server())
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
    assert redpool.stop() == 0
    assert "event=ready" in redpool.log()
    lines = [line for line in redpool.log().splitlines() if ROOT not in line]
    assert not any("level=error" in line or "level=warning" in line for line in lines), lines
