"""The contenders: who stands between the load generator and the server, freshly started."""

import contextlib
import itertools
import shutil
import statistics
import threading

from . import footprint, processes, tools
from .processes import Trouble

PASSWORD = "a-password-of-the-benchmark"
# What each can carry besides plain commands.
ABILITIES = {
    "direct": {"multi", "block"},
    "direct, TLS": {"multi", "block"},
    "nutcracker": set(),
    "nutcracker -m 512": set(),
    "haproxy": {"multi", "block"},
    "floor": set(),
    "redpool": {"multi", "block"},
    "redpool, own AUTH": {"multi", "block"},
}
# Only for servers with a password: one is TLS without a proxy, one authenticates by itself.
PASSWORD_ONLY = {"direct, TLS", "redpool, own AUTH"}


class Server:
    """A redis-server, with or without password and TLS."""

    def __init__(self, stage, password):
        self.password = PASSWORD if password else None
        self.tls_port = None
        options = []
        if password:
            certificate, key = tools.certificate(stage)
            self.tls_port = processes.free_port()
            options = ["--requirepass", PASSWORD, "--tls-port", self.tls_port, "--tls-cert-file",
                       certificate, "--tls-key-file", key, "--tls-auth-clients", "no"]
        self.process, self.port, self.path = stage.redis(*options)

    def ask(self, *words):
        """The first bytes of a reply; for INFO, CONFIG and what is as short."""
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

    @contextlib.contextmanager
    def watched(self):
        """A list that has the most connections seen at once, in looks some times per second."""
        peak, over = [0], threading.Event()

        def look():
            while not over.wait(0.2):
                # Without the connection that asks.
                peak[0] = max(peak[0], self.number("clients", "connected_clients") - 1)
        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            yield peak
        finally:
            over.set()
            watcher.join()

    def fill(self, workload):
        """Gives every key of a workload a value, so that each GET finds one."""
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


class World:
    """Starts contenders in front of servers, one for every measurement."""

    def __init__(self, stage, binary):
        self.stage = stage
        self.binary = binary
        self.speaks_tls = tools.build(stage)
        self.servers = {}
        self.numbers = itertools.count(1)
        # Configuration of Redpool's pool, where it is not to be the default.
        self.pool_keys = {}

    def server(self, password):
        if password not in self.servers:
            self.servers[password] = Server(self.stage, password)
        return self.servers[password]

    def contenders(self, workload):
        """The names of those that can carry a workload here."""
        for name, abilities in ABILITIES.items():
            if name in PASSWORD_ONLY and not workload.password:
                continue
            if name == "floor" and workload.password:
                continue
            if workload.needs and workload.needs not in abilities:
                continue
            if name == "direct, TLS" and not self.speaks_tls:
                continue
            if name.startswith("direct") and workload.mode == "idle":
                continue
            program = name.split()[0].rstrip(",")
            if program in ("nutcracker", "haproxy") and not (
                    shutil.which(program) or shutil.which(program, path="/usr/sbin")):
                continue
            yield name

    def start(self, name, workload):
        """A contender for a workload: its process (None when direct) and where clients go."""
        server = self.server(workload.password)
        upstream = server.port if workload.upstream_side == "tcp" else server.path
        if name.startswith("direct"):
            return None, self.straight(name, server, workload)
        port = processes.free_port()
        # Not named after the port, which may come again in a long run.
        path = self.stage.directory / f"proxy-{next(self.numbers)}.sock"
        if name.startswith("redpool"):
            process, port, path = self.redpool(name, server, upstream)
        elif name == "haproxy":
            process = self.haproxy(upstream, port, path)
        elif name == "floor":
            process = self.stage.start(self.stage.directory / "floor", upstream, port, path)
        else:
            process = self.nutcracker(name, server, upstream, port, path)
        self.stage.ready(process, port)
        return process, port if workload.client_side == "tcp" else path

    @staticmethod
    def straight(name, server, workload):
        if "TLS" in name:
            return server.tls_port
        sides = {workload.client_side, workload.upstream_side}
        return server.path if "unix" in sides else server.port

    def redpool(self, name, server, upstream):
        keys = dict(self.pool_keys)
        if name == "redpool, own AUTH":
            secret = self.stage.directory / "password"
            secret.write_text(server.password + "\n")
            keys["passwordFile"] = secret
        return self.stage.redpool(upstream, self.binary, **keys)

    def nutcracker(self, name, server, upstream, port, path):
        where = f"127.0.0.1:{upstream}:1" if isinstance(upstream, int) else f"{upstream}:1 main"
        pools = ""
        for pool, listen in (("tcp", f"127.0.0.1:{port}"), ("unix", f"{path} 0666")):
            pools += (f"{pool}:\n  listen: {listen}\n  redis: true\n  hash: fnv1a_64\n"
                      f"  distribution: ketama\n  timeout: 10000\n  backlog: 4096\n")
            if server.password:
                pools += f"  redis_auth: {server.password}\n"
            pools += f"  servers:\n   - {where}\n"
        config = self.stage.directory / f"nutcracker-{port}.yml"
        config.write_text(pools)
        size = ["-m", "512"] if "512" in name else []
        return self.stage.start(
            processes.need("nutcracker"), "-c", config, "-s", processes.free_port(), *size)

    def haproxy(self, upstream, port, path):
        where = f"127.0.0.1:{upstream}" if isinstance(upstream, int) else f"unix@{upstream}"
        config = self.stage.directory / f"haproxy-{port}.cfg"
        config.write_text(
            "global\n  maxconn 9900\n  nbthread 1\n"
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n"
            "  timeout server 60s\n  maxconn 9900\n"
            f"listen main\n  bind 127.0.0.1:{port} backlog 4096\n"
            f"  bind unix@{path} mode 666 backlog 4096\n  server redis {where}\n")
        return self.stage.start(processes.need("haproxy"), "-db", "-f", config)

    def measure(self, name, workload):
        """One run: a fresh contender, a short warm-up, the load; its figures."""
        server = self.server(workload.password)
        server.fill(workload)
        with contextlib.ExitStack() as conditions:
            if workload.one_processor:
                conditions.enter_context(processes.on_one_processor(server.process.pid))
            process, place = self.start(name, workload)
            try:
                if workload.mode == "idle":
                    return self.idle(process, place, workload)
                return self.run(name, server, process, place, workload)
            finally:
                if process:
                    self.stage.end(process)

    def run(self, name, server, process, place, workload):
        secret = server.password if name != "redpool, own AUTH" else None
        options = {
            "m": workload.mode, "c": workload.clients, "P": workload.pipeline,
            "d": workload.size, "k": workload.keys, "a": secret, "r": workload.rate,
            "T": name == "direct, TLS"}
        units = workload.units // (8 if name == "direct, TLS" else 1)
        tools.load(self.stage, place, n=max(units // 50, workload.clients), **options)
        if process:
            # What starting took is another figure (budgets, "memory during start").
            footprint.settled(process.pid)
            footprint.begin_peak(process.pid)
        before = [processes.cpu_seconds(p.pid) for p in (server.process, process) if p]
        with server.watched() as upstreams:
            report = self.load(place, units, workload.slices, options)
        after = [processes.cpu_seconds(p.pid) for p in (server.process, process) if p]
        count = report["units"] * workload.pipeline
        used = [(b - a) / count * 1e6 for a, b in zip(before, after)]
        return {
            "proxy_us": used[1] if process else None,
            "server_us": used[0],
            "load_us": report["cpu"] / count * 1e6,
            "per_second": count / report["seconds"],
            "p50": report["p50"], "p99": report["p99"], "p999": report["p999"],
            "peak_mb": processes.memory_bytes(process.pid, "VmHWM") / 1e6 if process else None,
            "upstreams": upstreams[0],
        }

    def load(self, place, units, slices, options):
        """The report of all the units, sent in so many runs."""
        reports = [tools.load(self.stage, place, n=units // slices, **options)
                   for _ in range(slices)]
        merged = {key: sum(report[key] for report in reports)
                  for key in ("units", "seconds", "cpu")}
        for key in ("p50", "p99", "p999"):
            merged[key] = statistics.median(report[key] for report in reports)
        return merged

    def idle(self, process, place, workload):
        room = (processes.raise_file_limit(1 << 20) - 600) // 2
        count = min(workload.units, room)
        per_client = footprint.idle_client(process, place, count)
        return {"idle_clients": count, "idle_bytes": per_client,
                "peak_mb": processes.memory_bytes(process.pid, "VmHWM") / 1e6}
