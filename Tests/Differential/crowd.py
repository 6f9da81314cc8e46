"""Many clients in one thread, each a generator: it yields what to send and how many replies to wait
for, and is given their bytes."""

import selectors

import frames

# Without any progress at all for this long, in seconds, the crowd has starved.
PATIENCE = 60.0


class Member:
    def __init__(self, address, steps):
        self.socket = address.connect(PATIENCE)
        self._steps = steps
        self._stream, self._wanted = b"", 0

    def start(self) -> bool:
        return self._advance(None)

    def receive(self) -> bool:
        """Reads what has come. False at the end of the steps."""
        data = self.socket.recv(1 << 16)
        assert data, f"closed by the other side, behind {self._stream!r}"
        self._stream += data
        end = frames.count(self._stream, 0, self._wanted)
        if end is None:
            return True
        answer, self._stream = self._stream[:end], self._stream[end:]
        assert not self._stream, f"more than was asked for: {self._stream!r}"
        return self._advance(answer)

    def _advance(self, answer) -> bool:
        try:
            data, self._wanted = self._steps.send(answer)
        except StopIteration:
            self.socket.close()
            return False
        self.socket.sendall(data)
        return True


def run_crowd(address, steps, then=(), when=None):
    """Runs all `steps` to their ends at the same time; `then` are started once `when()` returns."""
    with selectors.DefaultSelector() as selector:
        members = [_join(selector, address, one) for one in steps]
        if when:
            when()
        members += [_join(selector, address, one) for one in then]
        try:
            _serve(selector)
        finally:
            for member in members:
                member.socket.close()


def _join(selector, address, steps):
    member = Member(address, steps)
    selector.register(member.socket, selectors.EVENT_READ, member)
    if not member.start():
        selector.unregister(member.socket)
    return member


def _serve(selector):
    while selector.get_map():
        ready = selector.select(PATIENCE)
        assert ready, f"{len(selector.get_map())} clients wait for ever"
        for key, _ in ready:
            descriptor = key.fd
            if not key.data.receive():
                selector.unregister(descriptor)
