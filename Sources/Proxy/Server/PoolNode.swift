// A node: one server of a pool, as all workers of the process share it.

import Pool
import Synchronization
import Topology

/// Names a node of a pool. Never used twice in a process, so that nothing refers to a node by its
/// position or its address.
package struct NodeID: Hashable, Sendable {
    fileprivate let number: UInt64

    /// Tells nodes apart that have the same number in a route, one after the other.
    var mark: UInt32 { UInt32(truncatingIfNeeded: number) }

    private static let last = Atomic<UInt64>(0)

    /// A new one.
    static func next() -> NodeID {
        NodeID(number: last.wrappingAdd(1, ordering: .relaxed).newValue)
    }
}

/// What the workers of a pool share of one of its servers: its limits. A worker's connections to
/// it, and what is known of it, are a `Server`.
final class PoolNode: Sendable {
    let id = NodeID.next()
    /// Where it is: a node of a cluster, or a replica that Sentinels name. Nil for other servers,
    /// which can move.
    let address: NodeAddress?
    /// Nil where one worker serves the pool; it has all permits.
    let budget: PoolBudget?
    /// Bounds the one-off upstreams.
    let oneOffs: OneOffGate<AtomicCell>
    /// The members of the pool that have this node.
    private let users: Atomic<Int>

    /// - Parameters:
    ///   - limits: those of the whole pool; they hold for each node.
    ///   - members: the workers that share the pool.
    ///   - users: those of them that have the node from the start.
    init(_ limits: PoolLimits, members: Int, users: Int, address: NodeAddress? = nil) {
        oneOffs = OneOffGate(maxPinned: limits.maxPinned) { AtomicCell($0) }
        budget = members == 1 ? nil : PoolBudget(limits, members: members)
        self.users = Atomic(users)
        self.address = address
    }

    /// Puts other limits into force.
    func setLimits(_ limits: PoolLimits) {
        oneOffs.setMaxPinned(limits.maxPinned)
        budget?.permits.setTotal(limits.permits)
    }

    /// A member has this node from now on.
    func addUser() { users.wrappingAdd(1, ordering: .relaxed) }

    /// A member has left this node for good. True for the last one.
    func isLeftByLast() -> Bool { users.wrappingSubtract(1, ordering: .relaxed).newValue == 0 }
}
