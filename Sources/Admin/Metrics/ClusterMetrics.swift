// The metrics of pools in front of a cluster.

import Proxy

extension PrometheusMetrics {
    static func clusters(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        let pools = snapshot.pools.compactMap { pool in
            pool.cluster.map { (label: Label("pool", pool.name), report: $0) }
        }
        if pools.isEmpty { return }
        text.metric(
            "redpool_cluster_slots_covered", .gauge,
            "Slots that a node serves, of 16384; 0 while the map is not known.")
        for (label, report) in pools { text.sample([label], report.served) }
        text.metric(
            "redpool_cluster_nodes", .gauge,
            "Nodes of the cluster, by their role and by whether they say what they know of it.")
        for (label, report) in pools {
            for (role, isPrimary) in [("primary", true), ("replica", false)] {
                for state in ClusterRow.State.allCases {
                    let count = report.nodes.count {
                        $0.isPrimary == isPrimary && $0.state == state
                    }
                    text.sample(
                        [label, Label("role", role), Label("state", state.rawValue)], count)
                }
            }
        }
        text.metric(
            "redpool_cluster_map_version", .gauge,
            "Rises when a slot gets another node; 0 while the map is not known.")
        for (label, report) in pools { text.sample([label], report.version) }
        text.metric(
            "redpool_cluster_map_changed_timestamp_seconds", .gauge,
            "When a slot last got another node, since 1970; 0 while the map is not known.")
        for (label, report) in pools { text.seconds([label], report.changedAt) }
        text.metric(
            "redpool_cluster_failovers_total", .counter,
            "How often a replica took over slots of its primary.")
        for (label, report) in pools { text.sample([label], report.failovers) }
        redirects(snapshot.pools.filter { $0.cluster != nil }, &text)
    }

    private static func redirects(_ pools: [PoolView], _ text: inout PrometheusText) {
        text.metric(
            "redpool_cluster_redirects_total", .counter,
            "Answers of nodes that a command has not run, by their kind.")
        for pool in pools {
            let counts = pool.metrics.cluster
            for (kind, count) in [
                ("moved", counts.moved), ("asked", counts.asked), ("tryagain", counts.triedAgain),
            ] {
                text.sample([Label("pool", pool.name), Label("kind", kind)], count)
            }
        }
        text.metric(
            "redpool_cluster_split_commands_total", .counter,
            "Commands that were sent in parts because their keys are in several slots.")
        for pool in pools {
            text.sample([Label("pool", pool.name)], pool.metrics.cluster.split)
        }
    }

    /// What replicas get, in pools with Sentinels and in front of a cluster.
    static func replicaReads(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        let pools = snapshot.pools.filter { $0.cluster != nil || $0.sentinels != nil }
        if pools.isEmpty { return }
        text.metric(
            "redpool_replica_reads_total", .counter,
            "Commands, and parts of commands, that were sent to replicas.")
        for pool in pools {
            text.sample([Label("pool", pool.name)], pool.metrics.cluster.replicaReads)
        }
    }
}
