import Pool
import Testing

@Suite("Backoff and breaker")
struct DialTests {
    @Test("a failed dial is followed by a backoff of at most 50 ms, then another dial")
    func firstBackoff() throws {
        let pool = PoolScript(PoolLimits(maxOpen: 4))
        pool.queued(.shared, by: 1)
        _ = pool.actions()
        pool.connectFailed(up(0))
        #expect(pool.actions() == [])
        #expect(pool.consecutiveFailures == 1)
        #expect(pool.lastFailure == .connectFailed)
        let backoffEnd = try #require(pool.nextDeadline)
        #expect(backoffEnd < pool.now + .milliseconds(50))
        pool.pass(.milliseconds(50))
        pool.tick()
        #expect(pool.actions() == [.dial(up(0, 1), db0)])
    }

    @Test("the backoff grows to one second, with full jitter")
    func growth() {
        var longest: Int64 = 0
        var shortest = Int64.max
        for seed in 1...20 {
            let pool = PoolScript(
                PoolLimits(maxOpen: 4, minIdle: 1, breakerTime: .seconds(1000)), seed: UInt64(seed))
            pool.tick()
            for generation in 0..<10 {
                _ = pool.actions()
                pool.connectFailed(up(0, UInt32(generation)))
                var waited: Int64 = 0
                while pool.actions().isEmpty {
                    pool.pass(.milliseconds(10))
                    waited += .milliseconds(10)
                    pool.tick()
                }
                longest = max(longest, waited)
                if generation == 9 { shortest = min(shortest, waited) }
            }
        }
        #expect(longest <= .milliseconds(1010) && longest > .milliseconds(800))
        #expect(shortest < .milliseconds(200))
    }

    @Test("dials that fail together count as one step of the backoff")
    func oneStep() {
        let pool = PoolScript(PoolLimits(maxOpen: 64))
        for id in 1...16 { pool.queued(.pin, by: UInt64(id)) }
        for slot in 0..<16 { pool.connectFailed(up(UInt32(slot))) }
        _ = pool.actions()
        #expect(pool.consecutiveFailures == 16)
        pool.pass(.milliseconds(50))
        pool.tick()
        #expect(pool.actions().count == 16)
    }

    @Test("the first dial after a success is not delayed")
    func noDelayAfterSuccess() {
        let pool = PoolScript(PoolLimits(maxOpen: 4))
        pool.queued(.pin, by: 1)
        pool.connectFailed(up(0))
        pool.pass(.milliseconds(50))
        pool.tick()
        _ = pool.actions()
        pool.connected(up(0, 1))
        #expect(pool.actions() == [.dial(up(1), db0)])
        #expect(pool.consecutiveFailures == 0)
        #expect(pool.lastFailure == .connectFailed)
    }

    /// A pool whose breaker has just opened, with one waiter refused.
    private func brokenPool() -> PoolScript {
        let pool = PoolScript(
            PoolLimits(maxOpen: 3, breakerTime: .seconds(2), poolTimeout: .seconds(60)))
        pool.queued(.shared, by: 1)
        for generation in 0..<3 {
            pool.connectFailed(up(0, UInt32(generation)), .handshakeFailed)
            pool.pass(.seconds(1))
            if generation < 2 { pool.tick() }
        }
        return pool
    }

    @Test("once dials have failed for breakerTime, waiters and newcomers are refused at once")
    func opens() {
        let pool = brokenPool()
        #expect(pool.breaker == .open)
        #expect(pool.actions().last == .refuse(client(1), .upstreamDown))
        #expect(pool.lease(.shared) == .refused(.upstreamDown))
        #expect(pool.lastFailure == .handshakeFailed)
    }

    @Test("a server that is back within poolTimeout costs nobody an error, however many wait")
    func noErrorBefore() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, poolTimeout: .seconds(5)))
        let start = pool.now
        pool.queued(.shared, by: 1)
        for id in 2...9 { pool.queued(.pin, by: UInt64(id)) }
        while pool.now - start < .milliseconds(4900) {
            for action in pool.actions() {
                if case .dial(let id, _) = action { pool.connectFailed(id) }
                if case .refuse = action { Issue.record("refused after \(pool.now - start) ns") }
            }
            pool.pass(.milliseconds(10))
            pool.tick()
        }
        #expect(pool.consecutiveFailures > 8)
        pool.pass(.seconds(1))
        pool.warm()
        #expect(pool.breaker == .closed)
    }

    @Test("failures with a long pause between them are no outage")
    func pauses() {
        let pool = PoolScript(PoolLimits(maxOpen: 4))
        for generation in 0..<5 {
            pool.queued(.shared, by: 1)
            _ = pool.actions()
            pool.connectFailed(up(0, UInt32(generation)))
            #expect(pool.breaker == .closed)
            pool.pass(.seconds(10))
            pool.tick()
            #expect(pool.actions().contains(.refuse(client(1), .upstreamDown)))
            pool.connectFailed(up(0, UInt32(generation)))
        }
    }

    @Test("one dial per second tries again, and its success closes the breaker")
    func closes() {
        let pool = brokenPool()
        _ = pool.actions()
        pool.tick()
        #expect(pool.actions() == [.dial(up(0, 3), db0)])
        #expect(pool.breaker == .halfOpen)
        pool.tick()
        #expect(pool.actions() == [])
        pool.connectFailed(up(0, 3))
        pool.pass(.milliseconds(999))
        pool.tick()
        #expect(pool.actions() == [])
        pool.pass(.milliseconds(1))
        pool.tick()
        #expect(pool.actions() == [.dial(up(0, 4), db0)])
        pool.connected(up(0, 4))
        #expect(pool.breaker == .closed)
        #expect(pool.lease(.shared) == .granted(up(0, 4)))
    }

    @Test(
        "in a full pool, which has no slot for a trial, the breaker closes until the next failure")
    func fullPool() {
        let pool = PoolScript(PoolLimits(maxOpen: 2, minIdle: 1, breakerTime: .milliseconds(50)))
        pool.warm()
        pool.queued(.shared, otherUser, by: 1)
        pool.connectFailed(up(1))
        pool.pass(.milliseconds(50))
        pool.tick()
        pool.connectFailed(up(1, 1))
        #expect(pool.breaker == .open)
        pool.setLimits(PoolLimits(maxOpen: 1, minIdle: 1, breakerTime: .milliseconds(50)))
        _ = pool.actions()
        pool.pass(.seconds(1))
        pool.tick()
        #expect(pool.breaker == .closed)
        pool.queued(.shared, otherUser, by: 2)
        #expect(pool.actions().last == .close(up(0), .replaced))
        pool.closed(up(0))
        #expect(pool.actions() == [.dial(up(0, 1), otherUser)])
        pool.connectFailed(up(0, 1))
        #expect(pool.actions() == [.refuse(client(2), .upstreamDown)])
        #expect(pool.breaker == .open)
    }

    @Test("while upstreams work, failing dials refuse nothing that can be served")
    func worksBesideFailures() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1, breakerTime: 0))
        pool.warm()
        let only = pool.granted(.shared)
        pool.queued(.pin, by: 2)
        pool.connectFailed(up(1), .connectTimeout)
        #expect(pool.breaker == .open)
        #expect(pool.lease(.shared) == .granted(only))
        pool.queued(.pin, by: 3)
        pool.lost(only)
        #expect(
            pool.actions().suffix(2) == [
                .refuse(client(2), .upstreamDown), .refuse(client(3), .upstreamDown),
            ])
    }

    @Test("a stalled upstream is used while the dial for another one fails")
    func stalledBesideFailures() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1))
        pool.warm()
        let only = pool.granted(.shared)
        pool.pass(.milliseconds(11))
        pool.queued(.shared, by: 2)
        _ = pool.actions()
        pool.connectFailed(up(1))
        #expect(pool.actions() == [.grant(client(2), only)])
    }

    @Test("a stalled upstream takes commands with the breaker open too")
    func openBreakerBesideStalled() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1, breakerTime: 0))
        pool.warm()
        let only = pool.granted(.shared)
        pool.pass(.milliseconds(11))
        pool.queued(.shared, by: 2)
        _ = pool.actions()
        pool.connectFailed(up(1), .connectTimeout)
        #expect(pool.breaker == .open)
        #expect(pool.actions() == [.grant(client(2), only)])
        #expect(pool.lease(.slow) == .granted(only))
        pool.lost(only, .commandTimeout)
        #expect(pool.lease(.shared) == .refused(.upstreamDown))
    }

    @Test("once a dial has failed, nobody waits for the next one beside a stalled upstream")
    func failingDials() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1, poolTimeout: .seconds(60)))
        pool.warm()
        let only = pool.granted(.shared)
        pool.pass(.milliseconds(11))
        pool.queued(.shared, by: 2)
        _ = pool.actions()
        pool.connectFailed(up(1), .connectTimeout)
        _ = pool.actions()
        pool.pass(.milliseconds(50))
        #expect(pool.lease(.shared) == .granted(only))
        #expect(pool.actions() == [.dial(up(1, 1), db0)])
        #expect(pool.lease(.shared) == .granted(only))
        pool.connected(up(1, 1))
        #expect(pool.lease(.shared) == .granted(up(1, 1)))
    }

    @Test("who waits for a dial until the deadline is put on the stalled upstream, if it is his")
    func deadlineBesideStalled() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 1))
        pool.warm()
        let only = pool.granted(.shared)
        pool.pass(.milliseconds(11))
        pool.queued(.shared, by: 2)
        pool.queued(.slow, by: 3)
        pool.queued(.shared, otherUser, by: 4)
        pool.queued(.pin, by: 5)
        _ = pool.actions()
        pool.pass(.milliseconds(800))
        pool.tick()
        #expect(
            pool.actions() == [
                .grant(client(2), only), .grant(client(3), only),
                .refuse(client(4), .poolTimeout), .refuse(client(5), .poolTimeout),
            ])
        #expect(pool.counters.waitTimeouts == 2)
    }

    @Test("a stalled upstream takes commands up to its hard limit")
    func hardLimit() {
        let pool = PoolScript(PoolLimits(maxOpen: 1, minIdle: 1, maxPipeline: 2))
        pool.warm()
        let only = pool.granted(.shared)
        pool.pass(.milliseconds(11))
        for _ in 1..<32 { #expect(pool.lease(.shared) == .granted(only)) }
        pool.queued(.shared, by: 2)
        pool.pass(.milliseconds(800))
        pool.tick()
        #expect(pool.actions() == [.refuse(client(2), .poolTimeout)])
    }

    @Test("a connection lost while it is dialled is a failed dial")
    func lostWhileDialled() {
        let pool = PoolScript(PoolLimits(maxOpen: 4))
        pool.queued(.shared, by: 2)
        pool.lost(up(0), .upstreamReset)
        #expect(pool.consecutiveFailures == 1)
        #expect(pool.counters.dialFailures == 1)
        #expect(pool.counters.closes(.upstreamReset) == 1)
    }
}
