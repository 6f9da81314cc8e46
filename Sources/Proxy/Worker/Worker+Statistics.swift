// The summary line of each pool, and the last word on warnings that were held back.

import Config
import Logging
import Pool
import Telemetry

extension Worker {
    /// Called with every tick; does its work when it is due.
    func logWhatIsDue() {
        if now - logged.summaries >= Worker.summaryInterval {
            logged.summaries = now
            for pool in pools { pool.logHeldBack() }
        }
        if options.statisticsInterval > 0, now - logged.statistics >= options.statisticsInterval {
            logged.statistics = now
            // One line for the process: the first worker asks the others.
            if group.workers == 1 {
                logStatistics(with: [])
            } else if index == 0 {
                ask(.statistics, Array(1..<group.workers), for: .statistics)
            }
        }
    }

    /// How often it is looked whether a burst of warnings is over.
    private static let summaryInterval: Int64 = 1_000_000_000

    /// One line for each pool: its numbers here and what other workers say of theirs.
    func logStatistics(with answers: [WorkerAnswer]) {
        for pool in pools {
            var sum = PoolStatistics(pool)
            for case .statistics(let other) in answers {
                if let there = other.pools[pool.config.name] { sum.add(there) }
            }
            log.info("statistics", metadata: sum.metadata(of: pool))
        }
    }
}

/// The numbers of all pools of one worker.
package struct PoolStatisticsList: Sendable {
    let pools: [String: PoolStatistics]
}

/// What the clients of a pool do, on one worker: totals since the start, but for `clients`.
struct ClientTraffic: Sendable {
    /// Connected now.
    var clients = 0
    var accepted: UInt64 = 0
    var commandsShared: UInt64 = 0
    var commandsPinned: UInt64 = 0
    /// Answered by Redpool itself.
    var commandsLocal: UInt64 = 0
    /// Times that a client's unreceived commands were sent again.
    var retried: UInt64 = 0
    /// Messages that came for nobody.
    var pushesDropped: UInt64 = 0

    mutating func add(_ other: ClientTraffic) {
        clients += other.clients
        accepted += other.accepted
        commandsShared += other.commandsShared
        commandsPinned += other.commandsPinned
        commandsLocal += other.commandsLocal
        retried += other.retried
        pushesDropped += other.pushesDropped
    }
}

/// The numbers of a pool: totals since the start, but for what is counted now, which are clients
/// and connections.
struct PoolStatistics: Sendable {
    private var traffic: ClientTraffic
    private var open: Int
    private var idle: Int
    private var shared: Int
    private var pinned: Int
    private var waiting: Int
    private var counters: PoolCounters
    private var closes: UInt64

    /// Those of one worker.
    init(_ pool: PoolFront) {
        let census = pool.server.machine.census
        traffic = pool.traffic
        open = census.open
        idle = census.idle
        shared = census.shared
        pinned = census.pinned
        waiting = census.waiting
        counters = pool.server.machine.counters
        closes = counters.allCloses
    }

    mutating func add(_ other: PoolStatistics) {
        traffic.add(other.traffic)
        open += other.open
        idle += other.idle
        shared += other.shared
        pinned += other.pinned
        waiting += other.waiting
        closes += other.closes
        counters.hits += other.counters.hits
        counters.misses += other.counters.misses
        counters.waits += other.counters.waits
        counters.waitNanoseconds += other.counters.waitNanoseconds
        counters.waitTimeouts += other.counters.waitTimeouts
        counters.dials += other.counters.dials
        counters.dialFailures += other.counters.dialFailures
    }

    func metadata(of pool: PoolFront) -> Logger.Metadata {
        let wait = counters.waits == 0 ? 0 : counters.waitNanoseconds / counters.waits / 1000
        return [
            "event": "pool.statistics", "pool": "\(pool.config.name)",
            "clients": "\(traffic.clients)", "open": "\(open)/\(pool.config.maxOpen)",
            "idle": "\(idle)", "shared": "\(shared)", "pinned": "\(pinned)",
            "waiting": "\(waiting)", "commands_shared": "\(traffic.commandsShared)",
            "commands_pinned": "\(traffic.commandsPinned)",
            "commands_local": "\(traffic.commandsLocal)", "retried": "\(traffic.retried)",
            "pushes_dropped": "\(traffic.pushesDropped)",
            "accepted": "\(traffic.accepted)", "rejected": "\(pool.group.rejectedCount)",
            "hits": "\(counters.hits)", "misses": "\(counters.misses)",
            "waits": "\(counters.waits)", "wait_mean_us": "\(wait)",
            "wait_timeouts": "\(counters.waitTimeouts)", "opened": "\(counters.opens)",
            "closed": "\(closes)", "dial_failures": "\(counters.dialFailures)",
        ]
    }
}
