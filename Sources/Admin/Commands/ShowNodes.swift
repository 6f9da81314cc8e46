// SHOW NODES, SHOW SENTINELS and SHOW CLUSTERS: the servers of pools, and who names them.

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
        "connecting", "in_flight", "last_error", "last_error_s", "slots", "ranges", "primary", "id",
    ]

    static func answer(_ call: Call) {
        guard let meant = call.meantPools?.map(\.name) else { return }
        call.host.collector.collect(.pools) { found in
            let rows = found.pools.filter { meant.contains($0.pool) }.flatMap { pool in
                guard let cluster = call.host.clusters(pool.pool) else {
                    return pool.nodes.map { row($0, of: pool) }
                }
                return ShowNodes.rows(of: cluster, pool)
            }
            call.reply(.table(Table(columns, rows)))
        }
    }

    private static func row(
        _ node: NodeReport, of pool: PoolReport, state known: String? = nil
    ) -> [Cell] {
        let now = MonotonicTime(nanoseconds: EventLoop.now())
        let census = node.census
        let state: String
        switch node.state {
        case .inUse: state = node.address == nil ? "unknown" : "primary"
        case .replica: state = "replica"
        case .left: state = "left"
        }
        return [
            .text(pool.pool), .plain(node.address), .text(known ?? state), .plain(node.role),
            .plain(node.version), .count(census.open), .count(pool.maxOpen), .count(census.idle),
            .count(census.shared), .count(census.pinned), .count(census.connecting),
            .count(node.inFlight), .plain(node.lastError?.text, longest: 100),
            .seconds(node.lastError.map { now - $0.at }), .absent, .absent, .absent, .absent,
        ]
    }

    /// Those of the map, and those that the workers are leaving.
    private static func rows(of cluster: ClusterReport, _ pool: PoolReport) -> [[Cell]] {
        let known = cluster.nodes.map { node in
            let served = pool.nodes.first { $0.address == node.address && $0.state == .inUse }
            return row(node, served, of: pool)
        }
        let left = pool.nodes.filter { node in
            node.address != nil
                && !(node.state == .inUse && cluster.nodes.contains { $0.address == node.address })
        }
        return known + left.map { row($0, of: pool, state: "left") }
    }

    private static func row(
        _ node: ClusterRow, _ served: NodeReport?, of pool: PoolReport
    ) -> [Cell] {
        let now = MonotonicTime(nanoseconds: EventLoop.now())
        let census = served?.census ?? PoolCensus()
        let error = served?.lastError
        return [
            .text(pool.pool), .plain(node.address), .text(node.state.rawValue),
            .text(node.isPrimary ? "primary" : "replica"), .plain(served?.version ?? []),
            .count(census.open), .count(pool.maxOpen), .count(census.idle), .count(census.shared),
            .count(census.pinned), .count(census.connecting), .count(served?.inFlight ?? 0),
            .plain(node.error.isEmpty ? error?.text : node.error, longest: 100),
            .seconds(node.error.isEmpty ? error.map { now - $0.at } : nil), .count(node.slots),
            .plain(node.ranges), .plain(node.primary), .plain(node.id),
        ]
    }
}

enum ShowClusters {
    static let columns = [
        "pool", "state", "version", "slots_ok", "nodes", "down", "changes", "changed_s",
        "failovers", "moved", "asked", "tryagain", "split", "replica_reads", "error",
    ]

    static func answer(_ call: Call) {
        guard let meant = call.meantPools else { return }
        call.host.collector.collect(.pools) { found in
            let rows = meant.compactMap { pool in
                call.host.clusters(pool.name).map { report in
                    let counts = found.pools.first { $0.pool == pool.name }?.cluster
                    return row(pool.name, report, counts)
                }
            }
            call.reply(.table(Table(columns, rows)))
        }
    }

    /// - Parameter counts: nil if no worker answers.
    private static func row(
        _ pool: String, _ report: ClusterReport, _ counts: ClusterCounts?
    ) -> [Cell] {
        let down = report.nodes.filter { $0.state == .down }
        let error =
            report.isKnown
            ? down.first.map { "\($0.address): \($0.error)" }
            : report.lastError.isEmpty ? report.unknownNames.first : report.lastError
        return [
            .text(pool), .text(report.state), .count(report.version), .count(report.served),
            .count(report.nodes.count), .count(down.count), .count(report.changes),
            .seconds(report.isKnown ? wallClock() - report.changedAt : nil),
            .count(report.failovers), .count(counts?.moved), .count(counts?.asked),
            .count(counts?.triedAgain), .count(counts?.split), .count(counts?.replicaReads),
            .plain(error, longest: 100),
        ]
    }
}

enum ShowSentinels {
    static let columns = [
        "pool", "sentinel", "state", "configured", "names", "epoch", "heard_s", "error", "primary",
        "failovers", "last_failover", "last_failover_s", "last_failover_ms", "sign", "replicas",
        "replica_reads",
    ]

    static func answer(_ call: Call) {
        guard let meant = call.meantPools else { return }
        call.host.collector.collect(.pools) { found in
            let all = meant.flatMap { pool in
                let reads = found.pools.first { $0.pool == pool.name }?.cluster.replicaReads
                return call.host.sentinels(pool.name).map { rows(pool.name, $0, reads) } ?? []
            }
            call.reply(.table(Table(columns, all)))
        }
    }

    /// - Parameter replicaReads: nil if no worker answers.
    private static func rows(
        _ pool: String, _ report: SentinelReport, _ replicaReads: UInt64?
    ) -> [[Cell]] {
        let now = wallClock()
        let last = report.lastFailover
        let ofPool: [Cell] = [
            .plain(report.primary?.name), .count(report.failovers),
            .plain(last?.way), .seconds(last.map { now - $0.at }),
            .milliseconds(last?.duration), .plain(last?.sign.rawValue),
            .count(report.replicas?.count), .count(replicaReads),
        ]
        return report.sentinels.map { sentinel in
            [
                .text(pool), .plain(sentinel.address), .text(sentinel.state.rawValue),
                .text(sentinel.isConfigured ? "yes" : "no"),
                .plain(sentinel.named), .count(sentinel.epoch),
                .seconds(sentinel.heardAt == 0 ? nil : now - sentinel.heardAt),
                .plain(
                    sentinel.error.isEmpty ? sentinel.replicaError : sentinel.error, longest: 100),
            ] + ofPool
        }
    }
}
