"""Clients that bring credentials of their own: judged by the server, at no connection of their own."""

import contextlib

import pytest

from harness.waiting import eventually
from harness.wire import Closed, ErrorReply, encode

pytestmark = pytest.mark.daemon

THREADS = pytest.mark.parametrize("threads", [1, 2])


@pytest.fixture
def world(launch):
    """A user, whose connection there is already, and one pin, which somebody else has."""
    server = launch.server()
    server.command("ACL", "SETUSER", "app", "on", ">one", "~*", "&*", "+@all")
    redpool = launch.redpool(server, pool={"maxOpen": 4, "maxPinned": 1, "poolTimeout": "1s"})
    with redpool.connect() as first:
        assert first.command("AUTH", "app", "one") == b"OK"
        assert first.command("HELLO", "3", "AUTH", "app", "one")[b"proto"] == 3
    with redpool.connect() as holder:
        assert holder.command("WATCH", "k") == b"OK"
        yield server, redpool


def is_refused(reply, word):
    return isinstance(reply, ErrorReply) and reply.startswith(word)


def test_known_credentials_need_no_pin(world):
    server, redpool = world
    version = tuple(map(int, server.info("redis_version").split(".")[:2]))
    if version >= (7, 2):
        pytest.skip("a refused login may stay unanswered on a shared connection")
    opened = server.info("total_connections_received")
    for _ in range(50):
        with redpool.connect() as client:
            assert client.command("AUTH", "app", "one") == b"OK"
            assert client.command("ACL", "WHOAMI") == b"app"
        with redpool.connect() as client:
            greeting = client.command("HELLO", "3", "AUTH", "app", "one", "SETNAME", "me")
            assert greeting[b"proto"] == 3
            assert client.command("CLIENT", "GETNAME") == b"me"
            assert client.command("ACL", "WHOAMI") == b"app"
    assert server.info("total_connections_received") == opened


def test_unknown_credentials_need_an_upstream_but_no_pin(world):
    """No pin is free. They take an upstream that is kept for control commands."""
    server, redpool = world
    opened = server.info("total_connections_received")
    with redpool.connect() as client:
        assert is_refused(client.command("AUTH", "app", "two"), b"WRONGPASS")
        assert client.command("ACL", "WHOAMI") == b"default"
    assert int(server.info("total_connections_received")) <= int(opened) + 1


def test_credentials_that_are_not_good_any_more(world):
    """The server judges, and its refusal changes neither this client nor those beside it."""
    server, redpool = world
    with redpool.connect() as beside:
        assert beside.command("AUTH", "app", "one") == b"OK"
        server.command("ACL", "SETUSER", "app", "resetpass", ">two")
        with redpool.connect() as client:
            assert is_refused(client.command("AUTH", "app", "one"), b"WRONGPASS")
            assert client.command("ACL", "WHOAMI") == b"default"
            hello = client.command("HELLO", "3", "AUTH", "app", "one")
            assert is_refused(hello, b"WRONGPASS")
            assert client.command("ACL", "WHOAMI") == b"default"
        assert beside.command("ACL", "WHOAMI") == b"app"


def test_a_refused_name_leaves_nothing(world):
    server, redpool = world
    with redpool.connect() as client:
        hello = ("HELLO", "3", "AUTH", "app", "one", "SETNAME")
        assert client.command(*hello, "mine")[b"proto"] == 3
        assert is_refused(client.command(*hello, "not mine"), b"ERR Client names")
        assert client.command("CLIENT", "GETNAME") == b"mine"


def test_a_name_given_on_the_way_is_not_the_next_clients(launch):
    server = launch.server()
    server.command("CONFIG", "SET", "requirepass", "secret")
    server.forget_password("secret")
    redpool = launch.redpool(server, pool={"maxOpen": 2, "minIdle": 0})
    hello = ("HELLO", "3", "AUTH", "default", "secret")
    with redpool.connect() as first:
        assert first.command(*hello)[b"proto"] == 3
        assert first.command(*hello, "SETNAME", "passer-by")[b"proto"] == 3
    with redpool.connect() as second:
        assert second.command(*hello)[b"proto"] == 3
        assert second.command("CLIENT", "GETNAME") is None
        assert second.command("WATCH", "k") == b"OK"

        def held():
            return [row for row in server.upstreams() if row["cmd"] == "watch"]

        eventually(held)
        assert [row["name"] for row in held()] == [""]


# --- the default user gets a password while clients are there

WAYS = {
    "first database": [],
    "database of its own": [("SELECT", "9")],
    "RESP3": [("HELLO", "3")],
}


SETTINGS = {
    "ACL": (
        ("ACL", "SETUSER", "default", ">secret"),
        ("ACL", "SETUSER", "default", "nopass"),
    ),
    "CONFIG": (
        ("CONFIG", "SET", "requirepass", "secret"),
        ("CONFIG", "SET", "requirepass", ""),
    ),
}


@pytest.fixture
def open_world(launch):
    """A server without a password, and a pool without one."""
    server = launch.server()
    server.command("ACL", "SETUSER", "keeper", "on", ">keeper", "~*", "&*", "+@all")
    return server, launch.redpool(server, pool={"maxOpen": 4, "poolTimeout": "5s"})


def see_open(server):
    """Has Redpool make a connection: the server needs no login then."""
    before = {row["id"] for row in server.upstreams()}
    for upstream in before:
        server.command("CLIENT", "KILL", "ID", upstream)

    def is_there_anew():
        now = {row["id"] for row in server.upstreams() if row["cmd"] not in ("NULL", "echo")}
        return now and not now & before

    eventually(is_there_anew, what="a new connection")


@pytest.mark.parametrize("way", WAYS)
def test_who_was_there_before_the_password_goes_on(open_world, way):
    server, redpool = open_world

    def client():
        made = redpool.connect()
        for command in WAYS[way]:
            assert not isinstance(made.command(*command), ErrorReply)
        return made

    with client() as early, client() as admin, redpool.connect() as late:
        see_open(server)
        assert early.command("SET", "k", "v") == b"OK"
        assert admin.command("ACL", "SETUSER", "default", ">secret") == b"OK"
        assert late.command("AUTH", "secret") == b"OK"
        for command in WAYS[way]:
            assert not isinstance(late.command(*command), ErrorReply)
        # It takes the connection of the others, and keeps it.
        assert late.command("WATCH", "k") == b"OK"
        assert early.command("GET", "k") == b"v"
        assert admin.command("ACL", "SETUSER", "default", "nopass") == b"OK"
        assert early.command("ACL", "WHOAMI") == b"default"
        with client() as fresh:
            assert fresh.command("GET", "k") == b"v"


@pytest.mark.parametrize("way", WAYS)
def test_who_comes_after_the_password_has_to_know_it(open_world, way):
    server, redpool = open_world
    with redpool.connect() as early:
        assert early.command("PING") == b"PONG"
        see_open(server)
        assert early.command("SET", "k", "v") == b"OK"
        assert early.command("ACL", "SETUSER", "default", ">secret") == b"OK"
        with redpool.connect() as knows:
            assert knows.command("AUTH", "secret") == b"OK"
        with redpool.connect() as fresh:
            assert is_refused(fresh.command("GET", "k"), b"NOAUTH")
            assert early.command("GET", "k") == b"v"
            for command in WAYS[way]:
                assert is_refused(fresh.command(*command), b"NOAUTH")
            assert fresh.command("AUTH", "secret") == b"OK"
            assert fresh.command("GET", "k") == b"v"


@THREADS
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("way", WAYS)
def test_who_sets_the_password_goes_on_and_so_do_those_who_are_there(
    launch, way, setting, threads
):
    """Nothing has shown Redpool before that they needed none. Newcomers have to know it."""
    server = launch.server()
    redpool = launch.redpool(server, settings={"threads": threads})
    on, off = setting

    with contextlib.ExitStack() as stack:

        def client():
            return stack.enter_context(redpool.connect())

        def there():
            made = client()
            for command in WAYS[way]:
                assert not isinstance(made.command(*command), ErrorReply)
            assert made.command("PING") == b"PONG"
            return made

        for _ in range(3):
            early, admin = [there() for _ in range(2 * threads)], there()
            assert admin.command(*on) == b"OK"
            server.forget_password("secret")
            newcomers = [client() for _ in range(2 * threads)]
            for newcomer in newcomers:
                # Another thread may not have heard of it yet.
                eventually(lambda one=newcomer: is_refused(one.command("GET", "k"), b"NOAUTH"))
                assert is_refused(newcomer.command("AUTH", "wrong"), b"WRONGPASS")
                assert newcomer.command("AUTH", "secret") == b"OK"
                assert newcomer.command("SET", "k", "v") == b"OK"
            for one in [*early, admin]:
                assert one.command("GET", "none") is None
                # It is an upstream of its own.
                assert one.command("WATCH", "k") == b"OK"
                assert one.command("UNWATCH") == b"OK"
            assert admin.command(*off) == b"OK"
            assert there().command("GET", "none") is None


@THREADS
def test_who_came_after_the_last_open_connection_is_not_let_in_by_another(launch, threads):
    """The password can have been there before him."""
    server = launch.server()
    server.command("SET", "secret", "data")
    redpool = launch.redpool(server, settings={"threads": threads})
    with contextlib.ExitStack() as stack:

        def client():
            return stack.enter_context(redpool.connect())

        early = [client() for _ in range(2 * threads)]
        for one in early:
            assert one.command("PING") == b"PONG"
        server.command("CONFIG", "SET", "requirepass", "secret")
        server.forget_password("secret")
        thieves = [client() for _ in range(4 * threads)]
        for thief in thieves:
            answer = thief.command("GET", "secret")
            assert answer == b"data" or is_refused(answer, b"NOAUTH")
        rightful = [client() for _ in range(4 * threads)]
        for one in rightful:
            assert one.command("AUTH", "secret") == b"OK"
            assert one.command("GET", "secret") == b"data"

        def is_out(thief):
            return is_refused(thief.command("CONFIG", "GET", "requirepass"), b"NOAUTH")

        for thief in thieves:
            eventually(lambda thief=thief: is_out(thief))
        for one in rightful:
            assert one.command("GET", "secret") == b"data"
        assert all(is_out(thief) for thief in thieves)
        assert thieves[0].command("AUTH", "secret") == b"OK"
        assert thieves[0].command("GET", "secret") == b"data"


BEGUN = {
    "short of a stream": encode("SET", "large", "x" * 120_000)[:100_000],
    "many": encode("MSET", *["y"] * 60_000)[:100_000],
}


@pytest.mark.parametrize("begun", BEGUN.values(), ids=BEGUN)
def test_a_command_that_began_before_the_password_is_refused(launch, begun):
    """The server would close the connection that clients without a login share."""
    server = launch.server()
    redpool = launch.redpool(server)
    with redpool.connect() as late, redpool.connect() as other:
        late.command("PING")
        late.send(begun)
        locked_out(server, other)
        # The next byte shows it. The rest would be reset.
        late.send(b"x")
        assert is_refused(late.read(), b"ERR Protocol error: unauthenticated")
        assert late.read_until_closed() == b""
        assert is_refused(other.command("GET", "k"), b"NOAUTH")


def test_an_upload_that_waited_while_the_password_came_is_refused(launch):
    """It is longer than what Redpool keeps of a client without an upstream."""
    server = launch.server()
    redpool = launch.redpool(server)
    with redpool.connect() as late, redpool.connect() as other:
        late.command("PING")
        full = int(server.info("connected_clients"))
        server.command("CONFIG", "SET", "maxclients", str(full))
        late.send(encode("SET", "large", "x" * 300_000)[:250_000])
        eventually(lambda: int(server.info("rejected_connections")) > 0)
        server.command("CONFIG", "SET", "requirepass", "secret")
        server.command("CONFIG", "SET", "maxclients", "1000")
        answer = late.read()
        assert is_refused(answer, b"ERR Protocol error: unauthenticated")
        assert late.read_until_closed() == b""
        assert is_refused(other.command("GET", "k"), b"NOAUTH")


@pytest.mark.parametrize("state", [("WATCH", "k"), ("SUBSCRIBE", "ch")], ids=lambda state: state[0])
def test_who_holds_an_upstream_keeps_its_limits(launch, state):
    """Its connection to the server is logged in, as it would be without Redpool."""
    server = launch.server()
    redpool = launch.redpool(server)
    with redpool.connect() as holder, redpool.connect() as other:
        holder.command("HELLO", "3")
        holder.command(*state)
        locked_out(server, other)
        assert holder.command("DEL", *["k"] * 20) == 0
        assert holder.command("SET", "k", "x" * 20_000) == b"OK"


def test_who_has_begun_an_upload_keeps_its_limits(launch):
    server = launch.server()
    redpool = launch.redpool(server)
    with redpool.connect() as uploader, redpool.connect() as other:
        command = encode("MSET", "one", "x" * 300_000, "two", "y" * 300_000, *["z"] * 40)
        uploader.command("PING")
        uploader.send(command[:250_000])
        eventually(lambda: any(int(row["qbuf"]) > 200_000 for row in server.upstreams()))
        locked_out(server, other)
        uploader.send(command[250_000:])
        assert uploader.read() == b"OK"


def locked_out(server, other):
    """The server wants a password, and Redpool has seen it: a client needed a new connection."""
    server.command("CONFIG", "SET", "requirepass", "secret")
    server.forget_password("secret")
    assert is_refused(other.command("WATCH", "k"), b"NOAUTH")


def test_who_has_sent_reset_has_to_log_in(open_world):
    server, redpool = open_world
    with redpool.connect() as early, redpool.connect() as other:
        for client in (early, other):
            assert client.command("SET", "k", "v") == b"OK"
        assert other.command("RESET") == b"RESET"
        see_open(server)
        assert early.command("GET", "k") == b"v"
        assert early.command("ACL", "SETUSER", "default", ">secret") == b"OK"
        with redpool.connect() as knows:
            assert knows.command("AUTH", "secret") == b"OK"
            assert early.command("GET", "k") == b"v"
            assert is_refused(other.command("GET", "k"), b"NOAUTH")


@pytest.mark.parametrize("form", ["AUTH", "HELLO"])
@pytest.mark.parametrize("way", WAYS)
def test_who_brings_the_password_himself_goes_on(open_world, way, form):
    """AUTH needs no login, also where a connection is only to be had for it anew."""
    server, redpool = open_world
    with redpool.connect() as early:
        for command in WAYS[way]:
            assert not isinstance(early.command(*command), ErrorReply)
        assert early.command("HSET", "hash", "f", "v") == 1
        before = early.command("HGETALL", "hash")
        server.command("CONFIG", "SET", "requirepass", "secret")
        server.forget_password("secret")
        opened = int(server.info("total_connections_received"))
        server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        # The daemon has noticed, and connects anew.
        eventually(lambda: int(server.info("total_connections_received")) > opened)
        if form == "AUTH":
            assert is_refused(early.command("AUTH", "wrong"), b"WRONGPASS")
            assert early.command("AUTH", "secret") == b"OK"
        else:
            hello = ("HELLO", "3" if way == "RESP3" else "2", "AUTH", "default")
            assert is_refused(early.command(*hello, "wrong"), b"WRONGPASS")
            assert not isinstance(early.command(*hello, "secret"), ErrorReply)
        # It is where it was before.
        assert early.command("HGETALL", "hash") == before


def test_who_was_there_before_a_password_that_nobody_brings_is_closed(open_world):
    server, redpool = open_world
    with redpool.connect() as early, redpool.connect() as other:
        assert early.command("SELECT", "9") == b"OK"
        with server.connect() as keeper:
            assert keeper.command("AUTH", "keeper", "keeper") == b"OK"
            assert keeper.command("ACL", "SETUSER", "default", ">secret") == b"OK"
            for row in server.upstreams(keeper):
                if row["user"] == "default":
                    keeper.command("CLIENT", "KILL", "ID", row["id"])
        early.send(encode("GET", "k"))
        assert early.read_until_closed() == b""
        assert is_refused(other.command("GET", "k"), b"NOAUTH")
        assert "pool.down" not in redpool.log()


# --- more users than there is room for


def set_users(server, count, *rules):
    with server.connect() as admin:
        admin.send(b"".join(
            encode("ACL", "SETUSER", f"u{number}", "on", f">p{number}", *rules)
            for number in range(count)))
        assert all(admin.read() == b"OK" for _ in range(count))


@THREADS
def test_one_user_after_another_is_who_he_logs_in_as(launch, threads):
    """Those of whom nobody is there any more need no room."""
    server = launch.server()
    count = 4200
    set_users(server, count, "-@all", "+acl|whoami", "~none")
    redpool = launch.redpool(server, settings={"threads": threads})
    # One for each worker.
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redpool.connect()) for _ in range(threads)]
        for first in range(0, count, 100):
            numbers = range(first, first + 100)
            for client in clients:
                client.send(b"".join(
                    encode("AUTH", f"u{number}", f"p{number}") + encode("ACL", "WHOAMI")
                    for number in numbers))
            for client in clients:
                for number in numbers:
                    assert client.read() == b"OK"
                    assert client.read() == b"u%d" % number
        for client in clients:
            assert is_refused(client.command("FLUSHALL"), b"NOPERM")


@THREADS
def test_who_finds_no_room_is_nobody_else(launch, threads):
    """A user without a password is let in with any: each is one to tell apart."""
    server = launch.server()
    server.command("ACL", "SETUSER", "open", "on", "nopass", "~*", "&*", "+@all")
    redpool = launch.redpool(server, settings={"threads": threads})
    most = 64
    with contextlib.ExitStack() as stack:

        def log_in(password):
            client = stack.enter_context(redpool.connect())
            client.send(encode("AUTH", "open", password) + encode("ACL", "WHOAMI"))
            try:
                return client if (client.read(), client.read()) == (b"OK", b"open") else None
            except Closed:
                return False

        clients = [log_in(f"password {number}") for number in range(most * threads + 8)]
        assert None not in clients
        inside = [client for client in clients if client]
        assert most <= len(inside) <= most * threads
        assert "reason=user_limit" in redpool.log()
        # Others have room, and so has this one when the rest have left.
        server.command("ACL", "SETUSER", "app", "on", ">one", "~*", "&*", "+@all")
        with redpool.connect() as other:
            assert other.command("AUTH", "app", "one") == b"OK"
            assert other.command("ACL", "WHOAMI") == b"app"
        for client in inside:
            assert client.command("ACL", "WHOAMI") == b"open"
            client.close()
        eventually(lambda: log_in("new"), what="room for one more")


# --- a password that is new for a user


@THREADS
def test_who_has_shown_an_old_password_has_no_part_in_the_new_one(launch, threads):
    server = launch.server()
    server.command("SET", "secret", "new data")
    redpool = launch.redpool(server, settings={"threads": threads})
    for round in range(3):
        old, new = f"password {round}", f"password {round + 1}"
        server.command("ACL", "SETUSER", "app", "on", f">{old}", "~*", "&*", "+@all")
        with contextlib.ExitStack() as stack:

            def log_in(password):
                client = stack.enter_context(redpool.connect())
                assert client.command("AUTH", "app", password) == b"OK"
                assert client.command("ACL", "WHOAMI") == b"app"
                return client

            thieves = [log_in(old) for _ in range(3 * threads)]
            # It cuts a direct connection.
            server.command("ACL", "DELUSER", "app")
            server.command("ACL", "SETUSER", "app", "on", f">{new}", "~*", "&*", "+@all")
            rightful = [log_in(new) for _ in range(3 * threads)]
            for thief in thieves[1:]:
                thief.send(encode("GET", "secret"))
                assert thief.read_until_closed() == b""
            assert thieves[0].read_until_closed() == b""
            for client in rightful:
                assert client.command("GET", "secret") == b"new data"
            server.command("ACL", "DELUSER", "app")


@THREADS
def test_a_login_stays_good_while_its_password_is_replaced(launch, threads):
    """As on a direct connection: only who comes anew has to know the new one."""
    server = launch.server()
    server.command("ACL", "SETUSER", "app", "on", ">one", "~*", "&*", "+@all")
    redpool = launch.redpool(server, settings={"threads": threads})
    with contextlib.ExitStack() as stack:

        def log_in(password):
            client = stack.enter_context(redpool.connect())
            assert client.command("AUTH", "app", password) == b"OK"
            return client

        early = [log_in("one") for _ in range(2 * threads)]
        server.command("ACL", "SETUSER", "app", "resetpass", ">two")
        late = [log_in("two") for _ in range(2 * threads)]
        for client in early + late:
            assert client.command("ACL", "WHOAMI") == b"app"
