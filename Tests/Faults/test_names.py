"""An upstream whose name moves: followed in the background, and nobody is cut off."""

import contextlib

import pytest

from harness.waiting import always, eventually
from harness.wire import encode


def where(server):
    """The addresses of the server that the daemon's connections go to, each once."""
    return {row["laddr"].rpartition(":")[0] for row in server.upstreams()}


def start(launch, shim, server, says="127.0.0.1", **pool):
    shim.say(says)

    class Named:
        tcp = type(server.tcp)(host="moving.test", port=server.port)

    pool = {"maxOpen": 4, "dnsRefresh": "1s"} | pool
    return launch.redpool(Named, pool=pool, environment=shim.environment)


def test_upstreams_follow_their_name(launch, shim):
    """Those at an address that two answers in a row are without go, a pinned one when its pin ends."""
    server = launch.server()
    redpool = start(launch, shim, server)
    with redpool.connect() as client, redpool.connect() as holder:
        assert client.command("INCR", "count") == 1
        assert holder.command("WATCH", "k") == b"OK"
        assert where(server) == {"127.0.0.1"}
        shim.say("::1")
        count = 1
        # Every command is answered meanwhile; the pin alone stays.
        while len(server.upstreams()) < 2 or where(server) == {"127.0.0.1"}:
            count += 1
            assert client.command("INCR", "count") == count
        old = eventually(lambda: at(server, "127.0.0.1") == 1 and at(server, "[::1]") >= 1)
        assert old and holder.command("GET", "k") is None
        assert holder.command("UNWATCH") == b"OK"
        eventually(lambda: where(server) == {"[::1]"})
        assert client.command("INCR", "count") == count + 1


def at(server, host):
    return sum(row["laddr"].startswith(f"{host}:") for row in server.upstreams())


def test_no_answer_changes_nothing(launch, shim):
    server = launch.server()
    redpool = start(launch, shim, server)
    with redpool.connect() as client:
        assert client.command("INCR", "count") == 1
        before = {row["id"] for row in server.upstreams()}
        shim.say("fail")
        always(lambda: {row["id"] for row in server.upstreams()} == before, 3)
        assert client.command("INCR", "count") == 2


@pytest.mark.parametrize("is_role_change", [True, False], ids=["role change", "CLIENT UNBLOCK"])
def test_a_role_change_has_the_name_looked_up(launch, shim, is_role_change):
    """The server says so to those who are blocked on it."""
    server = launch.server()
    redpool = start(launch, shim, server, dnsRefresh="0s", maxOpen=8)
    with redpool.connect() as blocked, contextlib.ExitStack() as stack:
        number = blocked.command("CLIENT", "ID")
        blocked.send(encode("BLPOP", "list", "0"))
        eventually(lambda: server.info("blocked_clients") == "1")
        shim.say("::1")
        if is_role_change:
            server.command("REPLICAOF", "127.0.0.1", "1")
        else:
            with redpool.connect() as other:
                assert other.command("CLIENT", "UNBLOCK", number, "ERROR") == 1
        assert blocked.read().startswith(b"UNBLOCKED ")
        holders = [stack.enter_context(redpool.connect()) for _ in range(4)]

        def dialled():
            """Each holder needs an upstream of his own, so that some are new."""
            for holder in holders:
                assert holder.command("WATCH", "k") == b"OK"
            return where(server)

        if is_role_change:
            eventually(lambda: "[::1]" in dialled() or start_anew(server, holders))
        else:
            assert dialled() == {"127.0.0.1"}


def start_anew(server, holders):
    """What was dialled before the resolver had answered is dialled again."""
    for holder in holders:
        assert holder.command("UNWATCH") == b"OK"
    server.command("CLIENT", "KILL", "TYPE", "normal")


def test_name_without_address_at_the_start(launch, shim):
    """Clients are told which name it is; as soon as there is an answer, it is used."""
    server = launch.server()
    redpool = start(launch, shim, server, poolTimeout="300ms")
    shim.say("fail")
    server.command("CLIENT", "KILL", "TYPE", "normal")
    with redpool.connect() as client:
        shim.say("127.0.0.1")
        eventually(lambda: client.command("ECHO", "x") == b"x")


@pytest.mark.parametrize("says, why", [
    ("fail", "Temporary failure in name resolution"), ("unknown", "Name or service not known"),
    ("system", "Too many open files")])
def test_clients_and_log_hear_why_a_name_has_no_address(launch, shim, says, why):
    redpool = start(launch, shim, launch.server(), says=says, poolTimeout="100ms")
    text = f"the name moving.test cannot be resolved: {why}"
    with redpool.connect() as client:
        reply = eventually(lambda: refusal(client, b"UPSTREAMDOWN "), what="the breaker being open")
        assert reply.decode().endswith(text), reply
        assert text in redpool.log()
        shim.say("127.0.0.1")
        eventually(lambda: client.command("ECHO", "x") == b"x")


def refusal(client, word):
    """The reply to a command if it begins with that word."""
    reply = client.command("ECHO", "x")
    return reply if reply.startswith(word) else None
