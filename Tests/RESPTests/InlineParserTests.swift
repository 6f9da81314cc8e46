import RESP
import Testing

@Suite("inline lines")
struct InlineParserTests {
    private static func split(_ line: String) -> [String]? {
        InlineParser.split(utf8(line).span)?.map { String(decoding: $0, as: UTF8.self) }
    }

    /// Probed against redis-server 7.0.15, and `sdssplitargs` read line by line.
    private static let lines: [(String, [String]?)] = [
        ("", []), ("   \t ", []), ("PING", ["PING"]), ("  GET  key ", ["GET", "key"]),
        ("a\tb\rc", ["a", "b", "c"]),
        ("a\u{B}b", ["a\u{B}b"]), ("\u{B}\u{C}a", ["a"]), ("\"x\"\u{B}y", ["x", "y"]),
        ("\"a b\" c", ["a b", "c"]), ("a\"b c\"", ["ab c"]), ("\"\" ''", ["", ""]),
        ("\"\\x41\\x6a\\n\\r\\t\\b\\a\"", ["Aj\n\r\t\u{8}\u{7}"]),
        ("\"\\q\\\"\\\\\\'\"", ["q\"\\'"]), ("\"\\x4\"", ["x4"]), ("\"\\xg1\"", ["xg1"]),
        ("\"\\x4", nil), ("'a\\'b\\n\"'", ["a'b\\n\""]), ("a\\n", ["a\\n"]), ("\\\"a\"", ["\\a"]),
        ("\"a", nil), ("'a", nil), ("'a\\'", nil), ("\"a\\", nil), ("\"a\\\"", nil),
        ("\"a\"b", nil), ("'a'b", nil), ("\"a\"\"b\"", nil), ("a'b'", ["ab"]), ("a'b'c", nil),
        ("GET a\0b", ["GET", "a"]), ("\0", []), ("\"a\0\"", nil), ("\"a\"\0b", ["a"]),
        ("\"\\\0\"", nil), ("é \"ü\"", ["é", "ü"]),
    ]

    @Test("words are those of sdssplitargs", arguments: lines.indices)
    func words(index: Int) {
        let (line, expected) = Self.lines[index]
        #expect(Self.split(line) == expected, "\(line.debugDescription)")
    }

    @Test("bytes that are not UTF-8 pass unchanged")
    func binary() {
        let words = InlineParser.split([0xFF, 0x20, 0x22, 0x80, 0x22].span)
        #expect(words == [[0xFF], [0x80]])
        let escaped = InlineParser.split(utf8("\"\\xff\\x00\"").span)
        #expect(escaped == [[0xFF, 0]])
    }

    @Test("every word survives quoting with escapes", arguments: 0..<UInt64(100))
    func roundTrip(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let words = (0..<Int.random(in: 0...4, using: &random)).map { _ in
            (0..<Int.random(in: 0...9, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
        }
        let hex = utf8("0123456789abcdef")
        var line: [UInt8] = []
        for word in words {
            line += utf8(" \"")
            for byte in word {
                line += utf8("\\x") + [hex[Int(byte >> 4)], hex[Int(byte & 15)]]
            }
            line += utf8("\"")
        }
        let found = InlineParser.split(line.span)
        #expect(found == words)
    }
}
