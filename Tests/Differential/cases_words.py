"""Scripted cases of words that a server reads otherwise than they look.

In OPTIONS, `~` stands for what is put behind an option: a NUL, and a NUL with more behind it.
Names and subcommands with a NUL are in test_words.py.
"""

from play import do, split, words

TAILS = {"NUL": "\0", "NUL and more": "\0x y"}

OPTIONS = {
    "REPLY SKIP": ["CLIENT REPLY SKIP~", "PING a", "PING b", "GET k"],
    "REPLY SKIP twice": ["CLIENT REPLY SKIP~", "CLIENT REPLY SKIP~", "PING a", "PING b"],
    "REPLY OFF": ["CLIENT REPLY OFF~", "SET k 1", "GET k", "CLIENT REPLY ON~", "GET k"],
    "REPLY OFF, ended plainly": ["CLIENT REPLY OFF~", "NOSUCH", "CLIENT REPLY ON", "GET k"],
    "REPLY OFF, then SKIP": ["CLIENT REPLY OFF", "CLIENT REPLY SKIP~", "PING", "CLIENT REPLY ON~"],
    "REPLY ON": ["PING a", "CLIENT REPLY ON~", "PING b"],
    "XREAD BLOCK": ["XREAD BLOCK~ 10 STREAMS none $", "PING"],
    "XREAD, all options": ["XADD st 1-1 f v", "XREAD COUNT~ 1 BLOCK~ 10 STREAMS~ st 0", "PING"],
    "XREADGROUP": [
        "XADD st 1-1 f v", "XGROUP CREATE st g 0", "XREADGROUP GROUP~ g c BLOCK~ 9 STREAMS~ st >",
        "XREADGROUP GROUP~ g c NOACK~ BLOCK~ 9 STREAMS~ st >", "PING",
    ],
    "HELLO 2 AUTH": ["HELLO 2 AUTH~ bob pw", "ACL WHOAMI", "INCR k", "SET k 1"],
    "HELLO 3 AUTH": ["HELLO 3 AUTH~ bob pw", "ACL WHOAMI", "GET none", "HELLO 2"],
    "HELLO SETNAME": ["HELLO 3 SETNAME~ me", "CLIENT GETNAME", "GET none"],
    "HELLO AUTH SETNAME": ["HELLO 3 SETNAME~ me AUTH~ bob pw", "ACL WHOAMI", "CLIENT GETNAME"],
    "HELLO FOO": ["HELLO 3 FOO~ x", "GET none", "CLIENT ID"],
    "TRACKING": [
        "CLIENT TRACKING ON~", "GET k", "CLIENT TRACKINGINFO", "CLIENT TRACKING OFF~",
        "CLIENT TRACKINGINFO", "GET k",
    ],
    "TRACKING OPTIN": [
        "CLIENT TRACKING ON~ OPTIN~", "CLIENT CACHING YES~", "GET k", "CLIENT TRACKINGINFO",
        "CLIENT TRACKING OFF~",
    ],
    "TRACKING OPTOUT": [
        "CLIENT TRACKING ON~ OPTOUT~ NOLOOP~", "CLIENT CACHING NO~", "GET k", "CLIENT TRACKINGINFO",
    ],
    "TRACKING BCAST": ["CLIENT TRACKING ON~ BCAST~ PREFIX~ zz", "CLIENT TRACKINGINFO", "GET k"],
    "TRACKING REDIRECT": ["CLIENT TRACKING ON~ REDIRECT~ 999999999", "CLIENT GETREDIR"],
    "TRACKING both": ["CLIENT TRACKING ON~ OPTIN~ OPTOUT~", "CLIENT TRACKINGINFO"],
    "NO-EVICT": ["CLIENT NO-EVICT ON~", "CLIENT INFO", "CLIENT NO-EVICT OFF~", "CLIENT INFO"],
    "NO-TOUCH": ["CLIENT NO-TOUCH ON~", "CLIENT INFO", "CLIENT NO-TOUCH OFF~", "CLIENT INFO"],
    "CAPA": ["CLIENT CAPA redirect~", "GET k"],
    "KILL TYPE": ["CLIENT KILL TYPE~ replica~", "CLIENT KILL TYPE~ master",
        "CLIENT KILL TYPE~ foo~"],
    "KILL ID": ["CLIENT KILL ID~ 999999999", "CLIENT KILL ID~ 999999999 SKIPME~ yes~", "PING"],
    "KILL ADDR": ["CLIENT KILL ADDR~ 1.2.3.4:5", "CLIENT KILL LADDR~ 1.2.3.4:5", "PING"],
    "KILL USER": ["CLIENT KILL USER~ nosuch", "CLIENT KILL USER~ off ID~ 999999999", "PING"],
    "LIST TYPE": ["CLIENT LIST TYPE~ replica~", "CLIENT LIST TYPE~ master~",
        "CLIENT LIST TYPE foo~"],
    "LIST ID": ["CLIENT LIST ID~ 999999999 999999998", "CLIENT LIST ID~ x", "PING"],
    "SETINFO": ["CLIENT SETINFO LIB-NAME~ lib", "CLIENT SETINFO LIB-VER~ 1.2", "CLIENT INFO"],
    "UNBLOCK": [
        "CLIENT UNBLOCK 999999999 ERROR~", "CLIENT UNBLOCK 999999999 TIMEOUT~",
        "CLIENT UNBLOCK 999999999 FOO~",
    ],
    "FLUSHING": ["SET k 1", "FLUSHALL ASYNC~", "GET k", "SET k 1", "FLUSHDB SYNC~", "GET k"],
    "SET": ["SET k 1 EX~ 1000", "SET k 2 XX~ GET~", "SET k 3 NX~", "GET k"],
    "PAUSE": ["CLIENT PAUSE 0 ALL~", "CLIENT UNPAUSE", "PING"],
}

NUMBERS = [
    "01", "00", "+1", "-0", "-1", " 1", "1 ", "1\0", "1\0x", "\0", "\0" + "1", "0x1", "1e0",
    "1.0", "\t1",
    "1\r\n", "", "0" * 40 + "1", "9" * 30, "9223372036854775808", "18446744073709551617", "\xff",
]

# A command around a number; every number goes into each.
NUMBERED = {
    "SELECT": ("SELECT", "?"),
    "HELLO": ("HELLO", "?"),
    "KILL ID": ("CLIENT", "KILL", "ID", "?"),
    "UNBLOCK": ("CLIENT", "UNBLOCK", "?"),
    "LIST ID": ("CLIENT", "LIST", "ID", "?"),
    "REDIRECT": ("CLIENT", "TRACKING", "ON", "REDIRECT", "?"),
}

# Words that are no known ones, however they are read.
OPTIONS_THAT_ARE_NONE = [
    "MAYBE", "", "\0", " ON", "ON ", "ON\r\n", "O\0N", "OFFF", "ON" * 3000, "\xff",
]
OPTIONED = [
    ("CLIENT", "REPLY"), ("CLIENT", "TRACKING"), ("CLIENT", "NO-EVICT"), ("CLIENT", "CACHING"),
]

NAMES = {
    "a blank behind": "GET ", "a blank before": " GET", "a blank inside": "G ET",
    "CR LF": "GET\r\n",
    "CR LF inside": "SEL\r\nECT", "DEL": "GET\x7f", "a bar": "CLIENT|REPLY", "a tab": "\tMULTI",
    "128 bytes": "n" * 128, "129 bytes": "n" * 129, "200 bytes": "GET" + "x" * 197,
    "200 bytes and a blank": "x" * 199 + " ", "100 KB": "y" * 100_000, "a blank only": " ",
}
# No name has such bytes, but they are left to the server.
HIGH_NAMES = {"0xff": b"GET\xff", "high bytes": b"\x80\xfe\xff", "UTF-8": "SELECT\xe9".encode()}

CONTAINERS = [
    "CLIENT", "CONFIG", "OBJECT", "SCRIPT", "FUNCTION", "ACL", "COMMAND", "MEMORY", "XGROUP",
    "XINFO",
    "PUBSUB", "SLOWLOG", "LATENCY", "CLUSTER", "MODULE",
]
SUBCOMMANDS = ["NOSUCH", "GET ", "x" * 300, "\xff\xfe"]


def _command(text, tail) -> tuple:
    return tuple(word.replace(b"~", tail.encode()) for word in words(text))


def _options() -> dict:
    made = {}
    for tail_name, tail in TAILS.items():
        for name, texts in OPTIONS.items():
            commands = [_command(text, tail) for text in texts]
            name = f"words: {name}, {tail_name}"
            made[f"{name}, one write"] = [do("SET k 0", *commands, n=0)]
            made[f"{name}, RESP3"] = [do("HELLO 3"), do(*commands, n=0)]
            made[f"{name}, one by one"] = [*(do(c, n=0) for c in commands), do("GET k", n=0)]
            if tail_name != "NUL":
                continue
            made[f"{name}, split writes"] = [split(*commands, n=0)]
            made[f"{name}, watching"] = [do("WATCH k2"), do(*commands, n=0), do("UNWATCH", n=0)]
            made[f"{name}, in database 2"] = [do("SELECT 2"), do(*commands, n=0)]
            # There the bytes pass through, and ids are those of upstreams.
            if texts[0].startswith("HELLO"):
                continue
            made[f"{name}, in MULTI"] = [do("MULTI", *commands, "EXEC", "PING z", n=0)]
            made[f"{name}, in an open MULTI"] = [do("MULTI"), do(*commands, n=0), do("EXEC", n=0)]
    return made


def _numbers() -> dict:
    made = {}
    for name, command in NUMBERED.items():
        many = [tuple(n if w == "?" else w for w in command) for n in NUMBERS]
        behind = [one for c in many for one in (c, ("GET", "k"))]
        made[f"numbers: {name}, one write"] = [do("SET k 1", *behind, n=0)]
        made[f"numbers: {name}, in an open MULTI"] = [
            do("MULTI"), *(do(c) for c in many[:6]), do("EXEC"), do("PING")
        ]
    for number in NUMBERS:
        made[f"numbers: SELECT {number[:30]!r}"] = [
            do(("SELECT", number)), do("SET k 5", "GET k"), do("SELECT 0", "GET k")
        ]
    return made


def _no_options() -> dict:
    made = {}
    for start in OPTIONED:
        many = [(*start, word) for word in OPTIONS_THAT_ARE_NONE]
        name = " ".join(start)
        made[f"no options: {name}, one write"] = [do("SET k 1", *many, "GET k", n=0)]
        made[f"no options: {name}, RESP3"] = [do("HELLO 3"), do(*many[:4], "GET k", n=0)]
        made[f"no options: {name}, watching"] = [do("WATCH k"), do(*many, "GET k", n=0)]
        made[f"no options: {name}, in MULTI"] = [
            do("MULTI", *many[:3], "EXEC", "CLIENT TRACKINGINFO", n=0)
        ]
    return made


def _names() -> dict:
    made = {}
    for name, word in (NAMES | HIGH_NAMES).items():
        name = f"names: {name}"
        strange = (word, "a\r\nb", "\0c", "y" * 300, "x")
        made[f"{name}, one write"] = [do("SET k 1", (word,), (word, "k"), "GET k")]
        made[f"{name}, with arguments"] = [do(strange), do("PING")]
        made[f"{name}, RESP3"] = [do("HELLO 3", (word, "3"), "GET none")]
        made[f"{name}, watching"] = [do("WATCH k"), do((word, "k"), "GET k"), do("UNWATCH")]
        made[f"{name}, subscribed"] = [do("SUBSCRIBE c"), do((word, "c"), "PING", n=0)]
        made[f"{name}, silent"] = [
            do("CLIENT REPLY SKIP", (word,), "PING a", "CLIENT REPLY OFF", (word,),
                "CLIENT REPLY ON",
               n=2)
        ]
        made[f"{name}, as bob"] = [do("AUTH bob pw", (word, "x"), "ACL WHOAMI")]
    for name, word in HIGH_NAMES.items():
        made[f"names: {name}, in MULTI"] = [do("MULTI", "SET k 1", (word, "k"), "EXEC", "GET k")]
        made[f"names: {name}, in an open MULTI"] = [do("MULTI"), do((word, "k")), do("EXEC",
            "PING")]
    return made


def _subcommands() -> dict:
    made = {}
    for container in CONTAINERS:
        many = [(container, word, "x") for word in SUBCOMMANDS]
        made[f"subcommands: {container}, one write"] = [do("SET k 1", *many, "GET k")]
        made[f"subcommands: {container}, in MULTI"] = [
            do("MULTI", "SET k 1", many[0], "EXEC", "GET k", n=0)
        ]
    return made


def spelled() -> dict:
    """The cases by name."""
    return _options() | _numbers() | _no_options() | _names() | _subcommands()
