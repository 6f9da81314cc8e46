"""Clients that know every byte of their replies, while other clients misbehave.

A witness keeps values that no other client knows, under keys of its own, and compares each reply
with the expected one, byte for byte. So it detects at once a reply of another client, a missing
reply or a surplus one. It works in rounds; each is a few writes (`Step`) with their exact replies.
All witnesses of a crowd run in one process of their own.
"""

import multiprocessing
import random
import secrets
import selectors
import time
from dataclasses import dataclass

from .waiting import eventually
from .wire import Connection, encode

# A witness without a reply for this long, in seconds, has been forgotten.
PATIENCE = 15.0
MOST_FAILURES = 20


@dataclass(frozen=True)
class Step:
    """The bytes to write, and the acceptable replies. They differ only in the order of what the
    server may send in any order."""

    data: bytes
    answers: tuple


def bulk(value) -> bytes:
    data = value if isinstance(value, bytes) else str(value).encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)


def array(*items) -> bytes:
    return b"*%d\r\n" % len(items) + b"".join(items)


def number(value) -> bytes:
    return b":%d\r\n" % value


OK, QUEUED = b"+OK\r\n", b"+QUEUED\r\n"


def step(*pairs) -> Step:
    """One write of several commands, each with its reply."""
    return Step(b"".join(encode(*c) for c, _ in pairs), (b"".join(answer for _, answer in pairs),))


class Witness:
    """One client: its connection, the bytes it has written so far, and the rounds it plays."""

    def __init__(self, address, name, seed, protocol, kinds=None, login=None):
        self._first, self.protocol, self._chance = name, protocol, random.Random(seed)
        self.name, self._lives = name, 0
        self._address, self._login = address, login or ()
        self._kinds = kinds or KINDS
        self._count, self._rounds, self._steps = 0, 0, iter(())
        self._database = 1 + seed % 7
        self.socket = None

    def connect(self):
        """Logs in over a new connection and with new keys, because commands of the last connection
        may still run."""
        self._lives += 1
        self.name, self._count, self._steps = f"{self._first}.{self._lives}", 0, iter(())
        connection = Connection(self._address, PATIENCE)
        if self._login:
            assert connection.command("AUTH", *self._login) == b"OK"
        if self.protocol == 3:
            assert isinstance(connection.command("HELLO", "3"), dict)
        self._id = connection.command("CLIENT", "ID")
        self.socket = connection.socket
        self.socket.settimeout(PATIENCE)

    def key(self, what) -> str:
        return f"w:{self.name}:{what}"

    def secret(self) -> str:
        size = self._chance.choice((8, 8, 40, 300, 3000))
        return f"{self.name}-{self._rounds}-{self._chance.getrandbits(64):016x}-" + "s" * size

    def next(self) -> Step:
        """The next step. A new round begins when the last one is over."""
        made = next(self._steps, None)
        while made is None:
            self._rounds += 1
            self._steps = iter(self._chance.choice(self._kinds)(self))
            made = next(self._steps, None)
        return made

    def nil(self) -> bytes:
        return b"_\r\n" if self.protocol == 3 else b"$-1\r\n"

    def incremented(self):
        self._count += 1
        return ("INCR", self.key("n")), number(self._count)

    def stored(self):
        value = self.secret()
        return [(("SET", self.key("v"), value), OK), (("GET", self.key("v")), bulk(value))]

    def play_values(self):
        yield step(*self.stored())

    def play_one(self):
        value = self.secret()
        yield step((("ECHO", value), bulk(value)))
        yield step(self.incremented())

    def play_pipeline(self):
        pairs = []
        for _ in range(self._chance.randrange(2, 30)):
            value = self.secret()
            pairs += self._chance.choice((
                lambda: [self.incremented()],
                self.stored,
                lambda: [(("ECHO", value), bulk(value))],
                lambda: [(("EVAL", "return ARGV[1]", "0", value), bulk(value))],
                lambda: [(("GET", self.key("none")), self.nil())],
            ))()
        yield step(*pairs)

    def play_script(self):
        value = self.secret()
        yield step((("SET", self.key("v"), value), OK))
        script = "return {redis.call('GET', KEYS[1]), ARGV[1], 7}"
        answer = array(bulk(value), bulk("mine"), number(7))
        yield step((("EVAL", script, "1", self.key("v"), "mine"), answer))

    def _block(self):
        value = self.secret()
        self._count += 1
        inside = [("SET", self.key("v"), value), ("GET", self.key("v")), ("INCR", self.key("n"))]
        return inside, array(OK, bulk(value), number(self._count))

    def play_block(self):
        inside, answer = self._block()
        yield step((("MULTI",), OK), *((c, QUEUED) for c in inside), (("EXEC",), answer))

    def play_transaction(self):
        inside, answer = self._block()
        yield step((("MULTI",), OK))
        for command in inside:
            yield step((command, QUEUED))
        yield step((("EXEC",), answer))

    def play_watch(self):
        inside, answer = self._block()
        yield step((("WATCH", self.key("n"), self.key("v")), OK))
        before = bulk(self._count - 1) if self._count > 1 else self.nil()
        yield step((("GET", self.key("n")), before))
        yield step((("MULTI",), OK), *((c, QUEUED) for c in inside))
        yield step((("EXEC",), answer))

    def play_queue(self):
        value, queue = self.secret(), self.key("q")
        yield step((("RPUSH", queue, value), number(1)))
        yield step((("BLPOP", queue, "5"), array(bulk(queue), bulk(value))))
        if self._chance.random() < 0.3:
            null = b"_\r\n" if self.protocol == 3 else b"*-1\r\n"
            yield step((("BLPOP", queue, "0.01"), null), *self.stored())

    def play_channel(self):
        channel, value = self.key("c"), self.secret()
        push = b">" if self.protocol == 3 else b"*"
        told = push + b"3\r\n" + bulk("subscribe") + bulk(channel) + number(1)
        left = push + b"3\r\n" + bulk("unsubscribe") + bulk(channel) + number(0)
        yield step((("SUBSCRIBE", channel), told))
        if self.protocol == 3:
            message = b">3\r\n" + bulk("message") + bulk(channel) + bulk(value)
            data = encode("PUBLISH", channel, value)
            yield Step(data, (number(1) + message, message + number(1)))
        else:
            yield step((("PING", value), array(bulk("pong"), bulk(value))))
        yield step((("UNSUBSCRIBE", channel), left))
        yield step(*self.stored())

    def play_database(self):
        value, database = self.secret(), self._database
        yield step((("SELECT", database), OK), (("SET", self.key("d"), value), OK))
        yield step((("GET", self.key("d")), bulk(value)), (("SELECT", "0"), OK))
        yield step((("GET", self.key("d")), self.nil()))

    def play_name(self):
        yield step((("CLIENT", "SETNAME", self.name), OK))
        yield step((("CLIENT", "GETNAME"), bulk(self.name)), (("CLIENT", "ID"), number(self._id)))
        yield step((("ACL", "WHOAMI"), bulk(self._login[0] if len(self._login) > 1 else "default")))


KINDS = [
    Witness.play_values, Witness.play_values, Witness.play_one, Witness.play_one,
    Witness.play_pipeline, Witness.play_pipeline, Witness.play_script, Witness.play_block,
    Witness.play_block, Witness.play_transaction, Witness.play_watch, Witness.play_queue,
    Witness.play_channel, Witness.play_database, Witness.play_name,
]
# Rounds that never hold an upstream.
SHARED = [
    Witness.play_values, Witness.play_one, Witness.play_pipeline, Witness.play_script,
    Witness.play_block,
]


class _Crowd:
    """Serves all witnesses in one thread until it is stopped."""

    def __init__(self, witnesses, rounds, failures, stop):
        self._witnesses, self._rounds = witnesses, rounds
        self._failures, self._stop = failures, stop
        self._selector = selectors.DefaultSelector()
        self._waiting = {}
        self.worst = 0.0

    def run(self):
        for index in range(len(self._witnesses)):
            self._begin(index)
        while not self._stop.is_set() and self._failures.qsize() < MOST_FAILURES:
            for key, _ in self._selector.select(0.1):
                self._receive(key.data)
            self._look_for_forgotten()

    def _begin(self, index):
        witness = self._witnesses[index]
        try:
            witness.connect()
        except Exception as problem:
            self._fail(index, f"cannot begin: {problem!r}")
            return
        self._selector.register(witness.socket, selectors.EVENT_READ, index)
        self._write(index)

    def _write(self, index):
        witness = self._witnesses[index]
        made = witness.next()
        self._waiting[index] = (made, b"", time.monotonic())
        try:
            witness.socket.sendall(made.data)
        except OSError as problem:
            self._end(index, f"cannot write: {problem!r}")

    def _receive(self, index):
        if index not in self._waiting:
            return
        made, before, since = self._waiting[index]
        try:
            data = self._witnesses[index].socket.recv(1 << 18)
        except OSError as problem:
            self._end(index, f"reset ({problem!r}) instead of the answer to {_short(made.data)}")
            return
        found = before + data
        if not data:
            self._end(index, f"closed behind {_short(found)}, asked {_short(made.data)}")
        elif found in made.answers:
            self.worst = max(self.worst, time.monotonic() - since)
            self._rounds[index] += 1
            self._write(index)
        elif any(answer.startswith(found) for answer in made.answers):
            self._waiting[index] = (made, found, since)
        else:
            right = _short(made.answers[0])
            self._end(index, f"WRONG: {_short(found)} for {right}, asked {_short(made.data)}")

    def _look_for_forgotten(self):
        now = time.monotonic()
        for index, (made, found, since) in list(self._waiting.items()):
            if now - since > PATIENCE:
                self._end(index, f"nothing behind {_short(found)}, asked {_short(made.data)}")

    def _end(self, index, text):
        """Records a failure. The witness continues with a new connection."""
        witness = self._witnesses[index]
        del self._waiting[index]
        self._selector.unregister(witness.socket)
        witness.socket.close()
        self._fail(index, text)
        if not self._stop.is_set():
            self._begin(index)

    def _fail(self, index, text):
        witness = self._witnesses[index]
        self._failures.put(f"{witness.name} (RESP{witness.protocol}): {text}")


def _short(data: bytes) -> str:
    return repr(data) if len(data) <= 200 else f"{data[:120]!r}...{data[-60:]!r} ({len(data)})"


class Witnesses:
    """`count` witnesses, every other one in RESP3, for the time of a `with` block. A wrong reply, a
    closed connection or a missing reply fails the block."""

    def __init__(self, address, count=8, seed=1, kinds=None, login=None):
        crowd = secrets.token_hex(3)
        made = [
            Witness(address, f"{crowd}-{i}", seed * 1000 + i, 2 + i % 2, kinds, login)
            for i in range(count)
        ]
        self._rounds = multiprocessing.Array("Q", count, lock=False)
        self._failures, self._stop = multiprocessing.Queue(), multiprocessing.Event()
        self._worst = multiprocessing.Value("d", 0.0)
        self._process = multiprocessing.Process(target=self._run, args=(made,), daemon=True)
        self.found = []

    def _run(self, made):
        crowd = _Crowd(made, self._rounds, self._failures, self._stop)
        crowd.run()
        self._worst.value = crowd.worst

    def __enter__(self):
        self._process.start()
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.go_on()
        finally:
            failures = self.finish()
        if kind is None:
            assert not failures, f"{len(failures)} failures\n" + "\n".join(failures[:6])

    def finish(self) -> list:
        """Stops. Returns what went wrong."""
        self._stop.set()
        self._process.join(1 if self.failed() else PATIENCE + 10)
        if self._process.is_alive():
            self._process.kill()
            if not self.found:
                self.found.append("the witnesses hang")
        return self.failed()

    def failed(self) -> list:
        while not self._failures.empty():
            self.found.append(self._failures.get())
        return self.found

    @property
    def total(self) -> int:
        return sum(self._rounds)

    @property
    def worst(self) -> float:
        """The longest that a witness waited for a reply, once all have finished."""
        return self._worst.value

    def go_on(self, steps=2):
        """Waits until every witness has been answered `steps` more times, or one has failed."""
        enough = [count + steps for count in self._rounds]
        eventually(
            lambda: self.failed() or all(a >= b for a, b in zip(self._rounds, enough)), 60,
            what="witnesses getting on",
        )
