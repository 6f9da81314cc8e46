// The slot of a key in a cluster.

/// A cluster spreads keys over 16,384 slots, and shard channels as if they were keys.
package enum Slot {
    /// How many slots there are.
    package static let count = 16_384

    /// CRC16 (XMODEM) of the key, or of what is between its first `{` and the first `}` behind that
    /// if it is not empty, modulo 16,384. As Redis and Valkey have it (cluster.c, crc16.c).
    package static func of(_ bytes: Span<UInt8>, start: Int, length: Int) -> UInt16 {
        let end = min(start &+ length, bytes.count)
        guard start >= 0, start < end else { return 0 }
        var from = start
        var to = end
        var open = start
        while open < end, bytes[open] != UInt8(ascii: "{") { open &+= 1 }
        if open < end {
            var close = open &+ 1
            while close < end, bytes[close] != UInt8(ascii: "}") { close &+= 1 }
            if close < end, close > open &+ 1 {
                from = open &+ 1
                to = close
            }
        }
        var sum: UInt16 = 0
        while from < to {
            let index = Int((sum >> 8) ^ UInt16(bytes[from]))
            sum = (sum << 8) ^ table[index & 0xFF]
            from &+= 1
        }
        return sum & UInt16(count - 1)
    }

    /// What the high byte of the sum adds, for the polynomial 0x1021.
    private static let table: InlineArray<256, UInt16> = InlineArray { index in
        var sum = UInt16(index) << 8
        for _ in 0..<8 { sum = sum & 0x8000 != 0 ? (sum << 1) ^ 0x1021 : sum << 1 }
        return sum
    }
}
