"""Clients of every kind vanish, stall and flood; nobody else loses anything, or waits for long.

    riot.py [--minutes M] [--server PATH] [--threads N] [--seed S]

One Redpool with three pools: `main`; `locked`, whose server wants a password; and `shaky`, whose
server is frozen, restarted, killed and cuts its connections now and then. Parties, each a process:

  workmen   witnesses who stay, and passers-by; each reply is compared and has a deadline
  queues    consumers and ghosts with a ledger: no element is lost, doubled, or goes to a ghost
  rioters   everything that a client can do to others

Exit code 1 with the findings if a reply was wrong or late, an element lost, an upstream one too
many, memory above the manual's sum, or if after all have left a pin, a descriptor, a client or
memory is still taken. Trouble of the `shaky` server excuses what is lost in flight there, and what
is late there, nothing else. The last line has the numbers.
"""

import argparse
import contextlib
import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import servers  # noqa: E402
from harness.daemon import Redpool  # noqa: E402
from harness.ports import free_port  # noqa: E402
from harness.server import RedisServer  # noqa: E402
from harness.waiting import comes, eventually  # noqa: E402
from harness.wire import Address, Connection, ErrorReply, encode  # noqa: E402
from queues import Keeper  # noqa: E402
from riot_ground import (  # noqa: E402
    BIG, COUNTED, POOL_TIMEOUT, TRANSACTION_TIMEOUT, UPLOAD_TIMEOUT, Party, Place, Tally, Trouble,
)
from riot_watch import Gauge, Spoiler  # noqa: E402
from rioters import THREADS, Rioter  # noqa: E402
from test_strangers import LOGIN, PASSWORD  # noqa: E402
from workmen import Crew, Passer  # noqa: E402
from world import PROMPT, prepare  # noqa: E402

MB = 1 << 20
MAX_OPEN = {"main": 40, "locked": 24, "shaky": 24}
MAX_CLIENTS, TOTAL_OUTPUT = 1000, 64
# What malloc keeps of small pieces once all is over.
KEPT = 24 * MB
POOL = {
    "poolTimeout": f"{POOL_TIMEOUT:.0f}s", "minIdle": 1,
    "transactionTimeout": f"{TRANSACTION_TIMEOUT:.0f}s",
    # Upstreams come and go all the time, and all but one of them once it is over.
    "idleTimeout": "5s", "maxLifetime": "30s", "pingInterval": "2s",
}
EVERY = 10.0


class Ground:
    """The servers, the daemon between, and what is found out about them."""

    def __init__(self, chosen):
        self._started = contextlib.ExitStack()
        self.kind = servers.ask(chosen.server)
        binary = self.kind.path
        # What a server has acknowledged is there after a crash of its process.
        lasting = ("--appendonly", "yes", "--appendfsync", "no")
        self.servers = {
            "main": self._keep(RedisServer(*PROMPT, binary=binary)),
            "locked": self._keep(RedisServer(*PROMPT, binary=binary, password=PASSWORD)),
            "shaky": self._keep(RedisServer(*PROMPT, *lasting, binary=binary)),
        }
        for server in self.servers.values():
            prepare(server)
            server.command("SET", BIG, b"x" * MB)
            server.command("XGROUP", "CREATE", "riot:x", "g", "$", "MKSTREAM")
        self._started.callback(lambda: self.redpool.close())
        self.places = self._start(chosen.threads)
        self.base = self.redpool.fds(), self.redpool.rss()

    def _start(self, threads) -> list:
        folder = self.servers["main"].folder
        addresses = {
            name: (Address(host="127.0.0.1", port=free_port()), Address(path=f"{folder}/{name}"))
            for name in MAX_OPEN
        }
        pools = {
            name: POOL | {
                "listen": [address.text for address in addresses[name]],
                "upstream": self.servers[name].tcp.text, "maxOpen": most,
            }
            for name, most in MAX_OPEN.items()
        }
        settings = {
            "threads": threads, "maxClients": MAX_CLIENTS, "totalOutputLimit": f"{TOTAL_OUTPUT}mb",
            "log": {"stats": "1s"},
        }
        self.redpool = Redpool(
            self.servers["main"], pool=pools["main"], pools=pools, settings=settings)
        return [
            Place(name, addresses[name], LOGIN if name == "locked" else (), Trouble())
            for name in MAX_OPEN
        ]

    def splits(self) -> bool:
        """Whether the server writes the line ends of a script's error as they are: then attackers'
        scripts bring replies out of step, on connections of their own."""
        with self.servers["main"].connect() as client:
            client.command("EVAL", "error('x\\r\\n:1\\r\\n-')", "0")
            return client.command("PING") != b"PONG"

    def _keep(self, made):
        self._started.callback(made.close)
        return made

    def close(self):
        self._started.close()

    def is_alive(self) -> bool:
        return self.redpool.process.poll() is None

    def events(self) -> dict:
        """How often each event but the regular ones stands in the log, by pool and reason."""
        found = {}
        for line in self.redpool.log().splitlines():
            fields = dict(re.findall(r"\b(event|pool|reason|count)=(\S+)", line))
            name = ":".join(fields[key] for key in ("event", "pool", "reason") if key in fields)
            if fields.get("event") not in (None, "pool.statistics", "ready"):
                found[name] = found.get(name, 0) + int(fields.get("count", 1))
        return found

    def statistics(self) -> dict:
        """The latest line of each pool."""
        lines = [line for line in self.redpool.log().splitlines() if "pool.statistics" in line]
        rows = [dict(re.findall(r"(\w+)=(\S+)", line)) for line in lines[-2 * len(MAX_OPEN):]]
        return {row["pool"]: row for row in rows}

    def bound(self) -> int:
        """The most memory by docs/operations.md. Commands that are not written or not answered take
        5 MB only where the server stops; so many clients wait as in twice the worst second."""
        waiting, numbers = {}, r"^ts=(\S+)\.\d+Z .*event=pool\.statistics .* waiting=(\d+)"
        for second, count in re.findall(numbers, self.redpool.log(), re.M):
            waiting[second] = waiting.get(second, 0) + int(count)
        most = max(waiting.values(), default=0)
        upstreams = sum(MAX_OPEN.values()) + 5 * MAX_OPEN["shaky"]
        return MB * (10 + 1 + TOTAL_OUTPUT + 2 * most // 4 + upstreams)

    def is_deserted(self) -> bool:
        """No client, pin or wait is left, no upstream but what the pools keep, and no state."""
        numbers = self.statistics()
        for name, server in self.servers.items():
            row, rows = numbers[name], server.upstreams()
            if any(row[key] != "0" for key in ("clients", "shared", "pinned", "waiting")):
                return False
            if int(row["opened"]) - int(row["closed"]) != int(row["open"].split("/")[0]):
                return False
            if len(rows) > 4 or any(
                (one["flags"], one["multi"], one["sub"], one["psub"]) != ("N", "-1", "0", "0")
                for one in rows
            ):
                return False
        fds, rss = self.base
        return self.redpool.fds() <= fds + 12 and self.redpool.rss() < rss + KEPT


def parties_of(ground, seed) -> list:
    """All of them, each with what it is made of."""
    made = []
    for place in ground.places:
        server = ground.servers[place.name]
        count = 3 if place.name == "main" else 2
        made += [
            Party(f"workmen of {place.name}", lambda tally, place=place, count=count: [
                Crew(place, 4 * count, seed, tally),
                *(Passer(place, number, seed, tally) for number in range(count)),
            ]),
            Party(f"queues of {place.name}", lambda tally, place=place, server=server, n=count: [
                Keeper(place, server, number, seed, tally) for number in range(n)
            ]),
        ]
    # Twice as many at the open pool.
    places = [ground.places[0], *ground.places]
    return made + [
        Party(f"rioters {half}", lambda tally, half=half: [
            Rioter(places, half * THREADS + number, seed, tally) for number in range(THREADS)
        ])
        for half in range(2)
    ]


def watch(ground, chosen, parties) -> list:
    """Until the time is over, or something is found; tells how it goes."""
    ends, before, found = time.monotonic() + chosen.minutes * 60, {}, []
    stop = (lambda: not ground.is_alive() or not all(party.is_alive for party in parties))
    while (left := ends - time.monotonic()) > 0 and not found:
        comes(stop, min(left, EVERY), interval=0.2)
        found = [f"{party.name}: {text}" for party in parties for text in party.tally.findings()]
        found += [f"{party.name} have ended" for party in parties if not party.is_alive]
        if not ground.is_alive():
            found.append(f"the daemon ended with {ground.redpool.process.returncode}")
            break
        found += [row for place in ground.places for row in forgotten(place, UPLOAD_TIMEOUT + 40)]
        if ground.redpool.peak_rss() > ground.bound():
            found.append(f"memory: {ground.redpool.peak_rss() >> 20} MB of {ground.bound() >> 20}")
        now = numbers_of(parties)
        counts = {name: now[name] - before.get(name, 0) for name in COUNTED}
        before = now
        upstreams = "/".join(row["open"] for row in ground.statistics().values())
        now_mb, peak_mb = ground.redpool.rss() >> 20, ground.redpool.peak_rss() >> 20
        print(
            f"{max(ends - time.monotonic(), 0):5.0f} s left: {counts}, {upstreams} upstreams,"
            f" {now_mb} MB, peak {peak_mb} MB", flush=True,
        )
        if left > EVERY and not all(counts[name] for name in ("steps", "lives", "attacks")):
            found.append(f"nobody gets on: {counts}")
    return found


def forgotten(place, silent) -> list:
    """Clients who have said nothing for longer than anybody does here: nobody has them any more."""
    if place.trouble.touches(time.monotonic()):
        return []
    with Connection(place.addresses[0], 30) as client:
        if place.login:
            client.command(*place.login)
        rows = client.command("CLIENT", "LIST").decode().splitlines()
    idle = [(int(re.search(r" idle=(\d+)", row)[1]), row) for row in rows]
    return [f"forgotten at {place.name}: {row}" for seconds, row in idle if seconds > silent]


def numbers_of(parties) -> dict:
    return {name: sum(party.tally.numbers[name] for party in parties) for name in COUNTED}


def every_pin_is_free(place, most):
    """As many clients as there are pins hold one at once, in three ways."""
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(Connection(place.addresses[0], 25)) for _ in range(most)]
        for client in clients if place.login else ():
            assert client.command(*place.login) == b"OK"
        for start, end in ((("MULTI",), ("DISCARD",)), (("SUBSCRIBE", "c"), ("UNSUBSCRIBE",))):
            for client in clients:
                found = client.command(*start)
                assert found == b"OK" or found[0] == b"subscribe", (place.name, found)
            for client in clients:
                client.command(*end)
        for client in clients:
            client.send(encode("BLPOP", "none", "0.5"))
        assert [client.read() for client in clients] == [None] * most


def everything_works(place):
    """One life of each kind of a passer-by, and MONITOR."""
    Passer(place, "last", 0, Tally()).every_life()
    with Connection(place.addresses[1], 10) as client:
        for words in filter(None, (place.login, ("MONITOR",))):
            assert client.command(*words) == b"OK"
        with Connection(place.addresses[0], 10) as other:
            for words in filter(None, (place.login, ("ECHO", "the last word"))):
                assert not isinstance(other.command(*words), ErrorReply)
        eventually(lambda: b"the last word" in client.read(), 10, what="MONITOR's line")


def after_all_have_left(ground) -> list:
    """What is still taken, or does not work any more."""
    found = []
    for name, check in (
        ("something is left", lambda: eventually(ground.is_deserted, 60, 0.5)),
        *(
            (f"pins of {place.name} are lost",
             lambda place=place: every_pin_is_free(place, pins(MAX_OPEN[place.name])))
            for place in ground.places
        ),
        *(
            (f"{place.name} does not work", lambda place=place: everything_works(place))
            for place in ground.places
        ),
    ):
        try:
            check()
        except (AssertionError, OSError) as problem:
            found += [f"{name}: {problem!r}", f"statistics: {ground.statistics()}"]
            found += [row for place in ground.places for row in forgotten(place, 5)]
    return found + problems_in_logs(ground)


def pins(most) -> int:
    """`maxPinned` by default."""
    return most - max(2, most // 8)


def problems_in_logs(ground) -> list:
    found, events = [], ground.events()
    wrong = ("worker.failed", "loop.failed", "pool.down:main", "pool.down:locked")
    if not ground.splits():
        wrong += ("upstream.desync",)
    found += [f"{count} x {name}" for name, count in events.items() if name.startswith(wrong)]
    for name, server in ground.servers.items():
        # In a pipe RESET is the server's, and a large command behind it "unauthenticated".
        lines = [line for line in server.log().splitlines() if "(unauth" not in line]
        errors = [line for line in lines if "Protocol error" in line]
        found += [f"the server of {name}: {line[:700]}" for line in errors[:3]]
    if "Fatal" in ground.redpool.log():
        found.append("the daemon trapped")
    return found


def riot(ground, chosen) -> list:
    parties = parties_of(ground, chosen.seed)
    # Every thread begins behind the last fork.
    gauges = {name: Gauge(server) for name, server in ground.servers.items()}
    shaky = ground.places[2]
    spoiler = Spoiler(ground.servers["shaky"], shaky.trouble, chosen.seed)
    try:
        found = watch(ground, chosen, parties)
    finally:
        spoiler.leave()
        for party in reversed(parties):
            party.ask_to_leave()
        for party in reversed(parties):
            party.leave()
    found += [f"{party.name}: {text}" for party in parties for text in party.tally.findings()]
    for name, gauge in gauges.items():
        gauge.leave()
        if not 0 < gauge.peak <= MAX_OPEN[name]:
            found.append(f"{gauge.peak} upstreams of {name} in {gauge.samples} samples")
    if spoiler.failure:
        found.append(f"the spoiler: {spoiler.failure}")
    if ground.is_alive():
        found += after_all_have_left(ground)
    tell(ground, parties, gauges, spoiler)
    return found, numbers_of(parties)


def tell(ground, parties, gauges, spoiler):
    """What a reader of a long run wants to know."""
    slowest = {}
    for party in parties:
        for kind, seconds in party.tally.worst().items():
            slowest[kind] = max(slowest.get(kind, 0.0), seconds)
    ordered = sorted(slowest.items(), key=lambda pair: -pair[1])
    for name, gauge in gauges.items():
        waits = [f"{kind} {seconds:.2f} s" for (at, kind), seconds in ordered if at == name]
        print(
            f"{name}: {gauge.peak} of {MAX_OPEN[name]} upstreams at most; the server answered PING"
            f" in {gauge.slowest:.2f} s at most, the machine was late by {gauge.late:.2f} s;"
            f" longest waits: {', '.join(waits[:12])}"
        )
    print(f"events: {ground.events()}\ntroubles: {spoiler.done}")
    lost = [line for line in ground.redpool.log().splitlines() if "event=upstream.lost" in line]
    print("\n".join(line for line in lost if "pool=shaky" not in line))
    for name in ("main", "locked"):
        closed = ("Protocol error", "Closing", "scheduled to be closed")
        lines = ground.servers[name].log().splitlines()
        print("\n".join(line[:300] for line in lines if any(word in line for word in closed)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--server", default=servers.DEFAULT.path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    started, ground = time.monotonic(), Ground(chosen)
    try:
        found, counts = riot(ground, chosen)
        for finding in found[:20]:
            print(finding)
        counted = ", ".join(f"{count} {name}" for name, count in counts.items())
        print(
            f"riot at {ground.kind}, {chosen.threads} threads, seed {chosen.seed}:"
            f" {(time.monotonic() - started) / 60:.1f} min, {counted}; peak"
            f" {ground.redpool.peak_rss() // MB} MB of {ground.bound() // MB};"
            f" {len(found)} findings: {'FAILED' if found else 'passed'}", flush=True,
        )
    finally:
        ground.close()
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
