"""The contenders: the proxies between the load generator and the server, started anew for each run.
"""

import contextlib
import dataclasses
import itertools
import pathlib
import statistics
import subprocess

from . import contenders, footprint, processes, pubsub, tools
from .processes import Trouble
from .servers import Cluster, Server
from .workloads import Workload

@dataclasses.dataclass
class Running:
    """A contender that has been started for a workload. It has no process when it is direct."""

    name: str
    workload: Workload
    server: Server | Cluster
    process: subprocess.Popen | None
    # A port, the ports of a cluster's nodes, or the path of a unix socket.
    place: int | list | pathlib.Path

    def load(self, stage, units, begin=None):
        """The load generator's report for this many units. Calls `begin` when it is connected."""
        workload = self.workload
        secret = self.server.password if self.name != "redpool, own AUTH" else None
        return tools.load(
            stage, self.place, begin, m=workload.mode, c=workload.clients, P=workload.pipeline,
            d=workload.size, k=workload.keys, a=secret, r=workload.rate,
            T=contenders.client_side(self.name, workload) == "tls",
            R=self.name == "direct, TLS resumed",
            O=contenders.keys_of_one(self.name, workload), n=units)

    def warm_up(self, stage, units):
        self.load(stage, units)
        if self.process:
            # The memory of the start is another figure (budgets, "memory during start").
            footprint.settled(self.process.pid)
            footprint.begin_peak(self.process.pid)

    def send(self, stage, units):
        """The figures for this many units."""
        pid = self.process and self.process.pid

        def cpu_seconds():
            servers = sum(map(processes.cpu_seconds, self.server.pids))
            return servers, processes.cpu_seconds(pid) if pid else 0
        before = []
        report = self.load(stage, units, lambda: before.extend(cpu_seconds()))
        after = cpu_seconds()
        if self.name == "direct, TLS resumed" and report["resumed"] < 0.9 * units:
            raise Trouble(f"of {units} sessions only {report['resumed']} were resumed")
        count = report["units"] * self.workload.pipeline
        used = [(b - a) / count * 1e6 for a, b in zip(before, after)]
        return {
            "proxy_us": used[1] if pid else None,
            "server_us": used[0],
            "load_us": report["cpu"] / count * 1e6,
            "per_second": count / report["seconds"],
            "p50": report["p50"], "p99": report["p99"], "p999": report["p999"],
            "peak_mb": processes.memory_bytes(pid, "VmHWM") / 1e6 if pid else None,
        }


def middle(slices):
    """The median of each figure. For peaks the last value, which is the highest."""
    figures = {key: None if value is None else statistics.median(part[key] for part in slices)
               for key, value in slices[0].items()}
    return {**figures, "peak_mb": slices[-1]["peak_mb"]}


class World:
    """Starts contenders in front of servers, a new one for each measurement."""

    def __init__(self, stage, binary, peers=None):
        self.stage = stage
        self.binary = binary
        self.speaks_tls = tools.build(stage)
        # Paths of programs that no package has, by name.
        self.peers = peers or {}
        self.servers = {}
        self.numbers = itertools.count(1)
        # The configuration of Redpool's pool, where it differs from the default.
        self.pool_keys = {}

    def server(self, name, workload):
        """The server of a contender in a workload. Those without TLS and password share one."""
        clustered = contenders.takes_cluster(name, workload)
        kind = clustered, workload.password, workload.password or workload.tls
        if kind not in self.servers:
            _, password, tls = kind
            self.servers[kind] = (
                Cluster(self.stage) if clustered else Server(self.stage, password, tls))
        return self.servers[kind]

    def contenders(self, workload):
        """The names of the contenders that support a workload here."""
        for name in contenders.ABILITIES:
            if not contenders.takes_part(name, workload):
                continue
            if not contenders.is_installed(name, self.peers):
                continue
            if contenders.client_side(name, workload) == "tls" and not self.speaks_tls:
                continue
            yield name

    def start(self, name, workload):
        """Starts a contender for a workload. Returns its process (None when direct) and its address
        for clients."""
        server = self.server(name, workload)
        if isinstance(server, Cluster):
            return self.start_before(name, server)
        side = contenders.client_side(name, workload)
        secure = contenders.upstream_side(name, workload) == "tls"
        upstream = server.path if workload.upstream_side == "unix" else server.port
        if name.startswith("direct"):
            return None, self.straight(side, server, workload)
        port = processes.free_port()
        tls_port = processes.free_port() if side == "tls" else None
        # Not named after the port, which may be reused in a long run.
        path = self.stage.directory / f"proxy-{next(self.numbers)}.sock"
        if name.startswith("redpool"):
            upstream = f"rediss://127.0.0.1:{server.tls_port}" if secure else upstream
            process, port, path = self.redpool(name, server, upstream, tls_port)
        elif name == "haproxy":
            upstream = server.tls_port if secure else upstream
            process = self.haproxy(upstream, port, path, secure, tls_port)
        elif name == "floor":
            process = self.stage.start(self.stage.directory / "floor", upstream, port, path)
        else:
            process = self.nutcracker(name, server, upstream, port, path)
        self.stage.ready(process, port)
        return process, {"tcp": port, "unix": path, "tls": tls_port}[side]

    def start_before(self, name, cluster):
        """Starts a contender in front of a cluster. Returns the same as `start`."""
        if name.startswith("direct"):
            return None, cluster.ports
        if name.startswith("redpool"):
            process, port, _ = self.stage.redpool(cluster.ports, self.binary, **self.pool_keys)
        else:
            port = processes.free_port()
            process = self.predixy(cluster, port)
            self.stage.ready(process, port)
        processes.eventually(lambda: cluster.is_reached(port), f"{name} has found all nodes")
        return process, port

    def predixy(self, cluster, port):
        nodes = "".join(f"        + 127.0.0.1:{node}\n" for node in cluster.ports)
        config = self.stage.directory / f"predixy-{port}.conf"
        config.write_text(
            f"Name bench\nBind 127.0.0.1:{port}\nWorkerThreads 1\n"
            "Authority {\n    Auth {\n        Mode write\n    }\n}\n"
            f"ClusterServerPool {{\n    Servers {{\n{nodes}    }}\n}}\n")
        return self.stage.start(self.peers["predixy"], config)

    @staticmethod
    def straight(side, server, workload):
        if side == "tls":
            return server.tls_port
        sides = {workload.client_side, workload.upstream_side}
        return server.path if "unix" in sides else server.port

    def redpool(self, name, server, upstream, tls_port):
        keys = dict(self.pool_keys)
        if name in contenders.PASSWORD_ONLY:
            secret = self.stage.directory / "password"
            secret.write_text(server.password + "\n")
            keys["passwordFile"] = secret
            if name == "redpool, client logins":
                keys["clientPasswordFile"] = secret
        if str(upstream).startswith("rediss:"):
            keys["tlsCaFile"], _ = tools.certificate(self.stage)
        if tls_port:
            keys["listenCertFile"], keys["listenKeyFile"] = tools.certificate(self.stage)
        return self.stage.redpool(upstream, self.binary, tls_port=tls_port, **keys)

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

    def haproxy(self, upstream, port, path, secure, tls_port):
        where = f"127.0.0.1:{upstream}" if isinstance(upstream, int) else f"unix@{upstream}"
        if secure:
            where += f" ssl verify required ca-file {tools.certificate(self.stage)[0]}"
        listen = ""
        if tls_port:
            both = self.stage.directory / "both.pem"
            both.write_text("".join(file.read_text() for file in tools.certificate(self.stage)))
            listen = f"  bind 127.0.0.1:{tls_port} backlog 4096 ssl crt {both}\n"
        config = self.stage.directory / f"haproxy-{port}.cfg"
        config.write_text(
            "global\n  maxconn 9900\n  nbthread 1\n"
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n"
            "  timeout server 60s\n  maxconn 9900\n"
            f"listen main\n  bind 127.0.0.1:{port} backlog 4096\n"
            f"  bind unix@{path} mode 666 backlog 4096\n{listen}  server redis {where}\n")
        return self.stage.start(processes.need("haproxy"), "-db", "-f", config)

    @contextlib.contextmanager
    def running(self, name, workload):
        process, place = self.start(name, workload)
        try:
            yield Running(name, workload, self.server(name, workload), process, place)
        finally:
            if process:
                self.stage.end(process)

    def measure(self, name, workload):
        """One run: starts a contender, warms it up and loads it. Returns its figures."""
        server = self.server(name, workload)
        server.fill(workload)
        with contextlib.ExitStack() as conditions:
            if workload.one_processor:
                conditions.enter_context(processes.on_one_processor(*server.pids))
            running = conditions.enter_context(self.running(name, workload))
            if workload.mode == "idle":
                return self.idle(running.process, running.place, workload)
            units = contenders.units(name, workload)
            running.warm_up(self.stage, max(units // 50, workload.clients))
            with server.watched() as upstreams:
                figures = running.send(self.stage, units)
            return {**figures, "upstreams": upstreams[0]}

    def measure_in_turns(self, names, workload):
        """The figures of contenders that all run at once, by name. They get the load in turns, a
        slice each, so that disturbances of the host affect all of them."""
        if workload.listeners:
            return pubsub.measure(self, names, workload)
        servers = {name: self.server(name, workload) for name in names}
        different = list(dict.fromkeys(servers.values()))
        for server in different:
            server.fill(workload)
        units = {name: contenders.units(name, workload) // workload.slices for name in names}
        with contextlib.ExitStack() as stack:
            if workload.one_processor:
                pids = [pid for server in different for pid in server.pids]
                stack.enter_context(processes.on_one_processor(*pids))
            crowd, upstreams = [], {}
            for name in names:
                server = servers[name]
                others = server.connections()
                running = stack.enter_context(self.running(name, workload))
                crowd.append(running)
                with server.watched(others) as seen:
                    running.warm_up(self.stage, units[name])
                upstreams[name] = seen[0]
            slices = {name: [] for name in names}
            for turn in range(workload.slices):
                shift = turn % len(crowd)
                for running in crowd[shift:] + crowd[:shift]:
                    slices[running.name].append(running.send(self.stage, units[running.name]))
            return {name: {**middle(found), "upstreams": upstreams[name]}
                    for name, found in slices.items()}

    def idle(self, process, place, workload):
        room = (processes.raise_file_limit(1 << 20) - 600) // 2
        count = min(workload.units, room)
        per_client = footprint.idle_client(process, place, count)
        return {"idle_clients": count, "idle_bytes": per_client,
                "peak_mb": processes.memory_bytes(process.pid, "VmHWM") / 1e6}
