"""The servers to compare with.

The first is the one on PATH (or REDPOOL_SERVER), then those that scripts/install-servers has
fetched, then those of REDPOOL_SERVERS: paths of server programs, separated by colons.
"""

import os
import pathlib
import re
import subprocess
from dataclasses import dataclass

from .server import DEFAULT as ON_PATH

# The servers that Redpool has to be tested with, whether or not they are found here.
WANTED = ("redis 6.2", "redis 7.0", "redis 7.2", "redis 7.4", "valkey 8.0", "redis 8.0", "valkey 8.1")
WHY_MISSING = "not here: scripts/install-servers fetches it, or REDPOOL_SERVERS names one"
FETCHED = pathlib.Path(__file__).resolve().parents[2] / ".servers"


@dataclass(frozen=True)
class Server:
    """A server program and the version that it reports, for example `7.0.15`."""

    path: str
    product: str
    text: str

    def __str__(self):
        return f"{self.product}-{self.text}"

    @property
    def name(self) -> str:
        """As in WANTED."""
        return f"{self.product} {'.'.join(self.text.split('.')[:2])}"

    def is_valkey(self, *version) -> bool:
        """Whether it is a Valkey of this version or a later one."""
        return self.product == "valkey" and tuple(map(int, self.text.split("."))) >= version

    @property
    def splits_replies(self) -> bool:
        """Whether a script's errors are sent with the CR and LF that they contain."""
        return self.product == "valkey" and not self.is_valkey(8, 1)

    @property
    def shows_past_transactions(self) -> bool:
        """Whether CLIENT INFO has multi=0 for ever after a connection's first MULTI or WATCH."""
        return self.is_valkey(8, 1)

    @property
    def reads_subcommands_to_nul(self) -> bool:
        """Whether `ID\0x` is always the subcommand ID, not only by chance."""
        return self.compatible < (7, 0) or self.is_valkey(8, 1)

    @property
    def compares_with_last_name(self) -> bool:
        """Whether `GET\0x` is GET after a GET: the server compares with the name of the
        connection's last command as a C string, to save a look-up."""
        return self.product == "redis" and self.compatible >= (8, 0)

    @property
    def compatible(self) -> tuple:
        """The version of Redis that it is compatible with; Valkey reports 7.2.4."""
        return (7, 2, 4) if self.product == "valkey" else tuple(map(int, self.text.split(".")))


def ask(path) -> Server:
    """Asks a program for its version, as in `Redis server v=7.0.15 sha=...`."""
    done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20)
    found = re.match(r"(\w+) server v=([\d.]+)", done.stdout)
    assert found, f"{path} is no server: {done.stdout or done.stderr}"
    return Server(path, found[1].lower(), found[2])


def find() -> list:
    named = [path for path in os.environ.get("REDPOOL_SERVERS", "").split(":") if path]
    fetched = sorted(map(str, FETCHED.glob("[!.]*"))) if FETCHED.is_dir() else []
    made = {}
    for path in (ON_PATH, *fetched, *named):
        server = ask(path)
        made.setdefault(str(server), server)
    return list(made.values())


FOUND = find()
DEFAULT = FOUND[0]
