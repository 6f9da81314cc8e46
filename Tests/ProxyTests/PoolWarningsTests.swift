import Telemetry
import Testing

@testable import Proxy

@Suite("The warnings of a pool")
struct PoolWarningsTests {
    private let second: Int64 = 1_000_000_000
    private let failed = RateLimiter.Key(
        event: Outage.connectFailed, pool: "a", reason: "connect_failed")
    private let lost = RateLimiter.Key(event: "upstream.lost", pool: "a", reason: "reset")

    private func said(_ text: String) -> RateLimiter.Said { RateLimiter.Said(text, error: text) }

    @Test("an outage begins once and ends once, whichever workers see it")
    func once() {
        let warnings = PoolWarnings()
        #expect(warnings.end() == nil)
        #expect(warnings.begin(failed, error: "a", now: 0) != nil)
        #expect(warnings.begin(failed, error: "b", now: 1) == nil)
        #expect(warnings.isDown)
        #expect(warnings.end() != nil)
        #expect(warnings.end() == nil)
        #expect(!warnings.isDown)
    }

    @Test("counts from before an outage come before its line, counts from it before its end")
    func order() throws {
        let warnings = PoolWarnings()
        for number in 0..<3 { _ = warnings.record(failed, said("\(number)"), now: 0) }
        let begun = try #require(warnings.begin(failed, error: "2", now: second))
        #expect(begun.before.map(\.count) == [2])
        #expect(begun.before.map(\.last) == [said("2")])
        #expect(warnings.record(lost, said("x"), now: second) == 1)
        for _ in 0..<5 { #expect(warnings.record(lost, said("y"), now: 2 * second) == nil) }
        for _ in 0..<9 { #expect(warnings.record(failed, said("z"), now: 2 * second) == nil) }
        let ended = try #require(warnings.end())
        #expect(ended.before.map(\.count) == [5])
        #expect(ended.outage.dialFailures == 10)
        #expect(ended.outage.error == "z")
        #expect(warnings.due(now: 100 * second).isEmpty)
        #expect(warnings.record(failed, said("new"), now: 3 * second) == 1)
    }

    @Test("clients that were closed just before belong to the outage")
    func losses() throws {
        let warnings = PoolWarnings()
        warnings.clientLost(now: 0)
        for _ in 0..<3 { warnings.clientLost(now: 5 * second) }
        let begun = try #require(warnings.begin(failed, error: "", now: 5 * second + 1))
        #expect(begun.outage.closed == 3)
        warnings.clientLost(now: 6 * second)
        #expect(warnings.end()?.outage.closed == 4)
        warnings.clientLost(now: 7 * second)
        #expect(warnings.begin(failed, error: "", now: 20 * second)?.outage.closed == 0)
    }

    @Test("while it lasts, there is one line a minute")
    func reminders() {
        let warnings = PoolWarnings()
        #expect(warnings.reminder(now: 0) == nil)
        _ = warnings.begin(failed, error: "", now: 0)
        #expect(warnings.reminder(now: 59 * second) == nil)
        #expect(warnings.reminder(now: 60 * second) != nil)
        #expect(warnings.reminder(now: 61 * second) == nil)
        #expect(warnings.reminder(now: 121 * second) != nil)
    }
}
