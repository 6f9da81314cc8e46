// One client's virtual connection as its commands shape it: where the next one goes. Pure: it reads
// commands and says what is to be done; replies come back to it through the proxy.

package import RESP

/// How replies reach the client (CLIENT REPLY).
package enum ReplyMode: UInt8, Sendable {
    /// -> `off`, `skipNext`.
    case on
    /// -> `on`.
    case off
    /// CLIENT REPLY SKIP was seen: the next command is silent. -> `on`.
    case skipNext
}

/// The state that follows from what a client has sent.
package struct Session: Sendable {
    /// MULTI has been sent, and neither EXEC nor DISCARD since.
    package private(set) var isSendingTransaction = false
    package private(set) var replyMode = ReplyMode.on

    package init() {}

    /// Back to what a fresh connection is (RESET).
    package mutating func reset() {
        self = Session()
    }

    /// The held upstream has gone back to the pool.
    package mutating func released() {
        isSendingTransaction = false
    }

    /// CLIENT REPLY ON, OFF or SKIP was sent.
    package mutating func setReplyMode(_ mode: ReplyMode) {
        // SKIP under OFF changes nothing (Redis 7.0 networking.c, clientCommand).
        if mode == .skipNext, replyMode == .off { return }
        replyMode = mode
    }

    /// True when the command that is sent now is not to be answered; a SKIP is used up by it.
    package mutating func takeSilence() -> Bool {
        switch replyMode {
        case .on: return false
        case .off: return true
        case .skipNext:
            replyMode = .on
            return true
        }
    }

    /// The plan for a command of a client that holds an upstream of its own.
    package mutating func planHeld(
        _ command: Command, _ info: CommandInfo?, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> Plan {
        guard let info else { return .pipe }
        switch command {
        case .quit: return .quit
        case .post, .host: return .vanish
        // With arguments it is refused, queued or not.
        case .reset: return frame.argumentCount == 1 ? .reset : .send(.plain)
        default: break
        }
        if isSendingTransaction { return planInTransaction(command, info, frame) }
        return planOutsideTransaction(command, info, bytes, frame)
    }

    private mutating func planInTransaction(
        _ command: Command, _ info: CommandInfo, _ frame: CommandFrame
    ) -> Plan {
        switch command {
        case .exec:
            isSendingTransaction = false
            return .send(.exec)
        case .discard:
            if frame.argumentCount == 1 { isSendingTransaction = false }
            return .send(.discard)
        case .multi: return .send(.multi)
        case .watch: return .send(.watch)
        case .unwatch:
            // Errors or queued; but MULTI itself may have been refused, and then these count.
            return .send(.unwatch)
        default:
            // What may not stand in a block changes the connection when EXEC runs it.
            if info.commandClass == .controlRewrite { return .controlClients }
            return info.mayStandInBlock ? .send(.plain) : .pipe
        }
    }

    private mutating func planOutsideTransaction(
        _ command: Command, _ info: CommandInfo, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> Plan {
        switch info.commandClass {
        case .pinMulti:
            guard frame.argumentCount == 1 else { return .send(.plain) }
            isSendingTransaction = true
            return .send(.multi)
        case .pinWatch: return .send(.watch)
        case .unwatch: return .send(.unwatch)
        case .endTransaction:
            return .send(command == .exec ? .exec : .discard)
        case .pinSubscribe:
            return .send(.subscribe, UInt32(clamping: max(1, frame.argumentCount - 1)))
        case .unsubscribe:
            return .send(
                Session.unsubscribe(command), UInt32(clamping: frame.argumentCount - 1))
        case .pinReply: return .sendBlocking
        case .pinReplyIfBlock:
            return CommandTable.hasBlockArgument(bytes, frame) ? .sendBlocking : .send(.plain)
        case .share, .shareSlow, .admin, .control, .pinIfTracking:
            return .send(.plain)
        case .mirror: return .mirror
        case .controlRewrite: return .controlClients
        case .rewrite: return Session.rewrite(command)
        case .state, .stateRewrite:
            return CommandTable.planState(command, bytes, frame)
        case .local:
            return command == .clientReply ? CommandTable.planReply(bytes, frame) : .send(.plain)
        case .pinReplyOffset: return .waitForReplicas
        case .pinForever, .pinNext, .deny:
            return .pipe
        }
    }

    static func unsubscribe(_ command: Command) -> Expectation {
        switch command {
        case .punsubscribe: .unsubscribePatterns
        case .sunsubscribe: .unsubscribeShards
        default: .unsubscribeChannels
        }
    }

    static func rewrite(_ command: Command) -> Plan {
        switch command {
        case .clientId: .send(.rewriteID)
        case .clientGetname: .send(.rewriteName)
        case .clientInfo: .send(.rewriteInfo)
        default: .send(.rewriteList)
        }
    }

    /// A command that opens a hold was sent as the first on its upstream.
    package mutating func opened(_ command: Command, _ frame: CommandFrame) {
        if command == .multi, frame.argumentCount == 1 { isSendingTransaction = true }
    }
}
