// The arguments of commands that change a connection, read as the server reads them. Nil and false
// always mean: not fully understood.

package import RESP

extension CommandTable {
    /// Argument `index` (0 is the name) of a complete frame, as the server reads it; nil if it does
    /// not exist.
    static func word(_ index: Int, _ bytes: Span<UInt8>, _ frame: CommandFrame) -> Word? {
        place(of: index, bytes, frame).map { Word(bytes, start: $0.start, count: $0.length) }
    }

    /// The bytes of that argument.
    package static func argument(
        _ index: Int, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> [UInt8]? {
        place(of: index, bytes, frame).map { place in
            (0..<place.length).map { bytes[place.start + $0] }
        }
    }

    private static func place(
        of index: Int, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> (start: Int, length: Int)? {
        var arguments = CommandArguments(bytes, frame: frame)
        for _ in 0..<index where arguments.next(bytes) == nil { return nil }
        return arguments.next(bytes)
    }

    /// All arguments of a complete frame.
    package static func words(_ bytes: Span<UInt8>, _ frame: CommandFrame) -> [[UInt8]] {
        var words: [[UInt8]] = []
        var arguments = CommandArguments(bytes, frame: frame)
        while let found = arguments.next(bytes) {
            words.append((0..<found.length).map { bytes[found.start + $0] })
        }
        return words
    }

    /// CLIENT REPLY.
    static func replyMode(_ bytes: Span<UInt8>, _ frame: CommandFrame) -> ReplyMode? {
        guard frame.argumentCount == 3 else { return nil }
        switch word(2, bytes, frame) {
        case "on": return .on
        case "off": return .off
        case "skip": return .skipNext
        default: return nil
        }
    }

    /// SELECT, AUTH, HELLO and the less common commands that change a property of the connection.
    static func planState(
        _ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> Plan? {
        switch command {
        case .select:
            guard frame.argumentCount == 2, let word = argument(1, bytes, frame),
                let number = Word.integer(word, in: 0...Int64(Int32.max))
            else { return nil }
            return .select(UInt32(number))
        case .auth:
            return (2...3).contains(frame.argumentCount) ? .authenticate : nil
        case .hello:
            if frame.argumentCount == 1 { return .send(.hello) }
            guard let word = argument(1, bytes, frame),
                let version = Word.integer(word, in: 2...3)
            else { return nil }
            return frame.argumentCount == 2 ? .hello(UInt8(version)) : .helloChange
        default:
            guard let (expectation, value) = property(command, bytes, frame) else { return nil }
            // Without a hold, no property is on.
            switch expectation {
            case .trackingOff where value != 0: return .send(expectation, value)
            case .trackingOff, .flagOff: return .send(.plain)
            default: return .hold(expectation, value)
            }
        }
    }

    /// The meaning of a command that turns a property of the connection on or off.
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
        case .clientTracking: return tracking(words(bytes, frame))
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
        switch word(2, bytes, frame) {
        case "on": return (.flagOn, flag.rawValue)
        case "off": return (.flagOff, flag.rawValue)
        default: return nil
        }
    }

    /// `CLIENT TRACKING ON|OFF` with its options. The word after PREFIX or REDIRECT is not an
    /// option.
    private static func tracking(_ words: [[UInt8]]) -> (Expectation, UInt32)? {
        guard words.count > 2 else { return nil }
        var options: TrackingOptions = []
        var index = 3
        while index < words.count {
            let hasValue = index + 1 < words.count
            switch Word(words[index]) {
            case "bcast": options.insert(.broadcast)
            case "optin", "optout", "noloop": break
            case "redirect"
            where hasValue && Word.integer(words[index + 1], in: Word.anyNumber) != nil:
                options.insert(.redirected)
                index += 1
            case "prefix" where hasValue: index += 1
            default: return nil
            }
            index += 1
        }
        switch Word(words[2]) {
        case "on": return (.trackingOn, options.rawValue)
        case "off": return (.trackingOff, options.intersection(.redirected).rawValue)
        default: return nil
        }
    }

    /// CLIENT ID, GETNAME, INFO and LIST.
    static func planRewrite(
        _ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> Plan {
        let isAlone = frame.argumentCount == 2
        switch command {
        case .clientId: return isAlone ? .send(.rewriteID) : .oneOff(.plain)
        case .clientGetname: return isAlone ? .send(.rewriteName) : .oneOff(.plain)
        case .clientInfo: return isAlone ? .send(.rewriteInfo) : .oneOff(.plain)
        default:
            let isUnderstood = isAlone || ListFilter(words(bytes, frame)).isUnderstood
            return isUnderstood ? .send(.rewriteList) : .oneOff(.rewriteList)
        }
    }

    /// True for a command that must not queue behind the command that it is to stop, in a form that
    /// every server of the table accepts.
    static func isControl(
        _ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> Bool {
        let words = words(bytes, frame)
        switch command {
        case .clientPause:
            guard words.count == 3 || words.count == 4,
                Word.integer(words[2], in: Word.anyNumber) != nil
            else {
                return false
            }
            return words.count == 3 || ["write", "all"].contains(Word(words[3]))
        case .shutdown:
            let options: [Word] = ["nosave", "save", "now", "force", "abort"]
            return words.dropFirst().allSatisfy { options.contains(Word($0)) }
        default: return words.count == 2
        }
    }

    /// The lengths that the server accepts for a pause, in milliseconds. A longer pause, added to a
    /// wall clock after 2001, exceeds 64 bits: Valkey refuses it, Redis 7.0 takes the end for a
    /// time in the past.
    private static let pauses: ClosedRange<Int64> = 1...(.max - 1_000_000_000_000)

    /// The expectation of a control command and its number. The longest pause that counts is 49
    /// days.
    package static func expectation(
        ofControl command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> (Expectation, UInt32) {
        switch command {
        case .clientUnpause: return (.unpause, 0)
        case .clientPause:
            guard let length = Word.integer(argument(2, bytes, frame) ?? [], in: pauses) else {
                return (.plain, 0)
            }
            return (.pause, UInt32(clamping: length))
        default: return (.plain, 0)
        }
    }

    /// Commands whose success proves a write, whatever the data was.
    package static func provesWrite(_ command: Command, _ frame: CommandFrame) -> Bool {
        switch command {
        case .set: frame.argumentCount == 3
        case .mset, .hmset, .incr, .decr, .incrby, .decrby, .lpush, .rpush, .append, .xadd: true
        default: false
        }
    }

    /// A client's script, which may run without end.
    package static func runsScript(_ command: Command) -> Bool {
        switch command {
        case .eval, .evalRo, .evalsha, .evalshaRo, .fcall, .fcallRo: true
        default: false
        }
    }

    /// The plan for a script or function; nil for any other command. If a script begins with `#!`,
    /// Redis from 7.0 on copies parts of it into its errors unchanged (eval.c).
    package static func planScript(
        _ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> Plan? {
        guard runsScript(command) else { return nil }
        let isText = command == .eval || command == .evalRo
        let isShebang =
            isText && frame.firstLength > 1 && bytes[frame.firstStart] == UInt8(ascii: "#")
            && bytes[frame.firstStart + 1] == UInt8(ascii: "!")
        return isShebang ? .fenced : .runScript
    }

    /// True when any argument is BLOCK. A key of that name only costs an upstream of its own.
    static func hasBlockArgument(_ bytes: Span<UInt8>, _ frame: CommandFrame) -> Bool {
        var arguments = CommandArguments(bytes, frame: frame)
        while let argument = arguments.next(bytes) {
            if Word(bytes, start: argument.start, count: argument.length) == "block" {
                return true
            }
        }
        return false
    }

    /// The same when only the first words have arrived. Options come before STREAMS.
    package static func mayHaveBlockArgument(_ begun: [[UInt8]]) -> Bool {
        begun.contains { Word($0) == "block" } || !begun.contains { Word($0) == "streams" }
    }
}
