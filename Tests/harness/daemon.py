"""The daemon under test."""

import contextlib
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import tempfile

from .certificates import authority, server_certificate
from .ports import free_port
from .waiting import eventually
from .wire import Address, Connection, ErrorReply

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("REDPOOL_BINARY", str(ROOT / ".build" / "release" / "redpool"))

# Runs the client-side tests directly against redis-server, to distinguish a broken test from a
# broken daemon. Tests of the daemon's own behaviour are skipped then.
DIRECT = os.environ.get("REDPOOL_DIRECT") == "1"

# The number of worker threads of a daemon whose test does not set it.
THREADS = os.environ.get("REDPOOL_THREADS")

# Clients on 127.0.0.1 speak TLS; those on ::1 and the unix socket do not.
TLS = os.environ.get("REDPOOL_LISTEN") == "tls"

# How pools treat subscribers, unless a test chooses it itself: `pinned` or `shared`.
PUBSUB = os.environ.get("REDPOOL_PUBSUB")


def yaml(value, indent=0) -> str:
    """The text of the configuration file for nested dicts, lists and scalars."""
    pad = "  " * indent
    if isinstance(value, dict):
        return "".join(
            f"{pad}{key}:" + _inline_or_block(item, indent) for key, item in value.items()
        )
    return "".join(f"{pad}- {_scalar(item)}\n" for item in value)


def _inline_or_block(item, indent):
    nested = item and isinstance(item, (dict, list))
    return "\n" + yaml(item, indent + 1) if nested else f" {_scalar(item)}\n"


def _scalar(item) -> str:
    return json.dumps(item)


def run_cli(*arguments, **options) -> subprocess.CompletedProcess:
    """Runs the daemon's command line until it exits."""
    options = {"capture_output": True, "text": True, "timeout": 60} | options
    return subprocess.run([BINARY, *map(str, arguments)], **options)


def fails(code, *words, arguments):
    """Asserts that the daemon fails with this exit code and one plain line with these words."""
    done = run_cli(*arguments)
    assert done.returncode == code, done
    lines = done.stderr.strip().splitlines()
    assert all(word in lines[-1] for word in words), lines
    assert len(lines) == 1 and "Fatal error" not in done.stderr, lines


def listener_files(certificate=None) -> dict:
    """The keys of a TLS listener with this certificate."""
    made = certificate or server_certificate()
    return {"listenCertFile": made.file, "listenKeyFile": made.key}


class Starting:
    """A daemon whose start is the test's subject: `process` and what it has written."""

    def __init__(self, process, output):
        self.process = process
        self._output = output

    def lines(self) -> list:
        return self._output.read_text().splitlines()

    def says(self, *words):
        """Waits for a line with all these words."""
        eventually(
            lambda: any(all(word in line for word in words) for line in self.lines()),
            what=f"a line with {words}",
        )


@contextlib.contextmanager
def starting(*arguments, prefix=()):
    """Runs the daemon's command line beside the test. `prefix`: a command that starts it."""
    with tempfile.TemporaryDirectory(prefix="redpool-test-") as folder:
        output = pathlib.Path(folder) / "stderr"
        with open(output, "wb") as stderr:
            process = subprocess.Popen([*prefix, BINARY, *map(str, arguments)], stderr=stderr)
        try:
            yield Starting(process, output)
        finally:
            process.kill()
            process.wait(60)


class Redpool:
    """One running daemon with a pool named `main` on TCP (v4 and v6) and a unix socket, in front of
    a server, or of a middleman on its transport.

    `pool` adds keys to that pool, `pools` adds pools, `settings` adds top-level keys. `limit` is
    the limit on open files at the start, `prefix` a command that starts the daemon, with the
    descriptors `pass_fds`, `binary` the file that it is started from. With `console` it has a
    console at `admin`. `poolTimeout` is longer than its default in every pool, so that a busy
    machine does not cause POOLTIMEOUT. With `tls`, `tcp` is a TLS listener.
    """

    def __init__(
        self, server, pool=None, pools=None, settings=None, environment=None, limit=None,
        prefix=(), pass_fds=(), console=False, tls=TLS, binary=BINARY,
    ):
        self._binary = str(binary)
        self._prefix = list(prefix)
        self._pass_fds = pass_fds
        self._killed_on_purpose = False
        self._folder = tempfile.TemporaryDirectory(prefix="redpool-test-")
        self.folder = pathlib.Path(self._folder.name)
        port = free_port()
        self.tcp = Address(host="127.0.0.1", port=port, tls=tls)
        self.tcp6 = Address(host="::1", port=port)
        self.unix = Address(path=str(self.folder / "main.sock"))
        main = {"listen": [a.text for a in (self.tcp, self.tcp6, self.unix)]}
        upstream = getattr(server, "address", None) or getattr(server, "tcp", None)
        # Without a server, `pool` says who names it.
        if upstream:
            main["upstream"] = upstream.text
        if upstream and upstream.tls and "upstream" not in (pool or {}):
            main["tlsCaFile"] = authority().file
        if tls and "listen" not in (pool or {}):
            main |= listener_files()
        if PUBSUB:
            main["pubsub"] = PUBSUB
        main |= pool or {}
        self.config_path = self.folder / "redpool.yaml"
        self.admin = Address(path=str(self.folder / "admin.sock"))
        settings = ({"threads": int(THREADS)} if THREADS else {}) | (settings or {})
        if console:
            settings["admin"] = {"socket": self.admin.path} | settings.get("admin", {})
        file = {"defaults": {"poolTimeout": "8s"}, "pools": {"main": main} | (pools or {})}
        self.file = file | settings
        self.config_path.write_text(yaml(self.file))
        self.log_path = self.folder / "redpool.log"
        self._start(environment or {}, limit)
        try:
            eventually(self._ready, 60, what="the daemon being ready")
        except AssertionError:
            self.process.kill()
            raise

    def _start(self, environment, limit):
        def lower_limit():
            if limit:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [*self._prefix, self._binary, "run", "--config", str(self.config_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | environment,
                preexec_fn=lower_limit,
                pass_fds=self._pass_fds,
                start_new_session=True,
            )

    def _ready(self) -> bool:
        assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.log()}"
        return "event=ready" in self.log()

    def reload(self, refused=False, **changes) -> str:
        """Changes keys of the pool `main`, sends SIGHUP, and returns the log line that tells the
        outcome; with `refused`, the configuration must be refused."""
        self.file["pools"]["main"].update(changes)
        return self.reload_file(yaml(self.file), refused)

    def reload_settings(self, **settings) -> str:
        """The same with keys at the top of the file."""
        self.file.update(settings)
        return self.reload_file(yaml(self.file))

    def reload_file(self, text, refused=False) -> str:
        """The same with another file."""
        self.config_path.write_text(text)
        event = f"event=reload.{'refused' if refused else 'done'}"
        other = f"event=reload.{'done' if refused else 'refused'}"
        done, wrong = self.log().count(event), self.log().count(other)
        self.signal(signal.SIGHUP)
        eventually(
            lambda: self.log().count(event) + self.log().count(other) > done + wrong,
            what="the outcome of a reload",
        )
        assert self.log().count(event) == done + 1, self.log()[-2000:]
        return [line for line in self.log().splitlines() if event in line][-1]

    def connect(self, timeout=20.0) -> Connection:
        return Connection(self.tcp, timeout)

    def console(self, timeout=20.0) -> Connection:
        """A connection to the console."""
        return Connection(self.admin, timeout)

    def show(self, *words) -> list:
        """The rows of a table of the console, each as a dict."""
        with self.console() as console:
            reply = console.command("SHOW", *words, "JSON")
        assert not isinstance(reply, ErrorReply), reply
        return json.loads(reply)

    def warm_up(self):
        """Waits until a first command succeeds: the daemon is ready without waiting for the
        server."""
        with self.connect() as client:
            eventually(lambda: client.command("PING") == b"PONG", what="an answer of the server")

    def has_read(self, client) -> bool:
        """True when the daemon has read everything that the kernel had from the client."""
        mine, theirs = client.socket.getsockname()[1], self.tcp.port
        with open("/proc/net/tcp") as rows:
            for row in list(rows)[1:]:
                local, remote, _, queues = row.split()[1:5]
                if int(local[-4:], 16) == theirs and int(remote[-4:], 16) == mine:
                    return int(queues.split(":")[1], 16) == 0
        return False

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def peak_rss(self) -> int:
        """The highest resident set since the start, in bytes."""
        return self._status("VmHWM") * 1024

    def rss(self) -> int:
        """The resident set now, in bytes."""
        return self._status("VmRSS") * 1024

    def memory(self) -> bytes:
        """Everything that the process can read and write, but for its stacks' guard pages."""
        found, folder = [], pathlib.Path(f"/proc/{self.process.pid}")
        with open(folder / "maps") as maps, open(folder / "mem", "rb") as memory:
            for line in maps:
                span, rights = line.split()[:2]
                if not rights.startswith("rw") or "[v" in line:
                    continue
                start, end = (int(number, 16) for number in span.split("-"))
                memory.seek(start)
                try:
                    found.append(memory.read(end - start))
                except OSError:
                    continue
        return b"".join(found)

    def fds(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu_seconds(self) -> float:
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def limit_fds(self, count):
        """Lowers the running process's soft limit of open files; None restores it."""
        hard = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(
            self.process.pid, resource.RLIMIT_NOFILE, (hard if count is None else count, hard)
        )

    def signal(self, which=signal.SIGTERM):
        self.process.send_signal(which)

    def wait(self, timeout=60.0) -> int:
        """Waits until the process ends by itself. Returns its exit code."""
        return self.process.wait(timeout)

    def stop(self) -> int:
        """Drains the daemon as an operator would. Returns the exit code."""
        if self.process.poll() is None:
            self.signal()
        return self.wait()

    def crash(self):
        """Kills the process, without any cleanup."""
        self.process.kill()
        self.process.wait(60)
        self._killed_on_purpose = True

    def close(self):
        """Ends the process in any state. Fails if it had crashed."""
        ended = None if self._killed_on_purpose else self.process.poll()
        if ended is None:
            self.process.kill()
            self.process.wait(60)
        log = self.log()
        self._folder.cleanup()
        assert ended is None or ended >= 0, f"the daemon died of signal {-ended}: {log[-4000:]}"
        # That of another program is no failure of this one.
        own = [line for line in log.splitlines() if "event=upgrade.refused" not in line]
        assert not any("Fatal error" in line for line in own), log[-4000:]

    def _status(self, field) -> int:
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+)", text, re.M).group(1))


class Direct:
    """Replaces Redpool: has the server's own addresses."""

    def __init__(self, server):
        self.tcp, self.tcp6, self.unix = server.tcp, server.tcp6, server.unix

    def connect(self, timeout=20.0) -> Connection:
        return Connection(self.tcp, timeout)

    def close(self):
        """Does nothing: there is no process."""
