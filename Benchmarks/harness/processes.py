"""Starts, watches and stops the measured processes."""

import contextlib
import os
import pathlib
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = ROOT / ".build/release/redpool"


class Trouble(Exception):
    """The reason why a measurement cannot be made, for the terminal."""


def need(program):
    """The path of a program. Raises Trouble that says how to install it."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if not found:
        raise Trouble(f"{program} is missing: scripts/install-dependencies bench installs it")
    return found


def raise_file_limit(wanted):
    """Raises the limit on open files, also for the processes started later. Returns the resulting
    limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft if soft != resource.RLIM_INFINITY else wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(condition, what, seconds=30.0):
    """Polls until `condition` returns a true value, and returns that. Raises Trouble after
    `seconds`."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise Trouble(f"after {seconds:.0f} s still not so: {what}")
        time.sleep(0.005)


def connect(place, timeout=30.0):
    """A socket connected to `place`: a port on 127.0.0.1, or the path of a unix socket."""
    if isinstance(place, int):
        link = socket.create_connection(("127.0.0.1", place), timeout=timeout)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return link
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(timeout)
    link.connect(str(place))
    return link


def secure(link):
    """A connected socket with TLS. It takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(link)


def answers(place):
    """Whether the process at `place` answers PING, even with an error."""
    try:
        with connect(place, timeout=5) as link:
            link.sendall(b"*1\r\n$4\r\nPING\r\n")
            return bool(link.recv(64))
    except OSError:
        return False


def encode(*words):
    """A command as RESP."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


def read_exactly(link, count):
    """Reads `count` bytes. Raises Trouble if the other side closes before that."""
    left = count
    while left:
        got = link.recv(min(left, 1 << 20))
        if not got:
            raise Trouble("the connection was closed in the middle of a measurement")
        left -= len(got)


def cpu_seconds(pid):
    """CPU time of all threads of a process, in seconds, with the scheduler's own precision."""
    total = 0
    for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def memory(pid):
    """The fields of /proc/PID/status that count memory, in bytes: VmRSS and its like."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) * 1024
             for line in lines if line.startswith(("Vm", "Rss"))}
    if not found:
        raise Trouble(f"process {pid} has ended")
    return found


def memory_bytes(pid, field="VmRSS"):
    """Resident memory (VmRSS) or its peak (VmHWM), pages of files included."""
    return memory(pid)[field]


def own_bytes(pid):
    """Resident memory without pages of files.

    How many pages of a binary are resident depends on where it is loaded and on the page cache:
    two starts of one binary differ by half a megabyte and more.
    """
    found = memory(pid)
    return found["RssAnon"] + found["RssShmem"]


def own_peak_bytes(pid):
    """The peak of resident memory without the pages of files that are resident now, which is
    exact if they have been since the peak was reset."""
    found = memory(pid)
    return found["VmHWM"] - found["RssFile"]


def reset_peak(pid):
    """Resets VmHWM; False where the kernel does not permit it."""
    try:
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:
        return False
    return True


@contextlib.contextmanager
def on_one_processor(*pids):
    """Puts running processes, and those started meanwhile, on one processor, for a `with` block."""
    threads = [0, *(int(task.name) for pid in pids
                    for task in pathlib.Path(f"/proc/{pid}/task").iterdir())]
    before = {thread: os.sched_getaffinity(thread) for thread in threads}
    processor = min(before[0])
    try:
        for thread in threads:
            os.sched_setaffinity(thread, {processor})
        yield
    finally:
        for thread, allowed in before.items():
            os.sched_setaffinity(thread, allowed)


def stopped(pid):
    """Whether every thread of a process is stopped by SIGSTOP."""
    for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if (thread / "stat").read_text().rsplit(")", 1)[1].split()[0] not in "Tt":
            return False
    return True


class Stage:
    """A temporary directory and the processes started in it."""

    def __enter__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="redpool-bench-"))
        self.processes = []
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            self.end(process)
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, *command, **options):
        """Starts a process. Its output goes to a file named after its number."""
        log = self.directory / f"process-{len(self.processes)}.log"
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [str(word) for word in command], stdout=output, stderr=output,
                stdin=subprocess.DEVNULL, cwd=self.directory, **options)
        process.log = log
        self.processes.append(process)
        return process

    def ready(self, process, place, seconds=30.0):
        """Waits until `process` answers at `place`."""
        def check():
            if process.poll() is not None:
                text = process.log.read_text(errors="replace")[-2000:]
                raise Trouble(f"{process.args[0]} ended with {process.returncode}: {text}")
            return answers(place)
        eventually(check, f"{process.args[0]} answers at {place}", seconds)
        return process

    def end(self, process, how=signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(how)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def redis(self, *options):
        """A redis-server without persistence: process, port, path of its unix socket."""
        port = free_port()
        path = self.directory / f"redis-{port}.sock"
        process = self.start(
            need("redis-server"), "--port", port, "--unixsocket", path, "--save", "",
            "--dir", self.directory, "--maxclients", 20000, "--tcp-backlog", 4096, *options)
        self.ready(process, port)
        return process, port, path

    def cluster(self, *options):
        """A cluster of three primaries without replicas: processes, ports."""
        nodes = []
        while len(nodes) < 3:
            port = free_port()
            # The port of the bus is 10,000 higher.
            if port < 55_000:
                nodes.append((self.start(
                    need("redis-server"), "--port", port, "--save", "", "--dir", self.directory,
                    "--cluster-enabled", "yes", "--cluster-config-file", f"nodes-{port}.conf",
                    "--maxclients", 20000, "--tcp-backlog", 4096, *options), port))
        for place, (process, port) in enumerate(nodes):
            self.ready(process, port)
            first, last = 16384 * place // 3, 16384 * (place + 1) // 3
            with connect(port) as link:
                for words in (("CLUSTER", "SET-CONFIG-EPOCH", str(place + 1)),
                              ("CLUSTER", "MEET", "127.0.0.1", str(nodes[0][1])),
                              ("CLUSTER", "ADDSLOTS", *map(str, range(first, last)))):
                    link.sendall(encode(*words))
                    read_exactly(link, len(b"+OK\r\n"))

        def is_whole():
            for _, port in nodes:
                with connect(port) as link:
                    link.sendall(encode("CLUSTER", "INFO"))
                    text = link.recv(4096)
                if b"cluster_state:ok" not in text or b"cluster_known_nodes:3" not in text:
                    return False
            return True
        eventually(is_whole, "the cluster is whole", 60)
        return [process for process, _ in nodes], [port for _, port in nodes]

    def redpool(self, upstream, binary=BINARY, wrapper=(), seconds=30.0, tls_port=None, **keys):
        """Redpool in front of `upstream`, a port, a path, an address, or the ports of a cluster's
        nodes: process, port, path of its unix socket. On `tls_port` it speaks TLS to clients, with
        the files in `keys`."""
        port = free_port()
        path = self.directory / f"redpool-{port}.sock"
        config = self.directory / f"redpool-{port}.yaml"
        where = {int: f"127.0.0.1:{upstream}", str: upstream}.get(
            type(upstream), f"unix:{upstream}")
        source = f"upstream: \"{where}\""
        if isinstance(upstream, list):
            source = f"cluster: [{', '.join(f'127.0.0.1:{node}' for node in upstream)}]"
        secure = f", \"rediss://127.0.0.1:{tls_port}\"" if tls_port else ""
        more = "".join(f", {key}: {value}" for key, value in keys.items())
        config.write_text(
            f"pools: {{main: {{listen: [127.0.0.1:{port}, \"unix:{path}\"{secure}], "
            f"{source}{more}}}}}\n"
            "maxClients: 15000\nlog: {format: text}\n")
        process = self.start(*wrapper, binary, "run", "--config", config)
        self.ready(process, port, seconds)
        return process, port, path


def main_guard(main):
    """Runs `main`. Trouble becomes a message and exit code 1. SIGINT interrupts it, also in the
    background of a script, and SIGTERM ends it, so that all processes of a stage are stopped."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except Trouble as trouble:
        sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {trouble}")
