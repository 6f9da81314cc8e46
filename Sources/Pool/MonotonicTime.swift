// Time as the cores see it: a number that the shell reads once per batch of events and passes in.

/// A moment of a clock that never goes back, in nanoseconds since an arbitrary start.
/// Durations are plain `Int64` nanoseconds.
package struct MonotonicTime: Comparable, Hashable, Sendable {
    /// Nanoseconds since the clock's start, 0 or more.
    package var nanoseconds: Int64

    /// - Parameter nanoseconds: since the clock's start, 0 or more.
    package init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    package static func < (left: MonotonicTime, right: MonotonicTime) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    /// The moment `duration` nanoseconds later; never, 292 years after the start, where that would
    /// be beyond it. A duration may be what a client or a server has said.
    package static func + (time: MonotonicTime, duration: Int64) -> MonotonicTime {
        let (sum, isTooFar) = time.nanoseconds.addingReportingOverflow(duration)
        return MonotonicTime(nanoseconds: isTooFar ? .max : sum)
    }

    /// Nanoseconds from `right` to `left`; negative if `left` is the earlier one.
    package static func - (left: MonotonicTime, right: MonotonicTime) -> Int64 {
        left.nanoseconds - right.nanoseconds
    }
}

extension Int64 {
    /// A duration of `count` milliseconds in nanoseconds; the longest one, 292 years, for more.
    package static func milliseconds(_ count: Int64) -> Int64 { saturated(count, 1_000_000) }

    /// A duration of `count` seconds in nanoseconds; the longest one, 292 years, for more.
    package static func seconds(_ count: Int64) -> Int64 { saturated(count, 1_000_000_000) }

    private static func saturated(_ count: Int64, _ unit: Int64) -> Int64 {
        let (product, isTooLong) = count.multipliedReportingOverflow(by: unit)
        if isTooLong { return count < 0 ? .min : .max }
        return product
    }
}
