import Testing

@testable import Telemetry

@Suite struct RateLimiterTests {
    private let key = RateLimiter.Key(event: "pool.wait_timeout", pool: "a", reason: "full")
    private let said = RateLimiter.Said("the queue is full")

    @Test func repeatedEventsAreMerged() {
        var limiter = RateLimiter(window: 10)
        #expect(limiter.record(key, said, now: 100) == 1)
        #expect(limiter.record(key, said, now: 100) == nil)
        #expect(limiter.record(key, said, now: 109) == nil)
        #expect(limiter.record(key, said, now: 110) == 3)
        #expect(limiter.record(key, said, now: 111) == nil)
    }

    @Test func differentEventsAreNotMerged() {
        var limiter = RateLimiter(window: 10)
        let others = [
            RateLimiter.Key(event: "x", pool: "a", reason: "full"),
            RateLimiter.Key(event: "pool.wait_timeout", pool: "b", reason: "full"),
            RateLimiter.Key(event: "pool.wait_timeout", pool: "a", reason: "other"),
        ]
        #expect(limiter.record(key, said, now: 0) == 1)
        for other in others { #expect(limiter.record(other, said, now: 0) == 1) }
    }

    @Test func heldEventsAreDueWhenTheirWindowIsOver() {
        var limiter = RateLimiter(window: 10)
        let other = RateLimiter.Key(event: "a")
        for _ in 0..<3 { _ = limiter.record(key, said, now: 0) }
        for _ in 0..<2 { _ = limiter.record(other, said, now: 5) }
        #expect(limiter.due(now: 9) == [])
        #expect(limiter.due(now: 10) == [RateLimiter.Summary(key: key, count: 2, last: said)])
        #expect(limiter.due(now: 15) == [RateLimiter.Summary(key: other, count: 1, last: said)])
        #expect(limiter.record(key, said, now: 16) == nil)
        #expect(limiter.due(now: 20) == [RateLimiter.Summary(key: key, count: 1, last: said)])
        #expect(limiter.due(now: 30) == [])
        #expect(limiter.record(key, said, now: 31) == 1)
    }

    @Test func mergedLinesRepeatWhatTheLastEventSaid() {
        var limiter = RateLimiter(window: 10)
        for number in 1...3 {
            _ = limiter.record(key, RateLimiter.Said("\(number)", error: "e\(number)"), now: 0)
        }
        #expect(limiter.due(now: 10).map(\.last) == [RateLimiter.Said("3", error: "e3")])
        #expect(limiter.record(key, said, now: 11) == nil)
        #expect(limiter.due(now: 20).map(\.last) == [said])
    }

    @Test func aFlushLeavesNothingToSay() {
        var limiter = RateLimiter(window: 10)
        let other = RateLimiter.Key(event: "a")
        for _ in 0..<3 { _ = limiter.record(key, said, now: 0) }
        #expect(limiter.record(other, said, now: 1) == 1)
        #expect(limiter.flush() == [RateLimiter.Summary(key: key, count: 2, last: said)])
        #expect(limiter.due(now: 30) == [])
        #expect(limiter.record(key, said, now: 2) == 1)
        #expect(limiter.flush() == [])
    }

    @Test func dueLinesAreSorted() {
        var limiter = RateLimiter(window: 10)
        let keys = ["c", "a", "b"].map { RateLimiter.Key(event: $0) }
        for key in keys + keys { _ = limiter.record(key, said, now: 0) }
        #expect(limiter.due(now: 10).map(\.key.event) == ["a", "b", "c"])
    }

    @Test func memoryIsBounded() {
        var limiter = RateLimiter(window: 10, capacity: 2)
        let keys = (0..<4).map { RateLimiter.Key(event: "\($0)") }
        #expect(limiter.record(keys[0], said, now: 0) == 1)
        #expect(limiter.record(keys[0], said, now: 1) == nil)
        #expect(limiter.record(keys[1], said, now: 1) == 1)
        // No room: logged each time. Then a quiet key gives its place to a new one.
        #expect(limiter.record(keys[2], said, now: 2) == 1)
        #expect(limiter.record(keys[2], said, now: 2) == 1)
        #expect(limiter.record(keys[3], said, now: 11) == 1)
        #expect(limiter.record(keys[3], said, now: 11) == nil)
        #expect(limiter.due(now: 11) == [RateLimiter.Summary(key: keys[0], count: 1, last: said)])
    }

    /// No event is lost: lines that were written stand for all events that happened.
    @Test func everyEventIsAccountedFor() {
        var limiter = RateLimiter(window: 7, capacity: 64)
        var happened = 0
        var told = 0
        for now in stride(from: Int64(0), to: 1000, by: 1) {
            let key = RateLimiter.Key(event: "\(now * now % 11)")
            happened += 1
            told += limiter.record(key, said, now: now) ?? 0
            if now % 5 == 0 { told += limiter.due(now: now).map(\.count).reduce(0, +) }
        }
        told += limiter.due(now: 2000).map(\.count).reduce(0, +)
        #expect(told == happened)
    }
}
