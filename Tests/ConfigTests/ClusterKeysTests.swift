import Testing

@testable import Config

/// A pool in front of a cluster and further lines, which begin at line 5.
private func spread(_ lines: String..., seeds: String = "[10.0.0.1:7000, \"[::1]:7001\"]") -> String
{
    let head = ["pools:", "  big:", "    listen: 127.0.0.1:6380", "    cluster: \(seeds)"]
    return (head + lines.map { "    \($0)" }).joined(separator: "\n") + "\n"
}

@Suite struct ClusterKeysTests {
    private func source(_ text: String) throws -> ClusterSource {
        try #require(try valid(text).pools[0].cluster)
    }

    @Test func addressesAndDefaults() throws {
        let pool = try valid(spread()).pools[0]
        let seeds: [UpstreamAddress] = [
            .tcp(host: "10.0.0.1", port: 7000), .tcp(host: "::1", port: 7001),
        ]
        #expect(pool.source == .cluster(ClusterSource(seeds: seeds)))
        #expect(pool.upstreamTLS == nil && pool.upstreamDatabase == 0 && pool.password == nil)
        #expect(pool.sentinels == nil && pool.givenAddress == nil)
        let one = "pools: {a: {listen: 127.0.0.1:1, cluster: 'redis://db.example'}}"
        #expect(try source(one).seeds == [.tcp(host: "db.example", port: 6379)])
    }

    @Test func allKeys() throws {
        let source = try source(
            spread(
                "crossSlot: all", "clusterRefresh: 1m", "maxNodes: 1000",
                "clusterCommands: \"off\"",
                "announce: redis.example.com:6400"))
        #expect(source.crossSlot == .all && source.refresh == 60_000_000_000)
        #expect(source.maxNodes == 1000 && !source.emulates)
        #expect(source.announce == .tcp(host: "redis.example.com", port: 6400))
        #expect(try self.source(spread("crossSlot: refuse")).crossSlot == .refuse)
        let standard = try valid(spread()).pools[0]
        #expect(standard.reads == .primary && standard.maxReplicaLag == 10_000_000_000)
        let reading = try valid(spread("reads: client", "maxReplicaLag: 2s")).pools[0]
        #expect(reading.reads == .client && reading.maxReplicaLag == 2_000_000_000)
        #expect(try valid(spread("reads: replica")).pools[0].reads == .replica)
        #expect(try self.source(spread("announce: \"[::2]:1\"")).announce?.host == "::2")
    }

    @Test func tlsAndUserAreThoseOfTheURLs() throws {
        let seeds = "[\"rediss://app@a.example:7000\", \"valkeys://b.example\"]"
        let pool = try valid(spread("passwordFile: /pw", seeds: seeds), files: ["/pw": "x\n"])
            .pools[0]
        #expect(pool.username == "app" && pool.password == "x")
        let tls = try #require(pool.upstreamTLS)
        #expect(tls.name(of: "10.0.0.9") == "10.0.0.9")
        #expect(pool.cluster?.seeds.map(\.host) == ["a.example", "b.example"])
        #expect(pool.shownSource == "cluster a.example:7000")
    }

    /// The same node with and without a scheme is one.
    @Test func nodesAreEachOnce() throws {
        #expect(
            problems(spread(seeds: "[a:6379, \"redis://a\"]")) == [
                "4:23: pools.big.cluster: a:6379 appears twice (first at line 4)"
            ])
        let text = spread("passwordFile: /pw", seeds: "[a:6379, \"redis://u@a\"]")
        #expect(try valid(text, files: ["/pw": "x\n"]).pools[0].cluster?.seeds.count == 1)
    }

    @Test func defaultsAreForPoolsWithCluster() throws {
        let text = """
            defaults: {crossSlot: all, maxNodes: 9, announce: h:1}
            pools:
              one: {listen: 127.0.0.1:1, upstream: h:1}
              big: {listen: 127.0.0.1:2, cluster: c:1}

            """
        let pools = try valid(text).pools
        #expect(pools[0].cluster == nil)
        #expect(pools[1].cluster?.crossSlot == .all && pools[1].cluster?.maxNodes == 9)
    }

    private static let one = "a pool has one of upstream, sentinels, cluster"

    static let golden = [
        Golden(
            spread("upstream: 10.0.0.5:6379"),
            "5:15: pools.big: has both upstream and cluster; \(one)"),
        Golden(
            spread("sentinels: s", "primaryName: p"),
            "5:16: pools.big: has both sentinels and cluster; \(one)"),
        Golden(
            spread(seeds: "\"redis://10.0.0.1/5\""),
            "4:14: pools.big.cluster: redis://10.0.0.1/5 has a database; a cluster has only 0"),
        Golden(
            spread(seeds: "[10.0.0.1:6379, \"rediss://10.0.0.2:6379\"]"),
            "4:30: pools.big.cluster: 10.0.0.1:6379 and rediss://10.0.0.2:6379 are mixed; "
                + "all have TLS or none"),
        Golden(
            spread("passwordFile: /pw", seeds: "[\"redis://a@h\", \"redis://b@i\"]"),
            "4:30: pools.big.cluster: the users a and b are mixed; a pool has one"),
        Golden(
            spread(seeds: "unix:/run/redis.sock"),
            "4:14: pools.big.cluster: unix:/run/redis.sock: a node of a cluster has no unix socket; "
                + "write host:port"),
        Golden(
            spread(seeds: "\"redis://u:secret@h\""),
            "4:14: pools.big.cluster: the URL holds a password; put it in passwordFile"),
        Golden(
            spread(seeds: "\"redis://u@h\""),
            "4:14: pools.big.cluster: a user needs passwordFile; AUTH always has a password"),
        Golden(spread(seeds: "[]"), "4:14: pools.big.cluster: at least one address is needed"),
        Golden(
            spread("crossSlot: some"),
            "5:16: pools.big.crossSlot: some is not one of split, all or refuse"),
        Golden(
            spread("clusterRefresh: 500ms"),
            "5:21: pools.big.clusterRefresh: 500ms is out of range (1s to 1h)"),
        Golden(
            spread("maxNodes: 1001"), "5:15: pools.big.maxNodes: 1001 is out of range (1 to 1000)"),
        Golden(
            spread("clusterCommands: on"),
            "5:22: pools.big.clusterCommands: on is not one of emulate or off"),
        Golden(
            spread("announce: redis://h:1"),
            "5:15: pools.big.announce: has to be host:port, without a scheme or a user"),
        Golden(
            spread("announce: h"),
            "5:15: pools.big.announce: h has no port (such as redis.example.com:6379)"),
        Golden(spread("announce: \"\"", "sentinelTls: false")),
        Golden(
            spread("primaryTls: true", "primaryDatabase: 1"),
            "5:17: pools.big.primaryTls: is only for a pool with sentinels "
                + "(did you mean cluster: rediss://...?)",
            "6:22: pools.big.primaryDatabase: is only for a pool with sentinels"),
        Golden(
            pool("crossSlot: all", "maxNodes: 5", "clusterRefresh: 15s"),
            "5:16: pools.main.crossSlot: is only for a pool with cluster",
            "6:15: pools.main.maxNodes: is only for a pool with cluster"),
        Golden(
            pool("reads: replica", "maxReplicaLag: 3s"),
            "5:12: pools.main.reads: replica needs sentinels or cluster",
            "6:20: pools.main.maxReplicaLag: is only for a pool with sentinels or cluster"),
        Golden(pool("reads: primary", "maxReplicaLag: 10s")),
        Golden(
            spread("reads: replicas", "maxReplicaLag: 1s"),
            "5:12: pools.big.reads: replicas is not one of primary, replica or client "
                + "(did you mean replica?)",
            "6:20: pools.big.maxReplicaLag: 1s is out of range (2s to 1h)"),
        Golden(
            spread("tlsCaFile: ca"),
            "5:16: pools.big.tlsCaFile: is only for a cluster with rediss://"),
    ]

    @Test(arguments: golden)
    func problemsAreExact(_ golden: Golden) {
        #expect(problems(golden.text, files: ["/pw": "x\n"]) == golden.problems)
    }

    @Test func listsHaveLimits() {
        let many = (1...65).map { "h\($0):1" }.joined(separator: ", ")
        let found = problems(spread(seeds: "[\(many)]"))
        #expect(found.count == 1)
        #expect(
            found.first?.hasSuffix("65 are too many; name 64 of them, which know the others")
                == true)
    }

    @Test func otherMachinesNeedALogin() {
        func found(_ more: String = "") -> [String] {
            problems(
                "pools: {big: {listen: '*:5', cluster: 10.0.0.1:1\(more)}}\n",
                files: ["/etc/redpool/pw": "x\n"])
        }
        #expect(found().count == 1)
        #expect(
            found().first?.hasPrefix(
                "1:23: pools.big.listen: *:5 is open to other machines, and the pool lends its "
                    + "clients its place (a node that the cluster names may take them for clients "
                    + "of its machine): set clientPasswordFile") == true)
        #expect(found(", clientPasswordFile: pw") == [])
    }

    @Test func noNodeIsAListener() {
        let text = """
            pools:
              a: {listen: 127.0.0.1:7000, upstream: h:1}
              big: {listen: 127.0.0.1:1, cluster: "localhost:7000"}

            """
        #expect(
            problems(text) == ["2:15: pools.a.listen: 127.0.0.1:7000 is a node of pool big: a loop"]
        )
    }

    @Test(arguments: [
        ("cluster: a:1", "cluster: [a:1, b:1]", false),
        ("cluster: [a:1, b:1]", "cluster: [b:1, c:1]", false),
        ("cluster: a:1", "cluster: b:1", true),
        ("cluster: a:1", "upstream: a:1", true),
        ("upstream: a:1", "cluster: a:1", true),
        ("cluster: a:1", "sentinels: a, primaryName: p", true),
        ("cluster: a:1", "cluster: 'rediss://a:1'", true),
        ("cluster: a:1", "cluster: a:1, username: u, passwordFile: /pw", true),
        ("cluster: a:1", "cluster: a:1, crossSlot: all, maxNodes: 3, announce: x:1", false),
    ])
    func moves(from: String, to: String, isMove: Bool) throws {
        func pool(_ keys: String) throws -> PoolConfig {
            try valid("pools: {a: {listen: 127.0.0.1:9, \(keys)}}", files: ["/pw": "one"]).pools[0]
        }
        #expect(try pool(from).isMove(to: pool(to)) == isMove)
    }

    @Test func theConfigurationInEffectIsAValidFile() throws {
        let text = spread(
            "crossSlot: all", "clusterCommands: \"off\"", "passwordFile: /pw",
            seeds: "[\"rediss://u@10.0.0.1\", \"rediss://[::1]:7\"]")
        let files = ["/pw": "x\n"]
        let printed = try #require(Config.effectiveYAML(text: text, file: "f.yaml"))
        #expect(try valid(printed, files: files) == valid(text, files: files))
        #expect(printed.contains("# upstream:") && printed.contains("# sentinels:"))
        #expect(printed.contains("    username: u"))
    }
}
