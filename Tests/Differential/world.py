"""Two servers alike; one of them behind a Redpool with a small pool and noisy neighbours."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys

import mutate
from harness import servers
from harness.daemon import Redpool
from harness.fronts import STUNNEL, Stunnel
from harness.server import TLS, RedisServer
from harness.wire import ErrorReply, encode

# Client ids above this are longer than any number that the scripts make: they can be told apart.
FIRST_ID = 1_000

POOL = {"maxOpen": 6, "poolTimeout": "20s", "minIdle": 1}

# An idle server ends a blocking command's wait with its next cron run only: 100 ms by default.
PROMPT = ("--hz", "500", "--dynamic-hz", "no")

# Users with few rights, on both servers: what they may not do answers NOPERM.
USERS = [
    ("bob", ["on", ">pw", "~*", "&*", "+@all", "-incr", "-discard"]),
    ("ann", ["on", ">pw", "~*", "resetchannels", "&c*", "+@all", "-multi", "-select", "-subscribe"]),
    ("eve", ["on", ">pw", "~*", "&*", "+@all", "-exec", "-client|id", "-client|setname", "-info"]),
    ("nor", ["on", ">pw", "~*", "&*", "+@all", "-client|reply"]),
    ("kim", ["on", ">pw", "~*", "&*", "+@all", "-multi"]),
    ("off", ["off", ">pw", "~*", "+@all"]),
]

# Redis 6.2 takes whole commands away only, and gives subcommands back.
OLD = {"-client|id": "-client", "-client|setname": "+client|reply", "-client|reply": "-client"}


class World:
    """The two sides. `direct` and `proxied` are addresses, everything behind them is equal. With a
    `password` nobody is logged in at the start, and Redpool does not know it. A `relay` is made to
    stand in front of Redpool's server."""

    def __init__(
        self, noise=True, pool=None, server=servers.DEFAULT, password=None, threads=1,
        relay=None,
    ):
        self.server = server
        # Frees what was started when a later part does not start.
        self._started = []
        try:
            for name in ("plain", "pooled"):
                made = RedisServer(*PROMPT, binary=server.path, password=password)
                setattr(self, name, self._keep(made))
            for server in (self.plain, self.pooled):
                prepare(server)
            self._controls = [server.connect() for server in (self.plain, self.pooled)]
            front = self.pooled
            if TLS and STUNNEL and not self.pooled.tls:
                front = self._keep(Stunnel(self.pooled, ""))
            if relay:
                front = self._keep(relay(front))
            self.redpool = self._keep(
                Redpool(front, pool=POOL | (pool or {}), settings={"threads": threads})
            )
            self.direct, self.proxied = self.plain.tcp, self.redpool.tcp
            # In a pipe the ids are those of Redpool's own connections.
            for address in (self.direct, self.pooled.tcp, self.proxied):
                burn_ids(address)
            # The neighbours speak no TLS.
            neighbour = self.redpool.tcp6 if self.proxied.tls else self.proxied
            self._noise = start_noise(neighbour) if noise else None
        except BaseException:
            self.close()
            raise

    def _keep(self, made):
        self._started.append(made)
        return made

    def empty(self):
        for control in self._controls:
            control.send(encode("FLUSHALL"))
        for control in self._controls:
            assert control.read() == b"OK"

    def listened(self, *commands) -> list:
        """What the commands count on each of the two servers: for each number, whether it is 0."""
        data = b"".join(encode(*command.split()) for command in commands)
        sides = []
        for control in self._controls:
            control.send(data)
            replies = [control.read() for _ in commands]
            sides.append([
                [bool(one) for one in reply[1::2]] if isinstance(reply, list) else str(reply)
                for reply in replies
            ])
        return sides

    def by_chance(self, command) -> bool:
        """Whether one of the servers finds a name with a NUL: see `mutate.by_chance`."""
        return any(mutate.by_chance(control, command) for control in self._controls)

    def close(self):
        for control in getattr(self, "_controls", ()):
            control.close()
        noise = getattr(self, "_noise", None)
        if noise:
            noise.kill()
            noise.wait()
        while self._started:
            self._started.pop().close()


@contextlib.contextmanager
def daemon(server, settings=None, **pool):
    """A Redpool alone, whose replies never came out of step."""
    redpool = Redpool(server, pool=pool, settings=settings)
    try:
        yield redpool
        assert "desync" not in redpool.log()
    finally:
        redpool.close()


def prepare(server):
    for name, rules in USERS:
        reply = server.command("ACL", "SETUSER", name, *rules)
        if isinstance(reply, ErrorReply) and b"'-client|" in reply:
            reply = server.command("ACL", "SETUSER", name, *(OLD.get(rule, rule) for rule in rules))
        assert reply == b"OK", reply
    server.command("SCRIPT", "LOAD", "return 1")


def burn_ids(address):
    """Uses client ids up, so that they are longer than the numbers that scripts make."""
    for _ in range(FIRST_ID):
        with socket.create_connection((address.host, address.port)):
            pass


def start_noise(address) -> subprocess.Popen:
    path = pathlib.Path(__file__).with_name("noise.py")
    return subprocess.Popen(
        [sys.executable, str(path), address.host, str(address.port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


__all__ = ["FIRST_ID", "POOL", "USERS", "World", "burn_ids", "daemon", "encode"]
