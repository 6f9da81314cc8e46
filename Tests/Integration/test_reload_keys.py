"""Each key does at a reload what its class says. The clients are there before the reload."""

import os
import re
import signal
import stat

import pytest

from harness.daemon import ROOT
from harness.http import Http
from harness.ports import free_port
from harness.waiting import eventually
from harness.wire import Address, Closed, Connection, ErrorReply, encode

import test_reload_cluster  # Its tests are of keys as well, and so are those of the next ones.
import test_reload_listeners
import test_reload_pubsub
import test_reload_sentinels
import test_reload_tls
from reload_classes import TESTS, key
from test_socket_options import IDLE, sockets

pytestmark = pytest.mark.daemon


def test_every_key_has_a_test_of_its_class():
    assert test_reload_tls.KEYS and test_reload_listeners.KEYS and test_reload_sentinels.KEYS
    assert test_reload_cluster.KEYS and test_reload_pubsub.KEYS
    text = (ROOT / "docs" / "configuration.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([a-z ]+) \|$", text, re.M)
    assert set(rows) == TESTS


@pytest.fixture
def server(launch):
    return launch.server()


def ids(server):
    return {row["id"] for row in server.upstreams()}


def is_error(reply, *beginnings) -> bool:
    return isinstance(reply, ErrorReply) and reply.startswith(beginnings)


# Sizes and lives of upstreams.


def blocked(redpool, count):
    """Clients that block, each on an upstream of its own."""
    clients = [redpool.connect() for _ in range(count)]
    for client in clients:
        client.send(encode("BLPOP", "never", "0"))
    return clients


def in_blpop(server):
    return int(server.info("blocked_clients"))


@key("maxOpen", "graceful")
@pytest.mark.parametrize("threads", [1, 2])
def test_max_open(launch, server, threads):
    redpool = launch.redpool(
        server, pool={"maxOpen": 12, "maxPinned": 8}, settings={"threads": threads}
    )
    clients = blocked(redpool, 8)
    eventually(lambda: in_blpop(server) == 8)
    redpool.reload(maxOpen=4, maxPinned=3)
    assert in_blpop(server) == 8, "no client is cut"
    server.command("RPUSH", "never", *"x" * 8)
    assert [client.read() for client in clients] == [[b"never", b"x"]] * 8
    eventually(lambda: server.client_count() <= 4, what="surplus upstreams closed")
    again = blocked(redpool, 8)
    eventually(lambda: in_blpop(server) == 3)
    redpool.reload(maxOpen=12, maxPinned=8)
    eventually(lambda: in_blpop(server) == 8, what="more upstreams")
    for client in again + clients:
        client.close()


@key("maxPinned", "graceful")
@pytest.mark.parametrize("threads", [1, 2])
def test_max_pinned(launch, server, threads):
    redpool = launch.redpool(
        server, pool={"maxOpen": 8, "maxPinned": 2}, settings={"threads": threads}
    )
    clients = blocked(redpool, 4)
    eventually(lambda: in_blpop(server) == 2)
    redpool.reload(maxPinned=4)
    eventually(lambda: in_blpop(server) == 4, what="more pins")
    redpool.reload(maxPinned=1)
    assert in_blpop(server) == 4, "no client is cut"
    for client in clients:
        client.close()
    eventually(lambda: in_blpop(server) == 0)
    again = blocked(redpool, 2)
    eventually(lambda: in_blpop(server) == 1)
    server.command("RPUSH", "never", "x")
    eventually(lambda: in_blpop(server) == 1, what="the next pin")
    for client in again:
        client.close()


@key("maxIdle", "graceful")
def test_max_idle(launch, server):
    redpool = launch.redpool(server, pool={"minIdle": 4})
    eventually(lambda: server.client_count() == 4)
    redpool.reload(maxIdle=2, minIdle=2)
    eventually(lambda: server.client_count() == 2)


@key("minIdle", "graceful")
def test_min_idle(launch, server):
    redpool = launch.redpool(server)
    eventually(lambda: server.client_count() == 1)
    redpool.reload(minIdle=3)
    eventually(lambda: server.client_count() == 3)


@key("maxPipeline", "live")
def test_max_pipeline(launch, server):
    """A pipeline as deep as that fills an upstream, so another client's command opens one more."""
    redpool = launch.redpool(server, pool={"maxOpen": 4})
    line = redpool.reload(maxPipeline=7)
    assert "pools.main.maxPipeline 1024 -> 7" in line
    # Tests/ProxyTests/ReloadTests.swift has the effect.


@key("maxLifetime", "live")
def test_max_lifetime(launch, server):
    redpool = launch.redpool(server)
    first = eventually(lambda: ids(server))
    redpool.reload(maxLifetime="100ms")
    eventually(lambda: ids(server) and not ids(server) & first)


@key("idleTimeout", "live")
def test_idle_timeout(launch, server):
    redpool = launch.redpool(server, pool={"pingInterval": "0s"})
    clients = blocked(redpool, 3)
    server.command("RPUSH", "never", *"xxx")
    assert [client.read() for client in clients] == [[b"never", b"x"]] * 3
    assert server.client_count() > 1
    redpool.reload(idleTimeout="100ms")
    eventually(lambda: server.client_count() == 1)


@key("pingInterval", "live")
def test_ping_interval(launch, server):
    redpool = launch.redpool(server)
    eventually(lambda: server.client_count() == 1)
    server.command("CONFIG", "RESETSTAT")
    redpool.reload(pingInterval="100ms")
    eventually(lambda: "cmdstat_ping" in server.command("INFO", "commandstats").decode())


@key("keepalive", "new connections")
def test_keepalive(launch, server):
    redpool = launch.redpool(server, pool={"keepalive": "70s"})

    def idle(client):
        its = sockets(redpool.process.pid)[client.socket.getsockname()[:2]]
        return its.getsockopt(*IDLE)

    with redpool.connect() as old:
        assert old.command("PING") == b"PONG"
        redpool.reload(keepalive="80s")
        with redpool.connect() as new:
            assert new.command("PING") == b"PONG"
            assert (idle(old), idle(new)) == (70, 80)


@key("connectTimeout", "new connections")
def test_connect_timeout(launch, server):
    redpool = launch.redpool(server, pool={"connectTimeout": "60s"})
    redpool.warm_up()
    server.pause()
    redpool.reload(connectTimeout="100ms", minIdle=3)
    eventually(lambda: "upstream.failed" in redpool.log() or "no answer to" in redpool.log())
    server.resume()


# What commands and clients meet.


@key("poolTimeout", "live")
def test_pool_timeout(launch, server):
    redpool = launch.redpool(server, pool={"maxPinned": 1, "poolTimeout": "60s"})
    first = blocked(redpool, 1)
    eventually(lambda: in_blpop(server) == 1)
    (waiting,) = blocked(redpool, 1)
    redpool.reload(poolTimeout="50ms")
    assert is_error(waiting.read(), b"POOLTIMEOUT", b"PINLIMIT")
    first[0].close()


@key("commandTimeout", "live")
def test_command_timeout(launch, server):
    redpool = launch.redpool(server)
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        server.pause()
        client.send(encode("GET", "k"))
        redpool.reload(commandTimeout="100ms")
        with pytest.raises(Closed):
            client.read()
        server.resume()


@key("slowLog", "live")
def test_slow_log(launch, server):
    redpool = launch.redpool(server, pool={"slowLog": "1h"}, console=True)
    busy = (
        "local s = redis.call('TIME') repeat local n = redis.call('TIME') "
        "until (n[1] - s[1]) * 1000000 + n[2] - s[2] > 20000 return 1"
    )
    with redpool.connect() as client:
        assert client.command("EVAL", busy, "0") == 1
        assert not redpool.show("SLOWLOG")
        redpool.reload(slowLog="10ms")
        assert client.command("EVAL", busy, "0") == 1
        assert [row["cmd"] for row in redpool.show("SLOWLOG")] == ["eval"]


@key("dnsRefresh", "live")
def test_dns_refresh(launch, server, shim):
    shim.say("127.0.0.1")
    upstream = f"moving.test:{server.tcp.port}"
    redpool = launch.redpool(
        server, pool={"upstream": upstream, "dnsRefresh": "1h"}, environment=shim.environment
    )
    redpool.warm_up()
    first = ids(server)
    shim.say("::1")
    redpool.reload(dnsRefresh="1s")
    eventually(lambda: ids(server) and not ids(server) & first, 30)


@key("onUpstreamLoss", "live")
def test_on_upstream_loss(launch, server):
    redpool = launch.redpool(server)
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        server.pause()
        client.send(encode("GET", "k"))
        eventually(lambda: server.unread_bytes() > 0)
        redpool.reload(onUpstreamLoss="error")
        os.kill(server.pid, signal.SIGKILL)
        assert is_error(client.read(), b"UPSTREAMLOST")


@key("denyCommands", "live")
def test_deny_commands(launch, server):
    redpool = launch.redpool(server)
    with redpool.connect() as client:
        assert client.command("GET", "k") is None
        redpool.reload(denyCommands=["GET", "MY.OWN"])
        assert is_error(client.command("GET", "k"), b"ERR 'get' is refused by Redpool")
        redpool.reload(denyCommands=[])
        assert client.command("GET", "k") is None


@key("clientIdleTimeout", "live")
def test_client_idle_timeout(launch, server):
    redpool = launch.redpool(server)
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        redpool.reload(clientIdleTimeout="100ms")
        with pytest.raises(Closed):
            client.read()


@key("transactionTimeout", "live")
def test_transaction_timeout(launch, server):
    redpool = launch.redpool(server)
    with redpool.connect() as client:
        assert client.command("MULTI") == b"OK"
        redpool.reload(transactionTimeout="100ms")
        with pytest.raises(Closed):
            client.read()


@key("clientOutputLimit", "live")
def test_client_output_limit(launch, server):
    redpool = launch.redpool(server)
    (client,) = blocked(redpool, 1)
    eventually(lambda: in_blpop(server) == 1)
    redpool.reload(clientOutputLimit="64kb")
    with pytest.raises((Closed, OSError)):
        for _ in range(100):
            client.send(encode("SET", "k", "x" * 10_000))
        client.read()
    eventually(lambda: "client.input_limit" in redpool.log())


@key("totalOutputLimit", "live")
def test_total_output_limit(launch, server):
    redpool = launch.redpool(server)
    clients = [redpool.connect() for _ in range(12)]
    for client in clients:
        assert client.command("CLIENT", "SETNAME", "x" * 100_000) == b"OK"
    redpool.reload_settings(totalOutputLimit="4mb")
    with redpool.connect() as other:
        assert other.command("PING") == b"PONG"
    eventually(lambda: "event=client.output_limit" in redpool.log())
    for client in clients:
        client.close()


@key("maxClients", "graceful")
@pytest.mark.parametrize("threads", [1, 2])
def test_max_clients(launch, server, threads):
    redpool = launch.redpool(server, settings={"threads": threads, "maxClients": 100})
    with redpool.connect() as one, redpool.connect() as two:
        assert one.command("PING") == b"PONG" == two.command("PING")
        redpool.reload_settings(maxClients=2)
        with redpool.connect() as third:
            assert is_error(third.read(), b"ERR max number of clients")
        redpool.reload_settings(maxClients=1)
        assert one.command("PING") == b"PONG" == two.command("PING")
        redpool.reload_settings(maxClients=3)
        with redpool.connect() as third:
            assert third.command("PING") == b"PONG"


# Listeners.


@key("listen", "structural")
@pytest.mark.parametrize("threads", [1, 2])
def test_listen(launch, server, threads):
    redpool = launch.redpool(server, settings={"threads": threads})
    new = Address(host="127.0.0.1", port=free_port())
    with redpool.connect() as stays, Connection(redpool.unix) as leaves:
        assert stays.command("PING") == b"PONG" == leaves.command("PING")
        leaves.send(encode("BLPOP", "never", "0"))
        eventually(lambda: in_blpop(server) == 1)
        redpool.reload(listen=[redpool.tcp.text, new.text])
        assert leaves.read() is None, "the blocked command is released"
        with pytest.raises(Closed):
            leaves.read()
        assert not os.path.exists(redpool.unix.path)
        with pytest.raises(OSError):
            Connection(redpool.tcp6)
        with Connection(new) as client:
            assert client.command("PING") == b"PONG"
        assert stays.command("PING") == b"PONG"


@key("socketMode", "structural")
def test_socket_mode(launch, server):
    redpool = launch.redpool(server)
    with Connection(redpool.unix) as client:
        redpool.reload(socketMode="0600")
        assert stat.S_IMODE(os.stat(redpool.unix.path).st_mode) == 0o600
        assert client.command("PING") == b"PONG"
    with Connection(redpool.unix) as client:
        assert client.command("PING") == b"PONG"


@key("socketGroup", "structural")
@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files to any group")
def test_socket_group(launch, server):
    redpool = launch.redpool(server)
    before = os.stat(redpool.unix.path).st_gid
    redpool.reload(socketGroup="daemon")
    assert os.stat(redpool.unix.path).st_gid != before
    redpool.reload(socketGroup="")
    assert os.stat(redpool.unix.path).st_gid == before


# The server: test_reload_moves.py has more.


def with_password(server, user, password):
    server.command("ACL", "SETUSER", user, "on", ">" + password, "~*", "&*", "+@all")


@key("upstream", "move")
def test_upstream(launch, server):
    other = launch.server()
    redpool = launch.redpool(server)
    server.command("SET", "name", "old")
    other.command("SET", "name", "new")
    with redpool.connect() as client:
        assert client.command("GET", "name") == b"old"
        redpool.reload(upstream=other.address.text)
        assert client.command("GET", "name") == b"new"
    eventually(lambda: server.client_count() == 0)


@key("username", "move")
def test_username(launch, server, tmp_path):
    for user in ("one", "two"):
        with_password(server, user, "secret")
    (tmp_path / "password").write_text("secret")
    redpool = launch.redpool(
        server, pool={"username": "one", "passwordFile": str(tmp_path / "password")}
    )
    with redpool.connect() as client:
        assert client.command("ACL", "WHOAMI") == b"one"
        redpool.reload(username="two")
        assert client.command("ACL", "WHOAMI") == b"two"
        redpool.reload(username="one")
        assert client.command("ACL", "WHOAMI") == b"one"


@key("passwordFile", "new connections")
@pytest.mark.parametrize("threads", [1, 2])
def test_password_file(launch, server, tmp_path, threads):
    with_password(server, "one", "first")
    with_password(server, "one", "second")
    file = tmp_path / "password"
    file.write_text("first")
    redpool = launch.redpool(
        server, pool={"username": "one", "passwordFile": str(file)}, settings={"threads": threads}
    )
    with redpool.connect() as client, redpool.connect() as holder:
        assert client.command("PING") == b"PONG"
        assert holder.command("MULTI") == b"OK"
        before = ids(server)
        file.write_text("second")
        assert "pools.main: another password" in redpool.reload()
        assert client.command("PING") == b"PONG"
        eventually(lambda: len(ids(server) & before) == 1, what="idle upstreams renewed")
        server.command("ACL", "SETUSER", "one", "<first")
        assert holder.command("PING") == b"QUEUED"
        assert holder.command("EXEC") == [b"PONG"]
        eventually(lambda: not ids(server) & before, what="the pinned one renewed")
        assert client.command("PING") == b"PONG"


@key("clientPasswordFile", "live")
@pytest.mark.parametrize("threads", [1, 2])
def test_client_password_file(launch, server, tmp_path, threads):
    file = tmp_path / "clients"
    file.write_text("first")
    redpool = launch.redpool(
        server, pool={"clientPasswordFile": str(file)}, settings={"threads": threads}
    )
    with redpool.connect() as client, redpool.connect() as other:
        assert client.command("AUTH", "first") == b"OK"
        file.write_text("second")
        assert "pools.main: other logins of clients" in redpool.reload()
        assert client.command("PING") == b"PONG", "who is logged in stays"
        assert is_error(client.command("AUTH", "first"), b"WRONGPASS")
        assert is_error(other.command("AUTH", "first"), b"WRONGPASS")
        assert other.command("AUTH", "second") == b"OK"


@key("clientUsersFile", "live")
def test_client_users_file(launch, server, tmp_path):
    file = tmp_path / "clients"
    file.write_text("ann one\nbob two\n")
    redpool = launch.redpool(server, pool={"clientUsersFile": str(file)})
    with redpool.connect() as ann, redpool.connect() as bob:
        assert ann.command("AUTH", "ann", "one") == b"OK"
        assert bob.command("AUTH", "bob", "two") == b"OK"
        file.write_text("ann three\n")
        redpool.reload()
        assert ann.command("PING") == b"PONG"
        assert is_error(ann.command("AUTH", "ann", "one"), b"WRONGPASS")
        assert ann.command("AUTH", "ann", "three") == b"OK"
        with pytest.raises(Closed):
            bob.read()


@key("allowUnauthenticated", "live")
def test_allow_unauthenticated(launch, server):
    redpool = launch.redpool(server)
    listen = [redpool.tcp.text, f"0.0.0.0:{free_port()}"]
    redpool.reload(refused=True, listen=listen)
    redpool.reload(listen=listen, allowUnauthenticated=True)
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        redpool.reload(refused=True, allowUnauthenticated=False)
        assert client.command("PING") == b"PONG"


# The process.


@key("threads", "restart")
def test_threads(launch, server):
    redpool = launch.redpool(server, settings={"threads": 1})
    with redpool.connect() as client:
        line = redpool.reload_settings(threads=2)
        assert "threads 1 -> 2 needs a restart" in line and "pending=1" in line
        assert client.command("PING") == b"PONG"
        assert "pending=1" in redpool.reload(poolTimeout="7s")
        assert "pending=0" in redpool.reload_settings(threads=1)


# `listen` of `http`, not that of a pool.
@key("listen", "restart")
def test_http_listen(launch, server):
    first, second = Http(), Http()
    redpool = launch.redpool(server, settings=first.settings)
    line = redpool.reload_settings(**second.settings)
    assert f"http.listen {first.address.text} -> {second.address.text} needs a restart" in line
    assert "pending=1" in line
    assert first.metrics()["redpool_config_restart_required"] == 1
    with pytest.raises(OSError):
        second.connect()
    # Nor is it closed, or opened where there was none.
    assert "pending=1" in redpool.reload_settings(http={"listen": ""})
    assert first.metrics()["redpool_config_restart_required"] == 1
    assert "pending=0" in redpool.reload_settings(**first.settings)
    assert first.metrics()["redpool_config_restart_required"] == 0
    other = launch.redpool(server)
    assert "pending=1" in other.reload_settings(**second.settings)
    with pytest.raises(OSError):
        second.connect()


@key("drainTimeout", "live")
def test_drain_timeout(launch, server):
    redpool = launch.redpool(server, settings={"drainTimeout": "1h"})
    with redpool.connect() as client:
        assert client.command("MULTI") == b"OK"
        redpool.reload_settings(drainTimeout="50ms")
        assert redpool.stop() == 0
        with pytest.raises(Closed):
            client.read()


def log(redpool, **values):
    return redpool.reload_settings(log=redpool.file.get("log", {}) | values)


@key("level", "live")
@pytest.mark.parametrize("threads", [1, 2])
def test_level(launch, server, threads):
    redpool = launch.redpool(server, settings={"threads": threads})
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        log(redpool, level="debug")
        assert client.command("MULTI") == b"OK"
        eventually(lambda: "event=client.pinned" in redpool.log())


@key("format", "live")
def test_format(launch, server):
    redpool = launch.redpool(server)
    assert log(redpool, format="text").startswith("20")
    assert log(redpool, format="logfmt").startswith("ts=")


@key("clients", "live")
def test_clients(launch, server):
    redpool = launch.redpool(server)
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        log(redpool, clients=True)
    eventually(lambda: "event=client.disconnected" in redpool.log())


@key("stats", "live")
def test_stats(launch, server):
    redpool = launch.redpool(server)
    log(redpool, stats="1s")
    eventually(lambda: "event=pool.statistics" in redpool.log())
