// One client's virtual connection, as its commands and their replies define it. Pure: it reads
// commands and returns plans, and takes what replies mean.

package import Pool
package import RESP

/// How replies reach the client (CLIENT REPLY).
package enum ReplyMode: UInt8, CaseIterable, Sendable {
    /// -> `off`, `skipNext`.
    case on
    /// -> `on`.
    case off
    /// CLIENT REPLY SKIP was seen: the next command has no reply. -> `on`.
    case skipNext
}

/// A client's own MULTI, as far as it has sent it.
package struct SentTransaction: Equatable, Sendable {
    /// The number of elements that EXEC's array will have, if it is an array: the commands sent in
    /// the transaction, except those that are never queued.
    package fileprivate(set) var memberCount: UInt32 = 0
    /// MULTI has been sent, and neither EXEC nor DISCARD since.
    package fileprivate(set) var isOpen = false
}

/// Everything that a client's connection to one server would have, as a value.
package struct Session: Sendable {
    // In this order hardly a byte between them is padding.
    var rare = Rare.none
    /// The sub-pool whose upstreams fit: the client's user, protocol version and database.
    package internal(set) var key: PoolKey
    /// Where its writes went, for WAIT.
    package var writes = WriteTrail()
    package private(set) var transaction = SentTransaction()
    package private(set) var replyMode = ReplyMode.on
    /// The client has sent RESET. If the server requires a login, the client has to log in again.
    package private(set) var hasReset = false
    /// The client has chosen its database itself.
    var hasSelected = false

    package init(key: PoolKey) {
        self.key = key
    }

    package var isSendingTransaction: Bool { transaction.isOpen }

    package var memberCount: UInt32 { transaction.memberCount }

    /// A session of another process. Its redirection and its members are set in `Session+Rare`.
    init(
        key: PoolKey, writes: WriteTrail, openTransaction: UInt32?, replyMode: ReplyMode,
        hasReset: Bool, hasSelected: Bool
    ) {
        self.key = key
        self.writes = writes
        transaction.isOpen = openTransaction != nil
        transaction.memberCount = openTransaction ?? 0
        self.replyMode = replyMode
        self.hasReset = hasReset
        self.hasSelected = hasSelected
    }

    /// RESET has been carried out: the state is that of a new connection. Library name and version
    /// stay, as in Redis; where the writes went is Redpool's.
    package mutating func reset(to key: PoolKey) {
        self.key = key
        hasReset = true
        hasSelected = false
        transaction = SentTransaction()
        replyMode = .on
        members = []
        rename([])
        forgetClientUser()
    }

    /// The pool's database is another one. A client that has chosen its database stays there.
    package mutating func move(toDatabase database: UInt32) {
        if !hasSelected { key.database = database }
    }

    /// Its next command goes to another server, where none of its writes went.
    package mutating func movesElsewhere() { writes.isElsewhere() }

    /// The held upstream has no transaction.
    package mutating func released() {
        transaction = SentTransaction()
        members = []
    }

    /// The command that was planned last is not sent yet, and will be planned again.
    package mutating func withdraw(to before: SentTransaction) {
        transaction = before
    }

    /// A command that may stand in a block is sent on the held upstream before it has arrived
    /// completely.
    package mutating func streamed() {
        if isSendingTransaction { transaction.memberCount &+= 1 }
    }

    /// A login that Redpool has judged is queued in the transaction.
    package mutating func queuesLogin() { transaction.memberCount &+= 1 }

    /// CLIENT REPLY ON, OFF or SKIP was sent.
    package mutating func setReplyMode(_ mode: ReplyMode) {
        // SKIP under OFF changes nothing (Redis 7.0 networking.c, clientCommand).
        if mode == .skipNext, replyMode == .off { return }
        replyMode = mode
    }

    /// True when the command that is sent now has no reply. Uses up a SKIP.
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
        guard let info else {
            guard isSendingTransaction else { return .pipe }
            transaction.memberCount &+= 1
            return .queue(.stranger)
        }
        switch command {
        case .quit: return .quit
        case .post, .host: return .vanish
        case .reset where frame.argumentCount == 1: return .reset
        default: break
        }
        if info.commandClass.carriesState, !info.isNamedExactly(bytes, frame) { return .impossible }
        if isSendingTransaction { return planInTransaction(command, info, bytes, frame) }
        return planOutsideTransaction(command, info, bytes, frame) ?? .oneOff(.plain)
    }

    private mutating func planInTransaction(
        _ command: Command, _ info: CommandInfo, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> Plan {
        switch command {
        case .exec:
            transaction.isOpen = false
            return .send(.exec)
        case .discard:
            if frame.argumentCount == 1 { transaction.isOpen = false }
            return .send(.discard)
        case .multi: return .send(.multi)
        case .watch: return .send(.watch)
        default: break
        }
        transaction.memberCount &+= 1
        // MULTI may have been refused; then UNWATCH takes effect.
        if command == .unwatch { return .send(.unwatch) }
        if let plan = CommandTable.planScript(command, bytes, frame) { return plan }
        // It does not block in a transaction, but MULTI may have been refused.
        if info.isBlocking,
            info.commandClass != .pinReplyIfBlock || CommandTable.hasBlockArgument(bytes, frame)
        {
            return .sendBlocking
        }
        if info.mayStandInBlock { return .send(.plain) }
        return Session.planMember(command, info.commandClass, bytes, frame) ?? .oneOff(.plain)
    }

    /// Commands that may not stand in a forwarded block: EXEC's run of them changes the connection,
    /// or their element of EXEC's array has to be replaced. Nil for one that is not understood.
    private static func planMember(
        _ command: Command, _ kind: CommandClass, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> Plan? {
        switch kind {
        case .controlRewrite: return .controlClients
        case .mirror:
            return IdentityChange(CommandTable.words(bytes, frame)).map { .queue($0.expectation) }
        case .rewrite:
            guard case .send(let expectation, _) = CommandTable.planRewrite(command, bytes, frame)
            else { return nil }
            return .queue(expectation)
        case .pinIfTracking: return command == .clientCaching ? .send(.plain) : .queue(.redirection)
        case .state, .stateRewrite, .pinForever, .pinNext:
            return planStateMember(command, bytes, frame)
        case .local:
            // The server refuses RESET with arguments and does not queue it.
            return command == .clientReply && CommandTable.replyMode(bytes, frame) != nil
                ? .pipe : nil
        case .pinSubscribe where frame.argumentCount == 1: return nil
        // Their confirmations do not count as elements of the array around them.
        case .pinSubscribe, .unsubscribe, .deny: return .pipe
        case .control:
            guard CommandTable.isControl(command, bytes, frame) else { return nil }
            let wanted = CommandTable.expectation(ofControl: command, bytes, frame)
            return wanted.0 == .plain ? .send(.plain) : .queue(wanted.0, wanted.1)
        case .pinFence: return .fenced
        default: return .send(.plain)
        }
    }

    private static func planStateMember(
        _ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> Plan? {
        if let (expectation, value) = CommandTable.property(command, bytes, frame) {
            return expectation.isRedirected(value) ? .pipe : .queue(expectation, value)
        }
        switch CommandTable.planState(command, bytes, frame) {
        case .select(let database): return .queue(.select, database)
        case .hello(let version): return .queue(.hello, UInt32(version))
        case .send(.hello, _): return .queue(.hello)
        // An AUTH that fails in EXEC has no element in the array (Redis 7.2).
        case .authenticate, .helloChange: return .pipe
        default: return nil
        }
    }

    /// Nil for a command that is not understood.
    private mutating func planOutsideTransaction(
        _ command: Command, _ info: CommandInfo, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> Plan? {
        switch info.commandClass {
        case .pinMulti:
            guard frame.argumentCount == 1 else { return nil }
            transaction.isOpen = true
            transaction.memberCount = 0
            return .send(.multi)
        case .pinWatch: return frame.argumentCount > 1 ? .send(.watch) : nil
        case .unwatch: return .send(.unwatch)
        case .endTransaction:
            return .send(command == .exec ? .exec : .discard)
        case .pinSubscribe:
            let confirmations = UInt32(clamping: frame.argumentCount - 1)
            return confirmations > 0 ? .send(.subscribe, confirmations) : nil
        case .unsubscribe:
            return .send(
                Session.unsubscribe(command), UInt32(clamping: frame.argumentCount - 1))
        case .pinReply: return .sendBlocking
        case .pinReplyIfBlock:
            return CommandTable.hasBlockArgument(bytes, frame) ? .sendBlocking : .send(.plain)
        case .shareSlow:
            return CommandTable.planScript(command, bytes, frame) ?? .send(.plain)
        case .pinFence: return .fenced
        case .share, .admin: return .send(.plain)
        case .control:
            guard CommandTable.isControl(command, bytes, frame) else { return nil }
            let wanted = CommandTable.expectation(ofControl: command, bytes, frame)
            return .send(wanted.0, wanted.1)
        case .pinIfTracking: return .send(command == .clientCaching ? .plain : .redirection)
        case .mirror:
            return IdentityChange(CommandTable.words(bytes, frame)) == nil ? nil : .mirror
        case .controlRewrite: return .controlClients
        case .rewrite: return CommandTable.planRewrite(command, bytes, frame)
        case .state, .stateRewrite, .pinForever, .pinNext:
            if let (expectation, value) = CommandTable.property(command, bytes, frame) {
                return .send(expectation, value)
            }
            return CommandTable.planState(command, bytes, frame)
        case .local:
            guard command == .clientReply else { return nil }
            return CommandTable.replyMode(bytes, frame).map { .replyMode($0) }
        case .pinReplyOffset: return .waitForReplicas
        case .deny: return .pipe
        }
    }

    static func unsubscribe(_ command: Command) -> Expectation {
        switch command {
        case .punsubscribe: .unsubscribePatterns
        case .sunsubscribe: .unsubscribeShards
        default: .unsubscribeChannels
        }
    }

    /// MULTI was sent as the first command on an upstream.
    package mutating func beginTransaction() {
        transaction.isOpen = true
        transaction.memberCount = 0
    }

    /// A command that begins a hold was sent as the first one on its upstream.
    package mutating func opened(_ command: Command, _ frame: CommandFrame) {
        guard command == .multi, frame.argumentCount == 1 else { return }
        beginTransaction()
    }
}
