"""A reload that gives a pool another server, user or database: clients move, and nothing of theirs is
ever at both."""

import pytest
import threading

from harness.load import in_threads
from harness.waiting import always, eventually
from harness.wire import Closed, ErrorReply, encode

pytestmark = pytest.mark.daemon
BOTH = pytest.mark.parametrize("threads", [1, 2])


@pytest.fixture
def two(launch):
    servers = launch.server(), launch.server()
    for server, name in zip(servers, ("old", "new")):
        server.command("SET", "name", name)
    return servers


def commands(server, word):
    text = server.command("INFO", "commandstats").decode()
    for line in text.splitlines():
        if line.startswith(f"cmdstat_{word}:"):
            return int(line.split("calls=")[1].split(",")[0])
    return 0


@BOTH
def test_clients_move_when_nothing_is_in_flight(launch, two, threads):
    old, new = two
    redpool = launch.redpool(old, settings={"threads": threads})
    with redpool.connect() as client, redpool.connect() as idle, redpool.connect() as held:
        assert client.command("GET", "name") == b"old" == idle.command("GET", "name")
        assert held.command("MULTI") == b"OK"
        assert held.command("GET", "name") == b"QUEUED"
        client.send(encode("BLPOP", "q", "0") + encode("GET", "name"))
        eventually(lambda: old.info("blocked_clients") == "1")
        redpool.reload(upstream=new.address.text)
        assert idle.command("GET", "name") == b"new"
        eventually(lambda: old.client_count() == 2, what="idle ones closed")
        old.command("RPUSH", "q", "x")
        assert client.read() == [b"q", b"x"]
        assert client.read() == b"new"
        assert held.command("EXEC") == [b"old"]
        assert held.command("GET", "name") == b"new"
        eventually(lambda: old.client_count() == 0)


@BOTH
def test_a_pipeline_moves_in_the_middle(launch, two, threads):
    """Commands that were sent are answered by the old server, the others by the new one."""
    old, new = two
    redpool = launch.redpool(old, settings={"threads": threads})
    with redpool.connect() as client:
        assert client.command("GET", "name") == b"old"
        old.pause()
        client.send(encode("GET", "name") * 3)
        eventually(lambda: old.unread_bytes() > 0)
        redpool.reload(upstream=new.address.text)
        before = commands(new, "get")
        client.send(encode("GET", "name") * 2)
        always(lambda: commands(new, "get") == before, 0.3, what="nothing at the new server")
        old.resume()
        assert [client.read() for _ in range(5)] == [b"old"] * 3 + [b"new"] * 2


@BOTH
def test_pins_are_closed_after_drain_timeout(launch, two, threads):
    old, new = two
    redpool = launch.redpool(old, settings={"threads": threads, "drainTimeout": "300ms"})
    with redpool.connect() as held, redpool.connect() as waits, redpool.connect() as listens:
        assert held.command("WATCH", "k") == b"OK"
        waits.send(encode("BLPOP", "q", "0"))
        listens.command("SUBSCRIBE", "c")
        eventually(lambda: old.info("blocked_clients") == "1")
        redpool.reload(upstream=new.address.text)
        for client in (held, waits, listens):
            with pytest.raises(Closed):
                client.read()
    eventually(lambda: old.client_count() == 0)


@BOTH
def test_a_dead_server_is_left(launch, two, threads):
    old, new = two
    redpool = launch.redpool(old, settings={"threads": threads, "drainTimeout": "500ms"})
    redpool.warm_up()
    old.stop()
    with redpool.connect() as client:
        client.send(encode("GET", "name"))
        eventually(lambda: "pool.down" in redpool.log())
        redpool.reload(upstream=new.address.text)
        reply = client.read()
        assert reply == b"new", reply
        eventually(lambda: "pool.up" in redpool.log())


@BOTH
def test_a_stopped_server_is_left(launch, two, threads):
    """What is in flight there ends with drainTimeout; it is not sent again."""
    old, new = two
    redpool = launch.redpool(old, settings={"threads": threads, "drainTimeout": "500ms"})
    with redpool.connect() as stuck, redpool.connect() as free:
        assert stuck.command("INCR", "n") == 1
        assert free.command("GET", "name") == b"old"
        old.pause()
        stuck.send(encode("INCR", "n"))
        eventually(lambda: old.unread_bytes() > 0)
        redpool.reload(upstream=new.address.text)
        assert free.command("GET", "name") == b"new"
        with pytest.raises(Closed):
            stuck.read()
        assert new.command("GET", "n") is None
        old.resume()


@BOTH
def test_the_database_of_the_pool(launch, threads):
    """Clients that have chosen their database stay in it."""
    server = launch.server()
    url = f"redis://{server.tcp.text}"
    for database in range(3):
        with server.connect() as direct:
            direct.command("SELECT", database)
            direct.command("SET", "name", database)
    redpool = launch.redpool(
        server, pool={"upstream": url + "/1"}, settings={"threads": threads}
    )
    with redpool.connect() as plain, redpool.connect() as chosen, redpool.connect() as same:
        assert plain.command("GET", "name") == b"1"
        assert chosen.command("SELECT", "0") == b"OK" == same.command("SELECT", "1")
        for _ in range(2):
            redpool.reload(upstream=url + "/2")
            assert plain.command("GET", "name") == b"2"
            assert chosen.command("GET", "name") == b"0"
            assert same.command("GET", "name") == b"1"
            redpool.reload(upstream=url + "/1")
            assert plain.command("GET", "name") == b"1"
        assert plain.command("RESET") == b"RESET"
        redpool.reload(upstream=url + "/2")
        assert plain.command("GET", "name") == b"2"


@BOTH
def test_users_log_in_at_the_new_server(launch, two, threads):
    old, new = two
    for server in two:
        server.command("ACL", "SETUSER", "known", "on", ">pw", "~*", "&*", "+@all")
    old.command("ACL", "SETUSER", "lost", "on", ">pw", "~*", "&*", "+@all")
    redpool = launch.redpool(old, settings={"threads": threads})
    with redpool.connect() as known, redpool.connect() as lost:
        assert known.command("AUTH", "known", "pw") == b"OK" == lost.command("AUTH", "lost", "pw")
        assert known.command("ACL", "WHOAMI") == b"known"
        assert lost.command("ACL", "WHOAMI") == b"lost"
        redpool.reload(upstream=new.address.text)
        assert known.command("ACL", "WHOAMI") == b"known"
        assert known.command("GET", "name") == b"new"
        with pytest.raises(Closed):
            lost.command("ACL", "WHOAMI")
    with redpool.connect() as client:
        assert isinstance(client.command("AUTH", "lost", "pw"), ErrorReply)


@BOTH
def test_ids_of_the_old_server_never_reach_the_new_one(launch, two, threads):
    """CLIENT UNBLOCK of a client that still blocks at the old server."""
    old, new = two
    redpool = launch.redpool(old, settings={"threads": threads})
    with redpool.connect() as blocked, redpool.connect() as other, new.connect() as stranger:
        number = blocked.command("CLIENT", "ID")
        blocked.send(encode("BLPOP", "q", "0"))
        eventually(lambda: old.info("blocked_clients") == "1")
        redpool.reload(upstream=new.address.text)
        stranger.send(encode("BLPOP", "q", "0"))
        eventually(lambda: new.info("blocked_clients") == "1")
        # The stranger's id is likely to be one that the old server has used as well.
        assert other.command("CLIENT", "UNBLOCK", number) == 0
        assert new.info("blocked_clients") == "1"
        old.command("RPUSH", "q", "x")
        assert blocked.read() == [b"q", b"x"]


@BOTH
def test_no_counter_goes_back_and_forth(launch, two, full, threads):
    """An INCR ledger over 20 reloads between two servers, 100 with REDPOOL_FULL=1.

    A counter of a client grows by one with each of its commands at one server. So a reply is the
    next number of the server that is in force, or of the one before.
    """
    redpool = launch.redpool(two[0], pool={"maxOpen": 6}, settings={"threads": threads})
    stop = threading.Event()
    moves = [0]
    rounds = [0] * 6

    def count(index):
        """Pipelines of INCR on a key of the client's own, whose values say which server it was."""
        values = [0, 1_000_000_000]
        with redpool.connect(timeout=30) as client:
            while not stop.is_set():
                before = moves[0]
                depth = 1 + rounds[index] % 5
                client.send(encode("INCR", f"ledger:{index}") * depth)
                replies = [client.read() for _ in range(depth)]
                after = moves[0]
                places = [reply >= 1_000_000_000 for reply in replies]
                for place, reply in zip(places, replies):
                    assert reply == values[place] + 1, (replies, values)
                    values[place] = reply
                changes = sum(a != b for a, b in zip(places, places[1:]))
                assert changes <= after - before + 1, (places, before, after)
                if before == after and before % 2 == 0 and before > 0:
                    # No reload was under way: all replies are of the server in force.
                    assert set(places) == {before // 2 % 2 == 1}, (places, before)
                rounds[index] += 1

    for index in range(6):
        two[1].command("SET", f"ledger:{index}", 1_000_000_000)
    failures = []

    def work():
        try:
            in_threads(6, count)
        except BaseException as failure:
            failures.append(failure)

    clients = threading.Thread(target=work)
    clients.start()
    try:
        for number in range(1, (100 if full else 20) + 1):
            moves[0] += 1
            redpool.reload(upstream=two[number % 2].address.text)
            moves[0] += 1
            enough = [value + 2 for value in rounds]
            eventually(
                lambda: failures or all(a >= b for a, b in zip(rounds, enough)), 60,
                what="all clients getting on",
            )
            assert not failures, failures
    finally:
        stop.set()
        clients.join(60)
    assert not failures, failures
    sums = [
        [int(server.command("GET", f"ledger:{index}")) for index in range(6)] for server in two
    ]
    assert sum(map(sum, sums)) - 6_000_000_000 > 0
