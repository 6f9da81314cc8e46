"""Logins that Redpool judges (clientPasswordFile, clientUsersFile) against a server with
`requirepass` and ACL users: the same bytes before a login, around it and after it."""

import random

import pytest

import mutate
from cases_words import HIGH_NAMES, NAMES
from harness.servers import FOUND
from harness.wire import encode
from play import bytes_of, closed, compare, do, hang_up
from tables import ERRORS, FAMILIES
from world import World

PASSWORD = "hush"
LOGIN = ("AUTH", PASSWORD)
# Servers of 2025 close a client that is not logged in and for which more than 1 KB waits.
FEW = 12


@pytest.fixture(scope="module", params=FOUND, ids=str)
def world(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("logins")
    for name, text in (("password", PASSWORD), ("users", "bob pw\nbob second")):
        (folder / name).write_text(text + "\n")
    pool = {
        "passwordFile": str(folder / "password"), "clientPasswordFile": str(folder / "password"),
        "clientUsersFile": str(folder / "users"),
    }
    made = World(noise=False, server=request.param, password=PASSWORD, pool=pool)
    for server in (made.plain, made.pooled):
        server.command("ACL", "SETUSER", "bob", ">second", "+@all", "~*", "&*")
    # The words depend on the server's version, which the first upstream finds out.
    with made.redpool.connect() as client:
        assert client.command(*LOGIN) == b"OK"
        assert client.command("PING") == b"PONG"
    yield made
    made.close()


def is_before(world, *version) -> bool:
    return world.server.compatible[:2] < version


def is_same_here(world, command) -> bool:
    """False for what Redpool answers otherwise on purpose: docs/compatibility.md."""
    name = name_of(command)
    if name in ("DEBUG", "MODULE", "SENTINEL"):
        return False
    return not (name in ("POST", "HOST:") and is_before(world, 7, 0))


def name_of(command) -> str:
    first = command.split()[0] if isinstance(command, str) else command[0]
    return (first.decode("latin-1") if isinstance(first, bytes) else str(first)).upper()


STATES = [tuple(word for _, word in shape) for shape in mutate.SHAPES]
GROUPS = FAMILIES | {
    "states": [command for command in STATES if command[0] != "QUIT"],
    "wrong forms": mutate.WRONG_FORMS,
    "errors": ERRORS,
    "names": [(name, "x") for name in (NAMES | HIGH_NAMES).values() if len(name) < 10_000],
    "unknown": [
        "FOO", "FOO a b", "CLIENT FOO", "CONFIG FOO", ("\xff",), "COMMAND", "COMMAND INFO get",
        "EXEC", "EXEC x", "CLIENT", "GET", "LMPOP 1 a LEFT", "CLIENT NO-TOUCH ON", "RESET x",
        "CLIENT SETNAME", "XINFO", "OBJECT HELP", "ACL WHOAMI", "AUTH", "AUTH a b c", "HELLO 3 AUTH",
    ],
}


@pytest.mark.parametrize("name", GROUPS)
def test_before_a_login(world, name):
    commands = [one for one in GROUPS[name] if is_same_here(world, one)]
    if not is_before(world, 7, 2):
        # A refused login may stay unanswered behind other replies: Redpool answers it.
        commands = [one for one in commands if b"AUTH" not in bytes_of(one).upper()]
    for start in range(0, len(commands), FEW):
        few = commands[start : start + FEW]
        assert compare(world, [do(*few, n=0)]) is None
        assert compare(world, [do(one, "PING", n=0) for one in few]) is None
    assert compare(world, [do(*commands[:FEW], LOGIN, "GET k", "CLIENT GETNAME", n=0)]) is None


SCRIPTS = [
    ["HELLO 3", "PING", LOGIN, "GET none", "HELLO 3", "GET none"],
    [("HELLO", "3", "AUTH", "default", PASSWORD), "GET none", "RESET", "GET none"],
    [("HELLO", "2", "AUTH\0", "default", PASSWORD), "GET none"],
    [("HELLO", "2", "AUTH\0x", "bob", "pw"), "INCR k"],
    ["AUTH wrong", "GET k", LOGIN, "GET k", "AUTH wrong", "GET k"],
    ["AUTH bob pw", "AUTH bob second", "AUTH bob hush", "AUTH default pw", "AUTH pw", "GET k"],
    ["AUTH", "AUTH a b c", ("AUTH", ""), ("AUTH", "", ""), ("AUTH", "hush\0"), "GET k"],
    ["HELLO", "HELLO 2", "HELLO 4", "HELLO x", "HELLO 3 AUTH", "HELLO 3 AUTH a", "HELLO 3 FOO"],
    ["HELLO 3 SETNAME me", LOGIN, "CLIENT GETNAME"],
    [("HELLO", "3", "SETNAME", "a b"), LOGIN, "CLIENT GETNAME"],
    ["HELLO 3 AUTH bob no SETNAME me", LOGIN, "CLIENT GETNAME"],
    ["HELLO 3 SETNAME me AUTH bob no", LOGIN, "CLIENT GETNAME"],
    ["HELLO 3 AUTH bob pw SETNAME me", "CLIENT GETNAME", "GET none"],
    ["HELLO 3 AUTH bob pw FOO", "GET none"],
    [("HELLO", "3", "AUTH", "bob", "pw", "SETNAME", "a b"), "GET none"],
    ["HELLO 3 AUTH bob no AUTH bob pw", "GET none"],
    ["HELLO 3 AUTH bob pw AUTH bob no", "GET none"],
    ["MULTI", "SET k 1", "EXEC", LOGIN, "EXEC", "GET k"],
    ["SELECT 3", "CLIENT SETNAME x", LOGIN, "SET k 3", "CLIENT GETNAME", "SELECT 3", "GET k"],
    [LOGIN, "SELECT 3", "SET k 3", "RESET", LOGIN, "GET k"],
    ["RESET", "PING", LOGIN, "PING", "RESET", "PING", "RESET", LOGIN, "PING"],
    [LOGIN, "MULTI", "AUTH", "EXEC", "GET k"],
    [LOGIN, "MULTI", "SET k 1", "AUTH a b c", LOGIN, "EXEC", "GET k"],
    [LOGIN, "MULTI", "AUTH bob pw", "HELLO 3 AUTH bob pw", "GET none", "EXEC", "GET none"],
    [LOGIN, "MULTI", "HELLO 3 AUTH bob pw", "DISCARD", "GET none"],
    [LOGIN, "MULTI", "RESET", "EXEC", LOGIN, "EXEC"],
    [LOGIN, "WATCH k", "AUTH bob pw", "MULTI", "GET k", "EXEC"],
    [LOGIN, "SUBSCRIBE c", LOGIN, "HELLO 3", "AUTH", "HELLO 3 AUTH bob pw", "RESET", "PING"],
    [LOGIN, "HELLO 3", "SUBSCRIBE c", LOGIN, "HELLO 2 AUTH bob pw", "AUTH bob pw", "PING"],
    ["SUBSCRIBE c", "PING", LOGIN, "SUBSCRIBE c", "UNSUBSCRIBE c", "GET k"],
    ["PING a b c d e f g h i j k\r\n".encode(), LOGIN, "GET k"],
    [b"GET k\r\n", b"AUTH hush\r\n", b"GET k\r\n", b'AUTH "bob" pw\r\n', b"\r\n", b"FOO\r\n"],
]
# A login fails in them while EXEC runs, whose array lacks that element from 7.2 on.
OLD_SCRIPTS = [
    [LOGIN, "MULTI", "AUTH bob no", "HELLO 3 AUTH bob no", "GET k", "EXEC", "GET none"],
]
# Those that no reply tells the end of.
ENDS = [
    [closed("QUIT")], [closed("PING", "QUIT x")], [hang_up("PING", LOGIN, "SET k 1", "GET k")],
    [closed("POST x")], [do(LOGIN, "CLIENT REPLY OFF", "AUTH bob pw", "CLIENT REPLY ON", n=0)],
    [do(LOGIN, "CLIENT REPLY SKIP", "AUTH bob pw", "PING", n=0)],
    [do(LOGIN, "CLIENT REPLY OFF", "RESET", "PING", n=0)],
    [do("CLIENT REPLY OFF"), do("PING"), do(LOGIN, "PING")],
    [closed(encode("GET", *"abcdefghij"))], [closed(encode("GET", "x" * 16_385))],
    [do(encode("GET", *"abcdefghi"))], [do(encode("AUTH", "x" * 16_384))],
    [closed(b"*-x\r\n")], [closed(b"*1\r\n+x\r\n")], [closed(b'AUTH "x\r\n')],
    [closed(b"AUTH " + b"x" * 70_000)], [do(b"AUTH " + b"x" * 60_000 + b"\r\n")],
    [do(LOGIN, encode("SET", "k", "x" * 20_000), encode("DEL", *"abcdefghijkl"), n=0)],
]


def test_around_a_login(world):
    scripts = SCRIPTS + (OLD_SCRIPTS if is_before(world, 7, 2) else [])
    for script in scripts:
        assert compare(world, [do(one) for one in script if one != b"\r\n"]) is None, script
        if is_before(world, 7, 2):
            assert compare(world, [do(*script, n=0)]) is None, script
    for script in ENDS:
        if b"POST" in script[0].pieces[0] and is_before(world, 7, 0):
            continue
        assert compare(world, script) is None, script


ANYWHERE = [
    LOGIN, "AUTH bob pw", "AUTH bob second", ("HELLO", "3", "AUTH", "default", PASSWORD),
    "HELLO 2 AUTH bob pw", "HELLO 3", "HELLO 2", "GET k", "SET k v", "INCR n", "GET", "FOO", "AUTH",
    "AUTH a b c", "EXEC", "DISCARD",
]
REFUSED = ["AUTH no", "AUTH bob no", "HELLO 3 AUTH bob no", "HELLO 2 AUTH nobody pw"]
OUTSIDE = [
    "RESET", "MULTI", "CLIENT GETNAME", "CLIENT SETNAME me", "SELECT 1", "WATCH k",
    "HELLO 3 SETNAME you", "HELLO 3 AUTH bob pw SETNAME they", "SUBSCRIBE c", "UNSUBSCRIBE c", "PING",
    "HELLO 9", "CLIENT REPLY ON",
]


@pytest.mark.parametrize("seed", range(6))
def test_any_sequence(world, seed):
    """A client that logs in and out at random sees what it would see of the server."""
    rng = random.Random(f"{seed} {world.server}")
    for _ in range(6):
        script, queueing = [], False
        for _ in range(30):
            choices = ANYWHERE if queueing else ANYWHERE + OUTSIDE
            if not queueing or is_before(world, 7, 2):
                choices = choices + REFUSED
            command = rng.choice(choices)
            queueing = command == "MULTI" or (queueing and command not in ("EXEC", "DISCARD"))
            script.append(command)
        assert compare(world, [do(command) for command in script]) is None, script
