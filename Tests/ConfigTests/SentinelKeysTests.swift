import Testing

@testable import Config

/// A pool with Sentinels and further lines, which begin at line 6.
private func watched(_ lines: String...) -> String {
    let head = [
        "pools:", "  ha:", "    listen: 127.0.0.1:6380",
        "    sentinels: [10.0.0.1, \"sentinel.example:26380\", \"[::1]\"]",
        "    primaryName: mymaster",
    ]
    return (head + lines.map { "    \($0)" }).joined(separator: "\n") + "\n"
}

@Suite struct SentinelKeysTests {
    private func source(_ text: String, files: [String: String] = [:]) throws -> SentinelSource {
        try #require(try valid(text, files: files).pools[0].sentinels)
    }

    @Test func addressesAndDefaults() throws {
        let pool = try valid(watched()).pools[0]
        #expect(
            pool.source
                == .sentinels(
                    SentinelSource(
                        addresses: [
                            .tcp(host: "10.0.0.1", port: 26379),
                            .tcp(host: "sentinel.example", port: 26380),
                            .tcp(host: "::1", port: 26379),
                        ], primaryName: "mymaster")))
        #expect(pool.upstreamTLS == nil && pool.upstreamDatabase == 0 && pool.password == nil)
        #expect(pool.source.description == "primary mymaster")
        let one = "pools: {a: {listen: 127.0.0.1:1, sentinels: h, primaryName: p.1-x}}"
        #expect(try source(one).addresses == [.tcp(host: "h", port: 26379)])
    }

    @Test func readsFromReplicas() throws {
        let standard = try valid(watched()).pools[0]
        #expect(standard.reads == .primary && standard.maxReplicaLag == 10_000_000_000)
        let reading = try valid(watched("reads: client", "maxReplicaLag: 2s")).pools[0]
        #expect(reading.reads == .client && reading.maxReplicaLag == 2_000_000_000)
        #expect(!standard.isMove(to: reading))
        // What `defaults` says is not for a pool that knows of no replicas.
        let both = """
            defaults: {reads: replica}
            pools:
              ha: {listen: 127.0.0.1:1, sentinels: h, primaryName: m}
              one: {listen: 127.0.0.1:2, upstream: "h:1"}
            """
        #expect(try valid(both).pools.map(\.reads) == [.replica, .primary])
    }

    /// Nothing can be dialled there: port 0 takes no connection.
    @Test func thereIsNoAddressOfOneServer() throws {
        let pools = try valid(watched()).pools
        #expect(pools[0].upstream == .tcp(host: "mymaster", port: 0))
        let single = try valid(pool()).pools[0]
        #expect(single.source == .server(.tcp(host: "127.0.0.1", port: 6379)))
        #expect(single.upstream == .tcp(host: "127.0.0.1", port: 6379))
        #expect(single.sentinels == nil)
    }

    @Test func credentialsOfServersAndSentinelsAreTheirOwn() throws {
        let text = watched(
            "username: app", "passwordFile: /app", "primaryDatabase: 5",
            "sentinelUsername: watcher", "sentinelPasswordFile: sentinel")
        let files = ["/app": "one\n", "/etc/redpool/sentinel": "two\n"]
        let pool = try valid(text, files: files).pools[0]
        #expect(pool.username == "app" && pool.password == "one" && pool.upstreamDatabase == 5)
        let source = try source(text, files: files)
        #expect(source.username == "watcher" && source.password == "two")
        var dumped = ""
        dump(pool, to: &dumped)
        dump(source, to: &dumped)
        #expect(!"\(dumped)\(source)\(pool)".contains("two"))
    }

    @Test func tlsOfServersAndSentinels() throws {
        for (servers, sentinels) in [(false, true), (true, false), (true, true)] {
            let text = watched(
                "primaryTls: \(servers)", "sentinelTls: \(sentinels)", "tlsVerify: ca")
            let pool = try valid(text).pools[0]
            #expect((pool.upstreamTLS != nil) == servers)
            #expect((pool.sentinels?.tls != nil) == sentinels)
            let tls = try #require(pool.upstreamTLS ?? pool.sentinels?.tls)
            #expect(tls.verification == .ca)
            #expect(tls.name(of: "10.0.0.9") == "10.0.0.9")
        }
        let named = try valid(watched("sentinelTls: true", "tlsServerName: db.example")).pools[0]
        #expect(named.sentinels?.tls?.name(of: "10.0.0.9") == "db.example")
    }

    @Test func defaultsAreForPoolsWithSentinels() throws {
        let text = """
            defaults: {sentinelPasswordFile: /s, sentinelTls: true, primaryDatabase: 3}
            pools:
              one: {listen: 127.0.0.1:1, upstream: h:1}
              ha: {listen: 127.0.0.1:2, sentinels: s, primaryName: p}

            """
        let pools = try valid(text, files: ["/s": "x\n"]).pools
        #expect(pools[0].sentinels == nil && pools[0].upstreamDatabase == 0)
        #expect(pools[1].sentinels?.password == "x" && pools[1].sentinels?.tls != nil)
        #expect(pools[1].upstreamDatabase == 3)
        let lacking = """
            defaults: {sentinelPasswordFile: /s}
            pools: {a: {listen: 127.0.0.1:1, upstream: h:1}}
            """
        #expect(problems(lacking) == [])
    }

    private static let both =
        "has both upstream and sentinels; a pool has one of upstream, sentinels, cluster"

    static let golden = [
        Golden(watched("upstream: 10.0.0.5:6379"), "6:15: pools.ha: \(both)"),
        Golden(
            pool("sentinels: [10.0.0.1:26379]", "primaryName: p"), "5:16: pools.main: \(both)"),
        Golden(
            "pools: {a: {listen: 127.0.0.1:1}}\n",
            "1:9: pools.a.upstream: is required, or sentinels, or cluster (the Redis or Valkey server)"
        ),
        Golden(
            "pools: {ha: {listen: 127.0.0.1:1, sentinels: [10.0.0.1]}}\n",
            "1:46: pools.ha.sentinels: needs primaryName"),
        Golden(
            "pools: {ha: {listen: 127.0.0.1:1, sentinels: s, primaryName: \"\"}}\n",
            "1:62: pools.ha.primaryName: is empty"),
        Golden(
            "pools: {ha: {listen: 127.0.0.1:1, sentinels: s, primaryName: a b}}\n",
            "1:62: pools.ha.primaryName: a b has a space or a control character"),
        Golden(
            pool(
                "primaryName: p", "sentinelUsername: u", "sentinelPasswordFile: /p",
                "sentinelTls: true", "primaryTls: true", "primaryDatabase: 4"),
            "5:18: pools.main.primaryName: is only for a pool with sentinels",
            "6:23: pools.main.sentinelUsername: is only for a pool with sentinels",
            "7:27: pools.main.sentinelPasswordFile: is only for a pool with sentinels",
            "8:18: pools.main.sentinelTls: is only for a pool with sentinels",
            "9:17: pools.main.primaryTls: is only for a pool with sentinels "
                + "(did you mean upstream: rediss://...?)",
            "10:22: pools.main.primaryDatabase: is only for a pool with sentinels "
                + "(did you mean upstream: redis://host/4?)"),
        Golden(pool("sentinelTls: false", "primaryDatabase: 0", "sentinelUsername: \"\"")),
        Golden(
            watched("sentinelUsername: u"),
            "6:23: pools.ha.sentinelUsername: a user needs sentinelPasswordFile; "
                + "AUTH always has a password"),
        Golden(
            watched("username: u"),
            "6:15: pools.ha.username: a user needs passwordFile; AUTH always has a password"),
        Golden(
            watched("sentinelPasswordFile: /p"),
            "6:27: pools.ha.sentinelPasswordFile: /p: cannot be read: No such file or directory"),
        Golden(
            watched("tlsCaFile: ca"),
            "6:16: pools.ha.tlsCaFile: is only for primaryTls or sentinelTls"),
        Golden(
            watched("sentinelTls: yes"),
            "6:18: pools.ha.sentinelTls: yes is not true or false (did you mean true?)"),
        Golden(
            watched("primaryDatabase: -1"),
            "6:22: pools.ha.primaryDatabase: -1 is out of range (0 to 2147483647)"),
    ]

    @Test(arguments: golden)
    func problemsAreExact(_ golden: Golden) {
        #expect(problems(golden.text) == golden.problems)
    }

    @Test(arguments: [
        ("unix:/run/s.sock", "unix:/run/s.sock: a Sentinel has no unix socket; write host:port"),
        (
            "rediss://10.0.0.1",
            "a Sentinel is host:port, without a scheme (see sentinelTls, sentinelUsername)"
        ),
        (
            "user:secret@h:1",
            "a user or password is not part of host:port (see sentinelUsername)"
        ),
        ("10.0.0.1:0", "0 is not a port (1 to 65535)"),
        (":26379", "\":26379\" has no host"), ("a..b", "a..b is not a host name or address"),
        ("::1", "::1: an IPv6 address needs brackets ([::1]:6380)"),
    ])
    func addressesThatAreNone(_ text: String, _ message: String) {
        let file = "pools: {ha: {listen: 127.0.0.1:1, sentinels: ['\(text)'], primaryName: p}}\n"
        let found = problems(file)
        #expect(found.count == 1)
        #expect(
            found.first?.hasPrefix("1:47: pools.ha.sentinels: ") == true
                && !found[0].contains("secret"), "\(found)")
        if !message.hasSuffix("no host") { #expect(found.first?.hasSuffix(message) == true) }
    }

    @Test func listsHaveLimits() {
        func found(_ list: String) -> [String] {
            problems("pools: {ha: {listen: 127.0.0.1:1, sentinels: [\(list)], primaryName: p}}\n")
        }
        #expect(found("") == ["1:46: pools.ha.sentinels: at least one address is needed"])
        #expect(
            found("a, b, 'A:26379'") == [
                "1:53: pools.ha.sentinels: a:26379 appears twice (first at line 1)"
            ])
        #expect(found("a, b, c, d, e, f, g, h") == [])
        #expect(
            found("a, b, c, d, e, f, g, h, i") == [
                "1:71: pools.ha.sentinels: 9 are too many; name 8 of them, which know the others"
            ])
    }

    /// A server that Sentinels name may be one of this machine.
    @Test func otherMachinesNeedALogin() {
        func found(_ more: String = "") -> [String] {
            problems(
                "pools: {ha: {listen: '*:5', sentinels: 10.0.0.1, primaryName: p\(more)}}\n",
                files: ["/etc/redpool/pw": "x\n"])
        }
        #expect(found().count == 1)
        #expect(
            found().first?.hasPrefix(
                "1:22: pools.ha.listen: *:5 is open to other machines, and the pool lends its "
                    + "clients its place (a server that Sentinels name may take them for clients "
                    + "of its machine): set clientPasswordFile") == true)
        #expect(found(", clientPasswordFile: pw") == [])
        #expect(found(", allowUnauthenticated: true") == [])
    }

    @Test func noSentinelIsAListener() {
        let text = """
            pools:
              a: {listen: 127.0.0.1:26379, upstream: h:1}
              ha: {listen: 127.0.0.1:1, sentinels: localhost, primaryName: p}

            """
        #expect(
            problems(text) == [
                "2:15: pools.a.listen: 127.0.0.1:26379 is a Sentinel of pool ha: a loop"
            ])
    }

    @Test(arguments: [
        ("sentinels: a, primaryName: p", "sentinels: [a, b], primaryName: p", false),
        ("sentinels: a, primaryName: p", "sentinels: a, primaryName: q", true),
        ("sentinels: a, primaryName: p", "upstream: a:1", true),
        ("upstream: a:1", "sentinels: a, primaryName: p", true),
        (
            "sentinels: a, primaryName: p",
            "sentinels: a, primaryName: p, sentinelPasswordFile: /pw, sentinelTls: true", false
        ),
        ("sentinels: a, primaryName: p", "sentinels: a, primaryName: p, primaryTls: true", true),
        ("sentinels: a, primaryName: p", "sentinels: a, primaryName: p, primaryDatabase: 1", true),
    ])
    func moves(from: String, to: String, isMove: Bool) throws {
        func pool(_ keys: String) throws -> PoolConfig {
            try valid("pools: {a: {listen: 127.0.0.1:9, \(keys)}}", files: ["/pw": "one"]).pools[0]
        }
        #expect(try pool(from).isMove(to: pool(to)) == isMove)
    }

    @Test func theConfigurationInEffectIsAValidFile() throws {
        let text = watched("primaryTls: true", "sentinelTls: true", "primaryDatabase: 2")
        let printed = try #require(Config.effectiveYAML(text: text, file: "f.yaml"))
        #expect(try valid(printed) == valid(text))
        #expect(printed.contains("# upstream:"))
    }
}
