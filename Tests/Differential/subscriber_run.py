"""Random sequences of several subscribers, each beside a twin on a direct connection.

    subscriber_run.py [--seed N] [--count M] [--mode pinned|shared] [--threads T] [--late]
                      [--server PATH]

One client at a time sends something; when it is answered on both sides, the next one does. So
the server carries everything out in the same order on both sides, and each client's stream has to
be its twin's. With `--late`, what the server sends arrives unlike late on each of Redpool's
connections: a hub is read late while a publisher is answered at once.

A failure prints its seed and the shortest sequence found that still fails.
"""

import argparse
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import frames  # noqa: E402
from documented_subscriptions import apart, errors_apart, settled, unordered  # noqa: E402
from harness import servers  # noqa: E402
from harness.laggard import Laggard  # noqa: E402
from harness.waiting import eventually  # noqa: E402
from harness.wire import encode  # noqa: E402
from play import GOODBYE, words  # noqa: E402
from random_run import shrink  # noqa: E402
from world import World  # noqa: E402

TIMEOUT = 8.0
TOKEN = b"the-direct-twin-is-done"
MOST_FAILURES = 5

# No channel matches two of the patterns: the order of patterns hangs on the server's seed.
CHANNELS = ["a", "b", "c", "d", "redpool:fence"]
PATTERNS = ["a*", "[bc]", "redpool:*", "x?", "a*"]
SHARDS = ["a", "b", "redpool:fence"]

# The server's reply to it is none of a hub's, unlike the other integers. It is sent alone, so that
# it can be told from them.
PATTERN_COUNT = "PUBSUB NUMPAT"

GONE, CLOSED, QUIT = "<gone>", "<half-closed>", "<quit>"


def _some(r, names, verb, most=3):
    return " ".join([verb, *(r.choice(names) for _ in range(r.randint(1, most)))])


# Weights, and what makes one command.
COMMANDS = [
    (14, lambda r: _some(r, CHANNELS, "SUBSCRIBE")),
    (9, lambda r: _some(r, CHANNELS, "UNSUBSCRIBE")),
    (4, lambda r: "UNSUBSCRIBE"),
    (6, lambda r: _some(r, PATTERNS, "PSUBSCRIBE", 2)),
    (4, lambda r: _some(r, PATTERNS, "PUNSUBSCRIBE", 2)),
    (2, lambda r: "PUNSUBSCRIBE"),
    (4, lambda r: _some(r, SHARDS, "SSUBSCRIBE", 2)),
    (3, lambda r: _some(r, SHARDS, "SUNSUBSCRIBE", 2)),
    (1, lambda r: "SUNSUBSCRIBE"),
    (30, lambda r: f"PUBLISH {r.choice(CHANNELS)} m{r.randint(0, 999)}"),
    (6, lambda r: f"SPUBLISH {r.choice(SHARDS)} m{r.randint(0, 999)}"),
    (5, lambda r: "PING"), (3, lambda r: "PING x"), (4, lambda r: "GET k"), (3, lambda r: "NOSUCH"),
    (3, lambda r: f"SET k {r.randint(0, 9)}"), (1, lambda r: "CLIENT GETNAME"),
    (1, lambda r: "PING a b"),
    (2, lambda r: "RESET"), (2, lambda r: "HELLO 3"), (1, lambda r: "HELLO 2"),
    (1, lambda r: f"AUTH {r.choice(['bob', 'ann', 'eve', 'kim'])} pw"),
    (2, lambda r: "PUBSUB NUMSUB a b c d"), (1, lambda r: "PUBSUB SHARDNUMSUB a b"),
    (1, lambda r: PATTERN_COUNT),
]
LEAVINGS = [GONE, CLOSED, QUIT]


class Subscribed:
    """What a client is subscribed to, as far as its commands tell."""

    def __init__(self):
        self._names = set()

    def is_end_of_nothing(self, command) -> bool:
        """Such an end holds an upstream of the client's own, and so does what follows in one write;
        there counts are the server's."""
        return "UNSUBSCRIBE" in command and not self._names

    def follow(self, command):
        verb, *names = command.split()
        kind = verb.partition("SUBSCRIBE")[0].replace("UN", "")
        if verb in ("RESET", "QUIT"):
            self._names.clear()
        elif verb.endswith("UNSUBSCRIBE"):
            self._names -= {
                one for one in self._names if one[0] == kind and (not names or one[1] in names)
            }
        elif verb.endswith("SUBSCRIBE"):
            self._names |= {(kind, name) for name in names}


def tells_counts(sequence) -> bool:
    """Whether the counts of a sequence have to be those of direct connections."""
    clients = {}
    for who, what in sequence:
        if not isinstance(what, tuple):
            clients.pop(who, None)
            continue
        known = clients.setdefault(who, Subscribed())
        for command in what:
            # Who is refused channels is not followed.
            if known.is_end_of_nothing(command) or command.startswith("AUTH ann"):
                return False
            known.follow(command)
    return True


def steps(seed) -> list:
    """The sequence of a seed: pairs of a client's number, and its commands or how it leaves."""
    r = random.Random(seed * 2_654_435_761)
    clients = r.randint(2, 5)
    weights = [weight for weight, _ in COMMANDS]
    known = None if r.random() < 0.3 else [Subscribed() for _ in range(clients)]
    made = [(one, ("HELLO 3",)) for one in range(clients) if r.random() < 0.45]
    for _ in range(r.randint(8, 40)):
        who = r.randrange(clients)
        if r.random() < 0.04:
            made.append((who, r.choice(LEAVINGS)))
            if known:
                known[who] = Subscribed()
            continue
        size = 1 if r.random() < 0.7 else r.randint(2, 4)
        chosen = [make(r) for _, make in r.choices(COMMANDS, weights, k=size)]
        if size > 1:
            chosen = ["PING" if one == PATTERN_COUNT else one for one in chosen]
        made.append((who, tuple(_told(chosen, known[who]) if known else chosen)))
    return made


def _told(commands, known) -> list:
    """Commands whose counts are told: without ends of nothing."""
    made = []
    for command in commands:
        if known.is_end_of_nothing(command) or command.startswith("AUTH ann"):
            command = "PING"
        known.follow(command)
        made.append(command)
    return made


class End:
    """One side of a client."""

    def __init__(self, address):
        self.socket = address.connect(TIMEOUT)
        self._data, self._position = b"", 0
        self.frames = []
        self.ended = False
        self.failed = ""

    def write(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            # Closed by the other side: what it has said is still read.
            pass

    def next(self):
        """The next frame; None at the end of the stream."""
        while not (end := frames.count(self._data, self._position, 1)):
            if not self._receive():
                return None
        frame = self._data[self._position:end]
        self._data, self._position = self._data[end:], 0
        self.frames.append(frame)
        return frame

    def _receive(self) -> bool:
        if self.ended:
            return False
        try:
            data = self.socket.recv(1 << 18)
        except TimeoutError:
            self.failed, data = "nothing comes", b""
        except ConnectionResetError:
            data = b""
        self._data += data
        self.ended = not data
        return bool(data)

    def answers(self, count):
        """Reads until so many frames that are no messages have come."""
        while count and (frame := self.next()) is not None:
            count -= not is_message(frame)

    def mark_pattern_count(self, first):
        """The integer among the frames from `first` on is a number of patterns."""
        for place in range(first, len(self.frames)):
            if self.frames[place].startswith(b":"):
                self.frames[place] = b"+<patterns> " + self.frames[place][1:]

    def rest(self):
        while self.next() is not None:
            pass
        if self._data:
            self.frames.append(self._data)
        self.socket.close()


def is_message(frame) -> bool:
    return b"message\r\n" in frame[:20]


class Twins:
    """A client on both sides."""

    def __init__(self, world):
        self.direct, self.proxied = End(world.direct), End(world.proxied)
        # Messages and other replies come over two upstreams: see documented_subscriptions.
        self.was_three = self.was_another = self.was_less = False

    def do(self, commands):
        data = b"".join(encode(*words(command)) for command in commands)
        self.was_three = self.was_three or "HELLO 3" in commands
        self.was_another = self.was_another or any(one.startswith("AUTH") for one in commands)
        # After this one an error may be worded for another user.
        self.was_less = self.was_less or "AUTH ann pw" in commands
        known = [len(end.frames) for end in (self.direct, self.proxied)]
        self.proxied.write(data)
        self.proxied.answers(self._direct_answers(data))
        if commands == (PATTERN_COUNT,):
            for end, first in zip((self.direct, self.proxied), known):
                end.mark_pattern_count(first)

    def _direct_answers(self, data) -> int:
        """Sends this to the direct side, and reads all that comes. Returns the number of answers."""
        self.direct.write(data + encode("PING", TOKEN))
        count = 0
        while (frame := self.direct.next()) is not None and TOKEN not in frame:
            count += not is_message(frame)
        if frame:
            self.direct.frames.pop()
        return count

    def leave(self, how):
        if how == CLOSED:
            self._direct_answers(b"")
        if self.was_another or how == CLOSED:
            # Messages may come behind the last reply, and are lost to who closes before.
            wanted = len(self.direct.frames)
            while len(self.proxied.frames) < wanted and self.proxied.next() is not None:
                pass
        for end in (self.direct, self.proxied):
            if how == CLOSED:
                end.socket.shutdown(1)
            else:
                end.write(encode("QUIT") if how == QUIT else GOODBYE)
            end.rest()

    def vanish(self):
        for end in (self.direct, self.proxied):
            end.socket.close()

    def difference(self, mode, counts):
        """None, or what differs."""
        sides = []
        for end in (self.direct, self.proxied):
            found = settled(end.frames) + ([b"<%s>" % end.failed.encode()] if end.failed else [])
            if not counts:
                found = [_without_count(frame) for frame in found]
            if mode == "shared" and self.was_less:
                found = [b"-<error>\r\n" if frame[:1] == b"-" else frame for frame in found]
            if mode == "shared" and self.was_another:
                found = unordered(found)
            elif mode == "shared" and self.was_three:
                found = apart(found)
            elif mode == "shared":
                found = errors_apart(found)
            sides.append(b"".join(found))
        return frames.difference(*sides)


def _without_count(frame):
    if frame.startswith(b":"):
        return b":?\r\n"
    if frame.startswith(b"+<patterns>"):
        return b"+<patterns> ?\r\n"
    return b"+<counts>\r\n" if frame.startswith((b"*8\r\n", b"*4\r\n$1\r\na\r\n")) else frame


class Lane:
    """Plays sequences on one world."""

    def __init__(self, mode, server=servers.DEFAULT, threads=1, late=False, counts=True):
        self.mode, self.counts = mode, counts
        # Each user has a hub on each thread, and who holds an upstream stays there.
        pool = {"pubsub": mode, "maxOpen": 24}
        relay = Laggard if late else None
        self.world = World(server=server, threads=threads, pool=pool, relay=relay)

    def close(self):
        self.world.close()

    def _settle(self):
        """What a client has left behind on a hub ends a little after its connection, or its RESET:
        until then it is not certain what the server counts."""
        commands = [" ".join(["PUBSUB NUMSUB", *CHANNELS]), PATTERN_COUNT]
        if self.world.server.compatible >= (7, 0):
            commands.append(" ".join(["PUBSUB SHARDNUMSUB", *SHARDS]))

        def is_alike():
            direct, proxied = self.world.listened(*commands)
            return direct == proxied

        eventually(is_alike, what="an end of what the client had subscribed to")

    def play(self, sequence, seed):
        """None, or what differs."""
        self.world.empty()
        clients, found, counts = {}, [], self.counts and tells_counts(sequence)
        try:
            for who, what in sequence:
                twins = clients.get(who) or clients.setdefault(who, Twins(self.world))
                if isinstance(what, tuple):
                    twins.do(what)
                    if "RESET" in what:
                        self._settle()
                    continue
                clients.pop(who)
                if what == GONE:
                    # When the server has noticed is not known.
                    counts = False
                    twins.vanish()
                else:
                    twins.leave(what)
                    self._settle()
                    found.append((who, twins))
            for who, twins in clients.items():
                twins.leave("")
                found.append((who, twins))
        finally:
            for twins in clients.values():
                twins.vanish()
        for who, twins in found:
            if different := twins.difference(self.mode, counts):
                return f"client {who}: {different}"
        return None


def report(lane, seed, first) -> str:
    sequence, last = shrink(lane, steps(seed), seed)
    lines = [f"seed {seed}: {first if last is None else last}"]
    if last is None:
        lines.append("  (did not fail a second time)")
    return "\n".join(lines + [f"  {who}: {what}" for who, what in sequence])


def run(first, count, **options):
    """Plays the sequences from seed `first` on. Returns the number played, and failures."""
    failures, played = [], 0
    lane = Lane(**options)
    try:
        for seed in range(first, first + count):
            found = lane.play(steps(seed), seed)
            played += 1
            if found:
                failures.append(report(lane, seed, found))
                print(failures[-1], file=sys.stderr, flush=True)
                if len(failures) >= MOST_FAILURES:
                    break
        assert "desync" not in lane.world.redpool.log()
    finally:
        lane.close()
    return played, failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--mode", choices=("pinned", "shared"), default="shared")
    parser.add_argument("--threads", type=int, default=1, help="of Redpool")
    parser.add_argument("--late", action="store_true")
    parser.add_argument("--no-counts", action="store_true", help="counts may differ")
    parser.add_argument("--server", default=servers.DEFAULT.path)
    chosen = parser.parse_args()
    started = time.monotonic()
    played, failures = run(
        chosen.seed, chosen.count, mode=chosen.mode, server=servers.ask(chosen.server),
        threads=chosen.threads, late=chosen.late, counts=not chosen.no_counts,
    )
    print(f"{played} sequences, {len(failures)} failures, {time.monotonic() - started:.1f} s")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
