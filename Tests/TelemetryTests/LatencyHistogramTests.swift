import Testing

@testable import Telemetry

@Suite struct LatencyHistogramTests {
    @Test func cellsCoverEveryValueWithoutGaps() {
        var previous: UInt64?
        for cell in Array(0..<4) + Array(8..<256) {
            let end = LatencyHistogram.upperEnd(of: cell)
            #expect(LatencyHistogram.cell(of: end) == cell)
            if let previous { #expect(LatencyHistogram.cell(of: previous + 1) == cell) }
            previous = end
        }
        #expect(previous == UInt64.max)
    }

    @Test func emptyHistogram() {
        let histogram = LatencyHistogram()
        #expect(histogram.quantile(0.5) == 0)
        #expect(histogram.count == 0)
        #expect(histogram.maximum == 0)
    }

    @Test func quantilesAreWithinAQuarter() {
        var histogram = LatencyHistogram()
        for value in 1...10_000 { histogram.record(Int64(value) * 1000) }
        #expect(histogram.count == 10_000)
        #expect(histogram.sum == 50_005_000_000)
        #expect(histogram.maximum == 10_000_000)
        for quantile in [0.01, 0.1, 0.5, 0.9, 0.99, 0.999] {
            let exact = quantile * 10_000_000
            let estimate = Double(histogram.quantile(quantile))
            #expect(estimate >= exact && estimate <= exact * 1.25)
        }
        #expect(histogram.quantile(1) == 10_000_000)
        #expect(histogram.quantile(0) == histogram.quantile(0.0001))
    }

    @Test func aQuantileIsTheTimeOfAWholeRecord() {
        var histogram = LatencyHistogram()
        for value: Int64 in [1, 2, 3] { histogram.record(value) }
        let quantiles = [0.1, 0.33, 0.34, 0.5, 0.66, 0.67, 0.9].map { histogram.quantile($0) }
        #expect(quantiles == [1, 1, 2, 2, 2, 3, 3])
    }

    @Test func extremesAreRecorded() {
        var histogram = LatencyHistogram()
        histogram.record(-5)
        #expect(histogram.quantile(1) == 0)
        histogram.record(Int64.max)
        #expect(histogram.quantile(1) == UInt64(Int64.max))
        #expect(histogram.quantile(2) == UInt64(Int64.max))
        #expect(histogram.quantile(.nan) == 0)
        #expect(histogram.quantile(0.5) == 0)
    }

    @Test func mergedHistogramsAreLikeOne() {
        var (left, right, both) = (LatencyHistogram(), LatencyHistogram(), LatencyHistogram())
        for value in Int64(0)..<2000 {
            if value % 3 == 0 { left.record(value * value) } else { right.record(value * value) }
            both.record(value * value)
        }
        left.merge(right)
        #expect(left.count == both.count && left.sum == both.sum && left.maximum == both.maximum)
        for percent in 0...100 {
            #expect(left.quantile(Double(percent) / 100) == both.quantile(Double(percent) / 100))
        }
    }

    @Test func countsBelowPowersOfTwoAreExact() {
        var histogram = LatencyHistogram()
        var times: [UInt64] = []
        for exponent in 0..<33 {
            for offset in [-1000, 0, 1, 1000] {
                let time = max(0, (Int64(1) << Int64(exponent)) + Int64(offset))
                histogram.record(time)
                times.append(UInt64(time))
            }
        }
        for exponent in 2...63 {
            let expected = times.count { $0 < UInt64(1) << UInt64(exponent) }
            #expect(histogram.count(below: exponent) == UInt64(expected))
        }
        #expect(histogram.count == UInt64(times.count))
    }

    @Test func whatWasRecordedSince() {
        var histogram = LatencyHistogram()
        for time: Int64 in [5, 900_000, 7_000_000] { histogram.record(time) }
        let before = histogram
        #expect(histogram.since(before).count == 0)
        #expect(histogram.since(before).quantile(0.99) == 0)
        for time: Int64 in [10, 2000, 2000] { histogram.record(time) }
        let since = histogram.since(before)
        #expect(since.count == 3 && since.sum == 4010)
        #expect((2000...2500).contains(since.maximum))
        #expect((2000...2500).contains(since.quantile(0.9)))
    }

    @Test("its numbers make the same histogram; others make none")
    func numbers() throws {
        var histogram = LatencyHistogram()
        #expect(histogram.numbers == [0, 0])
        for time in [0, 3, 4, 1000, 1_000_000, Int64.max] { histogram.record(time) }
        let copy = try #require(LatencyHistogram(numbers: histogram.numbers))
        #expect(copy.numbers == histogram.numbers && copy.count == 6)
        #expect(copy.quantile(0.5) == histogram.quantile(0.5) && copy.maximum == UInt64(Int64.max))
        #expect(LatencyHistogram(numbers: [1]) == nil)
        #expect(LatencyHistogram(numbers: [UInt64](repeating: 1, count: 259)) == nil)
        #expect(LatencyHistogram(numbers: [UInt64](repeating: 1, count: 258))?.count == 256)
    }
}
