// Byte-level tools that both scanners share: named bytes, searches eight bytes at a time, and the
// header form that nearly every frame has. No protocol decision is made here.

/// The ASCII bytes with a meaning in the protocol.
enum Byte {
    static let carriageReturn: UInt8 = 0x0D
    static let lineFeed: UInt8 = 0x0A
    static let zero: UInt8 = 0x30
    static let asterisk = UInt8(ascii: "*")
    static let dollar = UInt8(ascii: "$")
    static let plus = UInt8(ascii: "+")
    static let minus = UInt8(ascii: "-")
    static let colon = UInt8(ascii: ":")
    static let underscore = UInt8(ascii: "_")
    static let hash = UInt8(ascii: "#")
    static let comma = UInt8(ascii: ",")
    static let parenthesis = UInt8(ascii: "(")
    static let exclamation = UInt8(ascii: "!")
    static let equals = UInt8(ascii: "=")
    static let tilde = UInt8(ascii: "~")
    static let percent = UInt8(ascii: "%")
    static let greater = UInt8(ascii: ">")
    static let pipe = UInt8(ascii: "|")
}

/// Whether the byte is an ASCII digit.
func isDigit(_ byte: UInt8) -> Bool { byte &- Byte.zero < 10 }

/// Sets the top bit of every byte of the word that equals the repeated byte in `pattern`. Bits
/// above the lowest one set may be false hits, so only the lowest may be used.
@inline(__always)
private func hits(_ word: UInt64, _ pattern: UInt64) -> UInt64 {
    let difference = word ^ pattern
    return (difference &- 0x0101_0101_0101_0101) & ~difference & 0x8080_8080_8080_8080
}

@inline(__always)
private func loadWord(_ bytes: Span<UInt8>, at index: Int) -> UInt64 {
    // The load is bounds-checked. It counts as unsafe only because it could load any type.
    UInt64(
        littleEndian: unsafe bytes.bytes.unsafeLoadUnaligned(
            fromByteOffset: index, as: UInt64.self))
}

/// Four bytes, the first in the lowest position. There must be four.
@inline(__always)
private func loadHalf(_ bytes: Span<UInt8>, at index: Int) -> UInt32 {
    UInt32(
        littleEndian: unsafe bytes.bytes.unsafeLoadUnaligned(
            fromByteOffset: index, as: UInt32.self))
}

/// The index of the first CR in `bytes[start..<end]`, or `end`.
func indexOfCarriageReturn(_ bytes: Span<UInt8>, from start: Int, to end: Int) -> Int {
    var index = start
    while end &- index >= 8 {
        let found = hits(loadWord(bytes, at: index), 0x0D0D_0D0D_0D0D_0D0D)
        if found != 0 { return index &+ found.trailingZeroBitCount / 8 }
        index &+= 8
    }
    while index < end {
        if bytes[index] == Byte.carriageReturn { return index }
        index &+= 1
    }
    return end
}

/// The index of the first `byte` or NUL in `bytes[start..<end]`, or `end`. C's `strchr`, which
/// Redis uses to find line ends, stops there.
func indexOfStringEnd(_ bytes: Span<UInt8>, byte: UInt8, from start: Int, to end: Int) -> Int {
    let pattern = UInt64(byte) &* 0x0101_0101_0101_0101
    var index = start
    while end &- index >= 8 {
        let word = loadWord(bytes, at: index)
        let found = hits(word, pattern) | hits(word, 0)
        if found != 0 { return index &+ found.trailingZeroBitCount / 8 }
        index &+= 8
    }
    while index < end {
        if bytes[index] == byte || bytes[index] == 0 { return index }
        index &+= 1
    }
    return end
}

/// A header line that was read completely.
struct Header {
    var value: Int
    /// The first byte after the line's two terminator bytes.
    var next: Int
}

/// Reads a header of the common form: marker, 1 to 18 digits without a leading zero, CR, one byte
/// of any value. The marker is not checked. `nil` says nothing about the line: it may be
/// incomplete, negative or malformed, and the caller parses it the slow way.
@inline(__always)
func shortHeader(_ bytes: Span<UInt8>, at position: Int) -> Header? {
    let first = position &+ 1
    let limit = min(bytes.count &- 2, first &+ 18)
    guard first <= limit else { return nil }
    let lead = bytes[first] &- Byte.zero
    guard lead <= 9 else { return nil }
    var value = Int(lead)
    var index = first &+ 1
    while index <= limit {
        let digit = bytes[index] &- Byte.zero
        guard digit <= 9 else { break }
        value = value &* 10 &+ Int(digit)
        index &+= 1
    }
    guard index <= limit, bytes[index] == Byte.carriageReturn else { return nil }
    guard lead != 0 || index == first &+ 1 else { return nil }
    return Header(value: value, next: index &+ 2)
}

/// Reads a complete header in the form that encoders write: `marker`, 1 to 18 digits without a
/// leading zero, CR LF. `nil` says nothing about the line. Headers of one or two digits, nearly
/// all, take two comparisons.
@inline(__always)
func canonicalHeader(_ bytes: Span<UInt8>, at position: Int, marker: UInt8) -> Header? {
    let available = bytes.count &- position
    guard available >= 4 else { return nil }
    let start = loadHalf(bytes, at: position)
    guard UInt8(truncatingIfNeeded: start) == marker else { return nil }
    let first = UInt8(truncatingIfNeeded: start >> 8) &- Byte.zero
    guard first <= 9 else { return nil }
    if start >> 16 == 0x0A0D { return Header(value: Int(first), next: position &+ 4) }
    guard first != 0, available >= 5 else { return nil }
    let second = UInt8(truncatingIfNeeded: start >> 16) &- Byte.zero
    if second <= 9, loadHalf(bytes, at: position &+ 1) >> 16 == 0x0A0D {
        return Header(value: Int(first) &* 10 &+ Int(second), next: position &+ 5)
    }
    return longCanonicalHeader(bytes, at: position)
}

@inline(never)
private func longCanonicalHeader(_ bytes: Span<UInt8>, at position: Int) -> Header? {
    guard let header = shortHeader(bytes, at: position) else { return nil }
    return bytes[header.next &- 1] == Byte.lineFeed ? header : nil
}

/// Whether CR LF is at `position`, 0 or more.
@inline(__always)
func isLineEnd(_ bytes: Span<UInt8>, at position: Int) -> Bool {
    guard bytes.count &- position >= 2 else { return false }
    return bytes[position] == Byte.carriageReturn && bytes[position &+ 1] == Byte.lineFeed
}

/// The start and length of the payload of a complete bulk string in the form that encoders write,
/// of at most `longest` bytes; else nil. The bulk string ends two bytes after the payload.
@inline(__always)
func wholeBulk(_ bytes: Span<UInt8>, at position: Int, longest: Int) -> Header? {
    guard let header = canonicalHeader(bytes, at: position, marker: Byte.dollar) else { return nil }
    guard header.value <= longest, bytes.count &- header.next &- 2 >= header.value else {
        return nil
    }
    return isLineEnd(bytes, at: header.next &+ header.value) ? header : nil
}

/// True when a complete RESP2 null, `$-1` or `*-1`, is at `position`.
@inline(__always)
func isNull(_ bytes: Span<UInt8>, at position: Int) -> Bool {
    guard bytes.count &- position >= 5 else { return false }
    return loadHalf(bytes, at: position &+ 1) == 0x0A0D_312D
}

/// A complete `:` reply with at most 18 digits and no plus. `nil` says nothing about the reply.
@inline(__always)
func wholeInteger(_ bytes: Span<UInt8>, at position: Int) -> Header? {
    var index = position &+ 1
    guard index < bytes.count else { return nil }
    let isNegative = bytes[index] == Byte.minus
    if isNegative { index &+= 1 }
    let first = index
    let limit = min(bytes.count, first &+ 18)
    var value = 0
    while index < limit {
        let digit = bytes[index] &- Byte.zero
        guard digit <= 9 else { break }
        value = value &* 10 &+ Int(digit)
        index &+= 1
    }
    guard index > first, isLineEnd(bytes, at: index) else { return nil }
    return Header(value: isNegative ? 0 &- value : value, next: index &+ 2)
}

/// True when the two bytes that end a payload are CR LF, as far as they are among the `taken` bytes
/// from `position`. `wanted` is the number of payload bytes still missing, these two included.
func terminatorIsCanonical(
    _ bytes: Span<UInt8>, position: Int, wanted: Int, taken: Int
) -> Bool {
    if wanted >= 2, taken > wanted &- 2 {
        guard bytes[position &+ wanted &- 2] == Byte.carriageReturn else { return false }
    }
    if wanted >= 1, taken > wanted &- 1 {
        guard bytes[position &+ wanted &- 1] == Byte.lineFeed else { return false }
    }
    return true
}

/// Redis's `string2ll` over `bytes[start..<end]`: an optional minus, no leading zero, no plus, no
/// blanks, within 64 bits; `nil` for everything else (Redis 7.0, util.c).
func strictInteger(_ bytes: Span<UInt8>, from start: Int, to end: Int) -> Int? {
    guard end > start, end &- start <= 20 else { return nil }
    let isNegative = bytes[start] == Byte.minus
    let first = isNegative ? start &+ 1 : start
    guard first < end else { return nil }
    if bytes[first] == Byte.zero {
        return isNegative || end &- first > 1 ? nil : 0
    }
    var value = 0
    for index in first..<end {
        let digit = bytes[index] &- Byte.zero
        guard digit <= 9 else { return nil }
        // Computed as a negative number: that range has one more value.
        let (product, overflow) = value.multipliedReportingOverflow(by: 10)
        let (sum, carry) = product.subtractingReportingOverflow(Int(digit))
        guard !overflow, !carry else { return nil }
        value = sum
    }
    if isNegative { return value }
    return value == Int.min ? nil : -value
}
