import TestSupport
import Testing

@testable import Proxy

@Suite("Leases for Redpool's own commands, and for commands that have waited")
struct OwnLeaseTests {
    @Test("a check whether a user still exists sends no command")
    func userCheck() throws {
        let world = try World("maxOpen: 4")
        let client = try world.connect()
        #expect(try world.ask(client, "AUTH", "alice", "good") == "+OK\r\n")
        #expect(try world.ask(client, "GET", "a") == "$10\r\nvalue of a\r\n")
        for link in world.server.openLinks { link.close() }
        try world.run(until: "the loss is noticed") { world.census.open == 0 }
        world.tick()
        try world.run(until: "a connection of that user") {
            world.server.openLinks.contains { $0.commands.contains { $0.contains("alice") } }
        }
        world.settle()
        #expect(!world.server.links.contains { $0.commands.contains(["MULTI"]) })
        #expect(world.census.pinned == 0)
    }

    @Test("WAIT that has waited for a connection still covers writes that another one carried")
    func waitElsewhere() throws {
        let world = try World("maxOpen: 4")
        let client = try world.connect()
        #expect(try world.ask(client, "SET", "a", "1") == "+OK\r\n")
        world.server.links[0].close()
        try world.run(until: "the loss is noticed") { world.census.open == 0 }
        #expect(try world.ask(client, "WAIT", "0", "0") == "+OK\r\n")
        let link = try #require(world.server.link(with: "WAIT", "0", "0"))
        let names = link.commands.map { $0[0] }
        #expect(names.suffix(3) == ["PUBLISH", "CLIENT", "WAIT"])
    }
}
