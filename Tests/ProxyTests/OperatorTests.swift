import EventLoop
import Pool
import TestSupport
import Testing

@testable import Proxy

@Suite("Upstreams and clients that an operator closes")
struct OperatorCloseTests {
    @Test("RECONNECT replaces every upstream when it is free")
    func reconnect() throws {
        let world = try PausedWorld("maxOpen: 4")
        let (client, link) = try world.busyClient()
        let holder = try world.world.connect()
        _ = try world.world.ask(holder, "WATCH", "k")
        world.post(.reconnect(pool: "main"))
        try world.run(until: "an answer") { world.answers == [.done(2)] }
        #expect(world.server.openLinks.count == 2)
        let other = try world.world.connect()
        #expect(try world.world.ask(other, "GET", "a") == aReply)
        #expect(link.commands.filter { $0 == ["GET", "a"] }.count == 1)
        link.release()
        try world.run(until: "its connection closes") { !link.isOpen }
        #expect(client.take() == slowReply)
        let held = try #require(world.server.link(with: "WATCH", "k"))
        #expect(held.isOpen)
        #expect(try world.world.ask(holder, "UNWATCH") == "+OK\r\n")
        try world.run(until: "the held one closes") { !held.isOpen }
        #expect(!client.isClosed && !holder.isClosed)
    }

    @Test("KILL CLIENT closes the client with this id, whatever it does")
    func killClient() throws {
        let world = try PausedWorld("maxOpen: 4")
        let (client, link) = try world.busyClient()
        world.post(.killClient(7))
        world.post(.killClient(1))
        try world.run(until: "answers") { world.answers == [.done(0), .done(1)] }
        try world.run(until: "it is closed") { client.isClosed }
        link.release()
        let other = try world.world.connect()
        #expect(try world.world.ask(other, "GET", "a") == aReply)
        #expect(world.server.links.count == 1)
    }
}

extension OperatorCloseTests {
    @Test("KILL UPSTREAM closes the one with this serial, and its clients")
    func killUpstream() throws {
        let world = try PausedWorld("maxOpen: 4")
        let (client, link) = try world.busyClient()
        let holder = try world.world.connect()
        _ = try world.world.ask(holder, "WATCH", "k")
        world.post(.killUpstream(7))
        world.post(.killUpstream(1))
        try world.run(until: "answers") { world.answers == [.done(0), .done(1)] }
        try world.run(until: "it is closed") { client.isClosed && link.hasEnded }
        #expect(try world.world.ask(holder, "UNWATCH") == "+OK\r\n")
        #expect(try world.world.ask(holder, "GET", "a") == aReply)
    }

    @Test("with onUpstreamLoss: error they get an error that says so")
    func killUpstreamError() throws {
        let world = try PausedWorld("maxOpen: 4", "onUpstreamLoss: error")
        let (client, _) = try world.busyClient()
        world.post(.killUpstream(1))
        try world.run(until: "an error") { client.text.hasSuffix("\r\n") }
        #expect(client.text.hasPrefix("-UPSTREAMLOST pool main: "))
        #expect(client.take().contains("(killed)"))
        #expect(try world.world.ask(client, "GET", "a") == aReply)
    }

    @Test("one that is being connected is given up, and another one takes its place")
    func killConnecting() throws {
        let world = try PausedWorld("maxOpen: 4", "connectTimeout: 60s", "poolTimeout: 60s")
        world.server.onAccept = { $0.isStopped = true }
        let client = try world.world.connect()
        client.send("GET", "a")
        try world.run(until: "it connects") { !world.server.links.isEmpty }
        world.settle()
        world.server.onAccept = { _ in }
        world.post(.killUpstream(1))
        try world.run(until: "a reply") { client.text == aReply }
        #expect(!client.isClosed)
    }
}

@Suite("The main thread's side of an operator's commands")
struct OperatorDeskTests {
    private let pause = OperatorRequest.pause(
        pool: "main", length: .seconds(60), closesHolders: false)

    @Test("a request is answered when the worker has answered")
    func answers() throws {
        let world = try PausedWorld("maxOpen: 4")
        let loop = try #require(EventLoop())
        let desk = try #require(OperatorDesk(loop: loop, group: world.world.group))
        var results: [OperatorResult] = []
        func run(until count: Int) throws {
            try world.run(until: "\(count) results") {
                #expect(loop.runOnce(waiting: false))
                return results.count == count
            }
        }
        let client = try world.world.connect()
        _ = try world.world.ask(client, "MULTI")
        desk.carryOut(pause) { results.append($0) }
        world.settle()
        desk.carryOut(pause) { results.append($0) }
        #expect(results.isEmpty)
        try run(until: 1)
        #expect(
            results == [.failed("BUSY another PAUSE of pool main is not answered yet")])
        desk.carryOut(.resume(pool: "main")) { results.append($0) }
        try run(until: 3)
        #expect(results.contains(.done("OK")))
        #expect(
            results.contains(
                .failed(
                    "RESUMED pool main was resumed before it was quiet, "
                        + "1 upstream busy: 1 in a transaction")))
        #expect(try world.world.ask(client, "EXEC") == "*0\r\n")
        desk.carryOut(pause) { results.append($0) }
        try run(until: 4)
        #expect(results[3] == .done("OK"))
        #expect(world.world.group.isPaused("main"))
        desk.carryOut(.killClient(1)) { results.append($0) }
        try run(until: 5)
        #expect(results[4] == .done("OK"))
    }

    @Test("a pause that fails has ended before it is answered")
    func takesBack() throws {
        let world = try PausedWorld("maxOpen: 4")
        let loop = try #require(EventLoop())
        let desk = try #require(OperatorDesk(loop: loop, group: world.world.group))
        let client = try world.world.connect()
        _ = try world.world.ask(client, "MULTI")
        var result: OperatorResult?
        let short = OperatorRequest.pause(
            pool: "main", length: .milliseconds(50), closesHolders: false)
        desk.carryOut(short) { result = $0 }
        try world.run(until: "a result") {
            #expect(loop.runOnce(waiting: false))
            return result != nil
        }
        #expect(
            result
                == .failed(
                    "TIMEOUT pool main was not quiet within 50ms and has resumed, "
                        + "1 upstream busy: 1 in a transaction"))
        #expect(!world.world.group.isPaused("main"))
    }

    @Test("a worker that does not answer is named, and finds nothing to pause later")
    func silence() throws {
        let world = try PausedWorld("maxOpen: 4")
        let loop = try #require(EventLoop())
        let desk = try #require(OperatorDesk(loop: loop, group: world.world.group))
        var result: OperatorResult?
        let short = OperatorRequest.pause(
            pool: "main", length: .milliseconds(1), closesHolders: false)
        desk.carryOut(short) { result = $0 }
        try eventually("a result") {
            #expect(loop.runOnce(waiting: false))
            return result != nil
        }
        #expect(
            result
                == .failed(
                    "TIMEOUT pool main was not quiet within 1ms and has resumed, "
                        + "no answer from worker 0"))
        world.settle()
        #expect(!world.world.group.isPaused("main"))
        let client = try world.world.connect()
        #expect(try world.world.ask(client, "GET", "a") == aReply)
    }
}

@Suite("What an operator is answered")
struct OperatorAnswerTests {
    private let pause = OperatorRequest.pause(
        pool: "main", length: .seconds(30), closesHolders: false)

    private func uses(_ uses: UpstreamUses.Use...) -> UpstreamUses {
        var sum = UpstreamUses()
        for use in uses { sum.count(use) }
        return sum
    }

    @Test("PAUSE counts what is held on all workers")
    func quiet() {
        #expect(pause.result(of: [.quiet(uses()), .quiet(uses())], silent: []) == .done("OK"))
        #expect(
            pause.result(of: [.quiet(uses(.subscribed))], silent: [])
                == .done("OK 1 upstream held: 1 subscribed"))
        #expect(
            pause.result(
                of: [.quiet(uses(.tracking, .subscribed)), .quiet(uses(.subscribed))], silent: [])
                == .done("OK 3 upstreams held: 2 subscribed, 1 tracking"))
    }

    @Test("PAUSE says what is still at work, and who is silent")
    func timeout() {
        let text = "TIMEOUT pool main was not quiet within 30000ms and has resumed"
        #expect(
            pause.result(
                of: [.ended(.expired, uses(.inTransaction, .blocked, .tracking))], silent: [])
                == .failed("\(text), 2 upstreams busy: 1 in a transaction, 1 blocked"))
        #expect(
            pause.result(of: [.quiet(uses())], silent: [1, 3])
                == .failed("\(text), no answer from worker 1 3"))
        #expect(
            pause.result(of: [.ended(.resumed, uses())], silent: [])
                == .failed("RESUMED pool main was resumed before it was quiet"))
    }

    @Test("the others say how many they have found")
    func others() {
        let resume = OperatorRequest.resume(pool: "main")
        #expect(resume.result(of: [.done(1), .done(0)], silent: []) == .done("OK"))
        #expect(
            resume.result(of: [.done(0)], silent: [])
                == .failed("NOTPAUSED pool main is not paused"))
        #expect(
            resume.result(of: [.done(1)], silent: [1])
                == .done("OK, no answer from worker 1"))
        let reconnect = OperatorRequest.reconnect(pool: "main")
        #expect(
            reconnect.result(of: [.done(1), .done(0)], silent: [])
                == .done("OK 1 upstream retires when free"))
        #expect(
            OperatorRequest.killClient(4).result(of: [.done(0)], silent: [2])
                == .failed("ERR no client has the id 4, no answer from worker 2"))
        #expect(OperatorRequest.killUpstream(4).result(of: [.done(1)], silent: []) == .done("OK"))
    }
}
