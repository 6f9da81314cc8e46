"""Sentinel names the primary: what clients, servers and the operator see when it is another one."""

import contextlib
import datetime
import os
import signal
import threading
import time

import pytest

from harness.certificates import authority
from harness.ports import free_port
from harness.sentinels import Sentinel, Watched
from harness.server import has_tls
from harness.servers import FOUND
from harness.waiting import always, eventually
from harness.wire import Connection, ErrorReply, encode

pytestmark = pytest.mark.daemon

SERVERS = [FOUND[0]] + [server for server in FOUND[1:] if server.name in ("redis 6.2", "valkey 8.0")]


@pytest.fixture
def slack(full):
    """What a loaded machine may add to a deadline, in seconds. At the full size it has to be quiet."""
    return 0.0 if full else 8.0


def start(launch, watched, **pool):
    """The daemon, when it has found the primary."""
    redpool = launch.redpool(None, pool=watched.settings | pool, console=True)
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
    return redpool


def primary(redpool):
    """The port of the primary, as the console shows it."""
    [node] = [row for row in redpool.show("NODES") if row["state"] == "primary"]
    return int(node["node"].rpartition(":")[2])


class Ledger:
    """Clients that count up, each its own key, and never stop. `acknowledged` and `unknown` are
    what the server has said, and what was in flight when a connection ended."""

    def __init__(self, redpool, clients=10, thread=None):
        self._redpool, self._stop = redpool, threading.Event()
        self.acknowledged, self.unknown = [0] * clients, [0] * clients
        self.errors, self.gaps = [], [0.0] * clients
        self._threads = [
            threading.Thread(target=self._work, args=(index,), daemon=True)
            for index in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.go_on()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def go_on(self):
        before = list(self.acknowledged)
        eventually(
            lambda: all(now > then for now, then in zip(self.acknowledged, before)), 60,
            what="every client counting up")

    def key(self, index) -> str:
        return f"ledger:{index}"

    def _work(self, index):
        client = None
        last = time.monotonic()
        while not self._stop.is_set():
            try:
                client = client or self._redpool.connect(timeout=60)
                reply = client.command("INCR", self.key(index))
                if isinstance(reply, ErrorReply):
                    self.errors.append(reply)
                else:
                    self.acknowledged[index] += 1
            except (OSError, EOFError):
                self.unknown[index] += 1
                if client:
                    client.close()
                client = None
            now = time.monotonic()
            self.gaps[index] = max(self.gaps[index], now - last)
            last = now
        if client:
            client.close()

    def values(self, server) -> list:
        return [int(server.command("GET", self.key(index)) or 0)
                for index in range(len(self.acknowledged))]


def connections(server) -> list:
    """Those of the daemon's pool: neither Sentinels' nor replicas'."""
    return [row for row in server.upstreams()
            if not row["name"].startswith("sentinel-") and row["flags"] not in ("S", "M", "P")
            and row["cmd"] != "role"]


@pytest.mark.parametrize("server", SERVERS, ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_planned_failover_under_load(launch, server, threads, full, slack):
    """No client sees an error, and soon nothing of the daemon's is left at the old primary."""
    if not full and (server.name != FOUND[0].name and threads == 2):
        pytest.skip("once is enough: REDPOOL_FULL=1")
    watched = launch.started(Watched(binary=server.path))
    redpool = launch.redpool(None, pool=watched.settings, console=True,
                             settings={"threads": threads})
    old = watched.primary
    with Ledger(redpool) as ledger:
        assert primary(redpool) == watched.port_of(old)
        new = watched.failover()
        eventually(lambda: primary(redpool) == watched.port_of(new), what="the new primary")
        began = time.monotonic()
        eventually(lambda: not connections(old), what="no connection to the old primary")
        took = time.monotonic() - began
        assert took < 1.1 + slack
        ledger.go_on()
    assert not ledger.errors and not sum(ledger.unknown), (ledger.errors[:3], ledger.unknown)
    # What the old primary took while both said that they are one is lost with it.
    for value, acknowledged in zip(ledger.values(new), ledger.acknowledged):
        assert value <= acknowledged
    [line] = [line for line in redpool.log().splitlines() if "event=failover" in line]
    assert f"old=127.0.0.1:{watched.port_of(old)}" in line, line
    assert f"primary=127.0.0.1:{watched.port_of(new)}" in line and "pool=main" in line, line
    rows = redpool.show("SENTINELS")
    assert len(rows) == 3 and {row["failovers"] for row in rows} == {1}
    assert "upstream.desync" not in redpool.log()


def test_nothing_reaches_the_old_primary_after_the_switch(launch, slack):
    """It says for ten seconds that it is a primary, and what it takes is lost. MONITOR there sees no
    client's command 50 ms after the last Sentinel has said who the new one is."""
    watched = launch.started(Watched())
    redpool = start(launch, watched)
    old = watched.primary
    seen = []
    with Ledger(redpool), Connection(old.tcp) as monitor:
        assert monitor.command("MONITOR") == b"OK"
        stop = threading.Event()

        def watch():
            while not stop.is_set():
                with contextlib.suppress(TimeoutError, OSError, EOFError):
                    line = monitor.read()
                    if b'"INCR"' in line.upper():
                        # When the server has carried it out, by its own clock.
                        seen.append(float(line.split()[0]))

        reader = threading.Thread(target=watch, daemon=True)
        reader.start()
        new = watched.failover()
        eventually(lambda: primary(redpool) == watched.port_of(new), what="the new primary")
        [line] = [line for line in redpool.log().splitlines() if "event=failover" in line]
        switched = _time_of(line)
        always(lambda: old.command("PING") == b"PONG", 2)
        stop.set()
        monitor.close()
        reader.join(60)
    assert seen, "the monitor has seen nothing"
    last = max(seen) - switched
    print(f"the last command at the old primary: {last * 1000:.0f} ms after the switch")
    assert last < 0.05 + slack / 16


def _time_of(line) -> float:
    """When a line of the log was written, since 1970."""
    text = line.split()[0].removeprefix("ts=").replace("Z", "+00:00")
    return datetime.datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize("server", SERVERS, ids=str)
def test_a_killed_primary(launch, server, slack):
    """Commands wait for the new one; only what was in flight is unknown."""
    watched = launch.started(Watched(binary=server.path, down_after=1000))
    redpool = start(launch, watched, poolTimeout="60s")
    old = watched.primary
    with Ledger(redpool) as ledger:
        eventually(lambda: sum(ledger.acknowledged) > 200, what="a load")
        began = time.monotonic()
        new = watched.kill_primary()
        ledger.go_on()
        took = time.monotonic() - began
    print(f"kill -9: all clients went on after {took:.2f} s")
    assert took < 1.0 + 2.0 + slack
    assert not ledger.errors, ledger.errors[:3]
    for value, acknowledged, unknown in zip(
            ledger.values(new), ledger.acknowledged, ledger.unknown):
        assert value <= acknowledged + unknown
    assert primary(redpool) == watched.port_of(new) != watched.port_of(old)


def test_clients_with_state_are_closed_and_the_others_are_not(launch):
    watched = launch.started(Watched())
    redpool = start(launch, watched)
    with contextlib.ExitStack() as stack:
        def client(*words):
            made = stack.enter_context(redpool.connect())
            if words:
                made.send(encode(*words))
            return made

        idle, subscriber, blocked = client(), client("SUBSCRIBE", "c"), client("BLPOP", "l", "0")
        assert subscriber.read() == [b"subscribe", b"c", 1]
        transaction = client()
        assert transaction.command("MULTI") == b"OK"
        assert transaction.command("SET", "k", "lost") == b"QUEUED"
        assert idle.command("SET", "k", "kept") == b"OK"
        eventually(lambda: watched.primary.info("blocked_clients") == "1")
        new = watched.failover()
        for ended in (subscriber, blocked, transaction):
            ended.read_until_closed()
        assert idle.command("GET", "k") == b"kept"
        assert new.command("GET", "k") == b"kept"
        # They come again, and have what they want at the new one.
        again = client("SUBSCRIBE", "c")
        assert again.read() == [b"subscribe", b"c", 1]
        assert new.command("PUBLISH", "c", "m") == 1
        assert again.read() == [b"message", b"c", b"m"]


def test_a_planned_failover_with_pause(launch):
    """The runbook: PAUSE, failover, RESUME. Nobody sees an error, and nothing is lost."""
    watched = launch.started(Watched())
    redpool = start(launch, watched)
    old = watched.primary
    with Ledger(redpool) as ledger, redpool.console() as console:
        assert console.command("PAUSE", "main", "MAX", "60s").startswith(b"OK")
        # A thread may have its last reply and not have counted it yet.
        eventually(lambda: ledger.acknowledged == ledger.values(old), what="the last replies")
        acknowledged = list(ledger.acknowledged)
        replica = next(server for server in watched.servers if server is not old)
        eventually(lambda: replica.info("master_repl_offset") == old.info("master_repl_offset"),
                   what="the replica having everything")
        new = watched.failover()
        eventually(lambda: primary(redpool) == watched.port_of(new), what="the new primary")
        assert ledger.acknowledged == acknowledged and not connections(new)
        assert console.command("RESUME", "main") == b"OK"
        ledger.go_on()
    assert not ledger.errors and not sum(ledger.unknown)
    assert ledger.values(new) == ledger.acknowledged


def test_a_stale_sentinel_is_ignored(launch):
    """It was stopped during the failover, and comes back while it still names the old primary."""
    watched = launch.started(Watched())
    redpool = start(launch, watched)
    stale = watched.sentinels[2]
    stale.pause()
    rest = watched.sentinels[:2]
    old = next(server for server in watched.servers
               if watched.port_of(server) == rest[0].primary_port())
    eventually(lambda: not isinstance(
        rest[0].command("SENTINEL", "FAILOVER", "mymaster"), ErrorReply), 60, what="a failover")
    eventually(lambda: {sentinel.primary_port() for sentinel in rest} != {watched.port_of(old)}, 60,
               what="another primary")
    new = rest[0].primary_port()
    eventually(lambda: primary(redpool) == new, what="the new primary")
    stale.resume()
    with Ledger(redpool) as ledger:
        # Whatever it says, by itself or asked, changes nothing.
        always(lambda: primary(redpool) == new, 4)
    assert not ledger.errors
    assert redpool.log().count("event=failover") == 1


def test_a_primary_that_was_a_replica_for_a_moment(launch):
    """It is one again before the Sentinels have done anything."""
    watched = launch.started(Watched(down_after=60000))
    server = watched.primary
    redpool = start(launch, watched)

    def states():
        return {row["state"] for row in redpool.show("NODES")}

    with redpool.connect(60) as client:
        for times in (1, 2):
            assert client.command("SET", "k", "v") == b"OK"
            assert server.command("REPLICAOF", "127.0.0.1", free_port()) == b"OK"
            assert "READONLY" in str(client.command("SET", "k", "w"))
            eventually(lambda: "unknown" in states(), what="a primary that was left")
            assert server.command("REPLICAOF", "NO", "ONE") == b"OK"
            eventually(lambda: client.command("SET", "k", "x") == b"OK", 30,
                       what="writes to the primary")
            eventually(lambda: states() == {"primary"}, what="nothing but the primary")
            assert {row["failovers"] for row in redpool.show("SENTINELS")} == {0}
            eventually(lambda: redpool.log().count("event=sentinel.primary") == 1 + times,
                       what="a line of the log")


def test_a_partition_leaves_redpool_with_the_old_primary(launch):
    """All Sentinels and the replica are on the other side of a cut. Nobody here can know of the
    failover there. What the old primary takes meanwhile is lost when the link is back; that is what
    min-replicas-to-write is for."""
    island = launch.island()
    here = launch.server("--bind", island.gateway, "--protected-mode", "no")
    there = launch.server("--replicaof", island.gateway, str(here.port), island=island)
    eventually(lambda: there.info("master_link_status") == "up", 60, what="the replica")
    lines = [f"sentinel monitor mymaster {island.gateway} {here.port} 2",
             "sentinel down-after-milliseconds mymaster 500", "sentinel failover-timeout mymaster 5000"]
    sentinels = [launch.started(Sentinel(lines, island=island)) for _ in range(3)]
    eventually(lambda: all(
        sentinel.facts()["num-other-sentinels"] == "2" and sentinel.facts()["num-slaves"] == "1"
        for sentinel in sentinels), 60, what="Sentinels that know each other")
    pool = {"sentinels": [sentinel.text for sentinel in sentinels], "primaryName": "mymaster"}
    redpool = launch.redpool(None, pool=pool, console=True)
    with redpool.connect() as client:
        assert client.command("SET", "k", "1") == b"OK"
        island.cut("both")
        eventually(lambda: there.info("role") == "master", 60, what="a failover over there")
        assert client.command("SET", "k", "2") == b"OK"
        assert here.command("GET", "k") == b"2" and primary(redpool) == here.port
        eventually(lambda: "event=sentinel.lost" in redpool.log(), 60, what="the loss in the log")
        island.mend()
        eventually(lambda: primary(redpool) == there.port, 60, what="the new primary")
        eventually(lambda: client.command("SET", "k", "3") == b"OK")
        assert there.command("GET", "k") == b"3"
    assert redpool.log().count("event=failover") == 1


def test_all_sentinels_down(launch):
    """Connections stay. The log says it, and again when they are back."""
    watched = launch.started(Watched())
    redpool = start(launch, watched)
    with redpool.connect() as client:
        for sentinel in watched.sentinels:
            sentinel.stop(signal.SIGKILL)
        eventually(lambda: redpool.log().count("event=sentinel.lost") >= 3, what="their loss")
        assert {row["state"] for row in redpool.show("SENTINELS")} <= {"down", "connecting"}
        assert client.command("SET", "k", "v") == b"OK"
        watched.sentinels[0].start()
        eventually(lambda: "event=sentinel.back" in redpool.log(), 60, what="one that is back")
        assert client.command("GET", "k") == b"v"


def test_no_sentinel_knows_the_name(launch):
    watched = launch.started(Watched(count=1, quorum=1))
    pool = watched.settings | {"primaryName": "nobody", "poolTimeout": "1s"}
    redpool = launch.redpool(None, pool=pool, console=True)
    with redpool.connect() as client:
        place = watched.sentinels[0].text
        wanted = (f"UPSTREAMDOWN pool main: no Sentinel knows nobody ({place}: "
                  "ERR No such master with that name)")
        eventually(lambda: client.command("GET", "k") == wanted.encode(), what=wanted)
        [node] = redpool.show("NODES")
        assert node["state"] == "unknown" and node["node"] is None
        # The name is put right, and nothing has to be started anew.
        redpool.reload(primaryName="mymaster")
        eventually(lambda: client.command("SET", "k", "v") == b"OK", what="a primary")


def test_passwords_and_tls(launch, tmp_path):
    """Servers and Sentinels with passwords of their own, all with TLS."""
    if not has_tls(FOUND[0].path):
        pytest.skip("the server has no TLS")
    watched = launch.started(
        Watched(password="of-servers", login=("watcher", "of-sentinels"), tls=True))

    def secret(name, text):
        path = tmp_path / name
        path.write_text(f"{text}\n")
        os.chmod(path, 0o600)
        return str(path)

    redpool = start(
        launch, watched, primaryTls=True, sentinelTls=True, tlsCaFile=authority().file,
        passwordFile=secret("server", "of-servers"), sentinelUsername="watcher",
        sentinelPasswordFile=secret("sentinel", "of-sentinels"))
    with Ledger(redpool) as ledger:
        new = watched.failover()
        eventually(lambda: primary(redpool) == watched.port_of(new), what="the new primary")
        ledger.go_on()
    assert not ledger.errors and not sum(ledger.unknown)
    assert "of-servers" not in redpool.log() and "of-sentinels" not in redpool.log()
    assert {row["tls"] for row in redpool.show("UPSTREAMS")} == {"TLSv1.3"}


def test_a_reload_moves_to_sentinels_and_back(launch):
    """A pool with `upstream` gets Sentinels, follows a failover, and gets `upstream` again."""
    watched = launch.started(Watched())
    other = launch.server()
    redpool = launch.redpool(other, console=True)
    with redpool.connect() as client:
        assert client.command("SET", "k", "other") == b"OK"
        before = dict(redpool.file["pools"]["main"])
        rest = {key: value for key, value in before.items() if key not in ("upstream", "tlsCaFile")}
        redpool.file["pools"]["main"] = rest | watched.settings
        redpool.reload()
        eventually(lambda: client.command("GET", "k") is None, what="the Sentinels' primary")
        assert client.command("SET", "k", "watched") == b"OK"
        new = watched.failover()
        eventually(lambda: primary(redpool) == watched.port_of(new), what="the new primary")
        assert client.command("GET", "k") == b"watched"
        redpool.file["pools"]["main"] = before
        redpool.reload()
        assert client.command("GET", "k") == b"other"
        assert redpool.show("SENTINELS") == []
        eventually(lambda: not any(connections(server) for server in watched.servers))
