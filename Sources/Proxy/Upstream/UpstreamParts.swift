// What an upstream connection knows of itself, in parts: the reply that comes in, the flow of bytes, where
// it leads, and how it will end.

import Pool
import Session

/// The reply that is coming in.
struct IncomingReply {
    /// Bytes of a reply that Redpool reads itself.
    var collected: [UInt8] = []
    /// The beginning of such a reply, which is too long to be kept, has gone to its client.
    var isBegunRelayed = false
    /// The array of an EXEC that is passing by and is looked at.
    var walk: ExecWalk?
    var edges = FrameEdges()
    /// A push that is meant for nobody is passing by.
    var isDropping = false
    /// Bytes of the reply at the head have already gone to its client.
    var isRelaying = false
    /// The rest of it is long: nobody else is put behind it.
    var isLarge = false
}

/// Who waits for whom: clients that do not read, and those that are not read.
struct UpstreamFlow {
    /// Clients with something in flight that do not read fast enough.
    var slowReaders = 0
    /// Clients with more than `clientOutputLimit` waiting for them.
    var readersAtLimit = 0
    var limitClock = LimitClock()
    /// The connection is not read, because those who wait here do not read either.
    var isUnread = false
    /// The pool may put more clients on it.
    var isAvailable = true
    /// Clients that wait until nobody has anything in flight here.
    var soloists: [SlotID] = []
    /// Clients that are not read until this connection's output has drained.
    var feeders: [SlotID] = []
}

/// Where a connection leads, and what its server is known to think of it.
struct UpstreamOrigin {
    /// The address that it is connected to.
    let address: String
    let dialledAt: MonotonicTime
    /// How many answers of the resolver in a row were without that address.
    var misses = 0
    /// The server's when this connection had heard who answers; nil when that was too busy to say.
    var epoch: Int? = 0
    /// What the server has called itself.
    var runID: [UInt8]?
    /// The id by which the server knows this connection, and whether it was asked for that.
    var serverID: Int64?
    var isIdentified = false
    /// The connection was made while the default user needed a password, and nobody has logged in here
    /// since. To the server that stays so when the password is taken away: it refuses HELLO here.
    var lacksLogin = false

    init(address: String, dialledAt: MonotonicTime) {
        self.address = address
        self.dialledAt = dialledAt
    }
}

/// What is known of the end of a connection before it comes.
struct UpstreamEnding {
    /// Why it must not be used again once its lease ends: the server has been asked for something
    /// whose effect cannot be told, say.
    var spoiled: CloseReason?
    /// Since when it is one of those that the pool spends on commands that are not understood.
    var oneOffSince: MonotonicTime?
    /// The client that has left while it was blocked here, and is closed when this connection is.
    var lastToLeave: SlotID?
    /// The server has ended the wait of the client that was blocked here, and ends the client.
    var hasUnblocked = false
    /// The server has been told that nothing more comes, as its client has ended.
    var hasSaidGoodbye = false
    /// A fence has shown that replies went to the wrong clients.
    var isMisaligned = false
    /// A write has found the connection reset: what its peer acknowledged last is not all that it
    /// may have received. EPIPE is none of that: it follows an orderly end.
    var isReset = false
}
