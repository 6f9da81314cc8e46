"""Names and subcommands with a NUL: what a server makes of them is up to its version and chance."""

import pytest

import mutate
from harness.server import RedisServer
from harness.servers import FOUND
from harness.wire import Connection, ErrorReply, encode
from play import compare, do
from world import World, daemon

NAMES = ["GET", "SELECT", "MULTI", "CLIENT", "RESET", "QUIT", "SUBSCRIBE", "NOSUCH", "\0"]
SUBCOMMANDS = [
    ("CLIENT", "REPLY~", "OFF"), ("CLIENT", "REPLY~", "SKIP"), ("CLIENT", "TRACKING~", "ON"),
    ("CLIENT", "SETNAME~", "me"), ("CLIENT", "NO-EVICT~", "ON"),
    ("CLIENT", "KILL~", "ID", "999999999"),
    ("CLIENT", "ID~"), ("CLIENT", "LIST~"), ("CLIENT", "UNBLOCK~", "999999999"),
    ("CONFIG", "GET~", "x"),
    ("SCRIPT", "LOAD~", "return 1"), ("FUNCTION", "LIST~"), ("OBJECT", "ENCODING~", "k"),
]
# Every way that a refused command could come in, and the rows of denyCommands that refuse it.
DENIED = ["DEBUG", "SCRIPT DEBUG", "MODULE LOAD", "FLUSHALL"]
# Enough for a table of 4,096 buckets, also where a byte of the hash is compared first (Valkey 8.1).
MANY = 1_000_000
AT_ONCE = 1_000


@pytest.fixture(scope="module", params=FOUND, ids=str)
def world(request):
    made = World(server=request.param)
    yield made
    made.close()


def unlucky(world, command) -> tuple:
    """The command with something behind its NUL by which neither server finds anything."""
    for number in range(100):
        made = tuple(word.replace("~", f"\0{number}") for word in command)
        if not world.by_chance(made):
            return made
    raise AssertionError(f"found whatever stands behind the NUL: {command}")


@pytest.mark.parametrize("name", NAMES, ids=repr)
@pytest.mark.parametrize("start", ["SET k 1", "HELLO 3", "WATCH k", "AUTH bob pw", "SELECT 2"])
def test_a_name_is_unknown(world, name, start):
    if mutate.is_quit_with_nul((name + "\0",)) and world.server.compatible < (7, 0):
        pytest.skip("up to 6.2 QUIT alone is compared as a C string")
    command = unlucky(world, (f"{name}~", "k", "a\r\nb"))
    # Behind another command than that before the NUL, see below.
    script = [
        do(start, "ECHO x", command, (command[0],), "GET k", "ECHO x"), do(command),
        do("GET k", "ACL WHOAMI"),
    ]
    assert compare(world, script) is None


@pytest.mark.parametrize("name", ["GET", "get"])
@pytest.mark.parametrize("start", ["ECHO x", "HELLO 3", "WATCH k", "MULTI"])
def test_a_name_is_unknown_behind_the_one_that_it_begins_with(world, name, start):
    """Redis 8 compares a name with that of the last command, up to the NUL."""
    odd = unlucky(world, (f"{name}~", "k"))
    refused = []
    for address in (world.plain.unix, world.redpool.tcp):
        with Connection(address) as client:
            client.command(*start.split())
            client.command(name, "k")
            refused.append(isinstance(client.command(*odd), ErrorReply))
            assert not isinstance(client.command(name, "k"), ErrorReply)
    assert refused == [not world.server.compares_with_last_name, True]


@pytest.mark.parametrize("command", SUBCOMMANDS, ids=lambda c: " ".join(c[:2]))
def test_a_subcommand_is_unknown(world, command):
    if world.server.reads_subcommands_to_nul:
        pytest.skip("to this server it is the subcommand before the NUL")
    command = unlucky(world, command)
    for script in (
        [do("SET k 1", command, "GET k", "CLIENT GETNAME")],
        [do("HELLO 3"), do(command), do("GET none")],
        [do("WATCH k"), do(command), do("GET k", "UNWATCH")],
    ):
        assert compare(world, script) is None, script


@pytest.mark.parametrize(
    "command", [c for c in SUBCOMMANDS if c[0] == "CLIENT"], ids=lambda c: " ".join(c[:2])
)
def test_a_subcommand_is_unknown_in_a_transaction(world, command):
    command = tuple(word.replace("~", "\0x") for word in command)
    with world.proxied.connect(20) as client:
        client.sendall(b"".join(encode(*c) for c in (("MULTI",), command, ("EXEC",), ("QUIT",))))
        replies = b"".join(iter(lambda: client.recv(1 << 16), b""))
    assert b"COMMAND_DENIED_BY_PROXY" in replies
    assert b"-EXECABORT" in replies


@pytest.mark.parametrize("name", [*mutate.JUNK, "x" * mutate.MOST_NAME], ids=repr)
@pytest.mark.parametrize("pieces", [1, 4], ids=["in one write", "one by one"])
def test_a_name_in_a_transaction_is_one_that_the_server_does_not_know(world, name, pieces):
    command = unlucky(world, (f"GET{name}x~" if name == "\0" else f"GET{name}x", "k"))
    block = [("MULTI",), ("SET", "k", "1"), command, ("EXEC",)]
    world.empty()
    replies = []
    for address in (world.direct, world.proxied):
        with address.connect(20) as client:
            stream = b""
            for part in range(pieces):
                size = len(block) // pieces
                client.sendall(b"".join(encode(*c) for c in block[part * size : (part + 1) * size]))
                while stream.count(b"\r\n") < (part + 1) * size:
                    data = client.recv(65536)
                    assert data, stream
                    stream += data
            replies.append(stream)
    direct, proxied = (stream.split(b"\r\n") for stream in replies)
    assert proxied[:2] == direct[:2] == [b"+OK", b"+QUEUED"]
    assert all(words[2].startswith(b"-ERR unknown command") for words in (direct, proxied))
    assert b"COMMAND_DENIED_BY_PROXY" in proxied[2]
    assert proxied[3] == direct[3] and direct[3].startswith(b"-EXECABORT")


@pytest.fixture(scope="module", params=FOUND, ids=str)
def server(request):
    made = RedisServer(binary=request.param.path)
    made.kind = request.param
    yield made
    made.close()


def lucky(server, name) -> str:
    """A name with a NUL by which the server finds the command before the NUL all the same."""
    for first in range(0, MANY, AT_ONCE):
        made = [f"{name}\0{number}" for number in range(first, first + AT_ONCE)]
        for one, found in zip(made, server.command("COMMAND", "INFO", *made)):
            if found is not None:
                return one
    raise AssertionError(f"{name} is never found")


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in MULTI"])
def test_what_a_server_finds_by_chance_is_refused(server, inside):
    with daemon(server, denyCommands=DENIED) as redpool, redpool.connect() as client:
        name = lucky(server, "FLUSHALL")
        server.command("SET", "kept", "1")
        if inside:
            assert client.command("MULTI") == b"OK"
        assert isinstance(client.command(name), ErrorReply)
        if inside:
            assert isinstance(client.command("EXEC"), ErrorReply)
        assert server.command("GET", "kept") == b"1"


@pytest.mark.parametrize("command", [
    ("SCRIPT", "DEBUG\0", "SYNC"), ("SCRIPT", "DEBUG\0x", "SYNC"), ("script", "debug\0", "yes\0"),
    ("MODULE", "LOAD\0", "/nowhere/x.so"), ("MODULE", "load\0x", "/nowhere/x.so"),
], ids=repr)
def test_a_denied_subcommand_is_refused(server, command):
    with daemon(server) as redpool, redpool.connect() as client:
        assert isinstance(client.command(*command), ErrorReply)
        # A server that debugs would hand the script to its debugger instead.
        for _ in range(8):
            with redpool.connect() as other:
                assert other.command("EVAL", "return 'ran'", "0") == b"ran"
    assert "/nowhere/x.so" not in server.log()


def test_a_denied_name_by_chance_debugs_nothing(server):
    name = lucky(server, "DEBUG")
    with daemon(server) as redpool, redpool.connect() as client:
        assert isinstance(client.command(name, "SLEEP", "0"), ErrorReply)
    assert "cmdstat_debug:" not in server.command("INFO", "commandstats").decode()
