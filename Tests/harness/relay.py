"""A relay in front of a node, which can hold back what the node sends to its replicas."""

import selectors
import socket
import threading

from .ports import free_port
from .wire import Address

CHUNK = 65_536


class _Stream:
    """One connection: what comes from one side goes to the other one, as it is."""

    def __init__(self, near, far):
        self.near, self.far = near, far
        # A replica says so in its first commands.
        self.is_replication = False

    def pass_on(self, source) -> bool:
        """Whether it goes on."""
        try:
            data = source.recv(CHUNK)
            if not data:
                return False
            if source is self.near and b"REPLCONF" in data:
                self.is_replication = True
            (self.far if source is self.near else self.near).sendall(data)
        except OSError:
            return False
        return True

    def close(self):
        self.near.close()
        self.far.close()


class Relay:
    """The node is reached through `address`. `hold` and `release` are about its replicas only; their
    links stay up."""

    def __init__(self, real):
        self._target = (real.host, real.port)
        self.address = self.tcp = Address(host="127.0.0.1", port=free_port())
        self._is_held = threading.Event()
        self._is_over = False
        self._selector = selectors.DefaultSelector()
        self._streams = []
        self._listener = socket.create_server((self.tcp.host, self.tcp.port), backlog=128)
        self._wake, self._bell = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def hold(self):
        """Replicas get nothing more."""
        self._is_held.set()
        self._wake.send(b"x")

    def release(self):
        """What was held back goes out."""
        self._is_held.clear()
        self._wake.send(b"x")

    def close(self):
        self._is_over = True
        self._wake.send(b"x")
        self._thread.join()
        for stream in self._streams:
            stream.close()
        for own in (self._listener, self._wake, self._bell, self._selector):
            own.close()

    def _run(self):
        while not self._is_over:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._bell:
                    self._bell.recv(CHUNK)
                elif key.data in self._streams and not key.data.pass_on(key.fileobj):
                    self._end(key.data)
            self._judge()

    def _accept(self):
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(self._target)
        except OSError:
            near.close()
            return
        stream = _Stream(near, far)
        self._streams.append(stream)
        for side in (near, far):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(side, selectors.EVENT_READ, stream)

    def _judge(self):
        """What a replica is sent is not read while it is held back."""
        for stream in self._streams:
            is_read = stream.far in self._selector.get_map()
            is_wanted = not (stream.is_replication and self._is_held.is_set())
            if is_wanted and not is_read:
                self._selector.register(stream.far, selectors.EVENT_READ, stream)
            elif is_read and not is_wanted:
                self._selector.unregister(stream.far)

    def _end(self, stream):
        self._streams.remove(stream)
        for side in (stream.near, stream.far):
            if side in self._selector.get_map():
                self._selector.unregister(side)
        stream.close()
