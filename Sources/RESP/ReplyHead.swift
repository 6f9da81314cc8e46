/// The first bytes of a top-level `+`, `-` or `:` line, at most 16. They are copied, so they remain
/// when the line came in pieces and its beginning has already been relayed.
package struct ReplyHead: Equatable, Sendable {
    private var low: UInt64 = 0
    private var high: UInt64 = 0
    /// The number of bytes kept: 0...16.
    package private(set) var count = 0
    /// Whether the line is longer than the bytes kept.
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

    /// Whether the line begins with `text`. Text of more than 16 bytes matches nothing.
    package func starts(with text: StaticString) -> Bool {
        let length = text.utf8CodeUnitCount
        guard length <= count else { return false }
        var expected = ReplyHead()
        text.withUTF8Buffer { buffer in
            for index in 0..<length { expected.append(unsafe buffer[index]) }
        }
        let shift = UInt64(8 * (length & 7))
        let mask: UInt64 = (1 << shift) &- 1
        if length >= 16 { return low == expected.low && high == expected.high }
        if length >= 8 { return low == expected.low && high & mask == expected.high }
        return low & mask == expected.low
    }

    /// The bytes before the first space, in two integers that are equal for equal words. A word of
    /// more than 16 bytes is cut.
    package var firstWord: (low: UInt64, high: UInt64) {
        var word = ReplyHead()
        for byte in bytes {
            if byte == UInt8(ascii: " ") { break }
            word.append(byte)
        }
        return (word.low, word.high)
    }

    /// The value that `firstWord` has for this word of at most 16 bytes.
    package static func word(_ text: String) -> (low: UInt64, high: UInt64) {
        var word = ReplyHead()
        for byte in text.utf8 { word.append(byte) }
        return (word.low, word.high)
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

    /// Copies the beginning of the line at `start` into an empty head. Returns the index of the
    /// first CR, or the end of the span.
    @inline(__always)
    mutating func take(_ bytes: Span<UInt8>, from start: Int) -> Int {
        var index = start
        var shift: UInt64 = 0
        let limit = min(bytes.count, start &+ 8)
        while index < limit {
            let byte = bytes[index]
            if byte == Byte.carriageReturn { break }
            low |= UInt64(byte) << shift
            shift &+= 8
            index &+= 1
        }
        count = index &- start
        guard index == start &+ 8 else { return index }
        return takeRest(bytes, from: index)
    }

    @inline(never)
    private mutating func takeRest(_ bytes: Span<UInt8>, from start: Int) -> Int {
        let end = indexOfCarriageReturn(bytes, from: start, to: bytes.count)
        append(bytes, from: start, to: end)
        return end
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
