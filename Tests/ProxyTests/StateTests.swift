import Pool
import TestSupport
import Testing

@testable import Proxy

/// What the shell does for commands that change a connection. What they mean is tested in
/// `SessionTests`; here it is carried out, on a real worker.
@Suite("Commands that change a connection, carried out")
struct StateTests {
    @Test("a name is the client's, wherever its commands go")
    func name() throws {
        let world = try World("maxOpen: 2")
        let client = try world.connect()
        #expect(try world.ask(client, "CLIENT", "SETNAME", "web") == "+OK\r\n")
        #expect(try world.ask(client, "CLIENT", "SETINFO", "LIB-NAME", "x") == "+OK\r\n")
        #expect(try world.ask(client, "CLIENT", "GETNAME") != "$-1\r\n")
        let other = try world.connect()
        let number = try world.ask(other, "CLIENT", "ID")
        #expect(number != ":77\r\n")
        #expect(try world.ask(client, "CLIENT", "ID") != number)
        let line = try world.ask(client, "CLIENT", "INFO")
        #expect(line.contains(" name=web "))
        #expect(!line.contains("id=77"))
        let list = try world.ask(other, "CLIENT", "LIST")
        #expect(list.utf8.count { $0 == UInt8(ascii: "\n") } == 4)
        #expect(list.contains(" name=web "))
    }

    @Test("CLIENT KILL closes clients of the pool, and the server kills none")
    func kill() throws {
        let world = try World("maxOpen: 2")
        let (killer, victim) = (try world.connect(), try world.connect())
        let number = try world.ask(victim, "CLIENT", "ID").dropFirst().dropLast()
        #expect(try world.ask(killer, "CLIENT", "KILL", "ID", "999999") == ":0\r\n")
        #expect(try world.ask(killer, "CLIENT", "KILL", "ID", String(number)) == ":1\r\n")
        try world.run(until: "the victim is closed") { victim.isClosed }
        #expect(!killer.isClosed)
        #expect(world.server.count(of: "CLIENT", "KILL") == 2)
        #expect(world.server.link(with: "CLIENT", "KILL", "ID", String(number)) == nil)
    }

    @Test("CLIENT UNBLOCK names the upstream of the blocked client")
    func unblock() throws {
        let world = try World("maxOpen: 4")
        let (blocked, other) = (try world.connect(), try world.connect())
        let number = try world.ask(blocked, "CLIENT", "ID").dropFirst().dropLast()
        blocked.send("BLPOP", "list", "0")
        try world.run(until: "it is blocked") { world.server.count(of: "BLPOP", "list") == 1 }
        #expect(world.census.pinned == 1)
        #expect(try world.ask(other, "CLIENT", "UNBLOCK", String(number)) == ":0\r\n")
        // 77 is what the server calls each of its connections here.
        #expect(world.server.link(with: "CLIENT", "UNBLOCK", "77") != nil)
        #expect(try world.ask(other, "CLIENT", "UNBLOCK", "999999") == ":0\r\n")
        #expect(world.server.link(with: "CLIENT", "UNBLOCK", "0") != nil)
    }

    @Test("a transaction: members that change the client take effect with EXEC")
    func transaction() throws {
        let world = try World("maxOpen: 3")
        let client = try world.connect()
        #expect(try world.ask(client, "MULTI") == "+OK\r\n")
        #expect(world.census.pinned == 1)
        for words in [["CLIENT", "SETNAME", "web"], ["CLIENT", "ID"], ["SELECT", "3"]] {
            client.send(array(words))
            try world.run(until: "QUEUED") { client.text == "+QUEUED\r\n" }
            _ = client.take()
        }
        let answer = try world.ask(client, "EXEC")
        #expect(answer.hasPrefix("*3\r\n+OK\r\n:"))
        #expect(!answer.contains(":77"))
        #expect(answer.hasSuffix("+OK\r\n"))
        try world.run(until: "the hold is over") { world.census.pinned == 0 }
        let line = try world.ask(client, "CLIENT", "INFO")
        #expect(line.contains(" name=web ") && line.contains(" db=3 "))
    }

    @Test("WATCH holds, UNWATCH lets go; a client that leaves is cleaned up after")
    func watch() throws {
        let world = try World("maxOpen: 3")
        let client = try world.connect()
        #expect(try world.ask(client, "WATCH", "k") == "+OK\r\n")
        #expect(world.census.pinned == 1)
        #expect(try world.ask(client, "UNWATCH") == "+OK\r\n")
        try world.run(until: "the hold is over") { world.census.pinned == 0 }
        #expect(try world.ask(client, "MULTI") == "+OK\r\n")
        client.finish()
        try world.run(until: "the client is closed") { client.isClosed }
        try world.run(until: "the transaction is discarded") {
            world.server.links.contains { $0.commands.contains(["DISCARD"]) }
        }
        try world.run(until: "the upstream is free") { world.census.pinned == 0 }
    }

    @Test("a login moves the client to a user; a refused one does not")
    func login() throws {
        let world = try World("maxOpen: 4")
        let client = try world.connect()
        let refused = try world.ask(client, "AUTH", "bob", "bad")
        #expect(refused.hasPrefix("-WRONGPASS"))
        #expect(try world.ask(client, "AUTH", "bob", "good") == "+OK\r\n")
        #expect(try world.ask(client, "GET", "a") == "$10\r\nvalue of a\r\n")
        let other = try world.connect()
        #expect(try world.ask(other, "GET", "b") == "$10\r\nvalue of b\r\n")
        // The first two are the client's own, over one upstream each, or over the same.
        let link = try #require(world.server.link(with: "GET", "a"))
        #expect(link.commands.contains(["AUTH", "bob", "good"]))
        #expect(!link.commands.contains(["GET", "b"]))
        #expect(try world.ask(other, "HELLO", "3", "AUTH", "bob", "bad").hasPrefix("+OK"))
    }

    @Test("SELECT changes the upstream, and RESET everything")
    func select() throws {
        let world = try World("maxOpen: 4")
        let client = try world.connect()
        #expect(try world.ask(client, "SELECT", "5") == "+OK\r\n")
        #expect(try world.ask(client, "GET", "a") == "$10\r\nvalue of a\r\n")
        #expect(
            try #require(world.server.link(with: "GET", "a")).commands.contains(["SELECT", "5"]))
        #expect(try world.ask(client, "CLIENT", "SETNAME", "web") == "+OK\r\n")
        #expect(try world.ask(client, "RESET") == "+RESET\r\n")
        let line = try world.ask(client, "CLIENT", "INFO")
        #expect(line.contains(" name= ") && line.contains(" db=0 "))
    }

    @Test("messages go to their subscriber, and the upstream comes back when it has none")
    func subscribe() throws {
        let world = try World("maxOpen: 3")
        let client = try world.connect()
        let confirmed = try world.ask(client, "SUBSCRIBE", "news")
        #expect(confirmed == "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n")
        let link = try #require(world.server.link(with: "SUBSCRIBE", "news"))
        link.say("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n")
        try world.run(until: "the message") { client.text.hasSuffix("hi\r\n") }
        _ = client.take()
        let ended = try world.ask(client, "UNSUBSCRIBE", "news")
        #expect(ended == "*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n")
        try world.run(until: "the hold is over") { world.census.pinned == 0 }
        #expect(try world.ask(client, "GET", "a") == "$10\r\nvalue of a\r\n")
    }

    @Test("an unknown name is asked about first, and then shared with nobody")
    func unknown() throws {
        let world = try World("maxOpen: 3")
        let client = try world.connect()
        #expect(try world.ask(client, "NOSUCH").hasPrefix("-ERR unknown command"))
        #expect(world.server.link(with: "COMMAND", "INFO", "nosuch") != nil)
        #expect(try world.ask(client, "GET", "a") == "$10\r\nvalue of a\r\n")
        #expect(world.census.pinned == 0)
    }

    @Test(
        "a command that is not understood to the end goes alone, to a connection that then closes")
    func oneOff() throws {
        let world = try World("maxOpen: 3")
        let client = try world.connect()
        #expect(try world.ask(client, "CLIENT", "NO-EVICT", "PERHAPS") == "+OK\r\n")
        let link = try #require(world.server.link(with: "CLIENT", "NO-EVICT", "PERHAPS"))
        try world.run(until: "it is closed") { !link.isOpen || link.hasEnded }
        #expect(!link.commands.contains { $0[0] == "GET" })
        #expect(try world.ask(client, "GET", "a") == "$10\r\nvalue of a\r\n")
    }

    @Test("a pipeline is one run, in order, with what is not plain between")
    func pipeline() throws {
        let world = try World("maxOpen: 2", "denyCommands: [getset]")
        let client = try world.connect()
        _ = try world.ask(client, "GET", "a")
        let before = world.sharedCommands
        var wanted = ""
        for number in 0..<100 {
            if number % 10 == 9 {
                client.send("GETSET", "k", "v")
                wanted += "-ERR"
            } else {
                client.send("GET", "\(number)")
                wanted += "$\("value of \(number)".utf8.count)\r\nvalue of \(number)\r\n"
            }
        }
        var lines: [Substring] = []
        try world.run(until: "all replies") {
            lines = client.text.split(separator: "\r\n")
            return lines.count == 190
        }
        let answers = lines.filter { !$0.hasPrefix("$") }
        for number in 0..<100 {
            if number % 10 == 9 {
                #expect(answers[number].hasPrefix("-"))
            } else {
                #expect(answers[number] == "value of \(number)")
            }
        }
        #expect(world.sharedCommands - before == 90)
    }
}
