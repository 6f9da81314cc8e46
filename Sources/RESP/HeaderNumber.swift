/// The content of a reply's header line. It is read byte by byte, so the line may be cut anywhere.
/// No input overflows it: digits are counted before they are added.
struct HeaderNumber {
    private var magnitude: UInt64 = 0
    private var count: UInt8 = 0
    private var isNegative = false
    private var hasSign = false

    init() {}

    /// Takes the next byte of the line. False when a line of this type cannot have that byte.
    @inline(__always)
    mutating func append(_ byte: UInt8, type: UInt8) -> Bool {
        let digit = byte &- Byte.zero
        // 19 digits always fit into an unsigned 64-bit integer.
        if digit <= 9, count < 19, type != Byte.underscore, type != Byte.hash {
            magnitude = magnitude &* 10 &+ UInt64(digit)
            count &+= 1
            return true
        }
        return appendOther(byte, type)
    }

    private mutating func appendOther(_ byte: UInt8, _ type: UInt8) -> Bool {
        guard count == 0, !hasSign else { return false }
        switch byte {
        case Byte.minus where type != Byte.underscore && type != Byte.hash:
            isNegative = true
            hasSign = true
        case Byte.plus where type == Byte.colon:
            hasSign = true
        case UInt8(ascii: "t") where type == Byte.hash, UInt8(ascii: "f") where type == Byte.hash:
            count = 1
        default:
            return false
        }
        return true
    }

    /// The line's number; nil if a reply of this type cannot have it. `:` is a signed 64-bit
    /// number. Lengths and counts may be -1, for nulls, except for pushes and attributes, which
    /// have no null form. `#` and `_` give 0.
    func value(type: UInt8) -> Int64? {
        if type == Byte.underscore { return 0 }
        guard count > 0 else { return nil }
        switch type {
        case Byte.hash:
            return 0
        case Byte.colon:
            if isNegative {
                return magnitude <= 1 << 63 ? Int64(truncatingIfNeeded: 0 &- magnitude) : nil
            }
            return Int64(exactly: magnitude)
        case Byte.dollar, Byte.equals, Byte.exclamation:
            return length(limit: UInt64(Int64.max / 4))
        case Byte.greater, Byte.pipe:
            return isNegative ? nil : length(limit: UInt64(Int32.max))
        default:
            return length(limit: UInt64(Int32.max))
        }
    }

    private func length(limit: UInt64) -> Int64? {
        if isNegative { return magnitude == 1 ? -1 : nil }
        return magnitude <= limit ? Int64(magnitude) : nil
    }
}
