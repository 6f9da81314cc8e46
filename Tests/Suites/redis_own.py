"""Redis's own test suite, from its source package, against a server that is already running."""

import fcntl
import re
import shutil

from cache import CACHE, debian_source
from outcome import PROGRAM, Outcome, Suite, finish, start

# Units that have tests for a server which the suite has not started itself, in runs of their own.
UNITS = {
    "collections": [
        "unit/type/list", "unit/type/list-2", "unit/type/list-3", "unit/type/set",
        "unit/type/zset", "unit/type/hash", "unit/sort",
    ],
    "types": [
        "unit/dump", "unit/protocol", "unit/keyspace", "unit/scan", "unit/info-command",
        "unit/type/string", "unit/type/incr", "unit/type/stream", "unit/type/stream-cgroups",
        "unit/bitops", "unit/bitfield", "unit/geo", "unit/hyperloglog",
    ],
    "connections": [
        "unit/expire", "unit/other", "unit/quit", "unit/latency-monitor", "unit/pubsub",
        "unit/slowlog", "unit/introspection", "unit/introspection-2", "unit/lazyfree",
        "unit/pause", "unit/tracking", "unit/violations", "unit/replybufsize",
        "unit/querybuf",
        "integration/redis-cli",
    ],
    "scripts": ["unit/multi", "unit/scripting", "unit/functions"],
}

# Minutes of the server's own arithmetic; and what needs the server's process id.
WITHOUT = ["/GEOSEARCH .*fuzzy test", "SRANDMEMBER with a dict containing long chain"]


def place():
    """A range of ports that no other run has: its number, and the file that holds it while open."""
    folder = CACHE / "ports"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(200):
        held = open(folder / str(number), "w")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return number, held
        except BlockingIOError:
            held.close()
    raise RuntimeError("no range of ports is free")


class RedisOwn(Suite):
    def __init__(self, part):
        self.name = f"redis 7.0.15 runtest, {part}"
        self.units = UNITS[part]

    def prepare(self):
        self.folder = next(debian_source("redis").glob("redis-*/runtest")).parent
        tool = self.folder / "src" / "redis-cli"
        if not tool.exists():
            tool.symlink_to(shutil.which("redis-cli"))

    def groups(self, names) -> list:
        """A test goes on where the one before it has stopped: alone means its unit."""
        return [names] if names else []

    def begin(self, stand, only=None):
        # Without `durable` the first error that is no assertion ends the unit.
        command = ["tclsh", "tests/test_helper.tcl", "--host", "127.0.0.1", "--port", stand.port]
        command += ["--durable", "--dont-clean", "--timeout", 300]
        # Its parts talk over a port below this one. What it takes for free another run may have.
        number, held = place()
        command += ["--baseport", 21111 + number * 40]
        units = {name.partition(": ")[0] for name in only or []} & set(self.units)
        for unit in sorted(units) or self.units:
            command += ["--single", unit]
        for name in WITHOUT:
            command += ["--skiptest", name]
        process = start(command, stand, self.folder)
        process.place = held
        return process

    def end(self, process, timeout) -> Outcome:
        text = re.sub(r"\x1b\[[\d;]*m", "", finish(process, timeout))
        process.place.close()
        # The summary at the end tells the failures again.
        lines = text.partition("The End")[0].splitlines() + [""]
        outcome = Outcome()
        unit = ""
        for line, below in zip(lines, lines[1:]):
            unit = line.removeprefix("Testing ") if line.startswith("Testing ") else unit
            if found := re.match(r"\[(ok|err)\]: (.*?)(?: \(\d+ ms\)| in tests/\S+\.tcl)?$", line):
                self._add(outcome, f"{unit}: {found[2]}", found[1] == "ok", below)
            elif found := re.search(r"\(IN PROGRESS\) (.*)", line):
                self._add(outcome, f"{unit}: {found[1]}", False, "waits for ever")
        if process.returncode != 0 and not outcome.failed:
            outcome.add(PROGRAM, "failed", text[-200:])
        return outcome

    @staticmethod
    def _add(outcome, name, passed, message):
        """Some names stand for several tests: one that fails is a failure of the name."""
        if passed:
            outcome.tests.setdefault(name, "passed")
        else:
            outcome.add(name, "failed", message)
