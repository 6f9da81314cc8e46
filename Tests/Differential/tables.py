"""What the scripted cases are made of."""

from play import do

# Every family of commands, so written that the order of replies does not depend on a hash seed.
FAMILIES = {
    "strings": [
        "SET k v", "GET k", "APPEND k w", "STRLEN k", "GETRANGE k 0 0", "SETRANGE k 1 zz",
        "MSET a 1 b 2", "MGET a b none", "SETNX a 9", "MSETNX c 1 d 2", "GETSET a x", "GETDEL a",
        "GETEX b", "SET b 5 EX 1000", "SET b 6 XX GET", "SUBSTR k 0 1", "LCS b c LEN",
    ],
    "counters": [
        "INCR n", "INCRBY n 5", "DECR n", "DECRBY n 2", "INCRBYFLOAT n 1.5", "SET s x", "INCR s",
    ],
    "bits": [
        "SETBIT b 7 1", "GETBIT b 7", "BITCOUNT b", "BITPOS b 1", "BITOP NOT c b", "GET c",
        "BITFIELD b GET u8 0 INCRBY u2 0 1", "BITFIELD_RO b GET u8 0",
    ],
    "keys": [
        "SET k v", "EXISTS k none", "TYPE k", "EXPIRE k 1000", "PERSIST k", "TTL k", "RENAME k l",
        "RENAMENX l m", "COPY m n", "DEL m", "UNLINK n", "TOUCH none", "KEYS zzz*", "RANDOMKEY",
        "OBJECT ENCODING none", "DBSIZE", "MOVE none 2", "SCAN 0 MATCH zzz*", "TYPE none",
    ],
    "lists": [
        "RPUSH l a b c", "LPUSH l z", "LRANGE l 0 -1", "LLEN l", "LINDEX l 1", "LINSERT l BEFORE b y",
        "LSET l 0 q", "LREM l 1 y", "LPOS l b", "LTRIM l 0 2", "LPOP l", "RPOP l 1", "LPUSHX n x",
        "LMOVE l m LEFT RIGHT", "RPOPLPUSH m l", "LMPOP 1 l LEFT", "LPOP none", "LPOP none 2",
    ],
    "hashes": [
        "HSET h a 1", "HGET h a", "HMSET h b 2", "HMGET h a b c", "HGETALL h", "HKEYS h", "HVALS h",
        "HLEN h", "HEXISTS h a", "HDEL h a", "HINCRBY h b 3", "HINCRBYFLOAT h b 0.5", "HSETNX h b 1",
        "HSTRLEN h b", "HRANDFIELD h 1 WITHVALUES", "HSCAN h 0",
    ],
    "hash fields that expire": [
        "HSETEX h EX 100000 FIELDS 2 a 1 b 2", "HGETEX h PERSIST FIELDS 1 a",
        "HGETEX h EX 100000 FIELDS 2 b none", "HSETEX h FNX FIELDS 1 b 3", "HGETDEL h FIELDS 1 a",
        "HGETALL h", "HSETEX h FIELDS 1", "HGETDEL h FIELDS 2 a", "HGETEX none FIELDS 1 a",
    ],
    # Not what hangs on the dice of the index: VLINKS and VINFO of a set that is there.
    "vector sets": [
        "VADD v VALUES 2 1 0 a", "VADD v VALUES 2 0 1 b CAS SETATTR '{\\x22x\\x22:1}'", "VCARD v",
        "VDIM v", "VEMB v a", "VISMEMBER v b", "VSIM v VALUES 2 1 0 WITHSCORES", "VSIM v ELE b COUNT 1",
        "VGETATTR v b", "VSETATTR v b ''", "VREM v a", "VADD v VALUES 3 1 2 3 c",
        "VSIM v VALUES 2 0 1 FILTER .x==1", "VRANDMEMBER v", "VLINKS none a", "VINFO none",
        "VRANGE v - +",
    ],
    "sets": [
        "SADD s 1 2 3", "SCARD s", "SISMEMBER s 1", "SMISMEMBER s 1 9", "SMEMBERS s", "SREM s 1",
        "SADD u 2 4", "SINTER s u", "SINTERCARD 2 s u", "SINTERSTORE w s u", "SMOVE s u 3",
        "SSCAN w 0", "SPOP none", "SRANDMEMBER w", "SDIFFSTORE x u s", "SCARD x",
    ],
    "sorted sets": [
        "ZADD z 1 a 2 b 3 c", "ZSCORE z a", "ZMSCORE z a none", "ZRANGE z 0 -1 WITHSCORES",
        "ZRANGEBYSCORE z 1 2", "ZREVRANGE z 0 0", "ZRANK z b", "ZINCRBY z 1.5 a", "ZCARD z",
        "ZCOUNT z -inf +inf", "ZPOPMIN z", "ZPOPMAX z 1", "ZREM z none", "ZUNIONSTORE y 1 z",
        "ZRANGEBYLEX z - +", "ZLEXCOUNT z - +", "ZRANGESTORE w z 0 -1", "ZMPOP 1 none MIN",
        "ZREMRANGEBYRANK z 0 0", "ZDIFF 1 y WITHSCORES", "ZSCAN y 0",
    ],
    "streams": [
        "XADD st 1-1 f v", "XADD st 2-1 f w", "XLEN st", "XRANGE st - +", "XREVRANGE st + -",
        "XREAD COUNT 1 STREAMS st 0", "XGROUP CREATE st g 0", "XREADGROUP GROUP g c STREAMS st >",
        "XACK st g 1-1", "XDEL st 1-1", "XTRIM st MAXLEN 1", "XINFO GROUPS st", "XPENDING none g",
        "XREAD STREAMS none 0", "XSETID st 9-9",
    ],
    "blocking": [
        "BLPOP none 0.01", "RPUSH q a b c d e", "BLPOP q 1", "BRPOP q 1", "BLMOVE q r LEFT RIGHT 1",
        "BRPOPLPUSH q r 1", "BLMPOP 1 2 r q LEFT", "BZPOPMIN none 0.01", "ZADD z 1 a 2 b",
        "BZPOPMAX z 1", "BZMPOP 1 1 z MIN", "BLMOVE none r LEFT LEFT 0.01",
        "BRPOPLPUSH none r 0.01", "XREAD BLOCK 10 STREAMS none $",
    ],
    "waiting": ["SET k v", "WAIT 0 0", "WAIT 1 10", "GET k"],
    "geo": [
        "GEOADD g 13.36 38.11 Palermo 15.08 37.50 Catania", "GEODIST g Palermo Catania km",
        "GEOPOS g Palermo none", "GEOHASH g Palermo", "GEOSEARCH g FROMMEMBER Palermo BYRADIUS 10 m",
        "GEORADIUSBYMEMBER g Palermo 10 m", "GEOSEARCHSTORE h g FROMMEMBER Palermo BYRADIUS 10 m",
    ],
    "hyperloglog": ["PFADD p a b", "PFCOUNT p", "PFADD q c", "PFMERGE r p q", "PFCOUNT r"],
    "scripts": [
        "EVAL 'return KEYS[1]' 1 a", "EVAL 'return {1,{2}}' 0", "EVAL 'return redis.call(\"GET\",\"k\")' 0",
        "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0", "EVALSHA 0000 0",
        "EVAL 'return redis.error_reply(\"MINE x\")' 0", "EVAL 'redis.call(\"SELECT\",3) return 1' 0",
        "EVAL_RO 'return 1' 0", "SCRIPT EXISTS 0000", "EVAL 'error(\"x\")' 0",
        "EVAL 'return redis.call(\"MULTI\")' 0", "EVAL 'return redis.call(\"BLPOP\",\"x\",0)' 0",
    ],
    "functions": ["FUNCTION LIST", "FCALL none 0", "FUNCTION STATS", "FUNCTION KILL", "SCRIPT KILL"],
    "publishing": [
        "PUBLISH none x", "SPUBLISH none x", "PUBSUB CHANNELS zzz*", "PUBSUB NUMSUB a b",
        "PUBSUB SHARDCHANNELS zzz", "PUBSUB SHARDNUMSUB a",
    ],
    "server": [
        "PING", "PING x", "ECHO x", "COMMAND COUNT", "COMMAND GETKEYS SET k v", "CONFIG GET maxmemory",
        "ROLE", "ACL WHOAMI", "ACL USERS", "ACL GETUSER off", "LATENCY LATEST", "SLOWLOG HELP",
        "MEMORY USAGE none", "OBJECT HELP", "CLUSTER INFO", "MODULE LIST", "SWAPDB 6 7", "LOLWUT VERSION 9",
        "CLIENT HELP", "COMMAND INFO get nosuch", "SENTINEL MASTERS",
    ],
    "flushing": ["SET k v", "FLUSHDB", "DBSIZE", "SET k v", "FLUSHALL ASYNC", "FLUSHALL SYNC", "GET k"],
    "sorting": ["RPUSH l 3 1 2", "SORT l", "SORT l DESC LIMIT 0 1", "SORT_RO l", "SORT l STORE m", "LLEN m"],
    "dumping": ["SET k 1", "RESTORE j 0 x", "OBJECT REFCOUNT none", "DUMP none"],
}

# Section 3 of the catalogue: what may not stand in a transaction that goes out in one piece.
EXCLUDED = [
    "SELECT 5", "SELECT 99", "AUTH bob pw", "AUTH bob wrong", "HELLO 4", "RESET", "CLIENT REPLY ON", "CLIENT REPLY OFF",
    "CLIENT REPLY SKIP", "CLIENT GETNAME", "CLIENT SETNAME me", "CLIENT INFO",
    "CLIENT TRACKING ON", "CLIENT NO-EVICT ON", "CLIENT KILL ID 999999999", "MULTI", "WATCH k",
    "SUBSCRIBE c d", "PSUBSCRIBE c*", "SSUBSCRIBE c", "UNSUBSCRIBE", "UNSUBSCRIBE c d",
    "PUNSUBSCRIBE", "SUNSUBSCRIBE", "MONITOR", "READONLY", "READWRITE", "ASKING", "WAIT 0 0",
    "NOSUCH x", "DISCARD x", "EXEC x", "SAVE", "UNWATCH", "QUIT x",
    "BLPOP none 0", "XREAD BLOCK 0 STREAMS none $", "SWAPDB 6 7", "PING", "CLIENT UNBLOCK 999999999",
]

# Errors of every kind, each the server's own words.
ERRORS = [
    "GET", "GET a b", "SET k", "NOSUCH", "NOSUCH a b c", "CLIENT", "CLIENT NOSUCH", "OBJECT",
    "OBJECT NOSUCH k", "XGROUP NOSUCH", "SELECT", "SELECT 99", "SELECT abc", "SELECT -1",
    "SELECT 1 2", "SELECT 01", "SELECT ' 1'", "SELECT 4294967296", "HELLO 4", "HELLO abc",
    "HELLO 3 NOSUCH", "HELLO 3 AUTH bob", "HELLO 3 AUTH bob wrong", "HELLO 3 SETNAME", "AUTH",
    "AUTH bob wrong", "AUTH nobody pw", "AUTH off pw", "AUTH a b c", "MULTI x", "WATCH",
    "EXEC", "DISCARD", "UNWATCH x", "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "RESET x",
    "CLIENT REPLY", "CLIENT REPLY MAYBE", "CLIENT REPLY ON x", "CLIENT SETNAME 'a b'",
    "CLIENT SETNAME", "CLIENT GETNAME x", "CLIENT ID x", "CLIENT INFO x", "CLIENT TRACKING",
    "CLIENT TRACKING MAYBE", "CLIENT NO-EVICT MAYBE", "CLIENT KILL", "CLIENT UNBLOCK x",
    "CLIENT UNBLOCK 1 MAYBE", "CLIENT LIST TYPE nosuch", "CLIENT LIST ID x", "CLIENT SETINFO a b",
    "CLIENT NO-TOUCH ON", "CLIENT CAPA x", "BLPOP", "BLPOP k", "BLPOP k x", "BLPOP k -1", "WAIT",
    "WAIT a b", "WAITAOF 0 0 0", "XREAD BLOCK x STREAMS k $", "XREAD BLOCK", "XREADGROUP GROUP a",
    "EVAL", "EVAL 'return' x", "EVAL 'syntax error' 0", "EVALSHA x 0", "SCRIPT NOSUCH", "CONFIG SET nosuch 1",
    "MONITOR x", "ASKING x", "READONLY x", "PING a b", "ECHO", "CLIENT CACHING MAYBE",
    "CLIENT CACHING", "CLIENT PAUSE x", "CLIENT UNPAUSE x", "PUBLISH c", "PUBSUB NOSUCH",
    "OBJECT FREQ none", "DEL", "LPOP none x", "INCRBYFLOAT k x", "COMMAND NOSUCH", "ACL NOSUCH",
]

# The states that a client can be in when something happens to it.
STATES = {
    "fresh": [],
    "in MULTI": [do("MULTI"), do("SET k 0")],
    "in MULTI in one write": [do("MULTI", "SET k 0")],
    "in a doomed MULTI": [do("MULTI", "NOSUCH", "SET k 0")],
    "watching": [do("WATCH k")],
    "watching in MULTI": [do("WATCH k", "MULTI", "GET k")],
    "subscribed": [do("SUBSCRIBE c")],
    "subscribed by pattern": [do("PSUBSCRIBE c*")],
    "subscribed to a shard": [do("SSUBSCRIBE c")],
    "subscribed, RESP3": [do("HELLO 3", "SUBSCRIBE c")],
    "in RESP3": [do("HELLO 3")],
    "in RESP3 and MULTI": [do("HELLO 3", "MULTI")],
    "in database 3": [do("SELECT 3")],
    "as bob": [do("AUTH bob pw")],
    "named": [do("CLIENT SETNAME me")],
    "with REPLY OFF": [do("CLIENT REPLY OFF", n=0)],
    "with REPLY SKIP": [do("CLIENT REPLY SKIP", n=0)],
    "with tracking, RESP3": [do("HELLO 3", "CLIENT TRACKING ON")],
    "with tracking": [do("CLIENT TRACKING ON", "GET k")],
    "with BCAST tracking": [do("HELLO 3", "CLIENT TRACKING ON BCAST PREFIX zz")],
    "with tracking in MULTI": [do("HELLO 3", "CLIENT TRACKING ON", "MULTI")],
    "with tracking, subscribed": [do("HELLO 3", "CLIENT TRACKING ON", "SUBSCRIBE c")],
    "monitoring": [do("MONITOR")],
    "monitoring, RESP3": [do("HELLO 3", "MONITOR")],
    "monitoring in MULTI": [do("MONITOR", "MULTI")],
    "with NO-EVICT": [do("CLIENT NO-EVICT ON")],
    "with NO-EVICT, watching": [do("CLIENT NO-EVICT ON", "WATCH k")],
    "behind a pipeline": [do("SET k 1", "GET k", "INCR n", n=0)],
    "behind a blocking pop": [do("BLPOP none 0.01")],
    "with a half-sent transaction": [do("WATCH k", "MULTI", n=0)],
}

UNSUBSCRIPTIONS = [
    ("UNSUBSCRIBE", "PING"),
    ("UNSUBSCRIBE a", "PING"),
    ("UNSUBSCRIBE a b c", "PING"),
    ("PUNSUBSCRIBE", "SUNSUBSCRIBE", "UNSUBSCRIBE", "PING"),
    ("PUNSUBSCRIBE a b", "GET k"),
    ("SUNSUBSCRIBE a b", "GET k"),
    ("GET k", "UNSUBSCRIBE a b", "GET k"),
    ("SUBSCRIBE a b c", "UNSUBSCRIBE", "PING"),
    ("SUBSCRIBE a", "PSUBSCRIBE b*", "SSUBSCRIBE d", "UNSUBSCRIBE", "PUNSUBSCRIBE", "PING x"),
    ("SUBSCRIBE a", "UNSUBSCRIBE b", "UNSUBSCRIBE a", "GET k"),
    ("SSUBSCRIBE a b", "SUNSUBSCRIBE", "GET k"),
    ("SUBSCRIBE a", "SSUBSCRIBE b", "UNSUBSCRIBE a", "GET k", "SUNSUBSCRIBE b", "GET k"),
    ("PSUBSCRIBE a* b*", "SUBSCRIBE a", "PUNSUBSCRIBE", "UNSUBSCRIBE", "GET k"),
    ("SUBSCRIBE a a", "UNSUBSCRIBE a", "GET k"),
    ("WATCH k", "SUBSCRIBE a", "UNSUBSCRIBE", "MULTI", "EXEC"),
    ("SUBSCRIBE a", "UNSUBSCRIBE", "WATCH k", "MULTI", "EXEC", "GET k"),
]
