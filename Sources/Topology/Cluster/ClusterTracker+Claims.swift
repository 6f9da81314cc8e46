// What is believed of an answer, and of MOVED.

import RESP

extension ClusterTracker {
    /// Takes what a node has said of all nodes.
    mutating func take(_ rows: [ClusterNodeRow], from address: NodeAddress, askedAt: Int64) {
        let places = rows.map { place(of: $0) }
        // A seed may be a name that no node has.
        let own = rows.firstIndex { $0.isSpeaker }.flatMap { places[$0] }
        if let own { identify(own, at: address) }
        if let speaker = own ?? nodes.firstIndex(where: { $0?.address == address }) {
            nodes[speaker]?.named = Set(rows.map(\.id))
            nodes[speaker]?.isInTrouble = false
        }
        releaseForgotten()
        // Services that give no epochs: the latest answer counts.
        let hasEpochs = rows.contains { $0.epoch > 0 } || nodes.contains { ($0?.epoch ?? 0) > 0 }
        for (row, place) in zip(rows, places) {
            guard let place, row.isPrimary else { continue }
            for range in row.slots {
                for slot in range {
                    claim(slot, by: place, row.epoch, askedAt: askedAt, hasEpochs: hasEpochs)
                }
            }
        }
        if let own { endMoved(to: own, askedAt: askedAt) }
        forgetNodes()
    }

    /// The node that has answered at this address. MOVED may have named it by another one than it
    /// announces; and one that was there before has gone, with what it knew.
    private mutating func identify(_ own: Int, at address: NodeAddress) {
        for place in nodes.indices where place != own {
            guard let node = nodes[place], node.address == address else { continue }
            if node.id.isEmpty {
                join(place, into: own)
            } else {
                nodes[place]?.named = []
            }
        }
    }

    private mutating func claim(
        _ slot: UInt16, by place: Int, _ epoch: Int64, askedAt: Int64, hasEpochs: Bool
    ) {
        let old = claims[Int(slot)]
        let isNewer = epoch > old.epoch || old.owner < 0
        let isLatest = !hasEpochs && askedAt >= old.movedAt
        guard isNewer || isLatest else { return }
        claims[Int(slot)].owner = Int32(place)
        claims[Int(slot)].epoch = epoch
        // It may be what MOVED is about, or older.
        if askedAt >= old.movedAt { claims[Int(slot)].moved = -1 }
        if claims[Int(slot)].serving != old.serving { hasNewOwners = true }
    }

    /// Takes what MOVED says. The node that it names is to be asked.
    mutating func takeMoved(_ slot: UInt16, to address: NodeAddress) {
        guard Int(slot) < Slot.count else { return }
        let known = nodes.firstIndex { $0?.address == address }
        guard let place = known ?? add(Node(id: [], address: address, isPrimary: true, epoch: -1))
        else { return }
        nodes[place]?.namedAt = clock
        let old = claims[Int(slot)].serving
        claims[Int(slot)].movedAt = clock
        claims[Int(slot)].moved = claims[Int(slot)].owner == Int32(place) ? -1 : Int32(place)
        if claims[Int(slot)].serving != old { hasNewOwners = true }
    }

    /// A node that MOVED has named has said what it knows: if the slots are its own, they are now
    /// by its claim.
    private mutating func endMoved(to place: Int, askedAt: Int64) {
        if let namedAt = nodes[place]?.namedAt, askedAt >= namedAt { nodes[place]?.namedAt = .max }
        for slot in claims.indices where claims[slot].moved == Int32(place) {
            guard askedAt >= claims[slot].movedAt else { continue }
            claims[slot].moved = -1
            if claims[slot].owner != Int32(place) { hasNewOwners = true }
        }
    }

    /// A node that MOVED has named cannot be reached: the slots go back to those who claim them.
    mutating func distrustMoved(to address: NodeAddress) {
        for place in nodes.indices where nodes[place]?.address == address {
            endMoved(to: place, askedAt: .max)
        }
        forgetNodes()
    }

    /// The place of a node, which is added or brought up to date. Nil when there is no room, or its
    /// address is not known.
    private mutating func place(of row: ClusterNodeRow) -> Int? {
        let byID = nodes.firstIndex { $0?.id == row.id }
        // Of a node that MOVED has named only the address is known.
        let byAddress = nodes.firstIndex {
            guard let node = $0, node.id.isEmpty else { return false }
            return node.address == row.address
        }
        if let byID, let byAddress { join(byAddress, into: byID) }
        guard let place = byID ?? byAddress else {
            guard let address = row.address else { return nil }
            return add(
                Node(
                    id: row.id, address: address, isPrimary: row.isPrimary,
                    primaryID: row.primaryID, epoch: row.epoch))
        }
        guard let old = nodes[place], row.epoch >= old.epoch else { return place }
        var node = old
        node.id = row.id
        node.address = row.address ?? node.address
        node.isPrimary = row.isPrimary
        node.primaryID = row.primaryID
        node.epoch = row.epoch
        hasNewNodes =
            hasNewNodes || node.id != old.id || node.address != old.address
            || node.isPrimary != old.isPrimary || node.primaryID != old.primaryID
        nodes[place] = node
        return place
    }

    /// A node that was known by its address alone is another one that is known by its id.
    private mutating func join(_ place: Int, into known: Int) {
        for slot in claims.indices {
            if claims[slot].owner == Int32(place) { claims[slot].owner = Int32(known) }
            if claims[slot].moved == Int32(place) { claims[slot].moved = Int32(known) }
        }
        nodes[place] = nil
        hasNewNodes = true
    }

    private mutating func add(_ node: Node) -> Int? {
        guard nodes.count(where: { $0 != nil }) < mostNodes else { return nil }
        hasNewNodes = true
        if let free = nodes.firstIndex(where: { $0 == nil }) {
            nodes[free] = node
            return free
        }
        nodes.append(node)
        return nodes.count - 1
    }

    /// A node that no answer names any more is forgotten by the cluster: anybody may have its
    /// slots.
    private func isForgotten(_ place: Int) -> Bool {
        guard let node = nodes[place], !node.id.isEmpty else { return false }
        return !nodes.contains { $0?.named.contains(node.id) ?? false }
    }

    private mutating func releaseForgotten() {
        let gone = Set(nodes.indices.filter { isForgotten($0) }.map { Int32($0) })
        guard !gone.isEmpty else { return }
        for slot in claims.indices where gone.contains(claims[slot].owner) {
            claims[slot].owner = -1
            claims[slot].epoch = -1
            hasNewOwners = true
        }
    }

    /// Nodes that are forgotten and own nothing; and those that MOVED has named and nobody else.
    private mutating func forgetNodes() {
        var owns = [Bool](repeating: false, count: nodes.count)
        for claim in claims {
            if claim.owner >= 0 { owns[Int(claim.owner)] = true }
            if claim.moved >= 0 { owns[Int(claim.moved)] = true }
        }
        for place in nodes.indices where !owns[place] {
            guard let node = nodes[place] else { continue }
            if node.id.isEmpty || isForgotten(place) {
                nodes[place] = nil
                hasNewNodes = true
            }
        }
    }
}
