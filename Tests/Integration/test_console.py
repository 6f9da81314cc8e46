"""The console: what it shows, who may change something, and that it answers whatever else happens."""

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest
import redis

from harness.daemon import fails, run_cli, starting, yaml
from harness.tasks import stopped, tasks
from harness.waiting import eventually
from harness.wire import Connection, ErrorReply

pytestmark = pytest.mark.daemon

TABLES = ["POOLS", "CLIENTS", "UPSTREAMS", "CONFIG", "MEMORY", "VERSION", "HELP"]
POOL = [
    "pool", "state", "upstream", "address", "clients", "waiting", "oldest_wait_ms", "in_flight",
    "oldest_in_flight_ms", "open", "max_open", "idle", "shared", "pinned", "max_pinned",
    "connecting", "last_error", "last_error_s", "silent"]
CLIENT = [
    "id", "pool", "worker", "from", "name", "lib", "user", "db", "resp", "age_s", "idle_s", "state",
    "since_ms", "reason", "cmd", "upstream", "commands", "in_bytes", "out_bytes", "waiting_bytes",
    "tls", "cipher", "resumed"]
UPSTREAM = [
    "id", "pool", "worker", "address", "server_id", "state", "user", "db", "resp", "age_s",
    "retires_in_s", "idle_s", "in_flight", "oldest_ms", "commands", "client", "cmd", "tls",
    "cipher", "resumed"]
COLUMNS = {
    "POOLS": POOL, "CLIENTS": CLIENT, "UPSTREAMS": UPSTREAM,
    "CONFIG": ["key", "value", "default", "source", "change", "pending"],
    "MEMORY": ["term", "bytes", "most_bytes"], "VERSION": ["name", "value"],
    "HELP": ["command", "effect"]}


@pytest.fixture(scope="module")
def redpool(keep, server):
    return keep.redpool(server, console=True)


def cli(redpool, *words, version=2, **options) -> str:
    """What redis-cli prints through a pipe."""
    done = subprocess.run(
        ["redis-cli", f"-{version}", "-s", redpool.admin.path, *words],
        capture_output=True, text=True, timeout=60, **options)
    assert done.returncode == 0, done
    return done.stdout


def pool(redpool, name="main") -> dict:
    return next(row for row in redpool.show("POOLS") if row["pool"] == name)


def client_row(redpool, number) -> dict:
    return next(row for row in redpool.show("CLIENTS") if row["id"] == number)


# --- forms


@pytest.mark.parametrize("table", TABLES)
def test_tables_by_redis_cli_in_each_form(redpool, table):
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        lines = cli(redpool, "SHOW", table).splitlines()
        assert lines[0].split() == COLUMNS[table]
        assert cli(redpool, "show", table.lower(), version=3).splitlines()[0] == lines[0]
        rows = json.loads(cli(redpool, "SHOW", table, "JSON"))
        assert rows and all(list(row) == COLUMNS[table] for row in rows)
        assert len(lines) == len(rows) + 1
        for line, row in zip(lines[1:], rows):
            # Values of one blank do not break columns: two are between them.
            assert len(re.split(r" {2,}", line.strip())) == len(row), line
        with redpool.console() as console:
            reply = console.command("SHOW", table)
            assert isinstance(reply, list) and reply[0].decode() == lines[0]


def test_a_session_as_redis_has_it(redpool):
    with redpool.console() as console:
        assert console.command("PING") == b"PONG" and console.command("ping", "x") == b"x"
        hello = console.command("HELLO")
        assert dict(zip(hello[::2], hello[1::2]))[b"server"] == b"redpool"
        assert console.command("CLIENT", "SETNAME", "me") == b"OK"
        assert console.command("CLIENT", "GETNAME") == b"me"
        number = console.command("CLIENT", "ID")
        assert number > 0
        assert console.command("COMMAND") == console.command("COMMAND", "DOCS") == []
        assert console.command("HELLO", "3", "SETNAME", "you")[b"proto"] == 3
        assert console.command("CLIENT", "GETNAME") == b"you"
        assert b"pool" in console.command("SHOW", "POOLS")
        assert console.command("HELLO", "4").startswith(b"NOPROTO")
        assert console.command("HELLO", "2")[:2] == [b"server", b"redpool"]
        with redpool.console() as other:
            assert other.command("CLIENT", "ID") > number
        # Several commands at once, and one that a person types.
        console.send(b"PING\r\n\r\n*1\r\n$4\r\nPING\r\nSHOW VERSION\r\nQUIT\r\nPING\r\n")
        assert [console.read(), console.read()] == [b"PONG"] * 2
        assert console.read()[0].split() == [b"name", b"value"]
        assert console.read() == b"OK" and console.read_until_closed() == b""


@pytest.mark.parametrize("version", [2, 3])
def test_a_client_library(redpool, version):
    with redis.Redis(unix_socket_path=redpool.admin.path, protocol=version) as console:
        assert console.ping()
        info = console.info()
        assert info["redpool_version"] and info["maxclients"] > 0
        assert "state" in info["pool_main"]
        assert json.loads(console.execute_command("SHOW POOLS", "JSON"))[0]["pool"] == "main"


def test_info_has_four_sections(redpool):
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        with redpool.console() as console:
            text = console.command("INFO").decode()
            assert re.findall(r"^# (\w+)\r$", text, re.M) == ["Server", "Clients", "Stats", "Pools"]
            assert re.search(r"^connected_clients:1\r$", text, re.M)
            assert re.search(r"^pool_main:state=up,clients=1,", text, re.M)
            assert console.command("INFO", "stats").startswith(b"# Stats\r\n")
            assert int(re.search(r"total_commands_processed:(\d+)", text)[1]) > 0


@pytest.mark.parametrize("words, error", [
    (["GET", "k"], "NOPERM|HELP"), (["SHOW"], "SHOW POOLS"), (["SHOW", "nothing"], "SHOW POOLS"),
    (["SHOW", "POOLS", "main"], "SHOW POOLS"), (["SHOW", "CLIENTS", "other"], "no pool other"),
    (["SHOW", "CLIENTS", "BY", "size"], "wait, idle"),
    (["SHOW", "CLIENTS", "LIMIT", "0"], "above 0"), (["SHOW", "CLIENTS", "BY"], "not understood"),
    (["LOG", "LEVEL", "loud"], "debug"), (["LOG", "LEVEL", "info", "FOR", "10"], "FOR 10m"),
    (["LOG", "CLIENTS", "on", "FOR"], "FOR 10m"), (["SHUTDOWN", "LATER"], "SHUTDOWN"),
    (["PAUSE"], "PAUSE pool"), (["PAUSE", "other"], "no pool other"),
    (["PAUSE", "main", "MAX", "2h"], "at most 1h"), (["PAUSE", "main", "NOW"], "not understood"),
    (["RESUME", "main"], "NOTPAUSED"), (["RECONNECT", "other"], "no pool other"),
    (["KILL", "CLIENT", "x"], "is a number"), (["KILL", "CLIENT", "99999"], "no client"),
    (["KILL", "UPSTREAM", "99999"], "no upstream"), (["KILL", "main"], "KILL CLIENT"),
    (["AUTH", "secret"], "without any password"), (["HELLO", "x"], "not an integer"),
    (["CLIENT", "SETNAME", "a b"], "cannot contain spaces")])
def test_what_is_not_understood_is_explained(redpool, words, error):
    with redpool.console() as console:
        reply = console.command(*words)
        assert isinstance(reply, ErrorReply) and re.search(error, reply.decode()), reply
        assert console.command("PING") == b"PONG"


@pytest.mark.parametrize("junk", [
    b"*1\r\n$5000\r\n", b"*100000\r\n", b"*1\r\n$-4\r\n", b"x" * 70_000, b"PING \"\r\n", b"\xff\xfe\r\n"])
def test_junk_ends_at_most_its_own_connection(redpool, junk):
    with redpool.console() as bad, redpool.console() as good:
        bad.send(junk)
        first = bad.read_raw()
        assert first.startswith(b"-")
        if first.startswith(b"-ERR Protocol error"):
            assert bad.read_until_closed() == b""
        assert good.command("PING") == b"PONG"


def test_a_caller_that_says_no_more_gets_all_its_replies(redpool):
    with redpool.console() as console:
        console.send(b"SHOW POOLS\r\nSHOW CONFIG JSON\r\nPING\r\n")
        console.socket.shutdown(1)
        text = console.read_until_closed()
        assert text.startswith(b"*2\r\n") and text.endswith(b"+PONG\r\n") and b'"key"' in text


# --- what it shows


def test_every_key_with_its_source(launch, server, tmp_path):
    secret = tmp_path / "password"
    secret.write_text("canary-password\n")
    redpool = launch.redpool(
        server, pool={"poolTimeout": "3s"}, settings={"drainTimeout": "7s"}, console=True,
        pools={"other": {"listen": f"unix:{tmp_path}/o.sock", "upstream": "redis://app@127.0.0.1:1/2",
                         "passwordFile": str(secret)}})
    rows = {row["key"]: row for row in redpool.show("CONFIG")}
    file = redpool.config_path.read_text().splitlines()
    for key, text in [("pools.main.poolTimeout", '"3s"'), ("drainTimeout", '"7s"'),
                      ("pools.other.poolTimeout", '"8s"'), ("admin.socket", "admin.sock")]:
        path, _, line = rows[key]["source"].rpartition(":")
        assert path == str(redpool.config_path) and text in file[int(line) - 1], rows[key]
    assert rows["pools.main.maxOpen"] == {
        "key": "pools.main.maxOpen", "value": "32", "default": "32", "source": "default",
        "change": "graceful", "pending": None}
    assert rows["pools.other.username"]["value"] == "app"
    assert rows["admin.socket"]["change"] == "restart"
    assert {row["key"] for row in redpool.show("CONFIG", "log.")} == {
        "log.level", "log.format", "log.clients", "log.stats"}
    assert "canary" not in json.dumps(list(rows.values()))


def test_clients_and_what_they_do(launch, server):
    redpool = launch.redpool(server, pool={"maxOpen": 4, "maxPinned": 2}, console=True)
    with contextlib.ExitStack() as stack:
        idle, multi, blocked, waiting = (stack.enter_context(redpool.connect()) for _ in range(4))
        unix = stack.enter_context(Connection(redpool.unix))
        ids = [one.command("CLIENT", "ID") for one in (idle, multi, blocked, waiting, unix)]
        assert idle.command("HELLO", "3", "SETNAME", "worker-7")[b"proto"] == 3
        assert idle.command("SELECT", "5") == b"OK"
        assert multi.command("MULTI") == b"OK"
        blocked.send(b"BLPOP q 0\r\n")
        eventually(lambda: pool(redpool)["pinned"] == 2)
        waiting.send(b"BLPOP q 0\r\n")
        eventually(lambda: pool(redpool)["waiting"] == 1)
        rows = [client_row(redpool, number) for number in ids]
        assert [row["state"] for row in rows] == ["idle", "pinned", "blocked", "waiting", "idle"]
        assert [row["reason"] for row in rows] == [None, "multi", None, "pin", None]
        assert [row["cmd"] for row in rows] == ["select", "multi", "blpop", "blpop", "client|id"]
        assert [rows[0][key] for key in ("name", "resp", "db")] == ["worker-7", 3, 5]
        assert rows[0]["from"] == "%s:%d" % idle.socket.getsockname()
        assert rows[4]["from"] == f"unix pid={os.getpid()} uid={os.getuid()}"
        upstreams = {row["id"]: row for row in redpool.show("UPSTREAMS")}
        for row in rows[1:3]:
            own = upstreams[row["upstream"]]
            assert (own["state"], own["client"], own["cmd"]) == ("pinned", row["id"], row["cmd"])
        server_ids = {int(row["id"]) for row in server.upstreams()}
        assert {row["server_id"] for row in upstreams.values()} - {None} <= server_ids
        shown = pool(redpool)
        assert (shown["clients"], shown["state"], shown["pinned"]) == (5, "up", 2)
        assert shown["open"] == len(upstreams)
        assert shown["address"] == shown["upstream"].removeprefix("rediss://")


def test_the_culprit_of_each_kind_is_the_first(launch, server):
    redpool = launch.redpool(server, pool={"maxOpen": 4}, console=True)
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(redpool.connect()) for _ in range(12)]
        ids = [one.command("CLIENT", "ID") for one in crowd]
        culprit = dict(zip(["idle", "pinned", "commands", "bytes", "wait"], ids))
        for one in crowd[1:]:
            assert one.command("PING") == b"PONG"
        assert crowd[1].command("WATCH", "k") == b"OK"
        for _ in range(50):
            assert crowd[2].command("PING") == b"PONG"
        assert crowd[3].command("SET", "k", "x" * 50_000) == b"OK"
        # The one that waits is behind a stopped server; nobody else is.
        server.pause()
        try:
            crowd[4].send(b"GET k\r\n")
            eventually(lambda: client_row(redpool, ids[4])["state"] == "active")
            for kind, number in culprit.items():
                rows = redpool.show("CLIENTS", "main", "BY", kind, "LIMIT", "3")
                assert len(rows) == 3 and rows[0]["id"] == number, kind
                assert len(redpool.show("CLIENTS", "BY", kind)) == 12
        finally:
            server.resume()
        assert len(crowd[4].read()) == 50_000


def test_no_key_and_no_value_is_shown(launch, server, tmp_path):
    redpool = launch.redpool(
        server, console=True, settings={"log": {"clients": True}}, pool={"slowLog": "1ms"})
    canary = "canary-7351"
    with contextlib.ExitStack() as stack:
        one, two, three, four = (stack.enter_context(redpool.connect()) for _ in range(4))
        assert one.command("SET", canary, canary) == b"OK"
        assert isinstance(one.command("AUTH", canary, canary), ErrorReply)
        assert isinstance(one.command(canary, canary), ErrorReply)
        assert two.command("MULTI") == b"OK" and two.command("GET", canary) == b"QUEUED"
        three.send(b"BLPOP %s-list 0\r\n" % canary.encode())
        assert four.command("SUBSCRIBE", canary)[1] == canary.encode()
        eventually(lambda: pool(redpool)["pinned"] == 3)
        # Those that test_console_numbers.py is about as well.
        tables = [*TABLES, "STATS", "LATENCY", "ERRORS", "SLOWLOG"]
        shown = "".join(
            cli(redpool, "SHOW", table, *json_or_not, version=version)
            for table in tables for json_or_not in ([], ["JSON"]) for version in (2, 3))
        shown += cli(redpool, "INFO") + cli(redpool, "SHOW", "HELP")
        assert "blpop" in shown and canary not in shown and canary not in redpool.log()


# --- whatever else happens


def test_it_answers_at_max_clients(launch, server):
    redpool = launch.redpool(server, settings={"maxClients": 3}, console=True)
    clients = [redpool.connect() for _ in range(3)]
    assert all(client.command("PING") == b"PONG" for client in clients)
    with redpool.connect() as extra:
        assert b"max number" in extra.read_until_closed()
    assert pool(redpool)["clients"] == 3 and len(redpool.show("CLIENTS")) == 3
    with redpool.console() as console:
        assert b"rejected_connections:1\r\n" in console.command("INFO")
    for client in clients:
        client.close()


def test_it_answers_while_the_server_is_down_or_stopped(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool={"poolTimeout": "30s", "minIdle": 1}, console=True)
    redpool.warm_up()
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        server.pause()
        client.send(b"GET k\r\n")
        eventually(lambda: pool(redpool)["state"] == "stalled", what="the pool being stalled")
        row = pool(redpool)
        assert row["in_flight"] == 1 and row["oldest_in_flight_ms"] >= 5000
        server.stop(signal.SIGKILL)
        # The loss of the connection is the first error; then nobody answers the dials.
        row = eventually(lambda: "refused" in ((row := pool(redpool))["last_error"] or "") and row)
        assert row["state"] == "down" and row["last_error_s"] >= 0
        with redpool.console() as console:
            assert b"state=down" in console.command("INFO")
        server.start()
        eventually(lambda: pool(redpool)["state"] == "up")


@pytest.mark.parametrize("threads", [1, 2])
def test_a_worker_that_hangs_is_silent(launch, server, threads):
    redpool = launch.redpool(server, settings={"threads": threads}, console=True)
    clients = [redpool.connect() for _ in range(4)]
    assert all(client.command("PING") == b"PONG" for client in clients)
    last = threads - 1
    with stopped(tasks(redpool.process)[f"worker-{last}"]):
        started = time.monotonic()
        row = pool(redpool)
        assert 0.4 < time.monotonic() - started < 15
        assert row["silent"] == str(last)
        assert row["state"] == ("silent" if threads == 1 else "up")
        for table in ("CLIENTS", "UPSTREAMS"):
            silent = [row for row in redpool.show(table) if row["state"] == "silent"]
            assert [row["worker"] for row in silent] == [last]
        assert len(redpool.show("CLIENTS")) == (1 if threads == 1 else 3)
        with redpool.console() as console:
            assert b"silent_workers:%d\r\n" % last in console.command("INFO")
    eventually(lambda: pool(redpool)["silent"] is None)
    assert len(redpool.show("CLIENTS")) == 4
    for client in clients:
        client.close()


def test_it_answers_while_redpool_drains(launch, server):
    redpool = launch.redpool(server, settings={"drainTimeout": "60s"}, console=True)
    with redpool.connect() as client:
        assert client.command("MULTI") == b"OK"
        assert cli(redpool, "SHUTDOWN") == "OK\n"
        eventually(lambda: "drain.begin" in redpool.log())
        assert {"name": "draining", "value": "yes"} in redpool.show("VERSION")
        assert [row["reason"] for row in redpool.show("CLIENTS")] == ["multi"]
        assert client.command("EXEC") == []
    assert redpool.wait() == 0
    assert not os.path.exists(redpool.admin.path)


def test_it_answers_without_descriptors(launch, server):
    redpool = launch.redpool(server, limit=128, console=True)
    clients = []
    with redpool.connect() as first:
        assert first.command("PING") == b"PONG"
        redpool.limit_fds(redpool.fds())
        clients += [redpool.connect() for _ in range(20)]
        eventually(lambda: "listener.rest" in redpool.log())
        for _ in range(20):
            assert pool(redpool)["clients"] == 1
            assert cli(redpool, "SHOW", "CLIENTS").count("\n") == 2
        # All that it allows at once, again and again.
        for _ in range(3):
            with contextlib.ExitStack() as stack:
                consoles = [stack.enter_context(redpool.console()) for _ in range(16)]
                assert [one.command("PING") for one in consoles] == [b"PONG"] * 16
        assert first.command("PING") == b"PONG"
        for client in clients:
            client.close()


def test_at_most_sixteen_connections(launch, server):
    redpool = launch.redpool(server, console=True)
    consoles = [redpool.console() for _ in range(16)]
    assert [one.command("PING") for one in consoles] == [b"PONG"] * 16
    with redpool.console() as extra:
        assert extra.read_until_closed() == b"-ERR the console has 16 connections already\r\n"
    consoles.pop().close()

    def is_let_in():
        with redpool.console() as another:
            another.send(b"PING\r\n")
            return another.read_raw() == b"+PONG\r\n"

    eventually(is_let_in)
    for one in consoles:
        one.close()


def test_idle_connections_are_closed_after_ten_minutes(launch, server, shim):
    redpool = launch.redpool(server, environment=shim.environment, console=True)
    with redpool.console() as early, redpool.console() as late:
        assert early.command("PING") == b"PONG"
        # Behind it: the daemon has noted the time of the first.
        assert late.command("PING") == b"PONG"
        shim.say("clock 590")
        assert late.command("PING") == b"PONG"
        shim.say("clock 620")
        assert early.read_until_closed() == b""
        assert late.command("PING") == b"PONG"


# --- changes


def notices(redpool) -> list:
    return [line for line in redpool.log().splitlines() if "event=console.command" in line]


def test_a_change_is_for_root_and_has_a_line_in_the_log(launch, server, tmp_path):
    if os.getuid() != 0:
        pytest.skip("needs root to become somebody else")
    redpool = launch.redpool(server, settings={"admin": {"mode": "0666"}}, console=True)
    os.chmod(redpool.folder, 0o755)
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    assert cli(redpool, "SHOW", "POOLS", **nobody).startswith("pool ")
    for words in (["SHUTDOWN", "NOW"], ["LOG", "LEVEL", "debug"], ["LOG", "CLIENTS", "on"],
                  ["KILL", "CLIENT", "1"], ["ANYTHING"]):
        assert "NOPERM" in cli(redpool, *words, **nobody)
    assert not notices(redpool) and redpool.process.poll() is None
    with redpool.console() as console:
        assert console.command("LOG", "CLIENTS", "off", "FOR", "1m") == b"OK"
    [line] = notices(redpool)
    assert f"pid={os.getpid()}" in line and "uid=0" in line and "level=notice" in line
    assert 'command="LOG CLIENTS off FOR 1m"' in line


def test_pools_are_paused_and_reconnected_and_what_is_shown_can_be_killed(launch, server):
    redpool = launch.redpool(server, console=True)

    def tell(*words):
        with redpool.console() as console:
            return console.command(*words)

    with redpool.connect() as client, redpool.connect() as victim:
        numbers = [one.command("CLIENT", "ID") for one in (client, victim)]
        assert tell("KILL", "CLIENT", str(numbers[1])) == b"OK"
        assert victim.read_until_closed() == b""
        assert [row["id"] for row in redpool.show("CLIENTS")] == numbers[:1]
        [before] = redpool.show("UPSTREAMS")
        assert tell("RECONNECT", "main") == b"OK 1 upstream retires when free"
        assert client.command("PING") == b"PONG"
        eventually(lambda: before["id"] not in [row["id"] for row in redpool.show("UPSTREAMS")])
        assert tell("PAUSE", "main", "MAX", "60s") == b"OK"
        assert pool(redpool)["state"] == "paused" and redpool.show("UPSTREAMS") == []
        client.send(b"PING\r\n")
        eventually(lambda: pool(redpool)["waiting"] == 1)
        assert tell("RESUME", "main") == b"OK" and client.read() == b"PONG"
        assert pool(redpool)["state"] == "up"
        server.pause()
        client.send(b"PING\r\n")
        number = eventually(lambda: client_row(redpool, numbers[0])["upstream"])
        assert tell("KILL", "UPSTREAM", str(number)) == b"OK"
        assert client.read_until_closed() == b""
        server.resume()
    assert len(notices(redpool)) == 5


def test_the_log_changes_for_a_time(launch, server):
    redpool = launch.redpool(
        server, console=True, settings={"log": {"level": "notice"}, "threads": 2})

    def lines(word):
        return redpool.log().count(f"event={word}")

    def knock():
        with redpool.connect() as client:
            assert client.command("PING") == b"PONG"

    with redpool.console() as console:
        assert console.command("LOG", "LEVEL", "info") == b"OK"
        assert console.command("LOG", "CLIENTS", "on", "FOR", "1s") == b"OK"
        eventually(lambda: knock() or lines("client.connected"))
        assert "level=debug" not in redpool.log()
        eventually(lambda: lines("log.restored") == 1)
        assert console.command("LOG", "LEVEL", "debug", "FOR", "1s") == b"OK"
        eventually(lambda: knock() or "level=debug" in redpool.log())
        # The level itself falls back as well: not even a line that says so is written.
        assert console.command("LOG", "LEVEL", "error", "FOR", "300ms") == b"OK"
        before = lines("console.command")
        eventually(lambda: console.command("LOG", "LEVEL", "notice", "FOR", "24h") == b"OK"
                   and lines("console.command") > before)


def test_shutdown_at_once(launch, server):
    redpool = launch.redpool(server, settings={"drainTimeout": "60s"}, console=True)
    with redpool.connect() as client:
        assert client.command("MULTI") == b"OK"
        assert cli(redpool, "SHUTDOWN", "NOW") == "OK\n"
        assert redpool.wait(20) == 0
    assert not os.path.exists(redpool.admin.path) and len(notices(redpool)) == 1


# --- the start


def configured(tmp_path, server, **admin):
    path = tmp_path / "redpool.yaml"
    main = {"listen": f"unix:{tmp_path}/main.sock", "upstream": server.tcp.text}
    path.write_text(yaml({"pools": {"main": main}} | ({"admin": admin} if admin else {})))
    return path


def test_a_socket_that_cannot_be_opened_ends_the_start(server, tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("")
    for socket, word in [(taken, "a regular file"), (tmp_path / "no" / "a.sock", "No such file")]:
        config = configured(tmp_path, server, socket=str(socket))
        fails(73, "admin", str(socket), word, arguments=["run", "--config", config])
        assert not os.path.exists(tmp_path / "main.sock")
    config = configured(tmp_path, server, socket=str(tmp_path / "a.sock"), group="no-such-group")
    fails(73, "no-such-group", arguments=["run", "--config", config])


@pytest.mark.parametrize("admin, message", [
    ({"socket": "admin.sock"}, "not an absolute path"), ({"socket": "/" + "x" * 107}, "107 bytes"),
    ({"socket": "{}/main.sock"}, "taken by pool main"), ({"mode": "rw"}, "file mode"),
    ({"sokcet": "/a"}, "did you mean socket?")])
def test_wrong_keys_of_admin(server, tmp_path, admin, message):
    admin = {key: value.format(tmp_path) for key, value in admin.items()}
    done = run_cli("check", configured(tmp_path, server, **admin))
    assert done.returncode == 78 and ": admin." in done.stderr and message in done.stderr, done


def test_without_a_socket_and_without_its_folder_there_is_no_console(server, tmp_path):
    if os.path.isdir("/run/redpool"):
        pytest.skip("there is a /run/redpool")
    with starting("run", "--config", configured(tmp_path, server)) as daemon:
        daemon.says("event=ready")
        daemon.says("event=console.none", "level=info")
    with starting("run", "--config", configured(tmp_path, server, socket="")) as daemon:
        daemon.says("event=ready")
        assert not any("console" in line for line in daemon.lines())


def test_mode_of_the_socket_and_a_stale_one(launch, server):
    redpool = launch.redpool(server, settings={"admin": {"mode": "0600"}}, console=True)
    assert os.stat(redpool.admin.path).st_mode & 0o777 == 0o600
    redpool.crash()
    with starting("run", "--config", redpool.config_path) as daemon:
        daemon.says("event=ready")
        assert pool(redpool)["pool"] == "main"


# --- many clients


def p99(redpool, commands=20_000) -> float:
    """The p99 of 50 clients, in milliseconds."""
    done = subprocess.run(
        ["redis-benchmark", *redpool.tcp.cli, "-c", "50", "-n", str(commands), "-t", "ping_mbulk",
         "--csv"], capture_output=True, text=True, timeout=120, check=True)
    [row] = csv.DictReader(done.stdout.splitlines())
    return float(row["p99_latency_ms"])


@pytest.mark.alone
def test_ten_thousand_clients_are_shown_and_the_others_hardly_notice(launch, server):
    redpool = launch.redpool(server, settings={"maxClients": 12_000}, console=True)
    crowd = [redpool.connect() for _ in range(10_000)]
    shown, over = [], threading.Event()

    def show():
        while not over.is_set():
            with redpool.console(60) as console:
                shown.append(len(console.command("SHOW", "CLIENTS", "BY", "commands")))

    def rise() -> float:
        """By how much it is more while all clients are shown, again and again."""
        over.clear()
        calm = p99(redpool)
        observer = threading.Thread(target=show, daemon=True)
        observer.start()
        try:
            return p99(redpool) - calm
        finally:
            over.set()
            observer.join(60)

    try:
        eventually(lambda: pool(redpool)["clients"] == 10_000, 60)
        # A busy machine adds to a round, a worker that does not turn to all of them.
        rounds = []
        eventually(lambda: rounds.append(rise()) or rounds[-1] < 5, 60, what="a rise below 5 ms")
        assert shown and min(shown) > 10_000
    finally:
        for client in crowd:
            client.close()
