"""The subcommands that talk to a daemon's console: what they send, print and exit with."""

import json
import os
import signal
import subprocess

import pytest

from harness.console import Console, bulk, table
from harness.daemon import BINARY, run_cli
from harness.ports import free_port
from harness.waiting import eventually

pytestmark = pytest.mark.daemon

PASSED_ON = [
    (["show", "pools"], ["SHOW", "pools"]),
    (["show", "clients", "main", "by", "wait", "limit", "3"],
     ["SHOW", "clients", "main", "by", "wait", "limit", "3"]),
    (["show", "pools", "--json"], ["SHOW", "pools", "JSON"]),
    (["show", "--json", "errors", "main"], ["SHOW", "errors", "main", "JSON"]),
    (["pause", "main"], ["PAUSE", "main"]),
    (["pause", "main", "max", "10s"], ["PAUSE", "main", "max", "10s"]),
    (["pause", "main", "max", "10s", "close"], ["PAUSE", "main", "max", "10s", "close"]),
    (["resume", "main"], ["RESUME", "main"]),
    (["reconnect", "main"], ["RECONNECT", "main"]),
    (["kill", "client", "12"], ["KILL", "client", "12"]),
    (["log", "level", "debug", "for", "10m"], ["LOG", "level", "debug", "for", "10m"]),
    (["reload"], ["RELOAD"]),
]


@pytest.mark.parametrize("arguments, words", PASSED_ON)
def test_what_is_sent(tmp_path, arguments, words):
    with Console(tmp_path / "admin.sock", lambda _: b"+OK\r\n") as console:
        done = run_cli(*arguments, "--socket", console.path)
    assert console.heard == [words]
    assert done.returncode == 0 and done.stdout == "OK\n" and not done.stderr


REPLIES = [
    (b"*2\r\n+pool  state\r\n+main  up\r\n", 0, "pool  state\nmain  up\n"),
    (b"=15\r\ntxt:pool\nmain\nx\r\n", 0, "pool\nmain\nx\n"),
    (bulk('[{"pool":"main"}]'), 0, '[{"pool":"main"}]\n'),
    (b"*0\r\n", 0, ""),
    (b"$-1\r\n", 0, ""),
    (b":12\r\n", 0, "12\n"),
    (b"+\x1b[31mred\r\n", 0, "?[31mred\n"),
    (b"-TIMEOUT pool main was not quiet in 30s\r\n", 1,
     "redpool: TIMEOUT pool main was not quiet in 30s\n"),
]


@pytest.mark.parametrize("reply, code, text", REPLIES)
def test_what_is_printed(tmp_path, reply, code, text):
    with Console(tmp_path / "admin.sock", lambda _: reply) as console:
        done = run_cli("show", "pools", "--socket", console.path)
    assert done.returncode == code
    assert (done.stderr if code else done.stdout) == text
    assert not (done.stdout if code else done.stderr)


def test_nobody_answers(tmp_path):
    path = tmp_path / "admin.sock"
    for arguments in (["show", "pools"], ["status"], ["reload"]):
        done = run_cli(*arguments, "--socket", path)
        assert done.returncode == 69 and done.stderr == (
            f"redpool: no daemon answers at {path}: No such file or directory\n"), done
    with Console(path, lambda _: None):
        done = run_cli("show", "pools", "--socket", path)
        assert done.returncode == 69 and "no answer in time" in done.stderr
    done = run_cli("show", "pools", "--socket", path)
    assert done.returncode == 69 and "Connection refused" in done.stderr


def test_daemon_that_ends_meanwhile(tmp_path):
    path = tmp_path / "admin.sock"
    with Console(path, lambda _: None) as console:
        process = subprocess.Popen(
            [BINARY, "pause", "main", "--socket", path], stderr=subprocess.PIPE, text=True)
        eventually(lambda: console.heard, what="the command")
    assert process.communicate(timeout=60)[1] == (
        f"redpool: no daemon answers at {path}: it has closed the connection\n")
    assert process.returncode == 69


def test_watch_goes_on(tmp_path):
    count = []

    def answer(_):
        count.append(1)
        return b"-ERR busy\r\n" if len(count) == 1 else b"+look %d\r\n" % len(count)

    with Console(tmp_path / "admin.sock", answer) as console:
        process = subprocess.Popen(
            [BINARY, "show", "pools", "--watch", "--socket", console.path],
            stdout=subprocess.PIPE, text=True)
        assert [process.stdout.readline() for _ in range(4)] == [
            "redpool: ERR busy\n", "\n", "look 2\n", "\n"]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == -signal.SIGINT
        process.stdout.close()


# --- status

POOL = {
    "pool": "main", "state": "up", "upstream": "10.0.0.5:6379", "clients": 148, "waiting": 0,
    "oldest_wait_ms": None, "in_flight": 3, "oldest_in_flight_ms": 1, "open": 5, "max_open": 32,
    "idle": 1, "shared": 4, "pinned": 1, "max_pinned": 28, "connecting": 0, "last_error": None,
    "last_error_s": None, "silent": None,
}
DOWN = POOL | {
    "pool": "cache", "state": "down", "clients": 1200, "waiting": 118, "oldest_wait_ms": 12345,
    "in_flight": 0, "open": 0, "pinned": 0, "last_error": "Connection refused", "last_error_s": 1}
TABLES = {
    "VERSION": [{"name": "version", "value": "0.9.0"}, {"name": "uptime_s", "value": "93784"},
                {"name": "draining", "value": "no"}],
    "POOLS": [POOL],
    "SENTINELS": [],
    "CLUSTERS": [],
    "LATENCY": [
        {"pool": "main", "what": what, "since": since, "count": 9, "p50_us": p50, "p90_us": 1,
         "p99_us": p99 if since == "minute" else 999}
        for since in ("minute", "start")
        for what, p50, p99 in (
            ("wait", 0, 12), ("upstream", 180, 1234), ("dial", None, 2345678))],
    "ERRORS": [],
    "CONFIG": [{"key": "threads", "value": "1", "pending": None}],
}


def status(tmp_path, **tables):
    """The exit code and the lines of the screen."""
    shown = TABLES | tables
    with Console(tmp_path / "admin.sock", lambda words: table(shown[words[1]])) as console:
        done = run_cli("status", "--socket", console.path)
    os.unlink(console.path)
    assert not done.stderr, done
    lines = done.stdout.splitlines()
    assert all(len(line) <= 80 and line == line.rstrip() for line in lines), lines
    return done.returncode, lines


def test_status_of_a_daemon_that_is_well(tmp_path):
    code, lines = status(tmp_path)
    assert code == 0 and lines == [
        "redpool 0.9.0, up 1 d 2 h, 1 pool, 148 clients",
        "Nothing is wrong.",
        "",
        "POOL STATE CLIENTS WAITING OLDEST IN FLIGHT OPEN PINNED",
        "main up        148       0      -         3 5/32   1/28",
        "",
        "LATENCY, 1 MIN WAIT p50  p99 UPSTREAM p50   p99 DIAL p50  p99",
        "main                0us 12us        180us 1.2ms        - 2.3s",
        "",
        "No errors.",
    ]


def test_status_says_first_what_is_wrong(tmp_path):
    errors = [
        {"pool": "cache", "kind": "refused", "word": f"reason_{n}", "count": n,
         "first": "2026-11-28T09:00:00.000Z", "last": f"2026-11-29T10:00:0{n}.123Z",
         "text": "POOLTIMEOUT pool cache: no free connection within 5s (32/32 in use, 118 waiting)"}
        for n in range(9)]
    ordinary = [
        {"pool": "main", "kind": kind, "word": word, "count": 3, "last": "-", "text": None}
        for kind, word in (("client", "client_closed"), ("upstream", "max_lifetime"))]
    errors = ordinary + errors
    code, lines = status(
        tmp_path, POOLS=[POOL, DOWN], ERRORS=errors,
        CONFIG=[{"key": "threads", "value": "1", "pending": "4"}],
        VERSION=TABLES["VERSION"] + [{"name": "last_reload", "value": "refused"}])
    assert code == 1 and lines[:6] == [
        "redpool 0.9.0, up 1 d 2 h, 2 pools, 1 not up, 1348 clients",
        "! cache is down: Connection refused",
        "! cache: 118 clients wait, the oldest for 12.3 s; 0/32 open, 0/28 pinned",
        "! the configuration was refused when it was last read: redpool check",
        "! threads: 4 is in the file, 1 in effect",
        "",
    ]
    assert lines[-6:-3] == [
        "ERRORS, UTC    POOL  COUNT KIND    WORD     TEXT",
        "11-29 10:00:00 cache     0 refused reason_0 no free connection within 5s (32/32~",
        "11-29 10:00:01 cache     1 refused reason_1 no free connection within 5s (32/32~"]


@pytest.mark.parametrize("state, code, words", [
    ("stalled", 1, "! main is stalled: 3 commands unanswered, the oldest for 5.2 s"),
    ("paused", 0, "! main is paused: 7 clients wait"),
    ("silent", 1, "! main: none of its workers answers"),
])
def test_status_of_other_states(tmp_path, state, code, words):
    pool = POOL | {"state": state, "waiting": 7, "oldest_in_flight_ms": 5234}
    found, lines = status(tmp_path, POOLS=[pool])
    assert found == code and lines[1] == words


SENTINEL = {
    "pool": "main", "sentinel": "10.0.0.1:26379", "state": "connected", "configured": "yes",
    "names": "10.0.0.6:6379", "epoch": 7, "heard_s": 1, "error": None, "primary": "10.0.0.6:6379",
    "failovers": 3, "last_failover": "10.0.0.5:6379 -> 10.0.0.6:6379", "last_failover_s": 3725,
    "last_failover_ms": 2163, "sign": "lost"}
GONE = {"state": "down", "names": None, "epoch": None, "error": "Connection refused"}
UNKNOWN = {"primary": None, "failovers": 0, "last_failover": None, "last_failover_s": None,
           "last_failover_ms": None, "sign": None}


def test_status_shows_the_primary_and_the_last_failover(tmp_path):
    rows = [SENTINEL, SENTINEL | {"sentinel": "10.0.0.2:26379"},
            SENTINEL | UNKNOWN | {"pool": "other", "primary": "10.0.0.9:6379",
                                  "names": "10.0.0.9:6379"}]
    code, lines = status(tmp_path, POOLS=[POOL, POOL | {"pool": "other"}], SENTINELS=rows)
    assert code == 0 and lines[1] == "Nothing is wrong."
    assert lines[6:10] == [
        "",
        "POOL  PRIMARY       SENTINELS FAILOVERS LAST, AGO IT TOOK FROM",
        "main  10.0.0.6:6379       2/2         3 1 h 2 min   2.1 s 10.0.0.5:6379",
        "other 10.0.0.9:6379       1/1         0         -       - -"]


@pytest.mark.parametrize("changes, code, words", [
    ([GONE, {}], 0, ["! main: Sentinel 10.0.0.1:26379 is down: Connection refused"]),
    ([GONE, GONE], 0, ["! main: no Sentinel can be asked: Connection refused"]),
    ([{"names": None, "error": "ERR No such master with that name"}, {}], 0,
     ["! main: Sentinel 10.0.0.1:26379 names no primary: ERR No such master with that ~"]),
    ([{"names": "10.0.0.5:6379", "epoch": 6}, {}], 0,
     ["! main: Sentinel 10.0.0.1:26379 names 10.0.0.5:6379"]),
    # Clients that hold upstreams of a former primary keep the pool up.
    ([GONE | UNKNOWN, GONE | UNKNOWN], 1, [
        "! main: no primary is known", "! main: no Sentinel can be asked: Connection refused"]),
])
def test_status_of_sentinels_that_are_not_well(tmp_path, changes, code, words):
    rows = [SENTINEL | {"sentinel": f"10.0.0.{number}:26379"} | change
            for number, change in enumerate(changes, 1)]
    found, lines = status(tmp_path, SENTINELS=rows)
    assert found == code and lines[1:1 + len(words) + 1] == [*words, ""], lines


def test_status_of_long_names(tmp_path):
    name = "a" * 32
    pool = POOL | {"pool": name, "clients": 1234567, "waiting": 1234567, "oldest_wait_ms": ">3600000",
                   "in_flight": 1234567, "open": 10000, "max_open": 10000, "pinned": 9999,
                   "max_pinned": 9999}
    code, lines = status(tmp_path, POOLS=[pool])
    assert code == 0 and "aaaa~" in lines[4]


def test_status_of_a_daemon_with_fewer_tables(tmp_path):
    def answer(words):
        has = words[1] in ("VERSION", "POOLS")
        return table(TABLES[words[1]]) if has else b"-ERR unknown command\r\n"

    with Console(tmp_path / "admin.sock", answer) as console:
        done = run_cli("status", "--socket", console.path)
    assert done.returncode == 0 and done.stdout.endswith("5/32   1/28\n"), done


def test_status_of_workers_and_a_daemon_that_end(tmp_path):
    draining = [{"name": "draining", "value": "yes"}]
    code, lines = status(tmp_path, VERSION=draining, POOLS=[POOL | {"silent": "1,3"}])
    assert code == 0 and lines[:3] == [
        "redpool -, 1 pool, 148 clients", "! the daemon is draining",
        "! main: worker 1,3 does not answer"]


@pytest.mark.parametrize("reply", [bulk("[{]"), b"+OK\r\n", bulk('[{"a":1}] x'), b"$-1\r\n"])
def test_status_that_is_not_understood(tmp_path, reply):
    with Console(tmp_path / "admin.sock", lambda _: reply) as console:
        done = run_cli("status", "--socket", console.path)
    assert done.returncode == 1 and done.stderr == (
        "redpool: the answer to SHOW VERSION is no table\n"), done


def test_json_of_every_shape_is_read(tmp_path):
    text = ('[ {"name" : "version", "value":"\\u00e9\\ud83d\\"\\\\\\t" } ,\n'
            '{"a":-1.5e+3,"b":true}, {"name":"uptime_s", "value": null}, {} ]')

    def answer(words):
        return bulk(text) if words[1] == "VERSION" else table(TABLES[words[1]])

    with Console(tmp_path / "admin.sock", answer) as console:
        done = run_cli("status", "--socket", console.path)
    assert done.returncode == 0 and done.stdout.startswith('redpool é?"\\\t, up -, 1 pool'), done


# --- with a daemon


def test_real_console(launch):
    server = launch.server()
    dead = {"listen": f"127.0.0.1:{free_port()}", "upstream": f"127.0.0.1:{free_port()}"}
    redpool = launch.redpool(server, pools={"dead": dead}, console=True)

    def asked(*words):
        return run_cli(*words, "--socket", redpool.admin.path)

    rows = json.loads(asked("show", "pools", "--json").stdout)
    assert [row["pool"] for row in rows] == ["main", "dead"]
    table = asked("show", "pools").stdout.splitlines()
    assert table[0].split() == list(rows[0]) and len(table) == 3
    done = asked("log", "level", "debug", "for", "1s")
    assert done.returncode == 0 and done.stdout == "OK\n"
    wrong = asked("show", "nothing")
    assert wrong.returncode == 1 and wrong.stderr.startswith("redpool: ERR "), wrong
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        screen = eventually(
            lambda: "! dead is down: Connection refused" in (s := asked("status")).stdout and s,
            what="a pool that is down")
        lines = screen.stdout.splitlines()
        assert screen.returncode == 1 and lines[0].endswith("2 pools, 1 not up, 1 client"), screen
        assert max(map(len, lines)) <= 80
    assert redpool.stop() == 0
    assert asked("status").returncode == 69
