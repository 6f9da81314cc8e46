"""Random sequences on both sides, streams compared.

    random_run.py [--seed N] [--count M] [--processes P] [--quiet-neighbours]
                  [--server PATH]

A failure prints its seed and the shortest sequence found that still fails; `--seed N --count 1`
plays that one again.
"""

import argparse
import contextlib
import multiprocessing
import pathlib
import random
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import documented  # noqa: E402
import frames  # noqa: E402
import grammar  # noqa: E402
from harness import servers  # noqa: E402
from play import GOODBYE, Barrier  # noqa: E402
from world import World  # noqa: E402

TIMEOUT = 6.0
MOST_FAILURES = 12


class Lane:
    """Plays sequences on one world, one connection per sequence and side."""

    def __init__(self, noise=True, server=servers.DEFAULT, threads=1):
        self.world = World(noise, server=server, threads=threads)
        self._barriers = [Barrier(self.world.direct), Barrier(self.world.proxied)]

    def close(self):
        for barrier in self._barriers:
            barrier.close()
        self.world.close()

    def play(self, sequence, seed):
        """None, or what differs."""
        sequence = documented.left_out(sequence, self.world.server)
        sequence = [c for c in sequence if not self.world.by_chance(c)]
        self.world.empty()
        r = random.Random(seed * 3 + 2)
        half = r.random() < 0.3 and not grammar.blocks(sequence)
        # A write boundary that the other side is sure to see costs a round trip: not for all.
        slow = r.random() < 0.4
        writes = grammar.wire(sequence, seed)
        sides = [Side(address) for address in (self.world.direct, self.world.proxied)]
        try:
            for index, data in enumerate(writes):
                if index and slow:
                    self._pass_by()
                for side in sides:
                    side.write(data)
            for side in sides:
                side.finish(half)
            blurs = self.world.server.shows_past_transactions
            return frames.difference(*(side.read_all() for side in sides), blurs)
        finally:
            for side in sides:
                side.socket.close()

    def _pass_by(self):
        """Both sides have seen everything that was written."""
        for barrier in self._barriers:
            barrier.ask()
        for barrier in self._barriers:
            barrier.answered()


class Side:
    """One connection of a sequence. Both sides work at the same time."""

    def __init__(self, address):
        self.socket = address.connect(TIMEOUT)
        self._ended = False

    def write(self, data):
        if self._ended:
            return
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            # QUIT in the middle: the other side has closed.
            self._ended = True

    def finish(self, half):
        if not half:
            self.write(GOODBYE)
        elif not self._ended:
            with contextlib.suppress(OSError):
                # Closed by the other side already.
                self.socket.shutdown(socket.SHUT_WR)

    def read_all(self) -> bytes:
        stream = b""
        try:
            while data := self.socket.recv(1 << 18):
                stream += data
        except TimeoutError:
            stream += b"<nothing comes>"
        except ConnectionResetError:
            # Bytes behind a QUIT make the kernel answer with a reset, on either side.
            pass
        return stream


def shrink(lane, sequence, seed):
    """Leaves commands out for as long as the sequence still fails; None when it does not at all."""
    best = lane.play(sequence, seed)
    if best is None:
        return sequence, None
    size = max(1, len(sequence) // 2)
    while size:
        start = 0
        while start < len(sequence):
            shorter = sequence[:start] + sequence[start + size :]
            found = lane.play(shorter, seed) if shorter else None
            if found:
                sequence, best = shorter, found
            else:
                start += size
        size //= 2
    return sequence, best


def report(lane, seed, first):
    sequence, last = shrink(lane, grammar.commands(seed), seed)
    lines = [f"seed {seed}: {first if last is None else last}"]
    if last is None:
        lines.append("  (did not fail a second time)")
    lines += ["  " + " ".join(w if w.isprintable() and w.split() == [w] else repr(w) for w in c)
              for c in sequence]
    return "\n".join(lines)


# Redpool spends ten upstreams a second on what it does not understand, and a client that has ended its
# input does not wait in line for one: it is played again when there is room.
LINE_IS_FULL = "spends at most"


def run(first, count, step, noise, server, threads, results):
    """The sequences first, first + step, ...; puts (played, failures) into `results`."""
    failures, played = [], 0
    try:
        with contextlib.closing(Lane(noise, server, threads)) as lane:
            for seed in range(first, first + count * step, step):
                found = lane.play(grammar.commands(seed), seed)
                until = time.monotonic() + 20
                while found and LINE_IS_FULL in found and time.monotonic() < until:
                    found = lane.play(grammar.commands(seed), seed)
                played += 1
                if found:
                    failures.append(report(lane, seed, found))
                    print(failures[-1], file=sys.stderr, flush=True)
                    if len(failures) >= MOST_FAILURES:
                        break
    except BaseException as problem:
        failures.append(f"the run itself failed: {problem!r}")
        raise
    finally:
        results.put((played, failures))


def run_all(first, count, processes=2, noise=True, server=servers.DEFAULT, threads=1):
    """Plays `count` sequences over several processes. Returns the number played and failures."""
    results = multiprocessing.Queue()
    shares = [count // processes + (i < count % processes) for i in range(processes)]
    workers = [
        multiprocessing.Process(
            target=run,
            args=(first + i, share, processes, noise, server, threads, results),
        )
        for i, share in enumerate(shares)
        if share
    ]
    for worker in workers:
        worker.start()
    gathered = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    return sum(one[0] for one in gathered), [text for one in gathered for text in one[1]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--quiet-neighbours", action="store_true")
    parser.add_argument("--threads", type=int, default=1, help="of Redpool")
    parser.add_argument("--server", default=servers.DEFAULT.path)
    chosen = parser.parse_args()
    started = time.monotonic()
    processes = min(chosen.processes, chosen.count)
    played, failures = run_all(
        chosen.seed, chosen.count, processes, not chosen.quiet_neighbours,
        servers.ask(chosen.server), chosen.threads,
    )
    print(f"{played} sequences, {len(failures)} failures, {time.monotonic() - started:.1f} s")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
