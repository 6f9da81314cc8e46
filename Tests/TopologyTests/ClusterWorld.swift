import Pool
import RESP
import TestSupport
import Topology

// A cluster around one tracker: nodes that gossip or are cut off, slots that move, primaries that
// die and are replaced, and clients that are answered MOVED. All from one seed.

/// One seeded run. `failure` says what went wrong first; after that nothing more happens.
final class ClusterWorld {
    /// Who owns a group of slots, as a node sees it.
    struct View: Equatable {
        var owner: Int
        var epoch: Int64
    }

    struct Server {
        let id: [UInt8]
        var address: NodeAddress
        var isAlive = true
        /// Neither gossips with the others.
        var isCutOff = false
        /// What it knows: the owners of the groups, and the epoch of each node.
        var views: [View]
        var epochs: [Int64]
    }

    /// Slots move in groups, so that a run is quick.
    static let groups = 16
    static let groupSize = Slot.count / groups

    let seed: UInt64
    /// No client is led astray: then no slot goes back to a lower epoch.
    let isCalm: Bool
    var random: SeededRandom
    var now: Int64 = .seconds(1)
    var servers: [Server] = []
    var tracker: ClusterTracker
    var pending: [(at: Int64, address: NodeAddress, rows: [ClusterNodeRow]?)] = []
    var map: SlotMap?
    /// The owners that each group has had, in order.
    var histories: [[Int]]
    /// Groups of which MOVED has been said since the latest peace.
    var redirected: Set<Int> = []
    var open: Set<NodeAddress> = []
    var steps = 0
    var asks = 0
    var moves = 0
    var failovers = 0
    var redirects = 0
    var failure: String?
    var trail: [String] = []

    init(seed: UInt64) {
        self.seed = seed
        isCalm = seed % 2 == 0
        random = SeededRandom(seed: seed)
        let primaries = 1 + random.below(5)
        let hasEpochs = random.chance(80)
        let views = (0..<Self.groups).map { group in
            View(owner: group % primaries, epoch: hasEpochs ? Int64(group % primaries + 1) : 0)
        }
        histories = (0..<Self.groups).map { [$0 % primaries] }
        let count = primaries + random.below(4)
        let epochs = (0..<count).map { hasEpochs && $0 < primaries ? Int64($0 + 1) : 0 }
        for number in 0..<count {
            let id = Array("\(1000 + number)".utf8) + [UInt8](repeating: 0x62, count: 36)
            servers.append(
                Server(id: id, address: .test(1, number), views: views, epochs: epochs))
        }
        let seeds = servers.prefix(1 + random.below(count)).map(\.address)
        tracker = ClusterTracker(
            seeds: seeds, seed: seed, now: MonotonicTime(nanoseconds: now))
    }

    /// What is true: the view with the highest epoch of each group.
    var truth: [View] {
        (0..<Self.groups).map { group in
            let views = servers.map { $0.views[group] }
            return views.max { $0.epoch < $1.epoch } ?? views[0]
        }
    }

    var highestEpoch: Int64 { servers.flatMap(\.epochs).max() ?? 0 }

    func run(steps count: Int) {
        perform()
        while steps < count, failure == nil {
            for _ in 0..<(10 + random.below(150)) where failure == nil { disturb() }
            makePeace()
        }
    }

    func call(
        _ name: @autoclosure () -> String, _ body: (inout ClusterTracker, MonotonicTime) -> Void
    ) {
        guard failure == nil else { return }
        steps += 1
        if trail.count == 60 { trail.removeFirst(30) }
        trail.append("\(now / 1_000_000): \(name())")
        body(&tracker, MonotonicTime(nanoseconds: now))
        perform()
    }

    func perform() {
        while failure == nil, let action = tracker.nextAction() {
            switch action {
            case .ask(let address): ask(address)
            case .publish(let made): published(made)
            }
        }
    }

    private func ask(_ address: NodeAddress) {
        asks += 1
        if !open.insert(address).inserted { return fail("asks \(address) twice at once") }
        let delay = 1 + Int64(random.below(Int(Int64.milliseconds(30))))
        let server = servers.first { $0.address == address && $0.isAlive }
        pending.append((now + (server == nil ? .seconds(1) : delay), address, server.map(rows)))
    }

    /// CLUSTER NODES, as this server sees it.
    private func rows(of speaker: Server) -> [ClusterNodeRow] {
        servers.indices.map { number in
            let groups = speaker.views.indices.filter { speaker.views[$0].owner == number }
            return ClusterNodeRow(
                id: servers[number].id, address: servers[number].address,
                isSpeaker: servers[number].id == speaker.id, isPrimary: true,
                epoch: speaker.epochs[number],
                slots: groups.map {
                    UInt16($0 * Self.groupSize)...UInt16(($0 + 1) * Self.groupSize - 1)
                })
        }
    }

    private func published(_ made: SlotMap) {
        trail.append("    version \(made.version): \(owners(of: made))")
        if let map {
            let isSame = (0..<Self.groups).allSatisfy { owner($0, map) == owner($0, made) }
            if made.version < map.version { fail("the version goes back") }
            if !isSame, made.version == map.version { fail("other owners in the same version") }
        } else if !made.isWhole, now - .seconds(1) < ClusterTracker.firstMapTime {
            fail("the first map is not whole")
        }
        map = made
    }

    func owner(_ group: Int, _ map: SlotMap) -> Int? {
        map.owner(of: UInt16(group * Self.groupSize)).flatMap { node in
            servers.firstIndex { $0.address == node.address }
        }
    }

    func owners(of map: SlotMap) -> [Int?] { (0..<Self.groups).map { owner($0, map) } }

    // MARK: Time

    func advance(_ duration: Int64) {
        let end = now + duration
        while failure == nil {
            let deadline = tracker.nextDeadline.nanoseconds
            let next = pending.indices.min { pending[$0].at < pending[$1].at }
            let eventAt = next.map { pending[$0].at } ?? .max
            guard min(deadline, eventAt) <= end else { break }
            if let next, eventAt <= deadline {
                now = max(now, eventAt)
                let event = pending.remove(at: next)
                open.remove(event.address)
                if let rows = event.rows {
                    let before = map.map { owners(of: $0) }
                    defer { checkOrder(before) }
                    call("answer of \(event.address.port)") {
                        $0.answered(event.address, rows, now: $1)
                    }
                } else {
                    call("no answer of \(event.address.port)") {
                        $0.unanswered(event.address, now: $1)
                    }
                }
            } else {
                // A deadline that stays is a loop without an end.
                now = max(now + 1, deadline)
                call("tick") { $0.tick(now: $1) }
            }
        }
        now = max(now, end)
    }

    func fail(_ what: String) {
        guard failure == nil else { return }
        failure = "seed \(seed), step \(steps): \(what)\n" + trail.joined(separator: "\n")
    }
}
