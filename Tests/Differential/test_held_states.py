"""Tracking, MONITOR and CLIENT NO-EVICT: they end, nobody else hears of them, and what they cost."""

import contextlib
import re
import socket
import threading

import pytest

from harness.server import RedisServer
from harness.waiting import eventually
from harness.wire import Push, encode
from world import daemon, prepare

LINE = re.compile(rb"\d+\.\d{6} \[")


@pytest.fixture(scope="module")
def server():
    made = RedisServer()
    prepare(made)
    yield made
    made.close()


# There is one pin to be had, so a client that kept it would keep everybody from it.
ONE_PIN = {"maxOpen": 3, "maxPinned": 1, "poolTimeout": "15s"}
ENDS = {
    "tracking, OFF": [("CLIENT", "TRACKING", "ON"), ("CLIENT", "TRACKING", "OFF")],
    "tracking, RESET": [("CLIENT", "TRACKING", "ON"), ("RESET",)],
    "BCAST, OFF": [("CLIENT", "TRACKING", "ON", "BCAST"), ("CLIENT", "TRACKING", "OFF")],
    "MONITOR, RESET": [("MONITOR",), ("RESET",)],
    "NO-EVICT, OFF": [("CLIENT", "NO-EVICT", "ON"), ("CLIENT", "NO-EVICT", "OFF")],
    "NO-EVICT, RESET": [("CLIENT", "NO-EVICT", "ON"), ("RESET",)],
    "tracking in MULTI, OFF": [
        ("MULTI",), ("CLIENT", "TRACKING", "ON"), ("EXEC",), ("CLIENT", "TRACKING", "OFF")
    ],
    "SELECT in MULTI": [("MULTI",), ("SELECT", "3"), ("EXEC",)],
    "CLIENT ID in MULTI": [("MULTI",), ("CLIENT", "ID"), ("EXEC",)],
    "a typing error in MULTI": [("MULTI",), ("NOSUCHCOMMAND",), ("EXEC",)],
    "READONLY, refused": [("READONLY",)],
    "ASKING, refused": [("ASKING",)],
    "CAPA, refused": [("CLIENT", "CAPA", "redirect")],
    "OFF alone": [("CLIENT", "NO-EVICT", "OFF"), ("CLIENT", "TRACKING", "OFF")],
}


def answer(client):
    """The next reply that is no line of MONITOR."""
    while True:
        found = client.read()
        if not (isinstance(found, bytes) and LINE.match(found)):
            return found


@pytest.mark.parametrize("steps", ENDS.values(), ids=ENDS.keys())
def test_the_pin_ends_with_its_reason(server, steps):
    with daemon(server, **ONE_PIN) as redpool, redpool.connect() as client:
        own = client.command("CLIENT", "ID")
        for step in steps:
            client.send(encode(*step))
            answer(client)
        # Others can have a pin, the client itself is an ordinary one, and it has stayed itself.
        with redpool.connect() as other:
            assert other.command("WATCH", "k") == b"OK"
        assert client.command("CLIENT", "ID") == own
        assert client.command("SET", "k", "1") == b"OK"
        assert client.command("WATCH", "k") == b"OK"


KEEPS = ["BCAST, OFF", "NO-EVICT, OFF", "NO-EVICT, RESET", "SELECT in MULTI", "CLIENT ID in MULTI",
         "READONLY, refused", "a typing error in MULTI"]


@pytest.mark.parametrize("name", KEEPS)
def test_what_ends_clean_costs_no_connection(server, name):
    with daemon(server, maxOpen=4, minIdle=4, maxIdle=4) as redpool:
        eventually(lambda: server.client_count() == 4, 20)

        def play():
            with redpool.connect() as client:
                for step in ENDS[name]:
                    client.send(encode(*step))
                    answer(client)

        play()
        before = int(server.info("total_connections_received"))
        for _ in range(20):
            play()
        assert int(server.info("total_connections_received")) == before


def test_flags_left_behind_are_turned_off_not_thrown_away(server):
    with daemon(server, maxOpen=2, minIdle=2, maxIdle=2) as redpool:
        eventually(lambda: server.client_count() == 2, 20)
        before = int(server.info("total_connections_received"))
        for end in ["close", "reset"] * 5:
            client = redpool.connect()
            assert client.command("CLIENT", "NO-EVICT", "ON") == b"OK"
            assert any("e" in row["flags"] for row in server.upstreams())
            getattr(client, end)()
            eventually(lambda: not any("e" in row["flags"] for row in server.upstreams()))
        assert int(server.info("total_connections_received")) == before


def test_nobody_is_told_of_keys_that_somebody_else_has_read(server):
    """The server remembers who has read a key, by connection, after CLIENT TRACKING OFF as well."""
    with daemon(server, **ONE_PIN) as redpool, redpool.connect() as writer:
        for _ in range(5):
            with redpool.connect() as first:
                first.command("HELLO", "3")
                assert first.command("CLIENT", "TRACKING", "ON") == b"OK"
                first.command("GET", "secret")
                assert first.command("CLIENT", "TRACKING", "OFF") == b"OK"
                with redpool.connect() as second:
                    second.command("HELLO", "3")
                    assert second.command("CLIENT", "TRACKING", "ON") == b"OK"
                    assert writer.command("SET", "secret", "1") == b"OK"
                    assert second.command("PING") == b"PONG"


def test_a_redirection_is_between_clients(server):
    with daemon(server, maxOpen=6) as redpool, redpool.connect() as tracking:
        listening, writer = redpool.connect(), redpool.connect()
        target = listening.command("CLIENT", "ID")
        listening.command("SUBSCRIBE", "__redis__:invalidate")
        tracking.command("HELLO", "3")
        turned_on = ("CLIENT", "TRACKING", "ON", "REDIRECT", str(target))
        assert tracking.command(*turned_on) == b"OK"
        assert tracking.command("CLIENT", "GETREDIR") == target
        assert tracking.command("CLIENT", "TRACKINGINFO")[b"redirect"] == target
        assert b"redir=%d " % target in tracking.command("CLIENT", "INFO")
        lines = writer.command("CLIENT", "LIST").splitlines()
        assert any(b"flags=t " in line and b"redir=%d " % target in line for line in lines)
        tracking.command("GET", "k")
        writer.command("SET", "k", "1")
        assert listening.read() == [b"message", b"__redis__:invalidate", [b"k"]]
        tracking.command("GET", "k")
        listening.close()
        eventually(lambda: not any("P" in row["flags"] for row in server.upstreams()))
        writer.command("SET", "k", "2")
        broken = tracking.read()
        assert isinstance(broken, Push) and broken == [b"tracking-redir-broken", target]
        assert tracking.command("CLIENT", "TRACKING", "OFF") == b"OK"
        assert tracking.command("CLIENT", "GETREDIR") == -1
        writer.close()


def test_client_list_knows_who_listens(server):
    with daemon(server, maxOpen=6) as redpool, redpool.connect() as asking:
        clients = {}
        for flags, steps in {
            "O": [("MONITOR",)], "t": [("CLIENT", "TRACKING", "ON")],
            "tB": [("CLIENT", "TRACKING", "ON", "BCAST")], "e": [("CLIENT", "NO-EVICT", "ON")],
        }.items():
            clients[flags] = redpool.connect()
            for step in steps:
                assert clients[flags].command(*step) == b"OK"
        found = re.findall(rb" flags=(\S+) ", asking.command("CLIENT", "LIST"))
        assert sorted(found) == sorted([b"N", *(flags.encode() for flags in clients)])
        for client in clients.values():
            client.close()


@pytest.mark.parametrize("end", [("CLIENT", "TRACKING", "OFF"), ("RESET",), None])
@pytest.mark.parametrize("options", [(), ("BCAST",), ("NOLOOP",)])
def test_invalidations_that_race_with_the_end_reach_nobody_else(server, options, end, full):
    """Writers without a pause, while clients track and stop: those who share see replies only."""
    rounds = 400 if full else 60
    stop = threading.Event()
    with daemon(server, maxOpen=5, poolTimeout="30s") as redpool:

        def write():
            with redpool.connect(timeout=30) as client:
                while not stop.is_set():
                    client.send(encode("SET", "raced", "1") * 20)
                    for _ in range(20):
                        assert client.read_raw() == b"+OK\r\n"

        failures = []

        def guarded():
            try:
                write()
            except BaseException as problem:
                failures.append(repr(problem))

        writers = [threading.Thread(target=guarded) for _ in range(2)]
        for writer in writers:
            writer.start()
        try:
            for _ in range(rounds):
                track_for_a_while(redpool, options, end)
        finally:
            stop.set()
            for writer in writers:
                writer.join()
        assert not failures, failures


def track_for_a_while(redpool, options, end):
    with redpool.connect(timeout=30) as client:
        client.send(encode("HELLO", "3") + encode("CLIENT", "TRACKING", "ON", *options))
        for _ in range(5):
            client.send(encode("GET", "raced"))
        if end is None:
            return
        client.send(encode(*end) + encode("PING", "end"))
        while (frame := client.read_raw()) != b"$3\r\nend\r\n":
            assert frame[:1] in b"%+$_>", frame
        # Whatever was on the way came before the end.
        client.send(encode("PING", "later"))
        assert client.read_raw() == b"$5\r\nlater\r\n"


class Dribble:
    """A server's stand-in that passes its bytes on one by one, each in a segment of its own."""

    def __init__(self, server):
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.tcp = type(server.tcp)(host="127.0.0.1", port=self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                far = self._server.tcp.connect(30)
                for source, sink, size in ((near, far, 65536), (far, near, 1)):
                    threading.Thread(
                        target=self._copy, args=(source, sink, size), daemon=True
                    ).start()

    @staticmethod
    def _copy(source, sink, size):
        with contextlib.suppress(OSError):
            while data := source.recv(size):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def close(self):
        self._listener.close()


def test_lines_of_monitor_and_replies_are_told_apart_byte_by_byte(server):
    dribble = Dribble(server)
    try:
        # Every byte wakes two processes: on a busy machine a handshake takes a while.
        slowly = {"maxOpen": 3, "connectTimeout": "50s", "poolTimeout": "50s"}
        with daemon(dribble, **slowly) as redpool, redpool.connect(timeout=60) as client:
            own = client.command("CLIENT", "ID")
            assert client.command("MONITOR") == b"OK"
            lines = 0
            for turn in range(10):
                client.send(encode("PING") + encode("ECHO", f"e{turn}") + encode("CLIENT", "ID"))
                wanted = [b"+PONG\r\n", b"$2\r\ne%d\r\n" % turn, b":%d\r\n" % own]
                while wanted:
                    frame = client.read_raw()
                    if LINE.match(frame[1:]):
                        lines += 1
                    else:
                        assert frame == wanted.pop(0)
            assert lines >= 20
            client.send(encode("RESET"))
            while (frame := client.read_raw()) != b"+RESET\r\n":
                assert LINE.match(frame[1:]), frame
            assert client.command("CLIENT", "ID") == own
            assert client.command("GET", "none") is None
    finally:
        dribble.close()
