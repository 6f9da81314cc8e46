"""What Redpool keeps of a server is noticed to have changed, in both directions.

docs/architecture.md has the table of what is kept; each row has its tests here or is named there.
"""

import contextlib
import re
import subprocess
import time

import pytest

from harness.daemon import ROOT
from harness.server import TLS
from harness.waiting import comes, eventually
from harness.wire import ErrorReply, encode

pytestmark = pytest.mark.daemon

VALKEY = ROOT / ".servers" / "valkey-8"
THREADS = pytest.mark.parametrize("threads", [1, 2])


def is_refused(reply, word):
    return isinstance(reply, ErrorReply) and reply.startswith(word)


def greets(reply) -> bool:
    """A good answer to HELLO; its refusal has the word in it as well."""
    return not isinstance(reply, ErrorReply) and b"proto" in reply


def launch_on(launch, server, threads, **pool):
    """A daemon whose workers all serve the pool."""
    return launch.redpool(server, pool={"maxOpen": 8} | pool, settings={"threads": threads})


def fresh(redpool, *command):
    """What a new client's first command is answered with."""
    with redpool.connect() as client:
        return client.command(*command)


# --- the default user's password


def set_password(server, password):
    assert server.command("CONFIG", "SET", "requirepass", password) == b"OK"
    server.forget_password(password or None)


@THREADS
@pytest.mark.parametrize("version", ["2", "3"])
def test_a_password_is_set_and_removed(launch, threads, version):
    server = launch.server()
    redpool = launch_on(launch, server, threads)
    early = [redpool.connect() for _ in range(2 * threads)]
    for client in early:
        assert greets(client.command("HELLO", version))
        assert client.command("PING") == b"PONG"
    for round in ("first", "second"):
        set_password(server, round)
        # Each worker has seen somebody log in, and made a connection since.
        for _ in range(4 * threads):
            with redpool.connect() as client:
                assert client.command("AUTH", round) == b"OK"
                assert greets(client.command("HELLO", version))
        eventually(
            lambda: all(
                is_refused(fresh(redpool, "HELLO", version), b"NOAUTH")
                for _ in range(4 * threads)
            ),
            what="everybody having to log in",
        )
        assert is_refused(fresh(redpool, "GET", "k"), b"NOAUTH")
        set_password(server, "")
        for _ in range(8 * threads):
            assert greets(fresh(redpool, "HELLO", version))
            assert fresh(redpool, "GET", "k") is None
    assert "POOLTIMEOUT" not in redpool.log()


@THREADS
def test_no_client_waits_for_a_login_that_others_lack(launch, threads):
    """HELLO 3 is judged by the server when the connections that spoke RESP3 have gone."""
    server = launch.server()
    redpool = launch_on(launch, server, threads, poolTimeout="60s")
    for _ in range(2 * threads):
        assert greets(fresh(redpool, "HELLO", "3"))
    set_password(server, "secret")
    for row in server.upstreams():
        server.command("CLIENT", "KILL", "ID", row["id"])
    for _ in range(4 * threads):
        with redpool.connect(timeout=5) as client:
            assert is_refused(client.command("HELLO", "3"), b"NOAUTH")
            assert client.command("AUTH", "secret") == b"OK"
            assert client.command("HELLO", "3")[b"proto"] == 3


@THREADS
def test_the_default_user_is_switched_off_and_on(launch, threads):
    server = launch.server()
    server.command("ACL", "SETUSER", "keeper", "on", ">keeper", "~*", "&*", "+@all")
    redpool = launch_on(launch, server, threads)
    with server.connect() as keeper:
        assert keeper.command("AUTH", "keeper", "keeper") == b"OK"
        for _ in range(4 * threads):
            assert fresh(redpool, "SET", "k", "v") == b"OK"
        assert keeper.command("ACL", "SETUSER", "default", "off") == b"OK"
        kill_upstreams(server, keeper)
        for _ in range(4 * threads):
            assert is_refused(fresh(redpool, "GET", "k"), b"NOAUTH")
            assert is_refused(fresh(redpool, "HELLO", "3"), b"NOAUTH")
        assert keeper.command("ACL", "SETUSER", "default", "on") == b"OK"
        for _ in range(4 * threads):
            assert greets(fresh(redpool, "HELLO", "3"))
            assert fresh(redpool, "GET", "k") == b"v"


def kill_upstreams(server, connection=None):
    for row in server.upstreams(connection):
        (connection or server).command("CLIENT", "KILL", "ID", row["id"])


def calls(server, command) -> int:
    """How often the server has carried out a command, as INFO names it."""
    found = re.search(
        rf"^cmdstat_{re.escape(command)}:calls=(\d+)",
        server.command("INFO", "commandstats").decode(),
        re.M,
    )
    return int(found[1]) if found else 0


# --- users: their passwords


@THREADS
def test_the_password_of_a_user_changes_and_changes_back(launch, threads):
    server = launch.server()
    server.command("ACL", "SETUSER", "app", "on", ">one", "~*", "&*", "+@all")
    redpool = launch_on(launch, server, threads)
    for good, bad in (("one", "two"), ("two", "one"), ("one", "two")):
        server.command("ACL", "SETUSER", "app", "resetpass", f">{good}")
        for _ in range(4 * threads):
            with redpool.connect() as client:
                assert is_refused(client.command("AUTH", "app", bad), b"WRONGPASS")
                assert client.command("ACL", "WHOAMI") == b"default"
                assert client.command("AUTH", "app", good) == b"OK"
                assert client.command("ACL", "WHOAMI") == b"app"


# --- users: their rights


@THREADS
@pytest.mark.parametrize("user", ["default", "app"])
def test_the_right_to_select_is_taken_and_given(launch, threads, user):
    server = launch.server()
    server.command("ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all")
    server.command("ACL", "SETUSER", "keeper", "on", ">keeper", "~*", "&*", "+@all")
    # An upstream of each user for each worker, and for each a database of its own.
    redpool = launch_on(launch, server, threads, maxOpen=16)

    def client():
        made = redpool.connect()
        if user == "app":
            assert made.command("AUTH", "app", "pw") == b"OK"
        return made

    with server.connect() as keeper:
        assert keeper.command("AUTH", "keeper", "keeper") == b"OK"
        inside = [client() for _ in range(2 * threads)]
        for one in inside:
            assert one.command("SELECT", "3") == b"OK"
            assert one.command("SET", "k", "v") == b"OK"
        keeper.command("ACL", "SETUSER", user, "-select")
        kill_upstreams(server, keeper)
        with client() as other:
            for one in inside:
                one.send(encode("GET", "k"))
                if user == "app":
                    # Redpool goes there before it logs in.
                    assert one.read() == b"v"
                else:
                    # They are where nobody can be put any more.
                    assert one.read_until_closed() == b""
                assert other.command("PING") == b"PONG"
        for _ in range(4 * threads):
            with client() as one:
                assert is_refused(one.command("SELECT", "3"), b"NOPERM")
        keeper.command("ACL", "SETUSER", user, "+select")
        for _ in range(4 * threads):
            with client() as one:
                assert one.command("SELECT", "3") == b"OK"
                assert one.command("GET", "k") == b"v"
    assert "pool.down" not in redpool.log()


@THREADS
def test_a_user_who_may_not_select_costs_few_connections(launch, threads):
    """Nobody moves an upstream of his to another database in vain, and not many are dialled."""
    server = launch.server()
    rights = ("+watch", "+unwatch", "+ping", "+echo", "+auth")
    server.command("ACL", "SETUSER", "app", "on", ">pw", "~*", *rights)
    redpool = launch_on(launch, server, threads)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redpool.connect()) for _ in range(16)]
        for number, client in enumerate(clients):
            assert client.command("SELECT", number) == b"OK"
            assert client.command("AUTH", "app", "pw") == b"OK"
        refused = calls_refused(server, "select")
        opened = int(server.info("total_connections_received"))
        began = time.monotonic()
        for _ in range(3 * threads):
            for client in clients:
                assert client.command("WATCH", "k") == b"OK"
                assert client.command("UNWATCH") == b"OK"
        seconds = time.monotonic() - began
        dialled = int(server.info("total_connections_received")) - opened
        assert dialled <= (30 * seconds + 24) * threads
        # One for each connection of his that is moved in vain, until it is known.
        assert calls_refused(server, "select") - refused <= 2 * threads


def calls_refused(server, command) -> int:
    """How often the server has refused a command for want of the right to it."""
    found = re.search(
        rf"^cmdstat_{command}:.*rejected_calls=(\d+)",
        server.command("INFO", "commandstats").decode(),
        re.M,
    )
    return int(found[1]) if found else 0


@THREADS
def test_the_right_to_echo_is_taken_and_given(launch, threads):
    server = launch.server()
    redpool = launch_on(launch, server, threads, pingInterval="1s", idleTimeout="1s", minIdle=0)

    def works_with(command):
        before = calls(server, command)
        with redpool.connect() as client:
            assert client.command("SET", "k", "v") == b"OK"
        return calls(server, command) > before

    def soon(command):
        # A fence a second, or a new connection.
        eventually(lambda: works_with(command), what=f"{command} as the fence")

    soon("echo")
    server.command("ACL", "SETUSER", "default", "-echo")
    refused = len(server.command("ACL", "LOG"))
    eventually(lambda: works_with("ping") and len(server.command("ACL", "LOG")) > refused)
    server.command("ACL", "SETUSER", "default", "+echo")
    kill_upstreams(server)
    soon("echo")


# --- commands of modules

MODULE = r"""
typedef int (*find_t)(const char *, void **);
static void *call(void *ctx, const char *name) {
    void *found = 0;
    (*(find_t *)ctx)(name, &found);
    return found;
}
static int answer(void *ctx, void **argv, int argc) {
    (void)argv;
    return ((int (*)(void *, long long))call(ctx, "RedisModule_ReplyWithLongLong"))(ctx, argc);
}
int RedisModule_OnLoad(void *ctx, void **argv, int argc) {
    (void)argv, (void)argc;
    ((void (*)(void *, const char *, int, int))call(ctx, "RedisModule_SetModuleAttribs"))(
        ctx, "coming", 1, 1);
    return ((int (*)(void *, const char *, void *, const char *, int, int, int))call(
        ctx, "RedisModule_CreateCommand"))(ctx, "coming.count", (void *)answer, "", 0, 0, 0);
}
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    folder = tmp_path_factory.mktemp("module")
    (folder / "coming.c").write_text(MODULE)
    made = folder / "coming.so"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", str(made), str(folder / "coming.c")], check=True
    )
    return made


@THREADS
def test_a_module_comes_and_goes(launch, module, threads):
    """Its command needs an upstream of its own; a name that the server does not know needs none."""
    server = launch.server("--enable-module-command", "yes")
    redpool = launch_on(launch, server, threads, maxPinned=threads, poolTimeout="50ms")
    command = ("COMING.COUNT", "a", "b")
    for _ in range(2):
        for _ in range(4 * threads):
            assert is_refused(fresh(redpool, *command), b"ERR unknown command")
        assert server.command("MODULE", "LOAD", str(module)) == b"OK"
        for _ in range(4 * threads):
            assert fresh(redpool, *command) == 3
        assert server.command("MODULE", "UNLOAD", "coming") == b"OK"
        for _ in range(2 * threads):
            assert is_refused(fresh(redpool, *command), b"ERR unknown command")
        with contextlib.ExitStack() as stack:
            # Every pin is taken.
            for _ in range(threads):
                holder = stack.enter_context(redpool.connect())
                assert holder.command("WATCH", "k") == b"OK"
            for _ in range(4 * threads):
                assert is_refused(fresh(redpool, *command), b"ERR unknown command")


# --- `timeout`


@THREADS
def test_the_servers_timeout_is_set_and_taken_away(launch, threads):
    """PING is sent in time to those that are idle, and no more often than is needed."""
    server = launch.server()
    redpool = launch_on(launch, server, threads, minIdle=threads, pingInterval="1h")
    # The last question of the first connection of each worker.
    eventually(lambda: calls(server, "client|info") >= threads)
    server.command("CONFIG", "SET", "timeout", "1")
    first = {row["id"] for row in server.upstreams()}
    # Nobody has sent PING to these: the server closes them, and the next are sent it in time.
    eventually(lambda: not first & {row["id"] for row in server.upstreams()})
    eventually(lambda: calls(server, "ping") >= 2 * threads, what="PING to all")
    server.command("CONFIG", "SET", "timeout", "0")

    def is_quiet():
        before = calls(server, "ping")
        return not comes(lambda: calls(server, "ping") > before, 0.7)

    eventually(is_quiet, what="no PING")
    assert "upstream." not in redpool.log()


# --- limits


@THREADS
def test_maxclients_is_reached_and_raised(launch, threads):
    server = launch.server()
    redpool = launch_on(launch, server, threads, minIdle=0)
    most = server.command("CONFIG", "GET", "maxclients")[1]
    assert server.command("CONFIG", "SET", "maxclients", "1") == b"OK"
    answer = fresh(redpool, "PING")
    assert is_refused(answer, b"UPSTREAMDOWN") or is_refused(answer, b"POOLTIMEOUT")
    # To a client with TLS the server cannot say it: there is no handshake yet.
    assert (b"in the TLS handshake" if TLS else b"max number of clients") in answer
    assert server.command("CONFIG", "SET", "maxclients", most) == b"OK"
    for _ in range(4 * threads):
        eventually(lambda: fresh(redpool, "PING") == b"PONG", timeout=4)


# --- role


@THREADS
def test_the_server_becomes_a_replica_and_a_master_again(launch, threads):
    server = launch.server("--replica-serve-stale-data", "yes")
    redpool = launch_on(launch, server, threads)
    clients = [redpool.connect() for _ in range(2 * threads)]
    for _ in range(2):
        for client in clients:
            assert client.command("SET", "k", "v") == b"OK"
        server.command("REPLICAOF", "127.0.0.1", "1")
        for client in clients:
            assert is_refused(client.command("SET", "k", "v"), b"READONLY")
            assert client.command("GET", "k") == b"v"
        server.command("REPLICAOF", "NO", "ONE")
    for client in clients:
        assert client.command("SET", "k", "v") == b"OK"


# --- version, and who answers


@THREADS
def test_another_version_answers(launch, threads):
    """WAITAOF is the server's from 7.2 on; before, the server says that it knows none."""
    if not VALKEY.exists():
        pytest.skip(f"no {VALKEY.name}")
    server = launch.server()
    redpool = launch_on(launch, server, threads)
    clients = [redpool.connect() for _ in range(2 * threads)]
    for binary in ("redis-server", str(VALKEY), "redis-server"):
        server.restart_as(binary)
        for client in clients:
            assert client.command("SET", "k", "v") == b"OK"
        for _ in clients:
            answer = fresh(redpool, "WAITAOF", "0", "0", "0")
            if binary == "redis-server":
                assert is_refused(answer, b"ERR unknown command"), answer
            else:
                assert answer == [0, 0]


# --- users that are gone

ENDS = {
    "deleted": [("ACL", "DELUSER", "app")],
    "disabled": [("ACL", "SETUSER", "app", "off"), ("CLIENT", "KILL", "USER", "app")],
    "another password": [
        ("ACL", "SETUSER", "app", "resetpass", ">two"), ("CLIENT", "KILL", "USER", "app"),
    ],
}


@pytest.fixture
def app(launch):
    """A server with a user, and how many of its clients log in on a daemon."""
    server = launch.server()
    server.command("ACL", "SETUSER", "app", "on", ">one", "~*", "&*", "+@all")

    def clients(redpool, count):
        made = [redpool.connect() for _ in range(count)]
        for number, client in enumerate(made):
            assert client.command("AUTH", "app", "one") == b"OK"
            # In several states; half of them have an upstream in another database.
            if number % 4 > 1:
                assert client.command("SELECT", "3") == b"OK"
            assert client.command("GET", "k") is None
        return made

    return server, clients


@THREADS
@pytest.mark.parametrize("end", ENDS)
def test_clients_of_a_user_that_is_gone_are_closed(launch, app, threads, end):
    server, clients = app
    redpool = launch_on(launch, server, threads)
    mine, others = clients(redpool, 4 * threads), [redpool.connect() for _ in range(2 * threads)]
    for _ in range(2):
        for command in ENDS[end]:
            assert not isinstance(server.command(*command), ErrorReply)
        for client in mine:
            assert client.read_until_closed() == b""
        for client in others:
            assert client.command("ACL", "WHOAMI") == b"default"
        # He comes back, and so may his clients.
        server.command("ACL", "SETUSER", "app", "reset", "on", ">one", "~*", "&*", "+@all")
        mine = clients(redpool, 4 * threads)
    assert "pool.down" not in redpool.log()


@THREADS
def test_clients_of_a_user_that_is_there_stay(launch, app, threads):
    server, clients = app
    redpool = launch_on(launch, server, threads)
    mine = clients(redpool, 4 * threads)
    for _ in range(3):
        kill_upstreams(server)
        # It is looked at once, and his next upstream is there before anybody needs it.
        eventually(
            lambda: [row["user"] for row in server.upstreams()].count("app") >= threads
        )
    for client in mine:
        assert client.command("ACL", "WHOAMI") == b"app"


@THREADS
def test_a_refused_login_closes_those_who_have_no_upstream(launch, app, threads):
    """Nothing was closed when the user was deleted: another client's login shows it."""
    server, clients = app
    redpool = launch_on(launch, server, threads, idleTimeout="200ms", minIdle=0)
    mine = clients(redpool, 2 * threads)
    eventually(lambda: not server.upstreams())
    assert server.command("ACL", "DELUSER", "app") == 1
    with redpool.connect() as client:
        assert is_refused(client.command("AUTH", "app", "one"), b"WRONGPASS")
        for one in mine:
            assert one.read_until_closed() == b""
        assert client.command("ACL", "WHOAMI") == b"default"
