"""What a suite's run came to, and running it as a process."""

import os
import signal
import subprocess

import known
import known_cluster


# What fails when a suite ends otherwise than by its tests' failures.
PROGRAM = "the program"


class Outcome:
    """The tests of one run by name."""

    def __init__(self):
        self.tests = {}
        self.messages = {}

    def add(self, name, state, message=""):
        self.tests[name] = state
        if message:
            self.messages[name] = " ".join(message.split())[:160]

    @property
    def failed(self) -> set:
        return {name for name, state in self.tests.items() if state == "failed"}

    @property
    def ran(self) -> set:
        return {name for name, state in self.tests.items() if state != "skipped"}


class Suite:
    """What the driver wants of every suite."""

    name = ""
    # Its client can speak TLS.
    speaks_tls = False
    # Redpool is in front of a cluster, and the direct connection of a cluster-aware client as well.
    in_front_of_cluster = False
    is_aware = False

    def has_cluster(self, threads) -> bool:
        """Whether a stand with so many threads of Redpool's has a cluster."""
        return self.in_front_of_cluster and (threads > 0 or self.is_aware)

    @property
    def known(self) -> list:
        return known_cluster.KNOWN if self.in_front_of_cluster else known.KNOWN

    def reason(self, outcome, test) -> str:
        """Why this test may fail, empty when nothing is known."""
        return known.reason(self.known, self.name, test, outcome.messages.get(test, ""))

    def by_message(self, outcome, test) -> bool:
        """Whether it is known by its message, whatever its name."""
        return known.by_message(self.known, outcome.messages.get(test, ""))

    def prepare(self):
        """Fetches and builds what it needs, if that is not there."""

    def groups(self, names) -> list:
        """Tests to be run again, by the runs that this takes."""
        return [[name] for name in names]


def start(command, stand, folder, environment=None, report=None) -> subprocess.Popen:
    """Starts a suite against a stand, its output kept in the stand's folder."""
    log = stand.folder / "suite.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder,
            env=os.environ | (environment or {}), start_new_session=True,
            # Ignored where the run itself is in the background, and suites end servers by it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    process.log, process.report = log, report
    return process


def finish(process, timeout) -> str:
    """The output of a suite, once it has ended; it is killed with its children at the timeout."""
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise RuntimeError(
            f"still running after {timeout} s\n{process.log.read_text(errors='replace')[-3000:]}"
        ) from None
    return process.log.read_text(errors="replace")
