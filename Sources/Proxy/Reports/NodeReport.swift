// What is reported of one server of a pool.

package import Pool
import Topology

/// A node as one worker sees it, or as several do together.
package struct NodeReport: Sendable {
    package let id: NodeID
    /// In the syntax of the configuration; nil while nobody has named the server.
    package let address: String?
    /// What it is to the pool.
    package enum State: Sendable {
        /// New work goes there: the primary, or in front of a cluster any node of the map.
        case inUse
        /// Sentinels name it as a replica, and clients read there.
        case replica
        /// Another server has taken its place, and it has connections yet.
        case left
    }
    package let state: State
    /// Its version, and what it is by its own word; empty and nil if it has not said.
    package let version: [UInt8]
    package let role: String?
    package var census: PoolCensus
    package var inFlight: Int
    /// The last dial that failed or upstream that was lost in use; nil if there was none.
    package var lastError: LastError?

    /// Adds what another worker reports of the same node.
    mutating func add(_ other: NodeReport) {
        census.add(other.census)
        inFlight += other.inFlight
        guard let error = other.lastError else { return }
        if let mine = lastError, mine.at >= error.at { return }
        lastError = error
    }
}

extension Server {
    private var state: NodeReport.State {
        if departure != nil { return .left }
        return isReplica && !pool.isRouted ? .replica : .inUse
    }

    /// This worker's part of it.
    var report: NodeReport {
        NodeReport(
            id: node.id, address: names.isNamed ? place : nil, state: state,
            version: facts.version ?? [],
            role: facts.role.map { $0 == .primary ? "primary" : "replica" },
            census: machine.census,
            inFlight: allUpstreams.reduce(0) { $0 + $1.commandsInFlight },
            lastError: failures.last)
    }
}
