"""Commands with keys in all forms, and what servers say their keys are.

    python Tests/Differential/key_cases.py        writes Tests/SessionTests/keys.tsv and slots.tsv

SessionTests compares KeyWalk and Slot with the files, test_keys.py compares the files with each
server. A line of keys.tsv has the words of a command and its keys in their order, or `-` for none.
"""

import pathlib
import random
import sys

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.ports import free_port  # noqa: E402
from harness.server import RedisServer  # noqa: E402
from harness.servers import FOUND  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = ROOT / "Sources/Session/Commands/commands.tsv"
KEYS = ROOT / "Tests/SessionTests/keys.tsv"
SLOTS = ROOT / "Tests/SessionTests/slots.tsv"

# Shard channels have slots, as keys have, but servers do not count them as keys.
CHANNELS = {"SPUBLISH", "SSUBSCRIBE", "SUNSUBSCRIBE"}
EMPTY = '""'
# What stands before a number of keys: a destination, a script, a timeout.
DESTINATION = "before"


def specs():
    """The column `keys` by command, without those that have none."""
    rows = [line.split("\t") for line in TABLE.read_text().splitlines()[1:]]
    return {row[0]: row[5] for row in rows if row[5] != "-" and row[0] not in CHANNELS}


def write(words):
    return " ".join(word or EMPTY for word in words)


def read(text):
    return ["" if word == EMPTY else word for word in text.split(" ")]


def numbered(name, spec, chance):
    """`n1`, `1+n2`: the right number of keys, and wrong ones; none such as `2x`, which servers read as
    2 here and refuse when the command runs."""
    at = int(spec.split("+")[-1][1])
    step = 2 if spec.endswith("/2") else 1
    words = name.split() + [DESTINATION] * (at - 1)
    keys = [f"k{index}" for index in range(chance.randrange(0, 4) * step)]
    number = len(keys) // step
    if chance.random() < 0.4:
        number = chance.choice(["-1", "0", "99", "x", "", "-x"])
    behind = [f"w{index}" for index in range(chance.randrange(0, 4))]
    return [*words, str(number), *keys, *behind]


def streams(name, chance):
    words, plain = [name], [["COUNT", "2"], ["BLOCK", "0"]]
    if name == "XREADGROUP":
        words += ["GROUP", chance.choice(["g", "STREAMS", "count"]), "c"]
        plain.append(["NOACK"])
    for option in chance.sample(plain, chance.randrange(0, len(plain) + 1)):
        words += [chance.choice([option[0], option[0].lower()]), *option[1:]]
    count = chance.choice([1, 1, 2, 3])
    names = [chance.choice([f"s{index}", "streams"]) for index in range(count)]
    words += [chance.choice(["STREAMS", "streams"]), *names]
    return words + ["0"] * chance.choice([count] * 4 + [count - 1])


def sort(name, chance):
    options = [["LIMIT", "0", "9"], ["BY", "p*"], ["BY", "store"], ["GET", "#"], ["GET", "store"]]
    options += [["ASC"], ["ALPHA"], ["STORE", "d"], ["store", "e"]]
    chosen = chance.sample(options, chance.randrange(0, 5))
    stores = [one for one in chosen if one[0].lower() == "store"][1:]
    return [name, "k", *(word for one in chosen if one not in stores for word in one)]


def georadius(name, chance):
    words = [name, "k", *(["m"] if "MEMBER" in name else ["1", "2"]), "3", "km"]
    options = [["WITHDIST"], ["COUNT", "3"], ["ASC"]]
    store = chance.choice([[], ["STORE", "d"], ["storedist", "d"]])
    chosen = [*chance.sample(options, chance.randrange(0, 3)), store]
    return [*words, *(word for one in chosen for word in one)]


def migrate(name, chance):
    key = chance.choice(["", "", "k"])
    words = [name, "host", "6379", key, "0", "100"]
    options = [["COPY"], ["REPLACE"], ["AUTH", "p"], ["AUTH2", "u", "p"]]
    for option in chance.sample(options, chance.randrange(0, 3)):
        words += option
    if not key and chance.random() < 0.8:
        words += [chance.choice(["KEYS", "keys"]), *(f"k{i}" for i in range(chance.randrange(1, 4)))]
    return words


def cases():
    """Commands as lists of words; the same ones each time."""
    chance = random.Random(17)
    for name, spec in sorted(specs().items()):
        make = {"streams": streams, "sort": sort, "georadius": georadius, "migrate": migrate}
        if spec in make:
            yield from (make[spec](name, chance) for _ in range(25))
        elif "n" in spec:
            yield from (numbered(name, spec, chance) for _ in range(25))
        else:
            least = len(name.split())
            yield from ([*name.split(), *(f"a{i}" for i in range(n))] for n in range(9) if n + least > 1)


def keys_of(server, words):
    """What COMMAND GETKEYS says: keys, [] for an error about them, None when this server does not
    know the command with this number of arguments. Redis 6.2 names the destination of ZUNIONSTORE
    and the like last; here it is first, as with all others."""
    answer = server.command("COMMAND", "GETKEYS", *words)
    if isinstance(answer, list):
        keys = [key.decode() for key in answer]
        return [keys[-1], *keys[:-1]] if keys[1:] and keys[-1] == DESTINATION else keys
    text = str(answer)
    if "Invalid command" in text or "Invalid number of arguments" in text:
        return None
    assert "no key arguments" in text or "Invalid arguments" in text, text
    return []


def slot_keys():
    """Keys for CLUSTER KEYSLOT, of bytes that a line can have."""
    chance = random.Random(18)
    yield from ["foo", "{}", "{", "}", "}{", "a{}b{c}", "{a}{b}", "x{y}z", "{{a}}", "{a", "a}{b}"]
    yield from ["{}{x}", "a{b{c}d}e", "k" * 1000, "{" + "t" * 300 + "}x", "\u00e4{\u00f6}"]
    for _ in range(300):
        yield "".join(chance.choice("{}abc0123456789") for _ in range(chance.randrange(1, 24)))


def cluster_node(kind):
    """A server that knows CLUSTER KEYSLOT. Before 7.0 the port of its bus cannot be chosen."""
    return RedisServer(
        "--cluster-enabled", "yes", "--cluster-port", str(free_port()), binary=kind.path)


def main():
    servers = [RedisServer(binary=kind.path) for kind in FOUND]
    lines = []
    for words in cases():
        found = [keys_of(server, words) for server in servers]
        said = {tuple(keys) for keys in found if keys is not None}
        if len(said) > 1:
            print("left out, servers differ:", write(words), dict(zip(map(str, FOUND), found)))
        elif said:
            line = f"{write(words)}\t{write(said.pop()) or '-'}"
            lines += [line] if line not in lines else []
    KEYS.write_text("\n".join(lines) + "\n")
    for server in servers:
        server.close()
    node = cluster_node(FOUND[0])
    slots = [f"{key}\t{node.command('CLUSTER', 'KEYSLOT', key)}" for key in slot_keys()]
    SLOTS.write_text("\n".join(slots) + "\n")
    node.close()


if __name__ == "__main__":
    main()
