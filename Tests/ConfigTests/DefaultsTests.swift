import Testing

@testable import Config

private let millisecond: Int64 = 1_000_000
private let second: Int64 = 1_000_000_000

@Suite struct DefaultsTests {
    static let smallest = "pools: {main: {listen: 127.0.0.1:6380, upstream: 127.0.0.1:6379}}"

    @Test func smallestFileHasEveryDefault() throws {
        let config = try valid(DefaultsTests.smallest)
        #expect(config.threads == 1)
        #expect(config.maxClients == nil)
        #expect(config.totalOutputLimit == 256 << 20)
        #expect(config.drainTimeout == 10 * second)
        #expect(
            config.log
                == LogConfig(level: .info, format: .auto, clients: false, stats: 300 * second))
        let pool = try #require(config.pools.first)
        #expect(config.pools.count == 1)
        #expect(pool.name == "main")
        #expect(pool.listen == [.tcp(host: "127.0.0.1", port: 6380)])
        #expect(pool.upstream == .tcp(host: "127.0.0.1", port: 6379))
        #expect(pool.upstreamDatabase == 0)
        #expect(pool.username == "")
        #expect(pool.password == nil)
        #expect(pool.maxOpen == 32)
        #expect(pool.maxPinned == 28)
        #expect(pool.maxIdle == 32)
        #expect(pool.minIdle == 1)
        #expect(pool.maxLifetime == 3600 * second)
        #expect(pool.idleTimeout == 300 * second)
        #expect(pool.pingInterval == 30 * second)
        #expect(pool.connectTimeout == 2 * second)
        #expect(pool.poolTimeout == 5 * second)
        #expect(pool.commandTimeout == 0)
        #expect(pool.dnsRefresh == 30 * second)
        #expect(pool.maxPipeline == 1024)
        #expect(pool.onUpstreamLoss == .close)
        #expect(pool.pubsub == .pinned)
        #expect(
            pool.denyCommands == [
                "sync", "psync", "replconf", "debug", "script|debug", "module|load",
                "module|loadex", "module|unload",
            ])
        #expect(pool.clientIdleTimeout == 0)
        #expect(pool.transactionTimeout == 60 * second)
        #expect(pool.clientOutputLimit == 33_554_432)
        #expect(pool.keepalive == 60 * second)
        #expect(pool.socketMode == 0o660)
        #expect(pool.socketGroup == "")
    }

    @Test(arguments: [
        (1, 0, 1, 1), (2, 1, 2, 1), (3, 1, 3, 1), (4, 2, 4, 1), (15, 13, 15, 1), (16, 14, 16, 1),
        (24, 21, 24, 1), (10_000, 8750, 10_000, 1),
    ])
    func sizesFollowFromMaxOpen(maxOpen: Int, maxPinned: Int, maxIdle: Int, minIdle: Int) throws {
        let config = try valid(pool("maxOpen: \(maxOpen)"))
        #expect(config.pools[0].maxPinned == maxPinned)
        #expect(config.pools[0].maxIdle == maxIdle)
        #expect(config.pools[0].minIdle == minIdle)
    }

    @Test func minIdleGivesWayToMaxIdle() throws {
        #expect(try valid(pool("maxIdle: 0")).pools[0].minIdle == 0)
    }

    @Test func everyKeyIsRead() throws {
        let text = """
            pools:
              main:
                listen: [127.0.0.1:6380, "[::1]:6380", unix:/run/redpool/main.sock]
                upstream: redis://app@db.example:7000/3
                passwordFile: secrets/main
                maxOpen: 40
                maxPinned: 11
                maxIdle: 30
                minIdle: 12
                maxLifetime: 2h
                idleTimeout: 7m
                pingInterval: 1m30s
                connectTimeout: 3s
                poolTimeout: 750ms
                commandTimeout: 1500ms
                dnsRefresh: 2m
                onUpstreamLoss: error
                pubsub: shared
                pubsubLoss: resubscribe
                denyCommands: [FLUSHALL, Config Set, script|KILL]
                maxPipeline: 13
                clientIdleTimeout: 14m
                transactionTimeout: 19s
                clientOutputLimit: 15mb
                keepalive: 16s
                socketMode: 0600
                socketGroup: redis
            maxClients: 17
            totalOutputLimit: 20mb
            drainTimeout: 18s
            log: {level: debug, format: logfmt, clients: true, stats: 0s}
            """
        let config = try valid(text, files: ["/etc/redpool/secrets/main": "hunter2\nsecond\n"])
        #expect(config.maxClients == 17)
        #expect(config.totalOutputLimit == 20 << 20)
        #expect(config.drainTimeout == 18 * second)
        #expect(config.log == LogConfig(level: .debug, format: .logfmt, clients: true, stats: 0))
        let pool = config.pools[0]
        #expect(
            pool.listen == [
                .tcp(host: "127.0.0.1", port: 6380), .tcp(host: "::1", port: 6380),
                .unix(path: "/run/redpool/main.sock"),
            ])
        #expect(pool.upstream == .tcp(host: "db.example", port: 7000))
        #expect(pool.upstreamDatabase == 3)
        #expect(pool.username == "app")
        #expect(pool.password == "hunter2")
        #expect([pool.maxOpen, pool.maxPinned, pool.maxIdle, pool.minIdle] == [40, 11, 30, 12])
        #expect(pool.maxLifetime == 7200 * second)
        #expect(pool.idleTimeout == 420 * second)
        #expect(pool.pingInterval == 90 * second)
        #expect(pool.connectTimeout == 3 * second)
        #expect(pool.poolTimeout == 750 * millisecond)
        #expect(pool.commandTimeout == 1500 * millisecond)
        #expect(pool.dnsRefresh == 120 * second)
        #expect(pool.onUpstreamLoss == .error)
        #expect(pool.pubsub == .shared(loss: .resubscribe))
        #expect(pool.denyCommands == ["flushall", "config|set", "script|kill"])
        #expect(pool.maxPipeline == 13)
        #expect(pool.clientIdleTimeout == 840 * second)
        #expect(pool.transactionTimeout == 19 * second)
        #expect(pool.clientOutputLimit == 15 * 1_048_576)
        #expect(pool.keepalive == 16 * second)
        #expect(pool.socketMode == 0o600)
        #expect(pool.socketGroup == "redis")
    }

    @Test func defaultsAreForEveryPoolAndItsOwnValueGoesFirst() throws {
        let text = """
            defaults: {maxOpen: 8, poolTimeout: 1s, username: app, passwordFile: /pw}
            pools:
              a: {listen: 127.0.0.1:1, upstream: h:1}
              b: {listen: 127.0.0.1:2, upstream: "redis://other@h:1", maxOpen: 4}
              c: {listen: 127.0.0.1:3, upstream: h:1, username: "", passwordFile: ""}
            """
        let pools = try valid(text, files: ["/pw": "x"]).pools
        #expect(pools.map(\.name) == ["a", "b", "c"])
        #expect(pools.map(\.maxOpen) == [8, 4, 8])
        #expect(pools.map(\.maxPinned) == [6, 2, 6])
        #expect(pools.map(\.poolTimeout) == [second, second, second])
        #expect(pools.map(\.username) == ["app", "other", ""])
        #expect(pools.map(\.password) == ["x", "x", nil])
    }

    @Test func listsReplaceThoseOfDefaults() throws {
        let text = """
            defaults: {denyCommands: [KEYS, SYNC], transactionTimeout: 0s, dnsRefresh: 0s}
            pools:
              a: {listen: 127.0.0.1:1, upstream: h:1}
              b: {listen: 127.0.0.1:2, upstream: h:1, denyCommands: []}
              c: {listen: 127.0.0.1:3, upstream: h:1, denyCommands: script debug, dnsRefresh: 1s}
            """
        let pools = try valid(text).pools
        #expect(pools.map(\.denyCommands) == [["keys", "sync"], [], ["script|debug"]])
        #expect(pools.map(\.transactionTimeout) == [0, 0, 0])
        #expect(pools.map(\.dnsRefresh) == [0, 0, second])
    }

    @Test func emptySectionsAreAllowed() throws {
        #expect(
            try valid("log:\ndefaults:\n" + DefaultsTests.smallest)
                == valid(DefaultsTests.smallest))
    }
}
