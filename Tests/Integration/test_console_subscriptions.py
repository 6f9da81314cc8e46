"""What operators see of subscriptions that clients share: the console, metrics, the log, and
`redpool check --online`."""

import json
import re

import pytest

from harness.daemon import run_cli, yaml
from harness.http import Http
from harness.ports import free_port
from harness.waiting import eventually
from harness.wire import Closed, ErrorReply, encode

pytestmark = pytest.mark.daemon

COLUMNS = ["pool", "worker", "user", "kind", "name", "listeners", "messages"]
SHARED = {"pubsub": "shared"}


def show(redpool, *words) -> list:
    with redpool.console() as console:
        return json.loads(console.command("SHOW", *words, "JSON"))


def names(redpool, *words) -> list:
    return [(row["name"], row["kind"], row["listeners"], row["messages"])
            for row in show(redpool, "SUBSCRIPTIONS", *words)]


def subscribed(redpool, *commands):
    """A client whose commands of the SUBSCRIBE family are confirmed."""
    client = redpool.connect()
    for command in commands:
        client.send(encode(*command))
        for _ in command[1:]:
            assert client.read()[0] == command[0].lower().encode()
    return client


def events(redpool, name) -> list:
    return [line for line in redpool.log().splitlines() if f"event={name} " in line]


# --- the console


def test_names_with_most_listeners_come_first(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool=SHARED, console=True, settings={"threads": 1})
    assert show(redpool, "SUBSCRIPTIONS") == []
    crowd = [subscribed(redpool, ("SUBSCRIBE", "news", "b")) for _ in range(3)]
    crowd.append(subscribed(redpool, ("SUBSCRIBE", "news", "a"), ("PSUBSCRIBE", "n*")))
    with redpool.connect() as publisher:
        for _ in range(2):
            publisher.command("PUBLISH", "news", "hello")
    for client in crowd:
        assert client.read()[2] == b"hello" and client.read()[-1] == b"hello"
    row = show(redpool, "SUBSCRIPTIONS")[0]
    assert list(row) == COLUMNS
    assert row == {"pool": "main", "worker": 0, "user": "default", "kind": "channel",
                   "name": "news", "listeners": 4, "messages": 2}
    every = [("news", "channel", 4, 2), ("b", "channel", 3, 0), ("a", "channel", 1, 0),
             ("n*", "pattern", 1, 2)]
    assert names(redpool) == names(redpool, "main") == every
    assert names(redpool, "LIMIT", "2") == names(redpool, "main", "LIMIT", "2") == every[:2]
    for client in crowd:
        client.close()
    eventually(lambda: show(redpool, "SUBSCRIPTIONS") == [], what="the end of all subscriptions")


def test_columns_and_words_that_are_not_understood(launch):
    redpool = launch.redpool(launch.server(), pool=SHARED, console=True)
    with redpool.console() as console:
        head = console.command("SHOW", "SUBSCRIPTIONS")[0].decode()
        assert head.split() == COLUMNS
        for words in (["none"], ["LIMIT"], ["LIMIT", "0"], ["LIMIT", "x"], ["main", "x"],
                      ["main", "BY", "1"]):
            assert isinstance(console.command("SHOW", "SUBSCRIPTIONS", *words), ErrorReply), words


def test_a_hub_among_upstreams_and_clients(launch):
    redpool = launch.redpool(launch.server(), pool=SHARED, console=True, settings={"threads": 1})
    with subscribed(redpool, ("SUBSCRIBE", "a")), subscribed(redpool, ("SUBSCRIBE", "b")):
        hub, = (row for row in show(redpool, "UPSTREAMS") if row["state"] == "hub")
        assert hub["resp"] == 3 and hub["client"] is None
        clients = show(redpool, "CLIENTS")
        assert [(row["state"], row["reason"], row["upstream"]) for row in clients] == [
            ("idle", "subscribe", hub["id"])] * 2
        assert show(redpool, "POOLS")[0]["pinned"] == 1
        with redpool.console() as console:
            assert console.command("PAUSE", "main") == b"OK 1 upstream held: 1 subscribed"
            assert console.command("RESUME", "main") == b"OK"


def test_many_names_are_told_in_slices(launch):
    """While 20,000 names are told, commands of clients are answered."""
    redpool = launch.redpool(launch.server(), pool=SHARED, console=True, settings={"threads": 1})
    wanted = [f"name:{index:05}" for index in range(20_000)]
    with subscribed(redpool, ("SUBSCRIBE", *wanted)), redpool.connect() as other, \
            redpool.console() as console:
        console.send(encode("SHOW", "SUBSCRIPTIONS", "JSON"))
        answered = 0
        while not console.is_answered():
            assert other.command("PING") == b"PONG"
            answered += 1
        assert answered > 0
        assert [row["name"] for row in json.loads(console.read())] == wanted
        assert len(names(redpool, "LIMIT", "7")) == 7


# --- metrics


def test_metrics(launch):
    http = Http()
    plain = {"listen": f"127.0.0.1:{free_port()}", "upstream": f"127.0.0.1:{free_port()}"}
    redpool = launch.redpool(
        launch.server(), pool=SHARED, pools={"plain": plain}, console=True,
        settings=http.settings | {"threads": 1})
    with subscribed(redpool, ("SUBSCRIBE", "a", "b"), ("PSUBSCRIBE", "x*")) as one, \
            subscribed(redpool, ("SUBSCRIBE", "a")) as two, redpool.connect() as publisher:
        publisher.command("PUBLISH", "a", "hello")
        assert one.read()[2] == two.read()[2] == b"hello"
        seen = {series.removeprefix("redpool_pubsub_"): value
                for series, value in http.metrics().items() if "pubsub" in series}
        main = '{pool="main"}'
        assert seen == {
            f"hubs{main}": 1, f"listeners{main}": 2, f"client_subscriptions{main}": 4,
            'subscriptions{pool="main",kind="channel"}': 2,
            'subscriptions{pool="main",kind="pattern"}': 1,
            'subscriptions{pool="main",kind="shard"}': 0,
            f"messages_total{main}": 1, f"deliveries_total{main}": 2,
            f"delivery_backlog_bytes{main}": 0, f"hub_losses_total{main}": 0,
            f"gap_seconds_total{main}": 0}
        stats = {(row["pool"], row["name"]): row["total"] for row in show(redpool, "STATS")}
        assert stats["main", "pubsub_deliveries"] == 2
        assert ("plain", "pubsub_deliveries") not in stats


# --- the log


@pytest.mark.parametrize("is_warm", [False, True], ids=["first", "warm"])
def test_server_without_resp3(launch, is_warm):
    """Each subscriber has an upstream of its own there, and that is said once."""
    server = launch.server("--rename-command", "HELLO", "")
    redpool = launch.redpool(server, pool=SHARED | {"minIdle": int(is_warm)}, console=True)
    if is_warm:
        redpool.warm_up()
    with redpool.connect() as one, redpool.connect() as two, redpool.connect() as publisher:
        one.send(encode("SUBSCRIBE", "a") + encode("SUBSCRIBE", "b", "c") + encode("PING"))
        assert [one.read()[1:] for _ in range(4)] == [
            [b"a", 1], [b"b", 2], [b"c", 3], [b""]]
        assert two.command("PSUBSCRIBE", "*")[2] == 1
        assert publisher.command("PUBLISH", "c", "x") == 2
        assert one.read() == [b"message", b"c", b"x"]
        assert two.read() == [b"pmessage", b"*", b"c", b"x"]
        states = [row["state"] for row in show(redpool, "UPSTREAMS")]
        assert states.count("pinned") == 2 and "hub" not in states
        assert show(redpool, "SUBSCRIPTIONS") == []
    assert len(events(redpool, "pubsub.pinned")) == 1


def test_user_without_resp3_keeps_its_login(launch):
    server = launch.server(
        "--rename-command", "HELLO", "", "--user", "app", "on", ">pw", "~*", "&*", "+@all")
    redpool = launch.redpool(server, pool=SHARED, console=True)
    with redpool.connect() as one, redpool.connect() as two:
        assert one.command("AUTH", "app", "pw") == two.command("AUTH", "app", "pw") == b"OK"
        assert two.command("PING") == b"PONG"
        assert one.command("SUBSCRIBE", "a")[2] == 1
        assert two.command("GET", "k") is None
        assert two.command("SUBSCRIBE", "a")[2] == 1
    assert "user_refused" not in redpool.log()


def test_user_that_is_gone(launch):
    """Its clients are closed, as they are when they want an upstream of their own."""
    server = launch.server("--user", "app", "on", ">pw", "~*", "&*", "+@all")
    redpool = launch.redpool(server, pool=SHARED, console=True)
    with redpool.connect() as one, redpool.connect() as two, redpool.connect() as other:
        for client in (one, two):
            assert client.command("AUTH", "app", "pw") == b"OK"
            assert client.command("PING") == b"PONG"
        assert server.connect().command("ACL", "DELUSER", "app") == 1
        for client in (one, two):
            with pytest.raises(Closed):
                client.command("SUBSCRIBE", "a")
        assert other.command("SUBSCRIBE", "a")[2] == 1
    reasons = {row["word"]: row["count"] for row in show(redpool, "ERRORS")
               if row["kind"] == "client"}
    assert reasons["user_refused"] == 2


def test_silence_holds_for_a_command_that_is_planned_again(launch):
    redpool = launch.redpool(launch.server("--rename-command", "HELLO", ""), pool=SHARED)
    with redpool.connect() as client:
        client.send(encode("CLIENT", "REPLY", "SKIP") + encode("SUBSCRIBE", "a") + encode("PING"))
        # As on a direct connection: SKIP does not hide confirmations.
        assert client.read()[:2] == [b"subscribe", b"a"]
        assert client.read() == [b"pong", b""]


def test_clients_that_are_closed_with_their_hub(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool=SHARED, console=True, settings={"threads": 1})
    crowd = [subscribed(redpool, ("SUBSCRIBE", "a")) for _ in range(3)]
    hub = next(row["id"] for row in show(redpool, "UPSTREAMS") if row["state"] == "hub")
    with redpool.console() as console:
        assert console.command("KILL", "UPSTREAM", hub).startswith(b"OK")
    for client in crowd:
        with pytest.raises(Closed):
            client.read()
    eventually(lambda: events(redpool, "pubsub.lost"), what="the line")
    line, = events(redpool, "pubsub.lost")
    assert "clients=3" in line and "reason=killed" in line and "pool=main" in line


def test_reconnect_is_a_loss(launch):
    redpool = launch.redpool(launch.server(), pool=SHARED, console=True, settings={"threads": 1})
    with subscribed(redpool, ("SUBSCRIBE", "a")) as client:
        with redpool.console() as console:
            assert console.command("RECONNECT", "main").startswith(b"OK")
        with pytest.raises(Closed):
            client.read()
    eventually(lambda: events(redpool, "pubsub.lost"), what="the line")
    assert "reason=reconnect" in events(redpool, "pubsub.lost")[0]


def test_pause_with_close(launch):
    """Nobody stays on the server, and a transaction of a listener goes on to its end."""
    redpool = launch.redpool(launch.server(), pool=SHARED, console=True, settings={"threads": 1})
    with subscribed(redpool, ("SUBSCRIBE", "a")) as client, redpool.connect() as three, \
            redpool.console() as console:
        three.command("HELLO", "3")
        assert three.command("SUBSCRIBE", "b")[2] == 1
        assert three.command("MULTI") == b"OK" and three.command("SET", "k", "v") == b"QUEUED"
        console.send(encode("PAUSE", "main", "MAX", "30s", "CLOSE"))
        with pytest.raises(Closed):
            client.read()
        assert three.command("EXEC") == [b"OK"]
        with pytest.raises(Closed):
            three.read()
        assert console.read() == b"OK"
        assert show(redpool, "SUBSCRIPTIONS") == []
        assert console.command("RESUME", "main") == b"OK"
    reasons = {row["word"]: row["count"] for row in show(redpool, "ERRORS")}
    assert reasons["paused"] >= 2


def test_clients_that_are_kept(launch):
    http = Http()
    server = launch.server()
    redpool = launch.redpool(
        server, pool=SHARED | {"pubsubLoss": "resubscribe"}, console=True,
        settings=http.settings | {"threads": 1})
    crowd = [subscribed(redpool, ("SUBSCRIBE", "a", "b")) for _ in range(3)]
    server.connect().command("CLIENT", "KILL", "TYPE", "pubsub")
    eventually(lambda: events(redpool, "pubsub.gap"), what="the line")
    line, = events(redpool, "pubsub.gap")
    assert "clients=3" in line and "channels=2" in line and re.search(r"gap_ms=\d+", line)
    with redpool.connect() as publisher:
        publisher.command("PUBLISH", "b", "again")
    assert [client.read()[2] for client in crowd] == [b"again"] * 3
    seen = http.metrics()
    assert seen['redpool_pubsub_hub_losses_total{pool="main"}'] == 1
    assert seen['redpool_pubsub_gap_seconds_total{pool="main"}'] > 0
    assert not events(redpool, "pubsub.lost")


# --- redpool check --online


def online(folder, server, **keys):
    """What is said of the pool, without what is said of every pool."""
    path = folder / "online.yaml"
    pool = {"listen": f"127.0.0.1:{free_port()}", "upstream": server.unix.text,
            "connectTimeout": "10s"} | keys
    path.write_text(yaml({"pools": {"main": pool}}))
    done = run_cli("check", "--online", path)
    assert done.returncode == 0, done
    return [line for line in done.stderr.splitlines()[:-1]
            if ", connected and logged in in " not in line
            and " fits the server's maxclients " not in line]


@pytest.mark.parametrize("limit, is_low", [
    ("32mb 8mb 60", True), ("256mb 8mb 60", True), ("63mb 0 0", True), ("256mb 64mb 60", False),
    ("64mb 0 0", False), ("0 0 0", False)])
def test_output_limit_of_the_server(launch, tmp_path, limit, is_low):
    server = launch.server("--client-output-buffer-limit", "pubsub", *limit.split())
    lines = online(tmp_path, server, **SHARED)
    assert len(lines) == is_low, lines
    assert online(tmp_path, server) == []
    if is_low:
        assert lines[0].startswith(
            "pool main: warning: the server's client-output-buffer-limit for pubsub (")


def test_output_limit_that_cannot_be_read(launch, tmp_path):
    server = launch.server("--user", "app", "on", ">secret", "~*", "+@all", "-config")
    (tmp_path / "pw").write_text("secret")
    (tmp_path / "pw").chmod(0o600)
    login = {"username": "app", "passwordFile": "pw"}
    assert online(tmp_path, server, **login, **SHARED)[-1] == (
        "pool main: the server does not say its client-output-buffer-limit: the user may not "
        "CONFIG GET; pubsub: shared needs 64mb or more for the class pubsub")


def test_server_without_hello(launch, tmp_path):
    server = launch.server("--rename-command", "HELLO", "")
    line, = online(tmp_path, server, **SHARED)
    assert line == (
        "pool main: the server has no HELLO, so no RESP3: pubsub: shared has no effect, and each "
        "client that subscribes gets an upstream of its own")
