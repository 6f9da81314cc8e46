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
