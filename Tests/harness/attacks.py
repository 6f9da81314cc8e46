"""What one client can write to affect the others of a pool: words that the server reads differently
than they look, and scripts that make up replies.
"""

from .wire import encode

PING = ("PING", "mine")
# Four replies, on a server that writes the CR LF in an error unchanged.
SPLITTING = "error('x\\r\\n$6\\r\\nPWNED!\\r\\n$6\\r\\nPWNED!\\r\\n-z')"
MANY_WORDS = b"GET" + b" k" * 12 + b"\r\n"
# What one attacker writes at once.
ATTACKS = {
    "REPLY SKIP": [("CLIENT", "REPLY", "SKIP\0"), PING],
    "REPLY SKIP and more": [("CLIENT", "REPLY", "SKIP\0x"), PING, PING],
    "REPLY OFF": [("CLIENT", "REPLY", "OFF\0"), PING, PING],
    "REPLY OFF and ON": [("CLIENT", "REPLY", "OFF\0"), PING, ("CLIENT", "REPLY", "ON\0"), PING],
    "REPLY subcommand": [("CLIENT", "REPLY\0", "OFF"), PING],
    "REPLY subcommand and more": [("CLIENT", "REPLY\0x", "SKIP"), PING],
    "REPLY in a script": [("EVAL", "return redis.call('CLIENT', 'REPLY', 'SKIP\\0')", "0"), PING],
    "REPLY in MULTI": [("MULTI",), ("CLIENT", "REPLY", "SKIP\0"), ("EXEC",), PING],
    "SUBSCRIBE": [("SUBSCRIBE\0", "c"), ("subscribe", "c\0"), PING],
    "MONITOR": [("MONITOR\0",), ("MONITOR", "\0"), (" MONITOR",), PING],
    "MULTI": [("MULTI\0",), ("MULTI", "x"), ("SET", "a", "1"), ("EXEC\0",)],
    "WATCH": [("WATCH",), ("WATCH\0", "a"), ("UNWATCH", "\0")],
    "HELLO 3": [("HELLO", "3\0"), ("HELLO", "03"), ("HELLO", "+3"), ("HELLO", " 3"), PING],
    "HELLO AUTH": [("HELLO", "2", "AUTH\0", "bob", "pw"), PING],
    "HELLO AUTH and RESP3": [("HELLO", "3", "AUTH\0x", "bob", "pw"), ("GET", "none")],
    "HELLO, AUTH and a bad option": [("HELLO", "3", "AUTH", "bob", "pw", "FOO\0", "x"), PING],
    "HELLO SETNAME": [("HELLO", "3", "SETNAME\0", "intruder"), PING],
    "AUTH": [("AUTH\0", "bob", "pw"), ("AUTH", "bob\0", "pw"), ("AUTH", "bob", "pw\0"), PING],
    "SELECT": [("SELECT", n) for n in ("01", "1\0", "+1", " 1", "1 ", "", "\0", "9" * 30)] + [PING],
    "SELECT's name": [("SELECT\0", "5"), ("SELECT ", "5"), ("select\0x", "5"), PING],
    "TRACKING": [("CLIENT", "TRACKING", "ON\0"), ("GET", "a"), PING],
    "TRACKING BCAST": [("HELLO", "3"), ("CLIENT", "TRACKING", "ON\0", "BCAST\0"), PING],
    "TRACKING OFF": [("CLIENT", "TRACKING", "ON"), ("CLIENT", "TRACKING", "OFF\0"), PING],
    "CACHING": [("CLIENT", "TRACKING", "ON\0", "OPTIN\0"), ("CLIENT", "CACHING", "YES\0"), PING],
    "NO-EVICT": [("CLIENT", "NO-EVICT", "ON\0"), ("CLIENT", "NO-TOUCH", "ON\0"), PING],
    "SETINFO": [("CLIENT", "SETINFO", "LIB-NAME\0", "x"), ("CLIENT", "SETNAME\0", "y"), PING],
    "CAPA": [("CLIENT", "CAPA", "redirect\0"), ("READONLY\0",), ("ASKING", "\0"), PING],
    "KILL": [
        ("CLIENT", "KILL", "ID\0", "999999999"), ("CLIENT", "KILL", "TYPE\0", "replica\0"),
        PING,
    ],
    "KILL nobody": [("CLIENT", "KILL\0", "ID", "999999999"), ("CLIENT", "KILL", "ID", "01"), PING],
    "UNBLOCK": [("CLIENT", "UNBLOCK", "999999999", "ERROR\0"), ("CLIENT", "UNBLOCK", "01"), PING],
    "RESET": [("RESET\0",), ("RESET", "\0"), ("RESET", "x"), PING],
    "QUIT": [("QUIT\0",), ("QUIT ",), PING],
    "unknown subcommands": [
        ("CLIENT", "FOO\0"), ("CLIENT", "\xff"), ("SCRIPT", "FOO"),
        ("CLIENT", ""),
    ],
    "unknown names": [
        ("\xff\xfe",), ("G\r\nET", "a"), ("x" * 200,), ("y" * 300_000,), ("\x7f",),
        PING,
    ],
    "names of others": [
        ("POST\0",), ("Host:\0",), ("POST ", "/"), ("COMMAND_DENIED_BY_PROXY",),
        PING,
    ],
    "XREAD": [("XREAD", "BLOCK\0", "500", "STREAMS", "none", "$"), PING],
    "BLPOP": [
        ("BLPOP\0", "none", "0"), ("BLPOP", "none", "0.1\0"), ("BLPOP", "none", "00.1"),
        PING,
    ],
    "WAIT": [("WAIT\0", "1", "0"), ("WAIT", "1", "0\0"), ("WAIT", "01", "10"), PING],
    "a script that splits": [("EVAL", SPLITTING, "0")],
    "a script that splits, and more": [
        ("EVAL", SPLITTING, "0"), ("EVAL", "return 'mine'", "0"),
        PING,
    ],
    "a script that splits, in MULTI": [("MULTI",), ("EVAL", SPLITTING, "0"), ("EXEC",), PING],
    "a status that splits": [
        ("EVAL", "return redis.status_reply('x\\r\\n$6\\r\\nPWNED!')", "0"),
        ("EVAL", "return redis.error_reply('x\\r\\n$6\\r\\nPWNED!')", "0"),
        ("EVAL", "return {ok='x\\r\\n+y'}", "0"),
        ("EVAL", "return {err='x\\r\\n+y\\r\\n'}", "0"), PING,
    ],
    "a call that splits": [("EVAL", "return redis.call('x\\r\\n$6\\r\\nPWNED!\\r\\n')", "0"), PING],
    "SCRIPT DEBUG": [("SCRIPT", "DEBUG\0", "SYNC"), ("EVAL", "return 1", "0"), PING],
    "FAILOVER": [
        ("FAILOVER\0", "ABORT"), ("REPLICAOF\0", "NO", "ONE"), ("SYNC\0",),
        ("PSYNC ", "x"), PING,
    ],
    "a long line": [MANY_WORDS, b"PING " + b"x" * 20_000 + b"\r\n", PING],
}


def bytes_of(commands) -> bytes:
    """Commands and raw bytes as one write."""
    return b"".join(one if isinstance(one, bytes) else encode(*one) for one in commands)


# Commands that carry state and are not understood. Only Redis 6.2 accepts the last one.
MISUNDERSTOOD = [
    ("CLIENT", "REPLY", "MAYBE"), ("SELECT", "01"), ("MULTI", "x"), ("WATCH",), ("CLIENT", "FOO"),
    ("HELLO", "x"), ("CLIENT", "TRACKING", "ON", "FOO"), ("SUBSCRIBE",),
    ("CLIENT", "REPLY\0", "ON"),
]
