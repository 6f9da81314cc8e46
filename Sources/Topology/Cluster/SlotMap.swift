// Who serves which slot, as it is published.

import RESP

/// A node of a cluster.
package struct ClusterNode: Hashable, Sendable {
    /// What identifies it; empty for a node of which only the address is known, from MOVED.
    package let id: [UInt8]
    package let address: NodeAddress
    package let isPrimary: Bool
    /// The id of a replica's primary.
    package let primaryID: [UInt8]?

    package init(id: [UInt8], address: NodeAddress, isPrimary: Bool, primaryID: [UInt8]?) {
        self.id = id
        self.address = address
        self.isPrimary = isPrimary
        self.primaryID = primaryID
    }
}

/// The owners of all slots at one time. It is published whole and does not change.
package struct SlotMap: Equatable, Sendable {
    /// Rises when a slot gets another owner, not when only nodes change. Maps of two workers are
    /// not compared.
    package let version: UInt64
    package let nodes: [ClusterNode]
    /// For each slot the place of its owner in `nodes`, or `nobody`.
    let owners: [UInt16]

    /// How many slots are served.
    package let served: Int

    static let nobody = UInt16.max

    /// `owners` has an entry for each slot.
    init(version: UInt64, nodes: [ClusterNode], owners: [UInt16]) {
        self.version = version
        self.nodes = nodes
        self.owners = owners
        served = owners.count { $0 != Self.nobody }
    }

    /// A map that another process has published.
    ///
    /// - Parameter ranges: the slots of each node, in the order of `nodes`.
    package init(version: UInt64, nodes: [ClusterNode], ranges: [[ClosedRange<UInt16>]]) {
        var owners = [UInt16](repeating: Self.nobody, count: Slot.count)
        for (place, ranges) in ranges.prefix(nodes.count).enumerated() {
            for range in ranges {
                for slot in range where Int(slot) < owners.count {
                    owners[Int(slot)] = UInt16(truncatingIfNeeded: place)
                }
            }
        }
        self.init(version: version, nodes: nodes, owners: owners)
    }

    /// The node that serves a slot; nil if nobody does, and for what is no slot.
    package func owner(of slot: UInt16) -> ClusterNode? {
        guard Int(slot) < owners.count else { return nil }
        let place = Int(owners[Int(slot)])
        return place < nodes.count ? nodes[place] : nil
    }

    /// Whether every slot has an owner.
    package var isWhole: Bool { served == Slot.count }
}
