"""Servers that let one command give several replies: only the client that sent it may notice."""

import re
import threading

import pytest

from harness.servers import FOUND
from harness.waiting import eventually
from harness.wire import Closed, encode

SPLIT = "x\\r\\n$6\\r\\nPWNED!\\r\\n$6\\r\\nPWNED!\\r\\n-z"
HOSTILE = {
    "error": ("EVAL", f"error('{SPLIT}')", "0"),
    "error with a table": ("EVAL", f"error({{err='{SPLIT}'}})", "0"),
    "a name that Lua quotes": ("EVAL", f"_G['{SPLIT}']()", "0"),
    "shebang": ("EVAL", f'#!x"{SPLIT}"\nreturn 1', "0"),
    "shebang, read-only": ("EVAL_RO", f'#!lua flags="{SPLIT}"\nreturn 1', "0"),
    "script load": ("SCRIPT", "LOAD", f'#!lua "{SPLIT}"\nreturn 1'),
    "function load": ("FUNCTION", "LOAD", f'#!lua name=a\nreturn 1 "{SPLIT}"'),
    "function load, engine": ("FUNCTION", "LOAD", f'#!x"{SPLIT}" name=a\n'),
    "function list": ("FUNCTION", "LIST", "x\r\n$6\r\nPWNED!"),
}
EVENT = "event=upstream.splits_replies"


def count(server, field) -> int:
    """The calls of a command; before the first there is no such field."""
    text = server.command("INFO", "commandstats").decode()
    found = re.search(rf"^{field}:calls=(\d+)", text, re.M)
    return int(found[1]) if found else 0


class Neighbours:
    """Clients that read what only they have written, by commands and by scripts, all the time."""

    def __init__(self, redpool, number=8):
        self.redpool, self.wrong, self.rounds = redpool, [], [0] * number
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(number)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number):
        key, value = f"k{number}", b"secret-of-%d" % number
        try:
            with self.redpool.connect() as client:
                client.command("SET", key, value)
                while not self._over.is_set():
                    script = ("EVAL", "return redis.call('GET', KEYS[1])", "1", key)
                    for command in (("GET", key), script)[: 2 if number % 2 else 1]:
                        reply = client.command(*command)
                        if reply != value:
                            self.wrong.append((command, reply))
                    self.rounds[number] += 1
        except Closed as end:
            self.wrong.append((number, end))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("server", FOUND, ids=str)
def test_made_up_replies_reach_nobody_else(launch, server, threads):
    redpool = launch.redpool(launch.server(binary=server.path), settings={"threads": threads})
    with Neighbours(redpool) as neighbours:
        eventually(lambda: min(neighbours.rounds) > 0)
        for command in [*HOSTILE.values()] * 3:
            with redpool.connect() as attacker:
                try:
                    for _ in range(3):
                        attacker.command(*command)
                except Closed:
                    pass
            before = min(neighbours.rounds)
            eventually(lambda: min(neighbours.rounds) > before or neighbours.wrong)
    assert not neighbours.wrong


@pytest.mark.parametrize("server", FOUND, ids=str)
def test_attacker_sees_its_own_error_first(launch, server):
    """Where the server gives one reply, so does Redpool; else the first of them, then the end."""
    direct = launch.server(binary=server.path)
    redpool = launch.redpool(direct)
    for name, command in HOSTILE.items():
        with direct.connect() as one, redpool.connect() as other:
            assert one.command(*command) == other.command(*command), name


def test_server_is_asked_once_for_each_run(launch):
    server = launch.server()
    redpool = launch.redpool(server)
    for asked in (1, 2):
        for _ in range(3):
            with redpool.connect() as client:
                assert client.command("EVAL", "return 1", "0") == 1
        # The counts begin anew with the process.
        assert count(server, "cmdstat_eval") == 4
        if asked == 1:
            server.restart()
    assert EVENT not in redpool.log()


def test_many_first_scripts_ask_once(launch):
    server = launch.server()
    redpool = launch.redpool(server)
    redpool.warm_up()
    clients = [redpool.connect() for _ in range(20)]
    for client in clients:
        client.send(encode("EVAL", "return 1", "0") + encode("PING"))
    assert [(client.read(), client.read()) for client in clients] == [(1, b"PONG")] * 20
    assert count(server, "cmdstat_eval") == 21
    for client in clients:
        client.close()


def test_refusal_counts_as_a_server_that_splits(launch):
    """A user without the right to EVAL: its functions run alone. Others' scripts are shared."""
    server = launch.server()
    server.command("ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all", "-eval")
    server.command("FUNCTION", "LOAD", "#!lua name=a\nredis.register_function('f', function() return 7 end)")
    redpool = launch.redpool(server)
    with redpool.connect() as client:
        client.command("AUTH", "bob", "pw")
        fences = count(server, "cmdstat_echo")
        for number in range(1, 6):
            assert client.command("FCALL", "f", "0") == 7
            assert count(server, "cmdstat_echo") >= fences + number
        assert client.command("EVAL", "return 1", "0").startswith(b"NOPERM")
    with redpool.connect() as client:
        assert client.command("EVAL", "return 1", "0") == 1


def fences_of_scripts(server, client, number=5) -> int:
    before = count(server, "cmdstat_echo")
    for _ in range(number):
        assert client.command("EVAL", "return 1", "0") == 1
    return count(server, "cmdstat_echo") - before


def test_connection_made_while_the_server_is_busy(launch):
    """It cannot say who it is then. That is asked again later, and scripts are shared again."""
    server = launch.server()
    server.command("CONFIG", "SET", "lua-time-limit", "20")
    redpool = launch.redpool(server, pool={"minIdle": 1})
    with redpool.connect() as client, redpool.connect() as other:
        assert fences_of_scripts(server, client) <= 2
        client.send(encode("EVAL", "while 1 do end", "0"))
        eventually(lambda: server.command("PING").startswith(b"BUSY"), what="the script")
        # Needs a connection of its own, which is made now.
        assert other.command("SCRIPT", "KILL") == b"OK"
        assert b"killed" in client.read()
        eventually(lambda: fences_of_scripts(server, client) == 0, what="shared scripts")


def test_user_whom_the_server_does_not_tell_who_it_is(launch):
    """Any connection of bob's may lead to another server: each of his scripts runs alone."""
    server = launch.server()
    server.command("ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all", "-info")
    redpool = launch.redpool(server)
    with redpool.connect() as bob, redpool.connect() as other:
        assert bob.command("AUTH", "bob", "pw") == b"OK"
        assert bob.command("GET", "nothing") is None
        eventually(lambda: fences_of_scripts(server, other) == 0, what="shared scripts")
        # The connection on which he has logged in was somebody else's: the next one is his own.
        assert server.command("CLIENT", "KILL", "USER", "bob") == 1
        eventually(lambda: bob.command("GET", "nothing") is None)
        assert fences_of_scripts(server, bob) >= 5
        assert fences_of_scripts(server, other) <= 1
    server.command("ACL", "SETUSER", "bob", "+info")
    server.command("CLIENT", "KILL", "USER", "bob")
    with redpool.connect() as bob:
        assert bob.command("AUTH", "bob", "pw") == b"OK"
        eventually(lambda: fences_of_scripts(server, bob) == 0, what="shared scripts")


def test_scripts_of_a_server_that_splits_have_a_fence_behind_them(launch):
    server = launch.server()
    between = launch.middleman(server)
    between.arm(b"redpool", b"-ERR x\r\n+redpool\r\n", times=1000)
    redpool = launch.redpool(between)
    with redpool.connect() as client:
        for number in range(1, 6):
            fences = count(server, "cmdstat_echo")
            assert client.command("EVAL", "return ARGV[1]", "0", str(number)) == b"%d" % number
            assert count(server, "cmdstat_echo") > fences
        # In a transaction the upstream is spent.
        client.send(encode("MULTI") + encode("EVAL", "return 1", "0") + encode("EXEC"))
        assert [client.read() for _ in range(3)] == [b"OK", b"QUEUED", [1]]
        assert client.command("GET", "nothing") is None
    assert redpool.log().count(EVENT) == 1


@pytest.mark.parametrize("fault", ["close", "reset", "stall"])
def test_question_that_is_not_answered_keeps_nobody(launch, fault):
    """The client's own script goes on: alone, on another connection."""
    server = launch.server()
    between = launch.middleman(server)
    redpool = launch.redpool(between, pool={"poolTimeout": "500ms"})
    redpool.warm_up()
    between.arm(b"redpool", fault)
    with redpool.connect() as client:
        assert client.command("EVAL", "return 1", "0") == 1
        assert client.command("EVAL", "return 2", "0") == 2


def test_question_to_a_server_that_is_gone(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool={"poolTimeout": "300ms"})
    redpool.warm_up()
    server.stop()
    with redpool.connect() as client:
        assert client.command("EVAL", "return 1", "0").split()[0] in (b"UPSTREAMDOWN", b"POOLTIMEOUT")
    server.start()
    with redpool.connect() as client:
        eventually(lambda: client.command("EVAL", "return 1", "0") == 1)


@pytest.mark.parametrize("size", [10, 300_000])
def test_module_command_is_followed_by_a_fence(launch, size):
    server = launch.server()
    between = launch.middleman(server)
    entry = b"*1\r\n*3\r\n$5\r\nm.one\r\n:-1\r\n*1\r\n+module\r\n"
    between.arm(b"COMMAND\r\n$4\r\nINFO\r\n$5\r\nm.one", entry, times=1000)
    redpool = launch.redpool(between)
    with redpool.connect() as client, redpool.connect() as other:
        for _ in range(3):
            fences = count(server, "cmdstat_echo")
            assert client.command("M.ONE", "x" * size).startswith(b"ERR unknown command")
            assert client.command("GET", "nothing") is None
            if size < 1000:
                assert count(server, "cmdstat_echo") > fences
        assert other.command("GET", "nothing") is None


@pytest.mark.parametrize("threads", [1, 2])
def test_address_that_leads_to_several_servers_for_a_while(launch, threads):
    """Scripts run alone as long as any connection may lead elsewhere, and no longer."""
    servers = launch.server(), launch.server()
    between = launch.middleman(servers[0])
    pool = {"pingInterval": "1s", "maxOpen": 32}
    redpool = launch.redpool(between, pool=pool, settings={"threads": threads})
    holders = []

    def lead_to(server):
        """Each worker makes a connection that goes there, if it has none left over."""
        between.server = server
        for _ in range(threads):
            holders.append(redpool.connect())
            assert holders[-1].command("WATCH", "k") == b"OK"

    told = "event=pool.several_servers"
    # Every other pin may find a connection that is left over.
    for turn in range(10):
        lead_to(servers[turn // 2 % 2])
    eventually(lambda: redpool.log().count(told) == threads, what=told)
    for client in holders:
        assert client.command("UNWATCH") == b"OK"
    servers[1].command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    told = "event=pool.one_server"
    eventually(lambda: redpool.log().count(told) == threads, what=told)
    for client in holders[:threads]:
        eventually(lambda: fences_of_scripts(servers[0], client) == 0, what="shared scripts")
        assert client.command("WATCH", "k") == b"OK"
    # Those that are idle come first.
    told = "event=pool.several_servers"
    eventually(lambda: lead_to(servers[1]) or redpool.log().count(told) == 2 * threads, what=told)
