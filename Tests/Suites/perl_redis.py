"""The tests of Perl's Redis module, from the source package of Debian 12, without Sentinel."""

import json
import os
import pathlib
import re

from cache import debian_source
from outcome import PROGRAM, Outcome, Suite, finish, start

STANDIN = pathlib.Path(__file__).resolve().parent / "standin" / "redis-server-behind"


class PerlRedis(Suite):
    name = "Perl Redis 2.000"

    def prepare(self):
        self.folder = next(debian_source("libredis-perl").glob("Redis-*/t")).parent

    def begin(self, stand, only=None):
        """Every test file starts a server of its own, so the stand's are not used."""
        files = {name.split()[0] for name in only or []} or {
            str(path.relative_to(self.folder)) for path in self.folder.glob("t/*.t")
            if "sentinel" not in path.name
        }
        server = STANDIN if stand.settings else os.environ.get("REDPOOL_SERVER", "redis-server")
        environment = {
            "REDIS_SERVER_PATH": str(server), "TMPDIR": str(stand.folder),
            "REDPOOL_SUITE_SETTINGS": json.dumps(stand.settings),
        }
        command = ["prove", "-v", f"-I{self.folder}/lib", f"-I{self.folder}/t/tlib"]
        # Logs and dumps go where the tests run; two runs must not share that place.
        (stand.folder / "t").symlink_to(self.folder / "t")
        return start([*command, *sorted(files)], stand, stand.folder, environment)

    def end(self, process, timeout) -> Outcome:
        """A test is named by its file and number: what it says of itself has ports in it."""
        text = finish(process, timeout)
        outcome = Outcome()
        file = ""
        pattern = r"^(t/\S+\.t) \.\.|^(ok|not ok) (\d+)(.*)|^Dubious, test returned (\d+)"
        for opened, state, number, words, code in re.findall(pattern, text, re.M):
            if opened:
                file = opened
            elif code:
                outcome.add(f"{file} end", "failed", f"returned {code}")
            elif "# skip" in words:
                outcome.add(f"{file} {number}", "skipped")
            else:
                outcome.add(f"{file} {number}", "failed" if state == "not ok" else "passed", words)
        if not outcome.tests:
            outcome.add(PROGRAM, "failed", text[-200:])
        return outcome
