// The summary line of each pool, and the last lines of merged warnings.

import Config
import Logging
import Pool
import Telemetry

extension Worker {
    /// Called with every tick. Does its work when it is due.
    func logWhatIsDue() {
        if now - logged.summaries >= Worker.summaryInterval {
            logged.summaries = now
            for pool in pools { pool.logHeldBack() }
        }
        if options.statisticsInterval > 0, now - logged.statistics >= options.statisticsInterval {
            logged.statistics = now
            // One line for the whole process: the first worker asks the others.
            if group.workers == 1 {
                logStatistics(with: [])
            } else if index == 0 {
                ask(.statistics, Array(1..<group.workers), for: .statistics)
            }
        }
    }

    /// How often to check whether a burst of warnings is over, in nanoseconds.
    private static let summaryInterval: Int64 = 1_000_000_000

    /// Logs one line for each pool: the sums of this worker's and the other workers' numbers.
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

/// The numbers of one worker's pools.
package struct PoolStatisticsList: Sendable {
    let pools: [String: PoolStatistics]
}

/// What the clients of a pool do, on one worker. Totals since the start, except `clients`.
struct ClientTraffic: Sendable {
    /// Connected now.
    var clients = 0
    var accepted: UInt64 = 0
    var commandsShared: UInt64 = 0
    var commandsPinned: UInt64 = 0
    /// Answered by Redpool itself.
    var commandsLocal: UInt64 = 0
    /// How often unreceived commands of a client were sent again.
    var retried: UInt64 = 0
    /// Pushes that no client had asked for.
    var pushesDropped: UInt64 = 0
    /// Clients that left while they waited for an upstream.
    var left: UInt64 = 0
    /// Errors of Redpool's own in place of a reply, as `client.refused` has them.
    var refused: UInt64 = 0
    /// Logins that Redpool has refused.
    var loginsRefused: UInt64 = 0
    /// Answers of a cluster's nodes that a command has not run: MOVED; ASK; TRYAGAIN and
    /// CLUSTERDOWN.
    var moved: UInt64 = 0
    var asked: UInt64 = 0
    var triedAgain: UInt64 = 0
    /// Commands that were sent in parts because their keys are in several slots.
    var split: UInt64 = 0
    /// Commands, and parts, that were sent to replicas.
    var replicaReads: UInt64 = 0

    mutating func add(_ other: ClientTraffic) {
        clients += other.clients
        accepted += other.accepted
        commandsShared += other.commandsShared
        commandsPinned += other.commandsPinned
        commandsLocal += other.commandsLocal
        retried += other.retried
        pushesDropped += other.pushesDropped
        left += other.left
        refused += other.refused
        loginsRefused += other.loginsRefused
        moved += other.moved
        asked += other.asked
        triedAgain += other.triedAgain
        split += other.split
        replicaReads += other.replicaReads
    }
}

/// The numbers of a pool. Totals since the start, except the current numbers of clients and
/// connections.
struct PoolStatistics: Sendable {
    private var traffic: ClientTraffic
    private var open: Int
    private var idle: Int
    private var shared: Int
    private var pinned: Int
    private var sight: PoolSight
    private var waits: LatencyHistogram
    private var counters: PoolCounters
    private var closes: UInt64
    private var tls: TLSCounts

    /// The numbers of one worker. Its waits are counted from now on for the next statistics.
    init(_ pool: PoolFront) {
        let census = pool.census
        traffic = pool.traffic
        open = census.open
        idle = census.idle
        shared = census.shared
        pinned = census.pinned
        sight = pool.sight
        waits = pool.takeWaits()
        counters = pool.counters
        closes = counters.allCloses
        tls = pool.meter.upstreamTLS
    }

    mutating func add(_ other: PoolStatistics) {
        traffic.add(other.traffic)
        open += other.open
        idle += other.idle
        shared += other.shared
        pinned += other.pinned
        sight.add(other.sight)
        waits.merge(other.waits)
        closes += other.closes
        tls.add(other.tls)
        counters.hits += other.counters.hits
        counters.misses += other.counters.misses
        counters.waits += other.counters.waits
        counters.waitTimeouts += other.counters.waitTimeouts
        counters.dials += other.counters.dials
        counters.dialFailures += other.counters.dialFailures
    }

    func metadata(of pool: PoolFront) -> Logger.Metadata {
        let now = pool.worker.now
        return [
            "event": "pool.statistics", "pool": "\(pool.config.name)",
            "clients": "\(traffic.clients)", "open": "\(open)/\(pool.config.maxOpen)",
            "idle": "\(idle)", "shared": "\(shared)", "pinned": "\(pinned)",
            "waiting": "\(sight.waiting)", "in_flight": "\(sight.inFlight)",
            "oldest_in_flight_ms": "\(PoolSight.milliseconds(sight.oldestCommand(now: now)))",
            "oldest_wait_ms": "\(PoolSight.milliseconds(sight.oldestWait(now: now)))",
            "refused": "\(traffic.refused)", "auth_failed": "\(traffic.loginsRefused)",
            "commands_shared": "\(traffic.commandsShared)",
            "commands_pinned": "\(traffic.commandsPinned)",
            "commands_local": "\(traffic.commandsLocal)", "retried": "\(traffic.retried)",
            "pushes_dropped": "\(traffic.pushesDropped)",
            "accepted": "\(traffic.accepted)", "rejected": "\(pool.group.rejectedCount)",
            "hits": "\(counters.hits)", "misses": "\(counters.misses)",
            "waits": "\(counters.waits)", "wait_p50_us": "\(waits.quantile(0.5) / 1000)",
            "wait_p99_us": "\(waits.quantile(0.99) / 1000)",
            "wait_timeouts": "\(counters.waitTimeouts)", "opened": "\(counters.opens)",
            "closed": "\(closes)", "dial_failures": "\(counters.dialFailures)",
            "tls_handshakes": "\(tls.full + tls.resumed)", "tls_resumed": "\(tls.resumed)",
            "log_lost": "\(pool.worker.options.lostLines())",
        ]
    }
}
