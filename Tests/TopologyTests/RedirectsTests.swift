import Pool
import RESP
import TestSupport
import Testing
import Topology

@Suite("What nodes refuse")
struct NodeRefusalTests {
    private let asked = NodeAddress.test(1, 1)

    private func read(_ line: String) -> NodeRefusal? {
        NodeRefusal(Array((line + "\r\n").utf8), from: asked)
    }

    private func address(_ host: String, _ port: UInt16) throws -> NodeAddress {
        try #require(NodeAddress(host: Array(host.utf8), port: port))
    }

    @Test("MOVED and ASK, with all forms of hosts")
    func targets() throws {
        #expect(
            read("-MOVED 3999 127.0.0.1:6381")
                == .moved(slot: 3999, to: try address("127.0.0.1", 6381)))
        #expect(read("-ASK 0 ::1:7") == .ask(slot: 0, to: try address("::1", 7)))
        #expect(
            read("-MOVED 16383 node-1.example.com:6379")
                == .moved(slot: 16383, to: try address("node-1.example.com", 6379)))
        #expect(read("-MOVED 1 :6400") == .moved(slot: 1, to: try address("10.0.1.1", 6400)))
        #expect(read("-ASK 1 ?:6400") == .ask(slot: 1, to: try address("10.0.1.1", 6400)))
    }

    @Test("the other words")
    func words() {
        #expect(read("-TRYAGAIN Multiple keys request during rehashing of slot") == .tryAgain)
        #expect(read("-CLUSTERDOWN Hash slot not served") == .clusterDown)
        #expect(read("-CLUSTERDOWN") == .clusterDown)
        #expect(read("-READONLY You can't write against a read only replica.") == .notServing)
        #expect(read("-LOADING Redis is loading the dataset in memory") == .notServing)
        #expect(read("-MASTERDOWN Link with MASTER is down") == .notServing)
    }

    @Test(
        "what is not understood to its last byte is none",
        arguments: [
            "-MOVED", "-MOVED ", "-MOVED 1", "-MOVED 1 ", "-MOVED 1 10.0.0.1", "-MOVED 1 a:",
            "-MOVED 1 a:0", "-MOVED 1 a:65536", "-MOVED 1 a:+5", "-MOVED 16384 a:1",
            "-MOVED -1 a:1", "-MOVED 01 a:1", "-MOVED 1  a:1", "-MOVED 1 a:1 ", "-MOVED 1 a:1 b",
            "-moved 1 a:1", "-MOVED  1 a:1", "-MOVEDx 1 a:1", "+MOVED 1 a:1", "MOVED 1 a:1",
            "-MOVED 1 \u{7f}:1", "-ASK 1 a:1\r\n+OK", "-TRYAGAINx", "-CLUSTERDOWNS x", "-ERR x",
            "-READONLYx", "-", "", "$5\r\n-MOVED",
            "-MOVED 1 \(String(repeating: "a", count: 256)):1",
            "-TRYAGAIN \(String(repeating: "a", count: 400))",
        ])
    func strange(line: String) {
        #expect(read(line) == nil)
    }

    @Test("a line that is a refusal has a head that may begin one")
    func heads() {
        for (line, mayBe) in [
            ("-MOVED 3999 127.0.0.1:6381", true), ("-ASK 1 a:1", true), ("-TRYAGAIN x", true),
            ("-CLUSTERDOWN Hash", true), ("-CLUSTERDOWN", true), ("-LOADING x", true),
            ("-ERR x", false), ("-TRYAGAINx", false), ("-MOVEDx 1 a:1", false),
        ] {
            var scanner = ReplyScanner()
            _ = scanner.scan(Array((line + "\r\n").utf8).span, from: 0)
            #expect(NodeRefusal.mayBegin(with: scanner.head) == mayBe, "\(line)")
        }
    }

    @Test("no bytes trap", arguments: 0..<4)
    func damaged(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let whole = Array("-MOVED 3999 127.0.0.1:6381\r\n".utf8)
        for _ in 0..<2000 {
            var line = whole
            for _ in 0..<(1 + random.below(3)) {
                line[random.below(line.count)] = UInt8(truncatingIfNeeded: random.next())
            }
            line.removeLast(random.below(line.count))
            if case .moved(let slot, _)? = NodeRefusal(line, from: asked) {
                #expect(slot < 16384)
            }
        }
    }
}

@Suite("What becomes of refused commands")
struct RedirectsTests {
    /// A client with commands for slot 7 in flight on node 1, the first one refused.
    private final class Script {
        var order = ReplyOrder(open: 0, on: 1)
        var redirects = Redirects(patience: .milliseconds(500))
        var now = MonotonicTime(nanoseconds: .seconds(1000))
        var command = RefusedCommand(place: 0)

        init(slots: [UInt16] = [7]) {
            for slot in slots { _ = order.open(slot: slot, on: 1) }
        }

        func judge(_ refusal: NodeRefusal, to node: UInt32? = 2) -> RedirectAction {
            redirects.judge(refusal, of: command, to: node, in: order, version: 1, now: now)
        }

        func next(version: UInt64 = 1) -> HeldCommand? {
            redirects.next(in: order, version: version, now: now)
        }

        func deadline() -> MonotonicTime? { redirects.nextDeadline(in: order, now: now) }

        func move(_ place: UInt32, to node: UInt32) -> Bool { order.move(place, to: node) }

        func hold(_ place: UInt32) -> Bool { order.hold(place, command: [7].span) }

        func send(_ place: UInt32, to node: UInt32) -> [UInt8]? {
            var command: [UInt8] = []
            return order.send(place, to: node, into: &command) ? command : nil
        }

        func take(_ place: UInt32, isComplete: Bool = true) -> ReplyWay {
            order.take([43].span, of: place, isComplete: isComplete)
        }

        func answer(_ place: UInt32) -> ReplyWay { order.answer([45].span, for: place) }
    }

    private let moved = NodeRefusal.moved(slot: 7, to: .test(1, 2))
    private let ask = NodeRefusal.ask(slot: 7, to: .test(1, 2))

    @Test("MOVED and ASK are followed five times in a row, the last three after pauses")
    func inARow() {
        let script = Script()
        for number in 0..<5 {
            let isAsk = number % 2 == 1
            let action = script.judge(isAsk ? ask : moved)
            guard number >= 2 else {
                #expect(action == .send(to: 2, asking: isAsk))
                #expect(script.move(0, to: 2))
                continue
            }
            #expect(action == .hold)
            #expect(script.hold(0))
            #expect(script.next() == nil)
            let due = script.now + Int64.milliseconds(10) << Int64(number - 2)
            #expect(script.deadline() == due)
            script.now = due
            #expect(script.next() == HeldCommand(place: 0, node: 2, asking: isAsk))
            #expect(script.send(0, to: 2) == [7])
        }
        #expect(script.judge(moved) == .answer(.keepsMoving(slot: 7)))
        #expect(
            RedirectEnd.keepsMoving(slot: 15495).text(pool: "main")
                == "CLUSTERDOWN pool main: slot 15495 keeps moving (5 redirects)")
    }

    @Test("what cannot be sent again is not followed")
    func notKept() {
        let script = Script()
        script.command.canBeSent = false
        #expect(script.judge(moved) == .answer(.notKept(slot: 7)))
        #expect(script.judge(.tryAgain) == .relay)
        #expect(script.judge(.clusterDown) == .relay)
        #expect(
            RedirectEnd.notKept(slot: 15495).text(pool: "main")
                == "TRYAGAIN pool main: slot 15495 has moved; the command did not run")
        let begun = Script()
        #expect(begun.take(0, isComplete: false) == .pass)
        #expect(begun.judge(moved) == .answer(.notKept(slot: 7)))
    }

    @Test("no room for another node")
    func noRoom() {
        #expect(Script().judge(moved, to: nil) == .answer(.tooManyNodes(slot: 7, .test(1, 2))))
        #expect(
            RedirectEnd.tooManyNodes(slot: 7, .test(1, 2)).text(pool: "main")
                == "CLUSTERDOWN pool main: slot 7 has moved to 10.0.1.2:6102, "
                + "and maxNodes are known already")
    }

    @Test("another slot than the command's is not believed", arguments: [8, PlaceSlot.none])
    func otherSlot(slot: UInt16) {
        #expect(Script(slots: [slot]).judge(moved) == .relay)
        #expect(Script(slots: [PlaceSlot.unknown]).judge(moved) == .send(to: 2, asking: false))
    }

    @Test("TRYAGAIN pauses 10, 20 ... 320 ms, until poolTimeout is over")
    func pauses() throws {
        let script = Script()
        var pauses: [Int64] = []
        while script.judge(.tryAgain, to: nil) == .hold {
            #expect(script.hold(0))
            #expect(script.next() == nil)
            let at = try #require(script.deadline())
            pauses.append((at - script.now) / 1_000_000)
            script.now = at
            #expect(script.next() == HeldCommand(place: 0, node: 1, asking: false))
            #expect(script.send(0, to: 1) == [7])
        }
        // 640 ms would be too long.
        #expect(pauses == [10, 20, 40, 80, 160])
    }

    @Test("CLUSTERDOWN waits for 50 ms or another map, and goes to the owner")
    func down() {
        let script = Script()
        #expect(script.judge(.clusterDown, to: nil) == .hold)
        #expect(script.hold(0))
        #expect(script.next() == nil)
        #expect(script.next(version: 2) == HeldCommand(place: 0, node: nil, asking: false))
        script.now = script.now + .milliseconds(50)
        #expect(script.next() == HeldCommand(place: 0, node: nil, asking: false))
    }

    @Test("what may be executed later than its followers is not tried again")
    func later() {
        #expect(Script(slots: [7, 7]).judge(.tryAgain) == .relay)
        #expect(Script(slots: [7, PlaceSlot.unknown]).judge(.clusterDown) == .relay)
        #expect(Script(slots: [7, 8, PlaceSlot.none]).judge(.tryAgain) == .hold)
    }

    @Test("a command does not overtake one before it that is elsewhere")
    func earlier() {
        let script = Script(slots: [7, 8, 7])
        #expect(script.judge(ask) == .send(to: 2, asking: true))
        #expect(script.move(0, to: 2))
        script.command = RefusedCommand(place: 2)
        #expect(script.judge(moved, to: 3) == .hold)
        #expect(script.hold(2))
        #expect(script.next() == nil)
        #expect(script.take(0) == .pass)
        #expect(script.next() == HeldCommand(place: 2, node: 3, asking: false))
        #expect(script.answer(2) == .parked)
        #expect(script.next() == nil)
    }

    @Test("a replica that cannot answer sends to the primary once")
    func replica() {
        #expect(Script().judge(.notServing) == .relay)
        let script = Script()
        script.command.isByReplica = true
        #expect(script.judge(.notServing) == .send(to: 2, asking: false))
        #expect(script.move(0, to: 2))
        #expect(script.judge(.notServing) == .relay)
    }

    @Test("what a script may have made up is confirmed first")
    func confirm() {
        let script = Script()
        script.command.mayMakeUpErrors = true
        #expect(script.judge(moved) == .confirm(asking: false))
        script.command.isConfirmed = true
        #expect(script.judge(ask) == .send(to: 2, asking: true))
        #expect(script.move(0, to: 2))
        script.command.isConfirmed = false
        #expect(script.judge(.tryAgain) == .confirm(asking: true))
        script.command.canBeSent = false
        #expect(script.judge(moved) == .relay)
    }

    @Test("what was not received goes to the owner")
    func notReceived() {
        let script = Script(slots: [7, 7])
        #expect(script.judge(.notReceived) == .send(to: 2, asking: false))
        script.command = RefusedCommand(place: 1)
        #expect(script.judge(.notReceived) == .hold)
        script.now = script.now + .milliseconds(500)
        #expect(script.judge(.notReceived) == .relay)
    }

    @Test("a client sends under one map at a time")
    func versions() {
        var sent = SentVersion()
        let answers = [(4, 0), (4, 1), (5, 1), (5, 2), (5, 0)].map { version, inFlight in
            sent.maySend(under: UInt64(version), inFlight: inFlight)
        }
        #expect(answers == [true, true, false, false, true])
    }

    /// scripts/simulate runs many more.
    @Test("while slots move, each command runs once and in order", arguments: 0..<50)
    func simulation(seed: UInt64) {
        let world = RedirectWorld(seed: seed)
        world.run(steps: 2000)
        #expect(world.failure == nil)
    }

    @Test(
        "without one of the rules the order breaks",
        arguments: [RedirectWorld.Broken.versions, .later, .earlier])
    func broken(rule: RedirectWorld.Broken) {
        let found = (0..<UInt64(50)).contains { seed in
            let world = RedirectWorld(seed: seed, broken: rule)
            world.run(steps: 2000)
            return world.failure?.contains("runs behind") == true
        }
        #expect(found)
    }
}
