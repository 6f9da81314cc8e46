"""TLS as clients of the daemon speak it: a socket over TLS that does what a plain one does.

Python's own `ssl.SSLSocket` cannot end one direction and go on reading the other, and keeps bytes
that `select` does not know of.
"""

import functools
import socket
import ssl

from .certificates import authority

RECORD = 1 << 18


def client_context(certificate=None, version=None, trusts=None) -> ssl.SSLContext:
    """Trusts the tests' authority, and has that client certificate."""
    context = ssl.create_default_context(cafile=trusts or authority().file)
    if certificate:
        context.load_cert_chain(certificate.file, certificate.key)
    if version:
        context.minimum_version = context.maximum_version = version
    return context


@functools.cache
def standard_context() -> ssl.SSLContext:
    return client_context()


class SecureSocket:
    """A connected socket with TLS. The handshake is done when it has been made. `session`: that of
    an earlier one with the same context."""

    def __init__(self, plain, context=None, name="127.0.0.1", session=None):
        self.plain = plain
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = (context or standard_context()).wrap_bio(
            self._in, self._out, server_hostname=name, session=session
        )
        self._has_ended = False
        # Whether the peer has said close_notify.
        self.was_told = False
        try:
            while not self._step(self._tls.do_handshake):
                self._fill()
        except BaseException:
            self._try_to_send()
            plain.close()
            raise
        self._flush()

    @property
    def version(self) -> str:
        return self._tls.version()

    @property
    def session(self):
        """For a later connection. With TLS 1.3 it comes with the first bytes."""
        return self._tls.session

    @property
    def is_resumed(self) -> bool:
        return self._tls.session_reused

    def certificate(self) -> bytes:
        return self._tls.getpeercert(binary_form=True)

    def sendall(self, data):
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view[: 1 << 20]) :]
            self._flush()

    def recv(self, count) -> bytes:
        """At least one byte, and all that has come, whatever `count` is: nothing stays unseen."""
        while True:
            found = self._read()
            if found or self._has_ended:
                return found
            self._fill()

    def _read(self) -> bytes:
        found = bytearray()
        while not self._has_ended:
            try:
                piece = self._tls.read(RECORD)
                self.was_told = not piece
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                self.was_told, piece = True, b""
            except ssl.SSLEOFError:
                piece = b""
            self._has_ended = not piece
            found += piece
        if not self._has_ended:
            self._flush()
        return bytes(found)

    def _step(self, call) -> bool:
        try:
            call()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        return True

    def _fill(self):
        data = self.plain.recv(RECORD)
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    def _flush(self):
        if data := self._out.read():
            self.plain.sendall(data)

    def _try_to_send(self):
        """An alert may be on its way."""
        try:
            self._flush()
        except OSError:
            pass

    def shutdown(self, how):
        """Says close_notify, and ends the stream behind it."""
        if how != socket.SHUT_RD:
            try:
                self._step(self._tls.unwrap)
            except ssl.SSLError:
                # The peer has said it as well.
                pass
            self._try_to_send()
        self.plain.shutdown(how)

    def close(self):
        self.plain.close()

    def settimeout(self, seconds):
        self.plain.settimeout(seconds)

    def setsockopt(self, *arguments):
        self.plain.setsockopt(*arguments)

    def getsockname(self):
        return self.plain.getsockname()

    def fileno(self) -> int:
        return self.plain.fileno()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
