"""Metrics, health, readiness and the page: over HTTP, from a running daemon."""

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from harness.http import Http, check_growth, check_identities, read_all, total
from harness.tasks import stopped, tasks
from harness.waiting import always, comes, eventually
from harness.wire import Closed, Connection, encode

pytestmark = pytest.mark.daemon


@pytest.fixture(scope="module")
def http():
    return Http()


@pytest.fixture(scope="module")
def daemon(server, http):
    """A daemon that serves HTTP, in front of the module's server."""
    from harness.daemon import Redpool

    made = Redpool(server, settings=http.settings)
    yield made
    code = made.stop()
    made.close()
    assert code == 0


def test_a_scrape(daemon, http):
    with daemon.connect() as client:
        for number in range(5):
            client.command("SET", "key", number)
        assert b"WRONGTYPE" in client.command("LPUSH", "key", "x")
        before = http.metrics()
        answer = http.get("/metrics")
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert answer.headers["connection"] == "close"
        for name, value in {
            "redpool_clients": 1, "redpool_pool_up": 1, "redpool_pool_max_open": 32,
            "redpool_pool_max_pinned": 28, "redpool_pool_waiting": 0,
        }.items():
            assert before[f'{name}{{pool="main"}}'] == value, name
        assert before["redpool_draining"] == 0 and before["redpool_max_clients"] > 100
        assert before["redpool_config_last_reload_successful"] == 1
        started = before["process_start_time_seconds"]
        assert abs(started - before["redpool_config_last_reload_success_timestamp_seconds"]) < 60
        assert 0 <= time.time() - started < 600
        assert before["process_resident_memory_bytes"] > 1 << 20
        assert before["process_open_fds"] == pytest.approx(daemon.fds(), abs=5)
        assert total(before, "redpool_error_replies_total", code="WRONGTYPE") >= 1
        assert total(before, "redpool_dials_total", result="ok") >= 1
        client.command("GET", "key")
        client.command("BLPOP", "nothing", "0.01")
        after = http.metrics()
        for route in ("shared", "pinned"):
            grown = {
                moment: total(metrics, "redpool_commands_total", route=route)
                for moment, metrics in (("before", before), ("after", after))
            }
            assert grown["after"] - grown["before"] == (1 if route == "shared" else 1)
        # A command that blocks has no time.
        assert total(after, "redpool_upstream_seconds_count") == 1 + total(
            before, "redpool_upstream_seconds_count")
        check_growth(before, after)
        check_identities(after, "main")


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool_finds_nothing(daemon, http):
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=http.get("/metrics").body, capture_output=True,
        timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


class Crowd:
    """Clients that come, do all kinds of things, and leave in all kinds of ways."""

    def __init__(self, redpool, server, seed):
        self._redpool, self._server = redpool, server
        self._chance = random.Random(seed)
        self._clients = []

    def step(self):
        chance = self._chance
        if len(self._clients) < 12:
            self._clients.append(self._redpool.connect())
        client = chance.choice(self._clients)
        with contextlib.suppress(OSError, Closed):
            getattr(self, chance.choice([
                "ask", "ask", "pipeline", "block", "hold", "subscribe", "offend", "leave", "break_off",
                "lose", "lose",
            ]))(client)

    def ask(self, client):
        client.send(encode("SET", "k", self._chance.random()))

    def pipeline(self, client):
        client.send(b"".join(encode("GET", "k") for _ in range(self._chance.randrange(1, 200))))

    def block(self, client):
        client.send(encode("BLPOP", "nothing", "0.05"))

    def hold(self, client):
        client.send(encode("WATCH", "k") + encode("MULTI"))

    def subscribe(self, client):
        client.send(encode("SUBSCRIBE", "news"))

    def offend(self, client):
        client.send(b"*1\r\n$x\r\n")

    def leave(self, client):
        self._clients.remove(client)
        client.close()

    def break_off(self, client):
        self._clients.remove(client)
        client.reset()

    def lose(self, _):
        self._server.command("CLIENT", "KILL", "TYPE", self._chance.choice(["normal", "pubsub"]))

    def close(self):
        for client in self._clients:
            client.close()


@pytest.mark.parametrize("threads", [1, 3])
def test_the_identities_hold_through_chaos(launch, threads):
    http, server = Http(), launch.server()
    redpool = launch.redpool(
        server, pool={"maxOpen": 6, "maxPinned": 4, "poolTimeout": "50ms"},
        settings=http.settings | {"threads": threads})
    crowd, before = Crowd(redpool, server, threads), http.metrics()
    for _ in range(40):
        for _ in range(20):
            crowd.step()
        after = http.metrics()
        check_identities(after, "main")
        check_growth(before, after)
        before = after
    crowd.close()
    with redpool.connect() as client:
        # Not every crowd meets an error of the server's.
        answers = []
        assert comes(
            lambda: answers.append(client.command("SET", "k", "v")) or answers[-1] == b"OK", 20
        ), (answers[-1], redpool.log())
        eventually(lambda: b"WRONGTYPE" in client.command("LPUSH", "k", "x"), what="an error")
    eventually(lambda: total(http.metrics(), "redpool_clients") == 0, what="all clients gone")
    after = http.metrics()
    check_identities(after, "main")
    for name in (
        "clients_closed_total", "upstreams_closed_total", "error_replies_total",
        "leases_total", "received_bytes_total", "sent_bytes_total",
    ):
        assert total(after, f"redpool_{name}") > 0, name


def test_what_passes_through_a_pipe_is_counted(daemon, http):
    with daemon.connect() as client:
        assert client.command("MULTI") == b"OK"
        # Nobody can follow what EXEC will do with this.
        assert client.command("SUBSCRIBE", "c") == b"QUEUED"
        assert client.command("EXEC") == [[b"subscribe", b"c", 1]]
        before = http.metrics()
        for _ in range(10):
            assert client.command("PING") == [b"pong", b""]
        client.send(b"PING inline\r\n")
        assert client.read() == [b"pong", b"inline"]
        after = http.metrics()
        for route, grown in {"pinned": 11, "shared": 0, "local": 0}.items():
            assert grown == (
                total(after, "redpool_commands_total", route=route)
                - total(before, "redpool_commands_total", route=route)), route


def test_a_paused_pool_is_shown(launch):
    http = Http()
    redpool = launch.redpool(launch.server(), settings=http.settings, console=True)
    redpool.warm_up()
    assert http.metrics()['redpool_pool_paused{pool="main"}'] == 0
    with redpool.console() as console, redpool.connect() as client:
        assert client.command("SUBSCRIBE", "c") == [b"subscribe", b"c", 1]
        assert console.command("PAUSE", "main", "MAX", "60s").startswith(b"OK")
        client.send(encode("PING"))
        eventually(lambda: http.metrics()['redpool_pool_waiting{pool="main"}'] == 1)
        assert http.metrics()['redpool_pool_paused{pool="main"}'] == 1
        assert http.get("/readyz").text == "pool main: paused\n"
        assert "<li>pool main is paused" in http.get("/").text
        assert console.command("RESUME", "main") == b"OK"
        assert client.read() == [b"pong", b""]
    metrics = http.metrics()
    assert metrics['redpool_pool_paused{pool="main"}'] == 0
    assert metrics['redpool_pool_waiting{pool="main"}'] == 0


def test_ready_and_healthy(launch):
    http, server = Http(), launch.server()
    redpool = launch.redpool(
        server,
        pools={"other": {"listen": f"127.0.0.1:{Http().address.port}",
                         "upstream": server.tcp.text, "minIdle": 0}},
        settings=http.settings)

    def status(path):
        return http.get(path).status

    eventually(lambda: status("/readyz") == 200, what="ready")
    assert http.get("/readyz").text == "ready\n"
    assert status("/readyz?pool=main") == status("/readyz?pool=other") == 200
    assert status("/readyz?pool=none") == 404
    server.stop()
    with redpool.connect() as client:
        eventually(lambda: b"UPSTREAMDOWN" in client.command("PING"), what="the outage")
    answer = http.get("/readyz")
    assert answer.status == 503
    assert re.fullmatch(r"pool main: no upstream: .*\n", answer.text), answer.text
    assert status("/readyz?pool=main") == 503
    # Nobody has used this pool since.
    assert status("/readyz?pool=other") == 200
    # That is no reason to restart Redpool.
    assert status("/healthz") == 200 and http.get("/healthz").text == "ok\n"
    metrics = http.metrics()
    assert metrics['redpool_pool_up{pool="main"}'] == 0
    assert total(metrics, "redpool_refused_commands_total", reason="upstream_down") > 0
    assert total(metrics, "redpool_dials_total", result="connect_failed") > 0
    page = http.get("/").text
    assert "<title>Redpool: 1 problem</title>" in page
    assert "<li>pool main has no upstream connection: " in page
    server.start()
    eventually(lambda: status("/readyz") == 200, what="ready again")


def test_what_is_not_ready_while_draining(launch):
    http, server = Http(), launch.server()
    redpool = launch.redpool(server, settings=http.settings | {"drainTimeout": "20s"})
    with redpool.connect() as client:
        client.command("MULTI")
        redpool.signal()
        eventually(lambda: http.get("/readyz").text == "draining\n", what="draining")
        assert http.metrics()["redpool_draining"] == 1
        assert http.get("/healthz").status == 200
        client.command("EXEC")
    assert redpool.wait() == 0


@pytest.mark.parametrize("threads", [1, 2])
def test_a_worker_that_hangs(launch, threads):
    """It counts with its last numbers, and the others go on."""
    http, server = Http(), launch.server()
    redpool = launch.redpool(server, settings=http.settings | {"threads": threads})
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(redpool.connect()).command("PING")
        before = http.metrics()
        with stopped(tasks(redpool.process)[f"worker-{threads - 1}"]):
            health = eventually(lambda: (said := http.get("/healthz")).status == 503 and said)
            assert health.text == f"hanging: worker {threads - 1}\n"
            after = http.metrics()
            check_growth(before, after)
            check_identities(after, "main")
            assert total(after, "redpool_clients") == 4
            assert f"worker {threads - 1} does not answer" in http.get("/readyz").text
            assert f"<li>worker {threads - 1} does not answer</li>" in http.get("/").text
        eventually(lambda: http.get("/healthz").status == 200, what="health")
        assert http.get("/readyz").status == 200


def test_only_get_and_head(daemon, http):
    assert http.get("/nothing").status == 404
    whole, head = http.get("/metrics"), http.get("/metrics", method="HEAD")
    assert head.status == 200 and head.body == b"" and whole.body
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert http.get("/readyz", method="HEAD").body == b""
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        answer = http.get("/metrics", method=method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD"), method
    # A body is not taken, nor is it the next request.
    inner = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    for method in (b"GET", b"POST"):
        head = method + b" /metrics HTTP/1.1\r\nHost: a\r\n"
        for body in (
            b"Content-Length: %d\r\n\r\n%b" % (len(inner), inner),
            b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner),
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
        ):
            assert b" 200 OK" not in http.send(head + body), (method, body)
    # A second request behind the first gets nothing.
    two = http.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
    assert two.count(b"HTTP/1.1 200 OK") == 1
    assert http.get("/healthz").status == 200


@pytest.mark.parametrize("garbage", [
    b"GET /metrics\r\n\r\n", b"\r\n\r\n", b"\x00" * 100 + b"\r\n\r\n", b"*1\r\n$4\r\nPING\r\n\r\n",
    b"GET http://[::/ HTTP/1.1\r\n\r\n", b"BREW /metrics HTTP/1.1\r\n\r\n",
    b"GET /metrics HTTP/9.9\r\n\r\n", b"GET /%00%ff?pool=%3cscript HTTP/1.1\r\n\r\n",
])
def test_garbage_does_no_harm(daemon, http, garbage):
    with http.connect() as connection:
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        assert b"HTTP/1.1 200" not in read_all(connection)
    assert http.get("/healthz").status == 200


def test_long_headers_are_refused(daemon, http):
    fitting = http.get("/healthz", headers=["X-Long: " + "x" * 8000])
    assert fitting.status == 200
    for raw in (
        b"GET /healthz HTTP/1.1\r\nX-Long: " + b"x" * 9000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nX-Long: " + b"x" * 200_000,
        b"GET /" + b"x" * 200_000,
    ):
        assert b"HTTP/1.1 200" not in http.send(raw)
    assert http.get("/healthz").status == 200


def test_connections_are_few_and_short(launch):
    """32 that send a byte now and then hold up others until their time is over, not for longer."""
    http, server = Http(), launch.server()
    redpool = launch.redpool(server, settings=http.settings)
    before = redpool.fds()
    began = time.monotonic()
    slow = [http.connect() for _ in range(40)]
    with contextlib.ExitStack() as stack:
        for connection in slow:
            stack.enter_context(connection)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
        eventually(lambda: redpool.fds() == before + 32, what="32 connections")
        # One that waits is served as soon as there is room.
        late = stack.enter_context(http.connect())
        late.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        while time.monotonic() - began < 4.5:
            assert redpool.fds() <= before + 32
            for connection in slow:
                connection.sendall(b"x")
            # It is the subject of the test that they send slowly.
            time.sleep(0.3)
        assert read_all(late).startswith(b"HTTP/1.1 200 OK")
        assert time.monotonic() - began < 9
        for connection in slow[:32]:
            assert read_all(connection) == b""
    eventually(lambda: redpool.fds() == before, what="no connection left")
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"


def test_without_descriptors_it_waits(launch):
    http, server = Http(), launch.server()
    redpool = launch.redpool(server, settings=http.settings)
    assert http.get("/healthz").status == 200
    redpool.limit_fds(3)
    with http.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        before = redpool.cpu_seconds()
        # It neither turns in circles nor fills the log meanwhile.
        always(lambda: redpool.cpu_seconds() - before < 0.3, 1.2, what="a quiet process")
        assert "[warn]" not in redpool.log()
        redpool.limit_fds(None)
        assert read_all(connection).startswith(b"HTTP/1.1 200 OK")


def test_many_at_once_are_all_served(daemon, http):
    connections = []
    for _ in range(90):
        connections.append(http.connect())
        connections[-1].sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
    for connection in connections:
        with connection:
            assert read_all(connection).startswith(b"HTTP/1.0 200 OK")


def test_clients_that_leave_without_reading(daemon, http):
    for _ in range(50):
        connection = http.connect()
        connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        connection.close()
    assert http.get("/metrics").status == 200


def test_a_busy_port_is_a_warning(launch):
    http, server = Http(), launch.server()
    with socket.create_server((http.address.host, http.address.port)):
        redpool = launch.redpool(server, settings=http.settings)
        assert redpool.log().count("event=http.unavailable") == 1
        assert "Address already in use" in redpool.log()
        with redpool.connect() as client:
            assert client.command("PING") == b"PONG"


def test_off_unless_set(launch):
    redpool = launch.redpool(launch.server())
    listening = subprocess.run(
        ["ss", "-Hltnp"], capture_output=True, text=True, timeout=60).stdout
    mine = [line for line in listening.splitlines() if f"pid={redpool.process.pid}," in line]
    assert len(mine) <= 2, mine


def test_nothing_of_what_clients_say_is_shown(launch):
    http, server = Http(), launch.server(password="secret-password")
    redpool = launch.redpool(server, settings=http.settings)
    with redpool.connect() as client:
        assert client.command("AUTH", "secret-password") == b"OK"
        client.command("AUTH", "secret-guess")
        client.command("CLIENT", "SETNAME", "secret-name")
        client.command("SET", "secret-key", "secret-value")
        client.command("NOSUCH", "secret-argument")
        client.command("LPUSH", "secret-key", "secret-value")
        client.command("SECRET-COMMAND")
        client.send(encode("BLPOP", "secret-list", "0"))
        peer = "%s:%d" % client.socket.getsockname()
        for path in ("/metrics", "/", "/readyz", "/secret-path"):
            text = http.get(path).text
            assert "secret" not in text.lower() and peer not in text
    assert "secret" not in redpool.log().lower()


def test_the_page(daemon, http):
    with daemon.connect() as client:
        client.command("PING")
        answer = http.get("/")
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        page = answer.text
        assert "All is well." in page and "<td>main</td><td>up</td>" in page
        assert page.count("<svg") == 2 and "<script" not in page


def test_counters_of_the_log(launch):
    http, server = Http(), launch.server()
    redpool = launch.redpool(server, settings=http.settings)

    def lines(level):
        return total(http.metrics(), "redpool_log_lines_total", level=level)

    before = lines("notice")
    # As root there is one about that.
    assert before >= 1 and lines("warning") == (os.getuid() == 0)
    # The reload is one notice.
    redpool.signal(signal.SIGHUP)
    eventually(lambda: lines("notice") == before + 1)
    assert lines("warning") == (os.getuid() == 0) and lines("error") == 0
    assert total(http.metrics(), "redpool_log_lines_lost_total") == 0


def test_slow_readers_of_a_scrape(daemon, http):
    """A scraper that does not read is dropped after 5 s and costs nobody anything meanwhile."""
    with http.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        with daemon.connect() as client:
            assert client.command("PING") == b"PONG"
        assert http.get("/healthz").status == 200


def test_it_answers_while_a_client_is_refused(launch):
    http, server = Http(), launch.server()
    redpool = launch.redpool(server, settings=http.settings | {"maxClients": 2})
    with redpool.connect() as one, redpool.connect() as other:
        one.command("PING"), other.command("PING")
        assert b"max number of clients" in Connection(redpool.tcp).read_until_closed()
        metrics = http.metrics()
        assert total(metrics, "redpool_clients_rejected_total", reason="max_clients") == 1
        assert total(metrics, "redpool_clients_rejected_total", reason="fd_limit") == 0
        assert metrics['redpool_clients{pool="main"}'] == 2
        check_identities(metrics, "main")
