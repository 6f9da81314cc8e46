/// A histogram of times in nanoseconds with four cells for every power of two. Any quantile is
/// accurate to 25 %, in 2 KB, without allocation.
package struct LatencyHistogram: Sendable {
    /// The sum of the recorded times in nanoseconds. It overflows after 584 years.
    package private(set) var sum: UInt64 = 0
    /// The largest recorded time in nanoseconds; 0 if there is none.
    package private(set) var maximum: UInt64 = 0

    private var cells = InlineArray<256, UInt64>(repeating: 0)

    package init() {}

    /// A histogram of times that were counted elsewhere. `cells` has the numbers of times by the
    /// cells of this type.
    package init(cells: InlineArray<256, UInt64>, sum: UInt64, maximum: UInt64) {
        self.cells = cells
        self.sum = sum
        self.maximum = maximum
    }

    /// All of it as numbers: the sum, the largest time, and the cells up to the last that is used.
    package var numbers: [UInt64] {
        var used: [UInt64] = []
        for index in cells.indices { used.append(cells[index]) }
        while used.last == 0 { used.removeLast() }
        return [sum, maximum] + used
    }

    /// A histogram from its `numbers`; nil for what cannot be any.
    package init?(numbers: [UInt64]) {
        guard numbers.count >= 2, numbers.count <= cells.count + 2 else { return nil }
        sum = numbers[0]
        maximum = numbers[1]
        for (index, count) in numbers.dropFirst(2).enumerated() { cells[index] = count }
    }

    /// The number of recorded times.
    package var count: UInt64 { count(before: cells.count) }

    /// Records a time in nanoseconds. A negative time, from a clock that was set back, counts as 0.
    package mutating func record(_ nanoseconds: Int64) {
        let value = UInt64(max(0, nanoseconds))
        cells[LatencyHistogram.cell(of: value)] &+= 1
        sum &+= value
        if value > maximum { maximum = value }
    }

    /// Records a time of this many microseconds. Such a time is never a power of two from 2^16 ns
    /// on, so no time is equal to a bound of `count(below:)`.
    package mutating func record(microseconds: UInt32) { record(Int64(microseconds) * 1000) }

    /// How many of the recorded times are less than 2^`exponent` nanoseconds. It is exact, because
    /// a cell begins there. `exponent` is 2 to 63.
    package func count(below exponent: Int) -> UInt64 { count(before: exponent * 4) }

    private func count(before end: Int) -> UInt64 {
        var count: UInt64 = 0
        for index in 0..<end { count &+= cells[index] }
        return count
    }

    /// The time in nanoseconds that the share `quantile` (0 to 1) of the recorded times did not
    /// exceed: the upper end of its cell, at most `maximum`. 0 if nothing was recorded.
    package func quantile(_ quantile: Double) -> UInt64 {
        let count = count
        guard count > 0 else { return 0 }
        // Turns a NaN into 0: converting it to an integer would trap.
        let clamped = quantile > 0 ? min(1, quantile) : 0
        let rank = max(1, UInt64((clamped * Double(count)).rounded(.up)))
        var seen: UInt64 = 0
        for index in cells.indices {
            seen &+= cells[index]
            if seen >= rank { return min(maximum, LatencyHistogram.upperEnd(of: index)) }
        }
        return maximum
    }

    /// Adds the times of another histogram, for example of another worker.
    package mutating func merge(_ other: LatencyHistogram) {
        for index in cells.indices {
            cells[index] &+= other.cells[index]
        }
        sum &+= other.sum
        maximum = max(maximum, other.maximum)
    }

    /// The times that were recorded after `earlier`, which is a former value of this histogram. The
    /// largest of them is known only as well as its cell.
    package func since(_ earlier: LatencyHistogram) -> LatencyHistogram {
        var later = self
        later.sum &-= earlier.sum
        later.maximum = 0
        for index in cells.indices {
            later.cells[index] &-= earlier.cells[index]
            if later.cells[index] > 0 {
                later.maximum = min(maximum, LatencyHistogram.upperEnd(of: index))
            }
        }
        return later
    }

    /// Values below 4 have cells of their own. For larger values, the two bits below the leading
    /// one select one of the four cells of the power of two.
    static func cell(of value: UInt64) -> Int {
        guard value >= 4 else { return Int(truncatingIfNeeded: value) }
        let exponent = 63 &- value.leadingZeroBitCount
        let quarter = Int(truncatingIfNeeded: value &>> UInt64(exponent &- 2)) & 3
        return exponent &* 4 &+ quarter
    }

    /// The largest value of a cell. Cells 4 to 7 are unused: their powers of two are below 4.
    static func upperEnd(of cell: Int) -> UInt64 {
        guard cell >= 8 else { return UInt64(min(cell, 3)) }
        let exponent = UInt64(cell / 4)
        let width = UInt64(1) << (exponent - 2)
        return (UInt64(1) << exponent) + (UInt64(cell % 4) * width) + (width - 1)
    }
}
