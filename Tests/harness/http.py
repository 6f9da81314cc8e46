"""What Redpool says over HTTP, without a library in between."""

import contextlib
import re
import socket

from .ports import free_port
from .wire import Address


class Answer:
    """The status, the headers and the body of an answer."""

    def __init__(self, raw: bytes):
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }

    @property
    def text(self) -> str:
        return self.body.decode()


class Http:
    """The address of a daemon that gets `settings`."""

    def __init__(self):
        self.address = Address(host="127.0.0.1", port=free_port())
        self.settings = {"http": {"listen": self.address.text}}

    def connect(self, timeout=20.0) -> socket.socket:
        return socket.create_connection((self.address.host, self.address.port), timeout)

    def send(self, raw: bytes, timeout=20.0) -> bytes:
        """What comes back until the daemon closes."""
        with self.connect(timeout) as connection:
            connection.sendall(raw)
            return read_all(connection)

    def get(self, path, method="GET", headers=()) -> Answer:
        lines = [f"{method} {path} HTTP/1.1", "Host: redpool", *headers, "", ""]
        return Answer(self.send("\r\n".join(lines).encode()))

    def metrics(self) -> dict:
        """The value of each series, as `name{labels}`."""
        answer = self.get("/metrics")
        assert answer.status == 200, answer.body
        return parse(answer.text)


def read_all(connection) -> bytes:
    """Everything until the other end closes, or breaks the connection."""
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


LINE = re.compile(r'([a-z_]+)(\{(?:[a-z]+="[^"\n\\]*",?)+\})? ([0-9.]+(?:e[+-]?[0-9]+)?)')


def parse(text) -> dict:
    """The series of Prometheus's text. Fails if a line is anything else."""
    assert text.endswith("\n")
    found, families = {}, set()
    for line in text.splitlines():
        if line.startswith("# "):
            words = line.split(" ", 3)
            assert words[1] in ("HELP", "TYPE"), line
            if words[1] == "TYPE":
                assert words[2] not in families, line
                families.add(words[2])
            continue
        match = LINE.fullmatch(line)
        assert match, line
        name, labels, value = match.groups()
        assert re.sub(r"_(bucket|sum|count)$", "", name) in families or name in families, line
        key = name + (labels or "")
        assert key not in found, line
        found[key] = float(value)
    return found


def total(metrics, name, **labels) -> float:
    """The sum of a metric's series with these labels."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(
        value for key, value in metrics.items()
        if key.split("{")[0] == name and all(label in key for label in wanted)
    )


def check_identities(metrics, pool):
    """What must hold in every scrape."""
    def of(name, **labels):
        return total(metrics, name, pool=pool, **labels)

    assert of("redpool_clients_accepted_total") == (
        of("redpool_clients") + of("redpool_clients_closed_total"))
    assert of("redpool_upstreams_opened_total") == (
        of("redpool_pool_upstreams") + of("redpool_upstreams_closed_total"))
    assert of("redpool_wait_seconds_count") == (
        of("redpool_leases_total", result="at_once") + of("redpool_leases_total", result="waited"))
    for name in ("wait", "upstream", "dial"):
        counts = [
            value for key, value in metrics.items()
            if key.startswith(f"redpool_{name}_seconds_bucket") and f'pool="{pool}"' in key
        ]
        assert counts == sorted(counts) and len(counts) == 19
        assert counts[-1] == of(f"redpool_{name}_seconds_count")


GAUGES = re.compile(
    "redpool_(build_info|draining|max_clients|config_.*|clients|client_waiting_bytes|"
    "pool_.*|worker_longest_turn_seconds)|process_(start_time_seconds|resident_.*|open_fds|max_fds)")


def check_growth(before, after):
    """No counter has fallen, and no series is gone."""
    for key, value in before.items():
        if not GAUGES.fullmatch(key.split("{")[0]):
            assert after[key] >= value, key
    assert before.keys() <= after.keys()
