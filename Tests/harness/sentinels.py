"""A primary with replicas, and the Sentinels that watch them: all private, real processes."""

import contextlib
import pathlib
import signal
import subprocess
import tempfile

from .certificates import authority, server_certificate
from .ports import free_port
from .relay import Relay
from .server import DEFAULT, RedisServer
from .waiting import eventually
from .wire import Address, Connection, ErrorReply

NAME = "mymaster"


class Sentinel:
    """A private Sentinel on 127.0.0.1. It keeps its configuration over restarts.

    `login` is the user and the password that it wants, `("default", ...)` for a password alone.
    With `tls` it speaks nothing else. On an `island` it has the island's address.
    """

    def __init__(self, lines, *, binary=DEFAULT, login=None, tls=False, island=None):
        self._binary, self.login, self.is_tls = binary, login, tls
        self._host = island.host if island else "127.0.0.1"
        self._prefix = island.prefix if island else []
        self._folder = tempfile.TemporaryDirectory(prefix="redpool-sentinel-")
        self.port = free_port()
        self.address = Address(host=self._host, port=self.port, tls=tls)
        self._config = pathlib.Path(self._folder.name) / "sentinel.conf"
        self._log = pathlib.Path(self._folder.name) / "log"
        self._config.write_text("\n".join([*self._own_lines(), *lines]) + "\n")
        self._process = None
        self.start()

    def _own_lines(self) -> list:
        lines = [f"dir {self._folder.name}", f"bind {self._host}", "protected-mode no"]
        if self.is_tls:
            made = server_certificate()
            lines += ["port 0", f"tls-port {self.port}", "tls-replication yes",
                      "tls-auth-clients no", f"tls-cert-file {made.file}",
                      f"tls-key-file {made.key}", f"tls-ca-cert-file {authority().file}"]
        else:
            lines += [f"port {self.port}"]
        if self.login:
            user, password = self.login
            # They ask each other by this one.
            lines += ["requirepass between-sentinels", "sentinel sentinel-pass between-sentinels"]
            if user != "default":
                lines += [f"user {user} on >{password} resetchannels &* -@all +auth +ping "
                          "+subscribe +sentinel|get-master-addr-by-name +sentinel|master "
                          "+sentinel|sentinels +sentinel|myid +sentinel|replicas"]
        return lines

    @property
    def text(self) -> str:
        return f"{self._host}:{self.port}"

    def start(self):
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [*self._prefix, self._binary, self._config, "--sentinel"], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True)
        eventually(self._answers, 60, what="a Sentinel answering")

    def _answers(self) -> bool:
        assert self._process.poll() is None, f"a Sentinel ended: {self._log.read_text()}"
        with contextlib.suppress(OSError):
            return self.command("PING") == b"PONG"
        return False

    def command(self, *arguments):
        """Runs one command on a connection of its own, with all rights."""
        with Connection(self.address, timeout=10) as made:
            if self.login:
                assert made.command("AUTH", "between-sentinels") == b"OK"
            return made.command(*arguments)

    def primary_port(self) -> int:
        """The port of the server that it names."""
        found = self.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
        return int(found[1])

    def facts(self) -> dict:
        """What SENTINEL MASTER says, as texts."""
        row = [item.decode() for item in self.command("SENTINEL", "MASTER", NAME)]
        return dict(zip(row[::2], row[1::2]))

    def stop(self, how=signal.SIGTERM):
        """Ends it and waits."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(how)
            self._process.wait(60)

    def pause(self):
        """Connections stay, nothing is answered."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self):
        self._process.send_signal(signal.SIGCONT)

    def close(self):
        self.stop(signal.SIGKILL)
        self._folder.cleanup()


class Watched:
    """`count` Sentinels that watch a primary with replicas.

    `binary` is a server program other than DEFAULT. `password` is that of the servers, `login` the
    user and password that the Sentinels want. With `tls` servers and Sentinels speak it; servers
    speak it on their port for TLS. `down_after` is in milliseconds. With `is_relayed` the first
    primary is reached through a `Relay`.
    """

    def __init__(self, count=3, replicas=1, *, binary=DEFAULT, password=None, login=None, tls=False,
                 down_after=1000, quorum=None, is_relayed=False):
        self._stack = contextlib.ExitStack()
        self.is_tls, self.password, self.login = tls, password, login
        self._binary, self.down_after = binary, down_after
        self.relay = None
        try:
            self.servers = [self._server() for _ in range(1 + replicas)]
            first = self.servers[0]
            if is_relayed:
                self.relay = Relay(first.tcp)
                self._stack.callback(self.relay.close)
            for server in self.servers[1:]:
                assert server.command("REPLICAOF", "127.0.0.1", self.port_of(first)) == b"OK"
            eventually(self._replicas_are_connected, 60, what="replicas connected")
            lines = [
                f"sentinel monitor {NAME} 127.0.0.1 {self.port_of(first)} {quorum or count // 2 + 1}",
                f"sentinel down-after-milliseconds {NAME} {down_after}",
                f"sentinel failover-timeout {NAME} 5000"]
            if password:
                lines += [f"sentinel auth-pass {NAME} {password}"]
            self.sentinels = [
                self._stack.enter_context(contextlib.closing(
                    Sentinel(lines, binary=binary, login=login, tls=tls)))
                for _ in range(count)]
            eventually(self._know_all, 60, what="Sentinels that know each other and the replicas")
        except BaseException:
            self.close()
            raise

    def _server(self) -> RedisServer:
        options = ["--tls-replication", "yes"] if self.is_tls else []
        if self.password:
            options += ["--masterauth", self.password]
        options += ["--repl-diskless-sync-delay", "0"]
        made = RedisServer(*options, password=self.password, binary=self._binary,
                           certificate=server_certificate() if self.is_tls else None)
        self._stack.callback(made.close)
        return made

    def port_of(self, server) -> int:
        """Where Sentinels and the daemon find it."""
        if self.relay and server is self.servers[0]:
            return self.relay.tcp.port
        return (server.tls if self.is_tls else server.tcp).port

    def _replicas_are_connected(self) -> bool:
        # Only those that are in step.
        return len(self.servers[0].command("ROLE")[2]) == len(self.servers) - 1

    def _know_all(self) -> bool:
        return all(
            int(facts["num-other-sentinels"]) == len(self.sentinels) - 1
            and int(facts["num-slaves"]) == len(self.servers) - 1
            for facts in (sentinel.facts() for sentinel in self.sentinels))

    @property
    def primary(self) -> RedisServer:
        """The server that most Sentinels name."""
        ports = [sentinel.primary_port() for sentinel in self.sentinels]
        most = max(ports, key=ports.count)
        return next(server for server in self.servers if self.port_of(server) == most)

    @property
    def replicas(self) -> list:
        """All servers but the primary."""
        primary = self.primary
        return [server for server in self.servers if server is not primary]

    @property
    def settings(self) -> dict:
        """The keys of a pool, without files: those for passwords and TLS are the test's."""
        return {"sentinels": [sentinel.text for sentinel in self.sentinels], "primaryName": NAME}

    def failover(self) -> RedisServer:
        """SENTINEL FAILOVER of a healthy primary, until all Sentinels name the new one."""
        old = self.primary

        def is_begun():
            # A replica must be known as good: NOGOODSLAVE until then, INPROG behind another one.
            reply = self.sentinels[0].command("SENTINEL", "FAILOVER", NAME)
            return not isinstance(reply, ErrorReply)

        eventually(is_begun, 60, what="a failover begun")
        return self.wait_for_another(old)

    def kill_primary(self) -> RedisServer:
        """kill -9 of the primary, until all Sentinels name another one."""
        old = self.primary
        old.stop(signal.SIGKILL)
        return self.wait_for_another(old)

    def wait_for_another(self, old) -> RedisServer:
        """Waits until all Sentinels name the same server, and it is not this one."""
        def named():
            ports = {sentinel.primary_port() for sentinel in self.sentinels}
            return len(ports) == 1 and ports != {self.port_of(old)}

        eventually(named, 60, what="another primary")
        return self.primary

    def close(self):
        self._stack.close()
