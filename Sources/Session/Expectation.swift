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
    /// As `exec`, of a transaction with members whose elements are looked at.
    case execWalked
    /// CLIENT TRACKING ON; the number is a `TrackingOptions`.
    case trackingOn
    /// CLIENT TRACKING OFF.
    case trackingOff
    /// MONITOR.
    case monitor
    /// CLIENT NO-EVICT ON and the like; the number is the `ConnectionFlags`.
    case flagOn
    /// CLIENT NO-EVICT OFF and the like; the number is the `ConnectionFlags`.
    case flagOff
    /// A command (CLIENT CAPA, ASKING) whose `+OK` ties the connection to its client for good.
    case bind
    /// CLIENT GETREDIR and TRACKINGINFO: the id of the redirection is replaced by that of a client.
    case redirection
    /// A name that nothing is known of, in a transaction: an error changes nothing, `+QUEUED` may
    /// mean anything.
    case stranger
    /// A name that neither the table nor the server knows: anything but an error shows that it has
    /// become one.
    case unknown
    /// A command of a module: that the server does not know it shows that the module is gone.
    case ofModule
    /// A subcommand that is in no table, of a server that cannot be asked about it: its refusal is
    /// remembered.
    case unclear
    /// A command of a client that has to log in first; with the number 1, one that is not
    /// understood. Anything but an error shows that no login is needed any more.
    case beforeLogin
    /// Our question whether the server still wants a login, for a client that waits for it.
    case lockQuestion
    /// Our question whether scripts can make replies up, for a client that waits for it.
    case scriptQuestion
    /// DEBUG on an upstream of one's own: DEBUG PROTOCOL PUSH sends a push before its reply.
    case debug
    /// A command whose success proves that this connection has written. With a number it is also
    /// what `heldUp` is.
    case write
    /// CLIENT PAUSE: `+OK` begins a pause of as many milliseconds as the number says.
    case pause
    /// CLIENT UNPAUSE: `+OK` ends it.
    case unpause
    /// A command that a pause holds up, sent during the one with this number: its success shows
    /// that this one is over.
    case heldUp
    /// MULTI and the members of a block that was forwarded whole on a shared upstream.
    case block
    /// The EXEC of a block that was forwarded whole on a shared upstream.
    case blockEnd
    /// Our PING.
    case probe
    /// A fence, ours or behind a client's command; the number is the shell's. No client sees the
    /// reply.
    case fence
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
            .commandInfo, .lockQuestion, .kill, .identify, .reset, .redirection:
            true
        default: false
        }
    }

    /// True when the bytes that were sent are not those of the client: they cannot be sent again.
    package func isTranslated(_ value: UInt32) -> Bool {
        self == .kill || self == .unblock || isRedirected(value)
    }

    /// True for a CLIENT TRACKING that names another client.
    package func isRedirected(_ value: UInt32) -> Bool {
        (self == .trackingOn || self == .trackingOff)
            && TrackingOptions(rawValue: value).contains(.redirected)
    }

    /// True for a question of ours that comes before a client's command: that has not been sent.
    package var isQuestion: Bool {
        self == .commandInfo || self == .lockQuestion || self == .scriptQuestion
    }

    /// True for a member of a block that was forwarded whole.
    package var isBlock: Bool {
        if case .block = self { true } else { false }
    }

    /// True for what brings credentials.
    package var isLogin: Bool { self == .authenticate || self == .helloChange }

    /// True for the UNSUBSCRIBE family.
    package var isUnsubscribe: Bool {
        self == .unsubscribeChannels || self == .unsubscribePatterns || self == .unsubscribeShards
    }
}

/// What is noted of a CLIENT TRACKING ON.
package struct TrackingOptions: OptionSet, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The server keeps prefixes, not the keys that the client has read.
    package static let broadcast = TrackingOptions(rawValue: 1)
    /// The id behind REDIRECT was translated.
    package static let redirected = TrackingOptions(rawValue: 2)
}

/// Properties of a connection that one command turns on and another off again.
package struct ConnectionFlags: OptionSet, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// CLIENT NO-EVICT.
    package static let noEvict = ConnectionFlags(rawValue: 1)
    /// CLIENT NO-TOUCH.
    package static let noTouch = ConnectionFlags(rawValue: 2)
    /// READONLY; READWRITE ends it.
    package static let readOnly = ConnectionFlags(rawValue: 4)
    /// CLIENT IMPORT-SOURCE (Valkey 8.1).
    package static let importSource = ConnectionFlags(rawValue: 8)
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
