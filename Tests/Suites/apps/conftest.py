"""Where the applications find Redis, and their processes."""

import contextlib
import os
import pathlib
import subprocess
import sys
import threading
import time

import pytest
import redis

PORT = int(os.environ["REDIS_PORT"])


@pytest.fixture
def url():
    return f"redis://127.0.0.1:{PORT}/0"


@pytest.fixture
def client():
    with redis.Redis(port=PORT) as made:
        made.flushall()
        yield made


@pytest.fixture
def spawn(tmp_path):
    """Starts processes that end with the test; the test fails when one ends by a signal of its own."""
    with contextlib.ExitStack() as stack:

        def start(*command):
            log = open(tmp_path / f"{len(list(tmp_path.iterdir()))}.log", "wb")
            folder = pathlib.Path(__file__).parent
            process = subprocess.Popen(
                [sys.executable, *map(str, command)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
            )
            stack.callback(end, process)
            return process

        yield start


def end(process):
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture
def eventually():
    def wait(condition, timeout=40.0):
        deadline = time.monotonic() + timeout
        pause = threading.Event()
        while True:
            value = condition()
            if value:
                return value
            assert time.monotonic() < deadline, f"not within {timeout} s, last value: {value!r}"
            pause.wait(0.02)

    return wait
