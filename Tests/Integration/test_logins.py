"""Clients that bring credentials of their own: judged by the server, at no connection of their own."""

import pytest

from harness.waiting import eventually
from harness.wire import ErrorReply, encode

pytestmark = pytest.mark.daemon


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


def test_unknown_credentials_do(world):
    _, redpool = world
    with redpool.connect() as client:
        assert is_refused(client.command("AUTH", "app", "two"), b"PINLIMIT")
        assert client.command("ACL", "WHOAMI") == b"default"


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


@pytest.fixture
def open_world(launch):
    """A server without a password, and a pool without one."""
    server = launch.server()
    server.command("ACL", "SETUSER", "keeper", "on", ">keeper", "~*", "&*", "+@all")
    return server, launch.redpool(server, pool={"maxOpen": 4, "poolTimeout": "5s"})


@pytest.mark.parametrize("way", WAYS)
def test_who_was_there_before_the_password_goes_on(open_world, way):
    server, redpool = open_world

    def client():
        made = redpool.connect()
        for command in WAYS[way]:
            assert not isinstance(made.command(*command), ErrorReply)
        return made

    with client() as early, client() as admin, redpool.connect() as late:
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
