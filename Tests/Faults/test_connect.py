"""Faults at the moment of connecting and in the handshake, the breaker, and a frozen server."""

import select
import socket
import time

import pytest

from harness.load import in_threads
from harness.ports import free_port
from harness.server import TLS
from harness.waiting import always, eventually
from harness.wire import Address, Connection, ErrorReply, encode

POOL_TIMEOUT = 0.5
SETTINGS = {"connectTimeout": "200ms", "poolTimeout": "500ms", "maxOpen": 3}
# What a loaded machine may add to a deadline.
SLACK = 8.0

# The fault, the command of the handshake that it strikes (None: connecting), and the word for it.
HANDSHAKE = [
    ("refuse", None, "refused"),
    ("close", None, "closed the connection|reset"),
    ("reset", None, "reset|closed the connection"),
    ("stall", None, "no answer to ECHO"),
    ("close", "ECHO", "the server closed the connection after ECHO"),
    ("reset", "ECHO", "reset by peer after ECHO"),
    ("stall", "ECHO", "no answer to ECHO"),
    ("cut", "ECHO", "closed the connection after ECHO"),
    ("stall-inside", "ECHO", "no answer to ECHO"),
    ("garbage", "ECHO", "not a Redis server"),
    ("surplus", "ECHO", "more than the answer to ECHO"),
    ("push", "ECHO", "more than the answer to ECHO"),
    (b"$16\r\n0123456789abcdef\r\n", "ECHO", "a wrong answer to ECHO"),
    # It is not waited for.
    (b"$2000000000\r\nabc", "ECHO", "a wrong answer to ECHO"),
    (b":1\r\n", "ECHO", "a wrong answer to ECHO"),
    (b"-ERR max number of clients reached\r\n", "ECHO", "ERR max number of clients"),
    (b"-DENIED Redis is running in protected mode\r\n", "ECHO", "ECHO: DENIED Redis"),
    ("close", "INFO", "closed the connection after INFO"),
    ("cut", "INFO", "closed the connection after INFO"),
    ("stall-inside", "INFO", "no answer to INFO"),
    ("garbage", "INFO", "not a Redis server"),
    ("stall", "CONFIG", "no answer to CONFIG GET timeout"),
    ("close", "CONFIG", "closed the connection after CONFIG GET timeout"),
]


# A unix socket differs where the kernel has a part in it.
ROWS = [(False, *row) for row in HANDSHAKE]
ROWS += [(True, *row) for row in HANDSHAKE if row[:2] in (("refuse", None), ("close", None))]
ROWS += [(True, *row) for row in HANDSHAKE if row[:2] in (("reset", "ECHO"), ("stall", "ECHO"))]


def spoil(middleman, fault, command):
    if fault == "refuse":
        middleman.refuse()
    elif command:
        middleman.arm(command.encode(), fault, times=1_000_000)
    else:
        middleman.welcome(fault)


@pytest.fixture(scope="module")
def healthy(keep):
    """The server of the neighbours' pool."""
    return keep.server()


@pytest.fixture(scope="module")
def real(keep):
    """The server behind the middlemen."""
    return keep.server()


@pytest.mark.parametrize(
    "unix, fault, command, words",
    ROWS,
    ids=[f"{'unix' if row[0] else 'tcp'}-{row[1]!r}-{row[2] or 'connecting'}" for row in ROWS],
)
def test_handshake(launch, healthy, real, unix, fault, command, words):
    """Clients are told why, another pool notices nothing, and recovery needs nobody's help."""
    middleman = launch.middleman(real, unix)
    spoil(middleman, fault, command)
    other = Address(host="127.0.0.1", port=free_port())
    pools = {"other": {"listen": other.text, "upstream": healthy.tcp.text}}
    redpool = launch.redpool(middleman, pool=SETTINGS, pools=pools)
    with redpool.connect() as client, Connection(other) as neighbour:
        if unix:
            # A unix socket is not there, and knows no reset.
            words += {"refuse": "|No such file", "reset": "|closed the connection"}.get(fault, "")
        check_refusals(client, words.split("|"))
        assert neighbour.command("ECHO", "neighbour") == b"neighbour"
        if fault == "refuse":
            middleman.listen()
        middleman.disarm()
        eventually(lambda: client.command("ECHO", "again") == b"again")


def check_refusals(client, words):
    """Every refusal comes in time; before long it is UPSTREAMDOWN with the cause."""
    started = time.monotonic()
    while True:
        asked = time.monotonic()
        reply = client.command("ECHO", "anybody")
        assert isinstance(reply, ErrorReply), reply
        assert time.monotonic() - asked < POOL_TIMEOUT + SLACK
        if reply.startswith(b"UPSTREAMDOWN pool main: ") and any(
            word.lower() in reply.decode().lower() for word in words
        ):
            return
        assert reply.startswith((b"UPSTREAMDOWN pool main", b"POOLTIMEOUT pool main")), reply
        assert time.monotonic() - started < 30, reply


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_handshake_one_byte_at_a_time(launch, real, unix):
    middleman = launch.middleman(real, unix)
    for command in (b"ECHO", b"INFO", b"CONFIG", b"COMMAND", b"CLIENT"):
        middleman.arm(command, "trickle", times=1_000_000)
    # Every byte wakes two processes: on a busy machine that takes a while.
    redpool = launch.redpool(middleman, pool={"connectTimeout": "50s", "poolTimeout": "50s"})
    with redpool.connect(60) as client:
        assert client.command("ECHO", "slowly") == b"slowly"


def test_connect_into_a_black_hole(launch):
    """Nobody answers the SYN: the listener's queue is full."""
    with socket.create_server(("127.0.0.1", free_port()), backlog=0) as hole:
        address = Address(*hole.getsockname())
        fillers = fill(address)

        class Nowhere:
            tcp = address

        redpool = launch.redpool(Nowhere, pool=SETTINGS)
        with redpool.connect() as client:
            check_refusals(client, ["connect timed out"])
        for filler in fillers:
            filler.close()


def fill(address):
    fillers = []
    for _ in range(8):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex((address.host, address.port))
        fillers.append(filler)
    return fillers


def test_open_breaker_answers_at_once_and_dials_once_a_second(launch, real):
    middleman = launch.middleman(real)
    middleman.welcome("close")
    redpool = launch.redpool(middleman, pool=SETTINGS | {"poolTimeout": "1s"})
    with redpool.connect(60) as client:
        eventually(lambda: refused_at_once(client))
        # Two dials from here on are at least one second apart, whatever the clients do. Each may
        # be seen late, so that two say little.
        dials = [dialled_again(client, middleman, middleman.accepted) for _ in range(5)]
        assert dials[-1] - dials[0] > 2


def dialled_again(client, middleman, before):
    """Keeps asking until there is another dial; every answer is immediate."""
    started = time.monotonic()
    while middleman.accepted == before:
        asked = time.monotonic()
        assert client.command("ECHO", "x").startswith(b"UPSTREAMDOWN")
        assert time.monotonic() - asked < SLACK
        assert asked - started < 30, "nobody dials"
    return time.monotonic()


def refused_at_once(client):
    asked = time.monotonic()
    reply = client.command("ECHO", "x")
    return reply.startswith(b"UPSTREAMDOWN pool main: ") and time.monotonic() - asked < 0.5


def test_frozen_server(launch):
    """SIGSTOP with commandTimeout: who waits is told why within the deadlines, newcomers at once;
    SIGCONT is all that recovery needs."""
    server = launch.server()
    redpool = launch.redpool(
        server,
        pool={
            "maxOpen": 4, "poolTimeout": "2s", "connectTimeout": "300ms",
            "commandTimeout": "2s", "pingInterval": "200ms",
        },
    )
    redpool.warm_up()
    clients = [redpool.connect() for _ in range(20)]
    assert {client.command("PING") for client in clients} == {b"PONG"}
    server.pause()

    def ask(index):
        started = time.monotonic()
        clients[index].send(encode("ECHO", "x"))
        outcome = clients[index].socket.recv(1 << 16)
        # Closed after commandTimeout, or refused once that has closed the last upstream.
        assert outcome == b"" or outcome.startswith(b"-UPSTREAMDOWN"), outcome
        assert time.monotonic() - started < 4.0 + SLACK

    frozen = time.monotonic()
    in_threads(20, ask, timeout=40)
    with redpool.connect() as late:
        eventually(lambda: late.command("ECHO", "x").startswith(b"UPSTREAMDOWN"))
        # commandTimeout, poolTimeout and two ticks.
        assert time.monotonic() - frozen < 2.0 + 2.0 + 0.2 + SLACK
        eventually(lambda: refused_at_once(late))
        refusal = late.command("ECHO", "x")
        step = b"the TLS handshake" if TLS else b"ECHO"
        assert b"no answer to " + step in refusal, refusal
        server.resume()
        eventually(lambda: late.command("ECHO", "back") == b"back")
    for client in clients:
        client.close()
    with server.connect() as control:
        eventually(lambda: len(server.upstreams(control)) <= 4)


def test_never_more_than_max_open_while_connections_close(launch):
    """A stopped server does not see them close: each counts until the daemon has let it go."""
    server = launch.server()
    # All are open from the start: nobody's deadline is then a matter of how fast one is opened.
    redpool = launch.redpool(
        server, pool={"maxOpen": 4, "maxPinned": 3, "minIdle": 4, "poolTimeout": "300ms"}
    )
    eventually(lambda: server.client_count() == 4)
    others = redpool.fds() - 4
    redpool.warm_up()
    blocked = [redpool.connect() for _ in range(3)]
    for index, client in enumerate(blocked):
        client.send(encode("BLPOP", f"list:{index}", "0"))
    eventually(lambda: server.info("blocked_clients") == "3")
    waiting = [redpool.connect() for _ in range(80)]
    for client in waiting:
        # The daemon has accepted it, so that its descriptor counts from here on.
        client.command("PING")
    server.pause()
    for client in blocked:
        client.close()
    eventually(lambda: redpool.fds() <= others + len(waiting) + 4)
    # Their deadlines have the daemon look at the clock at other times than its tick.
    started, asked, most = time.monotonic(), 0, 0
    while time.monotonic() - started < 2.5:
        if (time.monotonic() - started) * 200 > asked:
            client = waiting[asked % len(waiting)]
            client.send(encode("BLPOP", "list", "0"))
            asked += 1
        most = max(most, redpool.fds() - others - len(waiting))
    server.resume()
    for client in waiting:
        client.close()
    # How many there are at most depends on how soon the daemon lets go of those that close.
    assert 0 < most <= 4, f"{most} upstreams for maxOpen 4"


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("connect_timeout", ["300ms", "50s"])
def test_frozen_server_without_command_timeout(launch, threads, connect_timeout):
    """Every command waits for the server, whenever it comes: while a connect is tried, after it has
    failed, with the breaker open; and where connecting takes longer than poolTimeout. Nobody gets
    an error, and all are served when the server goes on.
    """
    server = launch.server()
    settings = {"maxOpen": 4, "connectTimeout": connect_timeout, "poolTimeout": "400ms"}
    redpool = launch.redpool(server, pool=settings, settings={"threads": threads})
    redpool.warm_up()
    steady = [redpool.connect(60) for _ in range(10)]
    assert {client.command("PING") for client in steady} == {b"PONG"}
    server.pause()
    hanging = []
    for client in steady:
        client.send(encode("INCR", "n"))
        hanging.append(client)

    def ask():
        client = redpool.connect(60)
        client.send(encode("INCR", "n"))
        hanging.append(client)
        return not select.select([one.socket for one in hanging], [], [], 0)[0]

    # connectTimeout, poolTimeout, after which the breaker opens, and backoff.
    always(ask, 2, interval=0.05, what="silence")
    server.resume()
    replies = [client.read() for client in hanging]
    assert sorted(replies) == list(range(1, len(hanging) + 1)), replies
    for client in hanging:
        client.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_restart_within_pool_timeout_costs_no_error(launch, threads):
    """However many connects fail meanwhile: those who block want one each."""
    server = launch.server()
    pool = {"maxOpen": 8, "poolTimeout": "30s"}
    redpool = launch.redpool(server, pool=pool, settings={"threads": threads})
    redpool.warm_up()
    clients = [redpool.connect(60) for _ in range(24)]
    assert {client.command("PING") for client in clients} == {b"PONG"}
    server.stop()
    for index, client in enumerate(clients):
        client.send(encode("BLPOP", "list", "0.01") if index % 2 else encode("SET", "k", index))
    with redpool.connect(60) as local:
        always(lambda: b"denyCommands" in local.command("DEBUG", "JMAP"), 1.5)
    server.start()
    assert [client.read() for client in clients] == [b"OK", None] * 12
    for client in clients:
        client.close()


def test_waiters_are_served_in_order(launch):
    """Those who have waited for one connection come to the server as they came to the daemon."""
    server = launch.server()
    settings = {"minIdle": 0, "connectTimeout": "50s", "poolTimeout": "50s"}
    redpool = launch.redpool(server, pool=settings)
    server.pause()
    clients = [redpool.connect(60) for _ in range(50)]
    with redpool.connect() as local:
        for index, client in enumerate(clients):
            client.send(encode("RPUSH", "order", index))
            # Refused without the server, so the daemon has read what came before.
            assert b"denyCommands" in local.command("DEBUG", "JMAP")
    server.resume()
    assert [client.read() for client in clients] == list(range(1, 51))
    for client in clients:
        client.close()
