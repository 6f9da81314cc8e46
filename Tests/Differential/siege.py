"""Clients that verify each of their replies, while others attack with everything that is known.

    siege.py [--minutes M] [--server PATH] [--threads N] [--seed S] [--witnesses W]

One Redpool with two pools, one of them in front of a server with a password. Exit code 1 if a
witness was answered wrongly, closed or forgotten; if a pin or a state was left behind; if the
daemon ended; or if a reply came out of step other than by a script that makes replies up, on a
server that writes them as they are. The last line has the numbers.
"""

import argparse
import contextlib
import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from besiegers import Besiegers  # noqa: E402
from harness import servers  # noqa: E402
from harness.daemon import Redpool  # noqa: E402
from harness.ports import free_port  # noqa: E402
from harness.server import RedisServer  # noqa: E402
from harness.waiting import comes, eventually  # noqa: E402
from harness.wire import Address, Connection  # noqa: E402
from harness.witness import Witnesses  # noqa: E402
from test_strangers import LOGIN, PASSWORD  # noqa: E402
from world import PROMPT, prepare  # noqa: E402

MAX_PINNED = 48
POOL = {
    "maxOpen": 64, "maxPinned": MAX_PINNED, "minIdle": 1, "poolTimeout": "20s",
    # Upstreams come and go all the time, and all but one of them once it is over.
    "idleTimeout": "5s", "maxLifetime": "20s", "pingInterval": "2s",
}
EVERY = 10.0
# How a pin is taken and given back.
WAYS = [(("MULTI",), ("DISCARD",)), (("SUBSCRIBE", "c"), ("UNSUBSCRIBE",))]


def has_state(row) -> bool:
    """Whether this line of CLIENT LIST is of a connection that is not as it was when it was new."""
    state = row["flags"], row["multi"], row["sub"], row["psub"], row.get("watch", "0")
    return state != ("N", "-1", "0", "0", "0")


class Field:
    """The servers, the daemon between, and what is found out about them."""

    def __init__(self, chosen):
        self._started = contextlib.ExitStack()
        self.kind = servers.ask(chosen.server)
        self.open = self._keep(RedisServer(*PROMPT, binary=self.kind.path))
        self.locked = self._keep(RedisServer(*PROMPT, binary=self.kind.path, password=PASSWORD))
        for server in (self.open, self.locked):
            prepare(server)
        self.places = [None, Address(host="127.0.0.1", port=free_port())]
        second = POOL | {"listen": [self.places[1].text], "upstream": self.locked.tcp.text}
        self.redpool = Redpool(
            self.open, pool=POOL, pools={"locked": second}, settings={"threads": chosen.threads}
        )
        self._started.callback(self.redpool.close)
        self.places[0] = self.redpool.tcp
        self.splits = self._splits()

    def _keep(self, made):
        self._started.callback(made.close)
        return made

    def _splits(self) -> bool:
        """Whether the server writes the line ends of a script's error as they are."""
        with Connection(self.open.tcp) as client:
            client.command("EVAL", "error('x\\r\\n:1\\r\\n-')", "0")
            return client.command("PING") != b"PONG"

    def close(self):
        self._started.close()

    def desyncs(self) -> int:
        """Replies out of step that the log tells of; each line stands for `count` of them."""
        log = self.redpool.log().splitlines()
        lines = [line for line in log if "event=upstream.desync" in line]
        counts = [re.search(r"\bcount=(\d+)", line) for line in lines]
        return sum(int(found[1]) if found else 1 for found in counts)

    def protocol_errors(self) -> int:
        return sum(server.log().count("Protocol error") for server in (self.open, self.locked))

    def is_alive(self) -> bool:
        return self.redpool.process.poll() is None

    def is_deserted(self) -> bool:
        """No upstream is left but what the pools keep, and none with a state."""
        return not self.remains()

    def remains(self) -> list:
        """The upstreams of a server that has more than the pool keeps, and those with a state."""
        found = []
        for server in (self.open, self.locked):
            rows = server.upstreams()
            found += rows if len(rows) > 4 else filter(has_state, rows)
        return found

    def every_pin_is_free(self):
        """As many clients as there are pins hold one at once, in three ways."""
        for place, login in zip(self.places, (None, LOGIN)):
            with contextlib.ExitStack() as opened:
                clients = [opened.enter_context(Connection(place, 25)) for _ in range(MAX_PINNED)]
                for client in clients if login else ():
                    assert client.command(*login) == b"OK"
                for start, end in WAYS:
                    for client in clients:
                        found = client.command(*start)
                        assert found == b"OK" or found[0] == b"subscribe", found
                    for client in clients:
                        client.command(*end)
                for client in clients:
                    client.send(b"*3\r\n$5\r\nBLPOP\r\n$4\r\nnone\r\n$3\r\n0.5\r\n")
                for client in clients:
                    found = client.read()
                    assert found is None, found


def rage(field, chosen, crowds, besiegers):
    """Waits for the end of the time, or for the first failures, and tells how it goes."""
    ends, before = time.monotonic() + chosen.minutes * 60, [0] * len(crowds)

    def is_over():
        return any(crowd.failed() for crowd in crowds) or not field.is_alive()

    while (left := ends - time.monotonic()) > 0:
        if comes(is_over, min(left, EVERY), interval=0.2):
            return
        now = [crowd.total for crowd in crowds]
        print(
            f"{max(ends - time.monotonic(), 0):6.0f} s left: {sum(now)} steps,"
            f" {sum(besiegers.counts.values())} attacks, {field.redpool.rss() >> 20} MB,"
            f" {field.open.client_count()} upstreams", flush=True,
        )
        assert besiegers.alive(), "the attackers have ended"
        if left < EVERY:
            return
        stuck = [b for b, n in zip(before, now) if n == b]
        assert not stuck, "the witnesses do not get on"
        before = now


def problems_of(field, crowds, besiegers) -> list:
    """Everything that has to hold at the end and does not."""
    besiegers.leave()
    found = []
    for crowd in crowds:
        # Now undisturbed: a wrong reply that waits somewhere would come out.
        if not crowd.failed() and field.is_alive():
            with contextlib.suppress(AssertionError):
                crowd.go_on(50)
        found += crowd.finish()
    if not field.is_alive():
        return [*found, f"the daemon ended with {field.redpool.process.returncode}"]
    for name, check in (
        ("pins are lost", field.every_pin_is_free),
        ("something is left at the server", lambda: eventually(field.is_deserted, 60)),
    ):
        try:
            check()
        except (AssertionError, OSError) as problem:
            found.append(f"{name}: {problem}")
            found += field.remains()
    if (count := field.desyncs()) and not field.splits:
        found.append(f"{count} replies out of step")
    if count > besiegers.counts["split"] + besiegers.counts["hostile"]:
        found.append(f"{count} replies out of step: more than scripts that split")
    if errors := field.protocol_errors():
        found.append(f"a server saw {errors} protocol errors")
    if "Fatal" in field.redpool.log():
        found.append("the daemon trapped")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--server", default=servers.DEFAULT.path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--witnesses", type=int, default=20)
    chosen = parser.parse_args()
    started, field = time.monotonic(), Field(chosen)
    try:
        crowds = [
            Witnesses(field.places[0], chosen.witnesses, chosen.seed),
            Witnesses(field.places[1], chosen.witnesses // 2, chosen.seed, login=LOGIN[1:]),
        ]
        for crowd in crowds:
            crowd.__enter__()
        besiegers = Besiegers(field.places, chosen.seed)
        try:
            rage(field, chosen, crowds, besiegers)
        finally:
            problems = problems_of(field, crowds, besiegers)
        for problem in problems[:20]:
            print(problem)
        tail = [line for line in field.redpool.log().splitlines() if "event=ready" not in line][-5:]
        print("\n".join(tail))
        attacks = ", ".join(f"{count} {name}" for name, count in besiegers.counts.items())
        print(
            f"siege of {field.kind}, {chosen.threads} threads, seed {chosen.seed}:"
            f" {(time.monotonic() - started) / 60:.1f} min, {sum(c.total for c in crowds)} steps of"
            f" {chosen.witnesses + chosen.witnesses // 2} witnesses, longest wait"
            f" {max(c.worst for c in crowds):.2f} s, attacks: {attacks};"
            f" {field.desyncs()} desync, {len(problems)} problems:"
            f" {'FAILED' if problems else 'passed'}"
        )
    finally:
        field.close()
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
