"""Keys, values and passwords do not come out: not by the log, the console, HTTP, the status for
systemd, or what subcommands print. Each of them has the word `canary` in it."""

import contextlib
import re
import socket

import pytest

from harness.daemon import run_cli, yaml
from harness.http import Http
from harness.ports import free_port
from harness.waiting import eventually
from harness.wire import Closed, ErrorReply, encode

pytestmark = pytest.mark.daemon

KEY, VALUE, LIST = "canary-key", "canary-value", "canary-list"
SCRIPT = "return redis.call('SET', KEYS[1], 'canary-in-script')"
LARGE = b"canary" * 40_000

# Commands that are carried out, refused here, refused by the server, and not understood.
COMMANDS = [
    ("SET", KEY, VALUE), ("GET", KEY), ("LPUSH", KEY, VALUE), ("INCR", KEY), ("MGET", KEY, LIST),
    ("SET", KEY, LARGE), ("EVAL", SCRIPT, "1", KEY), ("EVAL", "canary(", "0"),
    ("EVAL", "return redis.error_reply('CANARY wrong')", "0"), ("SCRIPT", "LOAD", SCRIPT),
    ("PUBLISH", "canary-channel", VALUE), ("FLUSHALL", "canary"), ("CANARYCOMMAND", KEY),
    ("GET", KEY, "canary", "canary"), ("CONFIG", "GET", "canary*"), ("OBJECT", "CANARY", KEY),
    ("CLIENT", "KILL", "canary"), ("CLIENT", "LIST", "canary"), ("CLIENT", "CANARY"),
    ("DEBUG", "CANARY", KEY), ("SELECT", "canary"), ("AUTH", "canary-guess"),
    ("AUTH", "default", "canary-guess"), ("HELLO", "3", "AUTH", "default", "canary-guess"),
    ("HELLO", "canary"), ("CLIENT", "REPLY", "canary"), ("WAIT", "canary", "0"),
    ("MIGRATE", "127.0.0.1", "1", KEY, "0", "1", "AUTH", "canary-password"),
    ("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "canary"), ("CLIENT", "TRACKING", "OFF"),
]
JUNK = [
    b"*2\r\n$3\r\nGET\r\n$x-canary\r\n", b"GET \"canary\r\n", b"POST /canary HTTP/1.1\r\n\r\n",
    b"*1\r\n$-canary\r\n", b"\x00canary\x00 canary\r\n", b"*3\r\n$3\r\nSET\r\n$6\r\ncanary\r\n$999999\r\ncanary",
]
TABLES = ["POOLS", "CLIENTS", "UPSTREAMS", "STATS", "LATENCY", "ERRORS", "SLOWLOG", "CONFIG",
          "MEMORY", "VERSION", "HELP"]


class Witnesses:
    """All that anybody but a client can see."""

    def __init__(self, launch, server, tmp_path, threads):
        self.http = Http()
        self._manager = launch.started(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self._manager.bind(str(tmp_path / "notify"))
        self._manager.setblocking(False)
        self.secret = tmp_path / "secret"
        self.secret.write_text("canary-password\n")
        pool = {"maxOpen": 6, "maxPinned": 3, "poolTimeout": "300ms", "passwordFile": str(self.secret),
                "slowLog": "1ms", "denyCommands": ["FLUSHALL"], "connectTimeout": "300ms"}
        dead = {"listen": f"127.0.0.1:{free_port()}", "passwordFile": str(self.secret),
                "upstream": f"redis://app@127.0.0.1:{free_port()}/2"}
        self.redpool = launch.redpool(
            server, pool=pool, pools={"dead": dead}, console=True,
            settings={"threads": threads, "log": {"level": "debug", "clients": True, "stats": "1s"}}
            | self.http.settings,
            environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        self.said = {}

    def look(self):
        """Takes down what is to be seen now. Fails if a canary is."""
        redpool, admin = self.redpool, self.redpool.admin.path
        for path in ("/metrics", "/", "/readyz", "/healthz"):
            self._take(path, self.http.get(path).text)
        for version in (2, 3):
            with redpool.console() as console:
                assert console.command("HELLO", version)
                for table in TABLES:
                    for form in ([], ["JSON"]):
                        self._take(table, str(console.command("SHOW", table, *form)))
                for rank in ("wait", "idle", "commands", "bytes", "pinned"):
                    self._take(rank, str(console.command("SHOW", "CLIENTS", "BY", rank)))
                self._take("INFO", str(console.command("INFO")))
        for words in (["status", "--socket", admin], ["show", "clients", "--socket", admin],
                      ["check", redpool.config_path], ["check", "--online", redpool.config_path],
                      ["ping", "--config", redpool.config_path]):
            done = run_cli(*words)
            self._take(words[0], done.stdout + done.stderr)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._take("systemd", self._manager.recv(10_000).decode())
        self._take("log", redpool.log())
        command = (f"/proc/{redpool.process.pid}/cmdline", f"/proc/{redpool.process.pid}/environ")
        self._take("process", "".join(open(path).read() for path in command))

    def _take(self, where, text):
        found = re.search(r"(?is).{0,80}canary.{0,80}", text)
        assert not found, (where, found[0])
        self.said[where] = self.said.get(where, "") + text


def answer(client, *command):
    client.send(encode(*command))
    with contextlib.suppress(Closed):
        return client.read()


@pytest.mark.parametrize("threads", [1, 2])
def test_nothing_secret_comes_out(launch, tmp_path, threads):
    server = launch.server("--slowlog-log-slower-than", "0", password="canary-password")
    seen = Witnesses(launch, server, tmp_path, threads)
    redpool = seen.redpool
    eventually(lambda: not isinstance(ask(redpool), ErrorReply), what="an answer")
    with contextlib.ExitStack() as stack:
        client, multi, blocked, subscriber, piped, watcher = (
            stack.enter_context(redpool.connect()) for _ in range(6))
        for command in COMMANDS:
            answer(client, *command)
        for bytes_ in JUNK:
            with redpool.connect() as broken:
                broken.send(bytes_)
                broken.socket.shutdown(socket.SHUT_WR)
                broken.read_until_closed()
        client.send(f"SET {KEY} {VALUE}\r\nGET {KEY}\r\n".encode())
        assert multi.command("MULTI") == b"OK" and multi.command("SET", KEY, VALUE) == b"QUEUED"
        blocked.send(encode("BLPOP", LIST, "0"))
        assert subscriber.command("SUBSCRIBE", "canary-channel")[0] == b"subscribe"
        # No pin is left for these.
        assert piped.command("WATCH", KEY).startswith(b"PINLIMIT")
        assert watcher.command("MONITOR").startswith(b"PINLIMIT")
        eventually(lambda: any(row["cmd"] == "blpop" for row in redpool.show("CLIENTS")))
        seen.look()

    with contextlib.ExitStack() as stack:
        piped, watcher = (stack.enter_context(redpool.connect()) for _ in range(2))
        assert piped.command("MULTI") == b"OK"
        assert piped.command("SUBSCRIBE", "canary-channel") == b"QUEUED"
        piped.command("EXEC")
        piped.send(encode("PING", "canary") + encode("FLUSHALL", "canary"))
        assert watcher.command("MONITOR") == b"OK"
        assert ask(redpool) == VALUE.encode()
        # Upstreams are lost in use, and another password is refused.
        stack.enter_context(redpool.connect()).send(encode("BLPOP", LIST, "0"))
        server.command("CONFIG", "SET", "requirepass", "canary-password-2")
        server.forget_password("canary-password-2")
        server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        eventually(lambda: "WRONGPASS" in redpool.log(), what="a refused password")
        seen.look()

    seen.secret.write_text("canary-password-2\n")
    assert run_cli("reload", "--socket", redpool.admin.path).returncode == 0
    eventually(lambda: not isinstance(ask(redpool), ErrorReply), what="the new password")
    server.pause()
    with redpool.connect() as client:
        client.send(encode("GET", KEY) + encode("SET", KEY, LARGE))
        seen.look()
        server.stop()
        eventually(lambda: redpool.show("POOLS")[0]["state"] == "down", what="the outage")
        with redpool.connect() as other:
            eventually(lambda: other.command("GET", KEY).startswith(b"UPSTREAMDOWN"))
        seen.look()
    assert redpool.stop() == 0
    seen._take("log", redpool.log())
    # There was something to see.
    assert "blpop" in seen.said["CLIENTS"] and "WRONGTYPE" in seen.said["ERRORS"]
    for word in ("client.refused", "pool.down", "client.pinned", "upstream.lost", "denyCommands"):
        assert word in seen.said["log"], word


def ask(redpool):
    with redpool.connect() as client:
        return client.command("GET", KEY)


@pytest.mark.parametrize("place", ["upstream", "password", "passwordFile"])
def test_a_file_with_a_password_in_it_is_refused_without_it(launch, tmp_path, place):
    """Where it must not stand; a problem is said without its value."""
    redpool = launch.redpool(launch.server(), console=True)
    value = {"upstream": "redis://app:canary-password@127.0.0.1:1/0", "password": "canary-password",
             "passwordFile": "redis://:canary-password@x"}[place]
    redpool.file["pools"]["main"][place] = value
    redpool.config_path.write_text(yaml(redpool.file))
    said = [run_cli("check", redpool.config_path), run_cli("run", "--config", redpool.config_path),
            run_cli("reload", "--socket", redpool.admin.path)]
    assert [done.returncode for done in said] == [78, 78, 1], said
    text = "".join(done.stdout + done.stderr for done in said) + redpool.log()
    assert place in text
    if place != "passwordFile":
        assert "canary" not in text, text
