"""Exact counts per command: what Redpool executes (callgrind), and its system calls (strace).

Counts are taken over N and over 2N commands, and the difference is divided by N, so that one-time
costs (attaching the tool, its first wake-up) cancel out. The load is the same every time: while
SIGSTOP stops the daemon, every client sends its batch, so that one iteration of its loop finds all
of them. There is one upstream: under the tools the daemon is so slow that it would take its server
for stalled and open more connections, at times that differ between runs.
"""

import collections
import contextlib
import os
import pathlib
import re
import signal
import subprocess

from . import footprint, processes
from .processes import Trouble, encode, eventually

VALUE = b"v" * 16
GET = encode("GET", "key:000000000001"), b"$16\r\n" + VALUE + b"\r\n"
SET = encode("SET", "key:000000000001", VALUE), b"+OK\r\n"

# Keys in as many slots, which a cluster of three spreads over its nodes.
SPREAD = (
    b"".join(encode("GET", f"key:{number}") for number in range(16)), b"$-1\r\n" * 16)
# The same with one command for ten of them.
SPLIT = encode("MGET", *(f"key:{number}" for number in range(10))), b"*10\r\n" + b"$-1\r\n" * 10

# What is published, and what each listener gets of it.
NEWS = b"m" * 100
MESSAGE = encode("PUBLISH", "news", NEWS), encode("message", "news", NEWS)

# name: (clients, commands per client and round, command, rounds of N). Of listeners a command is a
# message that one of them gets.
LOADS = {
    "c1 GET": (1, 1, GET, 1000),
    "c1 SET": (1, 1, SET, 1000),
    "c50 GET": (50, 1, GET, 40),
    "c50 SET": (50, 1, SET, 40),
    "P16 GET": (50, 16, GET, 8),
    "P16 SET": (50, 16, SET, 8),
    "TLS upstream c50 GET": (50, 1, GET, 40),
    "TLS clients c50 GET": (50, 1, GET, 40),
    "cluster c50 GET": (50, 1, GET, 40),
    "cluster P16 GET": (50, 16, GET, 8),
    "cluster spread P16 GET": (50, 16, SPREAD, 8),
    "cluster MGET": (50, 1, SPLIT, 10),
    "listeners c100 message": (100, 1, MESSAGE, 20),
    "listeners P16 message": (100, 16, MESSAGE, 8),
}


def side(load):
    """Where TLS is spoken under a load (upstream, clients), cluster or listeners; or an empty
    string."""
    words = load.split()
    if words[0] in ("cluster", "listeners"):
        return words[0]
    return words[1] if words[0] == "TLS" else ""


# The name of each count, and the functions whose calls it adds up. A call from one function of a
# row to another is not counted: the row counts calls from outside, not the allocator's own.
FUNCTIONS = {
    "allocations": {
        "malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign", "mmap",
        "_Znwm", "_Znam"},
    "objects": {"swift_allocObject", "swift_initStackObject"},
    "retains": {
        "swift_retain", "swift_retain_n", "swift_bridgeObjectRetain", "swift_bridgeObjectRetain_n",
        "swift_unknownObjectRetain", "swift_nonatomic_retain"},
    "releases": {
        "swift_release", "swift_release_n", "swift_bridgeObjectRelease",
        "swift_bridgeObjectRelease_n", "swift_unknownObjectRelease", "swift_nonatomic_release"},
    "exclusivity": {"swift_beginAccess"},
}


class Crowd:
    """The clients of one load. They send in step."""

    def __init__(self, daemon, place, load, upstream):
        clients, self.batch, (self.command, self.reply), self.rounds = LOADS[load]
        self.daemon = daemon
        # Of a spread load it is the whole batch.
        times = 1 if "spread" in load else self.batch
        self.request, self.answer = self.command * times, len(self.reply) * times
        enter = self.shake_hands if side(load) == "clients" else processes.connect
        self.links = [enter(place, timeout=60) for _ in range(clients)]
        self.begin(upstream)

    def begin(self, _):
        self.links[0].sendall(SET[0])
        processes.read_exactly(self.links[0], len(SET[1]))

    @property
    def commands(self):
        return len(self.links) * self.batch * self.rounds

    @staticmethod
    def shake_hands(place, timeout):
        """A connection with TLS. Its handshake is over at both ends before the next one begins:
        Redpool does not wait for ever for that."""
        link = processes.secure(processes.connect(place, timeout))
        link.sendall(encode("PING"))
        processes.read_exactly(link, len(b"+PONG\r\n"))
        return link

    def run(self, times):
        """Sends this load's rounds `times` times; each round is answered before the next."""
        for _ in range(self.rounds * times):
            if len(self.links) > 1:
                os.kill(self.daemon, signal.SIGSTOP)
                eventually(lambda: processes.stopped(self.daemon), "the daemon is stopped")
            for link in self.links:
                link.sendall(self.request)
            if len(self.links) > 1:
                os.kill(self.daemon, signal.SIGCONT)
            for link in self.links:
                processes.read_exactly(link, self.answer)

    def close(self):
        for link in self.links:
            link.close()


class Audience(Crowd):
    """The listeners of one load, and a publisher at the server."""

    def begin(self, upstream):
        self.publisher = processes.connect(upstream, timeout=60)
        for link in self.links:
            link.sendall(encode("SUBSCRIBE", "news"))
            processes.read_exactly(link, len(encode("subscribe", "news") + b":1\r\n"))

    def run(self, times):
        for _ in range(self.rounds * times):
            self.publisher.sendall(self.request)
            processes.read_exactly(self.publisher, len(b":1\r\n") * self.batch)
            for link in self.links:
                processes.read_exactly(link, self.answer)

    def close(self):
        self.publisher.close()
        super().close()


@contextlib.contextmanager
def crowd(daemon, place, load, upstream):
    people = (Audience if side(load) == "listeners" else Crowd)(daemon, place, load, upstream)
    try:
        people.run(1)
        yield people
    finally:
        people.close()


def per_command(people, count):
    """The counts per command in a steady state. `count` runs a function and returns its counts."""
    once = count(lambda: people.run(1))
    twice = count(lambda: people.run(2))
    steady = collections.Counter(twice)
    steady.subtract(once)
    return {name: value / people.commands for name, value in steady.items()}


# --- callgrind


def without_debug_information(stage, binary):
    """A copy with symbols only: valgrind cannot read Swift's debug information."""
    copy = stage.directory / "redpool-symbols"
    if not copy.exists():
        subprocess.run(
            [processes.need("objcopy"), "--strip-debug", binary, copy], check=True)
    return copy


class Callgrind:
    """Redpool under callgrind. With `from_start` it counts from the start and keeps the linker's
    names of functions; otherwise it counts once the start is complete."""

    def __init__(self, stage, upstream, binary, from_start=False, max_open=1, **keys):
        self.stage, self.upstream = stage, upstream
        self.output = stage.directory / "callgrind.out"
        self.prefix = stage.directory / "vgdb"
        self.dumps = 0
        copy = without_debug_information(stage, binary)
        wrapper = [
            processes.need("valgrind"), "--tool=callgrind",
            "--demangle=no" if from_start else "--instr-atstart=no",
            f"--vgdb-prefix={self.prefix}", f"--callgrind-out-file={self.output}"]
        try:
            self.process, self.port, _ = stage.redpool(
                upstream, copy, wrapper, seconds=120, maxOpen=max_open, **keys)
        except Trouble as trouble:
            raise Trouble(f"callgrind cannot run Redpool here: {trouble}") from None
        self.place = keys.get("tls_port", self.port)
        if not from_start:
            with footprint.clients(10, self.port) as links:
                footprint.warm_up(self.process, links)
            self.order("instrumentation on")

    def order(self, words):
        done = subprocess.run(
            [processes.need("vgdb"), f"--vgdb-prefix={self.prefix}",
             f"--pid={self.process.pid}", *words.split()],
            capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise Trouble(
                f"vgdb cannot talk to callgrind (it needs the right to ptrace): {done.stderr}")

    def dump(self):
        self.order("dump")
        self.dumps += 1
        path = pathlib.Path(f"{self.output}.{self.dumps}")
        return eventually(lambda: path.exists() and path, "callgrind has written its counts")

    def count(self, work):
        self.dump().unlink()
        work()
        path = self.dump()
        counts = read_callgrind(path.read_text())
        path.unlink()
        return counts

    def measure(self, load):
        """Instructions and calls per command, by the names in FUNCTIONS."""
        with crowd(self.process.pid, self.place, load, self.upstream) as people:
            steady = per_command(people, self.count)
        found = {"instructions": steady["instructions"]}
        for name, functions in FUNCTIONS.items():
            found[name] = sum(steady.get(function, 0) for function in functions)
        found["who"] = {k: v for k, v in steady.items() if k != "instructions"}
        return found


def read_callgrind(text):
    """The calls by function, and the number of instructions, in one output file of callgrind."""
    names = {}
    counts = collections.Counter()
    callee = None
    for line in text.splitlines():
        if line.startswith(("fn=(", "cfn=(")):
            number, _, name = line.partition("(")[2].partition(")")
            if name:
                names[number] = name.strip()
            if line.startswith("cfn"):
                callee = names[number]
        elif line.startswith("calls="):
            # A recursive call has a name of its own, with its depth after an apostrophe.
            counts[callee.partition("'")[0]] += int(line[6:].split()[0])
        elif line.startswith(("totals:", "summary:")):
            counts["instructions"] = int(line.split()[1])
    if not counts["instructions"]:
        raise Trouble("callgrind has counted nothing")
    return counts


# --- strace


class Strace:
    """Redpool itself, with strace attached while counting."""

    def __init__(self, stage, upstream, binary, max_open=1, **keys):
        self.stage, self.upstream = stage, upstream
        self.process, self.port, _ = stage.redpool(upstream, binary, maxOpen=max_open, **keys)
        self.place = keys.get("tls_port", self.port)

    def traced(self):
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
        return all(
            not re.search(r"^TracerPid:\s+0$", (task / "status").read_text(), re.MULTILINE)
            for task in tasks.iterdir())

    def count(self, work):
        summary = self.stage.directory / "strace.out"
        tracer = self.stage.start(
            processes.need("strace"), "-f", "-c", "-U", "calls,name", "-o", summary, "-p",
            self.process.pid)

        def attached():
            if tracer.poll() is not None:
                raise Trouble(
                    "strace cannot attach to Redpool (it needs the right to ptrace): "
                    + tracer.log.read_text(errors="replace"))
            return self.traced()
        eventually(attached, "strace is attached to every thread")
        work()
        tracer.send_signal(signal.SIGINT)
        tracer.wait(timeout=30)
        counts = collections.Counter()
        for line in summary.read_text().splitlines():
            row = re.fullmatch(r"\s*(\d+)\s+(\w+)", line)
            if row and row[2] != "total":
                counts[row[2]] += int(row[1])
        return counts

    def measure(self, load):
        """System calls per command, by name."""
        with crowd(self.process.pid, self.place, load, self.upstream) as people:
            return per_command(people, self.count)
