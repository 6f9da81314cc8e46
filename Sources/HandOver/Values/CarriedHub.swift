// What is carried of a hub. Its entries and their listeners are in `CarriedPool.subscriptions`.

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

    package init(pool: UInt32, user: UInt32, server: UInt32, hasShards: Bool) {
        self.pool = pool
        self.user = user
        self.server = server
        self.hasShards = hasShards
    }
}
