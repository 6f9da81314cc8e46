// What a pool's configuration bounds: its servers, and the state machine of each of its workers.

import Config
import Pool
import Topology

extension PoolConfig {
    /// The most servers that are known by the addresses that others have named.
    var mostNamedNodes: Int {
        switch source {
        case .server: 0
        // Those of the former primary may be there yet.
        case .sentinels: 2 * SentinelTracker.mostReplicas
        case .cluster(let source): source.maxNodes
        }
    }

    /// The state machine's part of the configuration for one of the workers that share the pool.
    /// Permits distribute `maxOpen` and `maxPinned`; the other limits are split.
    func limits(member: Int, of members: Int) -> PoolLimits {
        func part(_ number: Int) -> Int {
            number / members + (member < number % members ? 1 : 0)
        }
        return PoolLimits(
            maxOpen: maxOpen, maxPinned: maxPinned,
            maxIdle: maxIdle == maxOpen ? maxIdle : part(maxIdle), minIdle: part(minIdle),
            maxPipeline: maxPipeline, maxWaiters: 100_000 / members,
            maxLifetime: maxLifetime, idleTimeout: idleTimeout, pingInterval: pingInterval,
            pingTimeout: connectTimeout, poolTimeout: poolTimeout, workers: members)
    }
}
