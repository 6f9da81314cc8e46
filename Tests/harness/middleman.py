"""A proxy between the daemon and a real server that injects faults on request.

It forwards whole commands and whole replies, so that a fault strikes at an exact place: instead of
a command, instead of its reply, in the middle of the reply or after it.
"""

import collections
import pathlib
import queue
import selectors
import socket
import ssl
import struct
import tempfile
import threading
import time
from dataclasses import dataclass

from .certificates import server_certificate
from .ports import free_port
from .server import TLS
from .wire import _AGGREGATES, _BULKS, Address, encode

SURPLUS = b"+SURPLUS\r\n"
PUSH = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"
GARBAGE = b"HTTP/1.1 400 Bad Request\r\n\r\n"


def frame_end(data, kinds=_AGGREGATES):
    """Where the first command or reply in `data` ends; None while it is incomplete."""
    position, missing = 0, 1
    while missing:
        end = data.find(b"\r\n", position)
        if end < 0:
            return None
        kind, count = bytes(data[position : position + 1]), data[position + 1 : end]
        position, missing = end + 2, missing - 1
        if kind in kinds:
            missing += max(0, int(count)) * kinds[kind] + (kind == b"|")
        elif kind in _BULKS and int(count) >= 0:
            position += int(count) + 2
            if position > len(data):
                return None
    return position


@dataclass
class Fault:
    """What happens to the next `times` commands that contain `marker`: one of the kinds below, or a
    reply that replaces the server's: bytes, or a function that is called with the link to send it.
    """

    marker: bytes
    kind: object
    times: int = 1

    @staticmethod
    def is_reply(kind) -> bool:
        """Whether the server does not get the command."""
        return isinstance(kind, bytes) or callable(kind)


# Faults that strike instead of the command: the server never sees it.
BEFORE = ("close", "reset", "stall", "deaf")
# Faults that strike at its reply.
AT_REPLY = (
    "cut", "last", "stall-inside", "garbage", "surplus", "push", "trickle", "swallow", "double",
)


class Link:
    """One upstream connection of the daemon and its counterpart to the server."""

    def __init__(self, middleman, near):
        self.middleman, self.near = middleman, near
        self.far = middleman.server.unix.connect(30)
        self.from_near, self.from_far = bytearray(), bytearray()
        # The fault of every command that the server still has to answer; None for most.
        self.owed = collections.deque()
        # A fault that strikes as soon as everything before it is answered.
        self.pending = None
        self.is_stalled = False
        self.is_deaf = False
        # A replica's link to its primary: what comes is no replies.
        self.is_raw = False
        self.last = b""
        for end, handler in ((near, self.near_readable), (self.far, self.far_readable)):
            middleman.selector.register(end, selectors.EVENT_READ, handler)

    def near_readable(self):
        try:
            data = self.near.recv(1 << 18)
            # What TLS has decrypted, no selector tells of.
            while isinstance(self.near, ssl.SSLSocket) and self.near.pending():
                data += self.near.recv(1 << 18)
        except ssl.SSLWantReadError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        if self.is_raw:
            self.far.sendall(data)
            return
        self.from_near += data
        self.middleman.received += len(data)
        while self.is_working and (end := frame_end(self.from_near)):
            frame = bytes(self.from_near[:end])
            del self.from_near[:end]
            self.command(frame)
        if self.is_working and len(self.from_near) > 1 << 16:
            self.long_command()

    @property
    def is_working(self) -> bool:
        """Whether it still forwards commands."""
        return self in self.middleman.links and not self.is_stalled and not self.pending

    def command(self, frame):
        self.last = frame[:200]
        self.is_raw = self.is_raw or b"PSYNC" in self.last
        self.middleman.heard.append((self, self.last))
        fault = self.middleman.fault_for(frame)
        if fault in BEFORE:
            self.strike_in_turn(fault)
            return
        self.owed.append(fault)
        # A command that the middleman answers itself must have no effect, but keeps its place. In a
        # transaction an error counts: EXEC is refused then.
        if Fault.is_reply(fault):
            is_error = isinstance(fault, bytes) and fault.startswith(b"-")
            frame = encode("ECHO") if is_error else encode("ECHO", "x")
        self.far.sendall(frame)

    def long_command(self):
        """A fault that strikes instead of the command strikes before the command is complete."""
        fault = self.middleman.fault_for(bytes(self.from_near[:100]), only=BEFORE)
        if fault:
            self.strike_in_turn(fault)

    def strike_in_turn(self, fault):
        """Strikes once the replies to earlier commands are forwarded."""
        if self.owed:
            self.pending = fault
        else:
            self.strike(fault)

    def far_readable(self):
        try:
            data = self.far.recv(1 << 18)
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        if self.is_raw:
            self.send(data)
            return
        self.from_far += data
        while self in self.middleman.links and (end := frame_end(self.from_far)):
            reply = bytes(self.from_far[:end])
            del self.from_far[:end]
            fault = self.owed.popleft() if self.owed else None
            self.reply(reply, fault)
        if self.pending and not self.owed and self in self.middleman.links:
            fault, self.pending = self.pending, None
            self.strike(fault)

    def reply(self, reply, fault):
        if self.is_stalled:
            return
        if fault:
            self.middleman.struck.append(time.monotonic())
        if callable(fault):
            fault(self)
            return
        half = len(reply) // 2
        if fault == "trickle":
            for byte in reply:
                self.send(bytes([byte]))
            return
        self.send(
            {
                "cut": reply[:half],
                "stall-inside": reply[:half],
                "garbage": GARBAGE,
                "surplus": reply + SURPLUS,
                "push": PUSH + reply,
                "swallow": b"",
                "double": reply + reply,
            }.get(fault, fault if isinstance(fault, bytes) else reply)
        )
        if fault in ("cut", "last"):
            self.close()
        elif fault == "stall-inside":
            self.stall()

    def send(self, data):
        try:
            self.near.sendall(data)
        except OSError:
            self.close()

    def strike(self, kind):
        """Carries out a fault of this kind at once."""
        actions = {
            "close": self.close,
            "reset": self.reset,
            "stall": self.stall,
            "deaf": self.deafen,
            "surplus": lambda: self.send(SURPLUS),
            "push": lambda: self.send(PUSH),
            "garbage": lambda: self.send(GARBAGE),
        }
        actions[kind]()

    def stall(self):
        self.is_stalled = True

    def deafen(self):
        """Stops reading: the kernel keeps what fits into the window."""
        self.is_stalled = True
        if not self.is_deaf:
            self.is_deaf = True
            self.middleman.selector.unregister(self.near)

    def finish(self):
        """Sends the daemon a FIN, although not everything that it has sent was read."""
        self.near.shutdown(socket.SHUT_WR)

    def reset(self):
        """Sends the daemon a RST."""
        linger = struct.pack("ii", 1, 0)
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close()

    def close(self):
        """Sends the daemon a FIN after what was sent."""
        if self not in self.middleman.links:
            return
        self.middleman.ended.append(time.monotonic())
        self.middleman.links.remove(self)
        for end in (self.near, self.far):
            if end is self.far or not self.is_deaf:
                self.middleman.selector.unregister(end)
            end.close()


class Middleman:
    """Listens on TCP or a unix socket (`address`) and forwards to `server`. With `tls`, it ends TLS
    on TCP.
    """

    def __init__(self, server, unix=False, tls=None):
        self.server = server
        self._folder = tempfile.TemporaryDirectory(prefix="redpool-middleman-")
        port = free_port()
        self.tcp = Address(host="127.0.0.1", port=port)
        path = str(pathlib.Path(self._folder.name) / "middle.sock")
        self._tls = None
        if (TLS if tls is None else tls) and not unix:
            self.tcp = Address(host="127.0.0.1", port=port, tls=True)
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(server_certificate().file, server_certificate().key)
        self.address = Address(path=path) if unix else self.tcp
        self.selector = selectors.DefaultSelector()
        self.links = []
        # Counts of commands by marker, and of connections.
        self.seen = collections.Counter()
        self.accepted = 0
        # The beginnings of the latest commands, with their links.
        self.heard = collections.deque(maxlen=1000)
        # Bytes that the daemon has sent.
        self.received = 0
        # When faults struck replies, and when connections ended.
        self.struck, self.ended = [], []
        self._faults = []
        # How new connections are treated: None, `close`, `reset` or `stall`.
        self._welcome = None
        self._orders = queue.SimpleQueue()
        self._wake, self._bell = socket.socketpair()
        self.selector.register(self._bell, selectors.EVENT_READ, self._obey)
        self._listener = None
        self._is_over = False
        self._listen()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def arm(self, marker: bytes, kind, times=1):
        """From now on this fault strikes commands that contain `marker`."""
        self.order(lambda: self._faults.append(Fault(marker, kind, times)))

    def welcome(self, kind):
        """Sets how new connections are treated: `close`, `reset`, `stall`, or None for normally."""

        def change():
            self._welcome = kind

        self.order(change)

    def disarm(self):
        """Forwards everything again. Stalled connections stay stalled."""

        def change():
            self._welcome = None
            self._faults.clear()

        self.order(change)

    def strike(self, kind):
        """Strikes every connection now."""
        self.order(lambda: [link.strike(kind) for link in list(self.links)])

    def strike_at(self, mark: bytes, kind):
        """Strikes the connections whose last command contained `mark` now."""
        those = [link for link in list(self.links) if mark in link.last]
        assert those, f"nobody has sent {mark!r}"
        self.order(lambda: [link.strike(kind) for link in those])

    def refuse(self):
        """Stops listening and closes every connection."""

        def change():
            self.selector.unregister(self._listener)
            self._listener.close()
            for link in list(self.links):
                link.close()

        self.order(change)

    def listen(self):
        """Listens again after `refuse`."""
        pathlib.Path(self.address.path or "/nowhere/at/all").unlink(missing_ok=True)
        self.order(self._listen)

    def order(self, action):
        """Runs something on the middleman's own thread and waits for it."""
        done = threading.Event()
        failures = []

        def guarded():
            try:
                action()
            except Exception as failure:  # Raised again below, in the caller's thread.
                failures.append(failure)
            done.set()

        self._orders.put(guarded)
        self._wake.send(b"!")
        assert done.wait(20), "the middleman hangs"
        if failures:
            raise failures[0]

    def fault_for(self, frame, only=None):
        for fault in self._faults:
            if fault.marker not in frame:
                continue
            if only and fault.kind not in only:
                return None
            self.seen[fault.marker] += 1
            if fault.times > 0:
                fault.times -= 1
                return fault.kind
        return None

    def close(self):
        self._is_over = True
        self._wake.send(b"!")
        self._thread.join(20)
        for link in list(self.links):
            link.close()
        self._listener.close()
        self._folder.cleanup()

    def _listen(self):
        if self.address.path:
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(self.address.path)
            self._listener.listen(128)
        else:
            where = (self.address.host, self.address.port)
            self._listener = socket.create_server(where, backlog=128)
            # A small window, so that a deaf connection is full soon.
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        self.selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _accept(self):
        near, _ = self._listener.accept()
        self.accepted += 1
        if not self.address.path:
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls and not (near := self._secured(near)):
            return
        try:
            link = Link(self, near)
        except OSError:
            near.close()
            return
        self.links.append(link)
        if self._welcome:
            link.strike(self._welcome)

    def _secured(self, near):
        """The socket after the handshake; None if it fails, or is not to be."""
        near.settimeout(10)
        if self._welcome in ("close", "reset"):
            return near
        try:
            near = self._tls.wrap_socket(near, server_side=True, suppress_ragged_eofs=True)
        except OSError:
            near.close()
            return None
        near.settimeout(None)
        return near

    def _obey(self):
        self._bell.recv(1)
        if not self._is_over:
            self._orders.get()()

    def _run(self):
        while not self._is_over:
            for key, _ in self.selector.select():
                # An earlier event may have closed this connection.
                if key.fileobj.fileno() >= 0:
                    key.data()
