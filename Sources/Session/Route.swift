// Where a command goes: the decision that the proxy carries out.

package import RESP

/// The way of one command of a client that holds no upstream of its own.
package enum Route: Equatable, Sendable {
    /// On an upstream shared with others.
    case share
    /// On an upstream shared with other slow commands.
    case slow
    /// Shared; `+OK` is recorded as the client's name or library information.
    case mirror
    /// On an upstream of its own, for one reply.
    case exclusive
    /// On an upstream of its own for the rest of the session, bytes passed through both ways.
    case pipe
    /// `+OK`, then close.
    case quit
    /// Close without a word (POST and Host:, which are HTTP requests gone astray).
    case vanish
    /// Not in the table: what the server says of it decides.
    case ask
}

extension CommandTable {
    /// The route of a complete, canonical frame.
    package func route(_ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame) -> Route {
        guard let kind = commandClass(command) else { return .ask }
        switch kind {
        case .share, .admin, .unwatch, .unsubscribe, .endTransaction, .pinIfTracking:
            // The last four change nothing on a connection without the state they end.
            return .share
        case .shareSlow:
            return .slow
        case .mirror:
            return .mirror
        case .pinReply:
            return .exclusive
        case .pinReplyIfBlock:
            return hasBlockArgument(bytes, frame) ? .exclusive : .share
        case .local:
            switch command {
            case .quit: return .quit
            case .post, .host: return .vanish
            default: return .pipe
            }
        case .rewrite, .state, .stateRewrite, .pinReplyOffset, .pinMulti, .pinWatch,
            .pinSubscribe, .pinForever, .pinNext, .control, .controlRewrite, .deny:
            return .pipe
        }
    }

    /// True when any argument is BLOCK: a key of that name only costs an upstream of its own.
    private func hasBlockArgument(_ bytes: Span<UInt8>, _ frame: CommandFrame) -> Bool {
        var arguments = CommandArguments(bytes, frame: frame)
        while let argument = arguments.next(bytes) {
            if argument.length == 5,
                PackedName(bytes, start: argument.start, count: 5) == CommandTable.blockWord
            {
                return true
            }
        }
        return false
    }

    private static let blockWord: PackedName = {
        let bytes = Array("block".utf8)
        return PackedName(bytes.span, start: 0, count: bytes.count)
    }()
}
