// What nodes, workers and names say to a `ClusterWatch`.

import Config
import EventLoop
import Pool
import Telemetry
import Topology

extension ClusterWatch: ClusterLinkOwner {
    func answered(_ link: ClusterLink, _ reply: [UInt8]) {
        guard links[link.address] === link else { return }
        let rows = ClusterNodeRow.all(in: reply, asked: link.address, prefer: preference)
        if let rows {
            noteAnswer(link.address)
            tracker.answered(link.address, rows.filter { isUsable($0) }, now: ClusterWatch.now)
        } else {
            let error = WatcherText.error(in: reply) ?? "a reply that is not understood"
            // The next one may be for another user, or after a restart.
            link.close()
            links[link.address] = nil
            noteError(link.address, "CLUSTER NODES: \(error)")
            tracker.answered(link.address, nil, now: ClusterWatch.now)
        }
        pump()
    }

    func failed(_ link: ClusterLink, _ text: String) {
        guard links[link.address] === link else { return }
        if link.isAsked, link.isUsed {
            begin(ClusterLink(link.address, askedAt: link.askedAt, owner: self))
        } else if link.isAsked {
            unanswered(link, text)
        } else {
            links[link.address] = nil
        }
        pump()
    }

    /// A node has not answered. Its link is closed.
    func unanswered(_ link: ClusterLink, _ text: String) {
        if links[link.address] === link { links[link.address] = nil }
        noteDown(link.address, text)
        tracker.unanswered(link.address, now: ClusterWatch.now)
    }

    /// A certificate is for a name rather than for an address.
    private var preference: ClusterNodeRow.Preference {
        config.upstreamTLS?.verification == .full ? .name : .address
    }

    private func isUsable(_ row: ClusterNodeRow) -> Bool {
        guard let address = row.address, let problem = refusal(of: address) else { return true }
        noteError(address, problem)
        return false
    }

    /// Why an address is not taken for that of a node.
    func refusal(of node: NodeAddress) -> String? {
        guard let address = UpstreamAddress(node) else { return "\(node) is no address" }
        // Redpool would connect to itself.
        guard config.listen.contains(where: { $0.isReached(by: address) }) else { return nil }
        return "a node is said to be at \(node), where this pool listens"
    }
}

extension ClusterWatch {
    /// Looks names up that are due.
    func lookUpNames() {
        for question in configured.due(now: EventLoop.now(), isSearching: isSearching) {
            names.ask(question) { [weak self] in self?.found($0, question) }
        }
    }

    private func found(_ answer: NameAnswer, _ question: NameLookup.Question) {
        configured.take(answer, to: question)
        if answer.addresses.isEmpty {
            lastError = "cannot look up \(question.host): \(answer.problem)"
        }
        let addresses = configured.addresses
        if !addresses.isEmpty { tracker.setSeeds(addresses, now: ClusterWatch.now) }
        pump()
    }
}

/// Which maps there have been.
struct MapHistory {
    /// The last one that was published.
    private(set) var map: SlotMap?
    /// In nanoseconds since 1970.
    private(set) var changedAt: Int64 = 0
    private(set) var changes: UInt64 = 0
    private(set) var failovers: UInt64 = 0
    /// What has changed since the last line in the log.
    private(set) var untold = Untold()
    private var toldAt = Int64.min / 2

    /// Changes come by the hundred while slots are moved: there is one line for so long.
    private static let interval = Int64.seconds(10)

    /// What has changed since a line in the log.
    struct Untold {
        var slots = 0
        var joined: [NodeAddress] = []
        var left: [NodeAddress] = []
        var isFirst = false

        /// MOVED can name any number of nodes, and the line has a few.
        private static let most = 16

        mutating func note(
            _ address: NodeAddress, in list: WritableKeyPath<Untold, [NodeAddress]>
        ) {
            guard self[keyPath: list].count < Untold.most else { return }
            self[keyPath: list].append(address)
        }

        var isEmpty: Bool { slots == 0 && joined.isEmpty && left.isEmpty && !isFirst }
    }

    /// Returns the replicas that have taken over from their primaries.
    mutating func take(_ new: SlotMap) -> [SlotMove] {
        defer { map = new }
        guard let map else {
            changedAt = wallClock()
            untold.isFirst = true
            return []
        }
        let moves = new.moves(since: map)
        untold.slots += moves.reduce(0) { $0 + $1.count }
        for node in new.nodes where !map.nodes.contains(where: { $0.isSame(as: node) }) {
            untold.note(node.address, in: \.joined)
        }
        for node in map.nodes where !new.nodes.contains(where: { $0.isSame(as: node) }) {
            untold.note(node.address, in: \.left)
        }
        guard !moves.isEmpty else { return [] }
        changes += 1
        changedAt = wallClock()
        let found = moves.filter { move in
            guard let from = move.from, let to = move.to, !from.id.isEmpty else { return false }
            return map.nodes.contains { $0.isSame(as: to) && $0.primaryID == from.id }
        }
        failovers += UInt64(found.count)
        return found
    }

    /// When the log is to be told; `.max` for never.
    var dueAt: Int64 { untold.isEmpty ? .max : toldAt + MapHistory.interval }

    /// What the log is to be told now; nil for nothing.
    mutating func takeUntold(now: Int64) -> Untold? {
        guard dueAt <= now else { return nil }
        defer { untold = Untold() }
        toldAt = now
        return untold
    }
}
