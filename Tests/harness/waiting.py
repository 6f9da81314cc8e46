"""Waits for conditions, always with a deadline."""

import threading
import time


def eventually(condition, timeout=20.0, interval=0.01, what="condition"):
    """Calls `condition` until it returns a true value. Returns that value.

    The deadline is long enough for a busy machine, and shorter than the timers (30 s and more) with
    which the daemon recovers from what it has missed. Raises AssertionError with the last value
    after `timeout` seconds.
    """
    value = comes(condition, timeout, interval)
    if not value:
        raise AssertionError(f"{what} not met within {timeout} s, last value: {value!r}")
    return value


def comes(condition, timeout, interval=0.01):
    """Calls `condition` until it returns a true value or `timeout` seconds have passed. Returns its
    last value."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while True:
        value = condition()
        if value or time.monotonic() >= deadline:
            return value
        pause.wait(interval)


def always(condition, seconds, interval=0.02, what="condition"):
    """Asserts that `condition` stays true for `seconds`. Only for 'nothing must happen'."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while time.monotonic() < deadline:
        assert condition(), f"{what} did not stay true"
        pause.wait(interval)
