"""What scripts/package-deb and its like make of the daemon under test."""

import functools
import pathlib
import subprocess
import tempfile

from .daemon import BINARY, ROOT

_folder = tempfile.TemporaryDirectory(prefix="redpool-package-")


def make(script, name) -> pathlib.Path:
    """Runs a packaging script; the path of what it has made."""
    done = subprocess.run(
        [ROOT / "scripts" / script, "--binary", BINARY, "--output", f"{_folder.name}/{name}"],
        capture_output=True, text=True, timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return pathlib.Path(done.stdout.strip())


@functools.cache
def deb() -> pathlib.Path:
    """The Debian package of this tree. It is made once in a process."""
    return make("package-deb", "deb")
