import Pool
import TestSupport
import Topology

// A cluster whose slots move, and clients that send pipelines to it by a map that may be old, as
// the proxy does: with `ReplyOrder`, `Redirects` and `SentVersion`. All from one seed.

/// One seeded run. `failure` says what went wrong first; after that nothing more happens.
final class RedirectWorld {
    /// A rule that is switched off: then the order has to break.
    enum Broken: CaseIterable {
        case nothing
        /// Clients send under any map.
        case versions
        /// TRYAGAIN and CLUSTERDOWN are tried again although later commands are open.
        case later
        /// A refused command goes to another node at once, whatever is open before it.
        case earlier
    }

    struct Command: Equatable {
        let client: Int
        let number: Int
        let slot: Int
        /// One or two keys of the slot.
        let keys: [Int]
        var place: UInt32 = 0
        var asking = false
        var isScript = false
        /// EXISTS with the same keys.
        var isQuestion = false
    }

    final class Client {
        var order = ReplyOrder(open: 0, on: 0)
        var redirects = Redirects(patience: RedirectWorld.patience)
        var version = SentVersion()
        /// In flight or held, by place.
        var open: [UInt32: Command] = [:]
        /// The replies that the client has to get, by place from `base` on; nil: not known yet.
        var expected: [[UInt8]?] = []
        var base: UInt32 = 0
        /// What it has got of the first of them.
        var output: [UInt8] = []
        var sent = 0
        /// First answers to scripts, while the node is asked whether it means them.
        var doubted: [UInt32: [UInt8]] = [:]
    }

    /// A slot as its nodes see it.
    struct SlotState {
        var owner: Int
        /// The node that takes it over, key by key.
        var importer: Int?
        /// Where each key is.
        var keyAt: [Int]
    }

    static let nodes = 4
    static let slots = 5
    static let keys = 3
    static let clients = 3
    static let patience = Int64.milliseconds(700)

    let seed: UInt64
    let broken: Broken
    var random: SeededRandom
    var now: Int64 = .seconds(1)
    var clients: [Client] = []
    var slots: [SlotState]
    /// The proxy's map: a node for each slot.
    var map: [Int]
    var version: UInt64 = 1
    var downUntil = [Int64](repeating: 0, count: RedirectWorld.nodes)
    /// Commands that are on their way to a node: of each client one connection.
    var queues: [[[Command]]]
    /// Answers on their way back.
    var answers: [[[(command: Command, reply: [UInt8])]]]
    /// The latest command that has been executed, by client and key.
    var executed: [[Int]: Int] = [:]
    /// How often a command has been executed.
    var runs: [[Int]: Int] = [:]
    var steps = 0
    var redirects = 0
    var asks = 0
    var pauses = 0
    var refusals = 0
    var moves = 0
    var failure: String?

    init(seed: UInt64, broken: Broken = .nothing) {
        self.seed = seed
        self.broken = broken
        // Streams of neighbouring seeds are the same but for one number.
        random = SeededRandom(seed: seed &* 0xD6E8_FEB8_6659_FD93)
        slots = (0..<RedirectWorld.slots).map { slot in
            let owner = slot % RedirectWorld.nodes
            return SlotState(
                owner: owner, keyAt: Array(repeating: owner, count: RedirectWorld.keys))
        }
        map = slots.map(\.owner)
        let empty = [[Command]](repeating: [], count: RedirectWorld.nodes)
        queues = Array(repeating: empty, count: RedirectWorld.clients)
        answers = Array(
            repeating: Array(repeating: [], count: RedirectWorld.nodes),
            count: RedirectWorld.clients)
        for _ in 0..<RedirectWorld.clients { clients.append(Client()) }
    }

    func run(steps wanted: Int) {
        while steps < wanted, failure == nil {
            steps += 1
            switch random.below(100) {
            case ..<25: sendPipeline(random.below(Self.clients))
            case ..<55: serve()
            case ..<85: deliver()
            case ..<88: refreshMap()
            case ..<96: moveSlot()
            case ..<97: downUntil[random.below(Self.nodes)] = now + .milliseconds(60)
            default: advance(.milliseconds(Int64(1 + random.below(40))))
            }
        }
        makePeace()
    }

    func fail(_ what: String) {
        guard failure == nil else { return }
        failure = "seed \(seed), step \(steps): \(what)"
    }

    /// Nothing moves any more; all commands are answered.
    private func makePeace() {
        downUntil = Array(repeating: 0, count: Self.nodes)
        var rounds = 0
        while failure == nil, clients.contains(where: { !$0.order.isOver }) {
            rounds += 1
            if rounds > 20_000 { return fail("commands are never answered") }
            if random.chance(50) { serve() } else { deliver() }
            if rounds % 50 == 0 { advance(.milliseconds(100)) }
        }
        guard failure == nil else { return }
        for client in clients {
            if client.order.memory != 0 { fail("keeps \(client.order.memory) bytes") }
            if !client.open.isEmpty || !client.expected.isEmpty || !client.doubted.isEmpty {
                fail("\(client.expected.count) replies are missing")
            }
        }
    }
}
