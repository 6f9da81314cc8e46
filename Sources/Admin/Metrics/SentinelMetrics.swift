// The metrics of pools whose primary Sentinels name.

import Proxy

extension PrometheusMetrics {
    static func sentinels(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        let pools = snapshot.pools.compactMap { pool in
            pool.sentinels.map { (label: Label("pool", pool.name), report: $0) }
        }
        if pools.isEmpty { return }
        text.metric(
            "redpool_sentinels", .gauge, "Sentinels of the pool, by the connection to them.")
        for (label, report) in pools {
            for state in SentinelRow.State.allCases {
                let count = report.sentinels.count { $0.state == state }
                text.sample([label, Label("state", state.rawValue)], count)
            }
        }
        text.metric(
            "redpool_primary_known", .gauge, "1 while the pool has a primary that Sentinels name.")
        for (label, report) in pools { text.sample([label], report.primary != nil) }
        text.metric(
            "redpool_primary_verified", .gauge,
            "1 while the primary has said that it is one, and nothing speaks against it.")
        for (label, report) in pools { text.sample([label], report.isVerified) }
        text.metric(
            "redpool_replicas", .gauge,
            "Replicas that Sentinels say are up; 0 while nobody reads from replicas.")
        for (label, report) in pools { text.sample([label], report.replicas?.count ?? 0) }
        text.metric(
            "redpool_failovers_total", .counter, "How often another server became the primary.")
        for (label, report) in pools { text.sample([label], report.failovers) }
        text.metric(
            "redpool_last_failover_timestamp_seconds", .gauge,
            "When another server last became the primary, since 1970; 0 for never.")
        for (label, report) in pools { text.seconds([label], report.lastFailover?.at ?? 0) }
        text.metric(
            "redpool_last_failover_seconds", .gauge,
            "From the first sign of the last failover until its primary was known; 0 for none.")
        for (label, report) in pools { text.seconds([label], report.lastFailover?.duration ?? 0) }
    }
}
