import Pool
import Testing

@Suite("Time")
struct MonotonicTimeTests {
    @Test("a moment beyond the last one is the last one")
    func saturation() {
        let start = MonotonicTime(nanoseconds: 0)
        let last = MonotonicTime(nanoseconds: .max)
        #expect(start + .max == last)
        #expect(MonotonicTime(nanoseconds: 1) + .max == last)
        #expect(last + 1 == last)
        #expect(last + .max == last)
        #expect(MonotonicTime(nanoseconds: .max - 5) + 5 == last)
        #expect(MonotonicTime(nanoseconds: .max - 5) + 4 < last)
        #expect(last - start == .max)
        #expect(start - last == -.max)
    }

    @Test("a duration has the length that it says, or the longest there is")
    func durations() {
        #expect(Int64.seconds(3) == 3_000_000_000)
        #expect(Int64.milliseconds(-3) == -3_000_000)
        #expect(Int64.seconds(9_223_372_036) == 9_223_372_036_000_000_000)
        for count in [9_223_372_037, Int64.max / 2, .max] {
            #expect(Int64.seconds(count) == .max)
            #expect(Int64.seconds(-count) == .min)
        }
        #expect(Int64.milliseconds(9_223_372_036_854) == 9_223_372_036_854_000_000)
        #expect(Int64.milliseconds(9_223_372_036_855) == .max)
        #expect(Int64.milliseconds(.min) == .min)
    }
}
