import RESP
import Testing

@Suite("words of the wire")
struct WordTests {
    private static func word(_ text: String) -> Word { Word(utf8(text)) }

    @Test("the case of ASCII letters does not matter, anything else does")
    func folding() {
        #expect(Self.word("skip") == "skip")
        #expect(Self.word("SkIp") == "skip")
        #expect(Self.word("NO-EVICT") == "no-evict")
        #expect(Self.word("AZaz09") == "azaz09")
        for other in ["", "skip ", " skip", "skip\r", "skipp", "ski", "s\u{e9}ip", "\u{ff33}kip"] {
            #expect(Self.word(other) != "skip", "\(other.debugDescription)")
        }
    }

    /// All letters of the literals that the proxy compares with, and the characters around them.
    private static let literals: [Word] = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r",
        "s", "t", "u", "v", "w", "x", "y", "z", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9",
        "-", "_", ":", ".", "|", "+", "*", "$", "@", "[", "`", "{",
    ]
    private static let letters = utf8("abcdefghijklmnopqrstuvwxyz0123456789-_:.|+*$@[`{")

    @Test("of all bytes only a letter's other case equals a literal")
    func everyByte() {
        #expect(Self.literals.count == Self.letters.count)
        for (literal, letter) in zip(Self.literals, Self.letters) {
            let isLetter = (0x61...0x7A).contains(letter)
            for byte in UInt8.min...UInt8.max {
                let isEqual = byte == letter || (isLetter && byte == letter - 0x20)
                #expect((Word([byte]) == literal) == isEqual, "\(byte) against \(letter)")
                // The same behind and before other bytes, across the ends of the three integers.
                for place in [1, 7, 8, 15, 16, 23] {
                    var one = [UInt8](repeating: 0x78, count: 24)
                    var other = one
                    one[place] = byte
                    other[place] = letter
                    let isSame = isEqual && byte != 0
                    #expect((Word(one) == Word(other)) == isSame, "\(byte) at \(place)")
                }
            }
        }
    }

    @Test("folding is exact for every byte")
    func foldedBytes() {
        for byte in UInt8.min...UInt8.max {
            let isUpper = (0x41...0x5A).contains(byte)
            #expect(Word.folded(byte) == (isUpper ? byte + 0x20 : byte))
        }
    }

    @Test("what stands behind the first NUL does not exist")
    func nul() {
        for text in ["skip\0", "SKIP\0x", "skip\0\0", "skip\0skip", "skip\0" + "x".repeated(100)] {
            #expect(Self.word(text) == "skip", "\(text.debugDescription)")
        }
        #expect(Self.word("\0skip") != "skip")
        #expect(Self.word("ski\0p") != "skip")
        #expect(Self.word("") == Self.word("\0"))
        #expect(Self.word("") == Self.word("\0skip"))
        #expect(Word([UInt8](repeating: 0, count: 30)) == Word([]))
    }

    @Test("a word may have 24 bytes; longer ones equal no literal")
    func length() {
        let whole: Word = "abcdefghijklmnopqrstuvwx"
        let text = "abcdefghijklmnopqrstuvwx"
        #expect(Word.longest == 24)
        #expect(Self.word(text) == whole)
        #expect(Self.word(text.uppercased()) == whole)
        #expect(Self.word(text + "\0") == whole)
        #expect(Self.word(text + "\0y") == whole)
        #expect(Self.word(text + "y") != whole)
        #expect(Self.word(text + "y\0") != whole)
        #expect(Self.word(String(text.dropLast())) != whole)
        #expect(Self.word("skip" + "\u{1}".repeated(21)) != "skip")
        #expect(Self.word(text + "y") == Self.word("z".repeated(1000)))
        for count in 0...23 {
            let prefix = String(text.prefix(count))
            #expect((Self.word(prefix) == Self.word(prefix + "\0" + text)))
            #expect(Self.word(prefix) != whole)
        }
    }

    @Test("only the bytes between start and end are read")
    func spans() {
        let bytes = utf8("xxSKIPyy")
        #expect(Word(bytes.span, start: 2, count: 4) == "skip")
        #expect(Word(bytes.span, start: 2, count: 3) == "ski")
        #expect(Word(bytes.span, start: 2, count: 5) == "skipy")
        #expect(Word(bytes.span, start: 2, count: 1000) == "skipyy")
        #expect(Word(bytes.span, start: 8, count: 4) == Word([]))
        #expect(Word(bytes.span, start: 2, count: 0) == Word([]))
        #expect(Word(bytes.span, start: 2, count: -1) == Word([]))
        #expect(Word(bytes.span, start: 100, count: 4) == Word([]))
    }

    @Test("a NUL is found where it stands")
    func nulInside() {
        let bytes: [UInt8] = [1, 2, 0, 3]
        let found = [
            (0, 4, true), (2, 1, true), (1, 100, true), (0, 2, false), (3, 1, false),
            (3, 100, false), (0, 0, false), (4, 1, false),
        ]
        for (start, count, isThere) in found {
            let hasNUL = Word.hasNUL(bytes.span, start: start, count: count)
            #expect(hasNUL == isThere, "\(count) from \(start)")
        }
    }
}

@Suite("numbers of the wire")
struct WordNumberTests {
    /// What `string2ll` makes of it (Redis 7.0 util.c; probed by CLIENT PAUSE and EXPIRE).
    private static let numbers: [(String, Int64?)] = [
        ("0", 0), ("1", 1), ("9", 9), ("10", 10), ("-1", -1), ("-10", -10), ("16", 16),
        ("9223372036854775807", .max), ("-9223372036854775808", .min),
        ("9223372036854775808", nil), ("-9223372036854775809", nil),
        ("9223372036854775810", nil), ("9300000000000000000", nil),
        ("18446744073709551615", nil), ("18446744073709551616", nil),
        ("99999999999999999999", nil), ("-99999999999999999999", nil),
        ("10000000000000000000", nil), ("100000000000000000000", nil),
        ("1".repeated(1000), nil), ("0".repeated(20), nil), ("00000000000000000001", nil),
        ("", nil), ("-", nil), ("--1", nil), ("-0", nil), ("+1", nil), ("+0", nil), ("+", nil),
        ("01", nil), ("-01", nil), ("00", nil), (" 1", nil), ("1 ", nil), ("1\n", nil),
        ("1\r", nil), ("\t1", nil), ("1\0", nil), ("\0", nil), ("\0001", nil), ("0\0", nil),
        ("1.0", nil), ("1e3", nil), ("0x10", nil), ("1_000", nil), ("1,000", nil), ("a", nil),
        ("1a", nil), ("\u{661}", nil), ("\u{ff11}", nil), ("\u{2212}1", nil), ("inf", nil),
    ]

    @Test("numbers are what string2ll takes", arguments: numbers)
    func table(text: String, value: Int64?) {
        #expect(Word.integer(utf8(text), in: Word.anyNumber) == value)
        #expect(Word.integer(utf8(text), in: .min ... .max) == value)
    }

    @Test("no other byte passes for a digit or a sign")
    func everyByte() {
        for byte in UInt8.min...UInt8.max {
            let isDigit = (0x30...0x39).contains(byte)
            #expect(
                Word.integer([byte], in: Word.anyNumber) == (isDigit ? Int64(byte - 0x30) : nil))
            #expect(
                Word.integer([0x31, byte], in: Word.anyNumber)
                    == (isDigit ? 10 + Int64(byte - 0x30) : nil))
            let isFirst = isDigit && byte != 0x30
            let negative: Int64? = byte == 0x2D ? -1 : nil
            #expect(
                Word.integer([byte, 0x31], in: Word.anyNumber)
                    == (isFirst ? Int64(byte - 0x30) * 10 + 1 : negative))
        }
    }

    @Test("a range holds at both ends")
    func ranges() {
        #expect(Word.integer(utf8("0"), in: 0...15) == 0)
        #expect(Word.integer(utf8("15"), in: 0...15) == 15)
        #expect(Word.integer(utf8("16"), in: 0...15) == nil)
        #expect(Word.integer(utf8("-1"), in: 0...15) == nil)
        #expect(Word.integer(utf8("9223372036854775807"), in: 0...15) == nil)
        #expect(Word.integer(utf8("-9223372036854775808"), in: 0...15) == nil)
        #expect(Word.integer(utf8("99999999999999999999"), in: 0...15) == nil)
        #expect(Word.integer(utf8("-9223372036854775808"), in: .min ... -1) == .min)
    }

    @Test("every printed number is read back")
    func roundTrip() {
        var random = SplitMix64(seed: 11)
        for _ in 0..<20_000 {
            let value = Int64(truncatingIfNeeded: random.next()) >> Int64(random.next() % 64)
            #expect(Word.integer(utf8(String(value)), in: Word.anyNumber) == value)
        }
    }
}

extension String {
    fileprivate func repeated(_ count: Int) -> String { String(repeating: self, count: count) }
}
