"""Free TCP ports. Two test processes never get the same one."""

import fcntl
import os
import random
import socket
import tempfile

# Below Linux's ephemeral range (32768 and up), so that no outgoing connection uses one first.
_FIRST, _LAST = 12000, 31999
_held = []
BUS = 10_000


def free_port() -> int:
    """A port free on 127.0.0.1 and ::1, reserved by a file lock until this process ends."""
    return _reserve((0,), _LAST)


def free_port_with_bus() -> int:
    """A port that is free together with the one that nodes of a cluster speak to each other on,
    which is 10,000 above it: before 7.0 no other can be chosen."""
    return _reserve((0, BUS), _LAST - BUS)


def _reserve(offsets, last) -> int:
    for port in random.SystemRandom().sample(range(_FIRST, last), 200):
        locks = [lock for offset in offsets if (lock := _locked(port + offset))]
        if len(locks) == len(offsets):
            _held.extend(locks)
            return port
        for lock in locks:
            lock.close()
    raise RuntimeError("no free TCP port found")


def _locked(port):
    """The lock of a port that nobody has; None if somebody has it."""
    folder = os.path.join(tempfile.gettempdir(), f"redpool-test-ports.{os.getuid()}")
    os.makedirs(folder, exist_ok=True)
    lock = open(os.path.join(folder, str(port)), "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    if _bindable(port):
        return lock
    lock.close()
    return None


def _bindable(port: int) -> bool:
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True
