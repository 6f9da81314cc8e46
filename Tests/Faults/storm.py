"""Many clients with TLS at once, in a process of its own.

    storm.py PORT COUNT AUTHORITY

It prepares them all, says `ready`, and waits for a line. Then all connect and begin their handshakes
at once. It says `done SECONDS` when all have been answered, and ends with its standard input.
"""

import contextlib
import resource
import selectors
import socket
import ssl
import sys
import time

from harness.tls import client_context
from harness.wire import encode


class Client:
    """One client in its handshake, over a socket that does not block."""

    def __init__(self, context):
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname="127.0.0.1")
        self._is_open = False
        self._step()
        self._first = self._out.read()

    def connect(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 60)

    def begin(self):
        self.socket.sendall(self._first)
        self.socket.setblocking(False)

    def readable(self) -> bool:
        """Goes on. True when the server has answered a PING."""
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError("closed in a handshake")
        self._in.write(data)
        if not self._is_open and self._step():
            self._is_open = True
            self._tls.write(encode("PING"))
        answer = b""
        if self._is_open:
            with contextlib.suppress(ssl.SSLWantReadError):
                answer = self._tls.read(1 << 16)
        if out := self._out.read():
            self.socket.sendall(out)
        return answer == b"+PONG\r\n"

    def _step(self) -> bool:
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
            return True
        return False


def main():
    port, count = map(int, sys.argv[1:3])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    context = client_context(trusts=sys.argv[3])
    clients = [Client(context) for _ in range(count)]
    selector = selectors.DefaultSelector()
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    for client in clients:
        client.connect(port)
    for client in clients:
        client.begin()
        selector.register(client.socket, selectors.EVENT_READ, client)
    left = count
    while left:
        for key, _ in selector.select():
            if key.data.readable():
                selector.unregister(key.fileobj)
                left -= 1
    print(f"done {time.monotonic() - began:.3f}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
