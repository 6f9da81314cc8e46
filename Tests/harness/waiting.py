"""Waiting for a condition, always with a deadline."""

import threading
import time


def eventually(condition, timeout=20.0, interval=0.01, what="condition"):
    """Calls `condition` until it returns something true, and returns that.

    The deadline is long enough for a busy machine, and shorter than the timers (30 s and more) by
    which the daemon gets over what it has missed. Raises AssertionError with the last value seen
    once `timeout` seconds have passed.
    """
    value = comes(condition, timeout, interval)
    if not value:
        raise AssertionError(f"{what} not met within {timeout} s, last value: {value!r}")
    return value


def comes(condition, timeout, interval=0.01):
    """Calls `condition` until it returns something true or `timeout` seconds have passed; returns
    its last value."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while True:
        value = condition()
        if value or time.monotonic() >= deadline:
            return value
        pause.wait(interval)


def always(condition, seconds, interval=0.02, what="condition"):
    """Asserts that `condition` stays true for `seconds`; only for 'nothing must happen'."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while time.monotonic() < deadline:
        assert condition(), f"{what} did not stay true"
        pause.wait(interval)
