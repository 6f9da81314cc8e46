import TestSupport
import Topology

// A client with commands in flight on several nodes, around one `ReplyOrder`. The nodes answer in
// any order and in pieces, refuse commands, and the client may leave. All from one seed.

/// One seeded run. `failure` says what went wrong first; after that nothing more happens.
final class OrderWorld {
    /// A command in flight on a node.
    struct Owed {
        let place: UInt32
        let reply: [UInt8]
        let isSilent: Bool
        let isPart: Bool
        /// Its entry in the queue of its upstream has no other place.
        var isLone = false
        /// How much of the reply has come.
        var sent = 0

        /// `takeRun` takes it.
        var isUsual: Bool {
            !isSilent && !isPart && sent == 0 && reply.count <= 1024
                && reply.first != UInt8(ascii: "-")
        }
    }

    struct Held {
        let place: UInt32
        /// What the order keeps of it.
        let command: [UInt8]
        let isSilent: Bool
        let isPart: Bool
    }

    static let nodes: UInt32 = 4

    let seed: UInt64
    var random: SeededRandom
    var order: ReplyOrder
    var owed: [[Owed]] = Array(repeating: [], count: Int(OrderWorld.nodes))
    var held: [Held] = []
    /// The replies of the parts, by place.
    var parts: [UInt32: [UInt8]] = [:]
    /// The replies to commands that are held, by place.
    var waiting: [UInt32: [UInt8]] = [:]
    /// The parts of a gather, by its first place; nil once it has been dropped.
    var gathers: [UInt32: Int] = [:]
    var dropped: Set<UInt32> = []
    var silentGathers: Set<UInt32> = []
    /// What the client has to get: for each place from `base` on its reply.
    var expected: [[UInt8]] = []
    var base: UInt32 = 0
    /// How much of the first one it has got.
    var got = 0
    var scratch: [UInt8] = []
    var steps = 0
    var replies = 0
    var runs = 0
    var moves = 0
    var merges = 0
    var ends = 0
    var failure: String?

    init(seed: UInt64) {
        self.seed = seed
        // Streams of neighbouring seeds are the same but for one number.
        random = SeededRandom(seed: seed &* 0xD6E8_FEB8_6659_FD93)
        order = ReplyOrder(open: 0, on: 0)
    }

    func run(steps wanted: Int) {
        begin()
        while steps < wanted, failure == nil {
            step()
            check()
        }
        while failure == nil, !order.isOver {
            if random.chance(30) { release() } else { answerSomething() }
            check()
        }
        if failure == nil { checkEnd() }
    }

    /// A client with commands in flight on one node gets one on another.
    func begin() {
        let open = random.below(6)
        let hasBegun = open > 0 && random.chance(30)
        if order.isOver, random.chance(50) {
            order.begin(open: open, on: 0, hasBegun: hasBegun)
        } else {
            order = ReplyOrder(open: open, on: 0, hasBegun: hasBegun)
        }
        owed = Array(repeating: [], count: Int(OrderWorld.nodes))
        (held, parts, waiting, gathers) = ([], [:], [:], [:])
        (dropped, silentGathers) = ([], [])
        (expected, base, got) = ([], 0, 0)
        for place in 0..<UInt32(open) {
            let reply = newReply()
            let isSilent = place > 0 && random.chance(10)
            if isSilent { order.describe(place, slot: 7, isSilent: true) }
            owed[0].append(Owed(place: place, reply: reply, isSilent: isSilent, isPart: false))
            expected.append(isSilent ? [] : reply)
        }
        if hasBegun {
            owed[0][0].sent = 1 + random.below(owed[0][0].reply.count - 1)
            got = owed[0][0].sent
        }
    }

    func newReply() -> [UInt8] {
        switch random.below(100) {
        case ..<10: Array("+OK\r\n".utf8)
        case ..<20: Array("-ERR no\r\n".utf8)
        case ..<40: bytes(4 + random.below(8))
        case ..<70: bytes(20 + random.below(60))
        case ..<92: bytes(100 + random.below(900))
        case ..<99: bytes(1000 + random.below(9000))
        default: bytes(30_000 + random.below(35_000))
        }
    }

    /// A bulk string.
    private func bytes(_ count: Int) -> [UInt8] {
        let start = random.below(OrderWorld.row.count - count)
        return Array("$\(count)\r\n".utf8) + OrderWorld.row[start..<(start + count)]
            + Array("\r\n".utf8)
    }

    /// Replies are pieces of this: to make each one anew takes long.
    private static let row: [UInt8] = {
        var random = SeededRandom(seed: 0)
        return (0..<131_072).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }()

    private func step() {
        steps += 1
        switch random.below(1000) {
        case ..<250 where expected.count < 60: open()
        case ..<280 where expected.count < 60: openGather()
        case ..<290: openAnswered()
        case ..<400: refuse()
        case ..<500: release()
        case ..<503 where !gathers.isEmpty: dropParts()
        case ..<504: leave()
        default: answerSomething()
        }
        if order.isOver, failure == nil {
            checkEnd()
            ends += 1
            begin()
        }
    }

    // MARK: What the client gets

    /// What the shell does after each answer.
    func passOn(_ way: ReplyWay, _ bytes: ArraySlice<UInt8>) {
        switch way {
        case .pass: receive(bytes)
        case .parked: break
        case .gathered(let lead): merge(lead)
        case .mismatch: return fail("a reply has no place")
        }
        drain()
    }

    func drain() {
        while order.isReady, failure == nil {
            scratch.removeAll(keepingCapacity: true)
            order.drain(into: &scratch)
            receive(scratch[...])
        }
    }

    func receive(_ bytes: ArraySlice<UInt8>) {
        var position = bytes.startIndex
        while position < bytes.endIndex {
            guard let reply = expected.first else { return fail("bytes that nobody waits for") }
            let count = min(reply.count - got, bytes.endIndex - position)
            guard reply[got..<(got + count)] == bytes[position..<(position + count)] else {
                return fail("other bytes at \(got) of place \(base)")
            }
            got += count
            position += count
            if got == reply.count { forget() }
        }
    }

    /// The first reply has come.
    private func forget() {
        expected.removeFirst()
        base &+= 1
        got = 0
        replies += 1
    }

    private func merge(_ lead: UInt32) {
        merges += 1
        guard let count = gathers.removeValue(forKey: lead) else {
            return fail("an unknown gather")
        }
        var merged = Array("*\(count)\r\n".utf8)
        var replies: [UInt8] = []
        let taken = order.takeParts(of: lead, into: &replies)
        if (taken == nil) != dropped.contains(lead) { return fail("takes parts: \(taken != nil)") }
        for part in 0..<UInt32(count) {
            guard let reply = parts.removeValue(forKey: lead &+ part) else {
                return fail("an unknown part")
            }
            if let taken {
                let start = part == 0 ? 0 : taken[Int(part) - 1]
                guard replies[start..<taken[Int(part)]] == reply[...] else {
                    return fail("another reply of a part")
                }
            }
            merged += reply
        }
        if taken == nil { merged = Array("-ERR too large\r\n".utf8) }
        expect(silentGathers.contains(lead) ? [] : merged, of: lead)
        passOn(order.answer(merged.span, for: lead), merged[...])
    }

    func expect(_ reply: [UInt8], of place: UInt32) {
        expected[Int(place &- base)] = reply
    }

    // MARK: What must hold

    private func check() {
        // Replies without bytes go out unseen.
        while let reply = expected.first, reply.isEmpty, base != order.first { forget() }
        guard failure == nil else { return }
        if order.first != base { return fail("begins with \(order.first), not \(base)") }
        if order.count != expected.count { return fail("\(order.count) places") }
        if order.heldCount != held.count { return fail("\(order.heldCount) held") }
        for node in 0..<OrderWorld.nodes where order.open(on: node) != owed[Int(node)].count {
            return fail("\(order.open(on: node)) open on node \(node)")
        }
        let kept = held.reduce(0) { $0 + 600 + 9 * $1.command.count }
        let parked = expected.reduce(0) { $0 + 600 + 9 * $1.count }
        let inParts = parts.values.reduce(0) { $0 + 600 + 9 * $1.count }
        if order.memory > kept + parked + inParts + 64 * 128 {
            fail("keeps \(order.memory) bytes")
        }
    }

    private func checkEnd() {
        while let reply = expected.first, reply.isEmpty { forget() }
        if !expected.isEmpty { fail("\(expected.count) replies are missing") }
        if order.memory != 0 { fail("keeps \(order.memory) bytes at the end") }
        if order.heldCount != 0 { fail("holds \(order.heldCount) at the end") }
    }

    func fail(_ what: String) {
        guard failure == nil else { return }
        failure = "seed \(seed), step \(steps): \(what)"
    }
}
