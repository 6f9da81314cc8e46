// What is expected of the next reply on an upstream, and what that reply means.

/// How to treat a reply. Where noted, a number belongs to it.
package enum Expectation: UInt8, CaseIterable, Sendable {
    /// Relayed unchanged.
    case plain
    /// The same, of a client with commands in flight on several nodes: the number is the command's
    /// place in the order of its replies.
    case placed
    /// MULTI and the members of a block with such a place.
    case placedBlock
    /// The EXEC of a block with such a place.
    case placedExec
    /// Redpool's EXISTS after a refusal that a script may have made up; the number is the place.
    case confirmation
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
    /// HELLO with AUTH or SETNAME, on an upstream of its own; the number is the protocol.
    case helloChange
    /// AUTH, on an upstream of its own.
    case authenticate
    /// What stands in a transaction for a login that Redpool has judged. Its element of EXEC's
    /// array is replaced.
    case judged
    /// SELECT on an upstream of its own; the number is the database.
    case select
    /// MULTI: `+OK` opens a transaction.
    case multi
    /// EXEC and DISCARD on an upstream of the client's own.
    case exec
    case discard
    /// WATCH and UNWATCH on an upstream of the client's own.
    case watch
    case unwatch
    /// The SUBSCRIBE family; the number is the number of confirmations.
    case subscribe
    /// The UNSUBSCRIBE family; the number is the number of confirmations, 0 for "all there are".
    case unsubscribeChannels
    case unsubscribePatterns
    case unsubscribeShards
    /// As `exec`, for a transaction with members whose elements Redpool reads.
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
    /// A command (CLIENT CAPA, ASKING) whose `+OK` ties the connection to its client until the end.
    case bind
    /// CLIENT GETREDIR and TRACKINGINFO: the redirection's id is replaced by that of the client.
    case redirection
    /// An unknown name in a transaction. An error changes nothing; `+QUEUED` may mean anything.
    case stranger
    /// A name that neither the table nor the server knows. Anything but an error shows that the
    /// server knows it now.
    case unknown
    /// A command of a module. If the server does not know it, the module is gone.
    case ofModule
    /// A subcommand that is not in the table, on a server that cannot be asked about it. Its
    /// refusal is remembered.
    case unclear
    /// A command of a client that has to log in first; the number is 1 if it is not understood.
    /// Anything but an error shows that no login is needed any more.
    case beforeLogin
    /// Redpool's question whether the server still requires a login. A client waits for it.
    case lockQuestion
    /// Redpool's question whether scripts can make up replies. A client waits for it.
    case scriptQuestion
    /// DEBUG on an upstream of its own: DEBUG PROTOCOL PUSH sends a push before its reply.
    case debug
    /// A command whose success proves a write on this connection. With a number it is also a
    /// `heldUp`.
    case write
    /// CLIENT PAUSE: `+OK` begins a pause; the number is its length in milliseconds.
    case pause
    /// CLIENT UNPAUSE: `+OK` ends it.
    case unpause
    /// A command that a pause delays. It was sent during the pause with this number; its success
    /// shows that the pause is over.
    case heldUp
    /// MULTI and the members of a block that was forwarded whole on a shared upstream.
    case block
    /// The EXEC of a block that was forwarded whole on a shared upstream.
    case blockEnd
    /// Redpool's PING.
    case probe
    /// A fence, on its own or behind a client's command; the number identifies it. No client sees
    /// the reply.
    case fence
    /// Redpool's COMMAND INFO. A client waits for it.
    case commandInfo
    /// CLIENT KILL, sent with filters that match no connection. After a success, Redpool carries it
    /// out.
    case kill
    /// CLIENT UNBLOCK, sent with the server's id of the client's connection.
    case unblock
    /// Redpool's CLIENT ID.
    case identify
    /// Redpool's INFO replication; the number is that of the question.
    case replication
    /// A command of the SUBSCRIBE family on a hub: confirmations, or an error.
    case ask
    /// A client's command that goes over a hub, so that it is answered in the order of messages.
    case relayed
    /// PUBLISH and SPUBLISH: the number is what is to be added, see `SubscriberCorrection`.
    case published
    /// PUBSUB NUMSUB and SHARDNUMSUB: hubs are replaced by their clients.
    case subscriberNumbers
    case shardNumbers
    /// Redpool's PING on a hub.
    case hubProbe
    /// A command that the server is to refuse on a subscribed connection, see `Gate`.
    case gated
    /// A command of Redpool's that unblocks clients during a drain; the number says which.
    case unblocking
    /// A command that blocks, and that an upgrade has the server unblock: a nil does not go to the
    /// client, see `Recall`.
    case recalled
    /// A command of Redpool's that is sent for its effect; the reply is ignored.
    case ignored
    /// RESET of a subscribed client on its held upstream. Any reply ends the state.
    case reset
    /// Redpool's DISCARD or UNWATCH after a client that has left during a transaction or watch.
    case clean

    /// True when Redpool reads the whole reply before it relays anything.
    package var isCollected: Bool {
        switch self {
        case .rewriteID, .rewriteName, .rewriteInfo, .rewriteList, .hello, .helloChange,
            .confirmation, .commandInfo, .lockQuestion, .kill, .identify, .unblocking, .reset,
            .redirection, .replication, .published, .subscriberNumbers, .shardNumbers, .recalled:
            true
        default: false
        }
    }

    /// True when the bytes sent are not the client's: they cannot be sent again.
    package func isTranslated(_ value: UInt32) -> Bool {
        self == .kill || self == .unblock || self == .judged || self == .confirmation
            || isRedirected(value)
    }

    /// True for a CLIENT TRACKING that names another client.
    package func isRedirected(_ value: UInt32) -> Bool {
        (self == .trackingOn || self == .trackingOff)
            && TrackingOptions(rawValue: value).contains(.redirected)
    }

    /// True for a question of Redpool's before a client's command, which has not been sent.
    package var isQuestion: Bool {
        self == .commandInfo || self == .lockQuestion || self == .scriptQuestion
    }

    /// True for what has a place in the order of its client's replies.
    package var isPlaced: Bool {
        self == .placed || self == .placedBlock || self == .placedExec
    }

    /// True for a member of a block that was forwarded whole.
    package var isBlock: Bool {
        if case .block = self { true } else { false }
    }

    /// True for a command with credentials.
    package var isLogin: Bool { self == .authenticate || self == .helloChange }

    /// True for the UNSUBSCRIBE family.
    package var isUnsubscribe: Bool {
        self == .unsubscribeChannels || self == .unsubscribePatterns || self == .unsubscribeShards
    }
}

/// The options of a CLIENT TRACKING ON.
package struct TrackingOptions: OptionSet, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// BCAST: the server tracks prefixes instead of the keys that the client has read.
    package static let broadcast = TrackingOptions(rawValue: 1)
    /// The id behind REDIRECT was translated.
    package static let redirected = TrackingOptions(rawValue: 2)
}

/// Properties of a connection that one command turns on and another turns off.
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
