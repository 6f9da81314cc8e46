// A session and the state of a held upstream as plain values, for a hand-over to another process.

package import Pool

/// Everything of a session that outlives the process. Questions that the server has not answered
/// (an identity change, a login, a redirection) are not carried: they are waited for.
package struct CarriedSession: Equatable, Sendable {
    /// The user is numbered by the worker that it comes from.
    package var key: PoolKey
    /// The upstream of the last write; nil before the first.
    package var lastWrite: UpstreamID?
    /// Writes went to more than one upstream.
    package var isSpread = false
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

/// The state that a holder has tied to its upstream.
package struct CarriedHold: Equatable, Sendable {
    package var isInTransaction = false
    package var isWatching = false
    package var channels = 0
    package var patterns = 0
    package var shards = 0
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
