"""A stand-in for the daemon's console: it answers commands with bytes that a test hands in."""

import contextlib
import json
import socket
import threading

from .middleman import frame_end


def bulk(text: str) -> bytes:
    data = text.encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)


def table(rows: list) -> bytes:
    """A table as JSON."""
    return bulk(json.dumps(rows))


class Console:
    """Listens at `path`. `answer` gets a command's words and returns the reply, or None to say
    nothing; `heard` has all commands."""

    def __init__(self, path, answer):
        self.path = str(path)
        self.heard = []
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(16)
        self._clients = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A close alone would not end the threads' calls.
        for made in [self._listener, *self._clients]:
            with contextlib.suppress(OSError):
                made.shutdown(socket.SHUT_RDWR)
            made.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        data = b""
        while True:
            try:
                received = client.recv(65536)
            except OSError:
                return
            if not received:
                return
            data += received
            while (end := frame_end(data)) is not None:
                words = [part.decode() for part in data[:end].split(b"\r\n")[2::2]]
                data = data[end:]
                self.heard.append(words)
                reply = self._answer(words)
                if reply is not None:
                    client.sendall(reply)
