// What a command needs from the pool: the classes of the command table.

/// How a command may be sent upstream. The words are those of commands.tsv.
package enum CommandClass: UInt8, Sendable, CaseIterable {
    /// Stateless. May be pipelined on an upstream that other clients use too.
    case share
    /// As `share`, but may be slow: kept away from quick commands.
    case shareSlow
    /// As `share`, for commands that an operator may want to deny.
    case admin
    /// Forwarded as `share`; a success is also recorded in the session (CLIENT SETNAME, SETINFO).
    case mirror
    /// Forwarded as `share`. A success is replaced by the session's own value (CLIENT ID ...).
    case rewrite
    /// Changes the user, the database or another property of the connection.
    case state
    /// HELLO: as `state`, and the `id` in its reply is replaced.
    case stateRewrite
    /// Answered by Redpool (QUIT, RESET, CLIENT REPLY, POST and Host:).
    case local
    /// Has an upstream of its own until its reply.
    case pinReply
    /// As `pinReply` when an argument is BLOCK, else `share`.
    case pinReplyIfBlock
    /// WAIT and WAITAOF: as `pinReply`, on the upstream that carried the client's last writes.
    case pinReplyOffset
    /// As `pinReply`, until the reply to a fence behind it. Redis from 7.0 on and Valkey 8.0 copy
    /// bytes of the client into the error unchanged, including CR LF (functions.c, eval.c).
    case pinFence
    /// MULTI: an upstream of its own until EXEC, DISCARD or RESET.
    case pinMulti
    /// WATCH: an upstream of its own until the watch is over.
    case pinWatch
    /// The SUBSCRIBE family: an upstream of its own until the last subscription is gone.
    case pinSubscribe
    /// An upstream of its own until OFF or RESET (tracking, MONITOR).
    case pinForever
    /// ASKING: an upstream of its own from then on, if the server accepts it.
    case pinNext
    /// Stateless, unless the client tracks keys; then it is pinned already.
    case pinIfTracking
    /// EXEC and DISCARD: end a transaction. Without one, the server answers with an error.
    case endTransaction
    /// UNWATCH.
    case unwatch
    /// The UNSUBSCRIBE family.
    case unsubscribe
    /// Must never queue behind the command that it is to stop (SCRIPT KILL, CLIENT UNPAUSE,
    /// SHUTDOWN).
    case control
    /// As `control`, with client ids to translate (CLIENT KILL, CLIENT UNBLOCK).
    case controlRewrite
    /// Not suitable for a pool (SYNC, DEBUG, MODULE LOAD ...).
    case deny

    /// True for classes that can change the connection or show its state. A command of such a class
    /// that is not fully understood must not reach a shared upstream.
    package var carriesState: Bool {
        switch self {
        case .unsubscribe, .mirror, .rewrite, .pinMulti, .pinWatch, .pinSubscribe, .state,
            .stateRewrite, .local, .control, .controlRewrite, .pinForever, .pinNext, .deny:
            true
        case .share, .shareSlow, .admin, .unwatch, .endTransaction, .pinIfTracking, .pinReply,
            .pinReplyIfBlock, .pinReplyOffset, .pinFence:
            false
        }
    }

    /// The class for a word of commands.tsv.
    init?(word: some StringProtocol) {
        guard let found = CommandClass.words.first(where: { $0.0 == word }) else { return nil }
        self = found.1
    }

    private static let words: [(String, CommandClass)] = [
        ("SHARE", .share), ("SHARE_SLOW", .shareSlow), ("ADMIN", .admin), ("MIRROR", .mirror),
        ("REWRITE", .rewrite), ("STATE", .state), ("STATE_REWRITE", .stateRewrite),
        ("LOCAL", .local), ("PIN_REPLY", .pinReply), ("PIN_REPLY_IF_BLOCK", .pinReplyIfBlock),
        ("PIN_REPLY_WOFF", .pinReplyOffset), ("PIN_FENCE", .pinFence), ("PIN_MULTI", .pinMulti),
        ("PIN_WATCH", .pinWatch),
        ("PIN_SUB", .pinSubscribe), ("PIN_FOREVER", .pinForever), ("PIN_NEXT", .pinNext),
        ("PIN_IF_TRACKING", .pinIfTracking), ("TX_END", .endTransaction),
        ("TX_UNWATCH", .unwatch), ("UNSUB", .unsubscribe), ("CONTROL", .control),
        ("CONTROL_REWRITE", .controlRewrite), ("DENY", .deny),
    ]
}
