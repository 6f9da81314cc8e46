// What to do with one command: the decision that the proxy carries out.

/// What to do with one command.
package enum Plan: Equatable, Sendable {
    /// On a shared upstream, or on the held one; the number belongs to the expectation.
    case send(Expectation, UInt32 = 0)
    /// On an upstream shared with other slow commands.
    case sendSlow
    /// On an upstream of its own, for one reply and that to a fence behind it.
    case fenced
    /// A script or function: as `sendSlow`, unless the server lets scripts make replies up.
    case runScript
    /// On the held upstream; it may block, so a client that leaves gives it up at once.
    case sendBlocking
    /// CLIENT SETNAME or SETINFO.
    case mirror
    /// On an upstream of its own, for one reply.
    case exclusive(isBlocking: Bool)
    /// It can change the connection and is not understood to the last word: alone, on an upstream
    /// that is closed afterwards.
    case oneOff(Expectation)
    /// A subcommand with a NUL in it: to some versions it is the one before, to others none, or it
    /// is that one by the chance of a hash table. Answered here as an unknown one.
    case impossible
    /// WAIT and WAITAOF: on the upstream that carried the client's writes.
    case waitForReplicas
    /// On a connection kept for commands that must not queue, for one reply.
    case control
    /// CLIENT KILL or CLIENT UNBLOCK: as `control`, with ids and addresses to translate.
    case controlClients
    /// Takes an upstream of its own until the state that it creates is over.
    case hold(Expectation, UInt32 = 0)
    /// On the held upstream, into the open transaction: EXEC's element for it is looked at.
    case queue(Expectation, UInt32 = 0)
    /// On an upstream of its own for the rest of the session, bytes passed through both ways.
    case pipe
    /// SELECT to a database.
    case select(UInt32)
    /// HELLO with a protocol version only.
    case hello(UInt8)
    /// HELLO with a protocol version, 2 or 3, and more words.
    case helloChange
    /// AUTH.
    case authenticate
    /// CLIENT REPLY.
    case replyMode(ReplyMode)
    /// `+OK`, then close.
    case quit
    /// Close without a word (POST and Host:, which are HTTP requests gone astray).
    case vanish
    /// RESET.
    case reset
    /// Not in the table: what the server says of it decides.
    case ask
}
