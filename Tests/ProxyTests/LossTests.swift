import EventLoop
import TestSupport
import Testing

@testable import Proxy

@Suite("What becomes of unanswered commands when a connection is lost")
struct LossTests {
    /// A world in which a client has had one reply, so that there is a connection.
    private func world(_ lines: String...) throws -> (World, TestClient, Link) {
        let world = try World("maxOpen: 1", "onUpstreamLoss: \(lines.first ?? "close")")
        let client = try world.connect()
        #expect(try world.ask(client, "GET", "a") == "$10\r\nvalue of a\r\n")
        return (world, client, world.server.links[0])
    }

    /// Has the worker read a command, and not send it yet.
    private func queue(_ world: World, _ client: TestClient, _ bytes: [UInt8]) throws {
        client.send(bytes)
        try eventually("it is queued") {
            world.collect()
            return world.unsent >= bytes.count
        }
    }

    @Test("a command that meets the end on its way is sent again, and runs once")
    func unreceived() throws {
        let (world, client, link) = try world()
        try queue(world, client, array(["GET", "b"]))
        link.close()
        try eventually("the end is there") { world.peers == [.ended] }
        // The worker does not know it yet: it writes into the ended connection.
        world.finish()
        #expect(world.unsent == 0)
        try world.run(until: "the reply") { !client.received.isEmpty || client.isClosed }
        #expect(client.text == "$10\r\nvalue of b\r\n")
        #expect(world.server.count(of: "GET", "b") == 1)
        #expect(world.server.links.count == 2)
        #expect(world.retried == 1)
    }

    @Test("a pipeline that meets the end on its way is sent again as it was")
    func unreceivedPipeline() throws {
        let (world, client, link) = try world()
        try queue(world, client, ["b", "c", "d"].flatMap { array(["GET", $0]) })
        link.close()
        try eventually("the end is there") { world.peers == [.ended] }
        world.finish()
        try world.run(until: "the replies") { client.received.count >= 48 || client.isClosed }
        #expect(client.text == ["b", "c", "d"].map { "$10\r\nvalue of \($0)\r\n" }.joined())
        for name in ["b", "c", "d"] { #expect(world.server.count(of: "GET", name) == 1) }
    }

    @Test("a command that was never written is sent again, also after a reset")
    func unwritten() throws {
        let (world, client, link) = try world()
        try queue(world, client, array(["GET", "b"]))
        link.reset()
        try eventually("the reset is there") { world.peers == [.broken] }
        world.finish()
        try world.run(until: "the reply") { !client.received.isEmpty || client.isClosed }
        #expect(client.text == "$10\r\nvalue of b\r\n")
        #expect(world.server.count(of: "GET", "b") == 1)
    }

    @Test("a command that the server has had may have run: its client is closed")
    func received() throws {
        let (world, client, link) = try world()
        link.withheld = "b"
        client.send("GET", "b")
        try world.run(until: "it has it") { link.count(of: "GET", "b") == 1 }
        link.close()
        try world.run(until: "the client is closed") { client.isClosed }
        #expect(client.text == "")
        #expect(world.server.count(of: "GET", "b") == 1)
        #expect(world.retried == 0)
    }

    @Test("what the server's kernel has had counts, read or not, and a reset proves nothing")
    func reset() throws {
        let (world, client, link) = try world()
        link.isStopped = true
        client.send("GET", "b")
        try world.run(until: "it is written") {
            world.sharedCommands == 2 && world.unsent == 0
        }
        link.reset()
        try world.run(until: "the client is closed") { client.isClosed }
        #expect(client.text == "")
        #expect(world.server.count(of: "GET", "b") == 0)
        #expect(world.retried == 0)
    }

    @Test("with onUpstreamLoss: error each lost command has an error, and the client stays")
    func error() throws {
        let (world, client, link) = try world("error")
        link.withheld = "c"
        client.send(["b", "c", "d"].flatMap { array(["GET", $0]) })
        try world.run(until: "it has them") { link.count(of: "GET", "d") == 1 }
        try world.run(until: "one reply") { client.received.count >= 16 }
        link.close()
        try world.run(until: "two errors") {
            client.text.split(separator: "\r\n").count >= 4 || client.isClosed
        }
        let lines = client.take().split(separator: "\r\n")
        #expect(lines.prefix(2) == ["$10", "value of b"])
        #expect(lines.dropFirst(2).count == 2)
        #expect(lines.dropFirst(2).allSatisfy { $0.hasPrefix("-UPSTREAMLOST pool main: ") })
        #expect(try world.ask(client, "GET", "e") == "$10\r\nvalue of e\r\n")
        #expect(!client.isClosed)
        #expect(world.server.count(of: "GET", "c") == 1)
    }

    @Test("complete replies before the loss are delivered")
    func partly() throws {
        let (world, client, link) = try world()
        link.withheld = "c"
        client.send(["b", "c", "d"].flatMap { array(["GET", $0]) })
        try world.run(until: "it has them") { link.count(of: "GET", "d") == 1 }
        link.close()
        try world.run(until: "the client is closed") { client.isClosed }
        #expect(client.text == "$10\r\nvalue of b\r\n")
    }

    @Test(
        "a client with a transaction is closed, whatever onUpstreamLoss says",
        arguments: ["close", "error"])
    func held(onUpstreamLoss: String) throws {
        let world = try World("maxOpen: 2", "onUpstreamLoss: \(onUpstreamLoss)")
        let client = try world.connect()
        #expect(try world.ask(client, "MULTI") == "+OK\r\n")
        try #require(world.server.link(with: "MULTI")).close()
        try world.run(until: "the client is closed") { client.isClosed }
        #expect(client.text == "")
    }

    @Test("a connection that nobody uses ends unseen")
    func idle() throws {
        let (world, client, link) = try world()
        try world.run(until: "it is idle") { world.census.idle == 1 }
        link.close()
        try world.run(until: "it is gone") { world.census.open == 0 }
        #expect(try world.ask(client, "GET", "b") == "$10\r\nvalue of b\r\n")
        #expect(!client.isClosed)
    }

    @Test("random losses: nothing runs twice, and no reply goes to another", arguments: 1...12)
    func random(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let world = try World(
            "maxOpen: 3", "maxPipeline: 4", "onUpstreamLoss: \(seed % 2 == 0 ? "close" : "error")")
        var clients = try (0..<5).map { _ in try world.connect() }
        var asked = [[String]](repeating: [], count: clients.count)
        for round in 0..<60 {
            let index = random.below(clients.count)
            if clients[index].isClosed {
                clients.append(try world.connect())
                asked.append([])
            } else {
                let keys = (0...random.below(4)).map { "k\(index).\(round).\($0)" }
                asked[index] += keys
                clients[index].send(keys.flatMap { array(["GET", $0]) })
            }
            if random.chance(70) { world.server.serve() }
            world.collect()
            if random.chance(15), let link = world.server.openLinks.last {
                if random.chance(70) { link.close() } else { link.reset() }
            }
            world.finish()
            if random.chance(50) { world.turn() }
        }
        // Lost ones have an error each, or their client is closed; the others have their replies.
        try world.run(until: "all replies") {
            zip(clients, asked).allSatisfy { client, keys in
                client.isClosed || lines(client).count >= keys.count
            }
        }
        for (client, keys) in zip(clients, asked) {
            for (line, key) in zip(lines(client), keys) {
                #expect(line == "value of \(key)" || line.hasPrefix("-UPSTREAMLOST"))
            }
            for key in keys { #expect(world.server.count(of: "GET", key) <= 1) }
        }
    }

    /// One line for each complete reply.
    private func lines(_ client: TestClient) -> [Substring] {
        client.text.split(separator: "\r\n").filter { !$0.hasPrefix("$") }
    }
}
