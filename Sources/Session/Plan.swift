// What to do with one command. The proxy carries it out.

/// What to do with one command.
package enum Plan: Equatable, Sendable {
    /// On a shared upstream, or on the held one; the number is that of the expectation.
    case send(Expectation, UInt32 = 0)
    /// On an upstream of the slow lane.
    case sendSlow
    /// On an upstream of its own, until the reply and that to a fence behind it.
    case fenced
    /// A script or function: as `sendSlow`, unless scripts on this server can make up replies.
    case runScript
    /// On the held upstream. It may block, so if the client leaves, the upstream is closed at once.
    case sendBlocking
    /// CLIENT SETNAME or SETINFO.
    case mirror
    /// On an upstream of its own, for one reply.
    case exclusive(isBlocking: Bool)
    /// It can change the connection and is not fully understood: on an upstream of its own that is
    /// closed afterwards.
    case oneOff(Expectation)
    /// A subcommand with a NUL in it. Some versions read it up to the NUL, others do not know it,
    /// or know it only if their hash table happens to find it. Redpool answers that it is unknown.
    case impossible
    /// WAIT and WAITAOF: on the upstream that carried the client's writes.
    case waitForReplicas
    /// On a connection that is reserved for commands that must not queue, until its reply.
    case control
    /// CLIENT KILL or CLIENT UNBLOCK: as `control`, with translated ids and addresses.
    case controlClients
    /// On an upstream of its own until the state that it creates is over.
    case hold(Expectation, UInt32 = 0)
    /// On the held upstream, in the open transaction. Redpool reads its element of EXEC's array.
    case queue(Expectation, UInt32 = 0)
    /// On an upstream of its own for the rest of the session. Bytes pass through both ways.
    case pipe
    /// SELECT of a database.
    case select(UInt32)
    /// HELLO with a protocol version only.
    case hello(UInt8)
    /// HELLO with a protocol version, 2 or 3, and more arguments.
    case helloChange
    /// AUTH.
    case authenticate
    /// CLIENT REPLY.
    case replyMode(ReplyMode)
    /// `+OK`, then close the client.
    case quit
    /// Close the client without a reply (POST and Host:, which are stray HTTP requests).
    case vanish
    /// RESET.
    case reset
    /// Not in the table: ask the server what it is.
    case ask
}
