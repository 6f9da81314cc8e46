"""Redis Cluster and Valkey Cluster behind clients that know nothing of slots."""

import random

import pytest

from harness.cluster import Cluster, slot_of, spread
from harness.servers import FOUND
from harness.wire import ErrorReply, encode

pytestmark = pytest.mark.daemon

# The default server, the oldest that is tested, and Valkey.
OTHERS = ("redis 6.2", "valkey 8.0")
SERVERS = [server for server in FOUND if server in FOUND[:1] or server.name in OTHERS]


@pytest.fixture(scope="module", params=SERVERS, ids=str)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def cluster(keep, kind):
    return keep.started(Cluster(replicas=0, binary=kind.path))


@pytest.fixture(scope="module")
def shared(keep, cluster):
    """The daemon of all tests that want no other settings."""
    made = keep.redpool(None, pool=cluster.settings, console=True)
    cluster.wait_for_map(made)
    return made


@pytest.fixture
def redpool(shared, cluster):
    for node in cluster.nodes:
        assert node.command("FLUSHALL") == b"OK"
    return shared


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def client(request, redpool):
    with redpool.connect() as made:
        if request.param == 3:
            assert made.command("HELLO", "3")[b"proto"] == 3
        made.version = request.param
        yield made


def pipeline(client, commands) -> list:
    client.send(b"".join(encode(*words) for words in commands))
    return [client.read() for _ in commands]


def crossed(reply) -> bool:
    return isinstance(reply, ErrorReply) and reply.startswith(b"CROSSSLOT ")


# Commands with one key


def test_keys_of_all_slots(client, cluster):
    names = [f"key:{number}" for number in range(2_000)]
    assert pipeline(client, [("SET", name, name) for name in names]) == [b"OK"] * len(names)
    assert pipeline(client, [("GET", name) for name in names]) == [name.encode() for name in names]
    sizes = [node.command("DBSIZE") for node in cluster.nodes]
    assert min(sizes) > 500 and sum(sizes) == len(names)
    for name in names[:100]:
        assert client.command("GETDEL", name) == name.encode()
        assert client.command("GET", name) is None


def test_replies_are_in_the_order_of_commands(client):
    """Long ones and short ones, from all nodes, with what Redpool answers itself between them."""
    keys = spread(24)
    chance = random.Random(5)
    for size in (10, 3_000, 100_000):
        commands, wanted = [], []
        for number, key in enumerate(keys):
            word = bytes(chance.randrange(97, 123) for _ in range(8))
            value = word * (size // 8 if number % 3 else 1)
            commands += [("SET", key, value), ("GET", key), ("PING", str(number)), ("STRLEN", key)]
            wanted += [b"OK", value, str(number).encode(), len(value)]
        commands += [("CLIENT", "GETNAME"), ("GET", "none"), ("NOSUCH",), ("GET", keys[3])]
        replies = pipeline(client, commands)
        assert replies[: len(wanted)] == wanted
        assert replies[-4:-2] == [None, None] and isinstance(replies[-2], ErrorReply)
        assert replies[-1] == wanted[4 * 3 + 1]


@pytest.mark.parametrize("size", [127_000, 300_000, 3_000_000])
def test_large_values_go_to_their_nodes(client, size):
    """Commands that are passed on before they have come whole, from clients of any node."""
    keys = spread(6)
    for number, key in enumerate(keys):
        value = bytes([97 + number]) * size
        assert client.command("SET", key, value) == b"OK"
        # In a pipeline, behind commands for other nodes.
        assert pipeline(client, [
            ("GET", keys[0]), ("SET", f"b:{key}", value), ("STRLEN", key), ("GET", f"b:{key}")
        ]) == [b"a" * size, b"OK", size, value]


def test_a_half_closed_client_gets_everything(redpool):
    import socket

    with redpool.connect() as client:
        client.send(b"".join(encode("INCR", key) for key in spread(30)))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_until_closed() == b":1\r\n" * 30


# Commands with many keys


class Model:
    """What one server answers to commands with many keys."""

    def __init__(self):
        self.strings, self.lists = {}, set()

    def MGET(self, *keys):
        return [self.strings.get(key) for key in keys]

    def EXISTS(self, *keys):
        return sum(key in self.strings or key in self.lists for key in keys)

    TOUCH = EXISTS

    def DEL(self, *keys):
        found = self.EXISTS(*dict.fromkeys(keys))
        for key in keys:
            self.strings.pop(key, None)
            self.lists.discard(key)
        return found

    UNLINK = DEL


def test_split_commands_are_as_on_one_server(client):
    """Duplicates, absent keys, lists among strings; in pipelines, with other commands between."""
    chance = random.Random(6)
    keys = spread(40) + [f"{{same}}{number}" for number in range(5)]
    for _ in range(30):
        model, commands, wanted = Model(), [("FLUSHALL",)], [b"OK"]
        for key in chance.sample(keys, 25):
            if chance.random() < 0.8:
                commands.append(("SET", key, f"value of {key}"))
                model.strings[key] = f"value of {key}".encode()
                wanted.append(b"OK")
            else:
                commands.append(("RPUSH", key, "x"))
                model.lists.add(key)
                wanted.append(1)
        for _ in range(12):
            name = chance.choice(("MGET", "MGET", "EXISTS", "TOUCH", "DEL", "UNLINK"))
            few = chance.choices(keys, k=chance.choice((1, 2, 3, 10, 60)))
            commands.append((name, *few))
            wanted.append(getattr(model, name)(*few))
            if chance.random() < 0.3:
                commands.append(("GET", "none"))
                wanted.append(None)
        assert pipeline(client, commands) == wanted


def test_many_large_values_at_once(client):
    keys = spread(60)
    pipeline(client, [("SET", key, key * 2_000) for key in keys])
    assert client.command("MGET", *keys, "none", *keys) == [
        *[(key * 2_000).encode() for key in keys], None, *[(key * 2_000).encode() for key in keys]]


def test_errors_of_split_commands_are_the_servers(client, cluster):
    for words in (("MGET",), ("DEL",), ("EXISTS",), ("TOUCH",), ("UNLINK",)):
        assert client.command(*words) == cluster.nodes[0].command(*words)


def test_mset_is_not_split(client):
    one, other = spread(2)
    assert crossed(client.command("MSET", one, "1", other, "2"))
    assert crossed(client.command("MSETNX", one, "1", other, "2"))
    assert client.command("MSET", f"a:{one}", "1", f"b:{one}", "2") == b"OK"
    assert client.command("MGET", f"a:{one}", f"b:{one}", one, other) == [b"1", b"2", None, None]


def test_all_splits_mset_as_well(launch, redpool, cluster):
    redpool = launch.redpool(None, pool=cluster.settings | {"crossSlot": "all"})
    cluster.wait_for_map(redpool)
    keys = spread(50)
    with redpool.connect() as client:
        words = [word for key in keys for word in (key, f"of {key}")]
        assert client.command("MSET", *words) == b"OK"
        assert client.command("MGET", *keys) == [f"of {key}".encode() for key in keys]
        # The last value of a key that stands twice.
        assert client.command("MSET", keys[0], "1", keys[9], "2", keys[0], "3") == b"OK"
        assert client.command("GET", keys[0]) == b"3"
        assert isinstance(client.command("MSET", keys[0], "1", keys[1]), ErrorReply)
        assert client.command("GET", keys[1]) == f"of {keys[1]}".encode()
        assert crossed(client.command("MSETNX", keys[0], "1", keys[9], "2"))


def test_refuse_splits_nothing(launch, redpool, cluster):
    redpool = launch.redpool(None, pool=cluster.settings | {"crossSlot": "refuse"})
    cluster.wait_for_map(redpool)
    one, other = spread(2)
    with redpool.connect() as client:
        for words in (("MGET", one, other), ("DEL", one, other), ("EXISTS", one, other),
                      ("MSET", one, "1", other, "2")):
            assert crossed(client.command(*words)), words
        assert client.command("MSET", f"a:{one}", "1", f"b:{one}", "2") == b"OK"
        assert client.command("DEL", f"a:{one}", f"b:{one}") == 2


def test_a_merged_reply_has_a_limit(launch, redpool, cluster):
    redpool = launch.redpool(None, pool=cluster.settings | {"clientOutputLimit": "1MB"})
    cluster.wait_for_map(redpool)
    keys = spread(20)
    with redpool.connect() as client:
        assert pipeline(client, [("SET", key, "x" * 100_000) for key in keys]) == [b"OK"] * 20
        reply = client.command("MGET", *keys)
        assert reply == b"ERR pool main: the merged reply is larger than clientOutputLimit"
        assert client.command("MGET", *keys[:5]) == [b"x" * 100_000] * 5


@pytest.mark.parametrize("words", [
    ("RENAME", 0, 1), ("SINTER", 0, 1), ("BLPOP", 0, 1, "1"), ("LMOVE", 0, 1, "LEFT", "LEFT"),
    ("PFCOUNT", 0, 1), ("XREAD", "STREAMS", 0, 1, "0", "0"), ("EVAL", "return 1", "2", 0, 1),
], ids=lambda words: words[0])
def test_all_others_need_one_slot(client, words):
    keys = spread(2)
    reply = client.command(*(keys[word] if isinstance(word, int) else word for word in words))
    assert crossed(reply), reply
    assert client.command("PING") == b"PONG"


# Commands without keys


def test_sizes_and_names_of_all_nodes(client, cluster):
    names = [f"name:{number}" for number in range(300)]
    pipeline(client, [("SET", name, "1") for name in names])
    assert client.command("DBSIZE") == 300
    assert sorted(client.command("KEYS", "*")) == sorted(name.encode() for name in names)
    assert sorted(client.command("KEYS", "name:29?")) == [b"name:29%d" % n for n in range(10)]
    found = {client.command("RANDOMKEY") for _ in range(100)}
    assert found <= {name.encode() for name in names} and len(found) > 10
    assert {cluster.owner(slot_of(name)) for name in found} == set(cluster.nodes)
    # Among others, and in order.
    assert pipeline(client, [("GET", names[0]), ("DBSIZE",), ("GET", "none"), ("DBSIZE",)]) == [
        b"1", 300, None, 300]
    assert client.command("FLUSHALL") == b"OK"
    assert [node.command("DBSIZE") for node in cluster.nodes] == [0, 0, 0]
    assert client.command("RANDOMKEY") is None and client.command("DBSIZE") == 0
    # A key that only one node has.
    client.command("SET", "one", "1")
    assert {client.command("RANDOMKEY") for _ in range(10)} == {b"one"}
    assert client.command("FLUSHDB") == b"OK" and client.command("DBSIZE") == 0


@pytest.mark.parametrize(
    "options", [(), ("COUNT", "7"), ("COUNT", "1000"), ("MATCH", "scan:*")], ids=str)
def test_scan_finds_each_key_once(client, options):
    names = {b"scan:%d" % number for number in range(500)}
    pipeline(client, [("SET", name, "1") for name in names])
    seen, cursor = [], b"0"
    for _ in range(2_000):
        cursor, found = client.command("SCAN", cursor, *options)
        seen += found
        assert 0 <= int(cursor) < 1 << 63
        if cursor == b"0":
            break
    assert cursor == b"0"
    assert len(seen) == len(names) and set(seen) == names


def test_scan_of_nothing_and_wrong_cursors(client, cluster):
    cursor = b"0"
    for _ in range(10):
        cursor, found = client.command("SCAN", cursor)
        assert found == []
        if cursor == b"0":
            break
    assert cursor == b"0"
    for wrong in ("x", "-1", "", "1" * 30):
        assert client.command("SCAN", wrong) == b"ERR invalid cursor", wrong
    for words in (("SCAN",), ("SCAN", "0", "COUNT"), ("SCAN", "0", "COUNT", "0"),
                  ("SCAN", "0", "NOSUCH", "1")):
        assert client.command(*words) == cluster.nodes[0].command(*words), words


def test_scripts_are_on_all_nodes(client):
    digest = client.command("SCRIPT", "LOAD", "return redis.call('INCR', KEYS[1])")
    for key in spread(12):
        assert client.command("EVALSHA", digest, "1", key) == 1
        assert client.command("EVAL", "return redis.call('GET', KEYS[1])", "1", key) == b"1"
    assert client.command("SCRIPT", "EXISTS", digest, "0" * 40) == [1, 0]
    assert client.command("EVALSHA", "0" * 40, "1", "k").startswith(b"NOSCRIPT ")
    assert client.command("SCRIPT", "FLUSH") == b"OK"
    assert client.command("SCRIPT", "EXISTS", digest) == [0]
    for key in spread(3):
        assert client.command("EVALSHA", digest, "1", key).startswith(b"NOSCRIPT ")
    assert client.command("SCRIPT", "KILL").startswith(b"NOTBUSY ")
    assert client.command("EVAL", "return 7", "0") == 7


def test_functions_are_on_all_nodes(client, kind):
    if kind.compatible < (7, 0):
        pytest.skip("6.2 has no functions")
    code = ("#!lua name=one\nredis.register_function('up', "
            "function(keys) return redis.call('INCR', keys[1]) end)")
    assert client.command("FUNCTION", "LOAD", "REPLACE", code) == b"one"
    for key in spread(12):
        assert client.command("FCALL", "up", "1", key) == 1
    assert client.command("FUNCTION", "LOAD", code).startswith(b"ERR Library 'one' already exists")
    assert client.command("FUNCTION", "DELETE", "one") == b"OK"
    for key in spread(3):
        assert client.command("FCALL", "up", "1", key).startswith(b"ERR Function not found")
    assert client.command("FUNCTION", "FLUSH") == b"OK"


def test_one_database(client, cluster):
    node = cluster.nodes[0]
    assert client.command("SELECT", "0") == b"OK"
    for words in (("SELECT", "1"), ("SELECT", "x"), ("SWAPDB", "0", "1")):
        assert client.command(*words) == node.command(*words), words
    assert client.command("MOVE", "k", "1") == cluster.command("MOVE", "k", "1")
    assert client.command("SET", "k", "v") == b"OK"


def test_what_is_about_one_node_is_refused(client):
    # SHUTDOWN with a word that no server takes.
    for words in (("SHUTDOWN", "NOSUCH"), ("FAILOVER",), ("REPLICAOF", "NO", "ONE"), ("MONITOR",)):
        reply = client.command(*words)
        assert isinstance(reply, ErrorReply) and b"refused by Redpool" in reply, (words, reply)
    assert client.command("GET", "none") is None


def test_wait_without_replicas(client):
    assert client.command("WAIT", "0", "10") == 0
    for key in spread(6):
        client.command("SET", key, "1")
    assert client.command("WAIT", "1", "50") == 0


# Transactions


def test_transactions_of_one_slot(client):
    for key in spread(6):
        words = [("MULTI",), ("SET", f"a:{key}", "1"), ("INCR", f"b:{key}"),
                 ("MGET", f"a:{key}", key), ("EXEC",)]
        wanted = [b"OK", b"QUEUED", b"QUEUED", b"QUEUED", [b"OK", 1, [b"1", None]]]
        assert pipeline(client, words) == wanted
        client.command("DEL", f"a:{key}", f"b:{key}")
        assert [client.command(*one) for one in words] == wanted


def test_transactions_without_keys(client, cluster):
    words = [("MULTI",), ("PING",), ("ECHO", "x"), ("EXEC",)]
    assert pipeline(client, words)[-1] == [b"PONG", b"x"]
    assert [client.command(*one) for one in words][-1] == [b"PONG", b"x"]
    assert pipeline(client, [("MULTI",), ("EXEC",)]) == [b"OK", []]
    assert client.command("MULTI") == b"OK"
    with cluster.connect(cluster.nodes[0]) as direct:
        assert client.command("MULTI") == pipeline(direct, [("MULTI",), ("MULTI",)])[1]
    assert client.command("DISCARD") == b"OK"
    assert client.command("EXEC") == b"ERR EXEC without MULTI"


def test_transactions_that_begin_without_a_key(client):
    """The first key behind PING says which node it is."""
    for key in spread(6):
        words = [("MULTI",), ("PING",), ("INCR", key), ("EXEC",)]
        assert pipeline(client, words) == [b"OK", b"QUEUED", b"QUEUED", [b"PONG", 1]]


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "step by step"])
def test_transactions_of_two_slots(client, whole):
    one, other = spread(2)
    words = [("MULTI",), ("SET", one, "1"), ("SET", other, "2"), ("EXEC",)]
    replies = pipeline(client, words) if whole else [client.command(*step) for step in words]
    assert replies[:2] == [b"OK", b"QUEUED"]
    assert crossed(replies[2]), replies
    assert replies[3].startswith(b"EXECABORT "), replies
    assert client.command("MGET", one, other) == [None, None]


def test_transactions_side_by_side(redpool):
    keys = spread(9)
    clients = [redpool.connect() for _ in keys]
    for made in clients:
        assert made.command("MULTI") == b"OK"
    for made, key in zip(clients, keys):
        assert made.command("INCR", key) == b"QUEUED"
    for made, key in zip(clients, keys):
        assert made.command("EXEC") == [1]
        made.close()


def test_watches(client, redpool):
    one, other = spread(2)
    with redpool.connect() as another:
        assert client.command("WATCH", one) == b"OK"
        # Commands outside MULTI go wherever their keys are.
        assert client.command("SET", other, "free") == b"OK"
        assert client.command("GET", one) is None
        assert another.command("SET", one, "1") == b"OK"
        words = [("MULTI",), ("SET", one, "2"), ("EXEC",)]
        assert pipeline(client, words) == [b"OK", b"QUEUED", None]
        assert client.command("WATCH", one) == b"OK"
        assert crossed(client.command("WATCH", other))
        assert pipeline(client, words) == [b"OK", b"QUEUED", [b"OK"]]
        assert client.command("MGET", one, other) == [b"2", b"free"]


def test_a_watch_counts_behind_a_command_for_another_node(client, redpool):
    """The transaction arrives whole while that command is in flight, and the watch is set aside."""
    one, other = spread(2)
    words = [("GET", other), ("MULTI",), ("SET", one, "2"), ("EXEC",)]
    with redpool.connect() as another:
        assert client.command("WATCH", one) == b"OK"
        assert another.command("SET", one, "1") == b"OK"
        assert pipeline(client, words) == [None, b"OK", b"QUEUED", None]
        assert another.command("GET", one) == b"1"
        # Nothing is held any more.
        assert client.command("MGET", one, other) == [b"1", None]


def test_blocked_clients(client, redpool):
    with redpool.connect() as another:
        for key in spread(6):
            client.send(encode("BLPOP", f"a:{key}", f"b:{key}", "10"))
            assert another.command("RPUSH", f"b:{key}", "x") == 1
            assert client.read() == [f"b:{key}".encode(), b"x"]
            assert client.command("BLPOP", key, "0.01") is None


# Messages


def test_messages_reach_everybody(redpool, client):
    listeners = [redpool.connect() for _ in range(6)]
    for listener in listeners:
        assert listener.command("SUBSCRIBE", "news") == [b"subscribe", b"news", 1]
        assert listener.command("PSUBSCRIBE", "n*") == [b"psubscribe", b"n*", 2]
    # The count is that of one node. From 6.2 on messages go over the cluster's own connections.
    assert client.command("PUBLISH", "news", "x") >= 0
    for listener in listeners:
        assert listener.read() == [b"message", b"news", b"x"]
        assert listener.read() == [b"pmessage", b"n*", b"news", b"x"]
    assert client.command("PUBSUB", "CHANNELS") == [b"news"]
    numbers = client.command("PUBSUB", "NUMSUB", "news", "none")
    if isinstance(numbers, dict):
        numbers = [word for pair in numbers.items() for word in pair]
    assert numbers == [b"news", 6, b"none", 0]
    assert client.command("PUBSUB", "NUMPAT") in (1, 2, 3)
    for listener in listeners:
        assert listener.command("UNSUBSCRIBE", "news") == [b"unsubscribe", b"news", 1]
        listener.close()


def test_shard_channels(redpool, client, kind):
    if kind.compatible < (7, 0):
        pytest.skip("6.2 has no shard channels")
    one, other = spread(2)
    with redpool.connect() as listener:
        assert listener.command("SSUBSCRIBE", one) == [b"ssubscribe", one.encode(), 1]
        reply = listener.command("SSUBSCRIBE", other)
        assert reply == (b"CROSSSLOT pool main: this connection's shard channels are on another "
                         b"node; use another connection"), reply
        assert client.command("SPUBLISH", one, "x") == 1
        assert listener.read() == [b"smessage", one.encode(), b"x"]
        assert client.command("SPUBLISH", other, "x") == 0
        assert client.command("PUBSUB", "SHARDCHANNELS") == [one.encode()]
        assert listener.command("SUNSUBSCRIBE", one) == [b"sunsubscribe", one.encode(), 0]
