// Redpool's own uses of the wait queue. Their ids are numbers that no client has: a client's id has
// its slot in the low half, and no worker has so many slots.

import Pool

/// Who of Redpool's own waits for an upstream. Each case has an id of its own.
enum OwnWaiter: UInt64, CaseIterable {
    /// The question whether scripts can make up replies.
    case scripts
    /// The check whether the server still accepts a user. It gives its upstream back unused.
    case users
    /// The release of blocked clients.
    case unblocker
    /// The question about a server's replication.
    case replication

    init?(_ waiter: WaiterID) { self.init(rawValue: .max - waiter.raw) }

    var id: WaiterID { WaiterID(raw: .max - rawValue) }
}
