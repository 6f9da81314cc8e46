"""Clients that begin with HELLO, SELECT or AUTH while all pins are out, or where there are none: such a
command needs an upstream of its own only for its reply, so it may use one kept for control commands."""

import pytest

from harness import servers
from harness.waiting import eventually
from harness.wire import encode

THREADS = [1, 2]


def block_all(redpool, server, count):
    blocked = [redpool.connect() for _ in range(count)]
    for client in blocked:
        client.send(encode("BLPOP", "none", "0"))
    eventually(lambda: server.info("blocked_clients") == str(count))
    return blocked


def logs_in(redpool, database):
    """Each is new to Redpool: nothing of it has been accepted before."""
    with redpool.connect() as client:
        assert client.command("SELECT", str(database)) == b"OK"
        assert client.command("SET", "where", str(database)) == b"OK"
    with redpool.connect() as client:
        assert client.command("HELLO", "3")[b"proto"] == 3
        assert client.command("PING") == b"PONG"
        assert client.command("SELECT", str(database + 1)) == b"OK"
        assert client.command("GET", "where") is None
    with redpool.connect() as client:
        assert client.command("AUTH", "bob", "no").startswith(b"WRONGPASS")
        assert client.command("AUTH", "bob", "pw") == b"OK"
        assert client.command("ACL", "WHOAMI") == b"bob"
    with redpool.connect() as client:
        client.command("HELLO", "3", "AUTH", "eve", "pw", "SETNAME", "x")
        assert client.command("ACL", "WHOAMI") == b"eve"


# The first version that may leave a refused login unanswered is 7.2.
SERVERS = [servers.DEFAULT, *(found for found in servers.FOUND if found.compatible >= (7, 2))][:2]


@pytest.fixture(params=SERVERS, ids=str)
def users(request, launch):
    server = launch.server(binary=request.param.path)
    for name in ("bob", "eve"):
        server.command("ACL", "SETUSER", name, "on", ">pw", "~*", "&*", "+@all")
    return server


@pytest.mark.parametrize("threads", THREADS)
def test_all_pins_are_out(launch, users, threads):
    redpool = launch.redpool(
        users, pool={"maxOpen": 8, "maxPinned": 4}, settings={"threads": threads})
    blocked = block_all(redpool, users, 4)
    logs_in(redpool, 1)
    users.command("RPUSH", "none", *"abcd")
    for client in blocked:
        assert client.read()[0] == b"none"
    logs_in(redpool, 3)
    assert "pin_limit" not in redpool.log()


@pytest.mark.parametrize("threads", THREADS)
def test_no_pin_at_all(launch, users, threads):
    redpool = launch.redpool(
        users, pool={"maxOpen": 6, "maxPinned": 0}, settings={"threads": threads})
    logs_in(redpool, 1)
    with redpool.connect() as client:
        assert client.command("BLPOP", "none", "0").startswith(b"PINLIMIT")


def test_a_script_can_still_be_killed(launch, server):
    """Logins that are refused again and again do not keep SCRIPT KILL waiting."""
    redpool = launch.redpool(server, pool={"maxOpen": 8, "maxPinned": 2})
    blocked = block_all(redpool, server, 2)
    server.command("CONFIG", "SET", "lua-time-limit", "50")
    script, killer = redpool.connect(), redpool.connect()
    assert killer.command("PING") == b"PONG"
    flood = [redpool.connect() for _ in range(20)]
    for client in flood:
        for _ in range(20):
            client.send(encode("AUTH", "nobody", "wrong"))
    script.send(encode("EVAL", "while true do end", "0"))
    eventually(lambda: b"BUSY" in (server.connect().command("GET", "x") or b""))
    assert killer.command("SCRIPT", "KILL") == b"OK"
    assert script.read().startswith(b"ERR")
    for client in flood:
        for _ in range(20):
            assert client.read().startswith((b"WRONGPASS", b"BUSY"))
    for client in blocked:
        client.close()
