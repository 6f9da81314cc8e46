import Config
import EventLoop
import Glibc
import Pool
import TestSupport
import Testing
import Topology

@testable import Proxy

@Suite("ClusterWatch: the map of a cluster")
struct ClusterWatchTests {
    /// A world with three nodes whose map is known.
    private func known(_ lines: String...) throws -> MapWorld {
        let world = try MapWorld()
        try world.cluster(["0-5460", "5461-10922", "10923-16383"])
        try world.start(try world.pool(lines))
        try world.run(until: "the map") { !world.maps.isEmpty }
        return world
    }

    @Test("one seed is enough; the map is published once, and nodes are reported")
    func start() throws {
        let world = try MapWorld()
        try world.cluster(["0-5460", "5461-10922", "10923-16383"])
        try world.addReplica(of: 1)
        try world.start(try world.pool(seeds: ["\(world.speakers[2].node)"]))
        #expect(world.watch.report.version == 0 && !world.watch.report.isKnown)
        try world.run(until: "the map") { !world.maps.isEmpty }
        #expect(world.maps.count == 1 && world.maps[0].isWhole && world.problems.isEmpty)
        #expect([0, 5461, 16383].map { world.owner($0) } == [0, 1, 2])
        let report = world.watch.report
        #expect(report.version == 1 && report.isWhole && report.nodes.count == 4)
        #expect(report.changes == 0 && report.failovers == 0 && report.changedAt > 0)
        let row = try #require(world.row(1))
        #expect(row.slots == 5462 && row.ranges == "5461-10922" && row.isPrimary)
        #expect(row.id == MapWorld.id(1))
        let replica = try #require(world.row(3))
        #expect(!replica.isPrimary && replica.primary == "\(world.speakers[1].node)")
        #expect(world.row(2)?.state == .up && world.row(2)?.heardAt ?? 0 > 0)
        let line = try #require(world.lines.last("topology.changed"))
        #expect(line["version"] == "1" && line["served"] == "16384" && line["nodes"] == "4")
    }

    @Test("while no node says who serves what, the handler is told why, and is told no more then")
    func unknown() throws {
        let world = try MapWorld()
        try world.cluster(["0-16383"])
        let answer = world.speakers[0].instead
        let error = "ERR This instance has cluster support disabled"
        world.speakers[0].instead = { _ in utf8("-\(error)\r\n") }
        try world.start(try world.pool())
        try world.run(until: "it is told twice") { world.problems.count >= 2 }
        let text = "the cluster's map is not known, last error: CLUSTER NODES: \(error)"
        #expect(world.problems.allSatisfy { $0 == text })
        #expect(world.lines.last("cluster.unknown")?["err"] == "CLUSTER NODES: \(error)")
        #expect(world.row(0)?.state == .down && world.row(0)?.error == "CLUSTER NODES: \(error)")
        world.speakers[0].instead = answer
        try world.run(until: "the map") { !world.maps.isEmpty }
        let told = world.problems.count
        let asked = world.speakers[0].count(of: "CLUSTER")
        world.watch.take(.clusterDown)
        try world.run(until: "it is asked again") {
            world.speakers[0].count(of: "CLUSTER") >= asked + 2
        }
        #expect(world.problems.count == told && world.watch.report.nodes[0].error.isEmpty)
    }

    @Test("a seed where nobody listens, and one whose name stands for nothing")
    func deadSeeds() throws {
        let world = try MapWorld()
        let (listener, address) = try loopbackListener()
        close(listener)
        let place = "127.0.0.1:\(address.port)"
        let names = try #require(
            NameLookup(loop: world.loop) { _ in
                NameAnswer(addresses: [], problem: "no such name")
            })
        try world.start(
            try world.pool(seeds: [place, "cluster.example:1"]),
            names: names)
        try world.run(until: "it is told") { !world.problems.isEmpty }
        #expect(
            world.problems[0].hasPrefix("the cluster's map is not known, last error: "),
            "\(world.problems)")
        #expect(
            world.watch.report.unknownNames == [
                "cluster.example:1: cannot look up: no such name"
            ])
        #expect(world.watch.report.nodes.map(\.error) == ["cannot connect: Connection refused"])
    }

    @Test("a name of the configuration stands for all its addresses, and is looked up again")
    func names() throws {
        let world = try MapWorld()
        try world.cluster(["0-16383"])
        let port = world.speakers[0].node.port
        let names = try #require(
            NameLookup(loop: world.loop) { question in
                let address = SocketAddress(numericHost: "127.0.0.1", port: question.port)
                return NameAnswer(addresses: address.map { [$0] } ?? [], problem: "")
            })
        try world.start(try world.pool(seeds: ["cluster.example:\(port)"]), names: names)
        try world.run(until: "the map") { !world.maps.isEmpty }
        #expect(world.owner(0) == 0)
    }

    @Test("MOVED by workers makes one map for many slots, and the node that it names is asked")
    func moved() throws {
        let world = try known()
        let asked = world.speakers[1].count(of: "CLUSTER")
        let before = world.maps.count
        for slot in 0..<2000 as Range<UInt16> {
            world.watch.take(.moved(slot: slot, to: world.speakers[1].node))
        }
        #expect(world.maps.count == before, "the handler is never called from within")
        // It is true: the answer leaves it so.
        world.nodes[0].slots = "2000-5460"
        world.nodes[1].slots = "0-1999 5461-10922"
        world.nodes[1].epoch = 9
        try world.run(until: "the other map") { world.owner(0) == 1 }
        #expect(world.owner(1999) == 1 && world.owner(2000) == 0)
        #expect(world.maps.count == before + 1)
        try world.run(until: "it is asked") { world.speakers[1].count(of: "CLUSTER") > asked }
        #expect(world.watch.report.changes == 1)
        try world.run(until: "its answer") { world.row(1)?.ranges == "0-1999,5461-10922" }
    }

    @Test("MOVED to where this pool listens is not followed")
    func loop() throws {
        let world = try known()
        let own = try #require(NodeAddress(host: utf8("127.0.0.1"), port: 6380))
        world.watch.take(.moved(slot: 1, to: own))
        world.watch.take(.moved(slot: 2, to: world.speakers[1].node))
        try world.run(until: "the other one") { world.owner(2) == 1 }
        #expect(world.owner(1) == 0)
    }

    @Test("a lost node has all others asked; its replica takes its slots, and it comes back")
    func failover() throws {
        let world = try MapWorld()
        try world.cluster(["0-8191", "8192-16383"])
        try world.addReplica(of: 0)
        try world.start(try world.pool(["connectTimeout: 200ms"]))
        try world.run(until: "the map") { !world.maps.isEmpty }
        let answer = world.speakers[0].instead
        world.speakers[0].instead = { _ in [] }
        world.speakers[0].hangUp()
        world.watch.take(.lost(world.speakers[0].node))
        try world.run(until: "it is down") { world.row(0)?.state == .down }
        #expect(world.row(0)?.error == "no answer in time")
        #expect(world.lines.last("node.down")?["node"] == "\(world.speakers[0].node)")
        world.nodes[2] = MapWorld.Node(epoch: 7, slots: "0-8191")
        world.nodes[0] = MapWorld.Node(epoch: 1, slots: "", primary: 2)
        try world.run(until: "the replica has its slots") { world.owner(0) == 2 }
        let line = try #require(world.lines.last("failover"))
        #expect(line["primary"] == "\(world.speakers[2].node)" && line["slots"] == "8192")
        #expect(line["old"] == "\(world.speakers[0].node)")
        #expect(world.watch.report.failovers == 1)
        #expect(world.lines.count(of: "node.down") == 1)
        world.speakers[0].instead = answer
        world.watch.take(.clusterDown)
        try world.run(until: "it is back") { world.row(0)?.state == .up }
        #expect(world.lines.count(of: "node.up") == 1)
    }

    @Test("a connection is kept between questions; one that the node has closed is made again")
    func kept() throws {
        let world = try known()
        func ask() throws {
            let before = world.speakers.map { $0.count(of: "CLUSTER") }
            world.watch.take(.clusterDown)
            try world.run(until: "all are asked") {
                zip(world.speakers, before).allSatisfy { $0.count(of: "CLUSTER") > $1 + 1 }
            }
        }
        try ask()
        #expect(world.speakers.allSatisfy { $0.connections.count == 1 })
        for speaker in world.speakers { speaker.hangUp() }
        try ask()
        #expect(world.speakers.allSatisfy { $0.connections.count == 2 && $0.open.count == 1 })
        #expect(world.lines.count(of: "node.down") == 0)
    }

    @Test("another login is used for new connections; other limits count")
    func reconfigure() throws {
        let world = try known()
        for speaker in world.speakers { speaker.login = ["app", "pw"] }
        let asked = world.speakers.map { $0.count(of: "CLUSTER") }
        world.watch.reconfigure(
            try world.pool(
                ["username: app", "passwordFile: /pw", "clusterRefresh: 1s"],
                files: ["/pw": utf8("pw\n")]))
        try world.run(until: "each is asked in turn") {
            zip(world.speakers, asked).allSatisfy { $0.count(of: "CLUSTER") > $1 }
        }
        #expect(world.speakers.allSatisfy { $0.count(of: "AUTH") == 1 })
        #expect(world.watch.report.nodes.allSatisfy { $0.state == .up })
    }

    @Test("nothing is said after the end")
    func stopped() throws {
        let world = try known()
        let before = world.maps.count
        world.watch.stop()
        world.watch.take(.moved(slot: 0, to: world.speakers[1].node))
        world.watch.reconfigure(try world.pool())
        try world.run(until: "the connections' end") {
            world.speakers.allSatisfy { $0.open.isEmpty }
        }
        #expect(world.maps.count == before && world.watch.report.nodes.count == 3)
    }
}
