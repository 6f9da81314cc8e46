"""Credentials for the server: used, retried, never shown."""

import pytest

from harness.load import in_threads
from harness.waiting import eventually
from harness.wire import ErrorReply

pytestmark = pytest.mark.daemon
SECRET = "canary-s3cret-9a2e"


@pytest.fixture
def credentials(tmp_path):
    """Writes a password file and returns the pool keys that use it."""

    def made(password=SECRET, username=None):
        path = tmp_path / "main.password"
        path.write_text(password + "\n")
        path.chmod(0o600)
        keys = {"passwordFile": str(path)}
        return keys | ({"username": username} if username else {})

    return made


def test_requirepass(launch, credentials):
    server = launch.server(password=SECRET)
    redpool = launch.redpool(server, pool=credentials() | {"minIdle": 3})

    def work(index):
        with redpool.connect() as client:
            assert client.command("INCR", f"k:{index}") == 1
            assert client.command("MULTI") == b"OK"
            assert client.command("EXEC") == []
            assert client.command("ACL", "WHOAMI") == b"default"

    in_threads(8, work)
    eventually(lambda: server.client_count() >= 3)
    assert SECRET not in redpool.log()


def test_acl_user(launch, credentials):
    server = launch.server()
    server.command("ACL", "SETUSER", "app", "on", f">{SECRET}", "~app:*", "+@all")
    redpool = launch.redpool(server, pool=credentials(username="app"))
    with redpool.connect() as client:
        assert client.command("SET", "app:k", "1") == b"OK"
        reply = client.command("SET", "other", "1")
        assert isinstance(reply, ErrorReply) and reply.startswith(b"NOPERM"), reply
        assert client.command("ACL", "WHOAMI") == b"app"
    with redpool.connect() as client:
        assert client.command("ACL", "WHOAMI") == b"app"


def test_every_upstream_is_authenticated_before_it_is_used(launch, credentials):
    """Half the connections are killed all the while, so that new ones are made under load."""
    server = launch.server(password=SECRET)
    redpool = launch.redpool(server, pool=credentials() | {"maxOpen": 8, "minIdle": 4})

    def work(index):
        with redpool.connect() as client:
            for count in range(1, 101):
                assert client.command("INCR", f"k:{index}") == count
                if index == 0:
                    _kill_idle_upstreams(server)

    in_threads(1, work)
    assert "NOAUTH" not in redpool.log()


def _kill_idle_upstreams(server):
    for row in server.upstreams():
        server.command("CLIENT", "KILL", "ID", row["id"])


def test_wrong_password_is_reported_and_recovers_once_corrected(launch, credentials):
    server = launch.server(password="canary-other")
    redpool = launch.redpool(
        server, pool=credentials() | {"maxOpen": 4, "poolTimeout": "300ms"}
    )
    with redpool.connect() as client:

        def refusal():
            reply = client.command("GET", "k")
            assert isinstance(reply, ErrorReply), reply
            return reply if reply.startswith(b"UPSTREAMDOWN") else None

        assert b"WRONGPASS" in eventually(refusal)
        assert SECRET.encode() not in refusal()
        server.command("CONFIG", "SET", "requirepass", SECRET)
        eventually(lambda: client.command("SET", "k", "1") == b"OK")
        assert client.command("GET", "k") == b"1"
    assert redpool.stop() == 0
    assert "WRONGPASS" in redpool.log()
    assert SECRET not in redpool.log() and "canary-other" not in redpool.log()


def test_missing_password_is_reported(launch):
    server = launch.server(password=SECRET)
    redpool = launch.redpool(server, pool={"maxOpen": 4, "poolTimeout": "300ms"})
    with redpool.connect() as client:

        def is_told():
            reply = client.command("GET", "k")
            assert isinstance(reply, ErrorReply), reply
            return b"NOAUTH" in reply

        eventually(is_told)


def test_keys_and_values_are_never_logged(launch):
    server = launch.server()
    redpool = launch.redpool(server, settings={"log": {"level": "debug", "clients": True}})
    with redpool.connect() as client:
        client.command("SET", "canary-key", "canary-value")
        client.command("NOSUCH", "canary-argument")
        client.command("AUTH", "canary-user", "canary-password")
        client.command("WATCH", "canary-key")
        client.send(b"*1\r\n$canary-garbage\r\n")
        client.read_until_closed()
    assert redpool.stop() == 0
    assert "canary" not in redpool.log()
