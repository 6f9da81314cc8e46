// CRC-32C (Castagnoli), eight bytes at a time: a file of some megabytes is written and read while
// all clients wait.

/// The checksum of bytes that are added in order.
struct Checksum {
    private var state: UInt32 = .max

    var value: UInt32 { ~state }

    /// For each of eight places and each byte, what the byte does to the checksum.
    private static let table: [UInt32] = {
        var table = [UInt32](repeating: 0, count: 8 * 256)
        for byte in 0..<256 {
            var value = UInt32(byte)
            for _ in 0..<8 { value = value & 1 == 0 ? value >> 1 : value >> 1 ^ 0x82F6_3B78 }
            table[byte] = value
        }
        for index in 256..<(8 * 256) {
            let value = table[index - 256]
            table[index] = value >> 8 ^ table[Int(value & 0xFF)]
        }
        return table
    }()

    mutating func add(_ bytes: Span<UInt8>) {
        let table = Checksum.table.span
        var state = state
        var position = 0
        while position &+ 8 <= bytes.count {
            // The loop's condition keeps the load within the span.
            let word = unsafe UInt64(
                littleEndian: bytes.bytes.unsafeLoadUnaligned(
                    fromByteOffset: position, as: UInt64.self))
            let low = UInt32(truncatingIfNeeded: word) ^ state
            let high = UInt32(truncatingIfNeeded: word >> 32)
            state = Checksum.fold(low, 1024, table) ^ Checksum.fold(high, 0, table)
            position &+= 8
        }
        while position < bytes.count {
            let byte = bytes[position]
            state = state >> 8 ^ table[Int((state ^ UInt32(byte)) & 0xFF)]
            position &+= 1
        }
        self.state = state
    }

    /// What four bytes do that stand before `start / 256` others of a step.
    @inline(__always)
    private static func fold(_ word: UInt32, _ start: Int, _ table: Span<UInt32>) -> UInt32 {
        table[start &+ 768 &+ Int(word & 0xFF)] ^ table[start &+ 512 &+ Int(word >> 8 & 0xFF)]
            ^ table[start &+ 256 &+ Int(word >> 16 & 0xFF)] ^ table[start &+ Int(word >> 24)]
    }
}
