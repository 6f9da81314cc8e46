// What the shell, the console and the metrics ask.

extension Subscriptions {
    /// Whether the client has a subscription, or an open ask.
    package func isListening(_ client: ClientRef) -> Bool { clients.find(client) != nil }

    /// Whether the client has a subscription on the hub, or an open ask that begins or ends one.
    package func isOn(_ hub: HubRef, _ client: ClientRef) -> Bool {
        clients.find(client).map { clients[$0].hubs.contains { $0 == hub } } ?? false
    }

    /// What the client is subscribed to, as far as it has been told.
    package func count(_ client: ClientRef) -> (channels: Int, patterns: Int, shards: Int) {
        guard let number = clients.find(client) else { return (0, 0, 0) }
        let told = clients[number].told
        return (told[.channel], told[.pattern], told[.shard])
    }

    /// The oldest of the client's subscriptions.
    package func anyName(
        of client: ClientRef
    ) -> (hub: HubRef, kind: SubscriptionKind, name: [UInt8])? {
        guard let number = clients.find(client),
            let entry = clients[number].subscriptions.firstEntry
        else { return nil }
        return (entries[entry].hub, entries[entry].kind, entries[entry].name)
    }

    /// Whether nobody wants anything on the hub and nothing is under way there.
    package func hasNothing(_ hub: HubRef) -> Bool {
        guard let known = hubs[hub] else { return true }
        return known.sends.isEmpty && known.entries == known.stuck
            && !known.waiting.contains { asks[$0].client != nil }
    }

    /// Calls `body` for each entry that has listeners.
    package func forEachEntry(
        _ body: (HubRef, SubscriptionKind, [UInt8], _ listeners: Int, _ messages: UInt64) -> Void
    ) {
        for number in entries.numbers where entries.has(number) {
            let entry = entries[number]
            guard !entry.listeners.isEmpty else { continue }
            body(entry.hub, entry.kind, entry.name, entry.listeners.count, entry.messages)
        }
    }

    /// How much there is of what.
    package struct Totals: Equatable, Sendable {
        package var hubs = 0
        /// Entries with listeners.
        package var channels = 0
        package var patterns = 0
        package var shards = 0
        /// Subscriptions that are confirmed.
        package var listeners = 0

        package init() {}
    }

    /// For metrics.
    package var totals: Totals {
        var totals = Totals()
        totals.hubs = hubs.count
        totals.channels = listened[.channel]
        totals.patterns = listened[.pattern]
        totals.shards = listened[.shard]
        totals.listeners = listening
        return totals
    }

    /// True when nothing is left of all clients and hubs.
    package var isEmpty: Bool {
        hubs.isEmpty && entries.isEmpty && clients.count == 0
            && asks.count == 0 && actions.isEmpty && unsettled.isEmpty && listening == 0
    }
}
