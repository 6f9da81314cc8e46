"""Reload by SIGHUP: broken files change nothing, pools and listeners come and go, and systemd is told."""

import contextlib
import os
import re
import signal
import socket

import pytest

from harness.daemon import run_cli, yaml
from harness.load import Neighbours
from harness.ports import free_port
from harness.tasks import stopped, tasks
from harness.waiting import eventually
from harness.wire import Address, Closed, Connection, ErrorReply, encode

pytestmark = pytest.mark.daemon
BOTH = pytest.mark.parametrize("threads", [1, 2])


def in_blpop(server):
    return int(server.info("blocked_clients"))


# Refused files.

BROKEN = {
    "syntax": ("pools: {main: [", []),
    "unknown key": (None, [{"maxopen": 3}, "maxopen: unknown key"]),
    "no pool": ("pools: {}\n", []),
    "two problems": (None, [{"maxOpen": 0, "idleTimeout": "5"}, "maxOpen", "idleTimeout"]),
    "no password file": (
        None, [{"username": "u", "passwordFile": "/no/such"}, "passwordFile: /no/such"],
    ),
    "address of another": (
        None, [
            {"listen": "192.0.2.1:7", "allowUnauthenticated": True}, "cannot listen on 192.0.2.1:7",
        ],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
@BOTH
def test_a_broken_file_changes_nothing(launch, name, threads):
    """Every problem has its place in the file."""
    server = launch.server()
    redpool = launch.redpool(server, settings={"threads": threads})
    text, (changes, *words) = BROKEN[name][0], BROKEN[name][1] or [{}]
    new = free_port()
    with redpool.connect() as client, Connection(redpool.unix) as other:
        assert client.command("PING") == b"PONG" == other.command("PING")
        before = redpool.fds()
        if not text:
            # All but the problem is possible, and must not happen either.
            file = {"pools": {"main": redpool.file["pools"]["main"] | {"denyCommands": ["PING"]}}}
            file["pools"]["main"] |= {"listen": f"127.0.0.1:{new}"} | changes
            file["pools"]["added"] = {"listen": f"127.0.0.1:{new + 1 if new % 2 else new - 1}"}
            file["pools"]["added"] |= {"upstream": server.unix.text, "minIdle": 0}
            text = yaml(file)
        redpool.reload_file(text, refused=True)
        problems = [line for line in redpool.log().splitlines() if "reload.problem" in line]
        assert problems and len(problems) >= len(words)
        assert all(re.search(r"redpool\.yaml:\d+:\d+: ", line) for line in problems), problems
        for word in words:
            assert any(word in line for line in problems), problems
        assert client.command("PING") == b"PONG" == other.command("PING")
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", new))
        with Connection(redpool.unix) as fresh:
            assert fresh.command("PING") == b"PONG"
        eventually(lambda: redpool.fds() == before, what="no descriptor more")


def test_a_file_that_is_gone_changes_nothing(launch):
    redpool = launch.redpool(launch.server())
    redpool.config_path.unlink()
    redpool.signal(signal.SIGHUP)
    eventually(lambda: "reload.refused" in redpool.log())
    assert "cannot read" in redpool.log()
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"


def test_an_address_in_use_refuses_the_reload_at_once(launch):
    redpool = launch.redpool(launch.server())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        redpool.file["pools"]["main"]["listen"].append(place)
        redpool.reload_file(yaml(redpool.file), refused=True)
        assert f"cannot listen on {place}: Address already in use" in redpool.log()


# Pools and listeners.


def pool(address, server, **more):
    return {"listen": address.text, "upstream": server.tcp.text} | more


@BOTH
def test_pools_come_and_go(launch, threads):
    one, two = launch.server(), launch.server()
    two.command("SET", "name", "two")
    redpool = launch.redpool(one, settings={"threads": threads})
    place = Address(host="127.0.0.1", port=free_port())
    with redpool.connect() as stays:
        assert stays.command("PING") == b"PONG"
        before = redpool.fds()
        for _ in range(3):
            redpool.file["pools"]["added"] = pool(place, two, minIdle=2)
            redpool.reload()
            eventually(lambda: two.client_count() == 2, what="the pool's warm upstreams")
            with Connection(place) as client, Connection(place) as blocked:
                assert client.command("GET", "name") == b"two"
                blocked.send(encode("BLPOP", "never", "0"))
                eventually(lambda: in_blpop(two) == 1)
                del redpool.file["pools"]["added"]
                redpool.reload()
                assert blocked.read() is None, "released"
                for leaving in (client, blocked):
                    with pytest.raises(Closed):
                        leaving.read()
            eventually(lambda: two.client_count() == 0, what="the pool's upstreams closed")
            with pytest.raises(OSError):
                Connection(place)
        assert stays.command("PING") == b"PONG"
        eventually(lambda: redpool.fds() <= before, what="no descriptor more")


@BOTH
def test_what_has_arrived_for_a_removed_pool_is_answered(launch, threads):
    """The worker hears of the reload before it reads a command that the kernel has had for it."""
    one, two = launch.server(), launch.server()
    place = Address(host="127.0.0.1", port=free_port())
    redpool = launch.redpool(one, pools={"added": pool(place, two)}, settings={"threads": threads})
    with Connection(place) as client:
        assert client.command("SET", "name", "two") == b"OK"
        del redpool.file["pools"]["added"]
        with contextlib.ExitStack() as stack:
            for name, thread in tasks(redpool.process).items():
                if name.startswith("worker-"):
                    stack.enter_context(stopped(thread))
            assert "has not answered" in redpool.reload()
            client.send(encode("GET", "name"))
        assert client.read() == b"two" and client.read_until_closed() == b""


@BOTH
def test_a_removed_pool_ends_after_drain_timeout(launch, threads):
    one, two = launch.server(), launch.server()
    place = Address(host="127.0.0.1", port=free_port())
    redpool = launch.redpool(
        one, pools={"added": pool(place, two)},
        settings={"threads": threads, "drainTimeout": "200ms"},
    )
    with Connection(place) as client:
        assert client.command("MULTI") == b"OK"
        del redpool.file["pools"]["added"]
        redpool.reload()
        with pytest.raises(Closed):
            client.read()
    eventually(lambda: two.client_count() == 0)


@BOTH
def test_an_address_goes_to_another_pool(launch, threads):
    one, two = launch.server(), launch.server()
    one.command("SET", "name", "one")
    two.command("SET", "name", "two")
    place = Address(host="127.0.0.1", port=free_port())
    redpool = launch.redpool(one, pools={"other": pool(place, two)}, settings={"threads": threads})
    unix = Address(path=str(redpool.folder / "moved.sock"))
    for address in (Address(host="127.0.0.1", port=free_port()), unix):
        main = redpool.file["pools"]["main"]["listen"]
        main.append(address.text)
        redpool.reload()
        with Connection(address) as client:
            assert client.command("GET", "name") == b"one"
            main.remove(address.text)
            listens = redpool.file["pools"]["other"]["listen"]
            redpool.file["pools"]["other"]["listen"] = [listens, address.text]
            redpool.reload()
            with pytest.raises(Closed):
                client.read()
        with Connection(address) as client:
            assert client.command("GET", "name") == b"two"
        redpool.file["pools"]["other"]["listen"] = listens
        redpool.reload()
        with pytest.raises(OSError):
            Connection(address)


# systemd.


@contextlib.contextmanager
def notify_socket(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(20)
        yield systemd


def test_systemd_is_told(launch, tmp_path):
    path = tmp_path / "notify"
    with notify_socket(path) as systemd:
        redpool = launch.redpool(launch.server(), environment={"NOTIFY_SOCKET": str(path)})

        def told(word):
            while True:
                message = systemd.recv(10_000).decode()
                if word in message:
                    return message

        told("READY=1")
        redpool.reload_settings(threads=2)
        assert re.search(r"^MONOTONIC_USEC=\d+$", told("RELOADING=1"), re.M)
        assert "restart needed for threads" in told("READY=1")
        redpool.file["threads"] = "many"
        redpool.reload_file(yaml(redpool.file), refused=True)
        told("RELOADING=1")
        message = told("READY=1")
        assert "last reload refused, restart needed for threads" in message
        redpool.reload_settings(threads=1)
        told("RELOADING=1")
        message = told("READY=1")
        assert "refused" not in message and "restart" not in message


def test_systemd_is_told_of_a_pause(launch, tmp_path):
    path, other = tmp_path / "notify", Address(host="127.0.0.1", port=free_port())
    with notify_socket(path) as systemd:
        redpool = launch.redpool(
            launch.server(), environment={"NOTIFY_SOCKET": str(path)}, console=True,
            pools={"dead": {"listen": other.text, "upstream": f"127.0.0.1:{free_port()}"}})

        def told(status):
            while f"STATUS={status}" not in systemd.recv(10_000).decode():
                pass

        told("2 pools, 1 down (dead: Connection refused), 0 clients")
        with redpool.console() as console:
            assert console.command("PAUSE", "main", "MAX", "60s") == b"OK"
            told("2 pools, 1 down (dead: Connection refused), 1 paused (main), 0 clients")
            assert console.command("PAUSE", "dead", "MAX", "60s") == b"OK"
            told("2 pools, 2 paused (main, dead), 0 clients")
            assert console.command("RESUME", "main") == b"OK"
            told("2 pools, 1 paused (dead), 0 clients")


# Under load.


@BOTH
def test_reloads_under_load(launch, full, threads):
    """40 reloads, 200 with REDPOOL_FULL=1: no client has an error, and no descriptor is left."""
    server = launch.server()
    redpool = launch.redpool(
        server, pool={"maxOpen": 8, "minIdle": 2}, settings={"threads": threads}
    )
    added = Address(host="127.0.0.1", port=free_port())
    redpool.warm_up()
    before = redpool.fds()
    with Neighbours(redpool.tcp, clients=6):
        for number in range(200 if full else 40):
            if number % 2:
                redpool.file["pools"].pop("added", None)
            else:
                redpool.file["pools"]["added"] = pool(added, server, maxOpen=2)
            redpool.reload(
                maxOpen=4 + number % 8, poolTimeout=f"{10 + number % 3}s",
                denyCommands=["DEBUG"] * (number % 2), maxIdle=2 + number % 3,
            )
    eventually(lambda: redpool.fds() <= before + 8, what="no descriptor more")


def test_signals_in_a_burst(launch):
    redpool = launch.redpool(launch.server())
    with redpool.connect() as client:
        for _ in range(100):
            redpool.signal(signal.SIGHUP)
            assert client.command("PING") == b"PONG"
        redpool.file["pools"]["main"]["poolTimeout"] = "9s"
        redpool.config_path.write_text(yaml(redpool.file))
        redpool.signal(signal.SIGHUP)
        eventually(lambda: "pools.main.poolTimeout 8s -> 9s" in redpool.log())
        assert client.command("PING") == b"PONG"


@BOTH
def test_a_reload_during_a_drain_is_refused(launch, threads):
    redpool = launch.redpool(
        launch.server(), settings={"threads": threads, "drainTimeout": "60s"}
    )
    with redpool.connect() as client:
        assert client.command("MULTI") == b"OK"
        redpool.signal()
        eventually(lambda: "drain.begin" in redpool.log())
        redpool.signal(signal.SIGHUP)
        eventually(lambda: "reload.refused" in redpool.log())
        assert client.command("EXEC") == []
    assert redpool.wait() == 0


# The console.


@BOTH
def test_reload_on_the_console(launch, threads):
    """Synchronous, with all messages; SHOW CONFIG shows what is in force and what is pending."""
    redpool = launch.redpool(launch.server(), settings={"threads": threads}, console=True)

    def rows(prefix):
        return {row["key"]: row for row in redpool.show("CONFIG", prefix)}

    with redpool.console() as console:
        assert {"name": "last_reload", "value": None} in redpool.show("VERSION")
        assert console.command("RELOAD") == b"OK"
        assert {"name": "last_reload", "value": "accepted"} in redpool.show("VERSION")
        redpool.file["threads"] = threads + 1
        redpool.file["pools"]["main"]["maxOpen"] = 7
        redpool.config_path.write_text(yaml(redpool.file))
        answer = console.command("RELOAD")
        pending = b"threads %d -> %d needs a restart" % (threads, threads + 1)
        assert answer[0] == b"pools.main.maxOpen 32 -> 7" and answer[-1] == pending
        assert console.command("HELLO", "3")[b"proto"] == 3
        assert console.command("RELOAD") == pending
        assert console.command("HELLO", "2")
        assert rows("pools.main.maxOpen")["pools.main.maxOpen"]["value"] == "7"
        row = rows("threads")["threads"]
        assert (row["value"], row["pending"]) == (str(threads), str(threads + 1))
        redpool.file["pools"]["main"] |= {"maxOpen": 0, "maxopen": 1}
        redpool.config_path.write_text(yaml(redpool.file))
        answer = console.command("RELOAD")
        assert isinstance(answer, ErrorReply)
        assert b"maxopen: unknown key" in answer and b"maxOpen: 0" in answer
        assert {"name": "last_reload", "value": "refused"} in redpool.show("VERSION")
        assert rows("pools.main.maxOpen")["pools.main.maxOpen"]["value"] == "7"


def test_every_problem_of_a_file_is_printed(launch):
    """However many there are, each on a line of its own."""
    redpool = launch.redpool(launch.server(), console=True)
    file = redpool.config_path.read_text()
    keys = [f"wrongKeyNumber{number}" for number in range(40)]
    redpool.config_path.write_text(file + "".join(f"{key}: 1\n" for key in keys))
    done = run_cli("reload", "--socket", redpool.admin.path)
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and not done.stdout
    assert lines[0] == "redpool: nothing was changed:" and len(lines) == 1 + len(keys), lines
    for key, line in zip(keys, lines[1:]):
        assert line.startswith(f"{redpool.config_path}:") and f"{key}: unknown key" in line
    redpool.config_path.write_text(file.replace('"8s"', '"9s"'))
    done = run_cli("reload", "--socket", redpool.admin.path)
    assert done.returncode == 0 and done.stdout == "pools.main.poolTimeout 8s -> 9s\n", done


@pytest.mark.parametrize("key", ["socket", "mode", "group"])
def test_the_console_itself_stays_as_it_is(launch, key):
    redpool = launch.redpool(launch.server(), console=True)
    value = {"socket": str(redpool.folder / "other.sock"), "mode": "0600", "group": "daemon"}[key]
    before = os.stat(redpool.admin.path)
    line = redpool.reload_settings(admin=redpool.file["admin"] | {key: value})
    assert f"admin.{key} " in line and "needs a restart" in line and "pending=1" in line
    after = os.stat(redpool.admin.path)
    assert (after.st_mode, after.st_gid) == (before.st_mode, before.st_gid)
    with redpool.console() as console:
        assert console.command("PING") == b"PONG"
