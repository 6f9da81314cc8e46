"""Upgrades of a daemon, and clients that would notice one."""

import contextlib
import threading

from harness.daemon import BINARY
from harness.audience import Audience, message
from harness.ledger import Crowd
from harness.waiting import eventually
from harness.wire import Connection, ErrorReply, encode


def upgrade(redpool, *words) -> str:
    """Upgrades, and returns what the daemon says of it."""
    reply = asked(redpool, *words)
    assert not isinstance(reply, ErrorReply), reply
    return reply.decode()


def asked(redpool, *words):
    """What the console says of an upgrade."""
    with redpool.console(timeout=60) as console:
        return console.command("UPGRADE", *words)


class Asking(threading.Thread):
    """Asks for an upgrade beside the test; `answer` has the answer."""

    def __init__(self, redpool, *words):
        super().__init__(daemon=True)
        self._redpool, self._words = redpool, words
        self.answer = None
        begun = redpool.log().count("event=upgrade.begin")
        self.start()
        eventually(
            lambda: redpool.log().count("event=upgrade.begin") > begun, what="its beginning")

    def run(self):
        self.answer = asked(self._redpool, *self._words)

    def end(self):
        self.join(60)
        return self.answer


class Large(Crowd):
    """Values up to 1 MB both ways, each client its own key and in sizes of its own."""

    SIZES = (10, 4_000, 20_000, 70_000, 140_000, 1 << 20)

    def __init__(self, address, clients):
        super().__init__(address, clients)
        self._counts = [0] * clients

    async def round(self, index, client):
        self._counts[index] += 1
        count = self._counts[index]
        size = self.SIZES[(index + count) % len(self.SIZES)]
        value = (b"%d:%d " % (index, count) * (size // 4 + 1))[:size]
        client.send(encode("SET", f"large:{index}", value) + encode("GET", f"large:{index}"))
        told, back = await client.read(60), await client.read(60)
        if told != b"OK" or back != value:
            self.errors.append((index, told, len(value), (back or b"")[:60]))
        return True


class Takers(Crowd):
    """Clients that wait for the elements of lists, several of them for each."""

    def __init__(self, address, clients, lists, command):
        super().__init__(address, clients)
        self.lists = lists
        # BLPOP, or BLMOVE to a list of the same name with a `:moved` behind.
        self._command = command
        self.taken = [[] for _ in lists]

    async def round(self, index, client):
        place = index % len(self.lists)
        name = self.lists[place]
        if self._command == "BLPOP":
            reply = await client.command("BLPOP", name, "0", timeout=60)
            fits = isinstance(reply, list) and reply[0] == name.encode()
            element = reply[1] if fits else None
        else:
            element = await client.command(
                "BLMOVE", name, f"{name}:moved", "LEFT", "RIGHT", "0", timeout=60)
            fits = isinstance(element, bytes) and not isinstance(element, ErrorReply)
        if not fits:
            self.errors.append((index, element))
            return False
        self.taken[place].append(int(element))
        return True

    def check(self, server, made):
        """Each element was taken once, or is still there. The producer has made so many."""
        self.is_well()
        for place, name in enumerate(self.lists):
            left = [int(one) for one in server.command("LRANGE", name, "0", "-1")]
            assert sorted(self.taken[place] + left) == list(range(made[name])), name
            if self._command == "BLMOVE":
                moved = server.command("LRANGE", f"{name}:moved", "0", "-1")
                assert [int(one) for one in moved] == list(range(made[name] - len(left))), name


class Beside:
    """Something that a thread does again and again while the block of a `with` runs, with so
    many seconds between."""

    def __init__(self, pause):
        self._pause = pause
        self._stop = threading.Event()
        self._failure = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def again(self):
        """Once more."""
        raise NotImplementedError

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        self._stop.set()
        self._thread.join(60)
        if kind is None and self._failure:
            raise self._failure

    def _run(self):
        try:
            while not self._stop.wait(self._pause):
                self.again()
        except BaseException as failure:  # Raised again by __exit__, in the test's own thread.
            self._failure = failure


class Producer(Beside):
    """Pushes numbers to the lists of takers, so seldom that most of them wait."""

    def __init__(self, server, *takers):
        super().__init__(0.02)
        self._control = server.connect()
        self.made = {name: 0 for one in takers for name in one.lists}

    def again(self):
        for name, count in self.made.items():
            self._control.command("RPUSH", name, count)
            self.made[name] += 1


class Newcomers(Beside):
    """Clients that connect, work and leave, on every listener in turn."""

    def __init__(self, redpool):
        super().__init__(0.002)
        self._addresses = [redpool.tcp, redpool.unix, redpool.tcp6]
        self.count = 0

    def again(self):
        with Connection(self._addresses[self.count % 3], timeout=60) as client:
            assert client.command("ECHO", self.count) == b"%d" % self.count
        self.count += 1


class Publisher(Beside):
    """Publishes numbers, to every channel in turn, to subscribers who must hear all of them."""

    def __init__(self, address, channels, subscribers):
        super().__init__(0.002)
        self._channels, self._subscribers = channels, subscribers
        self._client = Connection(address, timeout=60)
        self.count = 0

    def again(self):
        channel = self._channels[self.count % len(self._channels)]
        heard = self._client.command("PUBLISH", channel, self.count)
        assert heard == self._subscribers, (heard, self.count)
        self.count += 1


class Subscribers(Audience):
    """Those of channels, equally many of each; every second one speaks RESP3."""

    def __init__(self, address, count, channels):
        super().__init__(address, count)
        self._channels = channels
        self.subscribe(lambda index: channels[index % len(channels)])

    def check(self, published):
        """Each has heard every message of its channel once, in order."""
        total = len(self._channels)
        wanted = {}
        for place, channel in enumerate(self._channels):
            for three in (False, True):
                wanted[channel, three] = b"".join(
                    message(channel, b"%d" % number, three)
                    for number in range(place, published, total))
        channel_of = {
            id(one): self._channels[index % total] for index, one in enumerate(self.listeners)}
        self.hear(lambda one: wanted[channel_of[id(one)], one.is_three])


class Idle:
    """Clients that do nothing; every fifth has sent the beginning of a command."""

    BEGIN, REST = b"*1\r\n$4\r\nPI", b"NG\r\n"

    def __init__(self, addresses, count):
        self._made = contextlib.ExitStack()
        self.clients = [
            self._made.enter_context(Connection(addresses[index % len(addresses)], timeout=60))
            for index in range(count)]

    def __enter__(self):
        for client in self.clients:
            assert client.command("PING") == b"PONG"
        self._begin()
        return self

    def __exit__(self, *_):
        self._made.close()

    def _begin(self):
        for client in self.clients[::5]:
            client.send(self.BEGIN)

    def check(self):
        """They are still served, and begin anew."""
        for index, client in enumerate(self.clients):
            client.send(encode("PING") if index % 5 else self.REST)
        for client in self.clients:
            assert client.read() == b"PONG"
        self._begin()


class Holders:
    """Clients that hold something over an upgrade: `begin` before it, `end` behind it."""

    def __init__(self, redpool, server):
        self._made = contextlib.ExitStack()
        self._server = server
        self._turn = 0
        names = ("multi", "loser", "winner", "tracker", "pipe", "reader", "changer")
        for name in names:
            setattr(self, name, self._made.enter_context(redpool.connect(timeout=60)))
        assert self.tracker.command("HELLO", "3")[b"proto"] == 3
        assert self.tracker.command("CLIENT", "TRACKING", "ON") == b"OK"
        assert self.pipe.command("MULTI") == b"OK"
        # From here on it has an upstream for itself.
        assert self.pipe.command("SUBSCRIBE", "piped") == b"QUEUED"
        self.pipe.send(encode("EXEC") + encode("UNSUBSCRIBE") + encode("PING"))
        while self.pipe.read() != b"PONG":
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._made.close()

    def begin(self):
        self._turn += 1
        assert self.multi.command("MULTI") == b"OK"
        assert self.multi.command("INCR", "multi") == b"QUEUED"
        assert self.loser.command("WATCH", "lost") == b"OK"
        assert self.winner.command("WATCH", "won") == b"OK"
        assert self.tracker.command("GET", "tracked") == (
            b"%d" % (self._turn - 1) if self._turn > 1 else None)
        assert self.pipe.command("INCR", "piped") == 2 * self._turn - 1
        self.reader.send(encode("XREAD", "BLOCK", "0", "STREAMS", "stream", "$"))
        eventually(self._reads, what="a blocked XREAD")

    def _reads(self) -> bool:
        rows = self._server.upstreams()
        return any(row["cmd"] == "xread" and "b" in row["flags"] for row in rows)

    def change(self):
        """What they must notice, at any time between `begin` and `end`."""
        self._server.command("XADD", "stream", "*", "turn", self._turn)
        self._server.command("SET", "lost", self._turn)
        self._server.command("SET", "tracked", self._turn)

    def end(self):
        turn = b"%d" % self._turn
        assert self.multi.command("INCR", "multi") == b"QUEUED"
        assert self.multi.command("EXEC") == [2 * self._turn - 1, 2 * self._turn]
        for client, done in ((self.loser, None), (self.winner, [b"OK"])):
            assert client.command("MULTI") == b"OK"
            assert client.command("SET", "other", turn) == b"QUEUED"
            assert client.command("EXEC") == done
        assert self.tracker.read() == [b"invalidate", [b"tracked"]]
        assert not self.tracker.is_answered()
        assert self.pipe.command("INCR", "piped") == 2 * self._turn
        [[name, [[_, fields]]]] = self.reader.read()
        assert (name, fields) == (b"stream", [b"turn", turn])


class Clients:
    """One client of each kind that is carried."""

    def __init__(self, redpool, server):
        self._made = contextlib.ExitStack()
        self._server = server
        self._turn = 0
        made = [self._made.enter_context(redpool.connect(timeout=60)) for _ in range(4)]
        self.plain, self.named, self.multi, self.taker = made
        assert self.named.command("HELLO", "3", "SETNAME", "me")[b"proto"] == 3
        self._hold()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._made.close()

    def _hold(self):
        assert self.multi.command("MULTI") == b"OK"
        self.taker.send(encode("BLPOP", "taken", "0"))
        eventually(lambda: self._server.info("blocked_clients") == "1", what="a blocked client")

    def are_served(self):
        """They go on as if nothing had happened."""
        self._turn += 1
        assert self.plain.command("INCR", "turn") == self._turn
        assert self.named.command("CLIENT", "GETNAME") == b"me"
        assert self.multi.command("INCR", "multi") == b"QUEUED"
        assert self.multi.command("EXEC") == [self._turn]
        assert not self.taker.is_answered()
        self._server.command("RPUSH", "taken", self._turn)
        assert self.taker.read() == [b"taken", b"%d" % self._turn]
        self._hold()


def replace(path, text):
    """Puts another file in the place of a program."""
    fresh = path.with_suffix(".fresh")
    fresh.write_text(text)
    fresh.chmod(0o755)
    fresh.rename(path)


def rehearsal(script) -> str:
    """A program whose rehearsal is this script, and which is the daemon's otherwise."""
    return f'#!/bin/sh\nif [ "$1" = rehearse ]; then {script}; fi\nexec {BINARY} "$@"\n'


def execution(script) -> str:
    """The same with what is executed in place of the daemon. From then on that is BINARY."""
    return f'#!/bin/sh\nif [ "$1" = run ]; then {script}; fi\nexec {BINARY} "$@"\n'
