"""`level: debug`: each connection and the decisions about it, and nothing of what clients store."""

import os
import re

import pytest

from harness.waiting import eventually
from harness.wire import Connection, encode

pytestmark = pytest.mark.daemon

SECRETS = ("hush-key", "hush-value", "hush-password")


def traces(redpool) -> list:
    """The fields of all lines of level debug, in order."""
    return [
        dict(re.findall(r'(\S+?)=("[^"]*"|\S+)', line))
        for line in redpool.log().splitlines() if "level=debug" in line
    ]


def work(redpool, server):
    """One of each kind of use."""
    server.command("ACL", "SETUSER", "kim", "on", ">hush-password", "~*", "&*", "+@all")
    with redpool.connect() as client:
        assert client.command("SET", "hush-key", "hush-value") == b"OK"
        assert client.command("BLPOP", "hush-key-list", "0.01") is None
        assert client.command("WATCH", "hush-key") == b"OK"
        assert client.command("UNWATCH") == b"OK"
        assert client.command("AUTH", "kim", "hush-password") == b"OK"


@pytest.mark.parametrize("threads", [1, 2])
def test_decisions_are_told_and_nothing_else(launch, threads):
    server = launch.server()
    redpool = launch.redpool(
        server, settings={"log": {"level": "debug", "format": "logfmt"}, "threads": threads})
    work(redpool, server)
    eventually(lambda: any(line["event"] == "client.disconnected" for line in traces(redpool)))
    found = traces(redpool)
    assert {"upstream.dialled", "upstream.ready", "client.connected"} <= {l["event"] for l in found}
    uses = [(l["command"], l["use"]) for l in found if l["event"] == "client.pinned"]
    assert ("blpop", "blocking") in uses and ("watch", "hold") in uses
    pinned = [line["event"] for line in found if "pinned" in line["event"]]
    assert pinned.count("client.pinned") == pinned.count("client.unpinned")
    assert not any(secret in redpool.log() for secret in SECRETS)


def test_waits_are_told(launch):
    server = launch.server()
    redpool = launch.redpool(
        server, pool={"maxOpen": 2, "maxPinned": 1, "poolTimeout": "200ms"},
        settings={"log": {"level": "debug", "format": "logfmt"}})
    with redpool.connect() as holder, redpool.connect() as other:
        holder.send(encode("BLPOP", "hush-key", "0"))
        eventually(lambda: any(l["event"] == "client.pinned" for l in traces(redpool)))
        assert other.command("WATCH", "hush-key").startswith(b"PINLIMIT")
        waits = [l for l in traces(redpool) if l["event"] == "client.waits"]
        assert waits[-1]["command"] == "watch" and waits[-1]["lease"] == "pin"


def test_other_levels_tell_none_of_it(launch):
    server = launch.server()
    redpool = launch.redpool(server, settings={"log": {"level": "info", "format": "logfmt"}})
    work(redpool, server)
    assert traces(redpool) == []
    assert "client.pinned" not in redpool.log()


@pytest.mark.parametrize("threads", [1, 2])
def test_peers(launch, threads):
    """An address for TCP, process and user for a unix socket."""
    redpool = launch.redpool(
        launch.server(), settings={"threads": threads, "log": {"clients": True, "format": "logfmt"}})
    with redpool.connect() as tcp, Connection(redpool.unix) as unix:
        assert tcp.command("CLIENT", "ID") == 1 and unix.command("CLIENT", "ID") == 2
        log = redpool.log()
        assert re.search(r"event=client.connected .*client=1 peer=127\.0\.0\.1:\d+", log)
        peer = f'peer="unix pid={os.getpid()} uid={os.getuid()}"'
        assert re.search(rf"event=client.connected .*client=2 {peer}", log), log
