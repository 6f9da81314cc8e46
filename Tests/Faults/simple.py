"""A server that says what a test wants it to say: for what no real one can be made to do."""

import collections
import socket
import threading

from harness.middleman import frame_end
from harness.wire import Address, decode

UNKNOWN = b"-ERR unknown command\r\n"


class Simple:
    """Answers each command by its name in capitals: bytes, or what a function of the words makes
    of it. Other commands are unknown.
    """

    def __init__(self, **answers):
        self.answers = answers
        # Connections by the name of the command that came over them, in order.
        self.asked = collections.defaultdict(list)
        self.connections = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.tcp = Address(*self._listener.getsockname())
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def answer(self, near, words):
        """Answers one command on the connection `near`."""
        found = self.answers.get(name_of(words), UNKNOWN)
        near.sendall(found(words) if callable(found) else found)

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections.append(near)
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near):
        data = bytearray()
        try:
            while piece := near.recv(1 << 18):
                data += piece
                while end := frame_end(data):
                    words = decode(bytes(data[:end]))
                    del data[:end]
                    self.asked[name_of(words)].append(near)
                    self.answer(near, words)
        except OSError:
            pass
        self.connections.remove(near)
        near.close()


def name_of(words) -> str:
    return words[0].decode().upper()


def bulk(text) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(text), text)


def last_word(words) -> bytes:
    """What ECHO answers."""
    return bulk(words[-1])


def unread(near) -> int:
    """Bytes that the daemon's kernel holds for it on this connection of a server, if it is there."""
    try:
        mine, theirs = near.getsockname()[1], near.getpeername()[1]
    except OSError:
        return 0
    with open("/proc/net/tcp") as rows:
        for row in list(rows)[1:]:
            local, remote, _, queues = row.split()[1:5]
            if int(local[-4:], 16) == theirs and int(remote[-4:], 16) == mine:
                return int(queues.split(":")[1], 16)
    return 0
