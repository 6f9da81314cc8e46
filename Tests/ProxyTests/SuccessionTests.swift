import Config
import EventLoop
import Pool
import Session
import TestSupport
import Testing

@testable import Proxy

extension World {
    /// Another server becomes the primary with the next turn.
    func succeed(to new: FakeServer?) throws {
        let group = try #require(group.pool("main"))
        group.succeed(to: new.map { .tcp(host: "127.0.0.1", port: $0.port) })
    }

    /// A pool whose primary Sentinels name, which the test does in their place.
    static func unnamed(_ lines: String...) throws -> World {
        try World(
            place: "sentinels: 127.0.0.1:26379", lines: ["primaryName: mymaster"] + lines)
    }

    /// Turns in which the new server is served as well.
    func run(
        _ new: FakeServer, until what: String, _ condition: () -> Bool
    ) throws {
        try run(until: what) {
            new.serve()
            return condition()
        }
    }

    /// Asks until there is a value: on a busy machine a short `poolTimeout` may pass before.
    fileprivate func askAgain(_ client: TestClient, _ key: String) throws {
        client.send("GET", key)
        try run(until: "a value") {
            tick()
            if client.text.hasPrefix("-"), client.text.hasSuffix("\r\n") {
                _ = client.take()
                client.send("GET", key)
            }
            return client.text == "$10\r\nvalue of \(key)\r\n"
        }
    }

    var servers: Int { worker.pools[0].servers.count }
    var closes: (failover: UInt64, all: UInt64, opened: UInt64) {
        let counters = worker.pools[0].counters
        return (counters.closes(.failover), counters.allCloses, counters.opens)
    }
}

@Suite("Another server becomes the primary")
struct SuccessionTests {
    @Test("idle upstreams close at once, and the next command goes to the new primary")
    func idle() throws {
        let world = try World("maxOpen: 4")
        let client = try world.connect()
        #expect(try world.ask(client, "SET", "a", "1") == "+OK\r\n")
        let new = try FakeServer()
        try world.succeed(to: new)
        client.send("GET", "b")
        try world.run(new, until: "the reply") { !client.received.isEmpty }
        #expect(client.take() == "$10\r\nvalue of b\r\n")
        #expect(new.count(of: "GET", "b") == 1 && world.server.count(of: "GET", "b") == 0)
        try world.run(new, until: "the old connection's end") { world.server.links[0].hasEnded }
        try world.run(new, until: "the old server is let go") {
            world.tick()
            return world.servers == 1
        }
        let closes = world.closes
        #expect(closes.failover == 1 && closes.all == 1)
        #expect(closes.opened == closes.all + UInt64(world.census.open))
    }

    @Test("what is in flight is answered first; nothing more goes to the former primary")
    func inFlight() throws {
        let world = try World("maxOpen: 4")
        let client = try world.connect()
        #expect(try world.ask(client, "GET", "a") == "$10\r\nvalue of a\r\n")
        world.server.links[0].withheld = "held"
        client.send("GET", "held:1")
        try world.run(until: "it is at the server") { world.server.count(of: "GET", "held:1") == 1 }
        let new = try FakeServer()
        try world.succeed(to: new)
        client.send("GET", "b")
        for _ in 0..<5 {
            new.serve()
            world.turn()
        }
        #expect(new.count(of: "GET", "b") == 0)
        world.server.links[0].release()
        try world.run(new, until: "both replies") { client.received.count >= 37 }
        #expect(client.text == "$15\r\nvalue of held:1\r\n$10\r\nvalue of b\r\n")
        #expect(new.count(of: "GET", "b") == 1 && world.server.count(of: "GET", "b") == 0)
    }

    @Test("waiting clients go over in the order of their waits")
    func waiting() throws {
        let world = try World("maxOpen: 2", "maxPinned: 1", "poolTimeout: 30s")
        let blocked = try world.connect()
        world.server.onAccept = { $0.withheld = "held" }
        blocked.send("BLPOP", "held:1", "0")
        try world.run(until: "it blocks") { world.server.count(of: "BLPOP", "held:1") == 1 }
        let waiters = try (0..<3).map { _ in try world.connect() }
        for (index, waiter) in waiters.enumerated() {
            waiter.send("BLPOP", "list:\(index)", "0")
            world.turn()
        }
        #expect(world.worker.pools[0].census.waiting == 3)
        let new = try FakeServer()
        try world.succeed(to: new)
        for (index, waiter) in waiters.enumerated() {
            try world.run(new, until: "the turn of \(index)") {
                new.count(of: "BLPOP", "list:\(index)") == 1
            }
            for later in (index + 1)..<4 { #expect(new.count(of: "BLPOP", "list:\(later)") == 0) }
            waiter.finish()
        }
        // The one that blocked at the former primary is closed: nobody will push there.
        try world.run(new, until: "the blocked client's end") { blocked.isClosed }
    }

    @Test("clients with state at the former primary are closed at once")
    func holders() throws {
        let world = try World("maxOpen: 8")
        let subscriber = try world.connect()
        let transaction = try world.connect()
        subscriber.send("SUBSCRIBE", "c")
        _ = try world.ask(transaction, "MULTI")
        try world.run(until: "both hold") { world.census.pinned == 2 }
        let new = try FakeServer()
        try world.succeed(to: new)
        try world.run(new, until: "their ends") { subscriber.isClosed && transaction.isClosed }
        #expect(world.worker.pools[0].servers.last?.machine.census.pinned == 0)
    }

    @Test("what is unanswered after a second is lost, and its client is closed")
    func overdue() throws {
        let world = try World("maxOpen: 4")
        let client = try world.connect()
        #expect(try world.ask(client, "GET", "a") == "$10\r\nvalue of a\r\n")
        world.server.links[0].withheld = "held"
        client.send("GET", "held:1")
        try world.run(until: "it is at the server") { world.server.count(of: "GET", "held:1") == 1 }
        let new = try FakeServer()
        let began = EventLoop.now()
        try world.succeed(to: new)
        world.turn()
        #expect(!client.isClosed)
        try world.run(new, until: "the client's end") {
            world.tick()
            return client.isClosed
        }
        let took = EventLoop.now() - began
        #expect(took >= 800_000_000)
        try world.run(new, until: "the old server is let go") {
            world.tick()
            return world.servers == 1
        }
    }

    @Test("a halted pool is halted at the new primary, and goes on there")
    func halted() throws {
        let world = try World("maxOpen: 4")
        let client = try world.connect()
        #expect(try world.ask(client, "GET", "a") == "$10\r\nvalue of a\r\n")
        let box = try #require(Mailbox<OperatorMail>())
        let asker = OperatorAsker(token: 1, box: box)
        let pool = world.worker.pools[0]
        pool.beginHalt(
            until: world.worker.now + 30_000_000_000, closesHolders: false, for: asker)
        world.finish()
        client.send("GET", "b")
        let new = try FakeServer()
        try world.succeed(to: new)
        for _ in 0..<10 {
            new.serve()
            world.turn()
        }
        #expect(new.links.isEmpty && client.received.isEmpty)
        pool.endHalt(.resumed)
        world.finish()
        try world.run(new, until: "the reply") { !client.received.isEmpty }
        #expect(client.take() == "$10\r\nvalue of b\r\n")
        #expect(world.server.count(of: "GET", "b") == 0)
    }

    @Test("WAIT does not take a connection of the new primary for that of its writes")
    func writes() throws {
        let world = try World("maxOpen: 4")
        let client = try world.connect()
        #expect(try world.ask(client, "SET", "a", "1") == "+OK\r\n")
        let new = try FakeServer()
        try world.succeed(to: new)
        client.send("GET", "b")
        try world.run(new, until: "the reply") { !client.received.isEmpty }
        _ = client.take()
        client.send("WAIT", "1", "0")
        try world.run(new, until: "the answer") { !client.received.isEmpty }
        // The connection has the same number as that of the writes, and has to be brought up to
        // date.
        #expect(new.count(of: "PUBLISH", "redpool:wait") == 1)
        #expect(new.count(of: "WAIT", "1") == 1)
    }

    @Test("many changes in a row: one primary at the end, and every connection counted")
    func many() throws {
        let world = try World("maxOpen: 4")
        let clients = try (0..<4).map { _ in try world.connect() }
        var servers = [world.server]
        for round in 0..<20 {
            let new = try FakeServer()
            servers.append(new)
            try world.succeed(to: new)
            for (index, client) in clients.enumerated() {
                client.send("GET", "k:\(round):\(index)")
            }
            try world.run(new, until: "four replies") {
                for server in servers { server.serve() }
                return clients.allSatisfy { $0.received.count >= 1 }
            }
            for client in clients { #expect(client.take().hasPrefix("$")) }
        }
        try world.run(servers.last!, until: "one server is left") {
            for server in servers { server.serve() }
            world.tick()
            return world.servers == 1
        }
        let closes = world.closes
        #expect(closes.opened == closes.all + UInt64(world.census.open))
    }

    @Test("commands wait until somebody has named the primary")
    func unnamed() throws {
        let world = try World.unnamed("maxOpen: 4", "poolTimeout: 30s")
        let client = try world.connect()
        client.send("GET", "a")
        for _ in 0..<10 { world.turn() }
        #expect(client.received.isEmpty)
        try world.succeed(to: world.server)
        try world.run(until: "the reply") { !client.received.isEmpty }
        #expect(client.take() == "$10\r\nvalue of a\r\n")
        #expect(world.server.count(of: "GET", "a") == 1 && world.servers == 1)
        #expect(world.server.links[0].commands.contains(["ROLE"]))
    }

    @Test("nobody knows the primary: commands get the reason, and go on when it is known")
    func unknown() throws {
        let world = try World.unnamed("maxOpen: 1", "poolTimeout: 300ms", "connectTimeout: 100ms")
        let client = try world.connect()
        let group = try #require(world.group.pool("main"))
        client.send("GET", "a")
        try world.run(until: "the error") {
            group.tellUnknown("no Sentinel knows mymaster (127.0.0.1:26379: down)")
            world.turn()
            world.tick()
            return !client.received.isEmpty
        }
        #expect(
            client.take() == "-UPSTREAMDOWN pool main: "
                + "no Sentinel knows mymaster (127.0.0.1:26379: down)\r\n")
        try world.succeed(to: world.server)
        try world.askAgain(client, "a")
    }

    @Test("a primary is left before the next one is known: commands wait for that")
    func interregnum() throws {
        let world = try World.unnamed("maxOpen: 4", "poolTimeout: 30s")
        let client = try world.connect()
        try world.succeed(to: world.server)
        client.send("GET", "a")
        try world.run(until: "the reply") { !client.received.isEmpty }
        _ = client.take()
        try world.succeed(to: nil)
        client.send("GET", "b")
        for _ in 0..<10 { world.turn() }
        #expect(client.received.isEmpty && world.server.count(of: "GET", "b") == 0)
        // Nobody can leave what is left already.
        try world.succeed(to: nil)
        let new = try FakeServer()
        try world.succeed(to: new)
        try world.run(new, until: "the reply") { !client.received.isEmpty }
        #expect(client.take() == "$10\r\nvalue of b\r\n" && new.count(of: "GET", "b") == 1)
    }

    @Test("a server that says it is no primary gets no command")
    func wrongRole() throws {
        let world = try World.unnamed("maxOpen: 1", "poolTimeout: 300ms", "connectTimeout: 100ms")
        world.server.role = "slave"
        let client = try world.connect()
        try world.succeed(to: world.server)
        client.send("GET", "a")
        try world.run(until: "the error") {
            world.tick()
            return !client.received.isEmpty
        }
        let place = "127.0.0.1:\(world.server.port)"
        #expect(
            client.take() == "-UPSTREAMDOWN pool main: cannot connect to \(place), "
                + "last error: ROLE: \(place) is no primary\r\n")
        #expect(world.server.count(of: "GET", "a") == 0)
        world.server.role = "master"
        try world.askAgain(client, "a")
    }

    @Test("READONLY retires all connections at once, then ever fewer signs of one server count")
    func signs() {
        var doubts = RoleDoubts()
        let runID: [UInt8] = [1]
        var now = MonotonicTime(nanoseconds: 0)
        var heeded: [Int64] = []
        for _ in 0..<3000 {
            if doubts.heeds(runID, now: now) { heeded.append(now.nanoseconds / 1_000_000_000) }
            now = now + 100_000_000
        }
        #expect(heeded == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243])
        let other = doubts.heeds([2], now: now)
        #expect(other)
    }
}
