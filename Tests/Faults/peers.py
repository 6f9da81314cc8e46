"""TLS servers that misbehave, or that show what they were told."""

import contextlib
import socket
import ssl
import threading

from harness.certificates import server_certificate
from harness.middleman import frame_end
from harness.wire import Address, decode


class Peer:
    """A TLS server on 127.0.0.1. `conversation(peer, near)` talks with each client, in a thread of
    its own, after the handshake. It closes the connection when that returns.
    """

    def __init__(self, conversation, certificate=None):
        certificate = certificate or server_certificate()
        self.conversation = conversation
        # Names that clients have asked for, plaintext that they have sent, and failed handshakes.
        self.names, self.said, self.failures = [], bytearray(), []
        self.connections = 0
        # Python takes an end without close_notify for a good one.
        self._suppresses = True
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate.file, certificate.key)
        self._context.sni_callback = lambda _, name, __: self.names.append(name)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = self.tcp = Address(*self._listener.getsockname(), tls=True)
        threading.Thread(target=self._accept, daemon=True).start()

    def heeds_ragged_ends(self):
        """An end without close_notify is an `ssl.SSLError` from now on."""
        self._context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0x80)
        self._suppresses = False

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near):
        near.settimeout(30)
        with near:
            try:
                secure = self._context.wrap_socket(
                    near, server_side=True, suppress_ragged_eofs=self._suppresses)
            except OSError as failure:
                self.failures.append(str(failure))
                return
            with contextlib.suppress(OSError):
                self.conversation(self, secure)
            secure.close()


INFO = b"# Server\r\nredis_version:7.0.15\r\n"
ANSWERS = {
    b"INFO": b"$%d\r\n%b\r\n" % (len(INFO), INFO),
    b"CONFIG": b"*0\r\n",
    b"COMMAND": b"*0\r\n",
    b"CLIENT": b"+OK\r\n",
    b"AUTH": b"+OK\r\n",
    b"SET": b"+OK\r\n",
    b"PING": b"+PONG\r\n",
}


def answer(peer, near, until=lambda words: False):
    """Answers commands as a server, up to one for which `until` holds; that one it returns."""
    data = bytearray()
    while piece := near.recv(1 << 16):
        peer.said += piece
        data += piece
        while end := frame_end(data):
            words = decode(bytes(data[:end]))
            del data[:end]
            if until(words):
                return words
            name = words[0].upper()
            echo = b"$%d\r\n%b\r\n" % (len(words[-1]), words[-1])
            near.sendall(echo if name == b"ECHO" else ANSWERS.get(name, b"-ERR unknown\r\n"))
    return None
