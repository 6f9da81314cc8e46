"""Subscribers that share an upstream: who gets what, and from which message on."""

import time

import pytest

from harness.audience import Audience, message
from harness.laggard import Laggard
from harness.servers import FOUND
from harness.waiting import eventually
from harness.wire import Connection, ErrorReply, Push, encode

pytestmark = pytest.mark.daemon

MODES = ("pinned", "shared")


def pool(mode, **keys):
    """The keys of a pool with this `pubsub`; pinned subscribers need an upstream each."""
    return ({"pubsub": "shared"} if mode == "shared" else {"maxOpen": 64, "maxPinned": 60}) | keys


def subscribers(server) -> list:
    """Upstreams that are subscribed to something."""
    return [row for row in server.upstreams()
            if row["sub"] != "0" or row["psub"] != "0" or row.get("ssub", "0") != "0"]


def is_message(reply) -> bool:
    return isinstance(reply, list) and reply[0] in (b"message", b"pmessage", b"smessage")


class Babble:
    """Listeners on the channels of a test, and on one of their own, so that a hub is never idle."""

    def __init__(self, redpool, channels):
        self._publisher = redpool.connect()
        self._clients = [redpool.connect() for _ in range(4)]
        for index, client in enumerate(self._clients):
            if index % 2:
                client.command("HELLO", "3")
            for channel in (*channels, "babble"):
                client.command("SUBSCRIBE", channel)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for client in (*self._clients, self._publisher):
            client.close()

    def go_on(self):
        """Publishes more, and reads what has come; waits for nothing."""
        self._publisher.send(encode("PUBLISH", "babble", "x" * 50) * 8)
        for client in (*self._clients, self._publisher):
            while client.is_answered():
                client.read()


@pytest.mark.parametrize("late", [False, True], ids=["", "late"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("mode", MODES)
def test_a_subscription_begins_and_ends_at_its_place(launch, server, mode, threads, late, full):
    """A message is published, and answered; then somebody subscribes. One is published, and
    answered; then he unsubscribes. He gets the second one only, however late a hub is read."""
    rounds = (10_000 if full else 400) if not late else 50
    front = launch.started(Laggard(server)) if late else server
    redpool = launch.redpool(front, pool=pool(mode), settings={"threads": threads})
    with Babble(redpool, ["c"]) as babble, redpool.connect() as publisher, \
            redpool.connect() as three, redpool.connect() as two:
        three.command("HELLO", "3")
        for turn in range(rounds):
            babble.go_on()
            for client in (two, three):
                publisher.command("PUBLISH", "c", f"early {turn}")
                client.send(encode("SUBSCRIBE", "c"))
                assert client.read() == [b"subscribe", b"c", 1]
                publisher.command("PUBLISH", "c", f"due {turn}")
                client.send(encode("UNSUBSCRIBE", "c"))
                assert client.read() == [b"message", b"c", b"due %d" % turn]
                assert client.read() == [b"unsubscribe", b"c", 0]


@pytest.mark.parametrize("late", [False, True], ids=["", "late"])
@pytest.mark.parametrize("mode", MODES)
def test_ones_own_messages_are_at_their_place(launch, server, mode, late, full):
    rounds = (10_000 if full else 400) if not late else 50
    front = launch.started(Laggard(server)) if late else server
    redpool = launch.redpool(front, pool=pool(mode))
    with Babble(redpool, ["c"]) as babble, redpool.connect() as client, server.connect() as direct:
        for one in (client, direct):
            one.command("HELLO", "3")
        for turn in range(rounds):
            babble.go_on()
            data = b"".join((
                encode("PUBLISH", "c", f"early {turn}"), encode("SUBSCRIBE", "c"),
                encode("PUBLISH", "c", f"due {turn}"), encode("UNSUBSCRIBE", "c"),
                encode("PUBLISH", "c", f"late {turn}"), encode("GET", "none")))
            streams = []
            for one in (client, direct):
                one.send(data)
                streams.append([one.read() for _ in range(7)])
            # How many have got it is not the matter here.
            found, wanted = ([r if not isinstance(r, int) else 0 for r in s] for s in streams)
            assert found == wanted, (turn, found)


@pytest.mark.parametrize("words", [("SSUBSCRIBE", "a"), ("SUNSUBSCRIBE", "a", "b")], ids=" ".join)
def test_a_refused_subscription_does_not_move_ones_own_messages(launch, words):
    """Before Redis 7.0 there are no shard channels: the error comes, then messages and replies."""
    old = [found for found in FOUND if found.name == "redis 6.2"]
    if not old:
        pytest.skip("there is no Redis 6.2")
    server = launch.server(binary=old[0].path)
    redpool = launch.redpool(server, pool=pool("shared"))
    answers = []
    for address in (server.address, redpool.tcp):
        with Connection(address) as client:
            assert client.command("HELLO", "3")[b"proto"] == 3
            assert client.command("SUBSCRIBE", "d")[0] == b"subscribe"
            client.send(encode(*words) + encode("PUBLISH", "d", "1") + encode("PUBLISH", "d", "2")
                        + encode("PUBLISH", "nobody", "3") + encode("PING"))
            answers.append([str(client.read()) for _ in range(7)])
    assert answers[0] == answers[1]


@pytest.mark.parametrize("threads", [1, 2])
def test_each_message_comes_once_to_each_in_order(launch, server, threads, full):
    count, channels = (10_000, 100) if full else (1_000, 20)
    rounds = 60 if full else 20
    redpool = launch.redpool(
        server, pool={"pubsub": "shared", "maxOpen": 4},
        settings={"threads": threads, "maxClients": 11_000})

    def channel(index):
        return b"c%d" % (index % channels)

    with Audience(redpool.tcp, count) as audience, redpool.connect() as publisher:
        audience.subscribe(channel)
        begun = time.monotonic()
        for turn in range(rounds):
            if full:
                # A fixed rate: each channel has a message a second.
                time.sleep(max(0, begun + turn - time.monotonic()))
            publisher.send(b"".join(
                encode("PUBLISH", channel(one), f"{turn} of {one}") for one in range(channels)))
            for _ in range(channels):
                assert isinstance(publisher.read(), int)
        places = {one: index for index, one in enumerate(audience.listeners)}

        def wanted(one):
            place = places[one] % channels
            return b"".join(
                message(b"c%d" % place, b"%d of %d" % (turn, place), one.is_three)
                for turn in range(rounds))

        audience.hear(wanted, timeout=300)
        assert server.client_count() <= 4
        assert len(subscribers(server)) <= threads


@pytest.mark.parametrize("mode", MODES)
def test_a_large_reply_and_messages_come_in_whole_frames(launch, server, mode):
    """A RESP3 client gets messages while it is sent 64 MB: between its frames, never inside one."""
    size = 64 << 20
    redpool = launch.redpool(
        server, pool=pool(mode, clientOutputLimit="200mb"), settings={"totalOutputLimit": "400mb"})
    server.command("SETRANGE", "big", size - 1, "x")
    # With an upstream of its own the client is a subscriber to the server, replies included.
    server.command("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0")
    with redpool.connect(60) as client, redpool.connect() as publisher:
        client.command("HELLO", "3")
        client.command("SUBSCRIBE", "c")
        found, replies, sent = [], 0, 0
        for _ in range(2):
            client.send(encode("GET", "big") + encode("GET", "none"))
            for _ in range(50):
                publisher.command("PUBLISH", "c", f"m{sent}" + "y" * (sent % 7 * 3000))
                sent += 1
        while replies < 4 or len(found) < sent:
            reply = client.read()
            if isinstance(reply, Push):
                found.append(reply[2].rstrip(b"y"))
            else:
                assert reply is None or len(reply) == size
                replies += 1
        assert found == [b"m%d" % index for index in range(sent)]


@pytest.mark.parametrize("how", ["UNSUBSCRIBE", "RESET", "QUIT", "close", "reset"])
def test_the_upstream_goes_back_with_the_last_subscriber(launch, server, how):
    redpool = launch.redpool(server, pool={"pubsub": "shared", "maxOpen": 2, "maxPinned": 1})
    before = int(server.info("total_connections_received"))
    for _ in range(10):
        clients = [redpool.connect() for _ in range(5)]
        for index, client in enumerate(clients):
            if index % 2:
                client.command("HELLO", "3")
            assert client.command("SUBSCRIBE", "a") == [b"subscribe", b"a", 1]
            assert client.command("PSUBSCRIBE", "b*") == [b"psubscribe", b"b*", 2]
            assert client.command("SSUBSCRIBE", "c") == [b"ssubscribe", b"c", 1]
        assert len(subscribers(server)) == 1
        for client in clients:
            if how in ("close", "reset"):
                getattr(client, how)()
            elif how == "UNSUBSCRIBE":
                client.send(encode("UNSUBSCRIBE") + encode("PUNSUBSCRIBE") + encode("SUNSUBSCRIBE"))
                assert [client.read()[2] for _ in range(3)] == [1, 0, 0]
            else:
                assert client.command(how) in (b"RESET", b"OK")
        eventually(lambda: not subscribers(server), what="no subscription at the server")
        # The one pin is free again.
        with redpool.connect() as other:
            assert other.command("WATCH", "k") == b"OK"
            assert other.command("UNWATCH") == b"OK"
        for client in clients:
            client.close()
    assert int(server.info("total_connections_received")) - before < 60
    assert not [line for line in redpool.log().splitlines() if "level=error" in line]


def test_a_client_with_ten_thousand_names(launch, server):
    """They come in one command, as redis-py subscribes anew; and vanish with their client."""
    redpool = launch.redpool(server, pool={"pubsub": "shared"})
    names = [f"channel:{index}" for index in range(10_000)]
    with redpool.connect(60) as other, redpool.connect(60) as publisher:
        other.command("SUBSCRIBE", "channel:5")
        client = redpool.connect(60)
        client.send(encode("SUBSCRIBE", *names))
        for index, name in enumerate(names):
            assert client.read() == [b"subscribe", name.encode(), index + 1]
        publisher.command("PUBLISH", "channel:9999", "x")
        assert client.read() == [b"message", b"channel:9999", b"x"]
        assert int(server.info("pubsub_channels")) == 10_000
        client.close()
        eventually(lambda: int(server.info("pubsub_channels")) == 1, what="one channel left")
        publisher.command("PUBLISH", "channel:5", "x")
        assert other.read() == [b"message", b"channel:5", b"x"]
        client = redpool.connect(60)
        client.send(encode("SUBSCRIBE", *names) + encode("UNSUBSCRIBE") + encode("GET", "none"))
        for index in range(10_000):
            assert client.read()[2] == index + 1
        for index in range(10_000):
            assert client.read()[2] == 9_999 - index
        assert client.read() is None
        client.close()


def test_a_command_of_more_than_four_megabytes_is_refused(launch, server):
    redpool = launch.redpool(server, pool={"pubsub": "shared"})
    with redpool.connect(60) as client, redpool.connect() as other:
        other.command("SUBSCRIBE", "c")
        client.send(encode("SUBSCRIBE", *(["n" * 60_000 + str(one) for one in range(80)])))
        reply = client.read()
        assert isinstance(reply, ErrorReply) and b"4 MB" in reply, reply
        assert client.command("GET", "none") is None
        client.send(encode("SUBSCRIBE", *(["n" * 60_000 + str(one) for one in range(60)])))
        assert [client.read()[2] for _ in range(60)] == list(range(1, 61))
        assert other.command("PING") == [b"pong", b""]


def test_entries_stay_with_their_user(launch, server):
    """AUTH as another user: what is subscribed stays, what comes is subscribed as that user."""
    for name, rules in {"ann": "&a*", "bob": "&b*"}.items():
        rights = ("on", f">{name}", "~*", "resetchannels", rules, "+@all")
        server.command("ACL", "SETUSER", name, *rights)
    redpool = launch.redpool(server, pool={"pubsub": "shared"})
    with redpool.connect() as client, redpool.connect() as publisher:
        client.command("HELLO", "3", "AUTH", "ann", "ann")
        assert client.command("SUBSCRIBE", "a1", "a2") == [b"subscribe", b"a1", 1]
        assert client.read() == [b"subscribe", b"a2", 2]
        assert isinstance(client.command("SUBSCRIBE", "b1"), ErrorReply)
        assert client.command("AUTH", "bob", "bob") == b"OK"
        assert isinstance(client.command("SUBSCRIBE", "a3"), ErrorReply)
        assert client.command("SUBSCRIBE", "b1") == [b"subscribe", b"b1", 3]
        users = sorted(row["user"] for row in subscribers(server))
        assert users == ["ann", "bob"]
        for channel in ("a1", "b1", "a2"):
            publisher.command("PUBLISH", channel, "x")
            assert client.read() == [b"message", channel.encode(), b"x"]
        client.send(encode("UNSUBSCRIBE"))
        ended = [client.read() for _ in range(3)]
        assert {one[1] for one in ended} == {b"a1", b"a2", b"b1"}
        assert [one[2] for one in ended] == [2, 1, 0]
        eventually(lambda: not subscribers(server), what="no subscription at the server")
        assert client.command("ACL", "WHOAMI") == b"bob"


def test_pools_and_users_are_apart(launch, server, tmp_path):
    """Two pools of two servers with the same channel, and two users of one."""
    second = launch.server()
    server.command("ACL", "SETUSER", "ann", "on", ">ann", "~*", "&*", "+@all")
    path = tmp_path / "second.sock"
    redpool = launch.redpool(server, pool={"pubsub": "shared"}, pools={
        "other": {"listen": [f"unix:{path}"], "upstream": second.tcp.text, "pubsub": "shared"}})
    address = type(redpool.unix)(path=str(path))
    with redpool.connect() as one, redpool.connect() as two, Connection(address) as other:
        two.command("AUTH", "ann", "ann")
        for client in (one, two, other):
            assert client.command("SUBSCRIBE", "c") == [b"subscribe", b"c", 1]
        assert (len(subscribers(server)), len(subscribers(second))) == (2, 1)
        second.command("PUBLISH", "c", "second")
        assert other.read() == [b"message", b"c", b"second"]
        server.command("PUBLISH", "c", "first")
        for client in (one, two):
            assert client.read() == [b"message", b"c", b"first"]
        assert not other.is_answered()
        one.close()
        eventually(lambda: len(subscribers(server)) == 1, what="the hub of one user gone")
        server.command("PUBLISH", "c", "again")
        assert two.read() == [b"message", b"c", b"again"]
