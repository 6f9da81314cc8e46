"""What Redpool keeps of a server is noticed to have changed, in both directions.

docs/architecture.md has the table of what is kept; each row has its tests here or is named there.
"""

import pytest

from harness.waiting import eventually
from harness.wire import ErrorReply

pytestmark = pytest.mark.daemon

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
