// What people are told of a map: who has which slots, and what is different from an earlier one.

/// Slots that have gone from one node to another.
package struct SlotMove: Equatable, Sendable {
    /// Nil if nobody had them.
    package let from: ClusterNode?
    /// Nil if nobody has them.
    package let to: ClusterNode?
    /// How many.
    package let count: Int
}

extension SlotMap {
    /// The slots of each node, in the order of `nodes`.
    package var ranges: [[ClosedRange<UInt16>]] {
        var found = [[ClosedRange<UInt16>]](repeating: [], count: nodes.count)
        var first = 0
        for slot in 1...owners.count where slot == owners.count || owners[slot] != owners[first] {
            let place = Int(owners[first])
            if place < found.count { found[place].append(UInt16(first)...UInt16(slot - 1)) }
            first = slot
        }
        return found
    }

    /// What has another owner than in an earlier map, by the nodes between which it has moved.
    package func moves(since old: SlotMap) -> [SlotMove] {
        guard version != old.version else { return [] }
        var counts: [UInt32: Int] = [:]
        for (before, after) in zip(old.owners, owners) {
            counts[UInt32(before) << 16 | UInt32(after), default: 0] += 1
        }
        return counts.sorted { $0.key < $1.key }.compactMap { pair, count -> SlotMove? in
            let from = old.node(at: UInt16(truncatingIfNeeded: pair >> 16))
            let to = node(at: UInt16(truncatingIfNeeded: pair))
            if from == nil, to == nil { return nil }
            if let from, let to, from.isSame(as: to) { return nil }
            return SlotMove(from: from, to: to, count: count)
        }
    }

    private func node(at place: UInt16) -> ClusterNode? {
        Int(place) < nodes.count ? nodes[Int(place)] : nil
    }
}

extension ClusterNode {
    /// The id as text; empty while it is not known.
    package var idText: String { String(decoding: id, as: UTF8.self) }

    /// Whether both are one node, which may have got another address. Of one that MOVED has named,
    /// only the address is known.
    package func isSame(as other: ClusterNode) -> Bool {
        id.isEmpty || other.id.isEmpty ? address == other.address : id == other.id
    }
}
