// The summary line of each pool, and the last word on warnings that were held back.

import Config
import Logging
import Pool
import Telemetry

extension Worker {
    /// Called with every tick; does its work when it is due.
    func logWhatIsDue() {
        if now - lastSummaries >= Worker.summaryInterval {
            lastSummaries = now
            for pool in pools { pool.logHeldBack() }
        }
        if statisticsInterval > 0, now - lastStatistics >= statisticsInterval {
            lastStatistics = now
            for pool in pools { logStatistics(pool) }
        }
    }

    /// How often it is looked whether a burst of warnings is over.
    private static let summaryInterval: Int64 = 1_000_000_000

    /// Totals since the start, but for what is counted now: clients and connections.
    private func logStatistics(_ pool: UpstreamPool) {
        let census = pool.machine.census
        let counters = pool.machine.counters
        let wait = counters.waits == 0 ? 0 : counters.waitNanoseconds / counters.waits / 1000
        log.info(
            "statistics",
            metadata: [
                "event": "pool.statistics", "pool": "\(pool.config.name)",
                "clients": "\(clients.count)", "open": "\(census.open)/\(pool.config.maxOpen)",
                "idle": "\(census.idle)", "shared": "\(census.shared)",
                "pinned": "\(census.pinned)", "waiting": "\(census.waiting)",
                "commands_shared": "\(statistics.commandsShared)",
                "commands_pinned": "\(statistics.commandsPinned)",
                "commands_local": "\(statistics.commandsLocal)",
                "retried": "\(statistics.retried)", "accepted": "\(statistics.accepted)",
                "rejected": "\(statistics.rejected)", "hits": "\(counters.hits)",
                "misses": "\(counters.misses)", "waits": "\(counters.waits)",
                "wait_mean_us": "\(wait)", "wait_timeouts": "\(counters.waitTimeouts)",
                "opened": "\(counters.opens)", "closed": "\(counters.allCloses)",
                "dial_failures": "\(counters.dialFailures)",
            ])
    }
}

extension UpstreamPool {
    /// Warnings that were merged and whose burst is over get a last line with their number.
    func logHeldBack() {
        for summary in limiter.due(now: worker.now.nanoseconds) where summary.count > 0 {
            worker.log.warning(
                "the same again",
                metadata: [
                    "event": "\(summary.key.event)", "pool": "\(config.name)",
                    "reason": "\(summary.key.reason)", "count": "\(summary.count)",
                ])
        }
    }
}
