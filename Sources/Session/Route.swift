// Where a command goes: the decision that the proxy carries out.

package import RESP

/// What to do with one command.
package enum Plan: Equatable, Sendable {
    /// On a shared upstream, or on the held one; the number belongs to the expectation.
    case send(Expectation, UInt32 = 0)
    /// On an upstream shared with other slow commands.
    case sendSlow
    /// On the held upstream; it may block, so a client that leaves gives it up at once.
    case sendBlocking
    /// CLIENT SETNAME or SETINFO.
    case mirror
    /// On an upstream of its own, for one reply.
    case exclusive(isBlocking: Bool)
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
    /// HELLO with AUTH or SETNAME.
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

extension CommandTable {
    /// The plan for a command of a client that holds no upstream.
    package func plan(_ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame) -> Plan {
        guard let kind = commandClass(command) else { return .ask }
        switch kind {
        case .share, .admin, .unwatch, .endTransaction, .pinIfTracking:
            // The last three change nothing on a connection without the state they are about.
            return .send(.plain)
        case .unsubscribe:
            // It changes nothing either, but brings a confirmation per argument, pushes in RESP3.
            return .hold(
                Session.unsubscribe(command), UInt32(clamping: frame.argumentCount - 1))
        case .shareSlow: return .sendSlow
        case .mirror: return .mirror
        case .rewrite: return Session.rewrite(command)
        case .pinReply:
            return .exclusive(isBlocking: info(command)?.isBlocking ?? true)
        case .pinReplyIfBlock:
            return CommandTable.hasBlockArgument(bytes, frame)
                ? .exclusive(isBlocking: true) : .send(.plain)
        case .pinMulti:
            return frame.argumentCount == 1 ? .hold(.multi) : .send(.plain)
        case .pinWatch:
            return frame.argumentCount > 1 ? .hold(.watch) : .send(.plain)
        case .pinSubscribe:
            return frame.argumentCount > 1
                ? .hold(.subscribe, UInt32(clamping: frame.argumentCount - 1)) : .send(.plain)
        case .state, .stateRewrite:
            return CommandTable.planState(command, bytes, frame)
        case .local: return planLocal(command, bytes, frame)
        case .control: return .control
        case .controlRewrite: return .controlClients
        case .pinReplyOffset: return .waitForReplicas
        case .pinForever, .pinNext:
            return CommandTable.planState(command, bytes, frame)
        case .deny:
            return .pipe
        }
    }

    private func planLocal(
        _ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> Plan {
        switch command {
        case .quit: .quit
        case .post, .host: .vanish
        case .reset: frame.argumentCount == 1 ? .reset : .send(.plain)
        default: CommandTable.planReply(bytes, frame)
        }
    }

    /// CLIENT REPLY; what is malformed goes to the server, which words the error.
    static func planReply(_ bytes: Span<UInt8>, _ frame: CommandFrame) -> Plan {
        guard frame.argumentCount == 3 else { return .send(.plain) }
        switch Word.lowercased(argument(2, bytes, frame) ?? []) {
        case "on": return .replyMode(.on)
        case "off": return .replyMode(.off)
        case "skip": return .replyMode(.skipNext)
        default: return .send(.plain)
        }
    }

    /// SELECT, AUTH, HELLO and the rarer commands that change a property of the connection.
    static func planState(
        _ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> Plan {
        switch command {
        case .select:
            guard frame.argumentCount == 2, let word = argument(1, bytes, frame),
                let number = Word.number(word)
            else { return .send(.plain) }
            return .select(number)
        case .auth:
            return frame.argumentCount == 2 || frame.argumentCount == 3
                ? .authenticate : .send(.plain)
        case .hello:
            if frame.argumentCount == 1 { return .send(.hello) }
            if frame.argumentCount > 2 { return .helloChange }
            switch Word.number(argument(1, bytes, frame) ?? []) {
            case 2: return .hello(2)
            case 3: return .hello(3)
            default: return .send(.plain)
            }
        default:
            guard let (expectation, value) = property(command, bytes, frame) else {
                return .send(.plain)
            }
            // Nothing is on where nothing is held.
            let endsSomething = expectation == .trackingOff || expectation == .flagOff
            return endsSomething ? .send(.plain) : .hold(expectation, value)
        }
    }

    /// What a command means that turns a property of the connection on or off; nil when the server
    /// will refuse it, whatever the connection is.
    static func property(
        _ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> (Expectation, UInt32)? {
        let count = frame.argumentCount
        switch command {
        case .monitor: return count == 1 ? (.monitor, 0) : nil
        case .readonly: return count == 1 ? (.flagOn, ConnectionFlags.readOnly.rawValue) : nil
        case .readwrite: return count == 1 ? (.flagOff, ConnectionFlags.readOnly.rawValue) : nil
        case .asking: return count == 1 ? (.bind, 0) : nil
        case .clientCapa: return count > 2 ? (.bind, 0) : nil
        case .clientTracking: return tracking(bytes, frame)
        case .clientNoEvict: return flag(.noEvict, bytes, frame)
        case .clientNoTouch: return flag(.noTouch, bytes, frame)
        case .clientImportSource: return flag(.importSource, bytes, frame)
        default: return nil
        }
    }

    private static func flag(
        _ flag: ConnectionFlags, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> (Expectation, UInt32)? {
        guard frame.argumentCount == 3 else { return nil }
        switch Word.lowercased(argument(2, bytes, frame) ?? []) {
        case "on": return (.flagOn, flag.rawValue)
        case "off": return (.flagOff, flag.rawValue)
        default: return nil
        }
    }

    private static func tracking(
        _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> (Expectation, UInt32)? {
        var words: [String] = []
        var arguments = CommandArguments(bytes, frame: frame)
        while let found = arguments.next(bytes) {
            // A prefix may be long; an option is not.
            words.append(
                Word.lowercased((0..<min(found.length, 16)).map { bytes[found.start + $0] }))
        }
        guard words.count > 2 else { return nil }
        if words[2] == "off" { return (.trackingOff, 0) }
        guard words[2] == "on" else { return nil }
        return (.trackingOn, trackingOptions(words[3...]).rawValue)
    }

    /// What follows PREFIX and REDIRECT is no option.
    private static func trackingOptions(_ words: ArraySlice<String>) -> TrackingOptions {
        var options: TrackingOptions = []
        var index = words.startIndex
        while index < words.endIndex {
            switch words[index] {
            case "bcast": options.insert(.broadcast)
            case "redirect":
                options.insert(.redirected)
                index += 1
            case "prefix": index += 1
            default: break
            }
            index += 1
        }
        return options
    }

    /// Commands whose success proves that they have written, whatever the data was.
    package static func provesWrite(_ command: Command, _ frame: CommandFrame) -> Bool {
        switch command {
        case .set: frame.argumentCount == 3
        case .mset, .hmset, .incr, .decr, .incrby, .decrby, .lpush, .rpush, .append, .xadd: true
        default: false
        }
    }

    /// A script of the client's, which may run for ever.
    package static func runsScript(_ command: Command) -> Bool {
        switch command {
        case .eval, .evalRo, .evalsha, .evalshaRo, .fcall, .fcallRo: true
        default: false
        }
    }

    /// Argument `index` (0 is the name) of a complete frame.
    package static func argument(
        _ index: Int, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> [UInt8]? {
        var arguments = CommandArguments(bytes, frame: frame)
        var position = 0
        while let found = arguments.next(bytes) {
            if position == index {
                return (0..<found.length).map { bytes[found.start + $0] }
            }
            position += 1
        }
        return nil
    }

    /// True when any argument is BLOCK: a key of that name only costs an upstream of its own.
    static func hasBlockArgument(_ bytes: Span<UInt8>, _ frame: CommandFrame) -> Bool {
        var arguments = CommandArguments(bytes, frame: frame)
        while let argument = arguments.next(bytes) {
            if argument.length == 5,
                PackedName(bytes, start: argument.start, count: 5) == blockWord
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

/// Reading of short wire words, for rare paths.
package enum Word {
    /// Upper case ASCII letters become lower case; anything else stays.
    package static func lowercased(_ bytes: [UInt8]) -> String {
        String(decoding: bytes.map { $0 >= 65 && $0 <= 90 ? $0 | 0x20 : $0 }, as: UTF8.self)
    }

    /// A decimal number without sign or leading zeros, as Redis's string2ll takes it, up to 9
    /// digits.
    package static func number(_ bytes: [UInt8]) -> UInt32? {
        guard (1...9).contains(bytes.count), bytes.allSatisfy({ $0 >= 48 && $0 <= 57 }),
            bytes.count == 1 || bytes[0] != 48
        else { return nil }
        return bytes.reduce(0) { $0 * 10 + UInt32($1 - 48) }
    }
}
