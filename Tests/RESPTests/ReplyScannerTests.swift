import RESP
import Testing

@Suite("reply scanner")
struct ReplyScannerTests {
    /// Each is one reply, with the type, number and head that it must have.
    private static let replies: [(String, UInt8, Int64, String)] = [
        ("+OK\r\n", UInt8(ascii: "+"), 0, "OK"),
        ("+\r\n", UInt8(ascii: "+"), 0, ""),
        ("+0123456789abcdef\r\n", UInt8(ascii: "+"), 0, "0123456789abcdef"),
        ("+0123456789abcdefg\r\n", UInt8(ascii: "+"), 0, "0123456789abcdef"),
        ("+a\rb\nc\r\r\n", UInt8(ascii: "+"), 0, "a\rb\nc\r"),
        ("-ERR x\r\n", UInt8(ascii: "-"), 0, "ERR x"),
        (":0\r\n", UInt8(ascii: ":"), 0, "0"),
        (":-42\r\n", UInt8(ascii: ":"), -42, "-42"),
        (":+7\r\n", UInt8(ascii: ":"), 7, "+7"),
        (":9223372036854775807\r\n", UInt8(ascii: ":"), .max, "9223372036854775"),
        (":-9223372036854775808\r\n", UInt8(ascii: ":"), .min, "-922337203685477"),
        ("_\r\n", UInt8(ascii: "_"), 0, ""),
        ("#t\r\n", UInt8(ascii: "#"), 0, ""),
        (",1.5e-7\r\n", UInt8(ascii: ","), 0, ""),
        ("(3492890328409238509324850943850943825024385\r\n", UInt8(ascii: "("), 0, ""),
        ("$3\r\nabc\r\n", UInt8(ascii: "$"), 3, ""),
        ("$0\r\n\r\n", UInt8(ascii: "$"), 0, ""),
        ("$-1\r\n", UInt8(ascii: "$"), -1, ""),
        ("$6\r\n\r\n$1\r\n\r\n", UInt8(ascii: "$"), 6, ""),
        ("!8\r\nERR a\r\nb\r\n", UInt8(ascii: "!"), 8, ""),
        ("=7\r\ntxt:abc\r\n", UInt8(ascii: "="), 7, ""),
        ("*0\r\n", UInt8(ascii: "*"), 0, ""),
        ("*-1\r\n", UInt8(ascii: "*"), -1, ""),
        ("*3\r\n$3\r\nfoo\r\n$-1\r\n:5\r\n", UInt8(ascii: "*"), 3, ""),
        ("*2\r\n-ERR no\r\n*2\r\n+x\r\n*-1\r\n", UInt8(ascii: "*"), 2, ""),
        ("~2\r\n#t\r\n#f\r\n", UInt8(ascii: "~"), 2, ""),
        ("%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n_\r\n", UInt8(ascii: "%"), 2, ""),
        (">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n", UInt8(ascii: ">"), 2, ""),
        (">0\r\n", UInt8(ascii: ">"), 0, ""),
        ("|1\r\n+ttl\r\n:9\r\n$1\r\nv\r\n", UInt8(ascii: "$"), 1, ""),
        ("|0\r\n|1\r\n+a\r\n%1\r\n+b\r\n*2\r\n:1\r\n:2\r\n+OK\r\n", UInt8(ascii: "+"), 0, "OK"),
        ("*2\r\n|1\r\n+ttl\r\n:9\r\n:1\r\n:2\r\n", UInt8(ascii: "*"), 2, ""),
        ("*2\r\n:1\r\n>2\r\n+a\r\n+b\r\n:2\r\n", UInt8(ascii: "*"), 2, ""),
        ("*1\r\n>0\r\n*0\r\n", UInt8(ascii: "*"), 1, ""),
        ("|1\r\n>1\r\n+p\r\n+k\r\n+v\r\n:3\r\n", UInt8(ascii: ":"), 3, "3"),
    ]

    @Test("replies end where they end however they are cut", arguments: replies.indices)
    func cuttings(index: Int) {
        let (text, type, integer, head) = Self.replies[index]
        let once = utf8(text)
        let expected = (1...3).map { number in
            ReplyEvent.reply(
                end: number * once.count, type: type, integer: integer, head: utf8(head))
        }
        for cuts in ChunkFeeder.cuttings(3 * once.count) {
            #expect(ChunkFeeder.replies(once + once + once, cuts: cuts) == expected, "\(text)")
        }
    }

    @Test(
        "what is no reply is refused, not waited for",
        arguments: [
            "OK\r\n", "\r\n", "\0", ";1\r\n", ".\r\n", "$?\r\n", "*?\r\n", "%?\r\n", ":\r\n",
            ":x\r\n", ":1 \r\n", ":--1\r\n", ":1-\r\n", ":9223372036854775808\r\n",
            ":-9223372036854775809\r\n", ":11111111111111111111", ":1\rx", "$\r\n", "$-2\r\n",
            "$-0\r\n", "$+1\r\n", "$9223372036854775807\r\n", "$3\r\nabcd\r\n", "$3\r\nabc\rx",
            "$3\r\nabcx\n", "$3\rx", "*-2\r\n", "*2147483648\r\n", "*99999999999999999999",
            ">-1\r\n",
            "|-1\r\n", "_x", "_1", "#x", "#1", "#\r\n", "#tt", "#t\rx", "*1\r\nx", "*2\r\n:1\r\n?",
            "*1\r\n$3\r\nabcxx", "*1\r\n$1\r\nab\r\n", "%1\r\n+a\r\n\r", "$1\r\n\r\r\r",
        ])
    func refused(text: String) {
        let bytes = utf8(text)
        for cuts in ChunkFeeder.cuttings(bytes.count) {
            #expect(ChunkFeeder.replies(bytes, cuts: cuts).last == .invalid, "\(text) \(cuts)")
        }
    }

    /// What `scan` says of a reply that neither is an error nor a push; nil for all others.
    private static func usual(_ bytes: Span<UInt8>, from start: Int) -> Int? {
        var scanner = ReplyScanner()
        guard case .complete(let end) = scanner.scan(bytes, from: start), !scanner.isError,
            !scanner.isPush
        else { return nil }
        return end
    }

    @Test("the end of a usual reply is where the scanner finds it", arguments: 0..<20)
    func endsOfUsual(seed: UInt64) {
        var maker = ReplyMaker(seed: seed)
        for _ in 0..<10 {
            var bytes: [UInt8] = utf8(":1\r\n")
            let start = bytes.count
            maker.reply(depth: 0, into: &bytes)
            let whole = bytes.count
            bytes += utf8("$1\r\na\r\n")
            for count in start...bytes.count {
                let part = bytes.span.extracting(first: count)
                #expect(
                    ReplyScanner.endOfUsual(part, from: start) == Self.usual(part, from: start))
            }
            let end = Self.usual(bytes.span, from: start)
            #expect(end == nil || end == whole)
        }
        let odd = [
            "$-2\r\n", "$3\r\nabcd\r\n", "$03\r\nabc\r\n", "+a\rb\r\n", "+a\nb\r\n", ":1\rx",
            ":x\r\n", "?\r\n", "",
        ]
        for text in odd {
            let bytes = utf8(text)
            #expect(
                ReplyScanner.endOfUsual(bytes.span, from: 0) == Self.usual(bytes.span, from: 0),
                "\(text)")
        }
    }

    @Test("nesting of any depth needs no stack")
    func deep() {
        let depth = 10_000
        var bytes: [UInt8] = []
        for _ in 0..<depth { bytes += utf8("*1\r\n") }
        bytes += utf8("-ERR reached lua stack limit\r\n")
        let expected = [
            ReplyEvent.reply(end: bytes.count, type: UInt8(ascii: "*"), integer: 1, head: [])
        ]
        #expect(ChunkFeeder.replies(bytes, cuts: [bytes.count]) == expected)
        #expect(ChunkFeeder.replies(bytes, cuts: Array(1...bytes.count)) == expected)
    }

    @Test("counts of any number of huge headers add up without trapping")
    func manyItems() {
        var scanner = ReplyScanner()
        let header = utf8("%2147483647\r\n")
        for _ in 0..<100_000 {
            let scan1 = scanner.scan(header.span, from: 0)
            #expect(scan1 == .incomplete)
        }
        #expect(scanner.isInside)
    }

    @Test("a simple string may have a megabyte", arguments: [1, 1000, 65536, 2_000_000])
    func longLine(step: Int) {
        let bytes = utf8("+") + [UInt8](repeating: 0x78, count: 1_000_000) + utf8("\r\n:1\r\n")
        let cuts = Array(stride(from: step, to: bytes.count, by: step)) + [bytes.count]
        #expect(
            ChunkFeeder.replies(bytes, cuts: cuts) == [
                .reply(
                    end: 1_000_003, type: UInt8(ascii: "+"), integer: 0,
                    head: [UInt8](repeating: 0x78, count: 16)),
                .reply(
                    end: 1_000_007, type: UInt8(ascii: ":"), integer: 1, head: utf8("1")),
            ])
    }

    @Test("a large bulk is announced by its header and counted down")
    func payload() {
        var scanner = ReplyScanner()
        let nothing: [UInt8] = []
        let more = [UInt8](repeating: 0, count: 1000)
        #expect(!scanner.isInside)
        let scan2 = scanner.scan(utf8("$100000000\r\nab").span, from: 0)
        #expect(scan2 == .incomplete)
        #expect(scanner.isInside)
        #expect(scanner.integer == 100_000_000)
        #expect(scanner.payloadRemaining == 100_000_000)
        let scan3 = scanner.scan(more.span, from: 0)
        #expect(scan3 == .incomplete)
        #expect(scanner.payloadRemaining == 99_999_000)
        let scan4 = scanner.scan(nothing.span, from: 0)
        #expect(scan4 == .incomplete)
        #expect(scanner.payloadRemaining == 99_999_000)
    }

    @Test("type is not known before the attributes are over")
    func attributes() {
        var scanner = ReplyScanner()
        let scan5 = scanner.scan(utf8("|1\r\n+a\r\n-b\r\n").span, from: 0)
        #expect(scan5 == .incomplete)
        #expect(scanner.isInside)
        #expect(scanner.type == 0)
        #expect(!scanner.isError)
        let scan6 = scanner.scan(utf8("-MOVED 1 x\r\n").span, from: 0)
        #expect(scan6 == .complete(end: 12))
        #expect(scanner.isError)
        #expect(scanner.head.starts(with: "MOVED "))
        #expect(!scanner.isInside)
    }

    @Test("errors and pushes are told from the rest, and only at the top")
    func kinds() {
        let cases: [(String, Bool, Bool)] = [
            ("-ERR\r\n", true, false), ("!3\r\nERR\r\n", true, false),
            ("*1\r\n-ERR\r\n", false, false), (">1\r\n-ERR\r\n", false, true),
            ("*1\r\n>0\r\n:1\r\n", false, false), ("+OK\r\n", false, false),
        ]
        for (text, isError, isPush) in cases {
            var scanner = ReplyScanner()
            let scan7 = scanner.scan(utf8(text).span, from: 0)
            #expect(scan7 == .complete(end: text.utf8.count))
            #expect(scanner.isError == isError)
            #expect(scanner.isPush == isPush)
        }
    }

    @Test("lines of MONITOR among elements are passed over, however they are cut")
    func passedLines() {
        let line = "+1700000000.000001 [0 127.0.0.1:5] \"PING\"\r\n"
        let array = utf8("*3\r\n+PONG\r\n\(line)\(line)*1\r\n:1\r\n\(line)$1\r\nx\r\n")
        for cut in 0..<array.count {
            var scanner = ReplyScanner()
            scanner.passesLines = true
            let first = scanner.scan(array.span.extracting(0..<cut), from: 0)
            #expect(first == .incomplete)
            let second = scanner.scan(array.span.extracting(cut..<array.count), from: 0)
            #expect(second == .complete(end: array.count - cut), "cut at \(cut)")
            #expect(scanner.type == UInt8(ascii: "*"))
        }
        var scanner = ReplyScanner()
        let counted = scanner.scan(array.span, from: 0)
        #expect(counted == .complete(end: 4 + 7 + 2 * line.utf8.count))
        scanner.passesLines = true
        let alone = scanner.scan(utf8(line).span, from: 0)
        #expect(alone == .complete(end: line.utf8.count))
    }

    @Test("heads are compared with text")
    func heads() {
        func head(_ text: String) -> ReplyHead {
            var scanner = ReplyScanner()
            _ = scanner.scan(utf8("+\(text)\r\n").span, from: 0)
            return scanner.head
        }
        #expect(head("OK").matches("OK"))
        #expect(!head("OK").matches("O"))
        #expect(!head("OK").matches("OKK"))
        #expect(!head("OK").matches("ok"))
        #expect(head("").matches(""))
        #expect(head("EXECABORT Tran").starts(with: "EXECABORT "))
        #expect(!head("EXECABORT Tran").starts(with: "EXECABORX "))
        #expect(head("12345678").matches("12345678"))
        #expect(!head("12345679").matches("12345678"))
        #expect(head("0123456789abcdef").matches("0123456789abcdef"))
        #expect(!head("0123456789abcdeg").matches("0123456789abcdef"))
        #expect(!head("0123456789abcdefg").matches("0123456789abcdef"))
        #expect(head("0123456789abcdefg").starts(with: "0123456789abcdef"))
        #expect(!head("0123456789abcdefg").starts(with: "0123456789abcdefg"))
        #expect(head("0123456789abcdefg").isTruncated)
    }

    @Test("random replies end where they were made to end", arguments: 0..<UInt64(300))
    func randomReplies(seed: UInt64) {
        var maker = ReplyMaker(seed: seed)
        var bytes: [UInt8] = []
        var ends: [Int] = []
        for _ in 0..<8 {
            maker.reply(depth: 0, into: &bytes)
            ends.append(bytes.count)
        }
        let whole = ChunkFeeder.replies(bytes, cuts: [bytes.count])
        #expect(whole.map(\.end) == ends)
        let cuts = ChunkFeeder.randomCuts(bytes.count, &maker.random)
        #expect(ChunkFeeder.replies(bytes, cuts: cuts) == whole)
        #expect(ChunkFeeder.replies(bytes, cuts: Array(1...bytes.count)) == whole)
    }
}

extension ReplyEvent {
    var end: Int? {
        if case .reply(let end, _, _, _) = self { end } else { nil }
    }
}
