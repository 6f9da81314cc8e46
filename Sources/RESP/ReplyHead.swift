/// The first up to 16 bytes of a top-level `+`, `-` or `:` line, kept by value so that they are
/// there even when the line came in pieces and its beginning has long been relayed.
package struct ReplyHead: Equatable, Sendable {
    private var low: UInt64 = 0
    private var high: UInt64 = 0
    /// The number of bytes kept: 0...16.
    package private(set) var count = 0
    /// Whether the line goes on behind the bytes kept.
    package private(set) var isTruncated = false

    init() {}

    /// The bytes kept.
    package var bytes: [UInt8] {
        (0..<count).map { index in
            UInt8(truncatingIfNeeded: (index < 8 ? low : high) >> UInt64(8 * (index & 7)))
        }
    }

    /// Whether the whole line is `text`. Text of more than 16 bytes matches nothing.
    package func matches(_ text: StaticString) -> Bool {
        !isTruncated && count == text.utf8CodeUnitCount && starts(with: text)
    }

    /// Whether the line begins with `text`, of which there must be at most 16 bytes: longer text
    /// matches nothing.
    package func starts(with text: StaticString) -> Bool {
        let length = text.utf8CodeUnitCount
        guard length <= count else { return false }
        var expected = ReplyHead()
        text.withUTF8Buffer { buffer in
            for unsafe byte in unsafe buffer { expected.append(byte) }
        }
        let shift = UInt64(8 * (length & 7))
        let mask: UInt64 = (1 << shift) &- 1
        if length >= 16 { return low == expected.low && high == expected.high }
        if length >= 8 { return low == expected.low && high & mask == expected.high }
        return low & mask == expected.low
    }

    @inline(__always)
    mutating func append(_ byte: UInt8) {
        guard count < 16 else {
            isTruncated = true
            return
        }
        let shifted = UInt64(byte) << UInt64(truncatingIfNeeded: 8 &* (count & 7))
        if count < 8 { low |= shifted } else { high |= shifted }
        count &+= 1
    }

    /// Appends `bytes[start..<end]`.
    @inline(__always)
    mutating func append(_ bytes: Span<UInt8>, from start: Int, to end: Int) {
        var index = start
        while index < end, !isTruncated {
            append(bytes[index])
            index &+= 1
        }
    }
}
