/// SplitMix64: the same seed gives the same run, whatever the platform.
package struct SeededRandom {
    private var state: UInt64

    package init(seed: UInt64) {
        state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1
    }

    /// The next 64 bits.
    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// Uniform in 0 ..< `bound`, which is above 0.
    package mutating func below(_ bound: Int) -> Int {
        Int(next() % UInt64(bound))
    }

    /// True `percent` times in a hundred.
    package mutating func chance(_ percent: Int) -> Bool { below(100) < percent }

    /// Up to 65,536 bytes: a piece of a long row of them, from anywhere in it. To make each one
    /// anew takes long in a debug build.
    package mutating func bytes(_ count: Int) -> [UInt8] {
        let start = below(SeededRandom.row.count - count)
        return Array(SeededRandom.row[start..<(start + count)])
    }

    private static let row: [UInt8] = {
        var random = SeededRandom(seed: 0)
        return (0..<131_072).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }()
}
