"""What applications build from redis-py: locks, channels, streams, transactions, client caches."""

import queue
import threading

import pytest
import redis
from conftest import PORT


@pytest.mark.parametrize("protocol", [2, 3])
def test_lock_excludes(client, protocol):
    total, rounds = [0], 20

    def work():
        with redis.Redis(port=PORT, protocol=protocol) as own:
            for _ in range(rounds):
                with own.lock("lock", timeout=20, sleep=0.001):
                    seen = total[0]
                    own.ping()
                    total[0] = seen + 1

    run(*[work] * 6)
    assert total[0] == 6 * rounds


@pytest.mark.parametrize("protocol", [2, 3])
def test_channels_deliver_in_order(client, protocol):
    received = queue.Queue()
    with redis.Redis(port=PORT, protocol=protocol) as own, own.pubsub() as listener:
        listener.subscribe(**{"news": received.put})
        listener.psubscribe(**{"new?": received.put})
        while not (listener.channels and listener.subscribed and own.pubsub_numpat()):
            listener.get_message(timeout=0.1)
        thread = listener.run_in_thread(sleep_time=0.05)
        assert [client.publish("news", number) for number in range(100)] == [2] * 100
        got = [received.get(timeout=20) for _ in range(200)]
        thread.stop()
        thread.join()
    for kind in ("message", "pmessage"):
        assert [int(m["data"]) for m in got if m["type"] == kind] == list(range(100))


def test_consumer_group_shares_a_stream(client):
    client.xgroup_create("stream", "group", mkstream=True)
    done = queue.Queue()

    def consume(name):
        with redis.Redis(port=PORT) as own:
            while True:
                read = own.xreadgroup("group", name, {"stream": ">"}, count=1, block=20_000)
                entry, fields = read[0][1][0]
                own.xack("stream", "group", entry)
                if b"end" in fields:
                    return
                done.put(int(fields[b"n"]))

    def produce():
        for number in range(200):
            client.xadd("stream", {"n": number})
        for _ in range(4):
            client.xadd("stream", {"end": 1})

    run(produce, *[lambda name=name: consume(name) for name in "abcd"])
    assert sorted(done.queue) == list(range(200))
    assert client.xpending("stream", "group")["pending"] == 0


def test_optimistic_transactions_lose_nothing(client):
    def work():
        with redis.Redis(port=PORT) as own:
            for _ in range(25):
                own.transaction(increase, "counter", watch_delay=0.001)

    def increase(pipe):
        value = int(pipe.get("counter") or 0)
        pipe.multi()
        pipe.set("counter", value + 1)

    run(*[work] * 6)
    assert int(client.get("counter")) == 150


def test_tracking_pushes_invalidations(client, eventually):
    seen = []
    with redis.Redis(port=PORT, protocol=3, single_connection_client=True) as own:
        own.connection._parser.set_invalidation_push_handler(seen.append)
        assert own.client_tracking_on()
        own.get("tracked")
        client.set("tracked", "1")
        eventually(lambda: own.ping() and seen)
    assert seen == [[b"invalidate", [b"tracked"]]]


def test_invalidations_follow_redirect(client):
    with redis.Redis(port=PORT, single_connection_client=True) as own, client.pubsub() as listener:
        listener.subscribe("__redis__:invalidate")
        assert listener.get_message(timeout=20)["type"] == "subscribe"
        row = next(row for row in client.client_list() if row["cmd"] == "subscribe")
        assert own.client_tracking_on(clientid=int(row["id"]))
        own.get("tracked")
        client.set("tracked", "1")
        assert listener.get_message(timeout=20)["data"] == [b"tracked"]


def test_blocked_client_is_unblocked_and_killed_by_id(client, eventually):
    answers = queue.Queue()

    def block():
        with redis.Redis(port=PORT, retry=None) as own:
            answers.put(own.client_id())
            for _ in range(2):
                try:
                    answers.put(own.blpop("nothing", timeout=30))
                except redis.RedisError as error:
                    answers.put(type(error))

    def release():
        number = answers.get(timeout=20)
        eventually(lambda: client.client_unblock(number))
        assert answers.get(timeout=20) is None
        eventually(lambda: client.client_unblock(number, error=True))
        assert answers.get(timeout=20) is redis.ResponseError

    run(block, release)

    def block_until_killed():
        with redis.Redis(port=PORT, retry=None) as own:
            answers.put(own.client_id())
            with pytest.raises(redis.ConnectionError):
                own.blpop("nothing", timeout=30)

    def kill():
        number = str(answers.get(timeout=20))
        blocked = "blpop"
        eventually(
            lambda: any(row["id"] == number and row["cmd"] == blocked for row in client.client_list())
        )
        assert client.client_kill_filter(_id=number) == 1

    run(block_until_killed, kill)


def test_blocked_consumers_get_each_item_once(client):
    got = queue.Queue()

    def consume():
        with redis.Redis(port=PORT) as own:
            while (item := own.blpop("items", timeout=20)[1]) != b"end":
                got.put(int(item))

    def produce():
        for number in range(200):
            client.rpush("items", number)
        client.rpush("items", *["end"] * 8)

    run(produce, *[consume] * 8)
    assert sorted(got.queue) == list(range(200))


def run(*functions):
    """Runs functions side by side and raises what the first of them that fails raises."""
    errors = []

    def guarded(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=[function]) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads)
