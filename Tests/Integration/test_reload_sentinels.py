"""Keys of pools with Sentinels do at a reload what their class says. The clients are there before."""

import os

import pytest

from harness.certificates import authority
from harness.sentinels import Watched
from harness.server import DEFAULT, has_tls
from harness.waiting import eventually

from reload_classes import key

pytestmark = pytest.mark.daemon
# Imported by test_reload_keys.
KEYS = ("sentinels", "primaryName", "primaryTls", "primaryDatabase", "sentinelUsername",
        "sentinelPasswordFile", "sentinelTls")


def start(launch, watched, **keys):
    """The daemon, and a client that has an upstream behind it."""
    redpool = launch.redpool(None, pool=watched.settings | keys, console=True)
    client = redpool.connect()
    assert client.command("SET", "k", "watched") == b"OK"
    return redpool, client


def sentinels(redpool) -> dict:
    return {row["sentinel"]: row for row in redpool.show("SENTINELS")}


def are_connected(redpool) -> bool:
    rows = sentinels(redpool).values()
    return len(rows) == 3 and all(row["state"] == "connected" for row in rows)


@key("sentinels", "live")
def test_sentinels(launch):
    watched = launch.started(Watched())
    first = watched.sentinels[0].text
    redpool, client = start(launch, watched, sentinels=[first])
    eventually(lambda: are_connected(redpool), what="the others found")
    ours = {row["id"] for row in redpool.show("UPSTREAMS")}
    assert [row["configured"] for text, row in sentinels(redpool).items() if text != first] == ["no"] * 2
    redpool.reload(sentinels=[sentinel.text for sentinel in watched.sentinels])
    eventually(lambda: {row["configured"] for row in sentinels(redpool).values()} == {"yes"})
    assert {row["id"] for row in redpool.show("UPSTREAMS")} == ours, "no upstream is touched"
    assert client.command("GET", "k") == b"watched"


@key("primaryName", "move")
def test_primary_name(launch):
    watched = launch.started(Watched())
    other = launch.server()
    other.command("SET", "k", "other")
    for sentinel in watched.sentinels:
        assert sentinel.command("SENTINEL", "MONITOR", "second", "127.0.0.1", other.port, 2) == b"OK"
    redpool, client = start(launch, watched)
    redpool.reload(primaryName="second")
    # From this moment on nothing goes to the first one.
    assert client.command("GET", "k") == b"other"
    redpool.reload(primaryName="mymaster")
    assert client.command("GET", "k") == b"watched"


@key("primaryDatabase", "move")
def test_primary_database(launch):
    watched = launch.started(Watched())
    redpool, client = start(launch, watched)
    redpool.reload(primaryDatabase=3)
    assert client.command("GET", "k") is None
    assert client.command("SET", "k", "third") == b"OK"
    eventually(lambda: {row["db"] for row in redpool.show("UPSTREAMS")} == {3}, what="a new database")
    redpool.reload(primaryDatabase=0)
    assert client.command("GET", "k") == b"watched"


@pytest.fixture
def secured(launch, tmp_path):
    """Servers and Sentinels with TLS, a user for the Sentinels, and the files."""
    if not has_tls(DEFAULT):
        pytest.skip("the server has no TLS")

    def secret(name, text):
        path = tmp_path / name
        path.write_text(f"{text}\n")
        os.chmod(path, 0o600)
        return str(path)

    watched = launch.started(Watched(login=("watcher", "of-sentinels"), tls=True))
    redpool, client = start(
        launch, watched, primaryTls=True, sentinelTls=True, tlsCaFile=authority().file,
        sentinelUsername="watcher", sentinelPasswordFile=secret("right", "of-sentinels"))
    eventually(lambda: are_connected(redpool), what="all Sentinels")
    return redpool, client, secret("wrong", "another")


@key("primaryTls", "move")
def test_primary_tls(secured):
    redpool, client, _ = secured
    redpool.reload(primaryTls=False)
    eventually(lambda: client.command("GET", "k").startswith(b"UPSTREAMDOWN"), 60,
               what="a refusal of plain text")
    redpool.reload(primaryTls=True)
    eventually(lambda: client.command("GET", "k") == b"watched", 60, what="TLS again")


@key("sentinelUsername", "live")
@key("sentinelPasswordFile", "live")
@key("sentinelTls", "live")
@pytest.mark.parametrize("change", ["sentinelUsername", "sentinelPasswordFile", "sentinelTls"])
def test_login_to_sentinels(secured, change):
    """The new login is tried at once; the primary and its connections stay whatever comes of it."""
    redpool, client, wrong = secured
    before = redpool.file["pools"]["main"][change]
    ours = {row["id"] for row in redpool.show("UPSTREAMS")}
    other = {"sentinelUsername": "nobody", "sentinelPasswordFile": wrong, "sentinelTls": False}
    redpool.reload(**{change: other[change]})
    eventually(lambda: all(row["error"] for row in sentinels(redpool).values()), what="errors")
    assert client.command("GET", "k") == b"watched"
    redpool.reload(**{change: before})
    eventually(lambda: are_connected(redpool), 60, what="all Sentinels again")
    assert {row["id"] for row in redpool.show("UPSTREAMS")} == ours, "no upstream is touched"
