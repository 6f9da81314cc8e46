import Pool
import RESP
import Session
import Telemetry
import TestSupport
import Testing

@testable import Proxy

extension SeededRandom {
    fileprivate mutating func pick<Element>(_ all: [Element]) -> Element? {
        all.isEmpty ? nil : all[below(all.count)]
    }
}

extension World {
    var metrics: PoolMetrics { worker.metrics.pools[0] }
}

/// What holds of the numbers of a pool at any moment.
private func expectIdentities(_ metrics: PoolMetrics, _ comment: Comment? = nil) {
    let closed = metrics.clientsClosed.reduce(0, +)
    #expect(metrics.accepted == UInt64(metrics.clients) + closed, comment)
    let ended = metrics.upstreams.closed.reduce(0, +)
    #expect(metrics.upstreams.opened == UInt64(metrics.census.open) + ended, comment)
    #expect(metrics.leases.atOnce + metrics.leasesWaited == metrics.allWaits, comment)
}

/// No total is less than before.
private func expectGrowth(_ before: PoolMetrics, _ after: PoolMetrics) {
    func totals(_ metrics: PoolMetrics) -> [UInt64] {
        [
            metrics.accepted, metrics.bytes.fromClients, metrics.bytes.toClients,
            metrics.bytes.fromServer, metrics.bytes.toServer, metrics.commands.all,
            metrics.commands.retriedShared, metrics.commands.retriedPinned,
            metrics.leases.atOnce, metrics.leases.refused, metrics.leases.left,
            metrics.upstreams.opened, metrics.upstreams.connected,
            metrics.upstreams.probesAnswered, metrics.upstreams.probesFailed,
            metrics.waits.count, metrics.replies.count, metrics.dials.count, metrics.waits.sum,
            metrics.replies.sum, metrics.dials.sum,
        ] + metrics.clientsClosed + metrics.refused + metrics.errorReplies
            + metrics.upstreams.closed
    }
    #expect(zip(totals(before), totals(after)).allSatisfy { $0 <= $1 })
}

@Suite("What a worker counts")
struct MetricsTests {
    @Test("commands, bytes, times and error replies of one client")
    func ordinary() throws {
        let world = try World("maxOpen: 2")
        let client = try world.connect()
        _ = try world.ask(client, "GET", "a")
        let before = world.metrics
        _ = try world.ask(client, "GET", "b")
        _ = try world.ask(client, "AUTH", "bad")
        _ = try world.ask(client, "ECHO", "hello")
        let after = world.metrics
        #expect(after.replies.count - before.replies.count == 3)
        #expect(after.errorReplies[Int(ErrorWord.WRONGPASS.rawValue)] == 1)
        #expect(after.errorReplies.reduce(0, +) == 1)
        let sent = array(["GET", "b"]) + array(["AUTH", "bad"]) + array(["ECHO", "hello"])
        #expect(after.bytes.fromClients - before.bytes.fromClients == UInt64(sent.count))
        #expect(after.commands.all - before.commands.all == 3)
        #expect(after.commands.shared >= 2)
        #expect(after.bytes.toServer > before.bytes.toServer)
        #expect(after.bytes.toClients > before.bytes.toClients)
        #expect(after.dials.count == after.upstreams.connected)
        expectIdentities(after)
    }

    @Test("each command of a block and of a run has its time, and counts as one")
    func pipelines() throws {
        let world = try World("maxOpen: 2")
        let client = try world.connect()
        _ = try world.ask(client, "GET", "a")
        let before = world.metrics
        client.send(
            array(["MULTI"]) + array(["GET", "b"]) + array(["GET", "c"]) + array(["EXEC"]))
        try world.run(until: "the block") { client.text.contains("value of c") }
        client.send((0..<20).flatMap { array(["GET", "\($0)"]) })
        try world.run(until: "the run") { client.text.contains("value of 19") }
        let after = world.metrics
        #expect(after.commands.shared - before.commands.shared == 24)
        #expect(after.replies.count - before.replies.count == 24)
    }

    @Test("a command that blocks has no time of a reply, and its wait for an upstream counts")
    func blocking() throws {
        let world = try World(
            "maxOpen: 2", "maxPinned: 1", "slowLog: 1ms", "poolTimeout: 60s")
        let (first, second) = (try world.connect(), try world.connect())
        _ = try world.ask(first, "GET", "a")
        _ = try world.ask(first, "GET", "b")
        let replies = world.metrics.replies.count
        first.send("BLPOP", "list", "0")
        try world.run(until: "it blocks") { world.census.pinned == 1 }
        second.send("BLPOP", "list", "0")
        try world.run(until: "the other waits") { world.metrics.census.waiting == 1 }
        let link = try #require(world.server.link(with: "BLPOP", "list", "0"))
        let began = world.worker.now
        try world.run(until: "some time") {
            // Nothing else happens that would have the worker read the clock.
            world.tick()
            return world.worker.now - began > .milliseconds(2)
        }
        link.say("*-1\r\n")
        try world.run(until: "its reply") { first.text == "*-1\r\n" }
        try world.run(until: "the other blocks") { world.metrics.leasesWaited >= 1 }
        #expect(world.metrics.replies.count == replies)
        #expect(world.metrics.leases.atOnce >= 1)
        link.say("*-1\r\n")
        try world.run(until: "its reply") { second.text == "*-1\r\n" }
        #expect(world.metrics.replies.count == replies)
        expectIdentities(world.metrics)
    }

    @Test("who leaves or is refused while waiting is counted, and is in the slow log")
    func waiters() throws {
        let world = try World(
            "maxOpen: 2", "maxPinned: 1", "poolTimeout: 1s", "slowLog: 1ms")
        let (first, second) = (try world.connect(), try world.connect())
        first.send("BLPOP", "list", "0")
        try world.run(until: "it blocks") { world.census.pinned == 1 }
        second.send("BLPOP", "secret", "0")
        var found: (metrics: PoolMetrics, rows: [ErrorRow], slow: [SlowCommand])?
        try world.reallyRun(until: "a refusal") {
            guard second.text.hasPrefix("-PINLIMIT pool main") else { return false }
            let worker = world.worker
            found = (world.metrics, worker.errorRows(of: nil), worker.slowCommands(of: "main"))
            return true
        }
        let (metrics, rows, slow) = try #require(found)
        #expect(metrics.refused[Int(RefusedReason.pin_limit.rawValue)] == 1)
        #expect(metrics.leases.refused == 1)
        let row = try #require(rows.first { $0.kind == .refused })
        #expect(row.word == "pin_limit" && row.count == 1)
        #expect(row.text.hasPrefix("PINLIMIT pool main"))
        let refused = try #require(slow.first { $0.reason == "pin_limit" })
        #expect(refused.command == "blpop" && refused.client == 2)
        #expect(refused.wait >= .seconds(1) && refused.reply == nil)
    }

    @Test("a slow reply is in the slow log with its command")
    func slowReply() throws {
        let world = try World("maxOpen: 2", "slowLog: 5ms")
        let client = try world.connect()
        _ = try world.ask(client, "CLIENT", "SETNAME", "app")
        _ = try world.ask(client, "GET", "quick")
        let link = try #require(world.server.link(with: "GET", "quick"))
        link.withheld = "slow"
        client.send(array(["HGET", "slow", "secret"]) + array(["GET", "slower"]))
        try world.run(until: "they are sent") { link.count(of: "GET", "slower") == 1 }
        let began = world.worker.now
        try world.run(until: "some time") {
            world.tick()
            return world.worker.now - began > .milliseconds(6)
        }
        link.release()
        try world.run(until: "the replies") { client.text.contains("value of slower") }
        // On a busy machine any of the others can be slow as well.
        let slow = world.worker.slowCommands(of: nil).filter { $0.command == "hget" }
        try #require(slow.count == 1)
        #expect(slow[0].others == 1)
        #expect(slow[0].name == utf8("app") && slow[0].client == 1)
        #expect(try #require(slow[0].reply) >= .milliseconds(5))
        #expect(slow[0].reason == "")
    }

    @Test("the slow log keeps the last 256")
    func ring() {
        var log = SlowLog(limit: .milliseconds(1))
        for number in 1...300 {
            log.add(
                SlowLog.Entry(
                    at: at(Double(number)), client: UInt64(number), command: .get, reply: 1))
        }
        let kept = log.commands(of: "main", table: CommandTable())
        #expect(kept.map(\.client) == Array(45...300))
        #expect(!SlowLog(limit: 0).isSlow(.max))
    }

    @Test("what the server refuses to say twice is not kept: the table of errors has no reply")
    func errorsHaveNoKeys() throws {
        let world = try World("maxOpen: 2")
        let client = try world.connect()
        _ = try world.ask(client, "NOSUCH", "secret")
        client.finish()
        try world.run(until: "it has left") { world.metrics.clients == 0 }
        let rows = world.worker.errorRows(of: nil)
        #expect(rows.contains { $0.kind == .reply && $0.word == "ERR" && $0.text == "" })
        #expect(rows.contains { $0.kind == .client && $0.word == "client_closed" })
        #expect(!rows.contains { $0.text.contains("secret") })
    }

    @Test("an upstream that is lost has its words, and lost commands are counted")
    func lost() throws {
        let world = try World("maxOpen: 1", "onUpstreamLoss: error")
        let client = try world.connect()
        _ = try world.ask(client, "GET", "a")
        let link = world.server.links[0]
        link.withheld = "b"
        client.send(array(["GET", "b"]) + array(["GET", "c"]))
        try world.run(until: "it has them") { link.count(of: "GET", "c") == 1 }
        link.close()
        try world.run(until: "errors") { client.text.contains("UPSTREAMLOST") }
        let metrics = world.metrics
        #expect(metrics.refused[Int(RefusedReason.upstream_lost.rawValue)] == 2)
        #expect(metrics.upstreams.closed[Int(CloseReason.upstreamClosed.rawValue)] == 1)
        let row = try #require(
            world.worker.errorRows(of: "main").first { $0.kind == .upstream })
        #expect(row.word == "upstream_closed" && row.text == "the server closed the connection")
        expectIdentities(metrics)
    }

    @Test("the identities hold and no total falls, whatever happens", arguments: 1...6)
    func chaos(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let world = try World(
            "maxOpen: 3", "maxPinned: 2", "poolTimeout: 5ms",
            "onUpstreamLoss: \(seed % 2 == 0 ? "error" : "close")")
        var before = world.metrics
        for _ in 0..<300 {
            switch random.below(12) {
            case 0...2: _ = try world.connect()
            case 3: random.pick(world.clients)?.send("BLPOP", "list", "0")
            case 4: random.pick(world.clients)?.send("MULTI")
            case 5: random.pick(world.clients)?.send("SUBSCRIBE", "news")
            case 6: random.pick(world.clients)?.finish()
            case 7 where random.chance(30): random.pick(world.server.openLinks)?.close()
            case 8 where random.chance(30): random.pick(world.server.openLinks)?.reset()
            case 9: random.pick(world.clients)?.send(utf8("*1\r\n$1\r\nxx\r\n"))
            default:
                let count = 1 + random.below(20)
                random.pick(world.clients)?.send(
                    (0..<count).flatMap { array(["GET", "\($0)"]) })
            }
            for _ in 0...random.below(3) { world.turn() }
            if random.chance(20) { for pool in world.worker.pools { pool.tick() } }
            let after = world.metrics
            expectIdentities(after, "seed \(seed)")
            expectGrowth(before, after)
            before = after
        }
        #expect(before.clients < before.accepted)
    }

    @Test("the numbers of several workers are added")
    func merging() throws {
        let (one, other) = (try World("maxOpen: 2"), try World("maxOpen: 2"))
        for (world, count) in [(one, 3), (other, 5)] {
            let client = try world.connect()
            for number in 0..<count { _ = try world.ask(client, "GET", "\(number)") }
        }
        let (left, right) = (one.metrics, other.metrics)
        var sum = left
        sum.add(right)
        #expect(sum.clients == 2 && sum.accepted == 2)
        #expect(sum.replies.count == 8 && sum.commands.all == 8)
        #expect(sum.bytes.toServer == left.bytes.toServer + right.bytes.toServer)
        #expect(sum.upstreams.opened == left.upstreams.opened + right.upstreams.opened)
        expectIdentities(sum)
        let rows = ErrorRow.merged(
            one.worker.errorRows(of: nil) + other.worker.errorRows(of: nil))
        #expect(Set(rows.map(\.word)).count == rows.count)
    }
}

@Suite("Times of replies")
struct ReplyTimesTests {
    @Test("they are counted as a histogram counts them")
    func cells() {
        var (times, histogram) = (ReplyTimes(), LatencyHistogram())
        for microseconds: UInt32 in [0, 1, 7, 66, 1000, 70_000, .max] {
            times.count(microseconds, times: 3)
            times.lengthen(to: microseconds)
            for _ in 0..<3 { histogram.record(microseconds: microseconds) }
        }
        let counted = times.histogram
        #expect(counted.count == 21 && counted.sum == histogram.sum)
        #expect(counted.maximum == histogram.maximum)
        // 0 counts as 4.
        for exponent in 3...63 {
            #expect(counted.count(below: exponent) == histogram.count(below: exponent))
        }
    }
}

@Suite("Words of error replies")
struct ErrorWordTests {
    @Test("a word of the list counts as itself, any other as other")
    func words() throws {
        #expect(ErrorWord.allCases.count == 21)
        for (text, word) in [
            ("-ERR no\r\n", ErrorWord.ERR), ("-WRONGTYPE x\r\n", .WRONGTYPE),
            ("-EXECABORT\r\n", .EXECABORT), ("-CLUSTERDOWN a b\r\n", .CLUSTERDOWN),
            ("-ERRR no\r\n", .other), ("-err no\r\n", .other), ("-\r\n", .other),
            ("-CLUSTERDOWNANDMORETHANTHAT\r\n", .other), ("!3\r\nERR\r\n", .other),
        ] {
            var scanner = ReplyScanner()
            #expect(scanner.scan(utf8(text).span, from: 0) == .complete(end: text.utf8.count))
            #expect(ErrorWord(scanner.head) == word, "\(text)")
        }
    }

    @Test("all reasons of refused leases are reasons of refused commands")
    func refusals() {
        for refusal in Refusal.allCases {
            #expect(RefusedReason(word: refusal.word)?.word == refusal.word)
        }
        #expect(RefusedReason(word: "other") == nil)
    }
}
