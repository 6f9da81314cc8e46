import Config
import TestSupport
import Testing
import Topology

@testable import Proxy

@Suite("SentinelWatch: which replicas it names")
struct SentinelReplicaTests {
    private func asks(_ sentinel: SentinelSpeaker) -> Int {
        sentinel.commands.count { $0.count > 1 && $0[1] == "REPLICAS" }
    }

    @Test("Sentinels are asked for replicas while clients read from them, and not before")
    func wanted() throws {
        let world = try WatchWorld()
        let (server, replica) = (try world.speaker(), try world.speaker())
        let sentinels = try world.sentinels(2, naming: server)
        sentinels[1].replicas = [replica.node, server.node]
        try world.start(try world.pool(sentinels))
        try world.run(untilPrimary: server)
        try world.runOneRound(sentinels)
        #expect(asks(sentinels[0]) == 0 && world.watch.report.replicas == nil)
        world.watch.reconfigure(try world.pool(sentinels, ["reads: client"]))
        try world.run(until: "a replica is named") { world.replicas == [replica.node.port] }
        #expect(world.watch.report.replicas == ["\(replica.node)"])
        #expect(world.lines.last("sentinel.replicas")?["replicas"] == "\(replica.node)")
        world.watch.reconfigure(try world.pool(sentinels, ["reads: primary"]))
        try world.run(until: "none is named") { world.replicas == [] }
        #expect(world.watch.report.replicas == nil)
        #expect(world.events == ["adopted \(server.node.port) 1"])
    }

    @Test("a Sentinel that may not name replicas names the primary, and says why")
    func refused() throws {
        let world = try WatchWorld()
        let (server, replica) = (try world.speaker(), try world.speaker())
        let sentinels = try world.sentinels(1, naming: server)
        sentinels[0].replicas = [replica.node]
        var mayAsk = false
        let refusal = utf8("-NOPERM this user has no permissions\r\n")
        sentinels[0].instead = { $0.contains("REPLICAS") && !mayAsk ? refusal : nil }
        try world.start(try world.pool(sentinels, ["reads: replica"]))
        try world.run(untilPrimary: server)
        try world.run(until: "it says why") {
            world.watch.report.sentinels[0].replicaError.hasPrefix("SENTINEL REPLICAS: NOPERM")
        }
        #expect(world.watch.report.sentinels[0].error.isEmpty && world.replicas == [])
        sentinels[0].publish("+slave", "slave x 1.2.3.4 1 @ mymaster 1.2.3.4 2")
        let before = asks(sentinels[0])
        try world.run(until: "it is asked again") { asks(sentinels[0]) > before + 1 }
        #expect(world.lines.count(of: "sentinel.no_replicas") == 1)
        mayAsk = true
        sentinels[0].publish("+slave", "slave x 1.2.3.4 1 @ mymaster 1.2.3.4 2")
        try world.run(until: "it is named") { world.replicas == [replica.node.port] }
        #expect(world.watch.report.sentinels[0].replicaError.isEmpty)
    }

    @Test("where the pool listens is no replica")
    func own() throws {
        let world = try WatchWorld()
        let (server, replica) = (try world.speaker(), try world.speaker())
        let sentinels = try world.sentinels(1, naming: server)
        let pool = try world.pool(sentinels, ["reads: replica"])
        guard case .tcp(_, let port, _) = pool.listen[0],
            let own = NodeAddress(host: utf8("127.0.0.1"), port: port)
        else { throw TestFailure("no listener") }
        sentinels[0].replicas = [own, replica.node]
        try world.start(pool)
        try world.run(until: "the other one is named") { world.replicas == [replica.node.port] }
    }
}
