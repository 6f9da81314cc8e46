import Pool
import TestSupport
import Topology

// A primary, its replicas, and clients that write and read as the proxy lets them: with
// `ReplicaProofs`, `OwnWrites` and `ReplicaChoice`. Links break, replicas restart with old data and
// take over, and for a while the former primary goes on. All from one seed.

/// One seeded run. `failure` says what went wrong first; after that nothing more happens.
final class ReplicaWorld {
    /// A rule that is switched off: then clients have to see it.
    enum Broken: CaseIterable {
        case nothing
        /// Clients read from any replica that is linked, whatever they have written.
        case offsets
        /// A write does not wait for the reads before it.
        case order
    }

    /// One write in the history of a primary.
    struct Entry: Equatable {
        let id: Int
        let key: Int
        let value: Int
    }

    struct Node {
        var history: Int
        var log: [Entry] = []
        var data = [Int](repeating: 0, count: ReplicaWorld.clients)
        /// Whose replica it is; nil for a primary.
        var source: Int?
        var isLinked = true
        /// It takes over all data: how far the source's log was when that began.
        var loading: Int?
        /// It runs no commands before, but goes on to follow its primary.
        var busyUntil: Int64 = 0
        /// The proxy has a connection to its process.
        var isConnected = true
        /// What was saved last: a restart begins with it.
        var saved: [Entry] = []

        mutating func apply(_ entry: Entry) {
            log.append(entry)
            data[entry.key] = entry.value
        }

        mutating func take(_ entries: [Entry]) {
            log = []
            data = [Int](repeating: 0, count: ReplicaWorld.clients)
            for entry in entries { apply(entry) }
        }

        var info: ReplicationInfo {
            ReplicationInfo(
                role: source == nil ? .primary : .replica(isLinked: isLinked && loading == nil),
                history: Array("history \(history)".utf8), offset: Int64(log.count))
        }
    }

    enum Message {
        case write(client: Int, value: Int)
        /// `least` was answered before the read was sent, `most` was sent before it.
        case read(client: Int, least: Int, most: Int)
    }

    enum Answer {
        case written(client: Int, value: Int)
        case found(client: Int, least: Int, most: Int, value: Int?)
    }

    struct Client {
        var sent = 0
        var acknowledged = 0
        var writes = OwnWrites()
        var replica: UInt32?
        /// Commands in flight, by node.
        var inFlight = [Int](repeating: 0, count: ReplicaWorld.nodes)
    }

    /// A question of the proxy's on its way, or its answer.
    enum Question {
        case none
        case sent(at: MonotonicTime)
        case answered(ReplicationInfo, askedAt: MonotonicTime)
    }

    static let nodes = 4
    static let clients = 6
    static let maxLag = Int64.seconds(10)

    let seed: UInt64
    let broken: Broken
    var random: SeededRandom
    var now: Int64 = .seconds(1)
    var nodes: [Node]
    var clients = [Client](repeating: Client(), count: ReplicaWorld.clients)
    var requests = [[Message]](repeating: [], count: ReplicaWorld.nodes)
    var answers = [[Answer]](repeating: [], count: ReplicaWorld.nodes)
    var questions = [Question](repeating: .none, count: ReplicaWorld.nodes)
    /// Who is the primary, and who the proxy takes for it.
    var primary = 0
    var believed = 0
    var proofs = ReplicaProofs()
    var entries = 0
    var histories = 1
    var steps = 0
    var reads = 0
    /// Reads from replicas.
    var replicaReads = 0
    var failovers = 0
    var restarts = 0
    var failure: String?

    init(seed: UInt64, broken: Broken = .nothing) {
        self.seed = seed
        self.broken = broken
        random = SeededRandom(seed: seed)
        nodes = (0..<ReplicaWorld.nodes).map { Node(history: 1, source: $0 == 0 ? nil : 0) }
    }

    var time: MonotonicTime { MonotonicTime(nanoseconds: now) }

    func run(steps count: Int) {
        while steps < count, failure == nil {
            steps += 1
            now += Int64(random.below(2_000_000))
            switch random.below(100) {
            case 0..<24: act()
            case 24..<48: execute(some(requests.map(\.isEmpty)))
            case 48..<72: deliver(some(answers.map(\.isEmpty)))
            case 72..<86: replicate(random.below(ReplicaWorld.nodes))
            case 86..<95: question(random.below(ReplicaWorld.nodes))
            case 95: now += .milliseconds(Int64(random.below(300)))
            default: if random.chance(60) { disturb(random.below(ReplicaWorld.nodes)) }
            }
        }
    }

    /// Any node of which the answer is false; any one if there is none.
    private func some(_ isEmpty: [Bool]) -> Int {
        let found = isEmpty.indices.filter { !isEmpty[$0] }
        return found.isEmpty ? 0 : found[random.below(found.count)]
    }

    // MARK: Clients

    private func act() {
        let client = random.below(ReplicaWorld.clients)
        if clients[client].inFlight.reduce(0, +) >= 3 { return }
        if random.chance(7) { write(client) } else { read(client) }
    }

    private func write(_ client: Int) {
        let readsAreOpen = clients[client].inFlight.indices.contains {
            $0 != believed && clients[client].inFlight[$0] > 0
        }
        if readsAreOpen, broken != .order { return }
        clients[client].sent += 1
        clients[client].writes.wrote()
        send(.write(client: client, value: clients[client].sent), client, to: believed)
    }

    private func read(_ client: Int) {
        reads += 1
        let target = replica(for: client) ?? believed
        if target != believed { replicaReads += 1 }
        let message = Message.read(
            client: client, least: clients[client].acknowledged, most: clients[client].sent)
        send(message, client, to: target)
    }

    private func replica(for client: Int) -> Int? {
        let isWaiting = clients[client].inFlight[believed] > 0
        guard let last = clients[client].writes.answeredBy(isWaiting: isWaiting, now: time),
            !isWaiting
        else { return nil }
        let usable = (0..<ReplicaWorld.nodes).map { UInt32($0) }.filter {
            let from = broken == .offsets ? MonotonicTime(nanoseconds: 0) : last
            return Int($0) != believed
                && proofs.mayRead(from: $0, after: from, maxLag: ReplicaWorld.maxLag, now: time)
        }
        var chosen = clients[client].replica.flatMap { usable.contains($0) ? $0 : nil }
        chosen =
            chosen
            ?? ReplicaChoice.pick(of: usable, client: UInt64(client)) {
                requests[Int($0)].count
            }
        clients[client].replica = chosen
        guard let chosen, nodes[Int(chosen)].isConnected else { return nil }
        return Int(chosen)
    }

    private func send(_ message: Message, _ client: Int, to node: Int) {
        clients[client].inFlight[node] += 1
        requests[node].append(message)
    }

    // MARK: Nodes

    private func execute(_ node: Int) {
        guard !requests[node].isEmpty, now >= nodes[node].busyUntil else { return }
        switch requests[node].removeFirst() {
        case .write(let client, let value):
            if nodes[node].source == nil {
                entries += 1
                nodes[node].apply(Entry(id: entries, key: client, value: value))
                answers[node].append(.written(client: client, value: value))
            } else {
                clients[client].inFlight[node] -= 1
            }
        case .read(let client, let least, let most):
            // LOADING: the primary is asked, which is nothing new.
            let value = nodes[node].loading == nil ? nodes[node].data[client] : nil
            answers[node].append(.found(client: client, least: least, most: most, value: value))
        }
    }

    private func deliver(_ node: Int) {
        guard !answers[node].isEmpty else { return }
        switch answers[node].removeFirst() {
        case .written(let client, let value):
            clients[client].inFlight[node] -= 1
            clients[client].acknowledged = max(clients[client].acknowledged, value)
        case .found(let client, let least, let most, let value):
            clients[client].inFlight[node] -= 1
            guard let value else { return proofs.forget(UInt32(node)) }
            // A failover loses what had not reached the new primary.
            let kept = min(least, nodes[primary].data[client])
            if value < kept {
                failure = "seed \(seed), step \(steps): client \(client) misses its write \(kept)"
            } else if value > most {
                failure = "seed \(seed), step \(steps): client \(client) reads a later write"
            }
        }
    }

    private func replicate(_ node: Int) {
        guard let source = nodes[node].source, nodes[node].isLinked else { return }
        if let size = nodes[node].loading {
            nodes[node].take(Array(nodes[source].log.prefix(size)))
            nodes[node].loading = nil
            nodes[node].history = nodes[source].history
            return
        }
        guard nodes[node].history == nodes[source].history else { return }
        for _ in 0..<(1 + random.below(4)) {
            let next = nodes[node].log.count
            guard next < nodes[source].log.count else { return }
            nodes[node].apply(nodes[source].log[next])
        }
    }

    private func disturb(_ node: Int) {
        switch random.below(14) {
        case 0: nodes[node].isLinked = false
        case 1...6: link(node)
        case 7: nodes[node].saved = nodes[node].log
        case 8: if nodes[node].source != nil { restart(node) }
        case 9: nodes[node].busyUntil = now + .milliseconds(Int64(random.below(400)))
        case 10: if nodes[node].source != nil, random.chance(40) { takeOver(node) }
        default: if believed != primary { learnPrimary() }
        }
    }

    /// The replica finds its source again, and takes over all data if it has to.
    private func link(_ node: Int) {
        guard nodes[node].source != nil else {
            // A former primary learns that it is none.
            if node != primary { nodes[node].source = primary }
            return
        }
        nodes[node].source = primary
        nodes[node].isLinked = true
        let log = nodes[node].log
        let source = nodes[primary].log
        if log.count <= source.count, log.isEmpty || source[log.count - 1] == log[log.count - 1] {
            nodes[node].history = nodes[primary].history
            nodes[node].loading = nil
        } else {
            nodes[node].loading = source.count
        }
    }

    private func restart(_ node: Int) {
        restarts += 1
        lose(node)
        nodes[node].isConnected = false
        nodes[node].isLinked = false
        nodes[node].loading = nil
        nodes[node].take(nodes[node].saved)
    }

    /// What is on its way to a node, or from it, is gone.
    private func lose(_ node: Int) {
        requests[node] = []
        answers[node] = []
        questions[node] = .none
        for client in clients.indices { clients[client].inFlight[node] = 0 }
    }

    private func takeOver(_ node: Int) {
        guard believed == primary, nodes[node].loading == nil else { return }
        failovers += 1
        histories += 1
        nodes[node].source = nil
        nodes[node].history = histories
        primary = node
        for other in nodes.indices where nodes[other].source != nil {
            nodes[other].isLinked = false
        }
    }

    private func learnPrimary() {
        lose(believed)
        lose(primary)
        for client in clients.indices {
            let kept = nodes[primary].data[client]
            clients[client].acknowledged = min(clients[client].acknowledged, kept)
        }
        nodes[primary].isConnected = true
        believed = primary
        proofs = ReplicaProofs()
        questions = [Question](repeating: .none, count: ReplicaWorld.nodes)
    }

    // MARK: Questions

    private func question(_ node: Int) {
        switch questions[node] {
        case .none:
            if !nodes[node].isConnected {
                // The handshake shows that it is another process.
                nodes[node].isConnected = true
                proofs.forget(UInt32(node))
            }
            questions[node] = .sent(at: time)
        case .sent(let at): questions[node] = .answered(nodes[node].info, askedAt: at)
        case .answered(let info, let askedAt):
            questions[node] = .none
            if node == believed {
                proofs.primaryAnswered(info, askedAt: askedAt)
            } else {
                proofs.replicaAnswered(UInt32(node), info)
            }
        }
    }
}
