// What a pool's configuration bounds: the state machine of each of its workers.

import Config
import Pool

extension PoolConfig {
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
