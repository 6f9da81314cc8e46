"""Flask-SocketIO and Django Channels: a hundred browsers over several processes hear each message
once, in order. Neither asks how many are subscribed: they count nothing."""

import asyncio
import contextlib
import socket

import pytest
import socketio
from channels_redis.pubsub import RedisPubSubChannelLayer
from flask_socketio import SocketIO

BROWSERS, PROCESSES, MESSAGES = 100, 3, 10


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as made:
        return made.getsockname()[1]


class Browser:
    def __init__(self):
        self.client = socketio.AsyncClient(reconnection=False)
        self.heard = []
        self.client.on("said", self.heard.append)

    async def open(self, port, room):
        url = f"http://127.0.0.1:{port}"
        await self.client.connect(url, transports=["websocket"], wait_timeout=60)
        assert await self.client.call("join", room, timeout=60) == room


async def heard(browsers, wanted):
    async with asyncio.timeout(60):
        while any(len(one.heard) < len(wanted(index)) for index, one in enumerate(browsers)):
            await asyncio.sleep(0.05)
    for index, one in enumerate(browsers):
        assert one.heard == wanted(index)
        one.heard.clear()


def is_there(port) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    return False


async def talk(ports, url, all_listen):
    browsers = [Browser() for _ in range(BROWSERS)]
    try:
        for index, one in enumerate(browsers):
            await one.open(ports[index % PROCESSES], f"room{index % 2}")
        # A process listens from its first browser on.
        await asyncio.to_thread(all_listen)
        # Somebody outside of all processes.
        outside = SocketIO(message_queue=url)
        for turn in range(MESSAGES):
            outside.emit("said", f"to all {turn}")
            outside.emit("said", f"to one room {turn}", to="room1")
        await heard(browsers, lambda index: [
            text for turn in range(MESSAGES)
            for text in (f"to all {turn}", *([f"to one room {turn}"] if index % 2 else []))])
        assert await browsers[0].client.call("say", "from one", timeout=60) == "from one"
        await heard(browsers, lambda _: ["from one"])
    finally:
        for one in browsers:
            await one.client.disconnect()


@pytest.mark.timeout(180)
def test_flask_socketio(client, url, spawn, eventually):
    ports = [free_port() for _ in range(PROCESSES)]
    for port in ports:
        spawn("socketio_app.py", port, url)
    eventually(lambda: all(is_there(port) for port in ports))

    def all_listen():
        return client.pubsub_numsub("flask-socketio")[0][1] == PROCESSES

    asyncio.run(talk(ports, url, lambda: eventually(all_listen)))


async def converse(url):
    layers = [RedisPubSubChannelLayer(hosts=[url]) for _ in range(10)]
    names = [(layer, await layer.new_channel()) for layer in layers for _ in range(10)]
    try:
        for index, (layer, name) in enumerate(names):
            await layer.group_add("everybody", name)
            await layer.group_add(f"room{index % 2}", name)
        for turn in range(MESSAGES):
            await layers[turn % 10].group_send("everybody", {"type": "said", "turn": turn})
        await layers[0].group_send("room1", {"type": "said", "turn": "room"})
        await layers[1].send(names[0][1], {"type": "said", "turn": "one"})
        for index, (layer, name) in enumerate(names):
            found = []
            wanted = [
                *range(MESSAGES), *(["room"] if index % 2 else []), *(["one"] if not index else []),
            ]
            for _ in wanted:
                async with asyncio.timeout(30):
                    found.append((await layer.receive(name))["turn"])
            assert found == wanted
        for index, (layer, name) in enumerate(names[:50]):
            await layer.group_discard("everybody", name)
        await layers[0].group_send("everybody", {"type": "said", "turn": "last"})
        for layer, name in names[50:]:
            async with asyncio.timeout(30):
                assert (await layer.receive(name))["turn"] == "last"
    finally:
        for layer in layers:
            await layer.flush()


@pytest.mark.timeout(120)
def test_django_channels(client, url):
    asyncio.run(converse(url))
    assert client.ping()
