"""The recorded keys and slots of commands, with which the unit tests compare KeyWalk and Slot, are
what servers say."""

import pytest

import key_cases
from harness.server import RedisServer
from harness.servers import FOUND


def lines(path):
    return [line.split("\t") for line in path.read_text().splitlines()]


FROM_7 = [kind for kind in FOUND if kind.compatible >= (7, 0)]


@pytest.fixture
def server(request):
    made = RedisServer(binary=request.param.path)
    yield made
    made.close()


@pytest.mark.parametrize("server", FOUND, ids=str, indirect=True)
def test_the_recorded_keys_are_what_the_server_says(server):
    asked, wrong = 0, []
    for text, keys in lines(key_cases.KEYS):
        said = key_cases.keys_of(server, key_cases.read(text))
        asked += said is not None
        if said is not None and (key_cases.write(said) or "-") != keys:
            wrong.append(f"{text}: {said}, not {keys}")
    assert not wrong
    assert asked > 900


@pytest.mark.parametrize("server", FROM_7, ids=str, indirect=True)
def test_the_table_has_all_commands_with_keys(server):
    """A command without keys in the table has none for the server either. Before 7.0 a server knows
    no subcommands here."""
    rows = [line.split("\t") for line in key_cases.TABLE.read_text().splitlines()[1:]]
    keyless = [row[0] for row in rows if row[5] == "-" or row[0] in key_cases.CHANNELS]
    wrong = [
        (name, said)
        for name in keyless
        for count in range(0 if " " in name else 1, 5)
        if (said := key_cases.keys_of(server, [*name.split(), *(f"a{i}" for i in range(count))]))
    ]
    assert wrong == []


@pytest.mark.parametrize("kind", FROM_7, ids=str)
def test_the_recorded_slots_are_what_the_server_says(kind):
    node = key_cases.cluster_node(kind)
    said = [[key, str(node.command("CLUSTER", "KEYSLOT", key))] for key, _ in lines(key_cases.SLOTS)]
    node.close()
    assert said == lines(key_cases.SLOTS)
