import Pool
import TestSupport
import Testing

@testable import Proxy

@Suite("Back-pressure")
struct FlowTests {
    @Test("a server that does not read stops the reading of its clients, and memory is bounded")
    func serverDoesNotRead() throws {
        let world = try World("maxOpen: 1")
        let client = try world.connect()
        _ = try world.ask(client, "GET", "a")
        let link = world.server.links[0]
        link.isStopped = true
        world.shrinkSendBuffers()
        let value = String(repeating: "v", count: 32_000)
        let count = 80
        for _ in 0..<count { client.send("SET", "k", value) }
        try world.run(until: "the client is not read") { world.clientsBeingRead == 0 }
        // Below this mark it is read again. The kernel may have taken some meanwhile.
        #expect(world.unsent > UpstreamConnection.outputLowWater)
        // What is sent is kept for sending it again, up to a limit.
        let bound = Int(CommandBuffer.keptLimit) + 2 * UpstreamConnection.outputHighWater
        for _ in 0..<20 {
            world.turn()
            try #require(world.buffered < bound)
            try #require(world.clientsBeingRead == 0)
        }
        link.isStopped = false
        try world.run(until: "all replies") { client.received.count >= 5 * count }
        #expect(client.text == String(repeating: "+OK\r\n", count: count))
        #expect(world.clientsBeingRead == 1)
        try world.run(until: "no buffer is left") { world.buffered == 0 }
    }

    @Test("a client that does not read stops the reading of its server, and loses nothing")
    func clientDoesNotRead() throws {
        let world = try World("maxOpen: 1")
        let client = try world.connect()
        _ = try world.ask(client, "GET", "a")
        world.clientsRead = false
        let size = 10 << 20
        client.send("GET", "big:\(size)")
        try world.run(until: "the server is not read") { world.upstreamsBeingRead == 0 }
        for _ in 0..<20 {
            world.turn()
            try #require(world.bufferedForClients < 4 << 20)
        }
        world.clientsRead = true
        try world.run(until: "the whole reply") { client.received.count >= size + 13 }
        #expect(client.received.count == size + 13)
        #expect(client.received.prefix(11) == utf8("$\(size)\r\n")[...])
        #expect(client.received.suffix(2) == utf8("\r\n")[...])
        try world.run(until: "no buffer is left") { world.buffered == 0 }
        #expect(world.upstreamsBeingRead == 1)
    }

    @Test("a client that does not read holds up nobody else")
    func othersGoOn() throws {
        let world = try World("maxOpen: 2")
        let slow = try world.connect()
        world.clientsRead = false
        slow.send("GET", "big:\(10 << 20)")
        try world.run(until: "the server is not read") {
            world.census.open > 0 && world.upstreamsBeingRead < world.census.open
        }
        let other = try world.connect()
        for number in 0..<20 {
            other.send("GET", "\(number)")
            let reply = "$\("value of \(number)".utf8.count)\r\nvalue of \(number)\r\n"
            try world.run(until: "the other's reply") {
                other.read()
                return other.text == reply
            }
            _ = other.take()
        }
        #expect(!slow.isClosed)
    }

    @Test("a large command streams through, whatever its size")
    func largeCommand() throws {
        let world = try World("maxOpen: 2")
        let client = try world.connect()
        _ = try world.ask(client, "GET", "a")
        let value = String(repeating: "v", count: 2 << 20)
        client.send("SET", "k", value)
        var most = 0
        try world.run(until: "the reply") {
            most = max(most, world.buffered)
            return !client.received.isEmpty
        }
        #expect(client.text == "+OK\r\n")
        #expect(most < 2 << 20)
        #expect(world.server.links.contains { $0.commands.last == ["SET", "k", value] })
    }
}
