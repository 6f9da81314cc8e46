"""What goes on over connections from before an upgrade: commands beside replies to earlier ones."""

import random
import signal

import pytest

from harness.tasks import halt
from harness.wire import encode
from upgrades import upgrade

pytestmark = [pytest.mark.daemon, pytest.mark.plain]

# How a client begins to have a connection of its own, or a hub; a command, and its answer.
STATES = {
    "WATCH": ([("WATCH", "k")], ("ECHO", "{}"), "{}"),
    "MULTI": ([("MULTI",)], ("SET", "k", "{}"), "QUEUED"),
    "subscribed": ([("SUBSCRIBE", "c")], ("PING", "{}"), ["pong", "{}"]),
    "shared": ([("SUBSCRIBE", "c")], ("SUBSCRIBE", "c{}"), ["subscribe", "c{}", "{count}"]),
    "a hub that is asked": ([("SUBSCRIBE", "c")], ("PING", "{}"), ["pong", "{}"]),
}


def expected(form, number):
    if isinstance(form, list):
        return [expected(one, number) for one in form]
    text = form.format(number, count=number + 2).encode()
    return int(text) if form == "{count}" else text


@pytest.mark.parametrize("state", STATES)
def test_a_command_beside_a_reply(launch, state):
    """The daemon finds both at once: the next command goes out, though the one before it has been
    answered meanwhile."""
    begin, words, answer = STATES[state]
    server = launch.server()
    shared = state in ("shared", "a hub that is asked")
    redpool = launch.redpool(
        server, console=True, pool={"pubsub": "shared" if shared else "pinned"},
        settings={"threads": 1})
    with redpool.connect() as client, server.connect() as direct:
        for one in begin:
            client.command(*one)
        upgrade(redpool)
        upgrade(redpool)
        for number in range(0, 20, 2):
            server.pause()
            client.send(encode(*[word.format(number) for word in words]))
            # The thread has read the command before it sees the first of these, and has sent it
            # before it sees the second.
            assert redpool.show("UPSTREAMS") and redpool.show("UPSTREAMS")
            halt(redpool.process)
            client.send(encode(*[word.format(number + 1) for word in words]))
            server.resume()
            # The command has been read before these, and answered.
            assert direct.command("PING") == direct.command("PING") == b"PONG"
            redpool.signal(signal.SIGCONT)
            assert client.read() == expected(answer, number)
            assert client.read() == expected(answer, number + 1)


def test_asks_of_many_subscribers_after_upgrades(launch):
    """Random commands of the SUBSCRIBE family, several at a time, on a hub that was carried."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    server = launch.server()
    redpool = launch.redpool(server, console=True, pool={"pubsub": "shared"})
    names = {"": ("ch0", "ch1"), "P": ("p*", "q*")}
    clients = [redpool.connect() for _ in range(4)]
    for number, client in enumerate(clients):
        if number % 2:
            client.command("HELLO", "3")
        assert client.command("SUBSCRIBE", "base") == [b"subscribe", b"base", 1]
    for turn in range(180):
        if turn % 60 == 0:
            upgrade(redpool)
        asked = []
        for client in clients:
            asks = []
            for _ in range(chance.randrange(3)):
                kind = chance.choice(tuple(names))
                verb = kind + chance.choice(("SUBSCRIBE", "UNSUBSCRIBE"))
                asks.append((verb, chance.choice(names[kind])))
            client.send(b"".join(encode(*words) for words in asks))
            asked.append(asks)
        for client, asks in zip(clients, asked, strict=True):
            for verb, name in asks:
                assert client.read()[:2] == [verb.lower().encode(), name.encode()]
    for client in clients:
        client.close()
    assert "upstream.desync" not in redpool.log()
