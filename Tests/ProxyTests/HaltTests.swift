import EventLoop
import Pool
import TestSupport
import Testing

@testable import Proxy

@Suite("A pool that an operator has paused")
struct HaltTests {
    @Test("idle upstreams close, commands wait, and are answered when it is over")
    func waits() throws {
        let world = try PausedWorld("poolTimeout: 300ms", "minIdle: 2")
        let client = try world.world.connect()
        #expect(try world.world.ask(client, "GET", "a") == aReply)
        world.pause()
        try world.expectQuiet()
        #expect(world.server.openLinks.isEmpty)
        let late = try world.world.connect()
        client.send("GET", "a")
        late.send("MULTI")
        let begun = EventLoop.now()
        try world.run(until: "more than poolTimeout") {
            world.world.tick()
            return EventLoop.now() - begun > 700_000_000
        }
        #expect(client.text == "" && late.text == "")
        #expect(world.server.openLinks.isEmpty)
        #expect(world.world.group.isPaused("main"))
        world.resume()
        try world.run(until: "replies") { client.text == aReply && late.text == "+OK\r\n" }
        #expect(world.answers.last == .done(1))
        #expect(!world.world.group.isPaused("main"))
    }

    @Test("a client with commands in flight sends none behind them")
    func pipeline() throws {
        let world = try PausedWorld("maxOpen: 1")
        let (client, link) = try world.busyClient()
        world.pause()
        client.send("GET", "b")
        client.send("GET", "c")
        client.send("MULTI")
        client.send("EXEC")
        world.settle()
        #expect(world.count("GET", "b") == 0)
        #expect(world.answers.isEmpty)
        link.release()
        try world.expectQuiet()
        #expect(client.take() == slowReply)
        world.settle()
        #expect(world.count("GET", "b") == 0)
        world.resume()
        try world.run(until: "the rest") { client.text.hasSuffix("*0\r\n") }
        #expect(
            client.text == "$10\r\nvalue of b\r\n$10\r\nvalue of c\r\n+OK\r\n*0\r\n")
    }

    @Test("what is at work when a pause ends goes on, and takes more")
    func endsEarly() throws {
        let world = try PausedWorld("maxOpen: 1")
        let (client, link) = try world.busyClient()
        world.pause()
        client.send("GET", "b")
        world.resume()
        #expect(try world.answer() == .ended(.resumed, uses(.inFlight)))
        client.send("GET", "c")
        world.settle()
        link.release()
        try world.run(until: "all replies") { client.text.hasSuffix("value of c\r\n") }
        #expect(world.server.links.count == 1)
    }

    @Test("a transaction goes on until it is over, and nothing behind it")
    func transaction() throws {
        let world = try PausedWorld("maxOpen: 2")
        let client = try world.world.connect()
        #expect(try world.world.ask(client, "WATCH", "k") == "+OK\r\n")
        world.pause()
        #expect(try world.world.ask(client, "GET", "a") == aReply)
        #expect(try world.world.ask(client, "MULTI") == "+OK\r\n")
        #expect(try world.world.ask(client, "SET", "k", "1") == "+QUEUED\r\n")
        world.settle()
        #expect(world.answers.isEmpty)
        client.send(array(["EXEC"]) + array(["GET", "a"]) + array(["MULTI"]))
        try world.expectQuiet()
        #expect(client.take() == "*1\r\n+OK\r\n")
        #expect(world.count("GET", "a") == 1)
        world.resume()
        try world.run(until: "the rest") { client.text == aReply + "+OK\r\n" }
    }

    @Test("clients that are held stay, are counted, and send nothing")
    func held() throws {
        let world = try PausedWorld("maxOpen: 8")
        let subscriber = try world.world.connect()
        _ = try world.world.ask(subscriber, "SUBSCRIBE", "news")
        let monitor = try world.world.connect()
        _ = try world.world.ask(monitor, "MONITOR")
        let tracker = try world.world.connect()
        _ = try world.world.ask(tracker, "CLIENT", "TRACKING", "ON")
        let bound = try world.world.connect()
        _ = try world.world.ask(bound, "CLIENT", "NO-EVICT", "ON")
        world.pause()
        try world.expectQuiet(.subscribed, .monitoring, .tracking, .bound)
        tracker.send("GET", "a")
        subscriber.send("SUBSCRIBE", "more")
        bound.send(array(["SET", "a", String(repeating: "x", count: 200_000)]))
        world.settle()
        #expect(world.count("GET", "a") + world.count("SUBSCRIBE", "more") == 0)
        #expect(!world.server.links.contains { $0.commands.contains { $0[0] == "SET" } })
        let link = try #require(world.server.link(with: "SUBSCRIBE", "news"))
        link.say("*3\r\n" + text(bulk("message") + bulk("news") + bulk("hello")))
        try world.run(until: "a message") { subscriber.take().contains("hello") }
        world.resume()
        try world.run(until: "replies") {
            tracker.text == aReply && subscriber.text.contains("more") && bound.text == "+OK\r\n"
        }
    }

    @Test("with CLOSE they are closed, at once or behind their replies")
    func closes() throws {
        let world = try PausedWorld("maxOpen: 8")
        let subscriber = try world.world.connect()
        _ = try world.world.ask(subscriber, "SUBSCRIBE", "news")
        let tracker = try world.world.connect()
        _ = try world.world.ask(tracker, "CLIENT", "TRACKING", "ON")
        let link = try #require(world.server.link(with: "CLIENT", "TRACKING", "ON"))
        link.withheld = "slow"
        tracker.send("GET", "slow")
        try world.run(until: "it is there") { link.count(of: "GET", "slow") == 1 }
        let other = try world.world.connect()
        world.pause(closing: true)
        try world.run(until: "one is closed") { subscriber.isClosed }
        #expect(!tracker.isClosed)
        link.release()
        try world.expectQuiet()
        try world.run(until: "the other is closed") { tracker.isClosed }
        #expect(tracker.text == slowReply)
        #expect(!other.isClosed)
    }

    @Test("QUIT of a client that is held is answered")
    func quit() throws {
        let world = try PausedWorld("maxOpen: 8")
        let tracker = try world.world.connect()
        _ = try world.world.ask(tracker, "CLIENT", "TRACKING", "ON")
        world.pause()
        try world.expectQuiet(.tracking)
        tracker.send("QUIT")
        try world.run(until: "the end") { tracker.isClosed }
        #expect(tracker.text == "+OK\r\n")
        try world.run(until: "its upstream is closed") { world.world.census.open == 0 }
    }

    @Test("blocked clients are released, and block again afterwards")
    func blocked() throws {
        let world = try PausedWorld("maxOpen: 4")
        let client = try world.world.connect()
        client.send("BLPOP", "q", "0")
        try world.run(until: "it blocks") { world.count("BLPOP", "q", "0") == 1 }
        let link = try #require(world.server.link(with: "BLPOP", "q", "0"))
        world.pause()
        try world.run(until: "a release") { world.count("CLIENT", "UNBLOCK", "77", "TIMEOUT") > 0 }
        #expect(world.answers.isEmpty)
        link.say("*-1\r\n")
        client.send("BLPOP", "q", "0")
        try world.expectQuiet()
        #expect(client.take() == "*-1\r\n")
        #expect(world.count("BLPOP", "q", "0") == 1)
        world.resume()
        try world.run(until: "it blocks again") { world.count("BLPOP", "q", "0") == 2 }
    }

    @Test("commands for control wait as well")
    func control() throws {
        let world = try PausedWorld("maxOpen: 4")
        let client = try world.world.connect()
        world.pause()
        client.send("SCRIPT", "KILL")
        let other = try world.world.connect()
        other.send("CLIENT", "TRACKING", "ON", "REDIRECT", "1")
        world.settle()
        #expect(world.server.links.isEmpty)
        world.resume()
        try world.run(until: "replies") {
            world.world.worker.serveTargets()
            return client.text == "+OK\r\n" && other.text == "+OK\r\n"
        }
    }

    @Test("an upload that has begun goes on, another one waits")
    func uploads() throws {
        let world = try PausedWorld("maxOpen: 4")
        let client = try world.world.connect()
        let bytes = array(["SET", "a", String(repeating: "x", count: 300_000)])
        client.send(Array(bytes[..<200_000]))
        try world.run(until: "it streams") { world.world.census.pinned == 1 }
        world.pause()
        let other = try world.world.connect()
        other.send(bytes)
        world.settle()
        #expect(world.answers.isEmpty)
        client.send(Array(bytes[200_000...]))
        try world.expectQuiet()
        #expect(client.text == "+OK\r\n" && other.text == "")
        world.resume()
        try world.run(until: "the other") { other.text == "+OK\r\n" }
    }

    @Test("a pipe stops at the end of a command")
    func pipe() throws {
        let world = try PausedWorld("maxOpen: 4")
        let client = try world.world.connect()
        #expect(try world.world.ask(client, "MULTI") == "+OK\r\n")
        #expect(try world.world.ask(client, "SUBSCRIBE", "news") == "+QUEUED\r\n")
        world.pause()
        try world.expectQuiet(.piped)
        client.send("GET", "a")
        world.settle()
        #expect(world.count("GET", "a") == 0)
        world.resume()
        try world.run(until: "a reply") { client.text == "+QUEUED\r\n" }
    }

    @Test("WAIT waits too, and covers the writes from before")
    func waitForReplicas() throws {
        let world = try PausedWorld("maxOpen: 4")
        let client = try world.world.connect()
        let other = try world.world.connect()
        for one in [client, other] { _ = try world.world.ask(one, "SET", "a", "1") }
        world.pause()
        client.send("WAIT", "0", "0")
        other.send("WAITAOF", "0", "0", "0")
        world.settle()
        #expect(client.text == "" && other.text == "")
        world.resume()
        try world.run(until: "replies") { client.text != "" && other.text != "" }
        let link = try #require(world.server.link(with: "WAIT", "0", "0"))
        #expect(link.commands.map { $0[0] }.suffix(3) == ["PUBLISH", "CLIENT", "WAIT"])
        try world.run(until: "nothing is leased") { world.world.census.pinned == 0 }
    }

    @Test("a pause ends by itself")
    func expires() throws {
        let world = try PausedWorld("maxOpen: 4")
        let client = try world.world.connect()
        _ = try world.world.ask(client, "MULTI")
        world.pause(.milliseconds(30))
        #expect(try world.answer() == .ended(.expired, uses(.inTransaction)))
        #expect(try world.world.ask(client, "EXEC") == "*0\r\n")
        world.pause(.milliseconds(30))
        try world.expectQuiet()
        client.send("GET", "a")
        try world.run(until: "a reply") {
            world.world.tick()
            return client.text == aReply
        }
        world.post(.resume(pool: "main"))
        try world.run(until: "an answer") { world.answers.last == .done(0) }
    }

    @Test("a pause that comes after its own end pauses nothing")
    func late() throws {
        let world = try PausedWorld()
        world.pause(0)
        #expect(try world.answer() == .ended(.expired, UpstreamUses()))
        #expect(!world.world.group.isPaused("main"))
    }

    @Test("another pause moves the end")
    func again() throws {
        let world = try PausedWorld("maxOpen: 4")
        let client = try world.world.connect()
        world.pause(.milliseconds(20))
        try world.expectQuiet()
        world.pause(.seconds(60))
        try world.expectQuiet()
        client.send("GET", "a")
        let begun = EventLoop.now()
        try world.run(until: "more than the first") {
            world.world.tick()
            return EventLoop.now() - begun > 40_000_000
        }
        #expect(client.text == "")
        world.resume()
        try world.run(until: "a reply") { client.text == aReply }
    }

    @Test("a client that leaves while it waits gives its place up")
    func leaves() throws {
        let world = try PausedWorld("maxOpen: 4")
        let client = try world.world.connect()
        world.pause()
        client.send("BLPOP", "q", "0")
        world.settle()
        client.finish()
        try world.run(until: "it is closed") { client.isClosed }
        world.resume()
        world.settle()
        #expect(world.count("BLPOP", "q", "0") == 0)
    }

    private func uses(_ use: UpstreamUses.Use) -> UpstreamUses {
        var uses = UpstreamUses()
        uses.count(use)
        return uses
    }
}
