"""Redpool's footprint: file size, start-up, and memory per client."""

import contextlib
import os
import signal
import statistics
import subprocess
import time

from . import processes
from .processes import (Trouble, connect, cpu_seconds, encode, eventually, memory_bytes, own_bytes,
                        own_peak_bytes)

IDLE_CLIENTS = 4000
ACTIVE_CLIENTS = 1000
STARTS = 5
FURTHER_CHANNELS = 100
PING = encode("PING"), b"+PONG\r\n"


def stripped_size(stage, binary):
    """Bytes of the stripped binary, as in a package."""
    copy = stage.directory / "redpool-stripped"
    subprocess.run([processes.need("strip"), "-o", copy, binary], check=True)
    return copy.stat().st_size


def start_up(stage, upstream, binary):
    """Medians over several starts: ms until the first reply, ms of CPU until then, own bytes then,
    their peak until then, and resident bytes, pages of files included."""
    rows = []
    for _ in range(STARTS):
        before = time.monotonic()
        daemon, _, _ = stage.redpool(upstream, binary)
        elapsed = time.monotonic() - before
        rows.append((elapsed * 1e3, cpu_seconds(daemon.pid) * 1e3, own_bytes(daemon.pid),
                     own_peak_bytes(daemon.pid), memory_bytes(daemon.pid)))
        stage.end(daemon)
    return [statistics.median(column) for column in zip(*rows)]


@contextlib.contextmanager
def clients(count, place):
    links = []
    try:
        for _ in range(count):
            links.append(connect(place))
        yield links
    finally:
        for link in links:
            link.close()


def ask(links, command, reply, together=None):
    """Every client sends once and reads the reply, `together` (or all) of them at a time."""
    step = together or len(links)
    for start in range(0, len(links), step):
        for link in links[start:start + step]:
            link.sendall(command)
        for link in links[start:start + step]:
            processes.read_exactly(link, len(reply))


def settled(pid):
    """The process's own bytes, once two samples a tick of the daemon apart are equal."""
    looks = [own_bytes(pid)]

    def steady():
        looks.append(own_bytes(pid))
        return len(looks) > 40 and max(looks[-40:]) == min(looks[-40:])
    eventually(steady, "the memory of the daemon does not change any more")
    return looks[-1]


def idle_client(daemon, place, count=IDLE_CLIENTS):
    """Own bytes per client that has sent one command and is idle now.

    The first hundred clients are not counted: the tables grow for the first time with them.
    """
    room = processes.raise_file_limit(count + 1000) - 200
    if room < count:
        raise Trouble(f"{count} clients need a limit of {count + 200} open files (ulimit -Hn)")
    with clients(100, place) as first:
        ask(first, *PING, 10)
        before = settled(daemon.pid)
        with clients(count, place) as many:
            ask(many, *PING, 10)
            return (settled(daemon.pid) - before) / count


def listener(daemon, place, count=IDLE_CLIENTS):
    """Own bytes that an idle client takes more when it has subscribed to a channel, and for
    each further channel."""
    names, words = [f"news:{number}" for number in range(FURTHER_CHANNELS)], b""
    for number, name in enumerate(names, 2):
        words += encode("subscribe", name) + b":%d\r\n" % number
    first = encode("SUBSCRIBE", "news"), encode("subscribe", "news") + b":1\r\n"
    more = encode("SUBSCRIBE", *names), words
    with clients(100, place) as before:
        for command, reply in (PING, first, more):
            ask(before, command, reply, 10)
        with clients(count, place) as many:
            looks = []
            for command, reply in (PING, first, more):
                ask(many, command, reply, 10)
                looks.append(settled(daemon.pid))
    idle, one, all_of_them = looks
    return (one - idle) / count, (all_of_them - one) / count / FURTHER_CHANNELS


def begin_peak(pid):
    """Resets the peak of memory. Raises Trouble where the kernel does not permit it."""
    if not processes.reset_peak(pid):
        raise Trouble("the kernel does not let the peak of memory be reset (clear_refs)")


def pipelines(links, size, pipeline, rounds):
    """SET and GET in pipelines by all clients. In each round all send before any reads a reply."""
    value = b"v" * size
    write, written = encode("SET", "key", value), b"+OK\r\n"
    read, found = encode("GET", "key"), b"$%d\r\n%s\r\n" % (size, value)
    for _ in range(rounds):
        ask(links, write * pipeline, written * pipeline)
        ask(links, read * pipeline, found * pipeline)


def warm_up(daemon, links):
    """Sends enough commands for the daemon to give back the memory of its start. Returns the memory
    that is left."""
    pipelines(links, 16, 64, 10)
    return settled(daemon.pid)


def at_work(daemon, place, count=50, pipeline=64):
    """The peak of own bytes while clients send small commands in pipelines, without the start."""
    with clients(count, place) as links:
        warm_up(daemon, links)
        begin_peak(daemon.pid)
        pipelines(links, 16, pipeline, 10)
        return own_peak_bytes(daemon.pid)


def active_client(daemon, server, place, count=ACTIVE_CLIENTS):
    """Own bytes per client whose command waits for a stopped server."""
    command, reply = encode("SET", "key", b"v" * 16), b"+OK\r\n"
    with clients(count, place) as links:
        ask(links, command, reply, 10)
        before = settled(daemon.pid)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            for link in links:
                link.sendall(command)
            after = settled(daemon.pid)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        for link in links:
            processes.read_exactly(link, len(reply))
        return (after - before) / count


def after_burst(daemon, place, size, count=50, pipeline=64):
    """Own bytes added by bursts of SET and GET: at the peak, and when all is answered."""
    with clients(count, place) as links:
        before = warm_up(daemon, links)
        begin_peak(daemon.pid)
        pipelines(links, size, pipeline, 5)
        peak = own_peak_bytes(daemon.pid)
        return peak - before, settled(daemon.pid) - before


def measure(stage, server, upstream, binary):
    """All measurements of this file, by name."""
    milliseconds, cpu, own, peak, resident = start_up(stage, upstream, binary)
    found = {
        "stripped binary": stripped_size(stage, binary) / 1e6,
        "start": milliseconds,
        "start CPU": cpu,
        "memory after start": own / 1e6,
        "memory during start": peak / 1e6,
        "resident after start": resident / 1e6,
    }
    daemon, port, _ = stage.redpool(upstream, binary)
    found["memory at work"] = at_work(daemon, port) / 1e6
    stage.end(daemon)
    daemon, port, _ = stage.redpool(upstream, binary)
    found["memory per idle client"] = idle_client(daemon, port)
    stage.end(daemon)
    daemon, port, _ = stage.redpool(upstream, binary, pubsub="shared")
    found["memory per listener"], found["memory per subscription"] = listener(daemon, port)
    stage.end(daemon)
    daemon, port, _ = stage.redpool(upstream, binary, poolTimeout="60s")
    found["memory per active client"] = active_client(daemon, server, port)
    stage.end(daemon)
    for name, size in (("burst of 1 KB", 1024), ("burst of 16 KB", 16384)):
        daemon, port, _ = stage.redpool(upstream, binary)
        peak, left = after_burst(daemon, port, size)
        found[f"{name}, peak"] = peak / 1e6
        found[f"{name}, left"] = left / 1e6
        stage.end(daemon)
    return found
