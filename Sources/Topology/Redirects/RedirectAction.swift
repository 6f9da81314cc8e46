// What is asked about a command that a node has refused, and what is to be done.

/// A command that a node has refused.
package struct RefusedCommand: Equatable, Sendable {
    package let place: UInt32
    /// The command can be sent again: its bytes are kept, it was not streamed, and the client has
    /// got nothing of a reply.
    package var canBeSent = true
    /// The node that has answered is a replica.
    package var isByReplica = false
    /// The command runs a script, or is not known: its reply may be made up, and then it has run.
    package var mayMakeUpErrors = false
    /// The node has given the same answer to EXISTS with the command's keys.
    package var isConfirmed = false

    package init(place: UInt32) { self.place = place }
}

/// What the shell has to do with a command that a node has refused.
package enum RedirectAction: Equatable, Sendable {
    /// The client gets the node's answer as it is.
    case relay
    /// To be sent to this node at once, under the same place (`ReplyOrder.move`). With `asking`,
    /// ASKING and the command are appended in one piece.
    case send(to: UInt32, asking: Bool)
    /// To be kept (`ReplyOrder.hold`) until `Redirects.next` gives it.
    case hold
    /// Nobody knows whether the command has run. Ask the node that has answered EXISTS with the
    /// command's keys, behind ASKING if the command was. If it gives the same answer, byte for
    /// byte, judge again with `isConfirmed`; else the client gets the first answer as it is.
    case confirm(asking: Bool)
    /// The client gets an error in place of the node's answer (`ReplyOrder.answer`).
    case answer(RedirectEnd)
}

/// Why a redirect is not followed.
package enum RedirectEnd: Equatable, Sendable {
    case keepsMoving(slot: UInt16)
    case notKept(slot: UInt16)
    /// A script has got an answer that it can have made up, and that can be the node's.
    case inDoubt(slot: UInt16)
    case tooManyNodes(slot: UInt16, NodeAddress)

    /// What the client is told; it begins with the error's code.
    package func text(pool: String) -> String {
        switch self {
        case .keepsMoving(let slot):
            "CLUSTERDOWN pool \(pool): slot \(slot) keeps moving "
                + "(\(Redirects.mostInARow) redirects)"
        case .notKept(let slot):
            "TRYAGAIN pool \(pool): slot \(slot) has moved; the command did not run"
        case .inDoubt(let slot):
            "TRYAGAIN pool \(pool): slot \(slot) has moved and come back; it is not known whether "
                + "the script has run"
        case .tooManyNodes(let slot, let address):
            "CLUSTERDOWN pool \(pool): slot \(slot) has moved to \(address), "
                + "and maxNodes are known already"
        }
    }
}

/// A command that is held and can be sent now.
package struct HeldCommand: Equatable, Sendable {
    package let place: UInt32
    /// Nil for the node that has the place's slot by the present map.
    package let node: UInt32?
    /// ASKING goes before it, in one piece.
    package let asking: Bool

    package init(place: UInt32, node: UInt32?, asking: Bool) {
        self.place = place
        self.node = node
        self.asking = asking
    }
}
