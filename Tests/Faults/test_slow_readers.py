"""A client that reads, but slowly: how long others on its upstream wait for it."""

import contextlib
import threading
import time

import pytest

from harness.waiting import eventually
from harness.wire import encode

MB = 1 << 20
VALUES = 60


class SlowReader:
    """Asks for much in one go and reads it at 320 KB a second, which is above the pace that
    Redpool demands (a 32nd of 4 MB), until it is closed or let go."""

    def __init__(self, redpool):
        self.client = redpool.connect(timeout=30)
        self.client.send(encode("GET", "slow:value") * VALUES)
        self.taken, self.is_closed = 0, False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._over.wait(0.05):
            try:
                data = self.client.socket.recv(16 << 10)
            except ConnectionResetError:
                data = b""
            if not data:
                self.is_closed = True
                return
            self.taken += len(data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self.client.close()


@pytest.fixture(scope="module")
def server(keep):
    return keep.server()


@pytest.fixture(scope="module")
def redpool(keep, server):
    return keep.redpool(
        server, pool={"maxOpen": 1, "maxPinned": 0, "clientOutputLimit": "4mb"})


@pytest.fixture(autouse=True)
def value(server):
    server.command("SET", "slow:value", b"x" * MB)


def test_others_wait_for_it_only_for_so_long(server, redpool):
    redpool.warm_up()
    with redpool.connect(timeout=30) as other, contextlib.ExitStack() as left:
        server.pause()
        left.callback(server.resume)
        reader = left.enter_context(SlowReader(redpool))
        eventually(lambda: redpool.has_read(reader.client))
        # Right behind what the reader has asked for.
        other.send(encode("PING"))
        eventually(lambda: redpool.has_read(other))
        began = time.monotonic()
        server.resume()
        assert other.read() == b"PONG"
        assert time.monotonic() - began > 1
        assert time.monotonic() - began < 20
        assert "reason=output_limit" in redpool.log()
        reader._thread.join(30)
        assert reader.is_closed


def test_it_is_served_while_nobody_waits(redpool):
    with SlowReader(redpool) as reader:
        reader._thread.join(7)
        assert not reader.is_closed
        assert reader.taken > MB
