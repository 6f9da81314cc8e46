// Redpool's own uses of the wait queue. Their ids are numbers that no client has: a client's id has
// its slot in the low half, and no worker has so many slots.

import Pool
import Session

/// Who of Redpool's own waits for an upstream. Each case has an id of its own.
enum OwnWaiter {
    /// The question whether scripts can make up replies.
    case scripts
    /// The check whether the server still accepts a user. It gives its upstream back unused.
    case users
    /// The release of blocked clients.
    case unblocker
    /// The question about a server's replication.
    case replication
    /// A hub for the subscriptions of many clients.
    case hub(HubRef)

    init?(_ waiter: WaiterID) {
        switch UInt64.max - waiter.raw {
        case 0: self = .scripts
        case 1: self = .users
        case 2: self = .unblocker
        case 3: self = .replication
        case let number where number <= 4 + UInt64(UInt32.max) >> 8:
            self = .hub(HubRef(UInt32(number - 4)))
        default: return nil
        }
    }

    var id: WaiterID { WaiterID(raw: .max - number) }

    private var number: UInt64 {
        switch self {
        case .scripts: 0
        case .users: 1
        case .unblocker: 2
        case .replication: 3
        case .hub(let ref): 4 + UInt64(ref.raw)
        }
    }
}
