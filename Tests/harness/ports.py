"""Free TCP ports. Two test processes never get the same one."""

import fcntl
import os
import random
import socket
import tempfile

# Below Linux's ephemeral range (32768 and up), so that no outgoing connection uses one first.
_FIRST, _LAST = 12000, 31999
_held = []


def free_port() -> int:
    """A port free on 127.0.0.1 and ::1, reserved by a file lock until this process ends."""
    folder = os.path.join(tempfile.gettempdir(), f"redpool-test-ports.{os.getuid()}")
    os.makedirs(folder, exist_ok=True)
    for port in random.SystemRandom().sample(range(_FIRST, _LAST), 200):
        lock = open(os.path.join(folder, str(port)), "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        if _bindable(port):
            _held.append(lock)
            return port
        lock.close()
    raise RuntimeError("no free TCP port found")


def _bindable(port: int) -> bool:
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True
