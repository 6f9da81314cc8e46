// Fuzzes the session machine: any commands in any state, any replies to them, any frames of a
// subscription. Nothing may trap, what is said to be clean must be, and what is said to be
// cleanable must become clean by the commands that it names. Every command that carries state is
// also spelled otherwise, in every place: what the server reads alike must be planned alike.

internal import Pool
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

/// A command that carries state, with the kind of each word: a name, a subcommand, an option, an
/// integer, or data.
private struct Shape {
    let kinds: [UInt8]
    let words: [[UInt8]]

    init(_ kinds: String, _ text: String) {
        self.kinds = Array(kinds.utf8)
        words = text.split(separator: " ").map { Array($0.utf8) }
        precondition(self.kinds.count == words.count, "a word without a kind")
    }
}

private let shapes: [Shape] = [
    Shape("ni", "SELECT 1"), Shape("ndd", "AUTH bob pw"), Shape("nd", "AUTH pw"),
    Shape("n", "HELLO"), Shape("ni", "HELLO 2"), Shape("ni", "HELLO 3"),
    Shape("niodd", "HELLO 2 AUTH bob pw"), Shape("niod", "HELLO 3 SETNAME me"),
    Shape("nioddod", "HELLO 3 AUTH bob pw SETNAME me"), Shape("n", "MULTI"), Shape("n", "EXEC"),
    Shape("n", "DISCARD"), Shape("ndd", "WATCH a b"), Shape("n", "UNWATCH"), Shape("n", "MONITOR"),
    Shape("n", "RESET"), Shape("n", "QUIT"), Shape("n", "READONLY"), Shape("n", "READWRITE"),
    Shape("n", "ASKING"), Shape("ndd", "SUBSCRIBE a b"), Shape("nd", "UNSUBSCRIBE a"),
    Shape("n", "UNSUBSCRIBE"), Shape("nd", "PSUBSCRIBE a"), Shape("n", "PUNSUBSCRIBE"),
    Shape("nd", "SSUBSCRIBE a"), Shape("n", "SUNSUBSCRIBE"), Shape("nso", "CLIENT REPLY ON"),
    Shape("nso", "CLIENT REPLY OFF"), Shape("nso", "CLIENT REPLY SKIP"),
    Shape("nso", "CLIENT TRACKING ON"),
    Shape("nsooood", "CLIENT TRACKING ON BCAST NOLOOP PREFIX a"),
    Shape("nsooi", "CLIENT TRACKING ON REDIRECT 7"), Shape("nsoo", "CLIENT TRACKING ON OPTIN"),
    Shape("nsoo", "CLIENT TRACKING ON OPTOUT"), Shape("nso", "CLIENT TRACKING OFF"),
    Shape("nso", "CLIENT CACHING YES"), Shape("nso", "CLIENT NO-EVICT ON"),
    Shape("nso", "CLIENT NO-EVICT OFF"), Shape("nso", "CLIENT NO-TOUCH ON"),
    Shape("nso", "CLIENT IMPORT-SOURCE ON"), Shape("nso", "CLIENT CAPA redirect"),
    Shape("nsd", "CLIENT SETNAME me"), Shape("nsod", "CLIENT SETINFO LIB-NAME x"),
    Shape("nsoi", "CLIENT KILL ID 7"), Shape("nsoooo", "CLIENT KILL TYPE normal SKIPME no"),
    Shape("nsio", "CLIENT UNBLOCK 7 ERROR"), Shape("nsoo", "CLIENT LIST TYPE normal"),
    Shape("nsoi", "CLIENT LIST ID 7"), Shape("ns", "CLIENT ID"), Shape("ns", "CLIENT INFO"),
    Shape("ns", "CLIENT GETNAME"), Shape("ns", "CLIENT GETREDIR"),
    Shape("ns", "CLIENT TRACKINGINFO"),
    Shape("nsio", "CLIENT PAUSE 0 WRITE"), Shape("ns", "CLIENT UNPAUSE"),
    Shape("ns", "CLIENT HELP"),
    Shape("noiodd", "XREAD BLOCK 2 STREAMS a 0"),
    Shape("noddoiodd", "XREADGROUP GROUP g c BLOCK 2 STREAMS a 0"), Shape("ndi", "BLPOP a 2"),
    Shape("nddooi", "BLMOVE a b LEFT RIGHT 2"), Shape("nii", "WAIT 0 1"),
    Shape("niii", "WAITAOF 0 0 0"), Shape("no", "FLUSHALL ASYNC"), Shape("ns", "SCRIPT KILL"),
    Shape("ns", "FUNCTION KILL"), Shape("nso", "SCRIPT DEBUG YES"), Shape("nsd", "MODULE LOAD a"),
    Shape("nii", "SHUTDOWN 0 0"), Shape("n", "SYNC"), Shape("ndd", "POST / x"),
    Shape("nd", "Host: x"),
]

extension Decisions {
    /// The word in another case, letter by letter as the input says.
    private mutating func otherCase(_ word: [UInt8]) -> [UInt8] {
        let bits = number()
        return word.enumerated().map { index, byte in
            let isLetter = byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A
            return isLetter && bits >> UInt32(index & 31) & 1 != 0 ? byte ^ 0x20 : byte
        }
    }

    /// A word with something wrong about it: NUL, blanks, signs, zeros, or far too much.
    private mutating func misspelled(_ word: [UInt8]) -> [UInt8] {
        let choice = byte()
        let place = word.isEmpty ? 0 : Int(byte()) % (word.count + 1)
        switch choice % 12 {
        case 0: return word + [0]
        case 1: return word + [0] + some(6)
        case 2: return Array(word[..<place]) + [0] + Array(word[place...])
        case 3: return [0x20] + word
        case 4: return word + [0x20]
        case 5: return [0x2B] + word
        case 6: return [0x2D] + word
        case 7: return Array(repeating: 0x30, count: Int(byte() % 40) + 1) + word
        case 8: return word + Array(repeating: 0x78, count: Int(byte()) * 8 + 1)
        case 9: return Array(word[..<place]) + some(2) + Array(word[place...])
        case 10: return Array(word.dropLast())
        default: return some(12)
        }
    }

    /// One of the shapes, and the same with other words that the server reads alike.
    mutating func respelled() -> (plain: [[UInt8]], respelled: [[UInt8]]) {
        let shape = shapes[Int(byte()) % shapes.count]
        let made = zip(shape.kinds, shape.words).map { kind, word -> [UInt8] in
            switch kind {
            case UInt8(ascii: "n"), UInt8(ascii: "s"): return otherCase(word)
            case UInt8(ascii: "o"):
                let tail = byte()
                return otherCase(word) + (tail & 1 == 0 ? [] : [0] + some(Int(tail >> 5)))
            default: return word
            }
        }
        return (shape.words, made)
    }

    /// One of the shapes with a word or two that are others, one too many or one too few.
    mutating func misspelled() -> [[UInt8]] {
        let shape = shapes[Int(byte()) % shapes.count]
        var made = shape.words
        let how = byte()
        for _ in 0...(how & 1) {
            let place = Int(byte()) % made.count
            made[place] = misspelled(made[place])
        }
        if how & 6 == 2 { made.append(some(4)) }
        if how & 6 == 4, made.count > 1 { made.removeLast() }
        return made
    }
}

/// A command as the scanner finds it.
private struct Scanned {
    let bytes: [UInt8]
    let frame: CommandFrame

    init(_ arguments: [[UInt8]]) {
        var bytes: [UInt8] = []
        Encode.command(arguments, into: &bytes)
        var scanner = CommandScanner()
        guard
            case .command(let found) = scanner.scan(
                bytes.span, frameStart: 0, limits: CommandLimits())
        else { preconditionFailure("an encoded command is no command") }
        self.bytes = bytes
        frame = found
    }
}

private struct World {
    var session = Session(key: PoolKey(user: 0, protocolVersion: 2, database: 0))
    var hold = HeldState()
    var edges = FrameEdges()
    var copy = FrameEdges()

    mutating func command(_ decisions: inout Decisions) {
        let count = Int(decisions.byte() % 5) + 1
        play(
            (0..<count).map { _ in
                let choice = Int(decisions.byte())
                return choice < words.count ? Array(words[choice].utf8) : decisions.some(12)
            })
    }

    mutating func spelling(_ decisions: inout Decisions) {
        guard decisions.byte() & 1 == 0 else {
            play(decisions.misspelled())
            return
        }
        let (plain, respelled) = decisions.respelled()
        var other = self
        let expected = other.play(plain)
        precondition(play(respelled) == expected, "read alike, and not planned alike")
    }

    /// The plans for a client that holds nothing, and for this one; the second is carried out.
    @discardableResult
    private mutating func play(_ arguments: [[UInt8]]) -> [Plan] {
        let scanned = Scanned(arguments)
        let (bytes, frame) = (scanned.bytes.span, scanned.frame)
        let command = table.find(bytes, frame)
        let plans = [
            table.plan(command, bytes, frame),
            session.planHeld(command, table.info(command), bytes, frame),
        ]
        switch plans[1] {
        case .queue: hold.queued()
        case .replyMode(let mode): session.setReplyMode(mode)
        case .reset: session.reset(to: session.key)
        default: break
        }
        _ = session.takeSilence()
        if !session.isSendingTransaction { _ = session.memberCount }
        return plans
    }

    mutating func reply(_ decisions: inout Decisions) {
        let bits = decisions.byte()
        let kinds: [ErrorKind?] = [nil] + ErrorKind.allCases
        let facts = ReplyFacts(
            type: decisions.byte(), error: kinds[Int(bits >> 3) % kinds.count],
            isOK: bits & 2 != 0, isQueued: bits & 4 != 0)
        guard let expectation = Expectation(rawValue: decisions.byte() & 63) else { return }
        var value = decisions.number()
        // Only these come from the plans.
        if expectation == .flagOn || expectation == .flagOff { value = 1 << (value & 3) }
        hold.replied(to: expectation, facts, value: value)
        precondition(hold.confirmations(of: expectation) >= 1)
        let meaning = Meaning(expectation, value: value, facts, isBelieved: bits & 4 == 0)
        let upstream = UpstreamID(slot: value & 3, generation: 0)
        if case .login(let verdict) = meaning, let login = session.takeLogin() {
            if case .refused(let error) = verdict { _ = login.part(before: error) }
        }
        _ = session.take(meaning, over: upstream)
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
        case 0: world.command(&decisions)
        case 1: world.spelling(&decisions)
        case 2: world.reply(&decisions)
        default: world.frame(&decisions)
        }
        world.check()
    }
    return 0
}
