// The metrics of pools whose clients share subscriptions.

import Proxy

extension PrometheusMetrics {
    static func pubsub(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        let pools = snapshot.pools.filter { $0.metrics.subscribers.isShared }
            .map { (label: Label("pool", $0.name), metrics: $0.metrics.subscribers) }
        if pools.isEmpty { return }
        text.metric(
            "redpool_pubsub_hubs", .gauge, "Upstreams that carry the subscriptions of many clients."
        )
        for (label, metrics) in pools { text.sample([label], metrics.present.hubs) }
        text.metric(
            "redpool_pubsub_listeners", .gauge, "Clients whose subscriptions are on a hub.")
        for (label, metrics) in pools { text.sample([label], metrics.present.clients) }
        text.metric(
            "redpool_pubsub_subscriptions", .gauge,
            "Names that hubs are subscribed to, by their kind. Each hub counts its own.")
        for (label, metrics) in pools {
            let present = metrics.present
            for (kind, count) in [
                ("channel", present.channels), ("pattern", present.patterns),
                ("shard", present.shards),
            ] {
                text.sample([label, Label("kind", kind)], count)
            }
        }
        text.metric(
            "redpool_pubsub_client_subscriptions", .gauge,
            "Subscriptions of clients to these names: what the server would have without hubs.")
        for (label, metrics) in pools { text.sample([label], metrics.present.subscriptions) }
        messages(pools, &text)
    }

    private static func messages(
        _ pools: [(label: Label, metrics: SubscriberMetrics)], _ text: inout PrometheusText
    ) {
        text.metric(
            "redpool_pubsub_messages_total", .counter, "Messages that have come on hubs.")
        for (label, metrics) in pools { text.sample([label], metrics.traffic.messages) }
        text.metric(
            "redpool_pubsub_deliveries_total", .counter,
            "Messages to clients: each message once for each of its listeners.")
        for (label, metrics) in pools { text.sample([label], metrics.traffic.deliveries) }
        text.metric(
            "redpool_pubsub_delivery_backlog_bytes", .gauge,
            "Bytes for listeners that they have not taken yet.")
        for (label, metrics) in pools { text.sample([label], metrics.present.backlog) }
        text.metric(
            "redpool_pubsub_hub_losses_total", .counter,
            "Hubs that were lost with subscriptions on them.")
        for (label, metrics) in pools { text.sample([label], metrics.traffic.losses) }
        text.metric(
            "redpool_pubsub_gap_seconds_total", .counter,
            "How long listeners that were kept have been without a hub. What was published "
                + "meanwhile they have missed.")
        for (label, metrics) in pools { text.seconds([label], metrics.traffic.gaps) }
    }
}
