// Whether a pool, or all of them, can serve clients.

import Pool
import Proxy

/// The answer of `/readyz`.
enum Readiness: Equatable {
    case ready
    /// Why not, one reason each.
    case not([String])
    /// There is no pool with that name.
    case unknownPool

    /// - Parameter name: of the one pool that is asked for; nil for all.
    init(_ snapshot: Snapshot, pool name: String?) {
        let pools = snapshot.pools.filter { $0.isConfigured && (name == nil || $0.name == name) }
        if pools.isEmpty, name != nil {
            self = .unknownPool
            return
        }
        var reasons: [String] = []
        if !snapshot.process.isListening { reasons.append("not listening yet") }
        if snapshot.process.isDraining { reasons.append("draining") }
        for worker in snapshot.silent { reasons.append("worker \(worker) does not answer") }
        for pool in pools {
            if pool.isPaused {
                reasons.append("pool \(pool.name): paused")
            } else if let outage = pool.outage {
                reasons.append("pool \(pool.name): no upstream: \(outage)")
            } else if let sentinels = pool.sentinels, sentinels.primary == nil {
                // Clients that hold upstreams of a former primary keep the pool up.
                reasons.append("pool \(pool.name): \(sentinels.problem)")
            } else if let cluster = pool.cluster, !cluster.isKnown {
                // Slots without an owner are the cluster's trouble: the others are served.
                reasons.append("pool \(pool.name): \(cluster.problem)")
            } else if pool.metrics.census.connected == 0, pool.minIdle > 0 {
                reasons.append("pool \(pool.name): no upstream yet")
            }
        }
        self = reasons.isEmpty ? .ready : .not(reasons)
    }
}
