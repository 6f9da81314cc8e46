// What is carried of a client.

package import Pool
package import Session

/// A client. Where its commands are in flight, and what it holds, is said by the upstream.
package struct CarriedClient: Equatable, Sendable {
    package var descriptor: Int32
    /// The id that the client sees.
    package var serial: UInt64
    /// The position of its pool.
    package var pool: UInt32
    /// The position of the server that its commands go to; nil for the primary.
    package var server: UInt32?
    /// The number of the listener that it came by.
    package var listener: UInt16
    /// Its listener is gone: it is closed by this time.
    package var leavesBy: MonotonicTime?
    package var mode: CarriedMode
    package var session: CarriedSession
    package var connectedAt: MonotonicTime
    package var lastActivity: MonotonicTime
    package var counts = CarriedCounts()
    /// The name of the command that it sent last, in lower case; empty before the first.
    package var lastCommand = ""
    /// It has ended its input; commands that have come before may be left.
    package var hasEnded = false
    /// The commands of Redpool's own that it is not to see; nil unless it monitors.
    package var monitor: CarriedOwnCommands?
    /// The ids of clients whose invalidations go to it.
    package var trackers: [UInt64] = []
    /// How many bytes of replies it had been sent when RESET logged it out; 0 if none did.
    package var loggedOutAt: UInt64 = 0
    /// Its input waited when Redpool ceased to judge logins.
    package var hasOldInput = false
    /// It has sent READONLY to a cluster, and not READWRITE since. When it wrote last is not
    /// carried: the successor takes the moment of the hand-over for it.
    package var isReadOnly = false
    /// A transaction that comes step by step, in front of a cluster.
    package var openMulti: CarriedMulti?
    /// From the beginning of a frame on.
    package var input: [UInt8] = []
    /// What it is still to be sent.
    package var output: [CarriedOutput] = []

    package init(
        descriptor: Int32, serial: UInt64, pool: UInt32, server: UInt32? = nil, listener: UInt16,
        mode: CarriedMode, session: CarriedSession, connectedAt: MonotonicTime,
        lastActivity: MonotonicTime
    ) {
        self.descriptor = descriptor
        self.serial = serial
        self.pool = pool
        self.server = server
        self.listener = listener
        self.mode = mode
        self.session = session
        self.connectedAt = connectedAt
        self.lastActivity = lastActivity
    }
}

/// What a client is doing.
package enum CarriedMode: Equatable, Sendable {
    /// Its commands are handled as they come.
    case open
    /// The command at the head of its input waits for a lease, since then.
    case waiting(since: MonotonicTime)
    /// The command at the head of its input waits until everything before it is answered.
    case barrier
    /// One command has an upstream of its own until its reply.
    case exclusive
    /// Bytes pass through both ways. With `isBlind` they are not read as commands any more.
    case piped(isOwed: Bool, isBlind: Bool)
    /// It has to log in to Redpool first.
    case loggedOut
    /// What is queued is written, then it is closed, for this reason.
    case closing(reason: String)
}

/// What a client has sent and got.
package struct CarriedCounts: Equatable, Sendable {
    package var commands: UInt64
    package var bytesIn: UInt64
    /// Bytes that its socket has taken.
    package var bytesTaken: UInt64

    package init(commands: UInt64 = 0, bytesIn: UInt64 = 0, bytesTaken: UInt64 = 0) {
        self.commands = commands
        self.bytesIn = bytesIn
        self.bytesTaken = bytesTaken
    }
}

/// A part of a client's output.
package enum CarriedOutput: Equatable, Sendable {
    case bytes([UInt8])
    /// A part of a block, by its position in the cell.
    case block(UInt32, from: UInt32, to: UInt32)
}

/// What is remembered of a transaction in front of a cluster.
package struct CarriedMulti: Equatable, Sendable {
    /// Where MULTI itself is. A transaction that a node has refused is waited for.
    package enum Stage: CaseIterable, Equatable, Sendable {
        case promised, sent
    }

    package var stage: Stage
    /// MULTI and the members; nil if they cannot run elsewhere.
    package var bytes: [UInt8]?
    package var members: UInt32
    package var slot: UInt16?
    package var isOneSlot: Bool
    package var isSpecial: Bool
    package var isLost: Bool
    package var isDoomed: Bool
    package var isSilent: Bool

    package init(
        stage: Stage, bytes: [UInt8]?, members: UInt32, slot: UInt16?, isOneSlot: Bool,
        isSpecial: Bool, isLost: Bool, isDoomed: Bool, isSilent: Bool
    ) {
        self.stage = stage
        self.bytes = bytes
        self.members = members
        self.slot = slot
        self.isOneSlot = isOneSlot
        self.isSpecial = isSpecial
        self.isLost = isLost
        self.isDoomed = isDoomed
        self.isSilent = isSilent
    }
}
