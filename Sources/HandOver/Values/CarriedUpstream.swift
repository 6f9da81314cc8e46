// What is carried of an upstream: its connection, who uses it, and the replies that it owes.

package import Pool
package import Session

/// An upstream without TLS, at the beginning of a reply or in the middle of a message on a hub.
package struct CarriedUpstream: Equatable, Sendable {
    package var descriptor: Int32
    /// The position of its server.
    package var server: UInt32
    /// The id that write trails of the cell name it by. It has another one in the successor.
    package var id: UpstreamID
    /// The number that people see.
    package var serial: UInt64
    /// The user is numbered by the worker that it comes from.
    package var key: PoolKey
    /// The address that it is connected to.
    package var address: String
    package var times: CarriedTimes
    package var origin = CarriedOrigin()
    /// What the server believes the name and library of this connection are.
    package var identity = ClientIdentity()
    package var use: CarriedUse
    /// The replies that it owes, oldest first.
    package var expectations: [CarriedExpectation] = []
    /// The fence in flight.
    package var fence: CarriedFence?
    /// Why it must not be used again when its lease ends: the word of a `CloseReason`.
    package var spoiled: String?
    /// Replies that have come since the connection was made.
    package var answered: UInt64 = 0
    /// Bytes for the server that are not sent.
    package var unsent: [UInt8] = []
    /// What has come of a message on a hub.
    package var partial: [UInt8] = []

    package init(
        descriptor: Int32, server: UInt32, id: UpstreamID, serial: UInt64, key: PoolKey,
        address: String, times: CarriedTimes, use: CarriedUse
    ) {
        self.descriptor = descriptor
        self.server = server
        self.id = id
        self.serial = serial
        self.key = key
        self.address = address
        self.times = times
        self.use = use
    }
}

/// When things happened to an upstream. With its use they are what `CarriedSlot` wants; what it
/// waits for since is the progress of a shared one.
package struct CarriedTimes: Equatable, Sendable {
    package var dialledAt: MonotonicTime
    package var connectedAt: MonotonicTime
    /// When it last fell idle.
    package var idleSince: MonotonicTime
    /// When the server last answered, a probe included.
    package var activeAt: MonotonicTime
    /// Since when its oldest unanswered command is the oldest.
    package var waitingSince: MonotonicTime

    package init(
        dialledAt: MonotonicTime, connectedAt: MonotonicTime, idleSince: MonotonicTime,
        activeAt: MonotonicTime, waitingSince: MonotonicTime
    ) {
        self.dialledAt = dialledAt
        self.connectedAt = connectedAt
        self.idleSince = idleSince
        self.activeAt = activeAt
        self.waitingSince = waitingSince
    }
}

/// What the handshake and later answers have shown of a connection.
package struct CarriedOrigin: Equatable, Sendable {
    /// The epoch of the server that it has read; nil if the server was too busy to answer.
    package var epoch: Int64?
    package var runID: [UInt8]?
    /// The server's id of this connection.
    package var serverID: Int64?
    package var isIdentified = false
    package var lacksLogin = false
    /// It carries reads only.
    package var isReadOnly = false
    package var departure: CarriedDeparture?

    package init() {}
}

/// The pool has moved to another server than that of an upstream.
package struct CarriedDeparture: Equatable, Sendable {
    package var by: MonotonicTime
    /// The word of a `CloseReason`.
    package var reason: String

    package init(by: MonotonicTime, reason: String) {
        self.by = by
        self.reason = reason
    }
}

/// What an upstream is used for. Clients and hubs are named by their positions.
package enum CarriedUse: Equatable, Sendable {
    case idle
    /// It carries commands of any number of clients: those of the expectations.
    case shared(isSlow: Bool)
    /// One client has it for the reply to one command.
    case exclusive(client: UInt32, isBlocking: Bool, since: MonotonicTime)
    /// One client holds it.
    case held(client: UInt32, HeldState, CarriedHolder)
    /// Bytes of one client pass through.
    case piped(client: UInt32, since: MonotonicTime)
    case hub(UInt32)
}

/// What is known of a hold besides its state.
package struct CarriedHolder: Equatable, Sendable {
    package var since: MonotonicTime
    /// The last command may block.
    package var isBlocking: Bool
    /// The open transaction has a command that may bring more than one element.
    package var isDoubtful: Bool

    package init(since: MonotonicTime, isBlocking: Bool = false, isDoubtful: Bool = false) {
        self.since = since
        self.isBlocking = isBlocking
        self.isDoubtful = isDoubtful
    }
}

/// Replies to one client that a server owes. The bytes of the commands are not carried: they cannot
/// be sent again.
package struct CarriedExpectation: Equatable, Sendable {
    /// The position of the client; nil for Redpool, and for a client that has left.
    package var client: UInt32?
    package var count: UInt32
    package var expectation: Expectation
    /// The number that belongs to the expectation.
    package var value: UInt32
    /// The replies are dropped.
    package var isSilent: Bool
    /// The name of the first command in lower case; empty if it is not known.
    package var command: String
    /// When it was queued.
    package var since: MonotonicTime

    package init(
        client: UInt32?, count: UInt32, expectation: Expectation, value: UInt32 = 0,
        isSilent: Bool = false, command: String = "", since: MonotonicTime
    ) {
        self.client = client
        self.count = count
        self.expectation = expectation
        self.value = value
        self.isSilent = isSilent
        self.command = command
        self.since = since
    }
}

/// A fence in flight.
package struct CarriedFence: Equatable, Sendable {
    package var digits: UInt64
    package var form: FenceWord

    package init(digits: UInt64, form: FenceWord) {
        self.digits = digits
        self.form = form
    }
}
