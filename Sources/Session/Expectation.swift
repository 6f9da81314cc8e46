// What is expected of the next reply on an upstream, and what it then means.

/// How a reply is to be treated when it comes. A number travels with it where one is noted.
package enum Expectation: UInt8, Sendable {
    /// Goes to the client as it is.
    case plain
    /// CLIENT SETNAME: `+OK` records the name.
    case mirrorName
    /// CLIENT SETINFO: `+OK` records a library name or version.
    case mirrorInfo
    /// CLIENT ID: a success is replaced by the client's own id.
    case rewriteID
    /// CLIENT GETNAME: a success is replaced by the client's own name.
    case rewriteName
    /// CLIENT INFO: a success is replaced by a line about the client itself.
    case rewriteInfo
    /// CLIENT LIST: a success is replaced by a list of Redpool's clients.
    case rewriteList
    /// HELLO without AUTH or SETNAME; the number is the protocol asked for, 0 for none.
    case hello
    /// HELLO with AUTH or SETNAME, alone on its upstream; the number is the protocol.
    case helloChange
    /// AUTH, alone on its upstream.
    case authenticate
    /// SELECT on an upstream of one's own; the number is the database.
    case select
    /// MULTI: `+OK` opens a transaction.
    case multi
    /// EXEC and DISCARD on an upstream of one's own.
    case exec
    case discard
    /// WATCH and UNWATCH on an upstream of one's own.
    case watch
    case unwatch
    /// The SUBSCRIBE family; the number is that of the confirmations.
    case subscribe
    /// The UNSUBSCRIBE family; the number is that of the confirmations, 0 for "all there are".
    case unsubscribeChannels
    case unsubscribePatterns
    case unsubscribeShards
    /// MULTI and the members of a block that was forwarded whole on a shared upstream.
    case block
    /// The EXEC of a block that was forwarded whole on a shared upstream.
    case blockEnd
    /// Our PING.
    case probe
    /// Our COMMAND INFO for a client that waits for it.
    case commandInfo
    /// CLIENT KILL, sent as one that is meant for nobody: a success is carried out here.
    case kill
    /// CLIENT UNBLOCK, sent with the id by which the server knows the client.
    case unblock
    /// Our CLIENT ID.
    case identify
    /// Ours, sent for its effect; the reply means nothing.
    case ignored
    /// RESET of a subscribed client on its held upstream: whatever the reply, the state is over.
    case reset
    /// Our DISCARD or UNWATCH after a client that left in the middle.
    case clean

    /// True when the reply is read here before anything goes to the client.
    package var isCollected: Bool {
        switch self {
        case .rewriteID, .rewriteName, .rewriteInfo, .rewriteList, .hello, .helloChange,
            .commandInfo, .kill, .identify, .reset:
            true
        default: false
        }
    }

    /// True when the bytes that were sent are not those of the client: they cannot be sent again.
    package var isTranslated: Bool { self == .kill || self == .unblock }

    /// True for a member of a block that was forwarded whole.
    package var isBlock: Bool {
        if case .block = self { true } else { false }
    }

    /// True for the UNSUBSCRIBE family.
    package var isUnsubscribe: Bool {
        self == .unsubscribeChannels || self == .unsubscribePatterns || self == .unsubscribeShards
    }
}

/// The part of a reply that decides about state.
package struct ReplyFacts: Sendable {
    /// Type byte.
    package var type: UInt8
    /// It is an error, whatever its words.
    package var isError: Bool
    /// It is exactly `+OK`.
    package var isOK: Bool
    /// It is exactly `+QUEUED`.
    package var isQueued: Bool
    /// It is an error that begins with `ERR unknown command`: a renamed or disabled command.
    package var isUnknownCommand: Bool

    package init(
        type: UInt8, isError: Bool, isOK: Bool, isQueued: Bool, isUnknownCommand: Bool
    ) {
        self.type = type
        self.isError = isError
        self.isOK = isOK
        self.isQueued = isQueued
        self.isUnknownCommand = isUnknownCommand
    }
}
