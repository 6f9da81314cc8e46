"""Clients that are not logged in, on servers with a password: what they may do, and to whom."""

import pathlib
import time

import pytest

import mutate
from cases_words import HIGH_NAMES, NAMES
from harness.server import RedisServer
from harness.servers import FOUND
from harness.waiting import eventually
from harness.wire import ErrorReply, encode
from play import GOODBYE, closed, compare, do, hang_up
from tables import ERRORS, FAMILIES
from world import World, daemon

# Most of it is a rest between commands that a pool takes ten a second of.
pytestmark = pytest.mark.long
PASSWORD = "hush"
LOGIN = ("AUTH", PASSWORD)


@pytest.fixture(scope="module", params=FOUND, ids=str)
def world(request):
    made = World(noise=False, server=request.param, password=PASSWORD)
    yield made
    made.close()


@pytest.fixture(scope="module", params=FOUND, ids=str)
def server(request):
    made = RedisServer(binary=request.param.path, password=PASSWORD)
    yield made
    made.close()


# Redpool spends at most ten connections a second on commands of these that it does not understand,
# and some of them on clients that are not logged in.
LIMITED = ("HELLO", "AUTH", "RESET")
TABLE = pathlib.Path(__file__).resolve().parents[2] / "Sources" / "Session" / "Commands" / "commands.tsv"
SINCE = {
    tuple(row[0].split()): row[1]
    for row in (line.split("\t") for line in TABLE.read_text().splitlines()[1:])
}


def is_limited(command) -> bool:
    name = command.split()[0] if isinstance(command, str) else command[0]
    return mutate.read((name,))[0] in LIMITED


def knows(world, command) -> bool:
    """Whether the server has it: of what it has not, a stranger hears that it needs a login."""
    words = tuple(command.split()) if isinstance(command, str) else mutate.read(command)
    since = SINCE.get(words[:2]) or SINCE.get(words[:1], "1.0")
    if not since[0].isdigit():
        return False
    return tuple(map(int, since.split(".")[:2])) <= world.server.compatible[:2]


def rest(_last=[0.0]):
    """Waits until the pool may spend connections again."""
    eventually(lambda: time.monotonic() > _last[0] + 1.3)
    _last[0] = time.monotonic()


# So many refusals of commands, and of a PING behind each, take less than 1 KB. Servers of
# 2025 (and Debian's 7.0.15) close a client that is not logged in and for which more waits than fits
# its buffer: 16 KB at first, 1 KB soon.
FEW = 12
# Not those that end the connection, or log in, or whose refusal the server may keep to itself.
STATES = [
    command
    for command in (tuple(word for _, word in shape) for shape in mutate.SHAPES)
    if command[0] != "QUIT" and "AUTH" not in command
]
GROUPS = FAMILIES | {
    "states": STATES,
    "wrong forms": mutate.WRONG_FORMS,
    "errors": [one for one in ERRORS if not one.startswith(("AUTH", "HELLO 3 AUTH"))],
    "names": [(name, "x") for name in (NAMES | HIGH_NAMES).values() if len(name) < 10_000],
    "unknown": [
        "FOO", "FOO a b", "CLIENT FOO", "CONFIG FOO", ("\xff",), "COMMAND", "COMMAND INFO get",
    ],
    "NUL": [
        ("CLIENT", "REPLY", "OFF\0"), ("CLIENT", "REPLY", "SKIP\0"),
        ("HELLO", "3", "SETNAME\0", "x"),
        ("XREAD", "BLOCK\0", "0", "STREAMS", "x", "$"), ("CLIENT", "TRACKING", "ON\0"),
    ],
    "refused by default": ["REPLICAOF NO ONE", "FAILOVER", "SHUTDOWN FOO"],
}


def differs(world, *script):
    """As `compare`. Up to 6.2, RESET needs a login; Redpool answers it always, as documented."""
    return compare(world, list(script), goodbye=GOODBYE if knows_reset(world) else encode("QUIT"))


def knows_reset(world) -> bool:
    return world.server.compatible >= (7, 0)


def is_reset(command) -> bool:
    return command[0] == "RESET" or command == "RESET x"


# A malformed one of these gets the refusal, not its arity error: docs/compatibility.md.
BARE = [name for name in GROUPS if name not in ("wrong forms", "errors")]


@pytest.mark.parametrize("name", BARE)
def test_before_a_login(world, name):
    """One by one, so that replies that do not come show at once, and in one write."""
    if name == "names" and world.server.compatible < (7, 0):
        pytest.skip("the version is not known before somebody has logged in, nor are its words")
    commands = [one for one in GROUPS[name] if knows(world, one) and not is_limited(one)]
    for start in range(0, len(commands), FEW):
        few = commands[start : start + FEW]
        assert differs(world, do(*few, n=0)) is None
        assert differs(world, *(do(one, "PING", n=0) for one in few)) is None
        assert differs(world, do(*few, LOGIN, "GET k", "CLIENT GETNAME", n=0)) is None


def test_refusals_at_once(world):
    """More of them than FEW: many servers close the client, Redpool answers."""
    with world.proxied.connect(20) as client:
        client.sendall(encode("GET", "k") * 1000 + encode("QUIT"))
        replies = b"".join(iter(lambda: client.recv(1 << 16), b""))
    assert replies.count(b"-NOAUTH") == 1000


WORDS_OF_LOGINS = [one for name in GROUPS for one in GROUPS[name] if is_limited(one)]


@pytest.mark.parametrize("start", range(0, len(WORDS_OF_LOGINS), 3))
def test_words_of_logins(world, start):
    commands = [
        one for one in WORDS_OF_LOGINS[start : start + 3]
        if (knows_reset(world) or not is_reset(one)) and not sets_name(one)
    ]
    if commands:
        rest()
        assert differs(world, *(do(one, "PING", n=0) for one in commands)) is None


def sets_name(command) -> bool:
    """Before 7.2 HELLO sets the name also where it is refused, and Redpool does not know the version
    before somebody has logged in."""
    return "SETNAME" in mutate.read(command) if isinstance(command, tuple) else "SETNAME" in command


LOGINS = [
    [do("HELLO 3"), do("PING"), do(LOGIN, "GET none", "HELLO 3", "GET none")],
    [do(("HELLO", "3", "AUTH", "default", PASSWORD), "GET none", "RESET", "GET none")],
    [do(("HELLO", "2", "AUTH\0", "default", PASSWORD), "GET none", "ACL WHOAMI")],
    [do(("HELLO", "2", "AUTH\0x", "bob", "pw"), "ACL WHOAMI", "INCR k")],
    [do("AUTH wrong"), do("GET k"), do(LOGIN), do("GET k")],
    [do("MULTI"), do("SET k 1"), do("EXEC"), do(LOGIN), do("EXEC"), do("GET k")],
    [do("SELECT 3", "CLIENT SETNAME x"), do(LOGIN, "SET k 3", "CLIENT GETNAME"), do("DBSIZE")],
    [do("CLIENT REPLY OFF"), do("PING"), do(LOGIN, "PING")],
    [do("RESET", "PING"), do(LOGIN, "PING", "RESET", "PING")],
    [do("SUBSCRIBE c"), do("PING"), do(LOGIN), do("SUBSCRIBE c", "UNSUBSCRIBE c"), do("GET k")],
    [closed("QUIT")], [closed("PING", "QUIT x")], [hang_up("PING", LOGIN, "SET k 1", "GET k")],
    [do("AUTH bob pw", "ACL WHOAMI"), do("AUTH off pw"), do("ACL WHOAMI")],
]


@pytest.mark.parametrize("number", range(len(LOGINS)))
def test_logins(world, number):
    rest()
    script = LOGINS[number]
    pieces = [piece for step in script for piece in step.pieces]
    if not knows_reset(world) and any(b"RESET" in piece for piece in pieces):
        pytest.skip("RESET needs a login here; Redpool's does not")
    assert differs(world, *script) is None


LINES = {
    "eleven words": b"GET" + b" k" * 10 + b"\r\n",
    "thirteen words": b"GET" + b" k" * 12 + b"\r\n",
    "a thousand words": b"DEL" + b" k" * 1000 + b"\n",
    "a word of 16384": b"GET " + b"x" * 16384 + b"\r\n",
    "a word of 16385": b"GET " + b"x" * 16385 + b"\r\n",
    "a word of 20 KB": b"GET " + b"x" * 20_000 + b"\r\n",
    "a word of 60 KB": b"PING " + b"x" * 60_000 + b"\r\n",
    "a quoted word of 20 KB": b'GET "' + b"x" * 20_000 + b'"\r\n',
    "an unknown name, many words": b"FOO" + b" k" * 12 + b"\r\n",
    "a name of 20 KB": b"x" * 20_000 + b"\r\n",
    "HTTP": b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
    b" Chrome/126.0 Safari/537.36 a b\r\n",
    "SUBSCRIBE, many words": b"SUBSCRIBE" + b" c" * 12 + b"\r\n",
    "AUTH, many words": b"AUTH" + b" k" * 12 + b"\r\n",
    "HELLO, many words": b"HELLO 3 SETNAME a SETNAME b SETNAME c SETNAME d SETNAME e SETNAME f\r\n",
    "RESET, many words": b"RESET" + b" k" * 12 + b"\r\n",
    "many words with escapes": b"GET" + b' "k\\x00\\r\\n"' * 12 + b"\r\n",
}
FRAMES = {
    "ten words": encode("DEL", *"abcdefghi"), "eleven words": encode("DEL", *"abcdefghij"),
    "a word of 16384": encode("GET", "x" * 16384), "a word of 16385": encode("GET", "x" * 16385),
    "a name of 16385": encode("x" * 16385),
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES.keys())
def test_lines_past_the_limits(world, line):
    # They take a second each: on the other servers a few will do.
    if world.server != FOUND[0] and line not in (LINES["thirteen words"], LINES["HTTP"]):
        pytest.skip("tried on the first server")
    for script in (
        [do(line), do(LOGIN), do("GET none")],
        [do("PING", line, "PING", line, "GET k")],
        # A server closes who has logged out, by RESET, before he has read what he has been sent.
        [do(line * 2, n=2), do(LOGIN, "SET k 1", line, "GET k")],
        [hang_up("PING", line, "PING")],
    ):
        rest()
        assert differs(world, *script) is None


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
def test_frames_past_the_limits(world, frame):
    assert differs(world, do("PING"), do(frame, "PING", n=0)) is None
    if world.server.compatible >= (7, 0):
        # Up to 6.2 the error has the whole name.
        assert differs(world, do(LOGIN), do(frame, "PING")) is None


def logged_in(redpool):
    made = redpool.connect(timeout=20)
    assert made.command(*LOGIN) == b"OK"
    return made


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("line", [LINES["thirteen words"], LINES["a word of 20 KB"], LINES["HTTP"]],
                         ids=["words", "bytes", "HTTP"])
def test_a_line_past_the_limits_costs_nobody_a_reply(server, line, threads):
    # Neighbours are other strangers, who share an upstream with it, and one who is logged in.
    with daemon(server, settings={"threads": threads}, maxOpen=12) as redpool, \
            logged_in(redpool) as known:
        for _ in range(12):
            others = [redpool.connect() for _ in range(6)]
            with redpool.connect() as bad:
                bad.send(line)
                for number, other in enumerate(others):
                    login = encode(*LOGIN) + encode("ECHO", "e")
                    other.send(encode("GET", "k") if number % 2 else login)
                known.send(encode("ECHO", "known"))
                for number, other in enumerate(others):
                    with other:
                        if number % 2:
                            assert other.read().startswith(b"NOAUTH")
                        else:
                            assert (other.read(), other.read()) == (b"OK", b"e")
                assert known.read() == b"known"
                assert isinstance(bad.read(), ErrorReply)


STAYING = [
    ("FOO",), ("CLIENT", "FOO"), ("MULTI",), ("WATCH", "k"), ("SUBSCRIBE", "c"), ("MONITOR",),
    ("BLPOP", "none", "0"), ("XREAD", "BLOCK", "0", "STREAMS", "none", "$"),
    ("CLIENT", "TRACKING", "ON"),
    ("CLIENT", "REPLY", "OFF"), ("CLIENT", "REPLY", "SKIP\0"), ("CLIENT", "NO-EVICT", "ON"),
    ("ASKING",),
    ("WAIT", "1", "0"), ("SYNC",), ("HELLO", "3"), ("SELECT", "01"), ("FLUSHALL", "ASYNC"),
]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("command", STAYING, ids=" ".join)
def test_strangers_pin_nothing(server, command, threads):
    """Each of them is answered and stays; who is logged in finds every pin free."""
    pool = {"maxOpen": 6, "maxPinned": 4, "poolTimeout": "3s"}
    with daemon(server, settings={"threads": threads}, **pool) as redpool:
        strangers = [redpool.connect() for _ in range(8)]
        for stranger in strangers:
            assert isinstance(stranger.command(*command), ErrorReply)
        opened = int(server.info("total_connections_received"))
        clients = [logged_in(redpool) for _ in range(4)]
        for client in clients:
            assert client.command("WATCH", "k") == b"OK"
        for client in clients:
            assert client.command("UNWATCH") == b"OK"
            client.close()
        # And once more: nothing of theirs has to be closed and opened again.
        assert int(server.info("total_connections_received")) <= opened + 6
        for stranger in strangers:
            assert stranger.command("GET", "k").startswith(b"NOAUTH")
            stranger.close()
