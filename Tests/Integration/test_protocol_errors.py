"""Bad input: the very bytes that redis-server answers, and the same closes."""

import pytest

from differential import CLOSE, same, step

# Each closes the connection, with the error text that networking.c has for it.
FATAL = {
    "multibulk length is a word": b"*x\r\n",
    "multibulk length with a plus": b"*+1\r\n$4\r\nPING\r\n",
    "multibulk length with a leading zero": b"*01\r\n$4\r\nPING\r\n",
    "multibulk length with a space": b"* 1\r\n$4\r\nPING\r\n",
    "multibulk length past INT_MAX": b"*2147483648\r\n",
    "multibulk length past 64 bits": b"*99999999999999999999\r\n",
    "multibulk length is empty": b"*\r\n",
    "multibulk header without an end": b"*" + b"1" * 70000,
    "bulk length is a word": b"*1\r\n$x\r\n",
    "bulk length is negative": b"*1\r\n$-1\r\n",
    "bulk length with a plus": b"*1\r\n$+4\r\nPING\r\n",
    "bulk length with a leading zero": b"*1\r\n$04\r\nPING\r\n",
    "bulk length past proto-max-bulk-len": b"*1\r\n$536870913\r\n",
    "bulk length past 64 bits": b"*1\r\n$99999999999999999999\r\n",
    "bulk length is empty": b"*1\r\n$\r\n",
    "bulk header without an end": b"*1\r\n$" + b"1" * 70000,
    "no dollar": b"*1\r\nPING\r\n",
    "no dollar at the second argument": b"*2\r\n$4\r\nECHO\r\n:1\r\n",
    "inline line without an end": b"a" * 70000,
    "unbalanced double quote": b'SET k "v\r\n',
    "unbalanced single quote": b"SET k 'v\r\n",
    "text right behind a closing quote": b'SET "k"v 1\r\n',
    "text right behind a closing single quote": b"SET 'k'v 1\r\n",
    "a complete command, then garbage": b"*1\r\n$4\r\nPING\r\n*x\r\n*1\r\n$4\r\nPING\r\n",
    "QUIT": b"*1\r\n$4\r\nQUIT\r\n*1\r\n$4\r\nPING\r\n",
    "QUIT in lower case with an argument": b"quit now\r\nPING\r\n",
}

# Each is answered and the connection lives on, which a PING behind it shows.
SURVIVED = {
    "empty line": (b"\r\n", 0),
    "bare newline": (b"\n", 0),
    "line of blanks": (b"   \r\n", 0),
    "empty array": (b"*0\r\n", 0),
    "negative array": (b"*-1\r\n", 0),
    "negative array of ten": (b"*-10\r\n", 0),
    "unknown command": (b"*2\r\n$7\r\nNOSUCHX\r\n$1\r\na\r\n", 1),
    "unknown inline command": (b"nosuch 'a b' \"c\\x41\"\r\n", 1),
    "unknown subcommand": (b"CLIENT NOSUCH\r\n", 1),
    "wrong arity": (b"GET\r\n", 1),
    "wrong arity of a subcommand": (b"CLIENT SETNAME\r\n", 1),
    "empty command name": (b"*1\r\n$0\r\n\r\n", 1),
    "binary command name": (b"*1\r\n$3\r\n\x00\r\n\r\n", 1),
    "very long unknown command": (b"*1\r\n$300\r\n" + b"z" * 300 + b"\r\n", 1),
    "inline with quotes and escapes": (b'ECHO "a\\r\\n\\t\\x00\\"b"\r\n', 1),
    "inline with single quotes": (b"ECHO 'it\\'s'\r\n", 1),
    "inline without a carriage return": (b"ECHO hi\n", 1),
    "inline with many blanks": (b"  ECHO   hi  \r\n", 1),
    "inline and arrays in turn": (b"PING\r\n*1\r\n$4\r\nPING\r\nPING x\r\n", 3),
    "two bytes behind a payload are anything": (b"*1\r\n$4\r\nPINGXX", 1),
    "the byte behind a carriage return is anything": (b"*1\rX$4\rXPING\r\n", 1),
    "wrong type": (b"SET k v\r\nLPUSH k x\r\n", 2),
    "mixed case": (b"*2\r\n$4\r\neChO\r\n$1\r\nx\r\n", 1),
    "keys and values with line ends": (b"*3\r\n$3\r\nSET\r\n$2\r\n\r\n\r\n$4\r\n*1\r\n\r\n", 1),
}


def skip_what_valkey_misreads(server, data):
    if data.isspace() and b" " in data and b"valkey_version:8.0" in server.command("INFO", "server"):
        pytest.skip("Valkey 8.0 takes an array behind a line of blanks for an inline command")


@pytest.mark.parametrize("data", FATAL.values(), ids=FATAL.keys())
def test_fatal(server, redpool, data):
    same(server, redpool, [step(("PING",)), step(data, replies=CLOSE)])


@pytest.mark.parametrize("data", FATAL.values(), ids=FATAL.keys())
def test_fatal_inside_a_pinned_session(server, redpool, data):
    script = [step(("WATCH", "k")), step(("PING",)), step(data, replies=CLOSE)]
    same(server, redpool, script)


@pytest.mark.parametrize("data,replies", SURVIVED.values(), ids=SURVIVED.keys())
def test_survived(server, redpool, data, replies):
    skip_what_valkey_misreads(server, data)
    same(server, redpool, [step(data + b"*2\r\n$4\r\nPING\r\n$3\r\nend\r\n", replies + 1)])


@pytest.mark.parametrize("data,replies", SURVIVED.values(), ids=SURVIVED.keys())
def test_survived_inside_a_pinned_session(server, redpool, data, replies):
    skip_what_valkey_misreads(server, data)
    tail = b"*2\r\n$4\r\nPING\r\n$3\r\nend\r\n"
    same(server, redpool, [step(("WATCH", "k")), step(data + tail, replies + 1)])


@pytest.mark.parametrize(
    "data",
    [b"POST / HTTP/1.1\r\n", b"Host: localhost\r\n", b"*1\r\n$4\r\nPOST\r\n"],
    ids=["POST", "Host:", "POST as an array"],
)
def test_http_is_closed_without_a_word(server, redpool, data):
    same(server, redpool, [step(("PING",)), step(data, replies=CLOSE)])


@pytest.mark.daemon
def test_nothing_of_this_reaches_an_upstream(server, redpool):
    before = server.log().count("Protocol error")
    for data in FATAL.values():
        with redpool.connect() as client:
            client.send(data)
            client.read_until_closed()
    assert server.log().count("Protocol error") == before

