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

    /// The node that serves a slot; nil if nobody does, and for what is no slot.
    package func owner(of slot: UInt16) -> ClusterNode? {
        guard Int(slot) < owners.count else { return nil }
        let place = Int(owners[Int(slot)])
        return place < nodes.count ? nodes[place] : nil
    }

    /// Whether every slot has an owner.
    package var isWhole: Bool { served == Slot.count }
}
