"""Raw Redis connections that show exact bytes in both directions."""

import asyncio
import select
import socket
import struct
from dataclasses import dataclass

from .certificates import authority
from .tls import SecureSocket, standard_context


class ErrorReply(bytes):
    """An error reply without its leading `-` and its line end."""


class Push(list):
    """A RESP3 push."""


class Closed(ConnectionError):
    """The peer has closed the connection; `partial` holds the bytes of an incomplete reply."""

    def __init__(self, partial: bytes = b""):
        super().__init__(f"closed with {len(partial)} unread bytes")
        self.partial = partial


@dataclass(frozen=True)
class Address:
    """A TCP address (`host`, `port`) or a unix socket (`path`). `tls`: TLS is spoken there."""

    host: str = ""
    port: int = 0
    path: str = ""
    tls: bool = False

    @property
    def text(self) -> str:
        """The address in the syntax of the configuration file."""
        if self.path:
            return f"unix:{self.path}"
        return ("rediss://" if self.tls else "") + self.place

    @property
    def place(self) -> str:
        """The TCP address, whether TLS is spoken there or not."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def cli(self) -> list:
        """The arguments for redis-cli and redis-benchmark to connect here."""
        if self.path:
            return ["-s", self.path]
        tls = ["--tls", "--cacert", authority().file] if self.tls else []
        return ["-h", self.host, "-p", str(self.port), *tls]

    @property
    def redis_py(self) -> dict:
        """The arguments for redis-py to connect here."""
        if self.path:
            return {"unix_socket_path": self.path}
        tls = {"ssl": True, "ssl_ca_certs": authority().file} if self.tls else {}
        return {"host": self.host, "port": self.port} | tls

    def connect(self, timeout=20.0) -> socket.socket:
        if self.path:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            made.settimeout(timeout)
            made.connect(self.path)
            return made
        made = socket.create_connection((self.host, self.port), timeout)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return SecureSocket(made, name=self.host) if self.tls else made


def encode(*arguments) -> bytes:
    """One command as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        data = argument if isinstance(argument, bytes) else str(argument).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


# The number of elements after a header that announces N. Attributes come before a reply and are not
# replies.
_AGGREGATES = {b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}
_BULKS = b"$=!"


class Connection:
    """A blocking connection. Every read has the timeout given at the start, in seconds."""

    def __init__(self, address: Address, timeout=20.0, made=None):
        self.socket = made or address.connect(timeout)
        self._buffer = bytearray()
        self._start = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Closes with a RST instead of a FIN, as the kernel may do for a killed peer."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data: bytes):
        self.socket.sendall(data)

    def command(self, *arguments):
        """Sends one command and returns its decoded reply."""
        self.send(encode(*arguments))
        return self.read()

    def read(self):
        """The next reply, decoded. Raises Closed at the end of the stream."""
        return decode(self.read_raw())

    def is_answered(self) -> bool:
        """Whether the other end has sent something, or closed. Does not wait."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return self.has_more() or bool(poll.poll(0))

    def has_more(self) -> bool:
        """Whether received bytes have not been read yet."""
        return self._start < len(self._buffer)

    def read_raw(self) -> bytes:
        """The exact bytes of the next reply, including attributes before it."""
        position, missing = self._start, 1
        while missing:
            header, position = self._line(position)
            missing -= 1
            kind = bytes(header[:1])
            if kind in _AGGREGATES:
                missing += max(0, int(header[1:])) * _AGGREGATES[kind] + (kind == b"|")
            elif kind in _BULKS and int(header[1:]) >= 0:
                position += int(header[1:]) + 2
                self._need(position)
        raw = bytes(self._buffer[self._start : position])
        self._consume(position)
        return raw

    def read_until_closed(self) -> bytes:
        """Everything up to the end of the stream. A reset counts as the end."""
        while True:
            try:
                self._receive()
            except Closed as end:
                return end.partial

    def _line(self, position):
        scanned = position
        while True:
            end = self._buffer.find(b"\r\n", scanned)
            if end >= 0:
                return self._buffer[position:end], end + 2
            scanned = max(position, len(self._buffer) - 1)
            self._receive()

    def _need(self, position):
        while len(self._buffer) < position:
            self._receive()

    def _receive(self):
        try:
            data = self.socket.recv(1 << 18)
        except (ConnectionResetError, BrokenPipeError):
            data = b""
        if not data:
            partial = bytes(self._buffer[self._start :])
            self._consume(len(self._buffer))
            raise Closed(partial)
        self._buffer += data

    def _consume(self, position):
        self._start = position
        if position == len(self._buffer):
            self._buffer.clear()
            self._start = 0
        elif position > 1 << 20:
            del self._buffer[:position]
            self._start = 0


def decode(raw: bytes):
    """The value of one complete reply. Maps become dicts; attributes are dropped."""
    value, end = _decode(raw, 0)
    assert end == len(raw), f"{len(raw) - end} bytes behind the reply"
    return value


def _decode(raw, position):
    end = raw.index(b"\r\n", position)
    kind, text, position = raw[position : position + 1], raw[position + 1 : end], end + 2
    if kind in b"$=!":
        length = int(text)
        if length < 0:
            return None, position
        data = raw[position : position + length]
        made = ErrorReply(data) if kind == b"!" else data[4:] if kind == b"=" else data
        return made, position + length + 2
    if kind in b"*~>%|":
        return _decode_aggregate(raw, kind, int(text), position)
    scalars = {b"+": bytes, b"-": ErrorReply, b":": int, b",": float, b"(": int}
    if kind in scalars:
        return scalars[kind](text), position
    if kind == b"_":
        return None, position
    if kind == b"#":
        return text == b"t", position
    raise AssertionError(f"not a reply: {kind + text!r}")


def _decode_aggregate(raw, kind, count, position):
    if count < 0:
        return None, position
    items = []
    for _ in range(count * _AGGREGATES[kind]):
        item, position = _decode(raw, position)
        items.append(item)
    if kind == b"|":
        return _decode(raw, position)
    if kind == b"%":
        return dict(zip(items[::2], items[1::2])), position
    return (Push(items) if kind == b">" else items), position


class AsyncConnection:
    """As Connection, for thousands of clients in one process. Only replies that are not nested."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, address: Address):
        if address.path:
            return cls(*await asyncio.open_unix_connection(address.path))
        context = standard_context() if address.tls else None
        return cls(*await asyncio.open_connection(address.host, address.port, ssl=context))

    def send(self, data: bytes):
        self._writer.write(data)

    async def command(self, *arguments, timeout=30.0):
        self.send(encode(*arguments))
        return await self.read(timeout)

    async def read(self, timeout=30.0):
        """The next reply. Raises Closed when the peer closes instead."""
        try:
            async with asyncio.timeout(timeout):
                return await self._read()
        except asyncio.IncompleteReadError as end:
            raise Closed(end.partial) from None
        except (ConnectionResetError, BrokenPipeError):
            raise Closed() from None

    async def _read(self):
        line = await self._reader.readuntil(b"\r\n")
        if line[:1] == b"$" and line != b"$-1\r\n":
            line += await self._reader.readexactly(int(line[1:]) + 2)
        if line[:1] == b"*" and int(line[1:]) >= 0:
            return [await self._read() for _ in range(int(line[1:]))]
        return decode(line)

    async def at_end(self) -> bool:
        """Whether the peer has closed already. Does not wait."""
        return self._reader.at_eof()

    def close(self):
        self._writer.close()
