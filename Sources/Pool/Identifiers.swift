// The identifiers of upstreams, waiters and states that the pool and the shell exchange.

/// One upstream connection. The slot is reused, the generation never (it wraps after 2^32 reuses
/// of one slot), so that an event for a connection that is already gone is recognised and ignored.
package struct UpstreamID: Hashable, Sendable {
    /// Index into the pool's slots, 0 ..< the largest `maxOpen` the pool has had. No two
    /// connections that count towards `maxOpen` have the same one.
    package let slot: UInt32
    /// Distinguishes the connections that have used `slot`.
    package let generation: UInt32

    package init(slot: UInt32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }
}

/// Who asked for a lease: the shell's own client identifier, which the pool only hands back.
package struct WaiterID: Hashable, Sendable {
    package let raw: UInt64

    package init(raw: UInt64) {
        self.raw = raw
    }
}

/// A place in the wait queue. Stale tickets (granted, refused or cancelled) are ignored.
package struct WaitTicket: Hashable, Sendable {
    let index: Int32
    let generation: UInt32
}

/// What state an upstream is in. Commands of clients with different keys never share one: a
/// dependent command must not be pipelined behind a SELECT, AUTH or HELLO that may yet fail.
package struct PoolKey: BitwiseCopyable, Hashable, Sendable {
    /// The shell's number for an ACL user and its credentials.
    package var user: UInt32
    /// RESP version, 2 or 3.
    package var protocolVersion: UInt8
    /// The selected database.
    package var database: UInt32

    package init(user: UInt32, protocolVersion: UInt8, database: UInt32) {
        self.user = user
        self.protocolVersion = protocolVersion
        self.database = database
    }
}

/// What an upstream is leased for.
package enum LeaseKind: UInt8, CaseIterable, Sendable {
    /// One command in a pipeline shared with other clients.
    case shared
    /// One command that may take long: shared too, but kept apart from the fast ones.
    case slow
    /// Exclusive, for a session that holds state on the upstream or blocks.
    case pin
    /// Exclusive and short, for commands that must not queue behind others (SCRIPT KILL ...).
    case control

    /// Whether the upstream serves only this lease.
    var isExclusive: Bool { self == .pin || self == .control }
}
