"""maxClients and file descriptors."""

import time

import pytest

from harness.daemon import run_cli, yaml
from harness.load import Neighbours
from harness.waiting import eventually
from harness.wire import Closed

pytestmark = pytest.mark.daemon
REFUSAL = b"-ERR max number of clients reached\r\n"


def test_one_client_too_many_gets_the_server_s_own_words(launch):
    redpool = launch.redpool(launch.server(), settings={"maxClients": 10})
    clients = [redpool.connect() for _ in range(10)]
    assert all(client.command("PING") == b"PONG" for client in clients)
    for _ in range(20):
        with redpool.connect() as extra:
            assert extra.read_until_closed() == REFUSAL
    assert all(client.command("PING") == b"PONG" for client in clients)
    clients[0].close()

    def place_is_free():
        with redpool.connect() as next_one:
            try:
                next_one.socket.sendall(b"PING\r\n")
                return next_one.read() == b"PONG"
            except (Closed, ConnectionError):
                return False

    eventually(place_is_free)
    for client in clients[1:]:
        client.close()


def test_running_out_of_descriptors_is_survived(launch):
    redpool = launch.redpool(launch.server(), pool={"minIdle": 2})
    with Neighbours(redpool.tcp) as neighbours:
        eventually(lambda: neighbours.rounds > 10)
        redpool.limit_fds(redpool.fds() + 5)
        crowd = [redpool.connect() for _ in range(60)]
        before = neighbours.rounds
        eventually(lambda: neighbours.rounds > before + 200, 30)
        assert redpool.process.poll() is None
        for client in crowd:
            client.close()
        redpool.limit_fds(None)
        with redpool.connect() as late:
            assert eventually(lambda: late.command("PING") == b"PONG")
    assert redpool.stop() == 0


def test_the_loop_does_not_spin_without_descriptors(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool={"minIdle": 2})
    # A pin does not take the only one.
    eventually(lambda: len(server.upstreams()) == 2)
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        redpool.limit_fds(redpool.fds())
        crowd = [redpool.connect() for _ in range(20)]
        cpu, clock = redpool.cpu_seconds(), time.monotonic()
        while time.monotonic() - clock < 1.5:
            assert client.command("BLPOP", "never", "0.1") is None
        used, passed = redpool.cpu_seconds() - cpu, time.monotonic() - clock
        assert used < 0.4 * passed, f"{used:.2f} s of CPU in {passed:.2f} s of waiting"
        for extra in crowd:
            extra.close()


def test_descriptors_that_the_configuration_needs_are_checked_at_the_start(launch, tmp_path):
    server = launch.server()
    config = tmp_path / "redpool.yaml"
    pool = {"listen": f"unix:{tmp_path}/main.sock", "upstream": server.tcp.text}
    config.write_text(yaml({"pools": {"main": pool}, "maxClients": 1_000_000}))
    done = run_cli("run", "--config", config)
    assert done.returncode == 71, done
    assert "1000000" in done.stderr and "maxClients" in done.stderr


def test_automatic_max_clients_fits_a_small_descriptor_limit(launch):
    redpool = launch.redpool(launch.server(), limit=200)
    clients = []
    with Neighbours(redpool.tcp) as neighbours:
        while len(clients) < 200:
            client = redpool.connect()
            client.send(b"PING\r\n")
            try:
                reply = client.read_raw()
            except Closed as end:
                reply = end.partial
            if reply != b"+PONG\r\n":
                break
            clients.append(client)
        assert reply == REFUSAL
        neighbours.go_on()
        assert 50 < len(clients) < 170
    for client in clients:
        client.close()


def test_idle_clients_are_closed_after_client_idle_timeout(launch):
    redpool = launch.redpool(launch.server(), pool={"clientIdleTimeout": "4s"})
    with Neighbours(redpool.tcp), redpool.connect(30) as idle, redpool.connect(30) as silent:
        # Before the daemon's clock starts.
        started = time.monotonic()
        assert idle.command("PING") == b"PONG"
        assert idle.read_until_closed() == b""
        assert 3.8 < time.monotonic() - started < 20
        assert silent.read_until_closed() == b""
