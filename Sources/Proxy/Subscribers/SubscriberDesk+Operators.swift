// What operators see of subscriptions on hubs: the log, the numbers, and the names.

import Config
import EventLoop
import Logging
import Pool
import Session

extension SubscriberDesk {
    /// Kept clients get messages again.
    func logGap(_ hub: PushHub, _ since: MonotonicTime) {
        var names = 0
        core.forEachEntry { ref, _, _, _, _ in if ref == hub.ref { names += 1 } }
        let clients = clients(on: hub) { $0.isListener }.count
        worker.log.warning(
            "clients that subscribe have got no messages for a while",
            metadata: [
                "event": "pubsub.gap", "pool": "\(pool.config.name)", "clients": "\(clients)",
                "channels": "\(names)", "gap_ms": "\((worker.now - since) / 1_000_000)",
            ])
    }

    /// One line for all clients that were closed with their hub.
    func logClosed() {
        guard closed.clients > 0 else { return }
        worker.log.warning(
            "clients that subscribe were closed, as their hub was lost",
            metadata: [
                "event": "pubsub.lost", "pool": "\(pool.config.name)",
                "reason": "\(closed.reason)", "clients": "\(closed.clients)",
            ])
        closed = (clients: 0, reason: "")
    }

    /// Closes the clients that only listen.
    func closeResting(_ reason: ClientCloseReason) {
        for client in worker.clients.all
        where client.pool === pool && client.isSubscribing && !client.awaitsHub
            && client.inFlight == 0 && !client.isHolding
        {
            client.closeAfterFlush(reason)
        }
    }

    /// The numbers of this worker.
    var metrics: SubscriberMetrics {
        let totals = core.totals
        var metrics = SubscriberMetrics()
        metrics.traffic = traffic
        metrics.present.hubs = hubs.count { $0.upstream != nil }
        metrics.present.channels = totals.channels
        metrics.present.patterns = totals.patterns
        metrics.present.shards = totals.shards
        metrics.present.subscriptions = totals.listeners
        metrics.isShared = metrics.present.hubs > 0 || traffic != SubscriberTraffic()
        return metrics
    }

    /// The numbers of all names are below it.
    var listingEnd: Int { core.listingEnd }

    /// The name with this number; nil if there is none, or nobody listens to it.
    func listing(_ number: Int) -> SubscriptionReport? {
        core.listing(number).map { found in
            SubscriptionReport(
                pool: pool.config.name, worker: worker.index,
                user: pool.users.name(of: hubs[Int(found.hub.raw)].user), kind: found.kind.word,
                name: found.name, listeners: found.listeners, messages: found.messages)
        }
    }
}

extension SubscriptionKind {
    fileprivate var word: String {
        switch self {
        case .channel: "channel"
        case .pattern: "pattern"
        case .shard: "shard"
        }
    }
}

extension PoolFront {
    /// The server has no RESP3, which hubs speak: clients that subscribe get upstreams of their
    /// own. That is logged once for all workers.
    func notePinnedSubscribers() {
        guard group.isFirstPinnedSubscriber() else { return }
        worker.log.warning(
            "\(primary.place) has no RESP3: each client that subscribes has an upstream of its own",
            metadata: ["event": "pubsub.pinned", "pool": "\(config.name)"])
    }
}
