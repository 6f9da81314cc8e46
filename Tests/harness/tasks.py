"""The threads of another process, which a test can stop."""

import contextlib
import ctypes
import os
import pathlib

import pytest


def tasks(process) -> dict:
    """The numbers of a process's threads by name."""
    folder = pathlib.Path(f"/proc/{process.pid}/task")
    return {(task / "comm").read_text().strip(): int(task.name) for task in folder.iterdir()}


@contextlib.contextmanager
def stopped(thread):
    """Stops one thread of another process."""
    libc = ctypes.CDLL(None, use_errno=True)
    attach, detach, any_thread = 16, 17, 0x40000000
    if libc.ptrace(attach, thread, None, None) != 0:
        pytest.skip(f"cannot stop a thread: {os.strerror(ctypes.get_errno())}")
    os.waitpid(thread, any_thread)
    try:
        yield
    finally:
        libc.ptrace(detach, thread, None, None)
