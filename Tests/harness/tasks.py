"""The threads of another process, which a test can stop."""

import contextlib
import ctypes
import os
import pathlib
import signal

import pytest

from .waiting import eventually


def tasks(process) -> dict:
    """The numbers of a process's threads by name."""
    folder = pathlib.Path(f"/proc/{process.pid}/task")
    return {(task / "comm").read_text().strip(): int(task.name) for task in folder.iterdir()}


def halt(process):
    """Stops another process. Until all its threads stand still, they may read what comes."""
    os.kill(process.pid, signal.SIGSTOP)
    folder = pathlib.Path(f"/proc/{process.pid}/task")
    eventually(
        lambda: all(
            (task / "stat").read_text().rpartition(")")[2].split()[0] == "T"
            for task in folder.iterdir()),
        what="all threads stopped")


# The numbers of epoll_wait, epoll_pwait and epoll_pwait2 on x86-64.
WAITS = ("232", "281", "441")


@contextlib.contextmanager
def stopped(thread):
    """Stops one thread of another process, where it waits for events: anywhere else it may have a
    lock of malloc's or OpenSSL's, which the other threads would wait for."""
    libc = ctypes.CDLL(None, use_errno=True)
    attach, detach, any_thread = 16, 17, 0x40000000

    def is_stopped() -> bool:
        if libc.ptrace(attach, thread, None, None) != 0:
            pytest.skip(f"cannot stop a thread: {os.strerror(ctypes.get_errno())}")
        os.waitpid(thread, any_thread)
        if pathlib.Path(f"/proc/{thread}/syscall").read_text().split()[0] in WAITS:
            return True
        libc.ptrace(detach, thread, None, None)
        return False

    eventually(is_stopped, 60, what="a thread that waits for events")
    try:
        yield
    finally:
        libc.ptrace(detach, thread, None, None)
