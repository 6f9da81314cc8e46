import EventLoop
import TestSupport
import Testing

@testable import Proxy

@Suite("A worker between clients and a server")
struct WorkerTests {
    private func names(_ link: Link) -> [String] { link.commands.map { $0[0] } }

    @Test("the first connection asks who the server is, later ones only whether it still is")
    func handshake() throws {
        let world = try World("maxOpen: 4")
        let client = try world.connect()
        #expect(try world.ask(client, "GET", "a") == "$10\r\nvalue of a\r\n")
        #expect(
            names(world.server.links[0]) == [
                "ECHO", "INFO", "CONFIG", "CONFIG", "COMMAND", "ROLE", "CLIENT", "GET",
            ])
        // A pin leaves this one to others.
        #expect(try world.ask(client, "MULTI") == "+OK\r\n")
        #expect(world.server.links.count == 2)
        #expect(names(world.server.links[1]) == ["ECHO", "INFO", "MULTI"])
        #expect(world.facts.version == utf8("7.0.15"))
        #expect(world.facts.hasTransactions)
    }

    @Test(
        "random pipelines of many clients: everybody gets his replies, in order", arguments: 1...4)
    func random(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let world = try World("maxOpen: 4", "maxPipeline: 8")
        let clients = try (0..<8).map { _ in try world.connect() }
        var expected = [String](repeating: "", count: clients.count)
        for round in 0..<40 {
            let index = random.below(clients.count)
            // Commands and replies come in pieces of any size.
            var bytes: [UInt8] = []
            for number in 0...random.below(12) {
                let name = "k\(index).\(round).\(number)"
                let value = "value of \(name)"
                bytes += array(["GET", name])
                expected[index] += "$\(value.utf8.count)\r\n\(value)\r\n"
            }
            let cut = random.below(bytes.count)
            clients[index].send(Array(bytes[..<cut]))
            for link in world.server.openLinks { link.pace = 1 + random.below(40) }
            for _ in 0..<random.below(4) { world.turn() }
            clients[index].send(Array(bytes[cut...]))
        }
        try world.run(until: "all replies") {
            zip(clients, expected).allSatisfy { $0.received.count >= $1.utf8.count }
        }
        for (client, text) in zip(clients, expected) { #expect(client.text == text) }
        #expect(world.server.links.count <= 4)
        try world.run(until: "an idle worker") { world.buffered == 0 }
    }

    @Test("a transaction has a connection to itself, which then serves others")
    func transaction() throws {
        let world = try World("maxOpen: 2")
        let client = try world.connect()
        #expect(try world.ask(client, "MULTI") == "+OK\r\n")
        #expect(try world.ask(client, "SET", "a", "1") == "+QUEUED\r\n")
        #expect(world.census.pinned == 1)
        let other = try world.connect()
        #expect(try world.ask(other, "GET", "b") == "$10\r\nvalue of b\r\n")
        #expect(try world.ask(client, "EXEC") == "*1\r\n+OK\r\n")
        try world.run(until: "it is given back") { world.census.pinned == 0 }
        let link = try #require(world.server.link(with: "MULTI"))
        #expect(!link.commands.contains(["GET", "b"]))
        #expect(try world.ask(other, "WATCH", "a") == "+OK\r\n")
        #expect(try world.ask(client, "GET", "a") == "$10\r\nvalue of a\r\n")
        #expect(world.server.links.count == 2)
    }

    @Test("who leaves in a transaction leaves nothing of it behind")
    func orphan() throws {
        let world = try World("maxOpen: 2")
        let client = try world.connect()
        #expect(try world.ask(client, "MULTI") == "+OK\r\n")
        client.finish()
        let link = try #require(world.server.link(with: "MULTI"))
        try world.run(until: "DISCARD") { link.commands.contains(["DISCARD"]) }
        try world.run(until: "it is idle") { world.census.idle == 2 }
        #expect(world.census.pinned == 0)
        #expect(client.isClosed)
        let other = try world.connect()
        #expect(try world.ask(other, "GET", "a") == "$10\r\nvalue of a\r\n")
        #expect(world.server.openLinks.count == 2)
    }

    @Test("what Redpool answers itself, in its place")
    func local() throws {
        let world = try World("denyCommands: [debug]")
        let client = try world.connect()
        let other = try world.connect()
        #expect(try world.ask(client, "CLIENT", "ID") == ":1\r\n")
        #expect(try world.ask(other, "CLIENT", "ID") == ":2\r\n")
        #expect(try world.ask(client, "CLIENT", "SETNAME", "web") == "+OK\r\n")
        #expect(try world.ask(client, "CLIENT", "GETNAME") == "$3\r\nweb\r\n")
        #expect(try world.ask(other, "CLIENT", "GETNAME") == "$-1\r\n")
        let info = try world.ask(client, "CLIENT", "INFO")
        #expect(info.contains("\r\nid=1 addr=127.0.0.1:"))
        #expect(info.contains(" name=web db=0 cmd=client|info user=default\n"))
        #expect(try world.ask(client, "DEBUG", "JMAP").hasPrefix("-"))
        #expect(world.server.count(of: "DEBUG", "JMAP") == 0)
        #expect(try world.ask(client, "RESET") == "+RESET\r\n")
        client.send("QUIT")
        try world.run(until: "the end") { client.isClosed }
        #expect(client.take() == "+OK\r\n")
        #expect(world.group.clientCount == 1)
    }

    @Test(
        "bytes that are not the protocol end the connection, behind what was answered",
        arguments: [
            ("*1\r\n$4\r\nPI", ""),
            ("*1\r\n+PING\r\n", "-ERR Protocol error: expected '$', got '+'\r\n"),
            ("*x\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        ])
    func protocolErrors(bytes: String, error: String) throws {
        let world = try World()
        let client = try world.connect()
        client.send(array(["GET", "a"]) + utf8(bytes))
        client.finish()
        try world.run(until: "the end") { client.isClosed }
        #expect(client.text == "$10\r\nvalue of a\r\n" + error)
    }

    @Test("a byte that nobody has asked for costs an idle connection, and no client")
    func strayByte() throws {
        let world = try World()
        let client = try world.connect()
        #expect(try world.ask(client, "GET", "a") == "$10\r\nvalue of a\r\n")
        world.server.links[0].say("+stray\r\n")
        try world.run(until: "it is closed") { world.census.open == 0 }
        #expect(!client.isClosed)
        #expect(try world.ask(client, "GET", "b") == "$10\r\nvalue of b\r\n")
        #expect(world.server.links.count == 2)
    }

    @Test("a reply too many poisons its connection: who waits there is closed")
    func surplus() throws {
        let world = try World()
        let client = try world.connect()
        _ = try world.ask(client, "GET", "a")
        let link = world.server.links[0]
        link.withheld = "slow"
        client.send("GET", "slow")
        try world.run(until: "it is there") { link.count(of: "GET", "slow") == 1 }
        link.say("+surplus\r\n")
        link.release()
        try world.run(until: "the connection is closed") { world.census.open == 0 }
        try world.run(until: "another works") {
            (try? world.ask(try world.connect(), "GET", "b")) == "$10\r\nvalue of b\r\n"
        }
    }

    @Test("nobody waits longer than poolTimeout for a server that does not answer")
    func poolTimeout() throws {
        let world = try World("maxOpen: 1", "poolTimeout: 20ms", "connectTimeout: 60s")
        world.server.onAccept = { $0.isStopped = true }
        let client = try world.connect()
        client.send("GET", "a")
        try world.run(until: "an error") { !client.received.isEmpty }
        #expect(client.text.hasPrefix("-POOLTIMEOUT pool main: "))
        #expect(!client.isClosed)
    }

    @Test("a drain closes who is quiet at once, and others behind their replies")
    func drain() throws {
        let world = try World("maxOpen: 2")
        let quiet = try world.connect()
        let busy = try world.connect()
        _ = try world.ask(quiet, "GET", "a")
        let link = world.server.links[0]
        link.withheld = "slow"
        busy.send("GET", "slow")
        try world.run(until: "it is there") { link.count(of: "GET", "slow") == 1 }
        world.worker.mailbox.post(.drain)
        try world.run(until: "one is closed") { quiet.isClosed }
        world.settle()
        #expect(!busy.isClosed)
        link.release()
        try world.run(until: "the other is closed") { busy.isClosed }
        #expect(busy.text == "$13\r\nvalue of slow\r\n")
        #expect(world.group.clientCount == 0)
    }

    @Test("a worker that runs connects before it is asked to, and serves")
    func runsWarm() throws {
        let world = try World("maxOpen: 4", "minIdle: 3")
        let client = try world.connect()
        client.send("GET", "a")
        try world.reallyRun(until: "three connections and a reply") {
            world.server.links.count { names($0).contains("INFO") } == 3
                && client.text == "$10\r\nvalue of a\r\n"
        }
        #expect(world.server.links.count == 3)
        #expect(world.server.openLinks.allSatisfy { names($0).first == "ECHO" })
    }

    @Test("a worker that runs says that it has started, and ends when it is told to")
    func run() throws {
        let world = try World()
        var events: [String] = []
        world.worker.mailbox.post(.drain)
        let isWell = world.worker.run(
            started: { events.append("started") },
            drained: {
                events.append("drained \($0)")
                world.worker.mailbox.post(.stop)
            })
        #expect(isWell)
        #expect(events == ["started", "drained 0"])
        #expect(world.worker.pools.isEmpty)
    }
}
