"""A network namespace that one link joins to this one. The link can be cut."""

import random
import subprocess

# Private addresses that a test machine's network is unlikely to use.
NETWORK = "10.213"
TRIES = 20


class Unavailable(Exception):
    """This machine does not permit a namespace. The text has the reason."""


class Island:
    """Contains a server's processes. They have one address, `host`, and one link.

    A cut is one of `CUTS` and lasts until `mend`. With the first three, neither side is notified:
    packets vanish.
    """

    # commands, replies: only that direction is lost. both: both are. unplugged: this end of the
    # link is down, so that connects fail at once.
    CUTS = ("commands", "replies", "both", "unplugged")

    def __init__(self):
        self._claim()
        try:
            self._run(f"ip link add {self._near} type veth peer {self._far} netns {self._name}")
            self._run(f"ip -n {self._name} address add {self.host}/30 dev {self._far}")
            self._run(f"ip -n {self._name} link set lo up")
            self._run(f"ip -n {self._name} link set {self._far} up")
            self._run(f"ip address add {self._gateway}/30 dev {self._near}")
            self._run(f"ip link set {self._near} up")
            # Both kinds of cut must be possible.
            self.cut("commands")
            self.mend()
        except (OSError, subprocess.CalledProcessError) as failure:
            self.close()
            raise Unavailable(f"no link into a network namespace: {failure}") from None

    def _claim(self):
        """Takes a name and a network that no other island has: the kernel gives a name out only
        once."""
        for number in random.SystemRandom().sample(range(1 << 14), TRIES):
            high, low = number >> 6, (number & 63) * 4
            self._name = f"redpool-{high}-{low}"
            try:
                self._run(f"ip netns add {self._name}")
                break
            except OSError as failure:
                raise Unavailable(f"no network namespace: {failure}") from None
            except subprocess.CalledProcessError as failure:
                if b"File exists" not in failure.stderr:
                    said = failure.stderr.decode().strip()
                    raise Unavailable(f"no network namespace: {said}") from None
        else:
            raise Unavailable("no network namespace: all names are taken")
        self._near, self._far = f"rpn{high}-{low}", f"rpf{high}-{low}"
        self._gateway, self.host = (f"{NETWORK}.{high}.{low + host}" for host in (1, 2))

    @property
    def gateway(self) -> str:
        """The address of this side."""
        return self._gateway

    @property
    def prefix(self) -> list:
        """The words that run a command inside."""
        return ["ip", "netns", "exec", self._name]

    def cut(self, kind):
        if kind == "commands":
            self._run(f"tc qdisc replace dev {self._near} root pfifo limit 0")
        elif kind == "replies":
            self._run(f"tc -n {self._name} qdisc replace dev {self._far} root pfifo limit 0")
        elif kind == "both":
            self._run(f"ip -n {self._name} link set {self._far} down")
        else:
            self._run(f"ip link set {self._near} down")

    def mend(self):
        """Removes all cuts."""
        for command in (
            f"tc qdisc replace dev {self._near} root pfifo limit 1000",
            f"tc -n {self._name} qdisc replace dev {self._far} root pfifo limit 1000",
            f"ip -n {self._name} link set {self._far} up",
            f"ip link set {self._near} up",
        ):
            self._run(command)

    def close(self):
        """Deletes the namespace. The link goes with it once no process is left inside."""
        subprocess.run(["ip", "netns", "delete", self._name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", self._near], capture_output=True, check=False)

    @staticmethod
    def _run(command):
        subprocess.run(command.split(), capture_output=True, check=True, timeout=20)
