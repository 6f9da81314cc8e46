// SHOW NODES and SHOW SENTINELS: the servers of pools, and who names them.

import Config
import EventLoop
import Pool
import Proxy
import Telemetry

extension Call {
    /// The pools that are meant: all, or the one that is named. Nil if there is none with that
    /// name; then it is answered.
    fileprivate var meantPools: [PoolConfig]? {
        if arguments.isEmpty { return host.config.pools }
        guard let name = pool(at: 0) else { return nil }
        return host.config.pools.filter { $0.name == name }
    }
}

enum ShowNodes {
    static let columns = [
        "pool", "node", "state", "role", "version", "open", "max_open", "idle", "shared", "pinned",
        "connecting", "in_flight", "last_error", "last_error_s",
    ]

    static func answer(_ call: Call) {
        guard let meant = call.meantPools?.map(\.name) else { return }
        call.host.collector.collect(.pools) { found in
            let rows = found.pools.filter { meant.contains($0.pool) }.flatMap { pool in
                pool.nodes.map { row($0, of: pool) }
            }
            call.reply(.table(Table(columns, rows)))
        }
    }

    private static func row(_ node: NodeReport, of pool: PoolReport) -> [Cell] {
        let now = MonotonicTime(nanoseconds: EventLoop.now())
        let census = node.census
        let state = !node.isPrimary ? "left" : node.address == nil ? "unknown" : "primary"
        return [
            .text(pool.pool), .plain(node.address), .text(state), .plain(node.role),
            .plain(node.version), .count(census.open), .count(pool.maxOpen), .count(census.idle),
            .count(census.shared), .count(census.pinned), .count(census.connecting),
            .count(node.inFlight), .plain(node.lastError?.text, longest: 100),
            .seconds(node.lastError.map { now - $0.at }),
        ]
    }
}

enum ShowSentinels {
    static let columns = [
        "pool", "sentinel", "state", "configured", "names", "epoch", "heard_s", "error", "primary",
        "failovers", "last_failover", "last_failover_s", "last_failover_ms", "sign",
    ]

    static func answer(_ call: Call) {
        guard let meant = call.meantPools else { return }
        let all = meant.flatMap { pool in
            call.host.sentinels(pool.name).map { rows(pool.name, $0) } ?? []
        }
        call.reply(.table(Table(columns, all)))
    }

    private static func rows(_ pool: String, _ report: SentinelReport) -> [[Cell]] {
        let now = wallClock()
        let last = report.lastFailover
        let ofPool: [Cell] = [
            .plain(report.primary?.name), .count(report.failovers),
            .plain(last?.way), .seconds(last.map { now - $0.at }),
            .milliseconds(last?.duration), .plain(last?.sign.rawValue),
        ]
        return report.sentinels.map { sentinel in
            [
                .text(pool), .plain(sentinel.address), .text(sentinel.state.rawValue),
                .text(sentinel.isConfigured ? "yes" : "no"),
                .plain(sentinel.named), .count(sentinel.epoch),
                .seconds(sentinel.heardAt == 0 ? nil : now - sentinel.heardAt),
                .plain(sentinel.error, longest: 100),
            ] + ofPool
        }
    }
}
