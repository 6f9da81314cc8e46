"""Broken configuration files, and what `redpool check` says of each, without the file's name."""

HEAD = "pools:\n  main:\n    listen: 127.0.0.1:6380\n    upstream: 127.0.0.1:6379\n"
SMALLEST = "pools: {main: {listen: 127.0.0.1:6380, upstream: 127.0.0.1:6379}}\n"


def pool(*lines) -> str:
    """A pool `main` with a line of its own for each of `lines`, which begin at line 5."""
    return HEAD + "".join(f"    {line}\n" for line in lines)


def listen(value) -> str:
    return "pools: {main: {upstream: h:1, listen: %s}}\n" % value


def upstream(value) -> str:
    return "pools: {main: {listen: 127.0.0.1:1, upstream: %s}}\n" % value


BROKEN = [
    ("pools:\n  main:\n    listen: \"127.0.0.1:6380\n    upstream: 127.0.0.1:6379\n",
     ["5:1: found unexpected end of stream while scanning a quoted scalar that began at "
      "3:13"]),
    ("pools:\n  main:\n    listen: '127.0.0.1:6380\n",
     ["4:1: found unexpected end of stream while scanning a quoted scalar that began at "
      "3:13"]),
    ("pools:\n  main: {listen: 127.0.0.1:6380, upstream: 127.0.0.1:6379\n",
     ["3:1: did not find expected ',' or '}' while parsing a flow mapping that began at 2:9"]),
    ("pools:\n"
     "  main:\n"
     "    listen: [127.0.0.1:6380, 127.0.0.1:6381\n"
     "    upstream: 127.0.0.1:6379\n",
     ["4:13: did not find expected ',' or ']' while parsing a flow sequence that began at "
      "3:13"]),
    ("pools:\n  main:\n    listen: 127.0.0.1:6380\n   upstream: 127.0.0.1:6379\n",
     ["4:4: did not find expected key while parsing a block mapping that began at 2:3"]),
    ("pools:\n  main:\n    listen: 127.0.0.1:6380\n      upstream: 127.0.0.1:6379\n",
     ["4:15: mapping values are not allowed in this context"]),
    ("pools:\n  main:\n    listen: \"127.0.0.1\\q6380\"\n    upstream: h:1\n",
     ["3:23: found unknown escape character while parsing a quoted scalar that began at "
      "3:13"]),
    ("pools:\n  main:\n\tlisten: 127.0.0.1:6380\n",
     ["3:1: found character that cannot start any token (indent with spaces, not with tabs)"]),
    ("pools:\n  main:\n    listen: [::1]:6380\n    upstream: h:1\n",
     ["3:14: did not find expected node content (an IPv6 address needs quotes: "
      "\"[::1]:6380\")"]),
    ("pools:\n  main:\n    listen: *:6380\n    upstream: h:1\n",
     ["3:13: aliases (*) are not supported; text that begins with * needs quotes (\"*:6380\")"]),
    ("pools:\n  main:\n    listen:127.0.0.1:6380\n    upstream:127.0.0.1:6379\n",
     ["3:5: pools.main: has to be a mapping of keys to values (a colon needs a space "
      "behind it: \"listen: ...\")"]),
    ("pools:\n  main:\n    upstream: h:1\n    listen:127.0.0.1:6380\n",
     ["5:1: could not find expected ':' while scanning a simple key that began at 4:5 (a "
      "colon needs a space behind it: \"listen: ...\")"]),
    ("pools:\n  main:\n    listen:127.0.0.1:6380\n    upstream: h:1\n",
     ["4:13: mapping values are not allowed in this context (a colon needs a space behind "
      "it: \"listen: ...\")"]),
    ("pools: {main: {listen:127.0.0.1:6380, upstream: h:1}}\n",
     ["1:16: pools.main.listen: a colon needs a space behind it: \"listen: ...\""]),
    ("pools:\n  main:\n    listen = 127.0.0.1:6380\n    upstream = h:1\n",
     ["3:5: pools.main: has to be a mapping of keys to values (a key ends with a colon, "
      "not with =: \"listen: ...\")"]),
    ("pools:\n  main:\n    listen: 127.0.0.1:6380\n    upstream = h:1\n",
     ["5:1: could not find expected ':' while scanning a simple key that began at 4:5 (a "
      "key ends with a colon, not with =: \"upstream: ...\")"]),
    ("listen = 127.0.0.1:6380\n",
     ["1:1: the file has to be a mapping, such as pools: ... (a key ends with a colon, not "
      "with =: \"listen: ...\")"]),
    (SMALLEST + "threads = 4\n",
     ["3:1: could not find expected ':' while scanning a simple key that began at 2:1 (a "
      "key ends with a colon, not with =: \"threads: ...\")"]),
    (SMALLEST + "threads:4\n",
     ["3:1: could not find expected ':' while scanning a simple key that began at 2:1 (a "
      "colon needs a space behind it: \"threads: ...\")"]),
    (SMALLEST + "threads: 2\nthreads: 3\n",
     ["3:1: threads appears twice (first at line 2)"]),
    (SMALLEST + "---\nthreads: 2\n",
     ["2:1: the file has a second document; only one is allowed"]),
    ("%YAML 1.1\n---\n" + SMALLEST,
     ["1:1: YAML directives (%) are not supported"]),
    (SMALLEST + "maxClients: !!int 100\n",
     ["2:13: tags (!) are not supported; text that begins with ! needs quotes"]),
    ("pools: &all\n  main: {listen: 127.0.0.1:1, upstream: h:1}\n",
     ["1:8: anchors (&) are not supported"]),
    ("pools:\n  main: {listen: 127.0.0.1:1, upstream: h:1}\n  <<: {}\n",
     ["3:3: pools.<<: merge keys (<<) are not supported"]),
    ("# nothing\n",
     ["1:1: the file is empty; at least one pool is needed"]),
    ("- pools\n",
     ["1:1: the file has to be a mapping, such as pools: ..."]),
    ("a: b\x01\n",
     ["1:5: control characters are not allowed"]),
    ("log: {}\n",
     ["1:1: pools: at least one pool is needed"]),
    ("pools: {}\n",
     ["1:1: pools: at least one pool is needed"]),
    ("pools:\n  - main\n",
     ["2:3: pools: has to be a mapping of names to pools"]),
    ("pools: {Main: {listen: 127.0.0.1:1, upstream: h:1}}\n",
     ["1:9: pools.Main: a pool's name is 1 to 32 of the characters a-z, 0-9, _ and -"]),
    ("pools: {main: {}}\n",
     ["1:9: pools.main.listen: is required (where clients connect, one address or a list; "
      "no two pools share one)",
      "1:9: pools.main.upstream: is required, or sentinels, or cluster (the Redis or Valkey server)"]),
    ("pool: {}\n" + SMALLEST,
     ["1:1: pool: unknown key (did you mean pools?)"]),
    ("maxOpen: 3\n" + SMALLEST,
     ["1:1: maxOpen: does not belong here; it is a key of a pool (pools.<name>.maxOpen) or "
      "of defaults"]),
    (pool("maxClients: 100"),
     ["5:5: pools.main.maxClients: does not belong here; it is a key of the top of the file"]),
    (pool("pool_timeout: 3s"),
     ["5:5: pools.main.pool_timeout: unknown key (did you mean poolTimeout?)"]),
    (pool("password: secret-canary"),
     ["5:5: pools.main.password: unknown key (did you mean passwordFile?)"]),
    (pool("zebra: 3"),
     ["5:5: pools.main.zebra: unknown key"]),
    (pool("maxOpen:", "maxIdle: ~"),
     ["5:13: pools.main.maxOpen: has no value",
      "6:14: pools.main.maxIdle: has no value"]),
    (pool("idleTimeout: 300"),
     ["5:18: pools.main.idleTimeout: 300 has no unit (did you mean 300s?)"]),
    (pool("idleTimeout: 5min"),
     ["5:18: pools.main.idleTimeout: 5min has an unknown unit (did you mean 5m?)"]),
    (pool("idleTimeout: 1d", "maxLifetime: 2 weeks"),
     ["5:18: pools.main.idleTimeout: 1d has an unknown unit (did you mean 24h?)",
      "6:18: pools.main.maxLifetime: 2 weeks is not a duration (did you mean 336h?)"]),
    (pool("idleTimeout: 1.5s", "pingInterval: 0.25h"),
     ["5:18: pools.main.idleTimeout: 1.5s is not a duration (did you mean 1500ms?)",
      "6:19: pools.main.pingInterval: 0.25h is not a duration (did you mean 15m?)"]),
    (pool("idleTimeout: 5M", "pingInterval: 10 s"),
     ["5:18: pools.main.idleTimeout: 5M has an unknown unit (did you mean 5m?)",
      "6:19: pools.main.pingInterval: 10 s is not a duration (did you mean 10s?)"]),
    (pool("idleTimeout: soon", "pingInterval: -1s", "connectTimeout: 0s"),
     ["5:18: pools.main.idleTimeout: soon is not a duration (such as 800ms, 5m or 1h30m)",
      "6:19: pools.main.pingInterval: -1s is negative",
      "7:21: pools.main.connectTimeout: 0s is out of range (1ms to 1h)"]),
    (pool("idleTimeout: 5parsecs", "pingInterval: 1m1h"),
     ["5:18: pools.main.idleTimeout: 5parsecs has an unknown unit (the units are ms, s, m "
      "and h)",
      "6:19: pools.main.pingInterval: 1m1h is not a duration (such as 800ms, 5m or 1h30m)"]),
    (pool("clientOutputLimit: 512k"),
     ["5:24: pools.main.clientOutputLimit: 512k has an unknown unit (did you mean 512kb?)"]),
    (pool("clientOutputLimit: 1.5mb", "maxOpen: 2O"),
     ["5:24: pools.main.clientOutputLimit: 1.5mb is not a size (did you mean 1536kb?)",
      "6:14: pools.main.maxOpen: 2O is not a whole number"]),
    (pool("clientOutputLimit: 1073741824"),
     ["5:24: pools.main.clientOutputLimit: 1073741824 has no unit (did you mean "
      "1073741824b?)"]),
    (pool("clientOutputLimit: 2T"),
     ["5:24: pools.main.clientOutputLimit: 2T has an unknown unit (did you mean 2048gb?)"]),
    (pool("clientOutputLimit: big"),
     ["5:24: pools.main.clientOutputLimit: big is not a size (such as 64kb or 32mb)"]),
    (pool("maxOpen: 0", "minIdle: 010"),
     ["5:14: pools.main.maxOpen: 0 is out of range (1 to 10000)",
      "6:14: pools.main.minIdle: 010 is not a whole number"]),
    (pool("maxOpen: [1]"),
     ["5:14: pools.main.maxOpen: has to be one value, not a list or a mapping"]),
    (pool("socketMode: rw-rw----", "socketGroup: web users"),
     ["5:17: pools.main.socketMode: rw-rw---- is not a file mode (such as \"0660\")",
      "6:18: pools.main.socketGroup: web users has a space or a control character"]),
    (pool("onUpstreamLoss: closed"),
     ["5:21: pools.main.onUpstreamLoss: closed is not one of close or error (did you mean "
      "close?)"]),
    ("log: {level: warn}\n" + SMALLEST,
     ["1:14: log.level: warn is not one of error, warning, notice, info or debug (did you "
      "mean warning?)"]),
    ("log: {level: trace, clients: yes, stats: 1d12h}\n" + SMALLEST,
     ["1:14: log.level: trace is not one of error, warning, notice, info or debug",
      "1:30: log.clients: yes is not true or false (did you mean true?)",
      "1:42: log.stats: 1d12h has an unknown unit (the units are ms, s, m and h)"]),
    ("maxClients: many\n" + SMALLEST,
     ["1:13: maxClients: many is not a whole number"]),
    ("threads: 0\ndrainTimeout: 10\n" + SMALLEST,
     ["1:10: threads: 0 is out of range (1 to 64)",
      "2:15: drainTimeout: 10 has no unit (did you mean 10s?)"]),
    (pool("denyCommands: [SYNC, sync, MODULE LOAD EX]"),
     ["5:26: pools.main.denyCommands: SYNC appears twice (first at line 5)",
      "5:32: pools.main.denyCommands: MODULE LOAD EX is not a command (such as SYNC or "
      "SCRIPT DEBUG)"]),
    (listen("6380"),
     ["1:39: pools.main.listen: 6380 has no host (did you mean 127.0.0.1:6380?)"]),
    (listen("':6380'"),
     ["1:39: pools.main.listen: :6380 has no host (did you mean 127.0.0.1:6380?)"]),
    (listen("[6380, 127.0.0.1]"),
     ["1:40: pools.main.listen: 6380 has no host (did you mean 127.0.0.1:6380?)",
      "1:46: pools.main.listen: 127.0.0.1 has no port (such as 127.0.0.1:6380)"]),
    (listen("0.0.0.0:70000"),
     ["1:39: pools.main.listen: 70000 is not a port (1 to 65535)"]),
    (listen("db.example:6380"),
     ["1:39: pools.main.listen: db.example:6380 has a host name (an address to listen on "
      "is numeric, localhost or *)"]),
    (listen("/run/x.sock"),
     ["1:39: pools.main.listen: /run/x.sock is a path (did you mean unix:/run/x.sock?)"]),
    (listen("'unix:x.sock'"),
     ["1:39: pools.main.listen: the path of a unix socket is absolute (did you mean "
      "unix:/x.sock?)"]),
    (upstream("6379"),
     ["1:47: pools.main.upstream: 6379 has no host (did you mean 127.0.0.1:6379?)"]),
    (upstream("'redis://app:secret-canary@h'"),
     ["1:47: pools.main.upstream: the URL holds a password; put it in passwordFile"]),
    ("pools: {main: {listen: 127.0.0.1:1, upstream: h:1, tlsVerify: ca}}\n",
     ["1:63: pools.main.tlsVerify: is only for an upstream with rediss://"]),
    ("pools: {main: {listen: 127.0.0.1:1, upstream: rediss://h:1, tlsKeyFile: k}}\n",
     ["1:73: pools.main.tlsCertFile: is needed with tlsKeyFile",
      "1:73: pools.main.tlsKeyFile: k cannot be read: No such file or directory"]),
    (upstream("'redis://h/x'"),
     ["1:47: pools.main.upstream: x is not a database number"]),
    (upstream("127.1:6379"),
     ["1:47: pools.main.upstream: 127.1 is not an IPv4 address"]),
    ("pools:\n  a: {listen: 127.0.0.1:5, upstream: h:1}\n  b: {listen: '*:5', upstream: h:1}\n",
     ["3:15: pools.b.listen: *:5 is taken by pool a (127.0.0.1:5, at line 2)"]),
    ("pools:\n  a: {listen: 127.0.0.1:5, upstream: localhost:5}\n",
     ["2:15: pools.a.listen: 127.0.0.1:5 is the upstream of this pool: a loop"]),
    (pool("maxIdle: 40", "maxPinned: 32"),
     ["5:14: pools.main.maxIdle: 40 is more than maxOpen (32, the default)",
      "6:16: pools.main.maxPinned: 32 is not less than maxOpen (32, the default)"]),
    (pool("maxOpen: 8") + "defaults: {maxIdle: 40}\n",
     ["5:14: pools.main.maxOpen: 8 is less than maxIdle (40, from defaults at line 6)"]),
    (pool("username: app"),
     ["5:15: pools.main.username: a user needs passwordFile; AUTH always has a password"]),
    (pool("idleTimeout: 10s", "maxOpen: x"),
     ["5:18: warning: pools.main.idleTimeout: 10s is not more than pingInterval (30s, the "
      "default): idle connections above minIdle are closed before their first PING",
      "6:14: pools.main.maxOpen: x is not a whole number"]),
    (pool("passwordFile: /no/such/file"),
     ["5:19: pools.main.passwordFile: /no/such/file: cannot be read: No such file or "
      "directory"]),
    (pool("passwordFile: /"),
     ["5:19: pools.main.passwordFile: /: cannot be read: Is a directory"]),
    (listen("'unix:/no/such/x.sock'"),
     ["1:39: pools.main.listen: /no/such: there is no such directory"]),
    (listen("'unix:/dev/null/x.sock'"),
     ["1:39: pools.main.listen: /dev/null: not a directory"]),
    ("defaults: {socketGroup: no-such-group}\n" + listen("'unix:/tmp/x.sock'"),
     ["1:25: defaults.socketGroup: there is no group no-such-group"]),
    (pool("socketGroup: nobodys", "denyCommands: GETT", "maxopen: 3").replace(
        "127.0.0.1:6380", "unix:/tmp/x.sock"),
     ["5:18: pools.main.socketGroup: there is no group nobodys",
      "6:19: warning: pools.main.denyCommands: no server knows GETT (did you mean GET?)",
      "7:5: pools.main.maxopen: unknown key (did you mean maxOpen?)"]),
]
