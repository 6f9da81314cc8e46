// What is counted of subscriptions on hubs.

/// Sums since the start.
package struct SubscriberTraffic: Equatable, Sendable {
    /// Messages that have come on hubs.
    package var messages: UInt64 = 0
    /// Messages that clients have got.
    package var deliveries: UInt64 = 0
    /// Hubs that were lost with subscriptions on them.
    package var losses: UInt64 = 0
    /// How long kept clients have been without a hub, in nanoseconds.
    package var gaps: Int64 = 0

    package mutating func add(_ other: SubscriberTraffic) {
        messages &+= other.messages
        deliveries &+= other.deliveries
        losses &+= other.losses
        gaps &+= other.gaps
    }
}

/// The numbers of the subscriptions of a pool on hubs, on one worker or on several.
package struct SubscriberMetrics: Equatable, Sendable {
    /// The pool shares subscriptions, or has shared some.
    package var isShared = false
    package var traffic = SubscriberTraffic()
    package var present = Present()

    /// What there is at the moment.
    package struct Present: Equatable, Sendable {
        /// Hubs that have an upstream.
        package var hubs = 0
        /// Clients with subscriptions on hubs, or that wait for one.
        package var clients = 0
        /// Names on hubs, those of each hub for themselves.
        package var channels = 0
        package var patterns = 0
        package var shards = 0
        /// Subscriptions of clients to these names.
        package var subscriptions = 0
        /// Bytes that wait for such clients.
        package var backlog = 0
    }

    package mutating func add(_ other: SubscriberMetrics) {
        isShared = isShared || other.isShared
        traffic.add(other.traffic)
        present.add(other.present)
    }
}

extension SubscriberMetrics.Present {
    fileprivate mutating func add(_ other: Self) {
        hubs += other.hubs
        clients += other.clients
        channels += other.channels
        patterns += other.patterns
        shards += other.shards
        subscriptions += other.subscriptions
        backlog += other.backlog
    }
}
