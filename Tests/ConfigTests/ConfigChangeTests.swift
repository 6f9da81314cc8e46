import Testing

@testable import Config

@Suite("What differs between two files")
struct ConfigChangeTests {
    private func source(_ text: String) -> ConfigSource { ConfigSource(file: "f", text: text) }

    private let old = """
        threads: 1
        pools:
          a: {listen: 127.0.0.1:1, upstream: 127.0.0.1:6379}
          b: {listen: 127.0.0.1:2, upstream: 127.0.0.1:6379}
        """

    @Test func nothing() { #expect(source(old).changes(to: source(old)).isEmpty) }

    @Test func everyKindOfChange() {
        let new = """
            threads: 2
            log: {level: debug}
            pools:
              c: {listen: 127.0.0.1:3, upstream: 127.0.0.1:6379}
              a: {listen: ["127.0.0.1:1", "127.0.0.1:4"], upstream: 127.0.0.1:6380, maxOpen: 8}
            """
        let changes = source(old).changes(to: source(new))
        #expect(
            changes.map(\.text) == [
                "pools.c added",
                "pools.a.listen [127.0.0.1:1] -> [127.0.0.1:1, 127.0.0.1:4]",
                "pools.a.upstream 127.0.0.1:6379 -> 127.0.0.1:6380",
                "pools.a.maxOpen 32 -> 8",
                "pools.a.maxPinned 28 -> 6",
                "pools.a.maxIdle 32 -> 8",
                "threads 1 -> 2",
                "log.level info -> debug",
                "pools.b removed",
            ])
        #expect(changes.filter(\.needsRestart).map(\.path) == ["threads"])
    }

    @Test func aListenerThatCannotBeHasItsPlace() {
        let problem = source(old).listenProblem(of: "b", "cannot")
        #expect(problem.rendered(file: "f") == "f:4:15: pools.b.listen: cannot")
    }

    @Test(arguments: [
        ("upstream: 127.0.0.1:1", "upstream: 127.0.0.1:2", true),
        ("upstream: redis://127.0.0.1/1", "upstream: redis://127.0.0.1/2", true),
        (
            "upstream: 127.0.0.1:1, username: a, passwordFile: /pw",
            "upstream: 127.0.0.1:1, username: b, passwordFile: /pw", true
        ),
        ("upstream: 127.0.0.1:1", "upstream: 127.0.0.1:1, passwordFile: /pw", true),
        (
            "upstream: 127.0.0.1:1, passwordFile: /other",
            "upstream: 127.0.0.1:1, passwordFile: /pw", false
        ),
        ("upstream: 127.0.0.1:1", "upstream: 127.0.0.1:1, maxOpen: 3", false),
        ("upstream: redis://127.0.0.1:1", "upstream: rediss://127.0.0.1:1", true),
        ("upstream: rediss://127.0.0.1:1", "upstream: valkeys://127.0.0.1:1", false),
        (
            "upstream: rediss://127.0.0.1:1", "upstream: rediss://127.0.0.1:1, tlsVerify: ca",
            false
        ),
    ])
    func moves(from: String, to: String, isMove: Bool) throws {
        func pool(_ keys: String) throws -> PoolConfig {
            try valid(
                "pools: {a: {listen: 127.0.0.1:9, \(keys)}}",
                files: ["/pw": "one", "/other": "two"]
            ).pools[0]
        }
        #expect(try pool(from).isMove(to: pool(to)) == isMove)
    }
}
