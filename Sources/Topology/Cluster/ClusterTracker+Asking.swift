// Who is asked for CLUSTER NODES, and when.

package import Pool

extension ClusterTracker {
    /// Something is to be found out: there is no map yet, or lately none that is whole; the owner
    /// of a slot is in trouble; or a node has said that the cluster is down.
    private var isSearching: Bool {
        guard let map, clock >= searchUntil else { return true }
        if !map.isWhole, clock - startedAt < 10 * Self.firstMapTime { return true }
        return nodes.indices.contains { place in
            nodes[place]?.isInTrouble == true && claims.contains { $0.serving == Int32(place) }
        }
    }

    /// Asks whom it is time to ask.
    mutating func pump() {
        for node in nodes {
            guard let node, node.namedAt != .max else { continue }
            askSoon(node.address, interval: Self.movedInterval)
        }
        if isSearching {
            for address in candidates { askSoon(address, interval: Self.searchInterval) }
        } else if clock >= refreshAt {
            askOneInTurn()
        }
        let known = candidates
        asked.removeAll { one in
            !one.isOpen && !known.contains(one.address) && clock - one.lastAt > Self.searchInterval
        }
    }

    /// Those of which one can be asked: the nodes, and the seeds while no node answers. All nodes
    /// can have got other addresses, which the names of the configuration then stand for.
    private var candidates: [NodeAddress] {
        let known = nodes.compactMap { $0?.address }
        let hasAnswered = nodes.contains { node in
            node.map { !$0.named.isEmpty && !$0.isInTrouble } ?? false
        }
        return hasAnswered ? known : known + seeds.filter { !known.contains($0) }
    }

    private mutating func askOneInTurn() {
        let spread = refreshInterval / 5
        refreshAt = clock + refreshInterval - spread / 2 + random.below(max(spread, 1))
        let known = candidates
        guard !known.isEmpty else { return }
        turn = (turn + 1) % known.count
        askSoon(known[turn], interval: 0)
        // Those that are missed need not wait for their turn.
        for node in nodes {
            if let node, node.isInTrouble { askSoon(node.address, interval: Self.searchInterval) }
        }
    }

    /// Asks, unless the address is being asked or was asked within the interval.
    mutating func askSoon(_ address: NodeAddress, interval: Int64) {
        guard let place = asked.firstIndex(where: { $0.address == address }) else {
            asked.append(Asked(address: address, lastAt: clock, isOpen: true))
            return want(.ask(address))
        }
        guard !asked[place].isOpen, clock - asked[place].lastAt >= interval else { return }
        asked[place].lastAt = clock
        asked[place].isOpen = true
        want(.ask(address))
    }

    /// When `tick` has to be called at the latest, if nothing happens before.
    package var nextDeadline: MonotonicTime {
        let isSearching = isSearching
        var next = isSearching ? Int64.max : refreshAt
        if isSearching {
            for address in candidates {
                guard let one = asked.first(where: { $0.address == address }) else {
                    return MonotonicTime(nanoseconds: clock)
                }
                if !one.isOpen { next = min(next, one.lastAt + Self.searchInterval) }
            }
        }
        for node in nodes {
            guard let node, node.namedAt != .max else { continue }
            if let one = asked.first(where: { $0.address == node.address }), !one.isOpen {
                next = min(next, one.lastAt + Self.movedInterval)
            }
        }
        let firstMapAt = startedAt + Self.firstMapTime
        if map == nil, clock < firstMapAt { next = min(next, firstMapAt) }
        return MonotonicTime(nanoseconds: max(next, clock))
    }
}
