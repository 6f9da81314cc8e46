"""The well-behaved clients of riot.py: each reply is compared, and each has a deadline.

A crew are the witnesses of siege.py, who stay. Passers-by connect, do one thing of every kind and
leave, as the processes of a web server do. Both may be refused what needs a connection of its own
while others have them all, but not before `poolTimeout`, and nothing else.
"""

import selectors
import time

import frames
from harness.wire import Closed, ErrorReply, Push, encode
from harness.witness import Witness
from riot_ground import BIG, DEADLINE, POOL_TIMEOUT, REFUSALS, TROUBLES, chance_of

# What needs an upstream of its own: a block of a transaction if it arrives in pieces, SELECT and
# HELLO until the server has accepted them once.
HOLDING = tuple(
    b"\r\n%b\r\n" % name
    for name in (b"MULTI", b"WATCH", b"BLPOP", b"SUBSCRIBE", b"EVAL", b"SELECT", b"HELLO")
)
MB = 1 << 20


class Crew:
    """The witnesses of one pool, in one thread."""

    def __init__(self, place, count, seed, tally):
        self._place, self._tally = place, tally
        self._witnesses = [
            Witness(
                place.addresses[i % len(place.addresses)], f"{place.name}-{seed}-{i}",
                seed * 1000 + i, 2 + i % 2, login=place.login[1:],
            )
            for i in range(count)
        ]
        self._selector, self._waiting = selectors.DefaultSelector(), {}
        self._idle = list(range(count))

    def step(self):
        while self._idle:
            self._begin(self._idle.pop())
        for key, _ in self._selector.select(0.1):
            self._receive(key.data)
        now = time.monotonic()
        for index, (made, found, since) in list(self._waiting.items()):
            if now - self._place.trouble.judged_from(since) > DEADLINE:
                self._end(index)
                self._fail(index, f"nothing behind {_short(found)}, asked {_short(made.data)}")

    def leave(self):
        for witness in self._witnesses:
            if witness.socket:
                witness.socket.close()

    def _begin(self, index):
        witness, since = self._witnesses[index], time.monotonic()
        try:
            witness.connect()
        except (OSError, AssertionError) as problem:
            if not self._place.trouble.touches(since):
                self._fail(index, f"cannot begin: {problem!r}")
            self._idle.append(index)
            return
        self._selector.register(witness.socket, selectors.EVENT_READ, index)
        self._write(index)

    def _write(self, index):
        made = self._witnesses[index].next()
        self._waiting[index] = (made, b"", time.monotonic())
        try:
            self._witnesses[index].socket.sendall(made.data)
        except OSError as problem:
            self._lost(index, f"cannot write: {problem!r}")

    def _receive(self, index):
        if index not in self._waiting:
            return
        made, before, since = self._waiting[index]
        try:
            data = self._witnesses[index].socket.recv(1 << 18)
        except OSError as problem:
            self._lost(index, f"{problem!r} instead of the answer to {_short(made.data)}")
            return
        found = before + data
        if not data:
            self._lost(index, f"closed behind {_short(found)}, asked {_short(made.data)}")
        elif found in made.answers:
            self._tally.waited(self._place, _name(made.data), since)
            self._tally.add("steps")
            self._write(index)
        elif any(answer.startswith(found) for answer in made.answers):
            self._waiting[index] = (made, found, since)
        else:
            self._judge(index, made, found, since)

    def _judge(self, index, made, found, since):
        """Something else than was right: a refusal, or a finding."""
        pairs = zip(frames.frames(found), frames.frames(made.answers[0]))
        reply = next((mine for mine, right in pairs if mine != right), b"")
        if reply.startswith(b"-") and not reply.endswith(b"\r\n"):
            self._waiting[index] = (made, found, since)
            return
        self._end(index)
        waited, trouble = time.monotonic() - since, self._place.trouble.touches(since)
        # WATCH is taken while a server loads its data, which then changes what is watched.
        is_spoilt = reply in (b"_\r\n", b"*-1\r\n") and _name(made.data) == "EXEC"
        is_spoilt = is_spoilt and self._place.trouble.breaks(since)
        if is_spoilt or (trouble and reply[1:].startswith(TROUBLES)):
            self._tally.add("excused")
            return
        if not reply[1:].startswith(REFUSALS):
            self._fail(index, f"WRONG: {_short(found)} for {_short(made.answers[0])}")
        elif not any(word in made.data for word in HOLDING):
            self._fail(index, f"refused {_short(made.data)} after {waited:.2f} s: {reply}")
        elif waited < POOL_TIMEOUT - 0.5:
            self._fail(index, f"refused early, after {waited:.2f} s: {reply}")
        self._tally.add("refused")
        self._tally.waited(self._place, "refusal", since)

    def _lost(self, index, text):
        _, _, since = self._waiting[index]
        self._end(index)
        if self._place.trouble.breaks(since):
            self._tally.add("excused")
        else:
            self._fail(index, text)

    def _end(self, index):
        """He begins anew, with a new connection and new keys."""
        del self._waiting[index]
        self._selector.unregister(self._witnesses[index].socket)
        self._witnesses[index].socket.close()
        self._idle.append(index)

    def _fail(self, index, text):
        witness = self._witnesses[index]
        self._tally.fail(f"{witness.name} (RESP{witness.protocol}) of {self._place.name}: {text}")


class Refused(Exception):
    """A refusal in Redpool's own words."""


class Passer:
    """One who passes by, again and again."""

    def __init__(self, place, number, seed, tally):
        self._place, self._tally = place, tally
        self._chance = chance_of("passer", place.name, number, seed)
        self._name, self._lives = f"passer:{place.name}:{number}", 0

    def step(self):
        self._lives += 1
        life, since = self._chance.choice(LIVES), time.monotonic()
        self._opened = []
        try:
            life(self)
            self._tally.add("lives")
        except Refused as refusal:
            self._refused(life.__name__, since, str(refusal))
        except (OSError, AssertionError) as problem:
            kind = type(problem).__name__
            lost = isinstance(problem, ConnectionError) and self._place.trouble.breaks(since)
            late = isinstance(problem, TimeoutError) and self._place.trouble.touches(since)
            if lost or late:
                self._tally.add("excused")
            else:
                waited = time.monotonic() - since
                self._tally.fail(f"{self._name} {life.__name__}, {waited:.2f} s: {kind} {problem}")
        finally:
            for client in self._opened:
                client.close()

    def leave(self):
        """Nothing is his between two lives."""

    def every_life(self):
        """Each kind once, undisturbed."""
        for life in LIVES:
            self._lives, self._opened = self._lives + 1, []
            life(self)
            for client in self._opened:
                client.close()

    def _refused(self, life, since, text):
        if self._place.trouble.touches(since):
            self._tally.add("excused")
            return
        self._tally.add("refused")
        if life in PLAIN and not text.startswith(("SELECT", "HELLO")):
            self._tally.fail(f"{self._name} {life} is refused: {text}")

    def _connect(self, protocol=None):
        began = time.monotonic()
        made = self._place.connect(self._chance)
        self._opened.append(made)
        if self._place.login:
            assert self._ask(made, *self._place.login) == b"OK"
        if (protocol or self._chance.choice((2, 3))) == 3:
            assert isinstance(self._ask(made, "HELLO", "3"), dict)
        self._tally.waited(self._place, "connect", began)
        return made

    def _ask(self, client, *words):
        began = time.monotonic()
        client.send(encode(*words))
        return self._read(client, words[0], began)

    def _read(self, client, kind, began):
        reply = client.read()
        waited = self._tally.waited(self._place, kind, began)
        if isinstance(reply, ErrorReply):
            if reply.startswith(TROUBLES):
                raise Refused(f"{kind}: {reply.decode()}, {waited:.2f} s")
            raise AssertionError(f"{kind}: {reply}")
        assert waited < DEADLINE, f"{kind} took {waited:.2f} s"
        return reply

    def _key(self, what):
        return f"{self._name}:{self._lives}:{what}"

    def _value(self, size=40):
        text = f"{self._name}:{self._lives}:{self._chance.getrandbits(64):x}:"
        return (text * (size // len(text) + 1)).encode()

    def plain(self):
        client, value = self._connect(), self._value()
        assert self._ask(client, "SET", self._key("k"), value) == b"OK"
        assert self._ask(client, "GET", self._key("k")) == value
        assert self._ask(client, "DEL", self._key("k")) == 1

    def pipeline(self):
        client, count, began = self._connect(), self._chance.randrange(5, 200), time.monotonic()
        client.send(encode("INCR", self._key("n")) * count + encode("DEL", self._key("n")))
        for number in range(1, count + 1):
            assert self._read(client, "pipeline", began) == number
        assert self._read(client, "pipeline", began) == 1

    def upload(self):
        client, value = self._connect(), self._value(self._chance.choice((140_000, 300_000, MB)))
        assert self._ask(client, "SET", self._key("k"), value) == b"OK"
        assert self._ask(client, "GET", self._key("k")) == value
        assert self._ask(client, "DEL", self._key("k")) == 1

    def download(self):
        client = self._connect()
        assert len(self._ask(client, "GET", BIG)) == MB

    def script(self):
        client, value = self._connect(), self._value()
        assert self._ask(client, "EVAL", "return {ARGV[1], 7}", "0", value) == [value, 7]

    def block(self):
        client, began = self._connect(), time.monotonic()
        client.send(b"".join(encode(*words) for words in (
            ("MULTI",), ("SET", self._key("k"), "v"), ("DEL", self._key("k")), ("EXEC",))))
        replies = [self._read(client, "block", began) for _ in range(4)]
        assert replies == [b"OK", b"QUEUED", b"QUEUED", [b"OK", 1]], replies

    def transaction(self):
        client, began = self._connect(), time.monotonic()
        assert self._ask(client, "WATCH", self._key("w")) == b"OK"
        assert self._ask(client, "MULTI") == b"OK"
        assert self._ask(client, "INCR", self._key("w")) == b"QUEUED"
        assert self._ask(client, "DEL", self._key("w")) == b"QUEUED"
        if self._chance.random() < 0.3:
            other = self._connect()
            assert self._ask(other, "SET", self._key("w"), "9") == b"OK"
            assert self._ask(client, "EXEC") is None
            assert self._ask(client, "DEL", self._key("w")) == 1
        else:
            reply = self._ask(client, "EXEC")
            if reply is None and self._place.trouble.breaks(began):
                raise Closed()  # As with the witnesses.
            assert reply == [1, 1], reply

    def stream(self):
        client, key = self._connect(protocol=2), self._key("s")
        assert self._ask(client, "XGROUP", "CREATE", key, "g", "$", "MKSTREAM") == b"OK"
        name = self._ask(client, "XADD", key, "*", "f", "v")
        read = ("XREADGROUP", "GROUP", "g", "me", "BLOCK", "3000", "STREAMS", key, ">")
        reply = self._ask(client, *read)
        assert reply == [[key.encode(), [[name, [b"f", b"v"]]]]], reply
        assert self._ask(client, "DEL", key) == 1

    def channel(self):
        client, other, value = self._connect(), self._connect(), self._value()
        began = time.monotonic()
        channel = self._key("c").encode()
        assert self._ask(client, "SUBSCRIBE", channel) == [b"subscribe", channel, 1]
        if self._ask(other, "PUBLISH", channel, value) == 0 and self._place.trouble.breaks(began):
            raise Closed()
        assert self._read(client, "message", time.monotonic()) == [b"message", channel, value]

    def tracking(self):
        client, other, key = self._connect(protocol=3), self._connect(), self._key("t").encode()
        assert self._ask(client, "CLIENT", "TRACKING", "ON") == b"OK"
        assert self._ask(client, "GET", key) is None
        assert self._ask(other, "SET", key, "1") == b"OK"
        reply = self._read(client, "invalidation", time.monotonic())
        assert isinstance(reply, Push) and reply == [b"invalidate", [key]], reply
        self._ask(other, "DEL", key)

    def database(self):
        client, value = self._connect(), self._value()
        assert self._ask(client, "SELECT", str(self._chance.randrange(1, 6))) == b"OK"
        assert self._ask(client, "SET", self._key("d"), value) == b"OK"
        assert self._ask(client, "GET", self._key("d")) == value
        assert self._ask(client, "DEL", self._key("d")) == 1

    def quiet(self):
        client = self._connect()
        client.send(encode("CLIENT", "REPLY", "SKIP") + encode("SET", self._key("q"), "1"))
        assert self._ask(client, "DEL", self._key("q")) == 1


LIVES = [
    Passer.plain, Passer.plain, Passer.pipeline, Passer.upload, Passer.download, Passer.script,
    Passer.block, Passer.transaction, Passer.stream, Passer.channel, Passer.tracking,
    Passer.database, Passer.quiet,
]
# Those that need no upstream of their own.
PLAIN = ("plain", "pipeline", "download", "database", "quiet")


def _name(data) -> str:
    return data.split(b"\r\n", 3)[2].decode()


def _short(data: bytes) -> str:
    return repr(data) if len(data) <= 200 else f"{data[:120]!r}...{data[-60:]!r} ({len(data)})"

