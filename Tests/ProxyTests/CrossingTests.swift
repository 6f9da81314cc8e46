import EventLoop
import Pool
import Session
import TestSupport
import Testing

@testable import Proxy

extension World {
    /// A turn in which the server answers on the connections that it has, and takes no others.
    fileprivate func turnWithoutAccepting() {
        for link in server.openLinks { link.serve() }
        collect()
        finish()
        for client in clients { client.read() }
    }
}

@Suite("Nothing of the former primary follows a client to the next one")
struct CrossingTests {
    /// A client waits for a pin and another one behind it, with an upstream idle that only the pin
    /// keeps from it. So the end of the first wait decides the second one.
    private func crowded() throws -> (World, FakeServer, last: TestClient) {
        let world = try World("maxOpen: 4", "maxPipeline: 1", "poolTimeout: 30s")
        let (first, second, third, last) = try (
            world.connect(), world.connect(), world.connect(), world.connect()
        )
        _ = try world.ask(third, "SELECT", "1")
        world.server.onAccept = { $0.withheld = "slow" }
        for link in world.server.links { link.withheld = "slow" }
        first.send((0..<16).flatMap { array(["GET", "slow:\($0)"]) })
        try world.run(until: "a full upstream") { world.server.count(of: "GET", "slow:15") == 1 }
        second.send("GET", "slow:other")
        try world.run(until: "a second upstream") {
            world.server.count(of: "GET", "slow:other") == 1
        }
        third.send("BLPOP", "list", "0")
        world.turnWithoutAccepting()
        #expect(world.worker.pools[0].census.waiting == 1)
        world.server.link(with: "GET", "slow:other")?.release()
        while second.received.isEmpty { world.turnWithoutAccepting() }
        last.send("GET", "x")
        for _ in 0..<3 { world.turnWithoutAccepting() }
        #expect(world.worker.pools[0].census.waiting == 2)
        #expect(world.census.idle == 1)
        return (world, try FakeServer(), last)
    }

    @Test("an upstream that a wait's end gives to a client is not used after the change")
    func grant() throws {
        let (world, new, last) = try crowded()
        try world.succeed(to: new)
        // The worker reads this in the same turn, behind the change.
        last.send("GET", "y")
        world.turnWithoutAccepting()
        try world.run(new, until: "both replies") {
            last.text == "$10\r\nvalue of x\r\n$10\r\nvalue of y\r\n"
        }
        for name in ["x", "y"] {
            #expect(world.server.count(of: "GET", name) == 0 && new.count(of: "GET", name) == 1)
        }
    }

    @Test("a script runs after the question whether scripts make up replies, at each server")
    func scripts() throws {
        let world = try World("maxOpen: 4")
        let client = try world.connect()
        #expect(try world.ask(client, "EVAL", "return 1", "0") == "+OK\r\n")
        let question = "error('redpool\\r\\n+redpool')"
        #expect(world.server.count(of: "EVAL", question) == 1)
        for link in world.server.links { link.withheld = "held" }
        client.send("GET", "held:1")
        try world.run(until: "it is at the server") { world.server.count(of: "GET", "held:1") == 1 }
        let new = try FakeServer()
        let other = try world.connect()
        try world.succeed(to: new)
        // An idle upstream of the new server, which the script could have at once.
        other.send("GET", "b")
        try world.run(new, until: "a reply of the new server") { !other.received.isEmpty }
        for link in new.links { link.withheld = "error(" }
        client.send("EVAL", "return 1", "0")
        for link in world.server.links { link.release() }
        try world.run(new, until: "the question") { new.count(of: "EVAL", question) == 1 }
        for _ in 0..<5 { world.turn() }
        #expect(new.count(of: "EVAL", "return 1") == 0)
        for link in new.links { link.release() }
        try world.run(new, until: "the reply") { client.text.hasSuffix("+OK\r\n") }
        #expect(client.text == "$15\r\nvalue of held:1\r\n+OK\r\n")
        #expect(new.count(of: "EVAL", "return 1") == 1)
        #expect(world.server.count(of: "EVAL", "return 1") == 1)
    }

    @Test("who waits for an answer about scripts goes over at once")
    func asking() throws {
        let world = try World("maxOpen: 4")
        world.server.onAccept = { $0.withheld = "error(" }
        let client = try world.connect()
        client.send("EVAL", "return 1", "0")
        let question = "error('redpool\\r\\n+redpool')"
        try world.run(until: "the question") { world.server.count(of: "EVAL", question) == 1 }
        let new = try FakeServer()
        try world.succeed(to: new)
        // Without a tick: the time of what is in flight at the former primary does not pass.
        try world.run(new, until: "the reply") { !client.received.isEmpty }
        #expect(client.take() == "+OK\r\n" && world.server.count(of: "EVAL", "return 1") == 0)
    }

    @Test("the rest of a large command does not follow its beginning to the former primary")
    func upload() throws {
        let world = try World("maxOpen: 4")
        let client = try world.connect()
        _ = try world.ask(client, "GET", "a")
        let size = 400_000
        let header = utf8("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$\(size)\r\n")
        client.send(header + [UInt8](repeating: 120, count: size / 2))
        try world.run(until: "it streams") { world.census.pinned == 1 && world.unsent == 0 }
        world.settle()
        let new = try FakeServer()
        try world.succeed(to: new)
        world.turn()
        client.send([UInt8](repeating: 120, count: size / 2) + utf8("\r\n"))
        try world.run(new, until: "the client's end") { client.isClosed }
        #expect(client.text.isEmpty)
        #expect(world.server.count(of: "SET", "big") == 0 && new.count(of: "SET", "big") == 0)
    }
}

@Suite("Dials and waits while nobody names the primary")
struct NamelessTests {
    @Test("a dial that waits for a name ends with a pause, and makes no connection afterwards")
    func pause() throws {
        let world = try World.unnamed("maxOpen: 1", "poolTimeout: 30s")
        let client = try world.connect()
        client.send("GET", "a")
        world.settle()
        let pool = world.worker.pools[0]
        #expect(world.census.open == 1)
        let box = try #require(Mailbox<OperatorMail>())
        pool.beginHalt(
            until: world.worker.now + 30_000_000_000, closesHolders: false,
            for: OperatorAsker(token: 1, box: box))
        world.finish()
        #expect(world.census.open == 0)
        try world.succeed(to: world.server)
        world.settle()
        #expect(world.server.links.isEmpty)
        pool.endHalt(.resumed)
        world.finish()
        try world.run(until: "the reply") { !client.received.isEmpty }
        #expect(client.take() == "$10\r\nvalue of a\r\n")
        #expect(world.server.links.count == 1 && world.census.open == 1)
    }

    @Test("a command waits for poolTimeout, however often the primary changes meanwhile")
    func flapping() throws {
        let world = try World.unnamed("maxOpen: 1", "poolTimeout: 500ms")
        let client = try world.connect()
        client.send("GET", "a")
        let began = EventLoop.now()
        var next = began
        try world.run(until: "the error") {
            if EventLoop.now() >= next {
                next = EventLoop.now() + 100_000_000
                try? world.succeed(to: world.server)
                try? world.succeed(to: nil)
            }
            world.tick()
            return !client.received.isEmpty
        }
        #expect(client.take().hasPrefix("-POOLTIMEOUT "))
        #expect(EventLoop.now() - began >= 500_000_000)
    }
}
