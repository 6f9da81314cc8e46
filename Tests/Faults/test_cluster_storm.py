"""Clients that send commands in every way, while slots move to and fro, primaries change and are
killed, and nodes close connections: no command runs twice, and none that is answered is lost."""

import random
import time

import pytest

from harness.cluster import Cluster
from harness.servers import FOUND
from mixture import LIBRARY, Mixture
from weather import Weather

pytestmark = [pytest.mark.daemon, pytest.mark.long]

OTHERS = ("redis 6.2", "valkey 8.0")
SERVERS = [server for server in FOUND if server in FOUND[:1] or server.name in OTHERS]


@pytest.mark.parametrize("onUpstreamLoss", ["close", "error"])
@pytest.mark.parametrize("server", SERVERS, ids=str)
def test_each_command_runs_once(launch, server, full, onUpstreamLoss):
    if not full:
        pytest.skip("takes two minutes: REDPOOL_FULL=1")
    # No node must be taken for lost because the machine is busy.
    cluster = launch.started(Cluster(binary=server.path, timeout=5000))
    pool = cluster.settings | {"onUpstreamLoss": onUpstreamLoss, "maxOpen": 12}
    redpool = launch.redpool(None, pool=pool, settings={"threads": 2}, console=True)
    cluster.wait_for_map(redpool)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    has_functions = server.compatible >= (7, 0)
    if has_functions:
        with redpool.connect() as client:
            assert client.command("FUNCTION", "LOAD", LIBRARY) == b"mixture"
    slots = [index * 16_384 // 12 + 5 for index in range(12)]
    weather = Weather(cluster, slots, seed)
    # What loses writes comes last.
    for others in ([], [weather.fail_over, weather.kill]):
        events = [weather.move] * 40 + [weather.close_connections] * 2 + others
        mixture = Mixture(
            redpool.tcp, 40, slots, seed=seed, functions=has_functions,
            splits=server.splits_replies)
        with mixture:
            until = time.monotonic() + 60
            while time.monotonic() < until:
                weather.random.choice(events)()
            weather.fail_over()
            mixture.go_on()
        print(f"{mixture.commands} commands, {weather.moved} slots moved, "
              f"{sum(mixture.unknown)} closed, told {dict(mixture.told)}")
        cluster.wait_ok()
        mistakes = mixture.mistakes(cluster, loses=bool(others))
        assert not mistakes, (len(mistakes), mistakes[:10])
        cluster.settle()
    assert "upstream.desync" not in redpool.log()
