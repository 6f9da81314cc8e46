import Testing

@testable import Config

/// One golden case: a text and all the problems that are found in it.
struct Golden: Sendable, CustomTestStringConvertible {
    let text: String
    let problems: [String]

    init(_ text: String, _ problems: String...) {
        self.text = text
        self.problems = problems
    }

    var testDescription: String { problems.first ?? text }
}

@Suite struct ProblemsTests {
    @Test(arguments: values + commands + sections + addresses + crossChecks)
    func golden(_ golden: Golden) {
        #expect(problems(golden.text) == golden.problems)
    }

    static let values = [
        Golden(
            pool("maxopen: 3"), "5:5: pools.main.maxopen: unknown key (did you mean maxOpen?)"),
        Golden(
            pool("pool_timeout: 3s"),
            "5:5: pools.main.pool_timeout: unknown key (did you mean poolTimeout?)"),
        Golden(pool("minidel: 3"), "5:5: pools.main.minidel: unknown key (did you mean minIdle?)"),
        Golden(pool("zebra: 3"), "5:5: pools.main.zebra: unknown key"),
        Golden(
            pool("idleTimeout: 300"),
            "5:18: pools.main.idleTimeout: 300 has no unit (did you mean 300s?)"),
        Golden(
            pool("idleTimeout: 0"),
            "5:18: pools.main.idleTimeout: 0 has no unit (did you mean 0s?)"),
        Golden(pool("idleTimeout: -1s"), "5:18: pools.main.idleTimeout: -1s is negative"),
        Golden(
            pool("idleTimeout: 5min"),
            "5:18: pools.main.idleTimeout: 5min has an unknown unit (did you mean 5m?)"),
        Golden(
            pool("idleTimeout: 1.5s"),
            "5:18: pools.main.idleTimeout: 1.5s is not a duration (did you mean 1500ms?)"),
        Golden(
            pool("idleTimeout: 5s1m"),
            "5:18: pools.main.idleTimeout: 5s1m is not a duration (such as 800ms, 5m or 1h30m)"),
        Golden(
            pool("idleTimeout: \"\""),
            "5:18: pools.main.idleTimeout: \"\" is not a duration (such as 800ms, 5m or 1h30m)"),
        Golden(
            pool("idleTimeout: 99999999999999999999h"),
            "5:18: pools.main.idleTimeout: 99999999999999999999h is out of range "
                + "(100ms to 720h, or 0s (never))"),
        Golden(
            pool("poolTimeout: 0s"),
            "5:18: pools.main.poolTimeout: 0s is out of range (1ms to 1h)"),
        Golden(pool("maxOpen: 0"), "5:14: pools.main.maxOpen: 0 is out of range (1 to 10000)"),
        Golden(
            pool("maxOpen: 10001"), "5:14: pools.main.maxOpen: 10001 is out of range (1 to 10000)"),
        Golden(
            pool("maxOpen: 99999999999999999999"),
            "5:14: pools.main.maxOpen: 99999999999999999999 is out of range (1 to 10000)"),
        Golden(pool("maxOpen: -1"), "5:14: pools.main.maxOpen: -1 is out of range (1 to 10000)"),
        Golden(pool("maxOpen: 2O"), "5:14: pools.main.maxOpen: 2O is not a whole number"),
        Golden(pool("maxOpen: 010"), "5:14: pools.main.maxOpen: 010 is not a whole number"),
        Golden(pool("maxOpen: 1_000"), "5:14: pools.main.maxOpen: 1_000 is not a whole number"),
        Golden(pool("maxOpen: 0x10"), "5:14: pools.main.maxOpen: 0x10 is not a whole number"),
        Golden(pool("maxOpen:"), "5:13: pools.main.maxOpen: has no value"),
        Golden(pool("username: ~"), "5:15: pools.main.username: has no value"),
        Golden(
            pool("maxOpen: [1]"),
            "5:14: pools.main.maxOpen: has to be one value, not a list or a mapping"),
        Golden(
            pool("clientOutputLimit: 65536"),
            "5:24: pools.main.clientOutputLimit: 65536 has no unit (did you mean 65536b?)"),
        Golden(
            pool("clientOutputLimit: 63kb"),
            "5:24: pools.main.clientOutputLimit: 63kb is out of range (64kb to 1024gb)"),
        Golden(
            pool("clientOutputLimit: 1tb"),
            "5:24: pools.main.clientOutputLimit: 1tb has an unknown unit (did you mean 1024gb?)"),
        Golden(
            pool("clientOutputLimit: 1.5mb"),
            "5:24: pools.main.clientOutputLimit: 1.5mb is not a size (did you mean 1536kb?)"),
        Golden(
            pool("clientOutputLimit: -1mb"),
            "5:24: pools.main.clientOutputLimit: -1mb is negative"),
        Golden(
            pool("socketMode: 0888"),
            "5:17: pools.main.socketMode: 0888 is not a file mode (such as \"0660\")"),
        Golden(
            pool("socketGroup: a b"),
            "5:18: pools.main.socketGroup: a b has a space or a control character"),
        Golden(
            pool("keepalive: 10h"),
            "5:16: pools.main.keepalive: 10h is out of range (1s to 32767s, or 0s (off))"),
    ]

    static let commands = [
        Golden(pool("onUpstreamLoss: error", "commandTimeout: 1h", "dnsRefresh: 24h")),
        Golden(
            pool("onUpstreamLoss: closed"),
            "5:21: pools.main.onUpstreamLoss: closed is not one of close or error "
                + "(did you mean close?)"),
        Golden(pool("pubsub: shared", "pubsubLoss: resubscribe")),
        Golden(
            pool("pubsub: share"),
            "5:13: pools.main.pubsub: share is not one of pinned or shared "
                + "(did you mean shared?)"),
        Golden(
            pool("pubsub: shared", "maxPinned: 0"),
            "5:13: pools.main.pubsub: shared needs maxPinned of at least 1"),
        Golden(
            pool("pubsubLoss: resubscribe"),
            "5:17: warning: pools.main.pubsubLoss: has no effect with pubsub: pinned"),
        Golden("defaults: {pubsubLoss: resubscribe}\n" + pool()),
        Golden(
            pool("commandTimeout: 61m"),
            "5:21: pools.main.commandTimeout: 61m is out of range (1ms to 1h, or 0s (none))"),
        Golden(
            pool("transactionTimeout: 99ms"),
            "5:25: pools.main.transactionTimeout: 99ms is out of range "
                + "(100ms to 720h, or 0s (never))"),
        Golden(
            pool("dnsRefresh: 999ms"),
            "5:17: pools.main.dnsRefresh: 999ms is out of range "
                + "(1s to 24h, or 0s (only when connecting))"),
        Golden(
            pool("dnsRefresh: 25h"),
            "5:17: pools.main.dnsRefresh: 25h is out of range "
                + "(1s to 24h, or 0s (only when connecting))"),
        Golden(pool("denyCommands:"), "5:18: pools.main.denyCommands: has no value"),
        Golden(
            pool("denyCommands:", "- null", "-", "- \"null\""),
            "6:7: pools.main.denyCommands: an element has no value",
            "7:6: pools.main.denyCommands: an element has no value"),
        Golden(
            pool("denyCommands: {SYNC: true}"),
            "5:19: pools.main.denyCommands: has to be one value or a list, not a mapping"),
        Golden(
            pool("denyCommands: SYNC, PSYNC"),
            "5:19: pools.main.denyCommands: SYNC, PSYNC is not a command "
                + "(such as SYNC or SCRIPT DEBUG)"),
        Golden(
            pool("denyCommands: [SYNC, \"\", [DEBUG], MODULE LOAD EX]"),
            "5:26: pools.main.denyCommands: \"\" is not a command (such as SYNC or SCRIPT DEBUG)",
            "5:30: pools.main.denyCommands: a command has to be text, such as SYNC or SCRIPT DEBUG",
            "5:39: pools.main.denyCommands: MODULE LOAD EX is not a command "
                + "(such as SYNC or SCRIPT DEBUG)"),
        Golden(
            pool("denyCommands: x\(String(repeating: "y", count: 24))"),
            "5:19: pools.main.denyCommands: xyyyyyyyyyyyyyyyyyyyyyyyy is not a command: "
                + "a word has at most 24 characters"),
        Golden(
            pool("denyCommands:", "- SCRIPT DEBUG", "- script|debug", "- SYNC", "- Script|Debug"),
            "7:7: pools.main.denyCommands: SCRIPT DEBUG appears twice (first at line 6)",
            "9:7: pools.main.denyCommands: SCRIPT DEBUG appears twice (first at line 6)"),
        Golden(
            "defaults: {denyCommands: [SYNC, sync]}\n" + pool("denyCommands: []"),
            "1:33: defaults.denyCommands: SYNC appears twice (first at line 1)"),
    ]

    static let sections = [
        Golden("", "1:1: the file is empty; at least one pool is needed"),
        Golden("# nothing\n", "1:1: the file is empty; at least one pool is needed"),
        Golden("- pools\n", "1:1: the file has to be a mapping, such as pools: ..."),
        Golden("hello\n", "1:1: the file has to be a mapping, such as pools: ..."),
        Golden("log: {}\n", "1:1: pools: at least one pool is needed"),
        Golden("pools: {}\n", "1:1: pools: at least one pool is needed"),
        Golden("pools:\n", "1:7: pools: has to be a mapping of names to pools"),
        Golden("pools: {main: 3}\n", "1:15: pools.main: has to be a mapping of keys to values"),
        Golden(
            "pools: {Main: {listen: 127.0.0.1:1, upstream: h:1}}\n",
            "1:9: pools.Main: a pool's name is 1 to 32 of the characters a-z, 0-9, _ and -"),
        Golden(
            "pools: {main: {}}\n",
            "1:9: pools.main.listen: is required (where clients connect, one address or a list; "
                + "no two pools share one)",
            "1:9: pools.main.upstream: is required, or sentinels, or cluster (the Redis or Valkey server)"
        ),
        Golden(
            "pool: {}\n" + pool(), "1:1: pool: unknown key (did you mean pools?)"),
        Golden(
            "maxOpen: 3\n" + pool(),
            "1:1: maxOpen: does not belong here; it is a key of a pool (pools.<name>.maxOpen) "
                + "or of defaults"),
        Golden(
            "defaults: {listen: 127.0.0.1:6380}\n" + pool(),
            "1:12: defaults.listen: does not belong here; it is a key of a pool "
                + "(pools.<name>.listen)"),
        Golden(
            pool("maxClients: 3"),
            "5:5: pools.main.maxClients: does not belong here; it is a key of the top of the file"),
        Golden(
            "level: info\n" + pool(), "1:1: level: does not belong here; it is a key of log"),
        Golden(
            "log: {level: warn}\n" + pool(),
            "1:14: log.level: warn is not one of error, warning, notice, info or debug "
                + "(did you mean warning?)"),
        Golden(
            "log: {format: logfm}\n" + pool(),
            "1:15: log.format: logfm is not one of auto, text or logfmt (did you mean logfmt?)"),
        Golden(
            "log: {clients: yes}\n" + pool(),
            "1:16: log.clients: yes is not true or false (did you mean true?)"),
        Golden(
            "log: {clients: 12}\n" + pool(), "1:16: log.clients: 12 is not true or false"),
        Golden("log: 3\n" + pool(), "1:6: log: has to be a mapping of keys to values"),
        Golden(
            "defaults: 3\n" + pool(), "1:11: defaults: has to be a mapping of keys to values"),
        Golden(
            "maxClients: many\n" + pool(), "1:13: maxClients: many is not a whole number"),
        Golden(
            "maxClients: 0\n" + pool(),
            "1:13: maxClients: 0 is out of range (1 to 1000000, or auto)"),
        Golden(
            "defaults: {maxOpen: x}\n" + pool("maxIdle: y"),
            "1:21: defaults.maxOpen: x is not a whole number",
            "6:14: pools.main.maxIdle: y is not a whole number"),
    ]

    static let crossChecks = [
        Golden(
            pool("maxIdle: 40"),
            "5:14: pools.main.maxIdle: 40 is more than maxOpen (32, the default)"),
        Golden(
            pool("maxOpen: 8", "maxIdle: 9"),
            "6:14: pools.main.maxIdle: 9 is more than maxOpen (8, at line 5)"),
        Golden(
            pool("maxIdle: 40") + "defaults: {maxOpen: 32}\n",
            "5:14: pools.main.maxIdle: 40 is more than maxOpen (32, from defaults at line 6)"),
        Golden(
            pool("maxOpen: 8") + "defaults: {maxIdle: 40}\n",
            "5:14: pools.main.maxOpen: 8 is less than maxIdle (40, from defaults at line 6)"),
        Golden(
            "defaults: {maxOpen: 8, maxIdle: 9}\n"
                + "pools: {a: {listen: 127.0.0.1:1, upstream: h:1}, "
                + "b: {listen: 127.0.0.1:2, upstream: h:1}}\n",
            "1:33: defaults.maxIdle: 9 is more than maxOpen (8, from defaults at line 1)"),
        Golden(
            pool("maxIdle: 4", "minIdle: 5"),
            "6:14: pools.main.minIdle: 5 is more than maxIdle (4, at line 5)"),
        Golden(
            pool("maxPinned: 32"),
            "5:16: pools.main.maxPinned: 32 is not less than maxOpen (32, the default)"),
        Golden(
            pool("maxOpen: 1", "maxPinned: 1"),
            "6:16: pools.main.maxPinned: 1 is not less than maxOpen (1, at line 5)"),
        Golden(
            pool("maxOpen: 4") + "defaults: {maxPinned: 4}\n",
            "5:14: pools.main.maxOpen: 4 is not more than maxPinned (4, from defaults at line 6)"),
        Golden(
            pool("pingInterval: 5m"),
            "5:19: warning: pools.main.pingInterval: 5m is not less than idleTimeout "
                + "(5m, the default): idle connections above minIdle are closed before their "
                + "first PING"),
        Golden(
            pool("idleTimeout: 10s"),
            "5:18: warning: pools.main.idleTimeout: 10s is not more than pingInterval "
                + "(30s, the default): idle connections above minIdle are closed before their "
                + "first PING"),
        Golden(pool("idleTimeout: 0s", "pingInterval: 10m")),
        Golden(pool("pingInterval: 0s", "idleTimeout: 1s")),
        Golden(
            pool("username: app"),
            "5:15: pools.main.username: a user needs passwordFile; AUTH always has a password"),
        Golden(
            "pools: {main: {listen: 127.0.0.1:1, upstream: redis://app@h}}\n",
            "1:47: pools.main.upstream: a user needs passwordFile; AUTH always has a password"),
        Golden(
            "pools: {main: {listen: 127.0.0.1:1, upstream: redis://app@h, username: b}}\n",
            "1:72: pools.main.username: b is not the user of upstream's URL (app)"),
        Golden(
            pool("passwordFile: none"),
            "5:19: pools.main.passwordFile: /etc/redpool/none: cannot be read: "
                + "No such file or directory"),
    ]
}
