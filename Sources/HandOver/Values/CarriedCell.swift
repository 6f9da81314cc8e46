// A cell: what was one worker's, and stays together. Within it, pools, servers, upstreams, clients
// and hubs refer to each other by their positions.

package import Pool
package import Session

/// What one worker has.
package struct CarriedCell: Equatable, Sendable {
    package var pools: [CarriedPool] = []
    package var servers: [CarriedServer] = []
    package var upstreams: [CarriedUpstream] = []
    package var clients: [CarriedClient] = []
    package var hubs: [CarriedHub] = []
    /// Bytes that several clients are still to be sent.
    package var blocks: [[UInt8]] = []

    package init() {}
}

/// One pool as a worker knows it.
package struct CarriedPool: Equatable, Sendable {
    package var name: String
    /// Those whose credentials the server has accepted, but for user 0, who is in the
    /// configuration.
    package var users: [CarriedUser] = []
    /// The last number that a user has got.
    package var lastUser: UInt32 = 0
    /// The user with the name of user 0 whose password was accepted last.
    package var newestDefault: UInt32?
    /// When the last connection was made for which the default user needed no login.
    package var openSince = MonotonicTime(nanoseconds: 0)
    package var defaultNeedsLogin = false
    package var isLoginKnown = false
    /// States to which clients may move without asking the server.
    package var acceptedKeys: [PoolKey] = []
    /// Databases that users may select, as keys of protocol 2.
    package var selectedKeys: [PoolKey] = []
    package var pause: CarriedPause?
    package var halt: CarriedHalt?
    /// Who listens to what on the cell's hubs. Clients and hubs have their positions there.
    package var subscriptions = CarriedSubscriptions()

    package init(name: String) { self.name = name }
}

/// A user of a pool. The password is in a section of its own, which can be blanked.
package struct CarriedUser: Equatable, Sendable {
    /// In `PoolKey.user`; never 0.
    package var number: UInt32
    package var name: [UInt8]
    package var password: [UInt8]
    /// The id of the client that was first to bring this password.
    package var witness: UInt64
    /// The server accepted the credentials earlier and refuses them now.
    package var isRefused: Bool

    package init(
        number: UInt32, name: [UInt8], password: [UInt8], witness: UInt64, isRefused: Bool
    ) {
        self.number = number
        self.name = name
        self.password = password
        self.witness = witness
        self.isRefused = isRefused
    }
}

/// A CLIENT PAUSE that is assumed to last.
package struct CarriedPause: Equatable, Sendable {
    package var end: MonotonicTime
    package var review: MonotonicTime
    /// Commands in flight have the number of the pause that they were sent in.
    package var number: UInt32
    package var runID: [UInt8]?

    package init(end: MonotonicTime, review: MonotonicTime, number: UInt32, runID: [UInt8]?) {
        self.end = end
        self.review = review
        self.number = number
        self.runID = runID
    }
}

/// An operator's PAUSE.
package struct CarriedHalt: Equatable, Sendable {
    package var began: MonotonicTime
    package var until: MonotonicTime
    /// Clients whose state keeps an upstream are closed.
    package var closesHolders: Bool

    package init(began: MonotonicTime, until: MonotonicTime, closesHolders: Bool) {
        self.began = began
        self.until = until
        self.closesHolders = closesHolders
    }
}

/// One server of a pool, as a worker sees it.
package struct CarriedServer: Equatable, Sendable {
    /// The position of its pool.
    package var pool: UInt32
    /// The same for all workers that have this node.
    package var node: UInt64
    /// Where it is, in the syntax of the configuration.
    package var address: String
    /// New work of the pool goes to it.
    package var isPrimary: Bool
    package var facts: CarriedFacts
    /// What the present process at the address has said of itself, and its epoch.
    package var runID: [UInt8]?
    package var epoch: Int64
    /// The `run_id`s of processes before the present one, the latest last.
    package var formerRunIDs: [[UInt8]] = []
    /// The address leads to several servers by turns.
    package var areSeveral = false
    /// No new work goes to it: another server has taken its place.
    package var departure: CarriedDeparture?
    /// Users who may not send ECHO as a fence.
    package var fences: [CarriedFenceForm] = []

    package init(
        pool: UInt32, node: UInt64, address: String, isPrimary: Bool, facts: CarriedFacts,
        runID: [UInt8]?, epoch: Int64
    ) {
        self.pool = pool
        self.node = node
        self.address = address
        self.isPrimary = isPrimary
        self.facts = facts
        self.runID = runID
        self.epoch = epoch
    }
}

/// What a server has reported; nil for what it has not.
package struct CarriedFacts: Equatable, Sendable {
    package var version: [UInt8]?
    package var valkeyVersion: [UInt8]?
    package var runID: [UInt8]?
    package var timeoutSeconds: Int64?
    package var outputLimit: UInt64 = 0
    /// A line of CLIENT LIST.
    package var clientLine = ""
    package var hasTransactions = false
    package var newProtocol = NewProtocol.unknown

    /// Whether it speaks RESP3.
    package enum NewProtocol: CaseIterable, Equatable, Sendable {
        case unknown, spoken, refused
    }

    package init() {}
}

/// The form of fences for a user.
package struct CarriedFenceForm: Equatable, Sendable {
    package var user: UInt32
    package var form: FenceWord
    package var since: MonotonicTime

    package init(user: UInt32, form: FenceWord, since: MonotonicTime) {
        self.user = user
        self.form = form
        self.since = since
    }
}

/// The command that a fence uses.
package enum FenceWord: CaseIterable, Equatable, Sendable {
    case echo, ping, none
}
