"""A private redis-server."""

import functools
import os
import re
import signal
import subprocess
import tempfile

from .certificates import authority, server_certificate
from .ports import free_port, free_port_with_bus
from .waiting import eventually
from .wire import Address, Closed, Connection

# The server for tests that name none: a program on PATH, or a path.
DEFAULT = os.environ.get("REDPOOL_SERVER", "redis-server")
# The daemon speaks TLS to every server and every middleman.
TLS = os.environ.get("REDPOOL_UPSTREAM") == "tls"


@functools.cache
def has_tls(binary) -> bool:
    """Whether the server program is built with TLS."""
    # It complains of the first line that it does not understand, and ends.
    done = subprocess.run(
        [binary, "-"], input="tls-port 0\nport none\n", capture_output=True, text=True, timeout=20
    )
    return "'tls-port 0'" not in done.stdout + done.stderr


class RedisServer:
    """A private redis-server on 127.0.0.1, ::1 and a unix socket, in a folder of its own.

    The harness talks to it over the unix socket only. So every TCP client that the server lists is
    an upstream of the daemon. On an `island` (see the fault tests) it has the island's address and
    link instead. `binary` is a server program other than DEFAULT. With a `certificate` it has a
    port for TLS as well, at `tls`; by default that of the harness, with REDPOOL_UPSTREAM=tls. A
    server with a `bus` can be a node of a cluster.
    """

    def __init__(
        self, *options, password=None, binary=DEFAULT, island=None, certificate=None, bus=False
    ):
        self._binary = binary
        chosen = free_port_with_bus if bus else free_port
        self.port = chosen()
        self._folder = tempfile.TemporaryDirectory(prefix="redpool-redis-")
        self.folder = self._folder.name
        host = island.host if island else "127.0.0.1"
        self._prefix = island.prefix if island else []
        self._hosts = [host, "--protected-mode", "no"] if island else [host, "::1"]
        self.tcp = Address(host=host, port=self.port)
        if not certificate and TLS and not island and has_tls(binary):
            certificate = server_certificate()
        self.certificate = certificate
        self.tls = Address(host=host, port=chosen(), tls=True) if self.certificate else None
        # Where the daemon finds it.
        self.address = self.tls if TLS and self.tls else self.tcp
        self.tcp6 = Address(host="::1", port=self.port)
        self.unix = Address(path=os.path.join(self.folder, "redis.sock"))
        self.log_path = os.path.join(self.folder, "redis.log")
        self.password = password
        self._options = list(options)
        self._process = None
        self._control = None
        self.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self):
        """Starts it with the same port and folder as before, and waits until it answers."""
        self._process = subprocess.Popen(
            self._prefix
            + [self._binary, "--port", str(self.port), "--bind", *self._hosts]
            + ["--unixsocket", self.unix.path, "--dir", self.folder, "--logfile", self.log_path]
            + ["--save", "", "--loglevel", "verbose", "--maxclients", "10000"]
            + (["--requirepass", self.password] if self.password else [])
            + self._tls_options()
            + self._options,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        eventually(self._answers, 60, what="redis-server answering")

    def _tls_options(self) -> list:
        if not self.tls:
            return []
        return [
            *("--tls-port", str(self.tls.port), "--tls-auth-clients", "no"),
            *("--tls-cert-file", self.certificate.file, "--tls-key-file", self.certificate.key),
            *("--tls-ca-cert-file", authority().file),
        ]

    def stop(self, how=signal.SIGTERM):
        """Ends the process with a signal (SIGKILL for a crash) and waits until it has ended."""
        self._forget_control()
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(how)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(60)

    def restart(self, how=signal.SIGTERM):
        self.stop(how)
        self.start()

    def restart_as(self, binary):
        """Restarts with another server program on the same addresses."""
        self.stop()
        self._binary = binary
        self.start()

    def pause(self):
        """Stops the process: connections stay, nothing is answered."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self):
        self._process.send_signal(signal.SIGCONT)

    def close(self):
        self.stop(signal.SIGKILL)
        self._folder.cleanup()

    def command(self, *arguments):
        """Runs one command over the harness's own connection."""
        if self._control and self._control.is_answered():
            # A Sentinel closes the clients of a server whose role it changes.
            self._forget_control()
        if not self._control:
            self._control = self.connect()
        return self._control.command(*arguments)

    def connect(self) -> Connection:
        """A new authenticated connection over the unix socket. No count includes it."""
        made = Connection(self.unix, timeout=30)
        if self.password:
            assert made.command("AUTH", self.password) == b"OK"
        return made

    def forget_password(self, password):
        """Sets the password for the harness's later connections, after CONFIG SET requirepass."""
        self.password = password
        self._forget_control()

    def info(self, field: str) -> str:
        try:
            text = self.command("INFO", "everything")
        except Closed:
            # A Sentinel has closed the connection with the command on its way.
            self._forget_control()
            text = self.command("INFO", "everything")
        found = re.search(rf"^{field}:(.*?)\r?$", text.decode(), re.M)
        assert found, f"INFO has no {field}"
        return found.group(1)

    def upstreams(self, connection=None) -> list:
        """The server's TCP clients, each as a dict of CLIENT LIST's fields."""
        text = connection.command("CLIENT", "LIST") if connection else self.command("CLIENT", "LIST")
        rows = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in text.decode().splitlines()]
        return [row for row in rows if "U" not in row["flags"]]

    def client_count(self) -> int:
        """The number of upstream connections that the daemon has now."""
        return len(self.upstreams())

    def unread_bytes(self) -> int:
        """Bytes in the kernel that a paused server has not read, over all its TCP connections."""
        total = 0
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            with open(table) as rows:
                for row in list(rows)[1:]:
                    _, local, _, state, queues = row.split()[:5]
                    if int(local.rsplit(":", 1)[1], 16) == self.address.port and state == "01":
                        total += int(queues.split(":")[1], 16)
        return total

    def log(self) -> str:
        with open(self.log_path, errors="replace") as text:
            return text.read()

    def _answers(self) -> bool:
        assert self._process.poll() is None, f"redis-server ended: {self.log()}"
        try:
            with Connection(self.unix, timeout=5) as probe:
                reply = probe.command("PING")
                return reply == b"PONG" or reply.startswith(b"NOAUTH")
        except OSError:
            return False

    def _forget_control(self):
        if self._control:
            self._control.close()
            self._control = None
