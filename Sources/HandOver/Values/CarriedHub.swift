// What is carried of a hub: which names are subscribed there, and by whom.

package import Session

/// A hub with nothing under way: no ask is open.
package struct CarriedHub: Equatable, Sendable {
    /// The position of its pool.
    package var pool: UInt32
    /// The user of its upstream, numbered by the worker that it comes from.
    package var user: UInt32
    /// The position of the server that it is at.
    package var server: UInt32
    /// It has the shard channels of that server; else channels and patterns.
    package var hasShards: Bool
    package var entries: [CarriedEntry] = []

    package init(pool: UInt32, user: UInt32, server: UInt32, hasShards: Bool) {
        self.pool = pool
        self.user = user
        self.server = server
        self.hasShards = hasShards
    }
}

/// A name that is subscribed on a hub.
package struct CarriedEntry: Equatable, Sendable {
    package var kind: SubscriptionKind
    package var name: [UInt8]
    /// Messages that have come.
    package var messages: UInt64
    /// The positions of the clients that listen; with each, how many subscriptions the client was
    /// told of before this one.
    package var listeners: [CarriedListening]

    package init(
        kind: SubscriptionKind, name: [UInt8], messages: UInt64, listeners: [CarriedListening]
    ) {
        self.kind = kind
        self.name = name
        self.messages = messages
        self.listeners = listeners
    }
}

/// One client's subscription.
package struct CarriedListening: Equatable, Sendable {
    package var client: UInt32
    /// Its place among the client's subscriptions, which UNSUBSCRIBE without names goes by.
    package var place: UInt32

    package init(client: UInt32, place: UInt32) {
        self.client = client
        self.place = place
    }
}
