"""Queues of riot.py with a ledger: each element is received by one consumer or still there.

A round of a keeper: consumers and ghosts block on a queue of his. The ghosts leave, at any byte of
what they send and in every way. Once all of them are off Redpool's CLIENT LIST, and the server has
answered a PING sent after that, elements are pushed. No ghost may get one of them. In a race the
keeper does not wait, and each ghost may take one element with him, as on a direct connection.
"""

import contextlib
import socket
import subprocess
import time

from harness.waiting import comes
from harness.wire import Closed, ErrorReply, encode
from riot_ground import DEADLINE, REFUSALS, TROUBLES, chance_of

KINDS = ("list", "right", "move", "sorted", "stream")
# What a ghost has sent before he blocks: states that hold an upstream, or none. Nobody publishes on
# his channel: one who has ended his input and not read has 5 s to read the rest.
BEFORE = [
    (), (), (), (("HELLO", "3"),), (("WATCH", "riot:w"),), (("SELECT", "0"),),
    (("HELLO", "3"), ("SUBSCRIBE", "quiet")), (("MULTI",), ("EXEC",)), (("SET", "riot:s", "1"),),
]
BEHIND = [0, 0, 0, 1, 2, 90, 1000, 6000]
JUNK = encode("SET", "riot:junk", b"x" * 50)


class Keeper:
    def __init__(self, place, server, number, seed, tally):
        self._place, self.server, self._tally = place, server, tally
        self._chance = chance_of("keeper", place.name, number, seed)
        self._name, self._rounds = f"queue:{place.name}:{number}", 0
        self._own = None

    def step(self):
        self._rounds += 1
        _Round(self, self._chance.choice(KINDS)).play()
        self._tally.add("rounds")

    def leave(self):
        if self._own:
            self._own.close()

    def connect(self):
        client = self._place.connect(self._chance)
        if self._place.login and client.command(*self._place.login) != b"OK":
            client.close()
            raise Closed()
        return client

    def ask(self, *words):
        """A command of the keeper's own, over Redpool, until it is answered."""
        until = time.monotonic() + 60
        while True:
            since = time.monotonic()
            try:
                self._own = self._own or self.connect()
                reply = self._own.command(*words)
                if not isinstance(reply, ErrorReply):
                    self._tally.waited(self._place, words[0], since)
                    return reply
                problem = reply
            except OSError as end:
                problem, self._own = end, None
            if not self._place.trouble.touches(since) or time.monotonic() > until:
                raise AssertionError(f"{self._name}: {words[:3]} {problem!r}")


class _Round:
    """One queue, from its first client to the account."""

    def __init__(self, keeper, kind):
        self._keeper, self._kind, self._chance = keeper, kind, keeper._chance
        self._place, self._tally = keeper._place, keeper._tally
        self._key = f"{keeper._name}:{keeper._rounds}:{kind}"
        self._began = time.monotonic()
        self._race = self._chance.random() < 0.1
        self._pushed, self._received, self._unknown, self._cut = [], [], [], 0

    def play(self):
        with contextlib.ExitStack() as opened:
            if self._kind == "stream":
                self._keeper.ask("XGROUP", "CREATE", self._key, "g", "0", "MKSTREAM")
            live = [self._consumer(opened) for _ in range(self._chance.randrange(1, 4))]
            ghosts = [self._ghost(opened, n) for n in range(self._chance.randrange(0, 5))]
            late = self._chance.random() < 0.2
            if not late:
                self._block(live)
            for ghost in ghosts:
                ghost.appear()
            if self._race:
                self._push(len(live))
            for ghost in ghosts:
                ghost.vanish()
            self._tally.add("ghosts", len(ghosts))
            self._see_off(ghosts)
            if late:
                self._block(live)
            self._push(len(live) + self._chance.randrange(3))
            self._receive(live)
        self._account(len(ghosts))

    def _consumer(self, opened):
        """One who waits for an element; none while the server is in trouble."""
        since = time.monotonic()
        try:
            client = self._keeper.connect()
            opened.callback(client.close)
            if self._chance.random() < 0.4 and self._kind != "stream":
                client.command("HELLO", "3")
            return client
        except OSError as problem:
            if not self._place.trouble.touches(since):
                self._tally.fail(f"{self._key}: a consumer cannot begin: {problem!r}")
            return None

    def _ghost(self, opened, number):
        ghost = Ghost(self._place, self._chance, self.command(f"ghost{number}", "0"))
        opened.callback(ghost.close)
        return ghost

    def command(self, consumer, timeout):
        """What blocks on the queue, for this consumer."""
        side = "done" if consumer == "live" else "ghost"
        return {
            "list": ("BLPOP", self._key, timeout),
            "right": ("BRPOP", self._key, timeout),
            "move": ("BLMOVE", self._key, f"{self._key}:{side}", "LEFT", "RIGHT", timeout),
            "sorted": ("BZPOPMIN", self._key, timeout),
            "stream": (
                "XREADGROUP", "GROUP", "g", consumer, "COUNT", "1", "BLOCK",
                str(int(float(timeout) * 1000)), "STREAMS", self._key, ">",
            ),
        }[self._kind]

    def _block(self, live):
        for client in filter(None, live):
            with contextlib.suppress(OSError):
                client.send(encode(*self.command("live", self._chance.choice(("0", "30")))))

    def _see_off(self, ghosts):
        """Until nobody of them is a client any more, to Redpool and to the server."""
        ids = [str(ghost.id) for ghost in ghosts if ghost.id]
        if not ids:
            return
        since, left = time.monotonic(), ""

        def are_gone():
            nonlocal left
            found = self._keeper.ask("CLIENT", "LIST", "ID", *ids).decode().strip()
            left = found or left
            return not found

        if not comes(are_gone, 60, 0.005):
            self._tally.fail(f"{self._key}: ghosts stay: {left}")
        if (waited := self._tally.waited(self._place, "end noticed", since)) > DEADLINE:
            self._tally.fail(f"{self._key}: ends were noticed after {waited:.2f} s: {ghosts}")
        elif waited > 2:
            print(f"{self._key}: ends noticed after {waited:.2f} s: {ghosts} {left}", flush=True)
        # What reached the server before has been seen there when this is answered.
        self._at_server(("PING",))

    def _at_server(self, *commands):
        """The replies of the server itself; again and again while it is being restarted."""
        until = time.monotonic() + 60
        while True:
            try:
                with self._keeper.server.connect() as control:
                    replies = [control.command(*words) for words in commands]
                if not any(isinstance(reply, ErrorReply) for reply in replies):
                    return replies
                problem = AssertionError(f"{self._key}: {commands} {replies}")
            except OSError as end:
                problem = end
            if not self._place.trouble.breaks(self._began) or time.monotonic() > until:
                raise problem
            time.sleep(0.1)

    def _push(self, count):
        words = {"sorted": ("ZADD", self._key, "1"), "stream": ("XADD", self._key, "*", "v")}
        command = words.get(self._kind, ("RPUSH", self._key))
        for _ in range(count):
            value = b"%x" % self._chance.getrandbits(64)
            since = time.monotonic()
            try:
                with self._keeper.connect() as client:
                    reply = client.command(*command, value)
                    if isinstance(reply, ErrorReply):
                        raise AssertionError(f"{self._key}: push {reply}")
                    self._pushed.append(value)
                    self._tally.add("elements")
            except (OSError, AssertionError) as problem:
                self._unknown.append(value)
                if not self._place.trouble.touches(since):
                    self._tally.fail(f"{self._key}: push {problem!r}")

    def _receive(self, live):
        since = time.monotonic()
        for client in live:
            try:
                reply = client.read() if client else None
            except OSError as problem:
                self._cut += 1
                kind = type(problem).__name__
                trouble = self._place.trouble
                excused = trouble.touches(self._began) if kind == "TimeoutError" else (
                    trouble.breaks(self._began))
                if not excused:
                    waited = time.monotonic() - since
                    self._tally.fail(f"{self._key}: consumer {kind} after {waited:.2f} s")
                self._tally.add("excused", int(excused))
                continue
            self._tally.waited(self._place, "element", since)
            if isinstance(reply, ErrorReply):
                known = TROUBLES if self._place.trouble.touches(self._began) else REFUSALS
                if not reply.startswith((*known, b"NOAUTH")):
                    self._tally.fail(f"{self._key}: consumer was told {reply}")
                self._tally.add("refused")
            elif reply is not None:
                self._received.append(self._value(reply))

    def _value(self, reply):
        if self._kind == "move":
            return reply
        if self._kind == "stream":
            return reply[0][1][0][1][1]
        return reply[1]

    def _account(self, ghosts):
        """Each element once; what is missing can only have gone to one whom we know."""
        rest, to_ghosts = self._rest(), self._to_ghosts()
        self._at_server(("DEL", self._key, f"{self._key}:ghost", f"{self._key}:done"))
        found = self._received + rest
        missing = [value for value in self._pushed if value not in found]
        strange = [value for value in found if value not in self._pushed + self._unknown]
        allowed = self._cut + (ghosts if self._race else 0)
        state = (
            f"{self._key}: pushed {self._pushed}, unknown {self._unknown}, received"
            f" {self._received}, left {rest}, {self._cut} cut, {ghosts} ghosts, race {self._race}"
        )
        if len(missing) > allowed:
            self._tally.fail(f"LOST {missing}: {state}")
        if len(set(found)) != len(found) or strange:
            self._tally.fail(f"TWICE or made up: {state}")
        if to_ghosts and not self._race:
            self._tally.fail(f"a ghost got {to_ghosts}: {state}")

    def _rest(self):
        if self._kind == "stream":
            read = ("XREADGROUP", "GROUP", "g", "sweeper", "STREAMS", self._key)
            _, reply = self._at_server((*read, ">"), (*read, "0"))
            return [fields[1] for _, fields in reply[0][1]] if reply else []
        reading = "ZRANGE" if self._kind == "sorted" else "LRANGE"
        return self._at_server((reading, self._key, "0", "-1"))[0]

    def _to_ghosts(self):
        if self._kind == "move":
            return self._at_server(("LRANGE", f"{self._key}:ghost", "0", "-1"))[0]
        if self._kind == "stream":
            rows = self._at_server(("XPENDING", self._key, "g", "-", "+", "100"))[0]
            return [row for row in rows if row[1].startswith(b"ghost")]
        return []


class Ghost:
    """A consumer who leaves before an element comes."""

    def __init__(self, place, chance, command):
        self._place, self._chance, self._command = place, chance, command
        self.id, self._client, self._how, self._sleeper = None, None, None, None
        self._setup, self._much = chance.choice(BEFORE), chance.choice(BEHIND)

    def __repr__(self):
        return f"<ghost {self.id}: {self._setup} {self._command[0]} +{self._much}, {self._how}>"

    def appear(self):
        data = encode(*self._command) + JUNK * self._much
        if self._chance.random() < 0.2:
            data = data[: self._chance.randrange(len(data) + 1)]
        with contextlib.suppress(OSError):
            self._client = self._place.connect(self._chance)
            for words in filter(None, (self._place.login, ("CLIENT", "ID"), *self._setup)):
                reply = self._client.command(*words)
                if words[0] == "CLIENT" and isinstance(reply, int):
                    self.id = reply
            self._client.socket.settimeout(self._chance.choice((0.001, 0.05, 0.3)))
            self._client.send(data)
            if self._chance.random() < 0.5:
                self._client.socket.recv(1)  # Perhaps he has blocked by the end of the wait.

    def vanish(self):
        if not self._client:
            return
        self._how = self._chance.choice(("close", "reset", "half", "killed"))
        if self._how == "half":
            with contextlib.suppress(OSError):
                self._client.socket.shutdown(socket.SHUT_WR)
        elif self._how == "reset":
            self._client.reset()
        elif self._how == "killed" and self._chance.random() < 0.2:
            descriptor = self._client.socket.fileno()
            sleeper = subprocess.Popen(["sleep", "100"], pass_fds=[descriptor])
            self._client.close()
            sleeper.kill()
            sleeper.wait()
        else:
            self._client.close()

    def close(self):
        if self._client:
            self._client.close()
