// The entries one after the other, for a report that is told in slices.

extension Subscriptions {
    /// What is known of one name, for people.
    package struct Listing: Equatable, Sendable {
        package let hub: HubRef
        package let kind: SubscriptionKind
        package let name: [UInt8]
        package let listeners: Int
        /// Messages that have come for it since it was subscribed.
        package let messages: UInt64
    }

    /// The numbers of all entries are below it.
    package var listingEnd: Int { entries.numbers.upperBound }

    /// The entry with this number; nil if there is none, or nobody listens to it. An entry keeps
    /// its number while others come and go.
    package func listing(_ number: Int) -> Listing? {
        guard entries.has(number), !entries[number].listeners.isEmpty else { return nil }
        let entry = entries[number]
        return Listing(
            hub: entry.hub, kind: entry.kind, name: entry.name, listeners: entry.listeners.count,
            messages: entry.messages)
    }
}
