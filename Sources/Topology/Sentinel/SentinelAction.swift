// What the tracker of Sentinels wants done.

/// A Sentinel that is watched. Ids are never used again.
package struct SentinelID: Hashable, Sendable {
    package let raw: UInt32

    package init(raw: UInt32) {
        self.raw = raw
    }
}

/// What the shell has to do, in order. It drains `nextAction()` before the loop iteration ends, so
/// that what one event brings about happens in one turn.
package enum SentinelAction: Equatable, Sendable {
    /// Connect to a Sentinel, log in, subscribe to `SentinelMessage.channels`, and answer
    /// `connected` or `disconnected`.
    case connect(SentinelID, NodeAddress)
    /// Send `SentinelAnswer.questions`, with replicas if these are wanted, and answer `answered` or
    /// `disconnected`.
    case ask(SentinelID)
    /// Close the connection to a Sentinel. The tracker knows: nothing is answered.
    case close(SentinelID)
    /// Ask a server for its ROLE on a connection of its own; answer `role`.
    case verify(NodeAddress)
    /// Take this server's connections out of use: no lease, idle ones closed at once, others when
    /// their time is over.
    case leave(NodeAddress)
    /// Dial this server from now on, with ROLE as a step of each handshake. What waits goes there.
    /// If another server was the primary, `leave` for it comes before this, in the same turn. The
    /// same server is adopted again when it was left and says that it is the primary.
    case adopt(PrimaryClaim)
    /// These are the primary's replicas from now on.
    case replicas([NodeAddress])
}
