"""Messages to many subscribers: what they cost Redpool and the server, and what others feel of them.

Each contender has a server and an audience of its own, and all of them take turns, a slice each.
Messages are published to the server itself, so that Redpool does nothing but deliver them.
"""

import contextlib
import json
import statistics
import subprocess

from . import contenders, footprint, processes, tools
from .processes import Trouble
from .servers import Server

KEYS = {"pubsub": "shared", "maxOpen": 4}
# While others are measured, a message goes to all listeners so often.
INTERVAL_MS = 250


class Audience:
    """The listeners of a contender, and a publisher (listen.c)."""

    def __init__(self, stage, place, server, workload):
        options = ["-h", place, "-p", server.port, "-c", workload.listeners,
                   "-C", workload.channels, "-P", workload.pipeline, "-d", workload.size]
        self.process = subprocess.Popen(
            [stage.directory / "listen", *map(str, options)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.line("ready")

    def line(self, word=""):
        found = self.process.stdout.readline()
        if not found.startswith(word or "{"):
            self.process.kill()
            errors = self.process.stderr.read().strip()
            raise Trouble(f"{' '.join(map(str, self.process.args))}: {errors}")
        return found

    def begin(self, batches, interval_ms=0):
        """Begins to publish so many batches."""
        self.process.stdin.write(f"{batches} {interval_ms * 1000}\n")
        self.process.stdin.flush()

    def finish(self):
        """The report, when all of them have been delivered."""
        return json.loads(self.line())

    def leave(self):
        """Ends it. Raises Trouble if anything has come that was not published."""
        self.process.stdin.close()
        self.line("ended")
        self.process.wait(timeout=60)

    def end(self):
        with self.process:
            self.process.kill()


class Hall:
    """A contender that has been started, with its server and its audience."""

    def __init__(self, world, name, workload):
        self.stage, self.name, self.workload = world.stage, name, workload
        self.server = Server(world.stage, False, False)
        self.process, self.place = None, self.server.port
        if name == contenders.SHARING:
            self.process, self.place, _ = world.stage.redpool(
                self.server.port, world.binary, **{**KEYS, **world.pool_keys})
        self.audience = Audience(world.stage, self.place, self.server, workload)
        # Its clients feel the processors alone.
        self.idle = Server(world.stage, False, False) if workload.rate else None

    def warm_up(self, batches):
        self.audience.begin(batches)
        self.audience.finish()
        if self.process:
            footprint.begin_peak(self.process.pid)

    def cpu_seconds(self):
        return (sum(map(processes.cpu_seconds, self.server.pids)),
                processes.cpu_seconds(self.process.pid) if self.process else 0)

    def send(self, batches):
        """The figures of so many batches, one after the other."""
        before = self.cpu_seconds()
        self.audience.begin(batches)
        report = self.audience.finish()
        after = self.cpu_seconds()
        self.check_receivers(report)
        count = report["delivered"]
        used = [(b - a) / count * 1e6 for a, b in zip(before, after)]
        return {
            "server_us": used[0],
            "proxy_us": used[1] if self.process else None,
            "load_us": report["cpu"] / count * 1e6,
            "per_second": count / report["seconds"],
            "last_p50": report["p50"], "last_p99": report["p99"],
            "receivers": report["receivers"] / report["messages"],
            "peak_mb": (processes.memory_bytes(self.process.pid, "VmHWM") / 1e6
                        if self.process else None),
        }

    def check_receivers(self, report):
        """Without a proxy the server counts all subscribers; otherwise it must not."""
        times = report["delivered"] / max(report["receivers"], 1)
        if self.process is None and times != 1:
            raise Trouble(f"the server has counted {report['receivers']} receivers of "
                          f"{report['delivered']} messages")
        if self.process and times <= KEYS["maxOpen"]:
            raise Trouble(f"{self.name} does not share its subscriptions")

    def send_beside(self, units):
        """The latencies of others with this many commands, without messages and with them; and
        those of clients of a server that has nothing to do with them, meanwhile."""
        workload = self.workload
        options = {"m": "rate", "c": workload.clients, "r": workload.rate, "n": units}
        quiet = tools.load(self.stage, self.place, **options)
        messages = max(1, units * 1000 // workload.rate // INTERVAL_MS)
        found = []
        for place in (self.place, self.idle.port):
            found.append(tools.load(self.stage, place, **options,
                                    begin=lambda: self.audience.begin(messages, INTERVAL_MS)))
            report = self.audience.finish()
            self.check_receivers(report)
        busy, idle = found
        return {
            "last_p50": report["p50"], "last_p99": report["p99"],
            **{f"quiet_{field}": quiet[field] for field in ("p50", "p99", "p999")},
            **{field: busy[field] for field in ("p50", "p99", "p999")},
            **{f"idle_{field}": idle[field] for field in ("p50", "p99", "p999")},
            "added_ms": (busy["p99"] - quiet["p99"]) / 1000,
        }

    def end(self):
        self.audience.end()
        if self.process:
            self.stage.end(self.process)
        self.server.end(self.stage)
        if self.idle:
            self.idle.end(self.stage)


def middle(slices):
    """The median of each figure."""
    return {key: None if value is None else statistics.median(part[key] for part in slices)
            for key, value in slices[0].items()}


def measure(world, names, workload):
    """The figures of contenders that all run at once, by name."""
    batches = max(1, workload.units // workload.slices)
    with contextlib.ExitStack() as stack:
        halls = []
        for name in names:
            halls.append(Hall(world, name, workload))
            stack.callback(halls[-1].end)
            halls[-1].warm_up(1 if workload.rate else max(2, batches // 4))
        slices = {name: [] for name in names}
        for turn in range(workload.slices):
            shift = turn % len(halls)
            for hall in halls[shift:] + halls[:shift]:
                send = hall.send_beside if workload.rate else hall.send
                slices[hall.name].append(send(batches))
        for hall in halls:
            hall.audience.leave()
        return {name: middle(found) for name, found in slices.items()}
