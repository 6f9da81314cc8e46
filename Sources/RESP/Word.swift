/// A name, subcommand or option of a command, compared as Redis does it: as a C string, ignoring
/// the case of ASCII letters (`strcasecmp`; Redis 6.2 to 8, Valkey 8). Bytes after the first NUL
/// are ignored: `SKIP\0x` is SKIP.
///
/// All comparisons of what clients send use this type, and all numbers `integer`:
/// scripts/check-wire refuses any other way.
package struct Word: BitwiseCopyable, Hashable, Sendable {
    private var low: UInt64 = 0
    private var middle: UInt64 = 0
    private var high: UInt64 = 0

    /// The longest word that can equal a literal, in bytes. All longer words compare equal.
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

    /// Three integers hold the first `count` bytes of the word, the first byte lowest.
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

    /// True when the bytes contain a NUL. A server that looks words up in a hash table by all their
    /// bytes (Redis from 7.0 on, names and subcommands) does not reliably find such a word.
    package static func hasNUL(_ bytes: Span<UInt8>, start: Int, count: Int) -> Bool {
        let end = min(start &+ count, bytes.count)
        var index = start
        while index < end {
            if bytes[index] == 0 { return true }
            index &+= 1
        }
        return false
    }

    /// The number that a word stands for, as Redis's `string2ll` reads it: decimal, the whole word,
    /// no blanks, no `+`, no leading zeros. Nil for anything else, and outside `range`. Choose
    /// `range` so that arithmetic on the result cannot overflow.
    package static func integer(_ bytes: [UInt8], in range: ClosedRange<Int64>) -> Int64? {
        guard let found = strictInteger(bytes.span, from: 0, to: bytes.count) else { return nil }
        let value = Int64(found)
        return range.contains(value) ? value : nil
    }

    /// The same for `count` bytes of a span from `start` on.
    package static func integer(
        _ bytes: Span<UInt8>, start: Int, count: Int, in range: ClosedRange<Int64>
    ) -> Int64? {
        guard start >= 0, count <= bytes.count &- start,
            let found = strictInteger(bytes, from: start, to: start &+ count)
        else { return nil }
        let value = Int64(found)
        return range.contains(value) ? value : nil
    }

    /// For numbers that are only compared or passed on.
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
