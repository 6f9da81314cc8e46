"""Fences: replies that get out of step are noticed, and nothing else is taken for that."""

import re
import selectors
import threading
import time

import pytest

from harness.waiting import always, comes, eventually
from harness.wire import Closed, Connection, encode
from simple import Simple

# ECHO or PING with the digits of a fence, as MONITOR shows it.
FENCE = re.compile(r'\[\d+ (\S+)\] "(ECHO|PING)" "([0-9a-f]{16})"')


class Busy:
    """Clients that each have commands in flight all the time, in one thread. What they get is
    counted, right or wrong, and how they end.
    """

    def __init__(self, address, count=50, depth=1):
        self.clients = [Connection(address, timeout=30) for _ in range(count)]
        self.depth, self.owed, self.right = depth, [0] * count, [0] * count
        self.wrong = self.lost = self.closed = 0
        self._selector = selectors.DefaultSelector()
        self._is_over = False
        for index, client in enumerate(self.clients):
            assert client.command("SET", f"busy:{index}", f"value {index}") == b"OK"
            self._selector.register(client.socket, selectors.EVENT_READ, index)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        for index in range(len(self.clients)):
            self._ask(index)
        self._thread.start()
        self.go_on()
        return self

    def __exit__(self, *_):
        self._is_over = True
        self._thread.join(30)
        for client in self.clients:
            client.close()

    def go_on(self):
        """Waits until everybody who is left has had a few right replies more, or is closed."""
        left = [index for index, client in enumerate(self.clients) if client.socket.fileno() >= 0]
        before = [self.right[index] for index in left]

        def is_on():
            return all(
                self.right[index] >= count + 2 * self.depth
                or self.clients[index].socket.fileno() < 0
                for index, count in zip(left, before)
            )

        eventually(is_on, what="busy clients getting on")

    def _ask(self, index):
        self.owed[index] = self.depth
        self.clients[index].send(encode("GET", f"busy:{index}") * self.depth)

    def _run(self):
        while not self._is_over:
            for key, _ in self._selector.select(0.1):
                self._readable(key.data)

    def _readable(self, index):
        client = self.clients[index]
        try:
            self._answered(index, client.read())
            while client.has_more():
                self._answered(index, client.read())
        except (Closed, ConnectionError):
            self.closed += 1
            self._selector.unregister(client.socket)
            client.close()

    def _answered(self, index, reply):
        if reply == f"value {index}".encode():
            self.right[index] += 1
        elif reply.startswith(b"UPSTREAMLOST"):
            self.lost += 1
        else:
            self.wrong += 1
        self.owed[index] -= 1
        if self.owed[index] == 0:
            self._ask(index)


class Watch:
    """What the server carries out, as MONITOR shows it, line by line."""

    def __init__(self, server):
        self.lines = []
        self._link = server.connect()
        assert self._link.command("MONITOR") == b"OK"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            while True:
                self.lines.append(self._link.read().decode())
        except (OSError, Closed):
            pass

    def fences(self) -> list:
        """Address, command and digits of each fence."""
        found = [FENCE.search(line) for line in list(self.lines)]
        return [match.groups() for match in found if match]


@pytest.fixture
def watched(launch):
    """A server, and what it carries out."""
    server = launch.server()
    return server, Watch(server)


@pytest.mark.alone
@pytest.mark.parametrize("policy", ["close", "error"])
@pytest.mark.parametrize("fault", ["swallow", "double"])
def test_replies_out_of_step(launch, fault, policy):
    """The upstream is closed within 1.1 s, with its clients, whatever `onUpstreamLoss` says."""
    middleman = launch.middleman(launch.server())
    redpool = launch.redpool(middleman, pool={"onUpstreamLoss": policy, "maxPipeline": 1000})
    with redpool.connect() as other, Busy(redpool.tcp, depth=10) as busy:
        # In a database of its own, and so on another upstream.
        assert other.command("SELECT", "1") == b"OK"
        assert other.command("SET", "mine", "1") == b"OK"
        middleman.arm(b"busy:7", fault)
        eventually(lambda: middleman.struck, what="the fault")
        struck = middleman.struck[0]
        eventually(lambda: [end for end in middleman.ended if end > struck], what="the close")
        assert min(end for end in middleman.ended if end > struck) - struck < 1.1
        eventually(lambda: "event=upstream.desync" in redpool.log())
        line = next(line for line in redpool.log().splitlines() if "upstream.desync" in line)
        assert "level=critical" in line and "reason=desync" in line, line
        # A reply too many may also show as one that nobody waits for.
        words = {"swallow": "out of step", "double": "out of step|an unexpected reply"}[fault]
        assert re.search(words, line), line
        # Each is in step again, or closed: those who were waiting for a reply.
        busy.go_on()
        wrong = busy.wrong
        assert busy.lost == 0 and (busy.closed > 0 or "out of step" not in line)
        busy.go_on()
        assert busy.wrong == wrong, "replies are still out of step"
        assert other.command("GET", "mine") == b"1"
    assert redpool.log().count("event=upstream.desync") == 1


def test_nobody_has_to_write_for_a_fence(launch):
    """The reply that one client waits for has gone to another, and nobody else sends anything."""
    middleman = launch.middleman(launch.server())
    redpool = launch.redpool(middleman)
    with redpool.connect() as client:
        assert client.command("GET", "before") is None
        middleman.arm(b"busy:7", "swallow")
        client.send(encode("GET", "busy:7"))
        with pytest.raises(Closed):
            client.read()
    eventually(lambda: re.search("event=upstream.desync.*out of step", redpool.log()))


def test_digits_differ_and_come_once_a_second(launch, watched):
    server, watch = watched
    redpool = launch.redpool(server)
    with Busy(redpool.tcp, 5):
        eventually(lambda: len(watch.fences()) >= 4, what="four fences")
    fences = watch.fences()
    assert {name for _, name, _ in fences} == {"ECHO"}
    assert len({digits for _, _, digits in fences}) == len(fences)
    times = [float(line[: line.index(" ")]) for line in watch.lines if FENCE.search(line)]
    # By the clock of the server, which reads late or early.
    assert all(later - earlier > 0.9 for earlier, later in zip(times[1:], times[2:])), times


def test_nobody_else_gets_in_between(launch, watched):
    """No fence stands inside a transaction, or on an upstream that one client holds."""
    server, watch = watched
    redpool = launch.redpool(server, pool={"maxOpen": 4})
    block = [("MULTI",), ("SET", "k", "1"), ("INCR", "k"), ("EXEC",)]
    with redpool.connect() as held, redpool.connect() as other, Busy(redpool.tcp, 3):
        assert held.command("WATCH", "k") == b"OK"
        assert held.command("SET", "held", "1") == b"OK"
        started = time.monotonic()
        while time.monotonic() - started < 3.5:
            other.send(b"".join(encode(*command) for command in block) * 20)
            replies = [other.read() for _ in block * 20]
            assert replies == [b"OK", b"QUEUED", b"QUEUED", [b"OK", 2]] * 20
            assert held.command("GET", "held") == b"1"
        assert held.command("UNWATCH") == b"OK"
    lines = [line for line in watch.lines if " [0 127" in line]
    mine = re.search(r"\[0 (\S+)\]", next(line for line in lines if '"WATCH"' in line))[1]
    inside, shared = set(), 0
    for line in lines:
        address, name = re.search(r'\[0 (\S+)\] "(\w+)"', line).groups()
        if name == "MULTI":
            inside.add(address)
        elif name == "EXEC":
            inside.discard(address)
        if FENCE.search(line):
            assert address not in inside, line
            shared += address != mine
    assert shared >= 3
    first = next(index for index, line in enumerate(lines) if '"WATCH"' in line)
    last = next(index for index, line in enumerate(lines) if '"UNWATCH"' in line)
    assert not [line for line in lines[first:last] if FENCE.search(line) and mine in line]


def test_fence_has_no_deadline(launch):
    """Only a fence is unanswered: that is no reason to close, and what comes behind has all its
    time.
    """
    middleman = launch.middleman(launch.server())
    redpool = launch.redpool(middleman, pool={"commandTimeout": "1s", "maxOpen": 1})
    with redpool.connect() as client:
        assert client.command("SET", "k", "1") == b"OK"
        middleman.arm(b"ECHO", "stall")
        eventually(lambda: client.command("GET", "k") == b"1" and middleman.seen[b"ECHO"])
        always(lambda: len(middleman.links) == 1, 3, what="the connection")
        assert "upstream.command_timeout" not in redpool.log()
        client.send(encode("GET", "k"))
        sent = time.monotonic()
        assert client.read_until_closed() == b""
        assert time.monotonic() - sent > 0.9
    eventually(lambda: "upstream.command_timeout" in redpool.log())


@pytest.mark.parametrize("how", ["stopped", "paused", "script"])
def test_slow_server_is_no_finding(launch, how):
    server = launch.server()
    # A second upstream would be dialled while the first hangs.
    redpool = launch.redpool(server, pool={"maxOpen": 1})
    with Busy(redpool.tcp, 10) as busy:
        before = {row["id"] for row in server.upstreams()}
        if how == "stopped":
            server.pause()
            # The time that it is stopped, which nothing shortens.
            threading.Event().wait(3)
            server.resume()
        elif how == "paused":
            assert server.command("CLIENT", "PAUSE", "3000", "ALL") == b"OK"
        else:
            slow = "local a = redis.call('TIME') while redis.call('TIME')[1] - a[1] < 3 do end"
            assert server.command("EVAL", slow, "0") is None
        busy.go_on()
        assert before <= {row["id"] for row in server.upstreams()}
    assert (busy.wrong, busy.closed) == (0, 0)
    assert "upstream." not in redpool.log()


@pytest.mark.alone
def test_fence_that_was_not_received_is_not_sent_again(launch):
    """The connection is lost with a fence and commands unanswered: only the commands count."""
    middleman = launch.middleman(launch.server())
    redpool = launch.redpool(middleman, pool={"onUpstreamLoss": "error", "maxOpen": 1})
    with redpool.connect() as client:
        assert client.command("SET", "k", "1") == b"OK"
        for _ in range(3):
            # Connected, so that the next ECHO is a fence.
            assert client.command("GET", "k") == b"1"
            middleman.arm(b"ECHO", "close", times=1)
            ended = len(middleman.ended)
            # With the fence unanswered the client has lost nothing.
            eventually(
                lambda ended=ended: client.command("GET", "k") == b"1"
                and comes(lambda: len(middleman.ended) > ended, 0.05)
            )
        client.send(encode("PING", "a") + encode("PING", "b"))
        assert [client.read(), client.read()] == [b"a", b"b"]
    assert "upstream.desync" not in redpool.log() and "upstream.lost" not in redpool.log()


def test_error_proves_nothing_and_closes_nothing(launch):
    middleman = launch.middleman(launch.server())
    redpool = launch.redpool(middleman, pool={"maxOpen": 1})
    with Busy(redpool.tcp, 5) as busy:
        for words in (b"BUSY x", b"LOADING x", b"NOAUTH x", b"MASTERDOWN x", b"ERR other"):
            middleman.arm(b"$16\r\n", b"-" + words + b"\r\n")
        eventually(lambda: middleman.seen[b"$16\r\n"] >= 7, what="fences")
        busy.go_on()
        assert (busy.wrong, busy.closed) == (0, 0)
    assert not middleman.ended and "upstream." not in redpool.log()


FORMS = {
    "no ECHO": (["-echo"], {"PING"}, False),
    "neither": (["-echo", "-ping"], set(), True),
}


@pytest.mark.parametrize("rights", FORMS)
def test_form_by_the_rights_of_the_user(launch, watched, rights):
    server, watch = watched
    rules, names, is_told = FORMS[rights]
    assert server.command("ACL", "SETUSER", "default", *rules) == b"OK"
    redpool = launch.redpool(server, pool={"maxOpen": 4}, settings={"threads": 2})
    with Busy(redpool.tcp, 5) as busy:
        started = time.monotonic()
        eventually(
            lambda: (len(watch.fences()) > 3 or is_told) and time.monotonic() - started > 2.5
        )
        busy.go_on()
        assert (busy.wrong, busy.closed) == (0, 0)
    assert {name for _, name, _ in watch.fences()} == names
    assert redpool.log().count("event=upstream.no_fence") == is_told
    assert "upstream.desync" not in redpool.log()


def test_form_of_a_user_of_a_client(launch, watched):
    """It is found out on the connections in use, and each user has a form of his own."""
    server, watch = watched
    assert server.command("ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all", "-echo") == b"OK"
    redpool = launch.redpool(server)
    with redpool.connect() as bob, Busy(redpool.tcp, 5):
        assert bob.command("AUTH", "bob", "pw") == b"OK"
        eventually(
            lambda: bob.command("SET", "k", "1") == b"OK"
            and [name for _, name, _ in watch.fences()].count("PING") >= 3
        )
    mine = {address for address, name, _ in watch.fences() if name == "PING"}
    asked = [name for address, name, _ in watch.fences() if address in mine]
    assert asked.count("ECHO") == 1 and asked[0] == "ECHO", asked
    assert "upstream.no_fence" not in redpool.log()


def test_form_is_found_anew_when_another_process_answers(launch):
    server = launch.server()
    assert server.command("ACL", "SETUSER", "default", "-echo", "-ping") == b"OK"
    redpool = launch.redpool(server, pool={"maxOpen": 1})
    with redpool.connect() as client:
        assert client.command("SET", "k", "1") == b"OK"
        server.restart()
        watch = Watch(server)
        eventually(lambda: client.command("SET", "k", "1") == b"OK" and len(watch.fences()) > 2)
    assert {name for _, name, _ in watch.fences()} == {"ECHO"}


ANSWERS = {
    "neither": {},
    "no PING with an argument": {"PING": b"-ERR wrong number of arguments for 'ping' command\r\n"},
    "PONG whatever the argument": {"PING": b"+PONG\r\n"},
    "OK whatever is asked": {"PING": b"+PONG\r\n", "ECHO": b"+OK\r\n", "INFO": b"+OK\r\n"},
}


@pytest.mark.parametrize("password", [False, True], ids=["open", "password"])
@pytest.mark.parametrize("answers", ANSWERS)
def test_server_without_fences(launch, tmp_path, answers, password):
    """It is told once, and commands are carried as before."""
    server = launch.started(Simple(GET=b"$1\r\nv\r\n", AUTH=b"+OK\r\n", **ANSWERS[answers]))
    (tmp_path / "password").write_text("pw\n")
    pool = {"passwordFile": str(tmp_path / "password")} if password else {}
    redpool = launch.redpool(server, pool=pool | {"maxOpen": 2})
    clients = [redpool.connect() for _ in range(4)]
    started = time.monotonic()
    while time.monotonic() - started < 2.5:
        assert [client.command("GET", "k") for client in clients] == [b"v"] * 4
    assert len(server.asked["ECHO"]) <= 2, "it is asked over and over"
    assert redpool.log().count("event=upstream.no_fence") == 1
    assert "upstream.desync" not in redpool.log() and "connect_failed" not in redpool.log()


@pytest.mark.parametrize("reply", [b"+OK\r\n", b"$4\r\nPONG\r\n", b":1\r\n", b"*0\r\n", b"$-1\r\n"])
def test_probe_is_answered_with_pong_or_an_error(launch, reply):
    middleman = launch.middleman(launch.server())
    redpool = launch.redpool(middleman, pool={"pingInterval": "200ms"})
    with redpool.connect() as client:
        assert client.command("GET", "k") is None
        middleman.arm(b"*1\r\n$4\r\nPING", b"-NOAUTH x\r\n", times=2)
        eventually(lambda: middleman.seen[b"*1\r\n$4\r\nPING"] > 2)
        assert not middleman.ended
        middleman.disarm()
        middleman.arm(b"*1\r\n$4\r\nPING", reply)
        eventually(lambda: middleman.ended, what="the close")
        eventually(lambda: "a wrong reply to PING" in redpool.log())
        assert client.command("GET", "k") is None
