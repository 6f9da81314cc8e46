"""What came, went or changed between versions of the servers: every server has its own words.

Each row is a script; a row's commands go out one by one, in one write, and in RESP3.
"""

from play import do

ROWS = {
    "KILL by id": [
        "CLIENT KILL ID abc", "CLIENT KILL ID -1", "CLIENT KILL ID 999999999 ID 999999998",
        "CLIENT KILL ID", "CLIENT KILL ID 5 ADDR",
    ],
    "KILL by age": [
        "CLIENT KILL MAXAGE 100000", "CLIENT KILL MAXAGE abc", "CLIENT KILL MAXAGE 0 ID 999999999",
        "CLIENT KILL MAXAGE -1",
    ],
    "KILL by type": [
        "CLIENT KILL TYPE primary", "CLIENT KILL TYPE master", "CLIENT KILL TYPE replica",
        "CLIENT KILL TYPE slave", "CLIENT KILL TYPE nosuch",
    ],
    "KILL by filters to come": [
        "CLIENT KILL NOT-ID 5", "CLIENT KILL NOT-USER bob", "CLIENT KILL NAME x",
        "CLIENT KILL IP 1.2.3.4", "CLIENT KILL LIB-NAME x", "CLIENT KILL DB 4", "CLIENT KILL FOO bar",
    ],
    "KILL by user and address": [
        "CLIENT KILL USER nosuch", "CLIENT KILL SKIPME maybe",
        "CLIENT KILL SKIPME yes ID 999999999", "CLIENT KILL ADDR 1.2.3.4:5",
        "CLIENT KILL LADDR 1.2.3.4:5", "CLIENT KILL nobody",
    ],
    "LIST and its filters": [
        "CLIENT LIST TYPE nosuch", "CLIENT LIST TYPE", "CLIENT LIST ID", "CLIENT LIST ID abc",
        "CLIENT LIST ID 0", "CLIENT LIST ID -1", "CLIENT LIST FOO", "CLIENT LIST FOO x",
        "CLIENT LIST ID 999999999 999999998", "CLIENT LIST TYPE master", "CLIENT LIST TYPE primary",
        "CLIENT LIST TYPE replica", "CLIENT LIST ID 999999999 TYPE normal", "CLIENT LIST NAME x",
        "CLIENT LIST USER off", "CLIENT LIST USER nosuch", "CLIENT LIST MAXAGE 100000",
    ],
    "SETINFO": [
        "CLIENT SETINFO lib-name redpy", "CLIENT SETINFO LIB-VER 1.2", "CLIENT INFO",
        "CLIENT SETINFO lib-foo x", "CLIENT SETINFO lib-name 'a b'", "CLIENT SETINFO lib-name",
        "CLIENT SETINFO lib-name ''", "CLIENT INFO",
    ],
    "SETINFO survives RESET": ["CLIENT SETINFO lib-name redpy", "RESET", "CLIENT INFO"],
    "SETINFO in a held connection": [
        "CLIENT SETINFO lib-name redpy", "WATCH k k2", "CLIENT INFO", "MULTI", "EXEC", "CLIENT INFO",
    ],
    "NO-TOUCH": [
        "CLIENT NO-TOUCH ON", "CLIENT INFO", "GET k", "CLIENT NO-TOUCH OFF", "CLIENT INFO",
        "CLIENT NO-TOUCH x", "CLIENT NO-TOUCH",
    ],
    "NO-EVICT": ["CLIENT NO-EVICT ON", "CLIENT INFO", "CLIENT NO-EVICT x"],
    "CAPA": ["CLIENT CAPA redirect", "CLIENT CAPA", "CLIENT CAPA foo bar", "GET k", "CLIENT INFO"],
    "IMPORT-SOURCE": ["CLIENT IMPORT-SOURCE ON", "CLIENT IMPORT-SOURCE x", "GET k"],
    "TRACKING": [
        "CLIENT TRACKINGINFO", "CLIENT GETREDIR", "CLIENT TRACKING ON REDIRECT 999999999",
        "CLIENT TRACKING OFF", "CLIENT TRACKING ON PREFIX a",
        # Without a prefix it would hear of the keys of the noisy neighbours, on one side only.
        "CLIENT TRACKING ON BCAST NOLOOP PREFIX zz",
    ],
    "CACHING": [
        "CLIENT TRACKING ON OPTIN", "CLIENT CACHING YES", "CLIENT TRACKINGINFO", "CLIENT CACHING no",
    ],
    "UNBLOCK": [
        "CLIENT UNBLOCK 0", "CLIENT UNBLOCK -1", "CLIENT UNBLOCK 999999999 ERROR",
        "CLIENT UNBLOCK 1 FOO",
    ],
    "PAUSE": ["CLIENT PAUSE 0", "CLIENT PAUSE 0 FOO", "CLIENT UNPAUSE", "CLIENT PAUSE -1"],
    "CLIENT": ["CLIENT", "CLIENT HELP x", "CLIENT NOSUCH a b", "CLIENT SETNAME a b"],
    "HELLO": [
        "HELLO 3.0", "HELLO 2 SETNAME", "HELLO 3 SETNAME a SETNAME b", "CLIENT GETNAME",
        "HELLO 2 SETNAME ''", "CLIENT GETNAME", "HELLO 9", "HELLO 1", "HELLO AUTH",
    ],
    "HELLO with a bad option behind AUTH": [
        "HELLO 3 AUTH bob", "HELLO 3 AUTH bob pw FOO", "ACL WHOAMI", "GET none",
        "HELLO 3 AUTH ann pw FOO", "ACL WHOAMI", "GET none",
    ],
    "HELLO with a bad option behind SETNAME": [
        "HELLO 3 SETNAME x FOO", "CLIENT GETNAME", "GET none", "HELLO 2 FOO", "GET none",
    ],
    "HELLO with a bad name behind AUTH": [
        "HELLO 3 AUTH bob pw SETNAME 'a b'", "ACL WHOAMI", "GET none", "RESET",
        "HELLO 3 AUTH bob pw SETNAME 'a b'", "ACL WHOAMI", "GET none",
    ],
    "AUTH": ["AUTH pw", "AUTH default pw", "ACL WHOAMI", "AUTH a b c", "HELLO 2 AUTH default x"],
    "what users may not": [
        "AUTH eve pw", "CLIENT ID", "CLIENT INFO", "CLIENT SETNAME x", "INFO server",
        "AUTH ann pw", "PUBLISH d x", "SPUBLISH d x", "SSUBSCRIBE d", "PSUBSCRIBE *",
    ],
    "what scripts may not": [
        "AUTH bob pw", "INCR x", "MULTI", "INCR x", "EXEC", "EVAL \"return redis.call('incr','x')\" 0",
    ],
    "WAITAOF": [
        "WAITAOF 0 0 0", "WAITAOF 1 0 0", "WAITAOF x 0 0", "WAITAOF 0 0", "WAITAOF 0 1 20",
        "WAITAOF 2 0 0", "WAITAOF 0 0 -1",
    ],
    "WAIT": ["SET k 1", "WAIT 0 10", "WAIT 1 10", "WAIT -1 10", "WAIT 0 -1"],
    "SCRIPT": [
        "SCRIPT SHOW x", "SCRIPT LOAD 'return 1'",
        "SCRIPT SHOW e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "SCRIPT FLUSH FOO", "SCRIPT",
    ],
    "scripts": [
        "EVAL_RO \"return redis.call('set','k',1)\" 0", "EVALSHA_RO x 0", "FCALL_RO x 0",
        "FUNCTION NOSUCH", "EVAL '#!lua flags=no-writes\\nreturn 1' 0",
        "EVAL \"return redis.call('nosuch')\" 0", "EVAL \"return {err='x'}\" 0",
    ],
    "MULTI in MULTI": ["MULTI", "MULTI", "PING", "EXEC"],
    "WATCH in MULTI": ["MULTI", "WATCH k", "PING", "EXEC"],
    "bad subcommand in MULTI": ["MULTI", "CLIENT NOSUCH", "EXEC"],
    "WAITAOF in MULTI": ["MULTI", "WAITAOF 0 0 0", "EXEC"],
    "SETINFO in MULTI": ["MULTI", "CLIENT SETINFO lib-name x", "CLIENT INFO", "EXEC"],
    "NO-TOUCH in MULTI": ["MULTI", "CLIENT NO-TOUCH ON", "GET k", "EXEC", "PING"],
    "HEXPIRE in MULTI": ["MULTI", "HEXPIRE h 10 FIELDS 1 a", "EXEC"],
    "hash fields that expire": [
        "HSET h a 1", "HEXPIRE h 100000 FIELDS 1 a", "HTTL h FIELDS 1 a", "HPERSIST h FIELDS 1 a",
        "HEXPIRE h", "HPEXPIRETIME h FIELDS 1 a", "HEXPIREAT h 1 FIELDS 1 a", "HGETALL h",
    ],
    "new keys' commands": [
        "BLMPOP 0.01 1 l LEFT", "BZMPOP 0.01 1 z MIN", "ZINTERCARD 1 z", "EXPIRETIME k",
        "SET k v NX GET", "XREAD STREAMS st +", "XREAD BLOCK 10 STREAMS st +",
        "XAUTOCLAIM st g c 0 0", "HGETEX h FIELDS 1 a", "DELIFEQ a b", "VADD x", "JSON.GET x",
    ],
    "COMMAND": [
        "COMMAND COUNT", "COMMAND INFO hello nosuch", "COMMAND GETKEYSANDFLAGS SET a b",
        "COMMAND LIST FILTERBY PATTERN hell*", "COMMAND DOCS nosuch", "COMMANDLOG LEN",
    ],
    "the cluster's": [
        "CLUSTER MYSHARDID", "CLUSTER SHARDS", "CLUSTER SLOT-STATS", "CLUSTER LINKS", "READONLY",
    ],
    "the operator's": [
        "ACL DRYRUN bob GET k", "ACL CAT nosuch", "ACL LOG FOO", "CONFIG SET maxmemory 0 timeout 0",
        "CONFIG SET FOO x", "LATENCY HISTOGRAM nosuch", "MODULE", "SLOWLOG FOO", "FAILOVER ABORT",
        "SHUTDOWN FOO", "BGSAVE FOO", "FLUSHALL FOO", "SWAPDB 0 99",
    ],
    "blocking, badly": [
        "BLPOP k inf", "BLPOP k 1e400", "BLMOVE a b LEFT FOO 1", "BLMPOP -1 1 a LEFT",
        "XREAD BLOCK -1 STREAMS s 0",
    ],
    "subscribed": [
        "SUBSCRIBE a", "GET k", "CLIENT ID", "CLIENT INFO", "SSUBSCRIBE b", "MULTI", "RESET", "GET k",
    ],
}


def cases() -> dict:
    """Every row in every form, by name."""
    made = {}
    for name, row in ROWS.items():
        # Not every command has one reply, so the goodbye alone waits for all.
        made[f"version: {name}, one by one"] = [do(c, n=_replies(c)) for c in row]
        made[f"version: {name}, one write"] = [do(*row, n=0)]
        made[f"version: {name}, RESP3"] = [do("HELLO 3"), *(do(c, n=_replies(c)) for c in row)]
    return made


def _replies(command) -> int:
    return 0 if "SUBSCRIBE" in command else 1
