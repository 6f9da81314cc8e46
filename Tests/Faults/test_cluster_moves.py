"""A cluster whose slots move and whose primaries change, under clients that know nothing of it."""

import time

import pytest

from harness.cluster import Cluster, key_in, slot_of, spread
from harness.ledger import Ledger, Pipelines, Transactions, Watchers
from harness.servers import FOUND
from harness.waiting import always, eventually
from harness.wire import ErrorReply, encode

pytestmark = [pytest.mark.daemon, pytest.mark.long]

OTHERS = ("redis 6.2", "valkey 8.0")
SERVERS = [server for server in FOUND if server in FOUND[:1] or server.name in OTHERS]


@pytest.fixture
def slack(full):
    """What a loaded machine may add to a deadline, in seconds; at the full size it is quiet."""
    return 0.0 if full else 8.0


@pytest.fixture(scope="module")
def six(keep):
    """Three primaries with a replica each, for tests that leave them in any state."""
    return keep.started(Cluster())


@pytest.fixture
def cluster(six):
    six.settle()
    return six


def start(launch, cluster, **pool):
    """The daemon, when it serves keys of every node."""
    redpool = launch.redpool(None, pool=cluster.settings | pool, console=True)
    cluster.wait_for_map(redpool)
    return redpool


def reshard(cluster, keys, full):
    """Moves slots to another node: first those of the keys."""
    source, target, *_ = cluster.primaries
    served = source.claim().slots
    first = [slot for key in keys if (slot := slot_of(key)) in served]
    slots = list(dict.fromkeys([*first, *sorted(served)]))[: 1_000 if full else 60]
    cluster.move_slots(slots, source, target)
    cluster.wait_ok()


@pytest.mark.parametrize("server", SERVERS, ids=str)
def test_counters_while_slots_move_and_primaries_change(launch, server, full):
    """Nobody sees an error, and nothing is counted twice or lost."""
    cluster = launch.started(Cluster(binary=server.path))
    redpool = start(launch, cluster)
    keys = spread(200 if full else 40)
    with Ledger(redpool.tcp, keys) as ledger:
        reshard(cluster, keys, full)
        ledger.go_on()
        for primary in cluster.primaries:
            cluster.failover(primary)
            ledger.go_on()
    ledger.is_well()
    assert cluster.values(keys) == ledger.rounds
    assert "upstream.desync" not in redpool.log()
    print(f"{sum(ledger.rounds)} rounds, the longest took {max(ledger.longest):.2f} s")


@pytest.mark.parametrize("server", SERVERS, ids=str)
def test_counters_when_a_primary_is_killed(launch, server, full, slack):
    """Only what was in flight there is unknown; the replica serves the slots, soon."""
    cluster = launch.started(Cluster(binary=server.path))
    redpool = start(launch, cluster)
    keys = spread(200 if full else 40)
    with Ledger(redpool.tcp, keys) as ledger:
        for victim in cluster.primaries if full else cluster.primaries[:1]:
            served = victim.claim().slots
            hit = [index for index, key in enumerate(keys) if slot_of(key) in served]
            told = len(ledger.errors)
            ledger.longest = [0.0] * len(keys)
            cluster.kill_primary(victim)
            ledger.go_on(hit)
            took = max(ledger.longest[index] for index in hit)
            print(f"kill -9: the first success of each client after {took:.2f} s at most")
            assert took < cluster.timeout / 1000 + 2 + slack
            assert {index for index, _ in ledger.errors[told:]} <= set(hit), ledger.errors[:3]
            ledger.go_on()
            victim.start()
            cluster.wait_ok()
    for value, acknowledged, unknown in zip(
            cluster.values(keys), ledger.rounds, ledger.unknown):
        assert value <= acknowledged + unknown
    assert "upstream.desync" not in redpool.log()


@pytest.mark.parametrize("threads", [1, 2])
def test_pipelines_over_all_nodes_while_slots_move(launch, cluster, full, threads):
    """Replies come in the order of the commands, each command runs once."""
    redpool = launch.redpool(None, pool=cluster.settings, settings={"threads": threads})
    cluster.wait_for_map(redpool)
    clients = 50 if full else 12
    keys = [spread(16, f"p{index}") for index in range(clients)]
    keys = [[key_in((slot_of(key) + 7 * index) % 16_384, f"p{index}") for key in row]
            for index, row in enumerate(keys)]
    with Pipelines(redpool.tcp, keys) as crowd:
        reshard(cluster, [key for row in keys for key in row], full)
        crowd.go_on()
    crowd.is_well()
    for row, rounds in zip(keys, crowd.rounds):
        assert cluster.values(row) == [
            place * Pipelines.STEP + rounds for place in range(len(row))]
    assert "upstream.desync" not in redpool.log()


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "step by step"])
def test_transactions_while_slots_move(launch, cluster, full, whole):
    redpool = start(launch, cluster)
    keys = spread(200 if full else 12)
    pairs = [(f"a:{key}", f"b:{key}") for key in keys]
    with Transactions(redpool.tcp, pairs, whole) as crowd:
        reshard(cluster, keys, full)
        crowd.go_on()
        cluster.failover(cluster.primaries[0])
        crowd.go_on()
    crowd.is_well()
    for place in (0, 1):
        assert cluster.values([pair[place] for pair in pairs]) == crowd.rounds
    assert "upstream.desync" not in redpool.log()


def test_watches_while_slots_move(launch, cluster, full):
    """What EXEC has acknowledged has run, and what it has refused has not."""
    redpool = start(launch, cluster)
    keys = spread(50 if full else 8)
    crowd = Watchers(redpool.tcp, keys + keys)
    with crowd:
        reshard(cluster, keys, full)
        crowd.go_on()
    crowd.is_well()
    first, second = crowd.rounds[: len(keys)], crowd.rounds[len(keys) :]
    assert cluster.values(keys) == [one + other for one, other in zip(first, second)]


@pytest.fixture
def moving(launch, cluster):
    """A daemon, and a key whose slot can be moved: `source`, `target`, `slot`."""
    redpool = start(launch, cluster)
    source, target, *_ = cluster.primaries
    [key] = cluster.keys_of(source, 1)
    return redpool, cluster, key, source, target


def move(cluster, key, source, target):
    cluster.move_slots([slot_of(key)], source, target)


def test_a_blocked_client_follows_its_slot(moving):
    redpool, cluster, key, source, target = moving
    with redpool.connect() as blocked, redpool.connect() as client:
        blocked.send(encode("BLPOP", key, "0") + encode("PING"))
        eventually(lambda: source.info("blocked_clients") == "1", what="a blocked client")
        move(cluster, key, source, target)
        eventually(lambda: target.info("blocked_clients") == "1", what="the same one over there")
        assert client.command("RPUSH", key, "x", "y") == 2
        assert blocked.read() == [key.encode(), b"x"]
        assert blocked.read() == b"PONG"
        assert client.command("LRANGE", key, "0", "-1") == [b"y"]


def test_a_slot_half_on_its_way(moving):
    """Keys that are still there, keys that have gone, absent ones, and commands with both."""
    redpool, cluster, key, source, target = moving
    old, gone, new = f"old:{key}", f"gone:{key}", f"new:{key}"
    with redpool.connect() as client, redpool.connect() as waiting:
        assert client.command("MSET", old, "1", gone, "2") == b"OK"
        cluster.begin_move(slot_of(key), target)
        cluster.carry(source, target, [gone])
        assert client.command("GET", old) == b"1"
        assert client.command("GET", gone) == b"2"
        assert client.command("SET", new, "3") == b"OK"
        assert target.command("CLUSTER", "COUNTKEYSINSLOT", slot_of(key)) == 2
        # The map stays: ASK is about one command.
        assert client.command("GET", old) == b"1"
        # TRYAGAIN until the slot is at one place.
        waiting.send(encode("MGET", old, gone, new))
        always(lambda: not waiting.is_answered(), 0.3, what="a command that waits")
        assert client.command("GET", gone) == b"2"
        cluster.end_move(slot_of(key), source, target)
        assert waiting.read() == [b"1", b"2", b"3"]
        assert client.command("MGET", old, gone, new) == [b"1", b"2", b"3"]


def test_what_no_wait_can_help_is_answered_in_time(launch, cluster):
    """A slot that stays half on its way: the server's own words, after `poolTimeout`."""
    redpool = start(launch, cluster, poolTimeout="500ms")
    source, target, *_ = cluster.primaries
    [key] = cluster.keys_of(source, 1)
    with redpool.connect() as client:
        assert client.command("MSET", f"a:{key}", "1", f"b:{key}", "2") == b"OK"
        cluster.begin_move(slot_of(key), target)
        cluster.carry(source, target, [f"a:{key}"])
        began = time.monotonic()
        reply = client.command("MGET", f"a:{key}", f"b:{key}")
        assert isinstance(reply, ErrorReply) and reply.startswith(b"TRYAGAIN "), reply
        assert 0.1 < time.monotonic() - began < 8
        assert client.command("GET", f"b:{key}") == b"2"
        cluster.end_move(slot_of(key), source, target)
        assert client.command("MGET", f"a:{key}", f"b:{key}") == [b"1", b"2"]


@pytest.mark.parametrize("after", ["MULTI", "a command", "the last command"])
def test_a_transaction_goes_with_its_slot(moving, after):
    redpool, cluster, key, source, target = moving
    with redpool.connect() as client:
        assert client.command("SET", f"a:{key}", "1") == b"OK"
        assert client.command("MULTI") == b"OK"
        if after == "MULTI":
            move(cluster, key, source, target)
        assert client.command("INCR", f"a:{key}") == b"QUEUED"
        if after == "a command":
            move(cluster, key, source, target)
        assert client.command("INCR", f"b:{key}") == b"QUEUED"
        if after == "the last command":
            move(cluster, key, source, target)
        assert client.command("EXEC") == [2, 1]
        assert client.command("MGET", f"a:{key}", f"b:{key}") == [b"2", b"1"]


def test_a_transaction_too_large_to_go_with_its_slot(moving):
    redpool, cluster, key, source, target = moving
    with redpool.connect() as client:
        assert client.command("MULTI") == b"OK"
        for name in "abc":
            assert client.command("SET", f"{name}:{key}", "x" * 40_000) == b"QUEUED"
        move(cluster, key, source, target)
        reply = client.command("EXEC")
        assert isinstance(reply, ErrorReply) and reply.startswith(b"EXECABORT "), reply
        assert client.command("EXISTS", f"a:{key}", f"b:{key}", f"c:{key}") == 0


def test_a_watch_is_lost_with_its_slot(moving):
    redpool, cluster, key, source, target = moving
    with redpool.connect() as client:
        assert client.command("SET", key, "1") == b"OK"
        assert client.command("WATCH", key) == b"OK"
        assert client.command("GET", key) == b"1"
        move(cluster, key, source, target)
        assert client.command("MULTI") == b"OK"
        assert client.command("SET", key, "2") == b"QUEUED"
        assert client.command("EXEC") is None
        assert client.command("GET", key) == b"1"
        # Nothing of it is left.
        for word, reply in (("WATCH", b"OK"), ("GET", b"1")):
            assert client.command(word, key) == reply
        assert client.command("MULTI") == b"OK"
        assert client.command("SET", key, "2") == b"QUEUED"
        assert client.command("EXEC") == [b"OK"]


def test_shard_channels_end_with_their_slot(moving):
    redpool, cluster, key, source, target = moving
    with redpool.connect() as client:
        assert client.command("SSUBSCRIBE", key) == [b"ssubscribe", key.encode(), 1]
        move(cluster, key, source, target)
        assert client.read() == [b"sunsubscribe", key.encode(), 0]
        assert client.command("SSUBSCRIBE", key) == [b"ssubscribe", key.encode(), 1]
        assert target.command("SPUBLISH", key, "m") == 1
        assert client.read() == [b"smessage", key.encode(), b"m"]
