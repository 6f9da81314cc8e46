import Testing

@testable import Telemetry

@Suite("Outage")
struct OutageTests {
    private let second: Int64 = 1_000_000_000

    private func key(_ event: String, _ reason: String) -> RateLimiter.Key {
        RateLimiter.Key(event: event, pool: "a", reason: reason)
    }

    private func failed(_ reason: String = "connect_failed") -> RateLimiter.Key {
        key(Outage.connectFailed, reason)
    }

    @Test("failed dials and refusals follow from it, denied commands and losses do not")
    func causes() {
        #expect(Outage.causes(failed()))
        #expect(Outage.causes(key("client.refused", "upstream_down")))
        #expect(Outage.causes(key("client.refused", "pool_timeout")))
        #expect(!Outage.causes(key("client.refused", "denied")))
        #expect(!Outage.causes(key("upstream.lost", "upstream_closed")))
    }

    @Test("only the first event of each kind has a line; all are counted")
    func counts() {
        var outage = Outage(failed(), error: "refused", closed: 3, now: 0)
        let refused = key("client.refused", "upstream_down")
        let isFirst = [
            outage.count(failed(), RateLimiter.Said("a", error: "refused")),
            outage.count(refused, RateLimiter.Said("b")),
            outage.count(refused, RateLimiter.Said("b")),
            outage.count(failed("connect_timeout"), RateLimiter.Said("c", error: "late")),
            outage.count(failed("connect_timeout"), RateLimiter.Said("c", error: "late")),
            outage.count(key("client.refused", "pin_limit"), RateLimiter.Said("d")),
        ]
        #expect(isFirst == [false, true, false, true, false, true])
        outage.countClosed()
        #expect((outage.dialFailures, outage.refused, outage.closed) == (4, 3, 4))
        #expect(outage.error == "late")
    }

    @Test("ten minutes have nine lines besides the first and the last")
    func lines() {
        var outage = Outage(failed(), error: "refused", closed: 0, now: 7)
        var told: [Int64] = []
        // It is asked every second or so.
        for now in stride(from: Int64(7), to: 7 + 600 * second, by: Int(second) + 100_000_000)
        where outage.isLineDue(now: now) {
            told.append(outage.milliseconds(now: now))
        }
        #expect(told.count == 9)
        #expect(zip(told, told.dropFirst()).allSatisfy { $1 - $0 >= 60_000 })
    }

    @Test("the number of kinds is bounded")
    func bounded() {
        var outage = Outage(failed(), error: "", closed: 0, now: 0)
        let lines = (0..<1000).count { outage.count(failed("\($0)"), RateLimiter.Said("")) }
        #expect(lines == 15)
        #expect(outage.dialFailures == 1001)
    }
}
