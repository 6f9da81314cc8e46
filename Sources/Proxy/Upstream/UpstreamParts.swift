// Parts of an upstream's state: the reply that is coming in, the flow of bytes, where the
// connection leads, and how it ends.

import Pool
import Session

/// The state of the reply that is coming in.
struct IncomingReply {
    /// Bytes of a reply that Redpool reads before the client gets it.
    var collected: [UInt8] = []
    /// Such a reply is too long to be kept, and its beginning has gone to the client.
    var isBegunRelayed = false
    /// The position in an EXEC's array of which elements matter.
    var walk: ExecWalk?
    var edges = FrameEdges()
    /// A push that no client here wants is coming in and is dropped.
    var isDropping = false
    /// `collected` has the beginning of an error, see UpstreamConnection+Refusals.
    var isErrorKept = false
    /// Some bytes of the oldest reply have already gone to its client.
    var isRelaying = false
    /// The rest of the reply is long, so the pool puts no other client behind it.
    var isLarge = false
}

/// Which clients do not read, and which clients are not read.
struct UpstreamFlow {
    /// Clients with commands in flight that do not read fast enough.
    var slowReaders = 0
    /// Clients that are over `clientOutputLimit`.
    var readersAtLimit = 0
    var limitClock = LimitClock()
    /// The connection is not read, because all clients that wait here read slowly.
    var isUnread = false
    /// The pool may put more clients on this connection.
    var isAvailable = true
    /// The most bytes of replies in flight to clients that are not logged in.
    var owedToStrangers = 0
    /// Clients that wait until no other client has commands in flight here.
    var soloists: [SlotID] = []
    /// Clients that are not read until the output of this connection has drained.
    var feeders: [SlotID] = []
}

/// Another server has taken the place of the one that a connection leads to.
struct Departure {
    /// By this time the connection is closed.
    let by: MonotonicTime
    let reason: CloseReason
}

/// Where the connection leads, and what the server knows of it.
struct UpstreamOrigin {
    /// The number that people see. It is never used twice in a process.
    let serial: UInt64
    /// The address that it is connected to.
    let address: String
    let dialledAt: MonotonicTime
    /// The epoch of the `Server` when this connection had read INFO; nil if the server was too busy
    /// to answer.
    var epoch: Int? = 0
    /// The server's `run_id`.
    var runID: [UInt8]?
    /// The server's id of this connection, and whether it has been asked for.
    var serverID: Int64?
    var isIdentified = false
    /// The pool has moved to another server.
    var departure: Departure?
    /// When the connection was made, the default user needed a login, and it has not logged in. The
    /// server refuses HELLO on it even when no login is needed any more.
    var lacksLogin = false
    /// It carries reads only. Its server has said that it is a replica, or in a cluster, it has
    /// sent READONLY; and it has been a replica since.
    var isReadOnly = false

    init(serial: UInt64, address: String, dialledAt: MonotonicTime) {
        self.serial = serial
        self.address = address
        self.dialledAt = dialledAt
    }
}

/// What is known of the connection's end before it comes.
struct UpstreamEnding {
    /// Why it must not be used again when its lease ends. For example, the effect of a command is
    /// not known.
    var spoiled: CloseReason?
    /// Since when it is in use as a one-off upstream.
    var oneOffSince: MonotonicTime?
    /// The client that left while its command blocked here. It is closed when this connection is
    /// closed.
    var lastToLeave: SlotID?
    /// The server has unblocked the client here and closes the connection.
    var hasUnblocked = false
    /// The client has ended its input, and the server has been told that nothing more comes.
    var hasSaidGoodbye = false
    /// A fence has shown that replies went to the wrong clients.
    var isMisaligned = false
    /// A write has found the connection reset. The server may then have received more than it has
    /// acknowledged. EPIPE does not count: it follows an orderly end.
    var isReset = false
    /// With TLS: since when the server is known to have sent close_notify. Its FIN is to follow.
    var finishedSince: MonotonicTime?
}
