"""An upstream whose name moves: followed in the background, and nobody is cut off."""

from harness.waiting import always, eventually


def where(server):
    """The addresses of the server that the daemon's connections go to, each once."""
    return {row["laddr"].rpartition(":")[0] for row in server.upstreams()}


def start(launch, shim, server, **pool):
    shim.say("127.0.0.1")

    class Named:
        tcp = type(server.tcp)(host="moving.test", port=server.port)

    pool = {"maxOpen": 4, "dnsRefresh": "1s"} | pool
    return launch.redpool(Named, pool=pool, environment=shim.environment)


def test_upstreams_follow_their_name(launch, shim):
    """Those at an address that two answers in a row are without go, a pinned one when its pin ends."""
    server = launch.server()
    redpool = start(launch, shim, server)
    with redpool.connect() as client, redpool.connect() as holder:
        assert client.command("INCR", "count") == 1
        assert holder.command("WATCH", "k") == b"OK"
        assert where(server) == {"127.0.0.1"}
        shim.say("::1")
        count = 1
        # Every command is answered meanwhile; the pin alone stays.
        while len(server.upstreams()) < 2 or where(server) == {"127.0.0.1"}:
            count += 1
            assert client.command("INCR", "count") == count
        old = eventually(lambda: at(server, "127.0.0.1") == 1 and at(server, "[::1]") >= 1)
        assert old and holder.command("GET", "k") is None
        assert holder.command("UNWATCH") == b"OK"
        eventually(lambda: where(server) == {"[::1]"})
        assert client.command("INCR", "count") == count + 1


def at(server, host):
    return sum(row["laddr"].startswith(f"{host}:") for row in server.upstreams())


def test_no_answer_changes_nothing(launch, shim):
    server = launch.server()
    redpool = start(launch, shim, server)
    with redpool.connect() as client:
        assert client.command("INCR", "count") == 1
        before = {row["id"] for row in server.upstreams()}
        shim.say("fail")
        always(lambda: {row["id"] for row in server.upstreams()} == before, 3)
        assert client.command("INCR", "count") == 2


def test_name_without_address_at_the_start(launch, shim):
    """Clients are told which name it is; as soon as there is an answer, it is used."""
    server = launch.server()
    redpool = start(launch, shim, server, poolTimeout="300ms")
    shim.say("fail")
    server.command("CLIENT", "KILL", "TYPE", "normal")
    with redpool.connect() as client:
        shim.say("127.0.0.1")
        eventually(lambda: client.command("ECHO", "x") == b"x")
