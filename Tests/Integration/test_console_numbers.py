"""What has been counted, as the console shows it: STATS, LATENCY, ERRORS, SLOWLOG."""

import json
import re
import subprocess
import time

import pytest

from harness.http import Http
from harness.ports import free_port
from harness.waiting import eventually
from harness.wire import Address, Connection, ErrorReply, encode

pytestmark = pytest.mark.daemon

COLUMNS = {
    "STATS": ["pool", "name", "total", "per_s"],
    "LATENCY": [
        "pool", "what", "since", "count", "p50_us", "p90_us", "p99_us", "p99.9_us", "max_us"],
    "ERRORS": ["pool", "kind", "word", "count", "first", "last", "text"],
    "SLOWLOG": [
        "time", "pool", "client", "name", "cmd", "others", "wait_ms", "upstream_ms", "reason"],
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def show(redpool, *words):
    with redpool.console() as console:
        return json.loads(console.command("SHOW", *words, "JSON"))


def stats(redpool, *words) -> dict:
    return {row["name"]: row["total"] for row in show(redpool, "STATS", *words)}


@pytest.mark.parametrize("table", COLUMNS)
def test_columns(launch, table):
    redpool = launch.redpool(launch.server(), console=True)
    for version in ("-2", "-3"):
        done = subprocess.run(
            ["redis-cli", version, "-s", redpool.admin.path, "SHOW", table],
            capture_output=True, text=True, timeout=60)
        assert done.stdout.splitlines()[0].split() == COLUMNS[table]
    for row in show(redpool, table):
        assert list(row) == COLUMNS[table]


def test_words_that_are_not_understood(launch):
    redpool = launch.redpool(launch.server(), console=True)
    with redpool.console() as console:
        for words in (["STATS", "none"], ["LATENCY", "none"], ["ERRORS", "none"], ["SLOWLOG", "x"],
                      ["SLOWLOG", "0"], ["STATS", "main", "x"]):
            assert isinstance(console.command("SHOW", *words), ErrorReply), words


def test_every_counter_of_the_metrics_is_in_the_table(launch):
    http = Http()
    redpool = launch.redpool(launch.server(), console=True, settings=http.settings)
    redpool.warm_up()
    rows = {(row["pool"], row["name"]): row["total"] for row in show(redpool, "STATS")}
    counters = set()
    for series, value in http.metrics().items():
        found = re.fullmatch(r"(?:redpool_)?(\w+)_total(?:\{(.*)\})?", series)
        if found:
            labels = dict(re.findall(r'(\w+)="([^"]*)"', found[2] or ""))
            pool = labels.pop("pool", None)
            name = ".".join([found[1], *labels.values()])
            counters.add((pool, name))
            assert rows.get((pool, name), 0) <= value, series
    # Of a pool without TLS, the table has zeros where the metrics have nothing.
    assert counters <= rows.keys()
    plain = {row for row in counters if not row[1].startswith("tls_")}
    assert plain == {row for row in rows if not row[1].startswith("tls_")}


def test_rejected_clients_are_counted_for_good(launch):
    """Also when a reload removes the pool, and when another one adds it again."""
    http, other = Http(), Address(host="127.0.0.1", port=free_port())
    server = launch.server()
    pools = {"other": {"listen": other.text, "upstream": server.tcp.text}}
    redpool = launch.redpool(
        server, console=True, pools=pools, settings=http.settings | {"maxClients": 1})

    def rejected():
        name = 'redpool_clients_rejected_total{pool="other",reason="max_clients"}'
        return http.metrics()[name]

    def reject():
        with Connection(other) as client:
            assert b"max number" in client.read_until_closed()

    with redpool.connect() as first:
        assert first.command("PING") == b"PONG"
        reject()
        assert rejected() == 1
        assert stats(redpool, "other")["clients_rejected.max_clients"] == 1
        removed = redpool.file["pools"].pop("other")
        redpool.reload()
        assert rejected() == 1
        redpool.file["pools"]["other"] = removed
        redpool.reload()
        reject()
        assert rejected() == 2


@pytest.mark.parametrize("threads", [1, 2])
def test_stats_and_latency(launch, threads):
    redpool = launch.redpool(launch.server(), console=True, settings={"threads": threads})
    before = stats(redpool)
    with redpool.connect() as client:
        for _ in range(10):
            client.command("SET", "k", "v")
        client.command("HGET", "k", "f")
        client.command("RESET")
        assert stats(redpool, "main").keys() < stats(redpool).keys()
        after = stats(redpool)
        assert after["commands.shared"] - before["commands.shared"] == 11
        assert after["commands.local"] - before["commands.local"] == 1
        assert after["error_replies.WRONGTYPE"] == 1 and after["clients_accepted"] == 1
        assert all(after[name] >= total for name, total in before.items())
        rows = {(row["what"], row["since"]): row for row in show(redpool, "LATENCY", "main")}
        assert len(rows) == 6
        upstream = rows["upstream", "start"]
        assert upstream["count"] == 11
        assert 0 < upstream["p50_us"] <= upstream["p99_us"] <= upstream["max_us"]
        assert rows["dial", "start"]["count"] >= 1
        assert rows["wait", "start"]["count"] >= 1
        # The first sample is from the start.
        eventually(lambda: {row["name"]: row["per_s"] for row in show(redpool, "STATS")}[
            "clients_accepted"] is not None, what="numbers per second")


def test_errors(launch):
    server = launch.server()
    redpool = launch.redpool(server, console=True, pool={"denyCommands": ["flushall"]})
    began = time.time()
    with redpool.connect() as client:
        for _ in range(3):
            assert b"refused by Redpool" in client.command("FLUSHALL")
        client.command("NOSUCH", "secret-argument")
        server.stop()
        eventually(lambda: b"UPSTREAMDOWN" in client.command("PING"), what="the outage")
    rows = {(row["kind"], row["word"]): row for row in show(redpool, "ERRORS")}
    denied = rows["refused", "denied"]
    assert denied["count"] == 3 and "'flushall' is refused by Redpool" in denied["text"]
    assert denied["first"] <= denied["last"] and TIME.fullmatch(denied["first"])
    first = time.strptime(denied["first"][:19], "%Y-%m-%dT%H:%M:%S")
    assert abs(began - (time.mktime(first) - time.timezone)) < 60
    assert "Connection refused" in rows["dial", "connect_failed"]["text"]
    assert rows["refused", "upstream_down"]["count"] >= 1
    assert rows["upstream", "upstream_closed"]["text"] == "the server closed the connection"
    assert rows["reply", "ERR"]["text"] is None
    times = [row["last"] for row in show(redpool, "ERRORS", "main")]
    assert times == sorted(times, reverse=True)
    assert "secret" not in json.dumps(show(redpool, "ERRORS"))


@pytest.mark.parametrize("threads", [1, 2])
def test_slow_commands(launch, threads):
    redpool = launch.redpool(
        launch.server(), console=True, settings={"threads": threads},
        pool={"slowLog": "50ms", "maxOpen": 2, "maxPinned": 1, "poolTimeout": "200ms"})
    with redpool.connect() as slow, redpool.connect() as blocked, redpool.connect() as waiting:
        slow.command("CLIENT", "SETNAME", "app")
        number = slow.command("CLIENT", "ID")
        slow.command("EVAL", "local t = 0 for i = 1, 3e7 do t = t + i end return t", "1", "secret")
        blocked.send(encode("BLPOP", "secret-list", "0"))
        eventually(
            lambda: any(row["state"] == "blocked" for row in show(redpool, "CLIENTS")),
            what="a blocked client")
        assert b"PINLIMIT" in waiting.command("BLPOP", "secret-list", "0")
        rows = show(redpool, "SLOWLOG")
        script = next(row for row in rows if row["cmd"] == "eval")
        assert script["upstream_ms"] >= 50 and script["reason"] is None
        assert (script["client"], script["name"], script["pool"]) == (number, "app", "main")
        refused = next(row for row in rows if row["reason"] == "pin_limit")
        assert refused["cmd"] == "blpop" and refused["wait_ms"] >= 200
        assert refused["upstream_ms"] is None and TIME.fullmatch(refused["time"])
        assert [row["time"] for row in rows] == sorted((r["time"] for r in rows), reverse=True)
        assert len(show(redpool, "SLOWLOG", "1")) == 1
        assert "secret" not in json.dumps(rows)
