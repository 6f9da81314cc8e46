/// A name, subcommand or option of a command, read as Redis reads it: as a C string, without regard
/// to the case of ASCII letters (`strcasecmp`; Redis 6.2 to 8, Valkey 8). What stands behind the
/// first NUL does not exist: `SKIP\0x` is SKIP.
///
/// All comparisons of what clients send go through this type, and all numbers through `integer`:
/// scripts/check-wire refuses any other way.
package struct Word: BitwiseCopyable, Hashable, Sendable {
    private var low: UInt64 = 0
    private var middle: UInt64 = 0
    private var high: UInt64 = 0

    /// The longest word that can equal a literal, in bytes; all longer ones are alike.
    package static let longest = 24

    /// Reads `count` bytes of a span from `start` on.
    package init(_ bytes: Span<UInt8>, start: Int, count: Int) {
        let limit = min(count, bytes.count &- start)
        var index = 0
        while index < limit {
            let byte = bytes[start &+ index]
            if byte == 0 { return }
            guard index < Word.longest else {
                (low, middle, high) = (.max, .max, .max)
                return
            }
            append(Word.folded(byte), at: index)
            index &+= 1
        }
    }

    /// Reads a whole array.
    package init(_ bytes: [UInt8]) {
        self.init(bytes.span, start: 0, count: bytes.count)
    }

    /// The first `count` bytes of the word are in three integers, the first byte lowest.
    private mutating func append(_ byte: UInt8, at index: Int) {
        let shifted = UInt64(byte) &<< UInt64(truncatingIfNeeded: 8 &* (index & 7))
        switch index >> 3 {
        case 0: low |= shifted
        case 1: middle |= shifted
        default: high |= shifted
        }
    }

    /// An ASCII letter in lower case; any other byte as it is.
    @inline(__always)
    package static func folded(_ byte: UInt8) -> UInt8 {
        byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
    }

    /// True for an ASCII letter of either case.
    package static func isLetter(_ byte: UInt8) -> Bool {
        folded(byte) &- UInt8(ascii: "a") < 26
    }

    /// True when the bytes have a NUL in them: a server that looks words up in a hash table by all
    /// their bytes (Redis from 7.0 on, names and subcommands) finds such a word by chance only.
    package static func hasNUL(_ bytes: Span<UInt8>, start: Int, count: Int) -> Bool {
        let end = min(start &+ count, bytes.count)
        var index = start
        while index < end {
            if bytes[index] == 0 { return true }
            index &+= 1
        }
        return false
    }

    /// The number that a word stands for, as Redis's `string2ll` takes it: decimal, all of the
    /// word, no blanks, no `+`, no leading zeros. Nil for anything else, and outside of `range`:
    /// arithmetic on the result cannot overflow where the range allows none.
    package static func integer(_ bytes: [UInt8], in range: ClosedRange<Int64>) -> Int64? {
        guard let found = strictInteger(bytes.span, from: 0, to: bytes.count) else { return nil }
        let value = Int64(found)
        return range.contains(value) ? value : nil
    }

    /// For numbers that are compared only, or handed on.
    package static let anyNumber: ClosedRange<Int64> = .min ... .max
}

extension Word: ExpressibleByStringLiteral {
    /// A word of the protocol, in lower case, at most `longest` bytes of ASCII.
    package init(stringLiteral text: StaticString) {
        text.withUTF8Buffer { buffer in
            precondition(buffer.count <= Word.longest, "a literal that no word equals")
            for index in 0..<buffer.count { append(unsafe buffer[index], at: index) }
        }
    }
}
