"""The package and its units under a real systemd: a Debian 12 that boots in a container."""

import contextlib
import os
import re
import socket
import subprocess
import threading
import urllib.request

import pytest

from harness.daemon import ROOT
from harness.guest import Guest, Unavailable
from harness.package import deb
from harness.trap import trap
from harness.waiting import always, comes, eventually
from harness.wire import Address, Connection

pytestmark = pytest.mark.daemon
UNITS = ("redpool.service", "redpool.socket", "redpool-failed.target")
CONFIG = "/etc/redpool/redpool.yaml"
SAMPLE = (ROOT / "packaging/deb/redpool.yaml").read_text()


@pytest.fixture(scope="module")
def booted():
    try:
        made = Guest()
    except Unavailable as reason:
        if os.getuid() != 0:
            pytest.skip(str(reason))
        pytest.fail(f"the units are not tested: {reason}", pytrace=False)
    install(made)
    made.systemctl("stop", *UNITS)
    yield made
    made.close()


def install(guest, package=None) -> str:
    """Installs the package of this tree, or another one. What dpkg and the package say."""
    guest.write("/root/redpool.deb", (package or deb()).read_bytes())
    done = guest.run("dpkg", "--install", "/root/redpool.deb")
    return done.stdout + done.stderr


@pytest.fixture
def guest(booted):
    """The guest with the shipped configuration, and Redpool not started."""
    yield booted
    booted.systemctl("disable", "redpool.socket")
    booted.systemctl("stop", *UNITS)
    booted.systemctl("reset-failed")
    booted.run("rm", "-rf", "/etc/systemd/system/redpool.service.d", "/run/redpool")
    booted.write(CONFIG, SAMPLE)
    booted.systemctl("daemon-reload")
    booted.systemctl("start", "redis-server.service")


def configure(guest, text):
    guest.write(CONFIG, text)


def in_pool(line) -> str:
    """The packaged configuration with a line in its pool."""
    return SAMPLE.replace("    # maxOpen: 32\n", f"    {line}\n")


def drop_in(guest, *lines):
    path = "/etc/systemd/system/redpool.service.d/test.conf"
    guest.write(path, "\n".join(["[Service]", *lines]))
    guest.systemctl("daemon-reload")


def answers(guest, port=6380) -> bool:
    try:
        with guest.connect(port, 5) as client:
            return client.command("PING") == b"PONG"
    except OSError:
        return False


def begin(guest):
    guest.systemctl("start", "redpool.service")
    eventually(lambda: answers(guest), what="an answer through Redpool")


# --- the package


def changed(folder, version):
    """The package of this tree with another version."""
    assert subprocess.run(["dpkg-deb", "--raw-extract", deb(), folder]).returncode == 0
    control = folder / "DEBIAN/control"
    control.write_text(re.sub("(?m)^Version: .*", f"Version: {version}", control.read_text()))
    made = folder.with_suffix(".deb")
    build = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", folder, made]
    assert subprocess.run(build, capture_output=True).returncode == 0
    return made


def state(guest, unit) -> list:
    return [guest.systemctl(word, unit, check=False).stdout.strip()
            for word in ("is-enabled", "is-active")]


def file_of(guest, path) -> tuple:
    facts = guest.path(path).stat()
    return facts.st_dev, facts.st_ino


def program_of(guest, pid) -> tuple:
    """The file that a process executes."""
    done = guest.run("stat", "--dereference", "--format=%d %i", f"/proc/{pid}/exe")
    return tuple(map(int, done.stdout.split()))


def test_the_life_of_the_package(guest, tmp_path):
    guest.run("dpkg", "--purge", "redpool")
    install(guest)
    assert state(guest, "redpool.service") == ["enabled", "active"]
    assert state(guest, "redpool.socket") == ["disabled", "inactive"]
    eventually(lambda: answers(guest), what="an answer through Redpool")

    first = guest.shows("MainPID")
    newer = changed(tmp_path / "newer", "9.0.0")
    # A key that the new version does not know.
    configure(guest, in_pool("oldKey: 1"))
    said = install(guest, newer)
    assert "upgrade refused: redpool.yaml:" in said and "oldKey: unknown key" in said, said
    assert "the process of the old version goes on" in said, said
    assert guest.shows("MainPID") == first and answers(guest)
    assert "9.0.0" in guest.run("dpkg-query", "--show", "redpool").stdout

    # Another one takes over, and no client notices.
    configure(guest, SAMPLE)
    with guest.connect() as idle, blocked(guest) as waiting:
        assert idle.command("MULTI") == b"OK"
        said = install(guest, changed(tmp_path / "newest", "9.0.1"))
        assert re.search(r"^redpool: upgraded .* 2 clients carried \(1 blocked\)$", said, re.M), said
        assert guest.shows("MainPID") == first
        assert program_of(guest, first) == file_of(guest, "/usr/bin/redpool")
        assert idle.command("RPUSH", "never", "x") == b"QUEUED" and idle.command("EXEC") == [1]
        assert waiting.read() == [b"never", b"x"]

    # No console, so nobody can be asked.
    configure(guest, SAMPLE + 'admin: {socket: ""}\n')
    guest.systemctl("restart", "redpool.service")
    first = guest.shows("MainPID")
    install(guest, newer)
    assert guest.shows("MainPID") not in ("0", first)
    eventually(lambda: answers(guest), what="an answer of the new process")
    # One at another place.
    configure(guest, SAMPLE + "admin: {socket: /run/redpool/other.sock}\n")
    guest.systemctl("restart", "redpool.service")
    first = guest.shows("MainPID")
    assert "redpool: upgraded " in install(guest, newer)
    assert guest.shows("MainPID") == first

    # What the operator has stopped or switched off stays so.
    guest.systemctl("disable", "--now", "redpool.service")
    install(guest, newer)
    assert state(guest, "redpool.service") == ["disabled", "inactive"]
    guest.systemctl("enable", "--now", "redpool.service", "redpool.socket")

    guest.write("/etc/redpool/main.password", "secret", 0o640)
    guest.run("dpkg", "--remove", "redpool")
    assert not answers(guest)
    assert guest.path(CONFIG).exists() and not guest.path("/usr/bin/redpool").exists()
    guest.run("dpkg", "--purge", "redpool")
    assert [path.name for path in guest.path("/etc/redpool").iterdir()] == ["main.password"]
    left = guest.run("find", "/etc/systemd", "/run/redpool", "/lib/systemd", "/var/lib/systemd",
                     "-name", "redpool*", check=False).stdout
    assert left == ""
    install(guest)


def test_a_password_file_that_only_root_can_read_refuses_an_upgrade(guest, tmp_path):
    """The check is that of the service's user."""
    begin(guest)
    first = guest.shows("MainPID")
    guest.write("/etc/redpool/main.password", "secret", 0o600)
    configure(guest, in_pool("passwordFile: main.password"))
    said = install(guest, changed(tmp_path / "newer", "9.0.0"))
    assert "main.password: cannot be read: Permission denied" in said, said
    assert guest.shows("MainPID") == first


# --- the units themselves


def test_the_units_are_valid(guest):
    paths = [guest.shows("FragmentPath", name) for name in UNITS]
    done = guest.run("systemd-analyze", "verify", *paths)
    assert done.stdout + done.stderr == ""


def test_the_sandbox_is_tight(guest):
    begin(guest)
    done = guest.run("systemd-analyze", "security", "--no-pager", "redpool.service")
    found = re.search(r"exposure level for redpool.service: ([\d.]+)", done.stdout)
    assert found and float(found[1]) <= 1.6, done.stdout[-2000:]


def test_the_status_says_what_is_down(guest):
    begin(guest)
    client = guest.connect()
    eventually(lambda: guest.shows("StatusText") == "1 pool, 1 client", what="the status")
    guest.systemctl("stop", "redis-server.service")
    eventually(
        lambda: guest.shows("StatusText") == "1 pool, 1 down (main: Connection refused), 1 client",
        what="the status of the outage")
    console = guest.run("redis-cli", "-s", "/run/redpool/admin.sock", "SHOW", "POOLS")
    assert re.search(r"^main +down +127.0.0.1:6379 ", console.stdout, re.M), console.stdout
    warnings = guest.journal("--priority=warning", "--output=short")
    assert any("pool.down" in line for line in warnings), warnings
    assert not any("ready" in line for line in warnings), warnings
    guest.systemctl("start", "redis-server.service")
    eventually(lambda: guest.shows("StatusText") == "1 pool, 1 client", what="the status again")
    client.close()


def test_every_metric_is_served_in_the_sandbox(guest):
    """At the address of the packaged configuration, those that come from /proc among them."""
    begin(guest)
    with guest.network():
        page = urllib.request.urlopen("http://127.0.0.1:9380/metrics", timeout=20)
    served = set(re.findall(r"^(\w+)", page.read().decode(), re.M))
    manual = (ROOT / "docs/monitoring.md").read_text()
    wanted = set(re.findall(r"^\| `(\w+)` \| (?:gauge|counter)", manual, re.M))
    # A pool with none of that has none of these.
    others = ("tls_", "sentinels", "primary_", "replica", "failovers_", "last_failover_", "cluster_",
              "pubsub_")
    wanted = {name for name in wanted if not name.removeprefix("redpool_").startswith(others)}
    assert len(wanted) > 30 and wanted - served == set()


def test_unix_sockets_on_both_sides(guest):
    """Clients in the unit's own folder, and a server whose socket only its group may open."""
    upstream = "/run/redis/redis-server.sock"
    lines = f"unixsocket {upstream}\\nunixsocketperm 770"
    guest.run("sed", "-i", f"$ a {lines}", "/etc/redis/redis.conf")
    guest.systemctl("restart", "redis-server.service")
    configure(
        guest, "pools: {main: {listen: ['unix:/run/redpool/main.sock', '127.0.0.1:6380'], "
        f"upstream: 'unix:{upstream}'}}}}")
    guest.systemctl("start", "redpool.service")
    eventually(lambda: "Permission denied" in guest.shows("StatusText"), what="the missing right")
    guest.run("usermod", "--append", "--groups", "redis", "redpool")
    guest.systemctl("restart", "redpool.service")
    eventually(lambda: answers(guest), what="an answer over the server's socket")
    done = guest.run("redis-cli", "-s", "/run/redpool/main.sock", "PING")
    assert done.stdout == "PONG\n"
    mode = guest.run("stat", "--format=%a %U %G", "/run/redpool", "/run/redpool/main.sock").stdout
    assert mode.splitlines() == ["755 redpool redpool", "660 redpool redpool"]


# --- upgrades in place


def replace_program(guest):
    """Another file in place of the program, as dpkg does it."""
    guest.run("cp", "/usr/bin/redpool", "/usr/bin/redpool.new")
    guest.run("mv", "/usr/bin/redpool.new", "/usr/bin/redpool")


def upgrade(guest) -> tuple:
    done = guest.run("redpool", "upgrade", check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


def restarts(guest) -> tuple:
    return guest.shows("MainPID"), guest.shows("NRestarts"), guest.shows("ActiveState")


def test_upgrades_in_the_sandbox(guest):
    """The process and its clients stay, and systemd hears of it. The file of the program that
    executes is deleted each time."""
    drop_in(guest, "WatchdogSec=1s")
    begin(guest)
    before, changed_at = restarts(guest), guest.shows("StateChangeTimestampMonotonic")
    warnings = len(guest.journal("--priority=warning"))
    with guest.connect() as idle, blocked(guest) as waiting:
        assert idle.command("WATCH", "a") == b"OK"
        for _ in range(3):
            replace_program(guest)
            code, said = upgrade(guest)
            assert code == 0 and " 2 clients carried (1 blocked)" in said, said
            assert restarts(guest) == before
            assert program_of(guest, before[0]) == file_of(guest, "/usr/bin/redpool")
            # It was reloading for a moment.
            assert guest.shows("StateChangeTimestampMonotonic") != changed_at
            changed_at = guest.shows("StateChangeTimestampMonotonic")
        assert idle.command("MULTI") == b"OK" and idle.command("EXEC") == []
        # The watchdog goes on.
        always(lambda: restarts(guest) == before, 3, 0.1, "the same process")
        assert guest.shows("StatusText") == "1 pool, 2 clients"
        assert idle.command("RPUSH", "never", "x") == 1 and waiting.read() == [b"never", b"x"]
    assert guest.journal("--priority=warning")[warnings:] == []


def test_the_way_back_in_the_sandbox(guest, tmp_path):
    """The other program traps, and its predecessor, whose file is deleted, is executed again."""
    guest.write("/usr/lib/trap.so", trap(tmp_path, "/run/redpool/trap").read_bytes(), 0o755)
    drop_in(guest, "Environment=LD_PRELOAD=/usr/lib/trap.so")
    begin(guest)
    before, first = restarts(guest), program_of(guest, guest.shows("MainPID"))
    with guest.connect() as idle, blocked(guest) as waiting:
        assert idle.command("MULTI") == b"OK"
        guest.write("/run/redpool/trap", "")
        for _ in range(2):
            replace_program(guest)
            code, said = upgrade(guest)
            assert code == 1 and said.startswith("redpool: upgrade failed: "), said
            assert " ended with signal 11 before it took over; " in said, said
            assert restarts(guest) == before and program_of(guest, before[0]) == first
        guest.run("rm", "/run/redpool/trap")
        code, said = upgrade(guest)
        assert code == 0 and program_of(guest, before[0]) != first, said
        assert restarts(guest) == before
        assert idle.command("RPUSH", "never", "x") == b"QUEUED" and idle.command("EXEC") == [1]
        assert waiting.read() == [b"never", b"x"]


def test_a_program_that_is_none_is_refused_in_the_sandbox(guest):
    begin(guest)
    before = restarts(guest)
    with guest.connect() as idle:
        assert idle.command("PING") == b"PONG"
        guest.run("mv", "/usr/bin/redpool", "/usr/bin/redpool.old")
        guest.write("/usr/bin/redpool", "no program", 0o755)
        words = ("redpool.old", "upgrade")
        done = guest.run(*words, check=False)
        said = "upgrade refused: cannot execute /usr/bin/redpool: Exec format error"
        assert (done.returncode, done.stderr) == (1, f"redpool: {said}\n")
        guest.run("mv", "/usr/bin/redpool.old", "/usr/bin/redpool")
        assert upgrade(guest)[0] == 0
        assert restarts(guest) == before and idle.command("PING") == b"PONG"


# --- restarts and drains


class Load:
    """Clients that connect in a loop, each to send one command. Counts what fails."""

    def __init__(self, guest, clients):
        self._guest = guest
        self._ends = threading.Event()
        self.refused, self.closed, self.served = [], [], 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._loop) for _ in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ends.set()
        for thread in self._threads:
            thread.join(60)

    def _loop(self):
        with self._guest.network():
            while not self._ends.is_set():
                self._session()

    def _session(self):
        try:
            client = Connection(Address("127.0.0.1", 6380), 20)
        except OSError as failure:
            with self._lock:
                self.refused.append(failure)
            self._ends.wait(0.001)
            return
        try:
            with client:
                assert client.command("PING") == b"PONG"
            with self._lock:
                self.served += 1
        except (OSError, AssertionError) as failure:
            # It was accepted before the drain, which closes idle clients.
            with self._lock:
                self.closed.append(failure)


@contextlib.contextmanager
def blocked(guest):
    """A client in BLPOP without a timeout."""
    with guest.connect() as client:
        client.send(b"*3\r\n$5\r\nBLPOP\r\n$5\r\nnever\r\n$1\r\n0\r\n")
        with guest.connect() as other:
            eventually(lambda: b" cmd=blpop" in other.command("CLIENT", "LIST"), what="BLPOP")
        yield client


def test_restarts_with_the_socket_unit_refuse_nobody(guest, full):
    guest.systemctl("start", "redpool.socket")
    begin(guest)
    count = 50 if full else 5
    with Load(guest, 8) as load:
        for _ in range(count):
            with blocked(guest) as client:
                served = load.served
                eventually(lambda: load.served > served, what="clients being served")
                guest.systemctl("restart", "redpool.service")
                assert client.read() is None
    print(f"{count} restarts: {load.served} served, {len(load.refused)} failed connects, "
          f"{len(load.closed)} closed before their reply")
    assert load.refused == [] and load.served > 0
    assert len(load.closed) <= 8 * count
    assert guest.shows("NRestarts") == "0"


@pytest.mark.parametrize("sockets", ["own", "passed"])
def test_upgrades_refuse_and_close_nobody(guest, full, sockets):
    if sockets == "passed":
        guest.systemctl("start", "redpool.socket")
    begin(guest)
    before, count = restarts(guest), 50 if full else 5
    with Load(guest, 8) as load, blocked(guest) as client:
        for _ in range(count):
            served = load.served
            eventually(lambda: load.served > served, what="clients being served")
            code, said = upgrade(guest)
            assert code == 0 and "(1 blocked)" in said, said
        guest.run("redis-cli", "RPUSH", "never", "x")
        assert client.read() == [b"never", b"x"]
    print(f"{count} upgrades: {load.served} served")
    assert (load.refused, load.closed) == ([], []) and load.served > 0
    assert restarts(guest) == before
    # The sockets are still those of systemd.
    guest.systemctl("stop", "redpool.service")
    if sockets == "passed":
        assert answers(guest) and guest.shows("MainPID") not in ("0", before[0])
    else:
        assert not answers(guest)


def drain_time(guest) -> float:
    """Milliseconds from systemd's signal to the end of the process."""
    stop = int(guest.shows("ActiveExitTimestampMonotonic"))
    end = int(guest.shows("ExecMainExitTimestampMonotonic"))
    assert 0 < stop <= end
    return (end - stop) / 1000


@pytest.mark.alone
def test_a_drain_takes_no_time(guest, full):
    times = []
    for _ in range(200 if full else 20):
        begin(guest)
        with blocked(guest) as client, contextlib.ExitStack() as idle:
            for _ in range(20):
                assert idle.enter_context(guest.connect()).command("PING") == b"PONG"
            guest.systemctl("stop", "redpool.service")
            assert client.read() is None
        times.append(drain_time(guest))
    median = sorted(times)[len(times) // 2]
    print(f"{len(times)} drains: median {median:.0f} ms, max {max(times):.0f} ms")
    assert max(times) < 300


def test_a_drain_may_take_longer_than_the_unit_allows(guest):
    """A transaction stays open for longer than TimeoutStopSec; drainTimeout is longer still."""
    drop_in(guest, "TimeoutStopSec=1s")
    configure(guest, "pools: {main: {listen: '127.0.0.1:6380', upstream: '127.0.0.1:6379'}}\n"
              "drainTimeout: 30s")
    begin(guest)
    with guest.connect() as client:
        assert client.command("MULTI") == b"OK"
        guest.systemctl("stop", "--no-block", "redpool.service")
        eventually(lambda: guest.shows("ActiveState") == "deactivating", what="the drain")
        assert not comes(lambda: guest.shows("ActiveState") != "deactivating", 2.5)
        assert client.command("EXEC") == []
    eventually(lambda: guest.shows("ActiveState") == "inactive", what="the end")
    assert guest.shows("Result") == "success"


# --- what goes wrong


def test_a_process_that_stands_still_is_restarted(guest):
    drop_in(guest, "WatchdogSec=1s")
    begin(guest)
    old = guest.shows("MainPID")
    guest.systemctl("kill", "--kill-who=main", "--signal=STOP", "redpool.service")
    eventually(lambda: guest.shows("NRestarts") == "1", what="the restart")
    eventually(lambda: answers(guest), what="an answer of the next process")
    assert guest.shows("MainPID") != old
    assert any("watchdog" in line for line in guest.journal("--lines=20"))


def test_a_port_in_use_costs_few_lines(guest, full):
    seconds = 60 if full else 20
    with guest.network():
        other = socket.create_server(("127.0.0.1", 6380))
    lines = len(guest.journal())
    guest.systemctl("start", "--no-block", "redpool.service")
    always(lambda: guest.shows("ActiveState") != "active", seconds, 0.5, "the unit's start")
    found = guest.journal()[lines:]
    other.close()
    print(f"{len(found)} lines in {seconds} s")
    assert 0 < len(found) < 100 * seconds / 60, found
    assert sum("Address already in use" in line for line in found) >= seconds // 12, found
    eventually(lambda: answers(guest), 30, what="an answer once the port is free")


def test_an_outage_of_the_server(guest):
    """Clients are refused and stay, the journal stays short, and the service is not restarted."""
    begin(guest)
    first, lines = guest.shows("MainPID"), len(guest.journal())
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(guest.connect()) for _ in range(20)]

        def said(client) -> bytes:
            return client.command("PING").split(b" ")[0]

        assert {said(client) for client in clients} == {b"PONG"}
        guest.systemctl("stop", "redis-server.service")
        # The connections that are open end first: what is sent over them is retried or refused.
        always(lambda: {said(client) for client in clients} <= {b"PONG", b"UPSTREAMDOWN"},
               20, 0.1, "an answer to each client")
        assert {said(client) for client in clients} == {b"UPSTREAMDOWN"}
        guest.systemctl("start", "redis-server.service")
        eventually(lambda: {said(client) for client in clients} == {b"PONG"}, what="the end")
    assert guest.shows("MainPID") == first
    found = guest.journal()[lines:]
    assert len(found) <= 12, found
    assert any("pool.down" in line for line in found)
    up = [line for line in found if "pool.up" in line]
    assert len(up) == 1 and re.search(r"down_ms=[12]\d{4}\b.* refused=\d{3,}", up[0]), found


def test_a_wrong_configuration_is_not_tried_again(guest):
    configure(guest, "pools: {main: {listen: '127.0.0.1:6380', upstraem: '127.0.0.1:6379'}}")
    assert guest.systemctl("start", "redpool.service", check=False).returncode != 0
    assert guest.shows("ActiveState") == "failed" and guest.shows("ExecMainStatus") == "78"
    assert any("did you mean upstream?" in line for line in guest.journal("--lines=20"))


def test_a_wrong_configuration_closes_the_sockets(guest):
    """Else each client that waits there would start Redpool again."""
    guest.systemctl("enable", "--now", "redpool.socket")
    begin(guest)
    lines = len(guest.journal())
    configure(guest, "pools: {main: {listen: '127.0.0.1:6380', upstraem: '127.0.0.1:6379'}}")
    with Load(guest, 8) as load:
        assert guest.systemctl("restart", "redpool.service", check=False).returncode != 0
        eventually(lambda: load.refused, what="clients being refused")
        always(lambda: guest.shows("ActiveState", "redpool.socket") == "inactive", 1)
    assert len(guest.journal()) - lines < 30
    configure(guest, SAMPLE)
    guest.systemctl("restart", "redpool.service")
    assert guest.shows("ActiveState", "redpool.socket") == "active" and answers(guest)


def test_a_refused_reload_fails_and_changes_nothing(guest):
    begin(guest)
    before = guest.shows("MainPID")
    guest.systemctl("reload", "redpool.service")
    with guest.connect() as client:
        assert client.command("PING") == b"PONG"
        configure(guest, in_pool("maxOpen: 7").replace("maxOpen: 7", "maxOpen: 7\n    maxopen: 8"))
        lines = len(guest.journal())
        done = guest.systemctl("reload", "redpool.service", check=False)
        assert done.returncode != 0 and "failed" in done.stderr, done
        said = "\n".join(guest.journal()[lines:])
        assert "maxopen: unknown key (did you mean maxOpen?)" in said, said
        assert "redpool: nothing was changed:" in said, said
        eventually(lambda: "last reload refused" in guest.shows("StatusText"), what="the status")
        assert guest.shows("ActiveState") == "active" and guest.shows("MainPID") == before
        console = guest.run("redis-cli", "-s", "/run/redpool/admin.sock", "SHOW", "POOLS", "JSON")
        assert '"max_open": 32' in console.stdout, console.stdout
        assert client.command("PING") == b"PONG" and answers(guest)
        configure(guest, in_pool("maxOpen: 7"))
        guest.systemctl("reload", "redpool.service")
        console = guest.run("redis-cli", "-s", "/run/redpool/admin.sock", "SHOW", "POOLS", "JSON")
        assert '"max_open": 7' in console.stdout, console.stdout
        assert client.command("PING") == b"PONG" and guest.shows("MainPID") == before
        eventually(lambda: guest.shows("StatusText") == "1 pool, 1 client", what="the status")


def test_a_crash_is_restarted(guest):
    begin(guest)
    guest.systemctl("kill", "--kill-who=main", "--signal=KILL", "redpool.service")
    eventually(lambda: guest.shows("NRestarts") == "1", what="the restart")
    eventually(lambda: answers(guest), what="an answer of the next process")
