"""A Debian 12 with a systemd of its own, in a container on this machine."""

import contextlib
import ctypes
import os
import pathlib
import secrets
import shutil
import subprocess
import tempfile

from .daemon import ROOT
from .waiting import eventually
from .wire import Address, Connection

BASE = ROOT / ".servers" / ".debian-12"
CLONE_NEWNET = 0x40000000
# The mounts and the control group of a guest are its own. The group's hierarchy is mounted for it,
# because a machine without systemd may have none.
START = """
set -e
mount --make-rprivate /
mount -t cgroup2 none /sys/fs/cgroup
mkdir /sys/fs/cgroup/{name}
echo $$ >/sys/fs/cgroup/{name}/cgroup.procs
mount -t tmpfs -o mode=0755 none {folder}
mkdir {folder}/upper {folder}/work {folder}/root
mount -t overlay -o lowerdir={base},upperdir={folder}/upper,workdir={folder}/work none {folder}/root
exec systemd-nspawn --quiet --boot --directory={folder}/root --machine={name} --private-network \
    --register=no --keep-unit --link-journal=no --console=pipe
"""


# A group goes when its processes have ended.
END = """
mount -t cgroup2 none /sys/fs/cgroup && cd /sys/fs/cgroup/{name} &&
    find . -depth -mindepth 1 -type d -exec rmdir {{}} + && cd .. && rmdir {name}
"""


class Unavailable(Exception):
    """This machine cannot boot a guest. The text has the reason."""


class Guest:
    """A booted copy of the root that scripts/install-root has made, with a network of its own. Its
    redis-server is at 127.0.0.1:6379."""

    def __init__(self):
        self._folder = tempfile.mkdtemp(prefix="redpool-guest-")
        # A machine's name ends in a letter or a digit. That of the folder need not.
        self._name = "redpool-guest-" + secrets.token_hex(4)
        self._log = pathlib.Path(self._folder + ".log")
        self._pid = self._network = self._own_network = None
        self._require()
        script = START.format(name=self._name, folder=self._folder, base=BASE)
        with open(self._log, "wb") as log:
            self._nspawn = subprocess.Popen(
                # The guest ends with this process, however that ends.
                ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "sh", "-c", script],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )
        try:
            self._pid = eventually(self._first_process, 60, what="the guest's first process")
            self._network = os.open(f"/proc/{self._pid}/ns/net", os.O_RDONLY)
            self._own_network = os.open("/proc/self/ns/net", os.O_RDONLY)
            eventually(self._is_up, 60, 0.05, "the guest's boot")
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _require():
        if os.getuid() != 0:
            raise Unavailable("only root can boot a guest")
        if not shutil.which("systemd-nspawn"):
            raise Unavailable("no systemd-nspawn: scripts/install-dependencies test installs it")
        if not BASE.is_dir():
            raise Unavailable(f"no root at {BASE}: scripts/install-root makes it")

    def _ended(self) -> str:
        return f"the guest does not boot here: {self._log.read_text(errors='replace')[-2000:]}"

    def _first_process(self):
        """The guest's PID 1: the child of systemd-nspawn that has a network of its own."""
        if self._nspawn.poll() is not None:
            raise Unavailable(self._ended())
        children = pathlib.Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        for child in children.read_text().split():
            with contextlib.suppress(OSError):
                if "systemd" == pathlib.Path(f"/proc/{child}/comm").read_text().strip():
                    return int(child)
        return None

    def _is_up(self) -> bool:
        if self._nspawn.poll() is not None:
            raise Unavailable(self._ended())
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def run(self, *command, check=True, **options) -> subprocess.CompletedProcess:
        """Runs a command in the guest."""
        options = {"capture_output": True, "text": True, "timeout": 120} | options
        done = subprocess.run(
            ["nsenter", f"--target={self._pid}", "--mount", "--uts", "--ipc", "--net", "--pid",
             "--root", "--wd=/", *map(str, command)], **options,
        )
        said = done.stdout[-2000:], done.stderr[-2000:]
        assert not check or done.returncode == 0, (command, said)
        return done

    def systemctl(self, *words, check=True) -> subprocess.CompletedProcess:
        return self.run("systemctl", *words, check=check)

    def shows(self, name, unit="redpool.service") -> str:
        """A property of a unit."""
        return self.systemctl("show", "--value", f"--property={name}", unit).stdout.strip()

    def journal(self, *words, unit="redpool.service") -> list:
        """The lines of the journal about a unit, systemd's own among them."""
        options = ("--quiet", "--output=cat", "--unit", unit, *words)
        return self.run("journalctl", *options).stdout.splitlines()

    def path(self, path) -> pathlib.Path:
        """Where a file of the guest is for this process."""
        return pathlib.Path(f"/proc/{self._pid}/root{path}")

    def write(self, path, text, mode=0o644):
        place = self.path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, bytes):
            place.write_bytes(text)
        else:
            place.write_text(text)
        place.chmod(mode)

    @contextlib.contextmanager
    def network(self):
        """What this thread opens meanwhile is in the guest's network."""
        enter_network(self._network)
        try:
            yield
        finally:
            enter_network(self._own_network)

    def connect(self, port=6380, timeout=20.0) -> Connection:
        with self.network():
            return Connection(Address("127.0.0.1", port), timeout)

    def close(self):
        if self._pid and self._nspawn.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                # The kernel ends all others of the guest with it.
                os.kill(self._pid, 9)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._nspawn.wait(20)
        if self._nspawn.poll() is None:
            self._nspawn.kill()
            self._nspawn.wait(20)
        for descriptor in (self._network, self._own_network):
            if descriptor is not None:
                os.close(descriptor)
        self._network = self._own_network = None
        script = END.format(name=self._name)
        subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, timeout=20)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._log.unlink(missing_ok=True)


def enter_network(descriptor):
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
