"""The servers behind the contenders: one redis-server, or a cluster of three."""

import binascii
import contextlib
import threading

from . import processes, tools
from .processes import Trouble

PASSWORD = "a-password-of-the-benchmark"
NODES = 3


def key_name(number):
    return f"key:{number:012d}"


def node_of(key):
    """The place of a key's node. The nodes share the slots evenly (Stage.cluster)."""
    slot = binascii.crc_hqx(key.encode(), 0) & 16383
    return max(node for node in range(NODES) if slot >= 16384 * node // NODES)


class Watched:
    """What has connections that can be counted."""

    @contextlib.contextmanager
    def watched(self, others=0):
        """A list with one number: the most connections seen at once, minus `others`. Samples five
        times a second."""
        peak, over = [0], threading.Event()

        def look():
            while not over.wait(0.2):
                peak[0] = max(peak[0], self.connections() - others)
        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            yield peak
        finally:
            over.set()
            watcher.join()


class Server(Watched):
    """A redis-server, with or without password and TLS."""

    def __init__(self, stage, password, tls):
        self.password = PASSWORD if password else None
        options = ["--requirepass", PASSWORD] if password else []
        if tls:
            process, self.port, self.path, self.tls_port = tools.secure_redis(stage, *options)
        else:
            process, self.port, self.path = stage.redis(*options)
        self.process, self.pids = process, [process.pid]

    def end(self, stage):
        stage.end(self.process)

    def ask(self, *words):
        """The first bytes of a reply. For INFO, CONFIG and other short replies."""
        with processes.connect(self.port) as link:
            if self.password:
                link.sendall(processes.encode("AUTH", self.password))
                processes.read_exactly(link, 5)
            link.sendall(processes.encode(*words))
            return link.recv(65536).decode()

    def number(self, section, name):
        """A number from INFO."""
        for line in self.ask("INFO", section).splitlines():
            if line.startswith(name + ":"):
                return int(line.partition(":")[2])
        raise Trouble(f"the server's INFO {section} has no {name}")

    def connections(self):
        """The number of the server's connections, except the one that asks."""
        return self.number("clients", "connected_clients") - 1

    def fill(self, workload):
        """Sets every key of a workload, so that each GET finds one."""
        with processes.connect(self.port) as link:
            if self.password:
                link.sendall(processes.encode("AUTH", self.password))
                processes.read_exactly(link, 5)
            link.sendall(processes.encode("FLUSHALL"))
            processes.read_exactly(link, 5)
            for key in range(workload.keys):
                value = b"v" * workload.size
                link.sendall(processes.encode("SET", f"key:{key:012d}", value))
                processes.read_exactly(link, 5)


class Cluster(Watched):
    """A cluster of three primaries."""

    password = None

    def __init__(self, stage):
        nodes, self.ports = stage.cluster()
        self.pids = [node.pid for node in nodes]

    def connections(self):
        """The number of clients' connections to all nodes, except those that ask."""
        count = 0
        for port in self.ports:
            with processes.connect(port) as link:
                link.sendall(processes.encode("INFO", "clients"))
                text = link.recv(65536).decode()
            count += int(text.partition("connected_clients:")[2].split()[0]) - 1
        return count

    def fill(self, workload):
        """Sets every key of a workload on its node, so that each GET finds one."""
        with contextlib.ExitStack() as links:
            nodes = [links.enter_context(processes.connect(port)) for port in self.ports]
            for link in nodes:
                link.sendall(processes.encode("FLUSHALL"))
                processes.read_exactly(link, 5)
            for key in map(key_name, range(workload.keys)):
                link = nodes[node_of(key)]
                link.sendall(processes.encode("SET", key, b"v" * workload.size))
                processes.read_exactly(link, 5)

    @staticmethod
    def is_reached(port):
        """Whether the proxy at a port has found every node."""
        found = {}
        for number in range(1000):
            found.setdefault(node_of(key_name(number)), key_name(number))
        for key in found.values():
            with processes.connect(port) as link:
                link.sendall(processes.encode("GET", key))
                if not link.recv(4096).startswith(b"$"):
                    return False
        return True
