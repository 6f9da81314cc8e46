"""Many clients in one thread, each a generator: it yields what to send and how many replies to wait
for, and is given their bytes."""

import multiprocessing
import selectors
import time

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


class Pace:
    """An open loop in a process of its own: `data` is sent `rate` times a second by the clock, over
    `clients` connections in turn, whether or not the earlier ones are answered; each is answered
    with `replies` replies, which `check` judges."""

    def __init__(self, address, data, replies, check, rate, seconds, clients):
        self._results = multiprocessing.Queue()
        self._process = multiprocessing.Process(
            target=self._run, args=(address, data, replies, check, rate * seconds, rate, clients)
        )
        self._process.start()

    def finish(self):
        """The number of answers, and how long the whole took, in seconds."""
        outcome = self._results.get()
        self._process.join()
        assert not isinstance(outcome, str), outcome
        return outcome

    def _run(self, *arguments):
        try:
            self._results.put(self._load(*arguments))
        except BaseException as problem:
            self._results.put(repr(problem))
            raise

    @staticmethod
    def _load(address, data, replies, check, wanted, rate, clients):
        sockets = [address.connect(PATIENCE) for _ in range(clients)]
        streams = dict.fromkeys(sockets, b"")
        sent, answered, started = 0, 0, time.monotonic()
        with selectors.DefaultSelector() as selector:
            for one in sockets:
                selector.register(one, selectors.EVENT_READ)
            while answered < wanted:
                now = time.monotonic()
                due = min(wanted, int((now - started) * rate) + 1)
                for turn in range(sent, due):
                    sockets[turn % clients].sendall(data)
                sent = due
                pause = PATIENCE if sent == wanted else started + sent / rate - now
                ready = selector.select(max(0, pause))
                assert ready or sent < wanted, f"{wanted - answered} are never answered"
                for key, _ in ready:
                    stream = streams[key.fileobj] + key.fileobj.recv(1 << 16)
                    while (end := frames.count(stream, 0, replies)) is not None:
                        check(stream[:end])
                        stream, answered = stream[end:], answered + 1
                    streams[key.fileobj] = stream
        for one in sockets:
            one.close()
        return answered, time.monotonic() - started
