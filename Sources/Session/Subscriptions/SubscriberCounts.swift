// How many clients listen to a name at a server, and on how many hubs. Pure.

/// The steady subscribers of a process at one server.
package struct SubscriberCounts: Sendable {
    /// What one message would reach.
    package struct Reach: Equatable, Sendable {
        /// Clients of hubs.
        package var listeners: Int
        /// Hubs: what the server counts in their place.
        package var hubs: Int
        /// Hubs that the server counts for nobody: they are about to unsubscribe, or may not.
        package var leaving: Int

        package init(listeners: Int = 0, hubs: Int = 0, leaving: Int = 0) {
            self.listeners = listeners
            self.hubs = hubs
            self.leaving = leaving
        }

        fileprivate var isNone: Bool { listeners == 0 && hubs == 0 && leaving == 0 }

        mutating func add(_ other: Reach) {
            listeners += other.listeners
            hubs += other.hubs
            leaving += other.leaving
        }
    }

    private var channels: [[UInt8]: Reach] = [:]
    private var shards: [[UInt8]: Reach] = [:]
    private var patterns: [[UInt8]: Reach] = [:]
    /// What the patterns reach for channels that were published to, nil for those that take too
    /// long to match; forgotten when a pattern comes or goes.
    private var matched: [[UInt8]: Reach?] = [:]

    /// The most comparisons with patterns for one channel, over all patterns: the workers wait for
    /// them.
    package static let mostSteps = 500_000

    /// So many channels are remembered.
    package static let mostMatched = 1024

    /// Nobody listens to anything.
    package init() {}

    /// Nobody listens to anything.
    package var isEmpty: Bool { channels.isEmpty && shards.isEmpty && patterns.isEmpty }

    /// What a message to a name reaches has changed by so much.
    package mutating func change(
        _ kind: SubscriptionKind, _ name: [UInt8], by difference: Reach
    ) {
        switch kind {
        case .channel: SubscriberCounts.change(&channels, name, difference)
        case .shard: SubscriberCounts.change(&shards, name, difference)
        case .pattern:
            SubscriberCounts.change(&patterns, name, difference)
            matched = [:]
        }
    }

    private static func change(
        _ names: inout [[UInt8]: Reach], _ name: [UInt8], _ difference: Reach
    ) {
        var reach = names[name] ?? Reach()
        reach.add(difference)
        names[name] = reach.isNone ? nil : reach
    }

    /// Whom PUBLISH would reach; nil if that takes too long to find out.
    package mutating func published(_ channel: [UInt8]) -> Reach? {
        guard var reach = matching(channel) else { return nil }
        if let direct = channels[channel] { reach.add(direct) }
        return reach
    }

    /// Who is subscribed to a channel, and would get SPUBLISH: PUBSUB NUMSUB does not count
    /// patterns.
    package func subscribed(_ kind: SubscriptionKind, _ channel: [UInt8]) -> Reach {
        (kind == .shard ? shards[channel] : channels[channel]) ?? Reach()
    }

    private mutating func matching(_ channel: [UInt8]) -> Reach? {
        if patterns.isEmpty { return Reach() }
        if let known = matched[channel] { return known }
        var reach: Reach? = Reach()
        var left = SubscriberCounts.mostSteps
        for (pattern, one) in patterns {
            guard let isMatch = Glob.matches(pattern.span, channel.span, left: &left) else {
                reach = nil
                break
            }
            if isMatch { reach?.add(one) }
        }
        if matched.count >= SubscriberCounts.mostMatched { matched = [:] }
        matched[channel] = reach
        return reach
    }
}
