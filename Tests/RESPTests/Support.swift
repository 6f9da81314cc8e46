import RESP

/// A small random generator with a seed, so that every failure can be repeated.
struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

func utf8(_ text: String) -> [UInt8] { Array(text.utf8) }

/// What a feeding of a command scanner brought to light.
enum CommandEvent: Equatable {
    case command([[UInt8]], isCanonical: Bool)
    case inline([UInt8])
    case skip
    case invalid(ProtocolError)
}

/// What a feeding of a reply scanner brought to light; `end` counts from the start of the stream.
enum ReplyEvent: Equatable {
    case reply(end: Int, type: UInt8, integer: Int64, head: [UInt8])
    case invalid
}

/// Feeds bytes to a scanner in pieces.
enum ChunkFeeder {
    /// The ways to cut `count` bytes that every test uses: whole, byte by byte, every cut in two.
    static func cuttings(_ count: Int) -> [[Int]] {
        [[count], Array(1..<(count + 1))] + (0...count).map { [$0, count] }
    }

    /// Cuts at random, the end included.
    static func randomCuts(_ count: Int, _ random: inout SplitMix64) -> [Int] {
        var cuts: [Int] = []
        var position = 0
        while position < count {
            position = min(count, position + Int.random(in: 1...12, using: &random))
            cuts.append(position)
        }
        return cuts
    }

    /// Each cut is a count of bytes that have arrived. With `compacts`, what comes before the
    /// current frame is thrown away, as a client's read buffer does it.
    static func commands(
        _ bytes: [UInt8], cuts: [Int], limits: CommandLimits = CommandLimits(),
        compacts: Bool = false
    ) -> [CommandEvent] {
        var scanner = CommandScanner()
        var events: [CommandEvent] = []
        var frameStart = 0
        for visible in cuts {
            while frameStart < visible {
                let base = compacts ? frameStart : 0
                let span = bytes.span.extracting(base..<visible)
                let scan = scanner.scan(span, frameStart: frameStart - base, limits: limits)
                guard let next = record(scan, span, &events) else {
                    if case .invalid = scan { return events }
                    break
                }
                frameStart = next + base
            }
        }
        return events
    }

    /// Appends what was found; the index after it, nil when there is none.
    private static func record(
        _ scan: CommandScan, _ span: Span<UInt8>, _ events: inout [CommandEvent]
    ) -> Int? {
        switch scan {
        case .command(let frame):
            let arguments = argumentsOf(frame, span)
            events.append(.command(arguments, isCanonical: frame.isCanonical))
            return frame.end
        case .inline(let start, let end, let next):
            events.append(.inline(copy(span, start, end - start)))
            return next
        case .skip(let next):
            events.append(.skip)
            return next
        case .incomplete:
            return nil
        case .invalid(let error):
            events.append(.invalid(error))
            return nil
        }
    }

    /// Every piece is a span of its own: a reply scanner may not need bytes that are gone.
    static func replies(_ bytes: [UInt8], cuts: [Int]) -> [ReplyEvent] {
        var scanner = ReplyScanner()
        var events: [ReplyEvent] = []
        var base = 0
        for cut in cuts {
            let span = bytes.span.extracting(base..<cut)
            var position = 0
            scanning: while position < span.count {
                switch scanner.scan(span, from: position) {
                case .complete(let end):
                    events.append(
                        .reply(
                            end: base + end, type: scanner.type, integer: scanner.integer,
                            head: scanner.head.bytes))
                    position = end
                case .incomplete: break scanning
                case .invalid: return events + [.invalid]
                }
            }
            base = cut
        }
        return events
    }
}

func copy(_ span: Span<UInt8>, _ start: Int, _ length: Int) -> [UInt8] {
    (0..<length).map { span[start + $0] }
}

/// The arguments of a frame, after checking that the frame's own offsets agree with the walk.
func argumentsOf(_ frame: CommandFrame, _ span: Span<UInt8>) -> [[UInt8]] {
    var walk = CommandArguments(span, frame: frame)
    var arguments: [[UInt8]] = []
    while let (start, length) = walk.next(span) { arguments.append(copy(span, start, length)) }
    precondition(arguments.count == frame.argumentCount)
    precondition(copy(span, frame.nameStart, frame.nameLength) == arguments[0])
    if arguments.count > 1 {
        precondition(copy(span, frame.firstStart, frame.firstLength) == arguments[1])
    } else {
        precondition(frame.firstLength == -1)
    }
    return arguments
}
