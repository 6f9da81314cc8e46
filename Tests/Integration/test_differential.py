"""The comparison itself: it has to see every difference, and only differences."""

import contextlib
import socket
import threading
from types import SimpleNamespace

import pytest

from differential import CLIENT_FIELDS, CLOSE, HELLO_ID, INTEGER, TEXT_LENGTH, same, step
from harness.wire import Address


@contextlib.contextmanager
def canned(answer: bytes):
    """A peer that gives one fixed answer to the first bytes of every connection and closes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client:
                    client.recv(65536)
                    client.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield SimpleNamespace(tcp=Address(host="127.0.0.1", port=listener.getsockname()[1]))
    finally:
        listener.close()


@pytest.mark.parametrize("answer", [b"+PONG!\r\n", b"$4\r\nPONG\r\n", b"", b"-ERR no\r\n"])
def test_a_different_reply_is_seen(server, answer):
    with canned(answer) as peer, pytest.raises(AssertionError, match="step 0"):
        same(server, peer, [step(("PING",))])


def test_a_missing_close_is_seen(server):
    with canned(b"+PONG\r\n") as peer, pytest.raises(AssertionError, match="step 1"):
        same(server, peer, [step(("PING",)), step(("PING",))])


def test_an_extra_byte_before_the_close_is_seen(server):
    with canned(b"+OK\r\n\n") as peer, pytest.raises(AssertionError, match="step 0"):
        same(server, peer, [step(("QUIT",), replies=CLOSE)])


def test_ids_and_times_are_masked_and_nothing_else(server):
    direct = SimpleNamespace(tcp=server.tcp6)
    script = [step(("HELLO", "3")), step(("CLIENT", "ID")), step(("CLIENT", "INFO"))]
    masks = [HELLO_ID, INTEGER, CLIENT_FIELDS, TEXT_LENGTH]
    same(server, direct, script, masks)
    with pytest.raises(AssertionError, match="step 0"):
        same(server, direct, script)
    with canned(b":7\r\n") as peer, pytest.raises(AssertionError, match="step 0"):
        same(server, peer, [step(("CLIENT", "INFO"))], masks)
