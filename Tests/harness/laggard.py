"""A relay whose connections are slow in unlike ways, as the server's are under load."""

import random
import selectors
import socket
import threading
import time

from .ports import free_port
from .wire import Address

CHUNK = 1 << 16


class _Stream:
    """One connection. What the server sends waits for `delay` seconds."""

    def __init__(self, near, far, delay):
        self.near, self.far, self.delay = near, far, delay
        # Pairs of the time when something is due, and the bytes; b"" is the end.
        self.waiting = []


class Laggard:
    """Stands between the daemon and `server`. Each new connection gets one of the `delays`, by
    chance."""

    def __init__(self, server, delays=(0.0, 0.001, 0.006), seed=1):
        upstream = getattr(server, "address", None) or server.tcp
        self._target = (upstream.host, upstream.port)
        self._delays, self._chance = delays, random.Random(seed)
        self.tcp = self.address = Address(host="127.0.0.1", port=free_port(), tls=upstream.tls)
        self._selector = selectors.DefaultSelector()
        self._streams = []
        self._is_over = False
        self._listener = socket.create_server((self.tcp.host, self.tcp.port), backlog=128)
        self._wake, self._bell = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        self._is_over = True
        self._wake.send(b"x")
        self._thread.join(20)
        for stream in list(self._streams):
            self._end(stream)
        for own in (self._listener, self._wake, self._bell, self._selector):
            own.close()

    def _run(self):
        while not self._is_over:
            due = min((s.waiting[0][0] for s in self._streams if s.waiting), default=None)
            rest = None if due is None else max(0.0, due - time.monotonic())
            for key, _ in self._selector.select(rest):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.data in self._streams:
                    self._read(key.data, key.fileobj)
            self._deliver()

    def _accept(self):
        near, _ = self._listener.accept()
        far = socket.create_connection(self._target)
        stream = _Stream(near, far, self._chance.choice(self._delays))
        self._streams.append(stream)
        for side in (near, far):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(side, selectors.EVENT_READ, stream)

    def _read(self, stream, side):
        try:
            data = side.recv(CHUNK)
            if side is stream.far:
                stream.waiting.append((time.monotonic() + stream.delay, data))
                if not data:
                    self._selector.unregister(stream.far)
            elif data:
                stream.far.sendall(data)
            else:
                self._end(stream)
        except OSError:
            self._end(stream)

    def _deliver(self):
        now = time.monotonic()
        for stream in list(self._streams):
            while stream.waiting and stream.waiting[0][0] <= now:
                data = stream.waiting.pop(0)[1]
                try:
                    if not data:
                        raise ConnectionResetError
                    stream.near.sendall(data)
                except OSError:
                    self._end(stream)
                    break

    def _end(self, stream):
        self._streams.remove(stream)
        for side in (stream.near, stream.far):
            if side in self._selector.get_map():
                self._selector.unregister(side)
            side.close()
