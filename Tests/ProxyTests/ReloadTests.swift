import Config
import EventLoop
import Session
import TestSupport
import Testing

@testable import Proxy

extension World {
    /// Puts another configuration into force with the next turn.
    fileprivate func reload(
        at port: UInt16? = nil, source: String? = nil, head: String = "", _ lines: String...
    ) throws {
        let source = source ?? "upstream: 127.0.0.1:\(port ?? server.port)"
        let config = try configuration(head: head, lines: [source] + lines)
        let settings = WorkerSettings(
            config: config, table: CommandTable(), listeners: [], maxClients: 1000)
        group.replace(settings, removing: []) { _ in }
    }
}

@Suite("A worker gets another configuration")
struct ReloadTests {
    private let gets = array(["GET", "held:1"]) + array(["GET", "held:2"])

    /// A world in which a client waits for two replies on the only upstream.
    private func busyWorld(_ lines: String) throws -> (World, TestClient) {
        let world = try World("maxOpen: 4", "idleTimeout: 10m", lines)
        let client = try world.connect()
        #expect(try world.ask(client, "GET", "a") == "$10\r\nvalue of a\r\n")
        world.server.links[0].withheld = "held"
        return (world, client)
    }

    @Test("maxPipeline: an upstream is deep from now on with fewer commands", arguments: [2, 100])
    func maxPipeline(most: Int) throws {
        let (world, client) = try busyWorld("maxPipeline: 1024")
        let other = try world.connect()
        try world.reload("maxOpen: 4", "maxPipeline: \(most)")
        world.settle()
        // In one turn, so that the upstream does not count as stalled.
        client.send(gets)
        world.collect()
        other.send("GET", "b")
        try world.run(until: "the other's command") { world.server.count(of: "GET", "b") == 1 }
        world.settle()
        #expect(world.server.links.count == (most == 2 ? 2 : 1))
    }

    @Test("a move: what a client has in flight ends before its next command goes elsewhere")
    func move() throws {
        let (world, client) = try busyWorld("minIdle: 1")
        let idle = try world.connect()
        let new = try FakeServer()
        client.send(gets)
        try world.run(until: "both are at the server") {
            world.server.count(of: "GET", "held:2") == 1
        }
        try world.reload(at: new.port, "maxOpen: 4")
        client.send("GET", "c")
        idle.send("GET", "d")
        func turn(until what: String, _ condition: () -> Bool) throws {
            try world.run(until: what) {
                new.serve()
                return condition()
            }
        }
        try turn(until: "the other client's command") { new.count(of: "GET", "d") == 1 }
        try turn(until: "the other client's reply") { !idle.received.isEmpty }
        for _ in 0..<5 { world.turn() }
        #expect(new.count(of: "GET", "c") == 0 && world.server.count(of: "GET", "c") == 0)
        world.server.links[0].release()
        try turn(until: "three replies") { client.received.count >= 48 }
        #expect(
            client.text
                == ["held:1", "held:2"].map { "$15\r\nvalue of \($0)\r\n" }.joined()
                + "$10\r\nvalue of c\r\n")
        #expect(new.count(of: "GET", "c") == 1 && world.server.count(of: "GET", "c") == 0)
        try turn(until: "the old connection's end") { world.server.links[0].hasEnded }
    }

    @Test("another pool of the same name: clients finish what is in flight, and are closed")
    func otherPool() throws {
        let (world, client) = try busyWorld("minIdle: 0")
        let idle = try world.connect()
        #expect(try world.ask(idle, "GET", "b") == "$10\r\nvalue of b\r\n")
        client.send("GET", "held:1")
        try world.run(until: "it is at the server") {
            world.server.count(of: "GET", "held:1") == 1
        }
        try world.reload(source: "cluster: 127.0.0.1:1", "maxOpen: 4")
        try world.run(until: "the other one is closed") {
            world.worker.closeLeaving()
            return idle.isClosed
        }
        #expect(!client.isClosed)
        let pools = world.worker.pools
        #expect(pools.count == 2 && pools[0].leavesBy != nil && pools[1].isRouted)
        world.server.links[0].release()
        try world.run(until: "the reply and the end") {
            world.worker.closeLeaving()
            return client.isClosed
        }
        #expect(client.text == "$15\r\nvalue of held:1\r\n")
        try world.run(until: "the old pool is gone") {
            world.worker.closeLeaving()
            return world.worker.pools.count == 1
        }
        #expect(world.worker.pools[0].isRouted)
    }

    @Test("a move: the user of the pool is another one, and clients of other users stay theirs")
    func users() {
        var users = UserTable(name: "app", password: "one")
        let name = utf8("bob")
        let bob = users.accepted(name: name, password: utf8("pw"), from: 1)
        #expect(users.find(name: utf8("app"), password: utf8("one")) == 0)
        users.move(name: "other", password: "two")
        #expect(users.find(name: utf8("other"), password: utf8("two")) == 0)
        #expect(users.find(name: utf8("app"), password: utf8("one")) == nil)
        // The new server has not judged him, but his connections need his password.
        #expect(users.find(name: name, password: utf8("pw")) == nil)
        #expect(bob.map { users.password(of: $0) } == utf8("pw"))
        #expect(users.accepted(name: name, password: utf8("pw"), from: 1) == bob)
        #expect(users.find(name: name, password: utf8("pw")) == bob)
        users.setPassword("three")
        #expect(users.password(of: 0) == utf8("three"))
    }
}
