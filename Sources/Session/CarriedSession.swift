// A session, the state of a held upstream, and the commands that a monitor is not to see, as plain
// values: they are handed over to another process.

package import Pool

/// Everything of a session that outlives the process. It has no questions that the server has not
/// answered: these are waited for.
package struct CarriedSession: Equatable, Sendable {
    /// The user is numbered by the worker that it comes from.
    package var key: PoolKey
    /// The upstream of the last write has an id of the worker that it comes from.
    package var writes = WriteTrail()
    /// How many members the open MULTI has; nil without one.
    package var openTransaction: UInt32?
    package var replyMode = ReplyMode.on
    package var hasReset = false
    package var hasSelected = false
    package var identity = ClientIdentity()
    /// Members of the open transaction whose elements are read.
    package var members: [QueuedMember] = []
    package var hasQueuedStranger = false
    /// The client that gets its invalidations; 0 for none.
    package var redirection: UInt64 = 0
    /// The user that it has logged in as to Redpool.
    package var clientUser: [UInt8]?
    package var changesUserLater = false

    package init(key: PoolKey) { self.key = key }
}

extension Session {
    /// Whether the server has answered all questions about it, so that it can be carried.
    package var isCarriable: Bool {
        isPlain || state.changes.isEmpty && state.login == nil && state.redirection.asked == 0
    }

    /// What is carried. Questions that are not answered are left out.
    package var carried: CarriedSession {
        var carried = CarriedSession(key: key)
        carried.writes = writes
        carried.openTransaction = transaction.isOpen ? transaction.memberCount : nil
        carried.replyMode = replyMode
        carried.hasReset = hasReset
        carried.hasSelected = hasSelected
        if isPlain { return carried }
        carried.identity = state.identity
        carried.members = state.members
        carried.hasQueuedStranger = state.hasQueuedStranger
        carried.redirection = state.redirection.current
        carried.clientUser = state.clientUser
        carried.changesUserLater = state.changesUserLater
        return carried
    }

    /// The session of a client that another process had.
    package init(carried: CarriedSession) {
        self.init(
            key: carried.key, writes: carried.writes, openTransaction: carried.openTransaction,
            replyMode: carried.replyMode, hasReset: carried.hasReset,
            hasSelected: carried.hasSelected)
        var rare = RareState()
        rare.identity = carried.identity
        rare.members = carried.members
        rare.hasQueuedStranger = carried.hasQueuedStranger
        rare.redirection = Redirection(current: carried.redirection)
        rare.clientUser = carried.clientUser
        rare.changesUserLater = carried.changesUserLater
        // Most clients have none of this, and are to pay for none.
        if rare != RareState() { self.rare = .some(rare) }
    }
}

/// The state that a holder has tied to its upstream.
package struct CarriedHold: Equatable, Sendable {
    package var isInTransaction = false
    package var isWatching = false
    package var channels: UInt32 = 0
    package var patterns: UInt32 = 0
    package var shards: UInt32 = 0
    package var isTracking = false
    package var isBroadcast = false
    package var isMonitoring = false
    package var flags: ConnectionFlags = []
    package var hasMembers = false
    package var remembersKeys = false
    package var isTarget = false
    package var isTainted = false

    package init() {}
}

extension HeldState {
    /// What is carried: all of it.
    package var carried: CarriedHold {
        var carried = CarriedHold()
        carried.isInTransaction = isInTransaction
        carried.isWatching = isWatching
        carried.channels = UInt32(clamping: channels)
        carried.patterns = UInt32(clamping: patterns)
        carried.shards = UInt32(clamping: shards)
        carried.isTracking = isTracking
        carried.isBroadcast = isBroadcast
        carried.isMonitoring = isMonitoring
        carried.flags = flags
        carried.hasMembers = hasMembers
        carried.remembersKeys = remembersKeys
        carried.isTarget = isTarget
        carried.isTainted = isTainted
        return carried
    }
}

/// Commands of Redpool's own whose lines a monitor has not got.
package struct CarriedOwnCommands: Equatable, Sendable {
    /// A command, as a line shows it, and the address of its connection.
    package struct Sent: Equatable, Sendable {
        package var address: [UInt8]
        package var text: [UInt8]

        package init(address: [UInt8], text: [UInt8]) {
            self.address = address
            self.text = text
        }
    }

    /// A connection that the server sees at another address.
    package struct Alias: Equatable, Sendable {
        package var seen: [UInt8]
        package var local: [UInt8]

        package init(seen: [UInt8], local: [UInt8]) {
            self.seen = seen
            self.local = local
        }
    }

    /// Those of one address are in the order in which they were sent.
    package var sent: [Sent]
    package var aliases: [Alias]

    package init(sent: [Sent] = [], aliases: [Alias] = []) {
        self.sent = sent
        self.aliases = aliases
    }
}
