// Where to send a command of a client that holds no upstream.

package import RESP

extension CommandTable {
    /// The plan for a command of a client that holds no upstream.
    package func plan(_ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame) -> Plan {
        guard let kind = commandClass(command) else { return .ask }
        switch kind {
        case .share, .admin, .unwatch, .endTransaction, .pinIfTracking:
            // The last three change nothing on a connection without the state that they end.
            return .send(.plain)
        case .shareSlow:
            return CommandTable.planScript(command, bytes, frame) ?? .sendSlow
        case .pinFence: return .fenced
        case .pinReply:
            return .exclusive(isBlocking: info(command)?.isBlocking ?? true)
        case .pinReplyIfBlock:
            return CommandTable.hasBlockArgument(bytes, frame)
                ? .exclusive(isBlocking: true) : .send(.plain)
        case .pinReplyOffset: return .waitForReplicas
        case .deny:
            return info(command)?.isNamedExactly(bytes, frame) == true ? .pipe : .impossible
        case .unsubscribe, .mirror, .rewrite, .pinMulti, .pinWatch, .pinSubscribe, .state,
            .stateRewrite, .local, .control, .controlRewrite, .pinForever, .pinNext:
            guard let info = info(command), info.isNamedExactly(bytes, frame) else {
                return .impossible
            }
            // A command of these classes that is not understood is made harmless before it is sent.
            if kind == .controlRewrite { return .controlClients }
            return planState(command, kind, bytes, frame) ?? .oneOff(.plain)
        }
    }

    /// Commands that can change the state of the connection; nil for one that is not understood.
    private func planState(
        _ command: Command, _ kind: CommandClass, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> Plan? {
        let count = frame.argumentCount
        switch kind {
        case .unsubscribe:
            // It changes nothing here, but brings one confirmation per argument; in RESP3 they are
            // pushes.
            return .hold(Session.unsubscribe(command), UInt32(clamping: count - 1))
        case .mirror:
            return IdentityChange(CommandTable.words(bytes, frame)) == nil ? nil : .mirror
        case .rewrite: return CommandTable.planRewrite(command, bytes, frame)
        case .pinMulti: return count == 1 ? .hold(.multi) : nil
        case .pinWatch: return count > 1 ? .hold(.watch) : nil
        case .pinSubscribe:
            return count > 1 ? .hold(.subscribe, UInt32(clamping: count - 1)) : nil
        case .local: return CommandTable.planLocal(command, bytes, frame)
        case .control:
            return CommandTable.isControl(command, bytes, frame) ? .control : nil
        default: return CommandTable.planState(command, bytes, frame)
        }
    }

    private static func planLocal(
        _ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> Plan? {
        switch command {
        case .quit: .quit
        case .post, .host: .vanish
        case .reset: frame.argumentCount == 1 ? .reset : nil
        default: replyMode(bytes, frame).map { .replyMode($0) }
        }
    }
}

extension CommandInfo {
    /// False when the subcommand has a NUL in it. Redis 6.2 takes it for the subcommand before the
    /// NUL. Later versions take it for unknown, or for that subcommand if their hash table happens
    /// to find it.
    package func isNamedExactly(_ bytes: Span<UInt8>, _ frame: CommandFrame) -> Bool {
        guard frame.firstLength > 0, isSubcommand else { return true }
        return !Word.hasNUL(bytes, start: frame.firstStart, count: frame.firstLength)
    }
}
