/// A histogram of times in nanoseconds with four cells for every power of two: any quantile is
/// known to within 25 %, in 2 KB, without allocation.
package struct LatencyHistogram: Sendable {
    /// How many times were recorded.
    package private(set) var count: UInt64 = 0
    /// The sum of the recorded times in nanoseconds; wraps around after 584 years.
    package private(set) var sum: UInt64 = 0
    /// The greatest recorded time in nanoseconds; 0 if there is none.
    package private(set) var maximum: UInt64 = 0

    private var cells = InlineArray<256, UInt64>(repeating: 0)

    package init() {}

    /// Records a time in nanoseconds. A negative one, which a clock that was set back can produce,
    /// counts as 0.
    package mutating func record(_ nanoseconds: Int64) {
        let value = UInt64(max(0, nanoseconds))
        cells[LatencyHistogram.cell(of: value)] &+= 1
        count &+= 1
        sum &+= value
        if value > maximum { maximum = value }
    }

    /// The time in nanoseconds that a part `quantile` of the recorded times, 0 to 1, did not
    /// exceed: the upper end of its cell, never more than `maximum`; 0 if nothing was recorded.
    package func quantile(_ quantile: Double) -> UInt64 {
        guard count > 0 else { return 0 }
        // Written so that a NaN becomes 0, because converting it to an integer would trap.
        let clamped = quantile > 0 ? min(1, quantile) : 0
        let rank = max(1, UInt64((clamped * Double(count)).rounded(.up)))
        var seen: UInt64 = 0
        for index in cells.indices {
            seen &+= cells[index]
            if seen >= rank { return min(maximum, LatencyHistogram.upperEnd(of: index)) }
        }
        return maximum
    }

    /// Adds the times of another histogram, such as that of another worker.
    package mutating func merge(_ other: LatencyHistogram) {
        for index in cells.indices {
            cells[index] &+= other.cells[index]
        }
        count &+= other.count
        sum &+= other.sum
        maximum = max(maximum, other.maximum)
    }

    /// Values below 4 have cells of their own; from there on the two bits below the leading one
    /// choose among the four cells of the power of two.
    static func cell(of value: UInt64) -> Int {
        guard value >= 4 else { return Int(value) }
        let exponent = 63 - value.leadingZeroBitCount
        let quarter = Int(truncatingIfNeeded: value >> UInt64(exponent - 2)) & 3
        return exponent * 4 + quarter
    }

    /// The greatest value of a cell. Cells 4 to 7 are never used: the powers of two that they would
    /// stand for are below 4.
    static func upperEnd(of cell: Int) -> UInt64 {
        guard cell >= 8 else { return UInt64(min(cell, 3)) }
        let exponent = UInt64(cell / 4)
        let width = UInt64(1) << (exponent - 2)
        return (UInt64(1) << exponent) + (UInt64(cell % 4) * width) + (width - 1)
    }
}
