// Fuzzes the session machine: any commands in any state, any replies to them, any frames of a
// subscription. Nothing may trap, what is said to be clean must be, and what is said to be
// cleanable must become clean by the commands that it names.

internal import RESP

private let words: [String] = [
    "GET", "SET", "MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "SUBSCRIBE", "PSUBSCRIBE",
    "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "MONITOR", "RESET", "QUIT",
    "SELECT",
    "AUTH", "HELLO", "CLIENT", "TRACKING", "CACHING", "REPLY", "NO-EVICT", "NO-TOUCH", "ON", "OFF",
    "SKIP", "ID", "LIST", "KILL", "SETNAME", "SETINFO", "BCAST", "PREFIX", "REDIRECT", "OPTIN",
    "BLPOP",
    "WAIT", "WAITAOF", "XREAD", "BLOCK", "STREAMS", "READONLY", "READWRITE", "ASKING", "NOSUCH",
    "0",
    "1", "2", "3", "16", "99999999999999999999", "-1", "", "SCRIPT", "EVAL", "COMMAND", "POST",
    "Host:",
]

/// Reads the input as decisions; zeros when it is used up.
private struct Decisions {
    let bytes: [UInt8]
    var index = 0

    var isOver: Bool { index >= bytes.count }

    mutating func byte() -> UInt8 {
        guard index < bytes.count else { return 0 }
        index += 1
        return bytes[index - 1]
    }

    mutating func number() -> UInt32 {
        (0..<4).reduce(0) { value, _ in value << 8 | UInt32(byte()) }
    }

    mutating func some(_ limit: Int) -> [UInt8] {
        (0..<Int(byte()) % (limit + 1)).map { _ in byte() }
    }
}

private let table = CommandTable()

private struct World {
    var session = Session()
    var hold = HeldState()
    var edges = FrameEdges()
    var copy = FrameEdges()

    mutating func command(_ decisions: inout Decisions) {
        let count = Int(decisions.byte() % 5) + 1
        let arguments = (0..<count).map { _ in
            let choice = Int(decisions.byte())
            return choice < words.count ? Array(words[choice].utf8) : decisions.some(12)
        }
        var frame: [UInt8] = []
        Encode.command(arguments, into: &frame)
        var scanner = CommandScanner()
        guard
            case .command(let found) = scanner.scan(
                frame.span, frameStart: 0, limits: CommandLimits())
        else { preconditionFailure("an encoded command is no command") }
        let command = table.find(frame.span, found)
        _ = table.plan(command, frame.span, found)
        switch session.planHeld(command, table.info(command), frame.span, found) {
        case .queue: hold.queued()
        case .replyMode(let mode): session.setReplyMode(mode)
        case .reset: session.reset()
        default: break
        }
        _ = session.takeSilence()
        if !session.isSendingTransaction { _ = session.memberCount }
    }

    mutating func reply(_ decisions: inout Decisions) {
        let bits = decisions.byte()
        let facts = ReplyFacts(
            type: decisions.byte(), isError: bits & 1 != 0, isOK: bits & 2 != 0,
            isQueued: bits & 4 != 0, isUnknownCommand: bits & 8 != 0)
        guard let expectation = Expectation(rawValue: decisions.byte() & 63) else { return }
        var value = decisions.number()
        // Only these come from the plans.
        if expectation == .flagOn || expectation == .flagOff { value = 1 << (value & 3) }
        hold.replied(to: expectation, facts, value: value)
        precondition(hold.confirmations(of: expectation) >= 1)
    }

    mutating func frame(_ decisions: inout Decisions) {
        let kinds = [
            "subscribe", "punsubscribe", "sunsubscribe", "message", "tracking-redir-broken",
        ]
        let kind = kinds[Int(decisions.byte()) % kinds.count]
        var bytes = Array(">3\r\n$\(kind.utf8.count)\r\n\(kind)\r\n$1\r\na\r\n:".utf8)
        bytes +=
            decisions.byte() & 1 == 0
            ? decisions.some(24)
            : Array(String(Int64(bitPattern: UInt64(decisions.number()) << 32)).utf8)
        bytes += [13, 10]
        if decisions.byte() & 1 == 0 { bytes = decisions.some(200) }
        edges.add(bytes.span, from: 0, to: bytes.count)
        for index in bytes.indices { copy.add(bytes.span, from: index, to: index + 1) }
        precondition(edges.kind == copy.kind, "a frame in pieces is another frame")
        if case .confirmation(let what, let count) = edges.kind {
            hold.confirmed(what, count: count)
        }
        edges.clear()
        copy.clear()
    }

    func check() {
        precondition(hold.channels >= 0 && hold.patterns >= 0 && hold.shards >= 0)
        precondition(hold.subscriptions >= 0)
        if hold.isClean { precondition(hold.cleaning == nil && !hold.isListening) }
        guard hold.isCleanable else { return }
        var other = hold
        var steps = 0
        while other.cleaning != nil {
            other.cleaned()
            steps += 1
            precondition(steps < 16, "cleaning does not end")
        }
        precondition(other.isClean, "cleaned, and not clean")
    }
}

@c(LLVMFuzzerTestOneInput)
public func fuzzSession(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    var decisions = Decisions(bytes: Array(UnsafeBufferPointer(start: data, count: size)))
    var world = World()
    while !decisions.isOver {
        switch decisions.byte() % 4 {
        case 0, 1: world.command(&decisions)
        case 2: world.reply(&decisions)
        default: world.frame(&decisions)
        }
        world.check()
    }
    return 0
}
