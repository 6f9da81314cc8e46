import Testing

@testable import Telemetry

@Suite struct RateLimiterTests {
    private let key = RateLimiter.Key(event: "pool.wait_timeout", pool: "a", reason: "full")

    @Test func repeatedEventsAreMerged() {
        var limiter = RateLimiter(window: 10)
        #expect(limiter.record(key, now: 100) == 1)
        #expect(limiter.record(key, now: 100) == nil)
        #expect(limiter.record(key, now: 109) == nil)
        #expect(limiter.record(key, now: 110) == 3)
        #expect(limiter.record(key, now: 111) == nil)
    }

    @Test func differentEventsAreNotMerged() {
        var limiter = RateLimiter(window: 10)
        let others = [
            RateLimiter.Key(event: "x", pool: "a", reason: "full"),
            RateLimiter.Key(event: "pool.wait_timeout", pool: "b", reason: "full"),
            RateLimiter.Key(event: "pool.wait_timeout", pool: "a", reason: "other"),
        ]
        #expect(limiter.record(key, now: 0) == 1)
        for other in others { #expect(limiter.record(other, now: 0) == 1) }
    }

    @Test func heldEventsAreDueWhenTheirWindowIsOver() {
        var limiter = RateLimiter(window: 10)
        let other = RateLimiter.Key(event: "a")
        for _ in 0..<3 { _ = limiter.record(key, now: 0) }
        for _ in 0..<2 { _ = limiter.record(other, now: 5) }
        #expect(limiter.due(now: 9) == [])
        #expect(limiter.due(now: 10) == [RateLimiter.Summary(key: key, count: 2)])
        #expect(limiter.due(now: 15) == [RateLimiter.Summary(key: other, count: 1)])
        #expect(limiter.record(key, now: 16) == nil)
        #expect(limiter.due(now: 20) == [RateLimiter.Summary(key: key, count: 1)])
        #expect(limiter.due(now: 30) == [])
        #expect(limiter.record(key, now: 31) == 1)
    }

    @Test func dueLinesAreSorted() {
        var limiter = RateLimiter(window: 10)
        let keys = ["c", "a", "b"].map { RateLimiter.Key(event: $0) }
        for key in keys + keys { _ = limiter.record(key, now: 0) }
        #expect(limiter.due(now: 10).map(\.key.event) == ["a", "b", "c"])
    }

    @Test func memoryIsBounded() {
        var limiter = RateLimiter(window: 10, capacity: 2)
        let keys = (0..<4).map { RateLimiter.Key(event: "\($0)") }
        #expect(limiter.record(keys[0], now: 0) == 1)
        #expect(limiter.record(keys[0], now: 1) == nil)
        #expect(limiter.record(keys[1], now: 1) == 1)
        // No room: logged each time. Then a quiet key gives its place to a new one.
        #expect(limiter.record(keys[2], now: 2) == 1)
        #expect(limiter.record(keys[2], now: 2) == 1)
        #expect(limiter.record(keys[3], now: 11) == 1)
        #expect(limiter.record(keys[3], now: 11) == nil)
        #expect(limiter.due(now: 11) == [RateLimiter.Summary(key: keys[0], count: 1)])
    }

    /// No event is lost: lines that were written stand for all events that happened.
    @Test func everyEventIsAccountedFor() {
        var limiter = RateLimiter(window: 7, capacity: 64)
        var happened = 0
        var told = 0
        for now in stride(from: Int64(0), to: 1000, by: 1) {
            let key = RateLimiter.Key(event: "\(now * now % 11)")
            happened += 1
            told += limiter.record(key, now: now) ?? 0
            if now % 5 == 0 { told += limiter.due(now: now).map(\.count).reduce(0, +) }
        }
        told += limiter.due(now: 2000).map(\.count).reduce(0, +)
        #expect(told == happened)
    }
}
