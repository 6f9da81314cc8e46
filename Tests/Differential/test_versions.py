"""What one client sees of others, on every server: ids and addresses differ, so each side has its own."""

import re

import pytest

from harness.servers import FOUND
from harness.wire import Closed, Connection, ErrorReply
from world import World

# A connection's own numbers, and what is copied from an upstream.
MASK = re.compile(
    rb"\b(id|addr|laddr|fd|age|idle|qbuf|qbuf-free|argv-mem|multi-mem|rbs|rbp|obl|oll|omem|tot-mem|"
    rb"events|tot-net-in|tot-net-out|tot-cmds)=\S*"
)
NO_TRANSACTION = re.compile(rb"\bmulti=(?:0|-1) ")


@pytest.fixture(scope="module", params=FOUND, ids=str)
def world(request):
    made = World(noise=False, server=request.param)
    yield made
    made.close()


class Crowd:
    """Four clients of one side: a plain one, a subscriber, bob in a transaction, one with a name."""

    def __init__(self, address):
        self.members = {name: Connection(address) for name in ("plain", "sub", "bob", "named")}
        self.ids = {name: one.command("CLIENT", "ID") for name, one in self.members.items()}
        self["sub"].command("SUBSCRIBE", "c")
        self["bob"].command("AUTH", "bob", "pw")
        self["bob"].command("SELECT", "3")
        self["bob"].command("MULTI")
        self["named"].command("HELLO", "3", "SETNAME", "me")
        self["named"].command("CLIENT", "SETINFO", "LIB-NAME", "lib")
        for name in ("plain", "named"):
            self[name].command("GET", "k")

    def __getitem__(self, name) -> Connection:
        return self.members[name]

    def address(self, name, side) -> str:
        one = self[name].socket
        host, port = one.getsockname() if side == "ADDR" else one.getpeername()
        return f"{host}:{port}"

    def living(self) -> list:
        """Who is still there. PING is queued in a transaction, which is an answer as well."""
        found = []
        for name, one in self.members.items():
            try:
                one.command("PING")
                found.append(name)
            except (Closed, ConnectionError):
                # Killed, which is what is asked for.
                continue
        return found

    def close(self):
        for one in self.members.values():
            one.close()


def on_both(world, act):
    """What `act` answers of a crowd on either side."""
    answers = []
    for address in (world.direct, world.proxied):
        crowd = Crowd(address)
        try:
            with Connection(address) as asker:
                answers.append(act(crowd, asker))
        finally:
            crowd.close()
    return answers


def test_list_is_in_the_format_of_the_server(world):
    def act(crowd, asker):
        ids = [crowd.ids[name] for name in ("plain", "sub", "bob", "named")]
        lines = asker.command("CLIENT", "LIST", "ID", *ids).splitlines()
        if world.server.is_valkey(8, 1):
            # In the order of its own list, which it turns round and round.
            lines.sort()
        text = b"\n".join(lines)
        assert [int(n) for n in re.findall(rb"^id=(\d+) ", text, re.M)] == ids
        # Of a transaction without commands it shows 0, of none 0 or -1.
        if world.server.shows_past_transactions:
            text = NO_TRANSACTION.sub(b"multi=? ", text)
        return MASK.sub(rb"\1=?", text)

    direct, proxied = on_both(world, act)
    assert proxied == direct


def test_list_of_subscribers(world):
    def act(crowd, asker):
        text = asker.command("CLIENT", "LIST", "TYPE", "pubsub")
        assert re.findall(rb"^id=(\d+) ", text, re.M) == [str(crowd.ids["sub"]).encode()]
        return MASK.sub(rb"\1=?", text)

    direct, proxied = on_both(world, act)
    assert proxied == direct


FILTERS = {
    "id": lambda crowd: ("ID", crowd.ids["plain"]),
    "address": lambda crowd: ("ADDR", crowd.address("named", "ADDR")),
    "address alone": lambda crowd: (crowd.address("bob", "ADDR"),),
    "address of another": lambda crowd: ("ID", crowd.ids["bob"], "ADDR", "1.2.3.4:5"),
    "local address and user": lambda crowd: ("LADDR", crowd.address("bob", "LADDR"), "USER", "bob"),
    "user": lambda crowd: ("USER", "bob"),
    "type": lambda crowd: ("TYPE", "pubsub"),
    "type and id": lambda crowd: ("TYPE", "normal", "ID", crowd.ids["bob"]),
    "type of masters": lambda crowd: ("TYPE", "primary", "ID", crowd.ids["bob"]),
    "age": lambda crowd: ("MAXAGE", "100000"),
    "age and id": lambda crowd: ("MAXAGE", "0", "ID", crowd.ids["sub"]),
    "a filter to come": lambda crowd: ("NOT-ID", crowd.ids["sub"]),
}


SEVERAL = {
    "ids": lambda crowd: ("ID", crowd.ids["plain"], crowd.ids["bob"], 999999999),
    "ids and type": lambda crowd: ("ID", crowd.ids["sub"], crowd.ids["bob"], "TYPE", "pubsub"),
    "user, id and me": lambda crowd: ("USER", "bob", "ID", crowd.ids["bob"], "SKIPME", "yes"),
    "no such user": lambda crowd: ("USER", "nosuch", "ID", crowd.ids["bob"]),
    "id 0": lambda crowd: ("ID", "0", crowd.ids["bob"]),
}


@pytest.mark.parametrize(
    "filter_of", (FILTERS | SEVERAL).values(), ids=(FILTERS | SEVERAL).keys()
)
def test_list_with_filters(world, filter_of):
    """Valkey 8.1 has those of CLIENT KILL here."""
    def act(crowd, asker):
        reply = asker.command("CLIENT", "LIST", *filter_of(crowd))
        if isinstance(reply, ErrorReply):
            return reply
        ids = set(map(int, re.findall(rb"^id=(\d+) ", reply, re.M)))
        return {name for name, one in crowd.ids.items() if one in ids}

    direct, proxied = on_both(world, act)
    assert proxied == direct


@pytest.mark.parametrize(
    "filter_of", (FILTERS | SEVERAL).values(), ids=(FILTERS | SEVERAL).keys()
)
def test_kill(world, filter_of):
    def act(crowd, asker):
        return asker.command("CLIENT", "KILL", *filter_of(crowd)), crowd.living()

    direct, proxied = on_both(world, act)
    assert proxied == direct


# What may kill everybody, the harness's own connections included: how many is not compared.
@pytest.mark.parametrize("words", [("ID", "0"), ("MAXAGE", "0")], ids=" ".join)
def test_kill_of_everybody(words):
    for server in FOUND:
        made = World(noise=False, server=server)
        try:
            answers = on_both(
                made,
                lambda crowd, asker: (
                    isinstance(asker.command("CLIENT", "KILL", *words), ErrorReply), crowd.living()
                ),
            )
        finally:
            made.close()
        assert answers[0] == answers[1], server


@pytest.mark.parametrize("how", [(), ("TIMEOUT",), ("ERROR",)], ids=str)
def test_unblock(world, how):
    def act(crowd, asker):
        blocked = crowd["plain"]
        blocked.send(b"*3\r\n$5\r\nBLPOP\r\n$4\r\nnone\r\n$2\r\n60\r\n")
        while asker.command("CLIENT", "UNBLOCK", crowd.ids["plain"], *how) == 0:
            pass
        return blocked.read_raw()

    direct, proxied = on_both(world, act)
    assert proxied == direct
