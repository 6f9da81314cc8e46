"""Words spelled otherwise, in every place of every command that carries connection state.

A shape is a command and the kind of each of its words: `n` a name, `s` a subcommand, `o` an option,
`i` a number, `t` a number that may make the command wait, `d` data, which is left alone. There are
three kinds of spelling:

| kind | what it is | what it costs |
| --- | --- | --- |
| `respelled` | the server reads the same: other case, a NUL behind an option | nothing |
| `misnamed` | a name with a byte that no name has, or too long | nothing: Redpool answers |
| `misspelled` | everything else, and wrong numbers of words | an upstream: ten a second |

The last kind has to be rare in what is to be quick.
"""

TAILS = ("\0", "\0x", "\0 1", "\0" * 3)
JUNK = ("\0", " ", "\r\n", "\t", "\x7f", "|", "\x01")
MOST_NAME = 128

CONTAINERS = {"CLIENT", "SCRIPT", "FUNCTION", "OBJECT", "CONFIG", "ACL", "COMMAND", "PUBSUB"}


def shape(kinds, text):
    words = text.split()
    assert len(kinds) == len(words), text
    return tuple(zip(kinds, words))


# None that stops, pauses or closes anybody: both sides have other clients. No WAITAOF, which may be
# refused when writes went over several upstreams.
SHAPES = [
    shape("ni", "SELECT 1"), shape("ni", "SELECT 0"), shape("ndd", "AUTH bob pw"),
    shape("nd", "AUTH anything"), shape("n", "HELLO"), shape("ni", "HELLO 2"),
    shape("ni", "HELLO 3"), shape("niodd", "HELLO 2 AUTH bob pw"),
    shape("niod", "HELLO 3 SETNAME n1"), shape("nioddod", "HELLO 3 AUTH bob pw SETNAME n2"),
    shape("n", "MULTI"), shape("n", "EXEC"), shape("n", "DISCARD"), shape("nd", "WATCH s1"),
    shape("n", "UNWATCH"), shape("n", "MONITOR"), shape("n", "RESET"), shape("n", "QUIT"),
    shape("n", "READONLY"), shape("n", "READWRITE"), shape("n", "ASKING"),
    shape("nd", "SUBSCRIBE c1"), shape("nd", "UNSUBSCRIBE c1"), shape("n", "UNSUBSCRIBE"),
    shape("nd", "PSUBSCRIBE c*"), shape("n", "PUNSUBSCRIBE"), shape("nd", "SSUBSCRIBE c1"),
    shape("n", "SUNSUBSCRIBE"), shape("nso", "CLIENT REPLY ON"), shape("nso", "CLIENT REPLY OFF"),
    shape("nso", "CLIENT REPLY SKIP"), shape("nso", "CLIENT TRACKING ON"),
    shape("nsoo", "CLIENT TRACKING ON OPTIN"), shape("nsoo", "CLIENT TRACKING ON OPTOUT"),
    shape("nsoo", "CLIENT TRACKING ON NOLOOP"), shape("nso", "CLIENT TRACKING OFF"),
    shape("nsooi", "CLIENT TRACKING ON REDIRECT 99999999"), shape("nso", "CLIENT CACHING YES"),
    shape("nso", "CLIENT CACHING NO"), shape("nso", "CLIENT NO-EVICT ON"),
    shape("nso", "CLIENT NO-EVICT OFF"), shape("nso", "CLIENT NO-TOUCH ON"),
    shape("nso", "CLIENT NO-TOUCH OFF"), shape("nsd", "CLIENT SETNAME n1"),
    shape("nsod", "CLIENT SETINFO LIB-NAME lib"), shape("nsod", "CLIENT SETINFO LIB-VER 1.2"),
    shape("nsoi", "CLIENT KILL ID 999999999"), shape("nsoo", "CLIENT KILL TYPE replica"),
    shape("nsoioo", "CLIENT KILL ID 999999999 SKIPME yes"),
    shape("nsio", "CLIENT UNBLOCK 999999999 ERROR"), shape("nsi", "CLIENT UNBLOCK 999999999"),
    shape("nsoo", "CLIENT LIST TYPE replica"), shape("nsoi", "CLIENT LIST ID 999999999"),
    shape("ns", "CLIENT ID"), shape("ns", "CLIENT GETNAME"), shape("ns", "CLIENT INFO"),
    shape("ns", "CLIENT GETREDIR"), shape("ns", "CLIENT TRACKINGINFO"),
    shape("ns", "CLIENT UNPAUSE"),
    shape("notodd", "XREAD BLOCK 2 STREAMS x1 $"), shape("noodd", "XREAD NOACK STREAMS x1 0"),
    shape("noddotodd", "XREADGROUP GROUP g c BLOCK 2 STREAMS x1 >"),
    shape("ndt", "BLPOP l1 0.002"), shape("nddt", "BRPOPLPUSH l1 l2 0.002"),
    shape("nddoot", "BLMOVE l2 l1 LEFT RIGHT 0.002"), shape("ndt", "BZPOPMIN z1 0.002"),
    shape("ntt", "WAIT 0 1"), shape("no", "FLUSHALL ASYNC"),
    shape("no", "FLUSHDB SYNC"), shape("ns", "SCRIPT KILL"), shape("ns", "FUNCTION KILL"),
]

# Wrong forms that no change of a single word makes.
WRONG_FORMS = [
    ("CLIENT", "NOSUCH"), ("CLIENT",), ("SELECT", "abc"), ("SELECT", "-1"), ("SELECT", ""),
    ("SELECT",), ("SELECT", "1", "2"), ("HELLO", "4"), ("HELLO", "x"), ("HELLO", "1"),
    ("HELLO", "-3"), ("HELLO", ""), ("HELLO", "3", "SETNAME"), ("HELLO", "3", "NOSUCH", "x"),
    ("HELLO", "3", "AUTH", "bob"), ("AUTH",), ("AUTH", "a", "b", "c"), ("MULTI", "x"), ("WATCH",),
    ("EXEC", "x"), ("DISCARD", "x"), ("UNWATCH", "x"), ("SUBSCRIBE",), ("PSUBSCRIBE",),
    ("SSUBSCRIBE",), ("RESET", "x"), ("MONITOR", "x"), ("READONLY", "x"), ("ASKING", "x"),
    ("CLIENT", "REPLY", "MAYBE"), ("CLIENT", "REPLY"), ("CLIENT", "REPLY", "ON", "x"),
    ("CLIENT", "TRACKING"), ("CLIENT", "TRACKING", "MAYBE"), ("CLIENT", "TRACKING", "ON", "FOO"),
    ("CLIENT", "NO-EVICT", "MAYBE"), ("CLIENT", "CACHING"), ("CLIENT", "CACHING", "MAYBE"),
    ("CLIENT", "SETNAME"), ("CLIENT", "ID", "x"), ("CLIENT", "GETNAME", "x"), ("CLIENT", "KILL"),
    ("CLIENT", "UNBLOCK", "x"), ("CLIENT", "LIST", "TYPE"), ("CLIENT", "LIST", "FOO", "x"),
    ("BLPOP", "l1", "x"), ("BLPOP", "l1"), ("XREAD", "BLOCK"), ("XREAD", "BLOCK", "x"),
    ("WAIT", "a", "b"), ("WAIT",),
]


def _case(r, word):
    changed = "".join(r.choice((c.lower(), c.upper())) for c in word)
    return changed if changed != word else word.swapcase()


def _junk_name(r, word):
    junk, how = r.choice(JUNK), r.randrange(5)
    if how == 4:
        return word + "x" * r.choice((MOST_NAME, 200, 5000))
    place = r.randrange(1, len(word))
    return (junk + word, word + junk, word[:place] + junk + word[place:], word + junk + "tail")[how]


def _wrong_word(r, word):
    """A word that is another one, however the server reads it."""
    return r.choice((
        " " + word, word + " ", "\0" + word, word + "\xff", word + "\x7f", word + "\r\n",
        "+" + word, "-" + word, word + "x" * r.choice((1, 30, 200, 5000)), word[:-1], "",
        word + r.choice(TAILS) if word[:1].isdigit() else word + "|x",
    ))


def _wrong_number(r, word, may_wait):
    choices = [
        " " + word, word + " ", "+" + word, "-" + word, "0" + word, "000" + word, "",
        word + r.choice(TAILS), "\0" + word, word + "\r\n", "9" * 30, "0" * 200 + word, word + ".0",
        "\xff", "x",
    ]
    # None that a server may take for "for ever".
    if not may_wait:
        choices += ["-0", "0x1", "1e0", "9223372036854775808", "4294967296"]
    return r.choice(choices)


def respelled(r) -> tuple:
    """A command that the server reads as a known one."""
    kinds = r.choice(SHAPES)
    while True:
        made = []
        for kind, word in kinds:
            if kind in "nso" and r.random() < 0.5:
                word = _case(r, word)
            if kind == "o" and r.random() < 0.5:
                word += r.choice(TAILS)
            made.append(word)
        if made != [word for _, word in kinds]:
            return tuple(made)


def misnamed(r) -> tuple:
    """A command with a name that no server has."""
    first, *rest = r.choice(SHAPES)
    return (_junk_name(r, first[1]), *(word for _, word in rest))


def misspelled(r) -> tuple:
    """A command that is, or nearly is, one that carries state, and is not understood."""
    if r.random() < 0.3:
        return r.choice(WRONG_FORMS)
    kinds = r.choice(SHAPES)
    made = [word for _, word in kinds]
    places = [place for place, (kind, _) in enumerate(kinds) if kind in "soit"]
    if not places or r.random() < 0.15:
        # A name of ordinary bytes that is none, or a word too many or too few.
        if r.random() < 0.4:
            return (made[0] + r.choice(("x", "\xff", made[0])), *made[1:])
        return (*made, r.choice(("x", "\0", ""))) if r.random() < 0.7 else tuple(made[:-1] or made)
    place = r.choice(places)
    kind, word = kinds[place]
    if kind in "it":
        made[place] = _wrong_number(r, word, kind == "t")
    elif kind == "s" and r.random() < 0.4:
        made[place] = word + r.choice(TAILS)
    else:
        made[place] = _wrong_word(r, word)
    return tuple(made)


def c_string(word) -> str:
    """A word as the server compares it: up to its first NUL, whatever the case."""
    return word.partition("\0")[0].upper()


def read(command) -> tuple:
    """A command as a server from 7.0 on reads it. Names and subcommands are looked up in a hash
    table over all of their bytes, so one with a NUL is none (but see `by_chance`); options are
    C strings. Data are read like options here: the grammar's hold no NUL."""
    exact = 2 if command[0].upper() in CONTAINERS else 1
    return tuple(
        word.upper() if place < exact else c_string(word) for place, word in enumerate(command)
    )


def names(command) -> tuple:
    """The words of a command that are its name: two where it has subcommands."""
    return command[: 2 if command[0].upper() in CONTAINERS else 1]


def is_junk(name) -> bool:
    """Whether Redpool answers a command of this name itself."""
    is_odd = not name or any(c <= " " or c in "\x7f|" for c in name)
    return is_odd or len(name.encode()) > MOST_NAME


def has_nul_subcommand(command) -> bool:
    """Up to 6.2 such a word is the subcommand; Redpool takes it for none on any version."""
    return command[0].upper() in CONTAINERS and len(command) > 1 and "\0" in command[1]


def is_quit_with_nul(command) -> bool:
    """Up to 6.2 QUIT alone among the names is compared as a C string."""
    return "\0" in command[0] and c_string(command[0]) == "QUIT"


def by_chance(control, command) -> bool:
    """Whether a server finds a name or subcommand with a NUL all the same: its hash falls into the
    bucket of the word before the NUL, and the comparison behind that is strcasecmp."""
    if "\0" in command[0]:
        return _is_known(control, command[0])
    if has_nul_subcommand(command):
        return _is_known(control, f"{command[0]}|{command[1]}")
    return False


def _is_known(control, name):
    return control.command("COMMAND", "INFO", name) != [None]
