// What workers see of a cluster, for those who follow its map.

package import Topology

/// Something that a worker has seen of a pool's cluster.
package struct ClusterSign: Sendable {
    /// What it was.
    package enum Kind: Sendable, Hashable {
        /// A node has answered MOVED: this address serves the slot.
        case moved(slot: UInt16, to: NodeAddress)
        /// The last connection to a node is lost, or dials to it fail.
        case lost(NodeAddress)
        /// A connection to a node has been made.
        case connected(NodeAddress)
        /// A node has answered CLUSTERDOWN.
        case clusterDown
    }

    let pool: String
    let kind: Kind
}
