// What some nodes have answered waits once for what others answer, see `Worker.expectMore`.

import Testing
import Topology

@testable import Proxy

@Suite("Answers of several nodes become one write")
struct ExpectationTests {
    /// Keys on the two nodes of the tests' cluster: slots 3,300 and 15,495.
    private static let near = "b"
    private static let far = "a"

    /// A worker before a cluster of two nodes, and clients that it has served. The second node is
    /// served by the test.
    private func cluster(clients: Int) throws -> (World, FakeServer, [TestClient]) {
        let other = try FakeServer()
        let place = "cluster: [\"127.0.0.1:\(other.port)\"]"
        let world = try World(place: place, lines: ["maxOpen: 1"])
        let nodes = try [world.server, other].enumerated().map { number, server in
            ClusterNode(
                id: [UInt8](repeating: UInt8(number), count: 40),
                address: try #require(NodeAddress(host: utf8("127.0.0.1"), port: server.port)),
                isPrimary: true, primaryID: nil)
        }
        let map = SlotMap(version: 1, nodes: nodes, ranges: [[0...8191], [8192...16383]])
        world.worker.pools[0].take(map)
        var made: [TestClient] = []
        for _ in 0..<clients { made.append(try world.connect()) }
        ask(made)
        try world.run(until: "both nodes have answered everybody") {
            other.serve()
            return made.allSatisfy { $0.text == answer }
        }
        for client in made { _ = client.take() }
        return (world, other, made)
    }

    private var answer: String {
        "$10\r\nvalue of \(ExpectationTests.near)\r\n$10\r\nvalue of \(ExpectationTests.far)\r\n"
    }

    /// Each sends a command for each node in one write.
    private func ask(_ clients: [TestClient]) {
        for client in clients {
            client.send(
                array(["GET", ExpectationTests.near]) + array(["GET", ExpectationTests.far]))
        }
    }

    /// One iteration of the worker's loop. Then the clients read what there is.
    private func iterate(_ world: World, _ clients: [TestClient]) {
        world.collect()
        world.finish()
        for client in clients { client.read() }
    }

    /// The commands go to both nodes, and the near one answers.
    private func begin(_ world: World, _ other: FakeServer, _ clients: [TestClient]) throws {
        for link in other.links { link.withheld = ExpectationTests.far }
        let before = world.server.count(of: "GET", ExpectationTests.near)
        ask(clients)
        for _ in 0..<10
        where world.server.links[0].count(of: "GET", ExpectationTests.near)
            < before + clients.count
        {
            iterate(world, clients)
            world.server.serve()
            other.serve()
        }
        #expect(
            world.server.count(of: "GET", ExpectationTests.near) == before + clients.count)
        #expect(clients.allSatisfy { $0.received.isEmpty })
    }

    @Test("what the second node answers one iteration later is in the same write")
    func together() throws {
        let (world, other, clients) = try cluster(clients: Worker.gatheringFrom)
        try begin(world, other, clients)
        iterate(world, clients)
        #expect(clients.allSatisfy { $0.received.isEmpty })
        #expect(!world.worker.isIdle)
        for link in other.links { link.release() }
        other.serve()
        iterate(world, clients)
        #expect(clients.allSatisfy { $0.text == answer })
        #expect(world.worker.isIdle)
    }

    @Test("nobody waits for a node that does not answer for longer than one iteration")
    func alone() throws {
        let (world, other, clients) = try cluster(clients: Worker.gatheringFrom)
        try begin(world, other, clients)
        iterate(world, clients)
        #expect(clients.allSatisfy { $0.received.isEmpty })
        iterate(world, clients)
        #expect(clients.allSatisfy { $0.text == String(answer.prefix(answer.count / 2)) })
        #expect(world.worker.isIdle)
        for link in other.links { link.release() }
        try world.run(until: "the second half has come") {
            other.serve()
            return clients.allSatisfy { $0.text == answer }
        }
    }

    @Test("few clients get each answer at once")
    func few() throws {
        let (world, other, clients) = try cluster(clients: Worker.gatheringFrom - 1)
        try begin(world, other, clients)
        iterate(world, clients)
        #expect(clients.allSatisfy { $0.text == String(answer.prefix(answer.count / 2)) })
    }

    @Test("who is closed while its answers wait is let go of")
    func closed() throws {
        let (world, other, clients) = try cluster(clients: Worker.gatheringFrom)
        try begin(world, other, clients)
        iterate(world, clients)
        #expect(!world.worker.isIdle)
        weak let gone = world.worker.clients.all.first
        #expect(gone != nil)
        gone?.close(.killed)
        iterate(world, clients)
        #expect(gone == nil)
        #expect(clients.count(where: \.isClosed) == 1)
        #expect(clients.count { $0.text.count == answer.count / 2 } == clients.count - 1)
    }
}
