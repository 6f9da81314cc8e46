"""The summary line of each pool: its own numbers, over all workers."""

import re

import pytest

from harness.waiting import eventually
from harness.wire import Address, Connection

pytestmark = pytest.mark.daemon


def last_line(redpool, pool) -> dict:
    """The fields of the pool's latest statistics."""
    lines = [
        line for line in redpool.log().splitlines()
        if "event=pool.statistics" in line and f" pool={pool} " in f"{line} "
    ]
    return dict(re.findall(r"(\S+?)=(\S+)", lines[-1])) if lines else {}


@pytest.mark.parametrize("threads", [1, 2])
def test_each_pool_has_numbers_of_its_own(launch, tmp_path, threads):
    server = launch.server()
    other = Address(path=f"{tmp_path}/other.sock")
    redpool = launch.redpool(
        server,
        pools={"other": {"listen": other.text, "upstream": server.tcp.text}},
        settings={"threads": threads, "log": {"stats": "1s"}, "maxClients": 5},
    )
    busy = [redpool.connect() for _ in range(3)]
    for client in busy:
        for _ in range(4):
            client.command("INCR", "n")
    quiet = [Connection(other) for _ in range(2)]
    assert quiet[0].command("BLPOP", "nothing", "0.01") is None
    assert quiet[1].command("RESET") == b"RESET"
    # One too many, for this pool.
    refused = Connection(other)
    assert b"max number of clients" in refused.read_until_closed()

    def counts(pool, **wanted):
        found = last_line(redpool, pool)
        return found and all(found.get(name) == str(value) for name, value in wanted.items())

    eventually(
        lambda: counts(
            "main", clients=3, accepted=3, rejected=0, commands_shared=12, commands_pinned=0,
            commands_local=0),
        what="main's numbers",
    )
    eventually(
        lambda: counts(
            "other", clients=2, accepted=2, rejected=1, commands_shared=0, commands_pinned=1,
            commands_local=1),
        what="other's numbers",
    )
    for client in busy:
        client.close()
    eventually(lambda: counts("main", clients=0, accepted=3), what="their clients gone")
    assert counts("other", clients=2)
