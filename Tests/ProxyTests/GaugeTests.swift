import Pool
import TestSupport
import Testing

@testable import Proxy

@Suite("ReplyGauge and LargestReply: how large replies have been of late")
struct GaugeTests {
    private static let second: Int64 = 1_000_000_000

    private func note(_ gauge: inout ReplyGauge, _ size: Int, seconds: Double) {
        gauge.begin(at: 0)
        gauge.note(upTo: size, isComplete: true, now: Int64(seconds * 1_000_000_000))
    }

    @Test("without a limit nothing is measured, and few are in flight before the first reply")
    func measures() {
        #expect(!ReplyGauge().measures)
        var gauge = ReplyGauge(limit: 1_000_000)
        #expect(gauge.measures)
        #expect((gauge.size, gauge.most) == (0, 16))
        note(&gauge, 1, seconds: 1)
        #expect((gauge.size, gauge.most) == (1, 250_000))
    }

    @Test(
        "replies may fill a quarter of the limit, and one may always be in flight",
        arguments: [
            (1_000_000, 1000, 250), (1_000_000, 250_000, 1), (1_000_000, 250_001, 1),
            (1_000_000, 125_000, 2), (1_000_000, 10_000_000, 1), (1, 1, 1), (.max, 1, .max),
        ] as [(Int, Int, Int32)])
    func most(limit: Int, size: Int, most: Int32) {
        var gauge = ReplyGauge(limit: limit)
        note(&gauge, size, seconds: 1)
        #expect(gauge.most == most)
        #expect(ReplyGauge(limit: limit, largest: size, now: 0).most == most)
    }

    @Test("pieces of one reply add up, replies of one read do not")
    func pieces() {
        var gauge = ReplyGauge(limit: 1_000_000)
        gauge.begin(at: 100)
        gauge.note(upTo: 150, isComplete: true, now: 0)
        #expect(gauge.size == 50)
        gauge.note(upTo: 220, isComplete: true, now: 0)
        #expect(gauge.size == 70)
        gauge.note(upTo: 250, isComplete: false, now: 0)
        #expect(gauge.size == 70)
        gauge.begin(at: 0)
        gauge.note(upTo: 60, isComplete: false, now: 0)
        #expect(gauge.size == 90)
        gauge.begin(at: 0)
        gauge.note(upTo: 10, isComplete: true, now: 0)
        #expect(gauge.size == 100)
        gauge.note(upTo: 15, isComplete: true, now: 0)
        #expect(gauge.size == 100)
    }

    @Test("what other connections have seen counts for a while")
    func inherited() {
        var gauge = ReplyGauge(limit: 1_000_000, largest: 5000, now: 0)
        note(&gauge, 10, seconds: 9.9)
        #expect(gauge.size == 5000)
        note(&gauge, 10, seconds: 10)
        #expect(gauge.size == 5000)
        note(&gauge, 10, seconds: 20)
        #expect(gauge.size == 10)
    }

    @Test("random: a reply counts for 10 seconds at least, and for 30 at most", arguments: 1...10)
    func random(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var gauge = ReplyGauge(limit: 1 << 40)
        var all: [(at: Double, size: Int)] = []
        var now = 0.0
        for _ in 0..<200 {
            now += Double(random.below(random.chance(5) ? 40_000 : 2000)) / 1000
            let size = 1 + random.below(random.chance(5) ? 1_000_000 : 1000)
            note(&gauge, size, seconds: now)
            all.append((now, size))
            let sure = all.filter { now - $0.at < 10 }.map(\.size).max() ?? 0
            let possible = all.filter { now - $0.at <= 30 }.map(\.size).max() ?? 0
            try #require((sure...possible).contains(gauge.size))
        }
    }

    @Test("the largest reply of a pool is the largest of those that are not too old")
    func largest() {
        var largest = LargestReply()
        #expect(largest.size(at: 0) == 0)
        largest.note(100, now: 0)
        #expect(largest.size(at: 9 * GaugeTests.second) == 100)
        #expect(largest.size(at: 10 * GaugeTests.second) == 0)
        largest.note(50, now: 5 * GaugeTests.second)
        #expect(largest.size(at: 14 * GaugeTests.second) == 100)
        #expect(largest.size(at: 15 * GaugeTests.second) == 0)
        largest.note(7, now: 20 * GaugeTests.second)
        #expect(largest.size(at: 20 * GaugeTests.second) == 7)
    }
}

@Suite("LimitClock: how long clients at their limits have kept others waiting")
struct LimitClockTests {
    private func state(_ clock: LimitClock, _ seconds: Double) -> String {
        (clock.isOver(at(seconds)) ? "over" : "") + (clock.isSpent(at(seconds)) ? " spent" : "")
    }

    @Test("runs from the first client that comes to its limit")
    func runs() {
        var clock = LimitClock()
        #expect(state(clock, 100) == "")
        clock.begin(at(100))
        #expect(state(clock, 100.9) == "")
        #expect(state(clock, 101) == "over")
        clock.begin(at(103))
        #expect(state(clock, 103) == "over")
        #expect(state(clock, 104.9) == "over")
        #expect(state(clock, 105) == "over spent")
        #expect(state(clock, 1000) == "over spent")
    }

    @Test("goes on when one leaves, and begins anew when nobody was there for ten seconds")
    func rests() {
        var clock = LimitClock()
        clock.begin(at(0))
        clock.leave(at(2))
        #expect(state(clock, 2) == "over")
        #expect(state(clock, 11.9) == "over spent")
        #expect(state(clock, 12) == "")
        clock.begin(at(12))
        #expect(state(clock, 12.5) == "")
        #expect(state(clock, 13) == "over")
        clock.leave(at(14))
        clock.begin(at(20))
        #expect(state(clock, 20) == "over spent")
        // Somebody is there again: it rests no more.
        #expect(state(clock, 30) == "over spent")
    }
}
