"""Other programs that end TLS in front of a server."""

import pathlib
import shutil
import subprocess
import tempfile

from .certificates import server_certificate
from .ports import free_port
from .server import RedisServer
from .waiting import eventually
from .wire import Address, Connection

STUNNEL, HAPROXY = shutil.which("stunnel"), shutil.which("haproxy", path="/usr/sbin:/usr/bin")


class Front:
    """A process that accepts TLS at `tcp` and passes the bytes on to `server`, which has none."""

    def __init__(self, server: RedisServer, options, certificate=None):
        certificate = certificate or server_certificate()
        self._folder = tempfile.TemporaryDirectory(prefix="redpool-front-")
        self._path = pathlib.Path(self._folder.name) / "configuration"
        self._both = pathlib.Path(self._folder.name) / "both.pem"
        self._both.write_text(
            pathlib.Path(certificate.file).read_text() + pathlib.Path(certificate.key).read_text()
        )
        self.tcp = self.address = Address("127.0.0.1", free_port(), tls=True)
        self._path.write_text(self.text(server, options))
        self._process = None
        self.start()

    def text(self, server, options) -> str:
        raise NotImplementedError

    def start(self):
        self._process = subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(self._listens, what="the front listening")

    def command(self) -> list:
        raise NotImplementedError

    def _listens(self):
        assert self._process.poll() is None, "the front has ended"
        try:
            Connection(Address("127.0.0.1", self.tcp.port)).close()
        except OSError:
            return False
        return True

    def restart(self):
        """Kills it with all its connections."""
        self._process.kill()
        self._process.wait(20)
        self.start()

    def close(self):
        self._process.kill()
        self._process.wait(20)
        self._folder.cleanup()


class Stunnel(Front):
    def text(self, server, options):
        return (
            f"foreground = yes\npid =\ndebug = 3\nsyslog = no\n[redis]\ncert = {self._both}\n"
            f"accept = 127.0.0.1:{self.tcp.port}\nconnect = 127.0.0.1:{server.port}\n{options}\n"
        )

    def command(self):
        return [STUNNEL, str(self._path)]


class Haproxy(Front):
    def text(self, server, options):
        return (
            "global\n  maxconn 200\n  tune.ssl.default-dh-param 2048\n"
            "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 60s\n"
            f"  timeout server 60s\nlisten redis\n"
            f"  bind 127.0.0.1:{self.tcp.port} ssl crt {self._both} {options}\n"
            f"  server one 127.0.0.1:{server.port}\n"
        )

    def command(self):
        return [HAPROXY, "-db", "-f", str(self._path)]
