import RESP
import Testing

@Suite("command scanner")
struct CommandScannerTests {
    private static let streams: [(String, [CommandEvent])] = [
        ("*1\r\n$4\r\nPING\r\n", [.command([utf8("PING")], isCanonical: true)]),
        (
            "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n",
            [.command([utf8("SET"), utf8("k"), []], isCanonical: true)]
        ),
        (
            "*2\r\n$3\r\nGET\r\n$4\r\n\r\n$1\r\n",
            [.command([utf8("GET"), utf8("\r\n$1")], isCanonical: true)]
        ),
        ("*1\r\n$0\r\n\r\n", [.command([[]], isCanonical: true)]),
        (
            "*0\r\n*-1\r\n*-9223372036854775808\r\n*1\r\n$1\r\nx\r\n",
            [.skip, .skip, .skip, .command([utf8("x")], isCanonical: true)]
        ),
        ("*0\rX*1\r\n$1\r\nx\r\n", [.skip, .command([utf8("x")], isCanonical: true)]),
        ("*1\rX$4\r\nPING\r\n", [.command([utf8("PING")], isCanonical: false)]),
        ("*1\r\n$4\rYPING\r\n", [.command([utf8("PING")], isCanonical: false)]),
        ("*1\r\n$4\r\nPINGX\n", [.command([utf8("PING")], isCanonical: false)]),
        ("*1\r\n$4\r\nPING\rX", [.command([utf8("PING")], isCanonical: false)]),
        (
            "*2\r\n$4\r\nECHO\r\n$1\r\naXX*1\r\n$1\r\nx\r\n",
            [
                .command([utf8("ECHO"), utf8("a")], isCanonical: false),
                .command([utf8("x")], isCanonical: true),
            ]
        ),
        ("PING\r\n", [.inline(utf8("PING"))]),
        ("PING\n", [.inline(utf8("PING"))]),
        ("PING\r\r\n", [.inline(utf8("PING\r"))]),
        ("\r\n\nGET  x \r\n", [.inline([]), .inline([]), .inline(utf8("GET  x "))]),
        ("a*1\r\n$4\r\n", [.inline(utf8("a*1")), .inline(utf8("$4"))]),
        (
            "PING\r\n*1\r\n$4\r\nPING\r\nPING\n",
            [
                .inline(utf8("PING")), .command([utf8("PING")], isCanonical: true),
                .inline(utf8("PING")),
            ]
        ),
    ]

    @Test("streams give the same commands however they are cut", arguments: streams.indices)
    func cuttings(index: Int) {
        let (text, expected) = Self.streams[index]
        let once = utf8(text)
        let thrice = once + once + once
        for cuts in ChunkFeeder.cuttings(thrice.count) {
            for compacts in [false, true] {
                let events = ChunkFeeder.commands(thrice, cuts: cuts, compacts: compacts)
                #expect(events == expected + expected + expected, "\(text) \(cuts)")
            }
        }
    }

    /// What redis-server 7.0.15 answered to these bytes over a raw socket.
    private static let refusals: [(String, ProtocolError)] = [
        ("*\r\n", .invalidMultibulkLength),
        ("*-\r\n", .invalidMultibulkLength),
        ("*-0\r\n", .invalidMultibulkLength),
        ("*01\r\n", .invalidMultibulkLength),
        ("*+1\r\n", .invalidMultibulkLength),
        ("* 1\r\n", .invalidMultibulkLength),
        ("*1 \r\n", .invalidMultibulkLength),
        ("*1\n$4\r\nPING\r\n", .invalidMultibulkLength),
        ("*abc\r\n", .invalidMultibulkLength),
        ("*2147483648\r\n", .invalidMultibulkLength),
        ("*9223372036854775807\r\n", .invalidMultibulkLength),
        ("*9223372036854775808\r\n", .invalidMultibulkLength),
        ("*-9223372036854775809\r\n", .invalidMultibulkLength),
        ("*99999999999999999999\r\n", .invalidMultibulkLength),
        ("*999999999999999999999999\r\n", .invalidMultibulkLength),
        ("*1\r\n$-1\r\n", .invalidBulkLength),
        ("*1\r\n$-0\r\n", .invalidBulkLength),
        ("*1\r\n$04\r\nPING\r\n", .invalidBulkLength),
        ("*1\r\n$+4\r\nPING\r\n", .invalidBulkLength),
        ("*1\r\n$\r\n", .invalidBulkLength),
        ("*1\r\n$4a\r\n", .invalidBulkLength),
        ("*1\r\n$536870913\r\n", .invalidBulkLength),
        ("*1\r\n$9223372036854775807\r\n", .invalidBulkLength),
        ("*1\r\n$18446744073709551616\r\n", .invalidBulkLength),
        ("*1\r\n:4\r\n", .expectedDollar(got: UInt8(ascii: ":"))),
        ("*1\r\n\r\n", .expectedDollar(got: 0x0D)),
        ("*1\r\n\nabc\r\n", .expectedDollar(got: 0x0A)),
        ("*1\r\n\u{1}4\r\n", .expectedDollar(got: 1)),
        ("*1\r\n*1\r\n$4\r\nPING\r\n", .expectedDollar(got: UInt8(ascii: "*"))),
        ("*1\r\nPING\r\n", .expectedDollar(got: UInt8(ascii: "P"))),
        // A header that came in two pieces must not leave a mark on the search in the next line.
        ("*2\r\n$1\r\nx\r\n\r\n", .expectedDollar(got: 0x0D)),
        ("*2\r\n$1\r\nx\r\nPING\r\n", .expectedDollar(got: UInt8(ascii: "P"))),
    ]

    @Test("what Redis refuses is refused with its reason", arguments: refusals.indices)
    func refused(index: Int) {
        let (text, expected) = Self.refusals[index]
        let bytes = utf8(text)
        for cuts in ChunkFeeder.cuttings(bytes.count) {
            #expect(ChunkFeeder.commands(bytes, cuts: cuts) == [.invalid(expected)], "\(text)")
        }
    }

    @Test(
        "what Redis waits for is waited for",
        arguments: [
            "*2147483647\r\n", "*1\r\n$536870912\r\n", "*1\r", "*1\r\n$4\r", "*1\r\n$4\r\nPING\r",
            "*1\r\nPIN\n", "*1\r\n\0004\r\n", "*1\0\r\n$4\r\nPING\r\n", "*1\r\n$4\0\r\nPING\r\n",
            "PI\0NG\r\nPING\r\n", "\0\r\nPING\r\n", "PING\r", "*99999999999999999999999999999",
        ])
    func incomplete(text: String) {
        let bytes = utf8(text)
        for cuts in ChunkFeeder.cuttings(bytes.count) {
            #expect(ChunkFeeder.commands(bytes, cuts: cuts).isEmpty, "\(text) \(cuts)")
        }
    }

    @Test(
        "unauthenticated clients get limits and texts of their own",
        arguments: [
            ("*10\r\n", nil), ("*11\r\n", ProtocolError.unauthenticatedMultibulkLength),
            ("*2147483647\r\n", .unauthenticatedMultibulkLength),
            ("*2147483648\r\n", .invalidMultibulkLength), ("*1\r\n$16384\r\n", nil),
            ("*1\r\n$16385\r\n", .unauthenticatedBulkLength),
            ("*1\r\n$536870912\r\n", .unauthenticatedBulkLength),
            ("*1\r\n$536870913\r\n", .invalidBulkLength), ("*1\r\n$-1\r\n", .invalidBulkLength),
        ] as [(String, ProtocolError?)])
    func unauthenticated(text: String, expected: ProtocolError?) {
        let events = ChunkFeeder.commands(
            utf8(text), cuts: [text.utf8.count], limits: .beforeAuthentication)
        #expect(events == (expected.map { [.invalid($0)] } ?? []))
    }

    @Test("limits near the end of the number range do not overflow")
    func hugeLimits() {
        var limits = CommandLimits()
        limits.maxArguments = .max
        limits.maxBulkLength = .max
        limits.maxInlineLength = .max
        let refused = ChunkFeeder.commands(
            utf8("*1\r\n$9223372036854775807\r\n"), cuts: [26], limits: limits)
        #expect(refused == [.invalid(.invalidBulkLength)])
        let waiting = ChunkFeeder.commands(
            utf8("*1\r\n$999999999999999999\r\nx"), cuts: [26], limits: limits)
        #expect(waiting.isEmpty)
    }

    @Test("a line may have 65536 bytes without its end", arguments: ["", "*", "*1\r\n$"])
    func longLines(prefix: String) {
        let lead = prefix.isEmpty ? 0 : 1
        let expected: [ProtocolError] =
            switch prefix {
            case "": [.tooBigInlineRequest]
            case "*": [.tooBigMultibulkCountString, .invalidMultibulkLength]
            default: [.tooBigBulkCountString, .invalidBulkLength]
            }
        let longest = utf8(prefix) + [UInt8](repeating: 0x31, count: 65536 - lead)
        let events = ChunkFeeder.commands(longest, cuts: [longest.count])
        #expect(events.isEmpty)
        for cuts in [[longest.count + 1], Array(1...(longest.count + 1))] {
            #expect(
                ChunkFeeder.commands(longest + [0x31], cuts: cuts) == [.invalid(expected[0])])
        }
        let ended = longest + utf8(prefix.isEmpty ? "\n" : "\r\n")
        for cuts in [[ended.count], Array(1...ended.count)] {
            let events = ChunkFeeder.commands(ended, cuts: cuts)
            #expect(events == (prefix.isEmpty ? [.inline(longest)] : [.invalid(expected[1])]))
        }
    }

    @Test("a NUL hides the end of its line, until there are too many bytes", arguments: [1, 4096])
    func hiddenEnd(step: Int) {
        let cases: [(String, ProtocolError)] = [
            ("P\0\n", .tooBigInlineRequest), ("*1\0\r\n", .tooBigMultibulkCountString),
        ]
        for (text, expected) in cases {
            let bytes = utf8(text) + [UInt8](repeating: 0x0A, count: 65537 - text.utf8.count)
            let cuts = Array(stride(from: step, to: 65536, by: step)) + [65536]
            #expect(ChunkFeeder.commands(bytes, cuts: cuts).isEmpty)
            #expect(ChunkFeeder.commands(bytes, cuts: cuts + [65537]) == [.invalid(expected)])
        }
    }

    @Test("random streams give the commands they were made of", arguments: 0..<UInt64(200))
    func randomStreams(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var bytes: [UInt8] = []
        var expected: [CommandEvent] = []
        for _ in 0..<Int.random(in: 1...12, using: &random) {
            let arguments = (0..<Int.random(in: 1...5, using: &random)).map { _ in
                (0..<Int.random(in: 0...40, using: &random)).map { _ in
                    UInt8.random(in: 0...255, using: &random)
                }
            }
            expected.append(.command(arguments, isCanonical: true))
            Encode.command(arguments, into: &bytes)
        }
        #expect(ChunkFeeder.commands(bytes, cuts: [bytes.count]) == expected)
        for compacts in [false, true] {
            let cuts = ChunkFeeder.randomCuts(bytes.count, &random)
            #expect(ChunkFeeder.commands(bytes, cuts: cuts, compacts: compacts) == expected)
        }
    }

    @Test("the scanner is small enough to live in every client")
    func size() {
        #expect(MemoryLayout<CommandScanner>.stride <= 64)
    }
}
