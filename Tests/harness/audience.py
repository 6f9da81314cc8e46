"""Many subscribers in one thread, which keep every byte."""

import selectors
import time

from .wire import Address, Connection, encode

CHUNK = 1 << 16


def message(channel, text, three=False) -> bytes:
    """The bytes of a message of SUBSCRIBE."""
    made = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in (b"message", channel, text))
    return (b">3\r\n" if three else b"*3\r\n") + made


def confirmation(verb, name, count, three=False) -> bytes:
    """The bytes of an answer to a command of the SUBSCRIBE family."""
    made = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in (verb, name))
    return (b">3\r\n" if three else b"*3\r\n") + made + b":%d\r\n" % count


class Listener:
    """One of them. `received` has what came; `is_stalled`: it does not read."""

    def __init__(self, address: Address, three=False):
        made = Connection(address, timeout=60)
        if three:
            made.command("HELLO", "3")
        self.socket = made.socket
        self.is_three = three
        self.received = bytearray()
        self.is_stalled = self.is_closed = False

    def read(self):
        try:
            data = self.socket.recv(CHUNK)
        except ConnectionResetError:
            data = b""
        self.received += data
        self.is_closed = not data

    def close(self):
        self.socket.close()


class Audience:
    """`count` listeners; every second one speaks RESP3 with `mixed`."""

    def __init__(self, address, count, mixed=True):
        self._selector = selectors.DefaultSelector()
        self.listeners = []
        for index in range(count):
            self.add(Listener(address, mixed and index % 2 == 1))

    def add(self, listener):
        self.listeners.append(listener)
        self._selector.register(listener.socket, selectors.EVENT_READ, listener)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self.listeners:
            one.close()
        self._selector.close()

    def subscribe(self, channel_of, verb=b"SUBSCRIBE"):
        """Everybody subscribes to `channel_of(index)`, and is confirmed."""
        wanted = []
        for index, one in enumerate(self.listeners):
            name = channel_of(index)
            one.socket.sendall(encode(verb, name))
            wanted.append(confirmation(verb.lower(), name, 1, one.is_three))
        self.pump(lambda: all(
            len(one.received) >= len(bytes_) for one, bytes_ in zip(self.listeners, wanted)))
        for one, bytes_ in zip(self.listeners, wanted):
            assert one.received == bytes_, one.received
            one.received.clear()

    def stall(self, listeners):
        """They do not read any more."""
        for one in listeners:
            one.is_stalled = True
            self._selector.unregister(one.socket)

    def wake(self, listeners):
        """They read again."""
        for one in listeners:
            one.is_stalled = False
            self._selector.register(one.socket, selectors.EVENT_READ, one)

    def pump(self, until, timeout=60.0):
        """Reads until the condition holds, which is looked at when something has come."""
        deadline = time.monotonic() + timeout
        while not until():
            assert time.monotonic() < deadline, "what is waited for does not come"
            for key, _ in self._selector.select(0.2):
                key.data.read()
                if key.data.is_closed:
                    self._selector.unregister(key.data.socket)

    def hear(self, wanted_of, timeout=60.0):
        """Reads until everybody who reads has as many bytes as `wanted_of(listener)`, and asserts
        that they are those."""
        those = [(one, wanted_of(one)) for one in self.listeners if not one.is_stalled]
        total = sum(len(wanted) for _, wanted in those)
        # Cheap while much is missing.
        self.pump(
            lambda: sum(len(one.received) for one, _ in those) >= total
            or any(one.is_closed for one, _ in those), timeout)
        for one, wanted in those:
            assert bytes(one.received) == wanted, (
                len(one.received), len(wanted), bytes(one.received[-200:]), one.is_closed)
