import Pool
import Testing

@Suite("Idle upstreams")
struct IdleTests {
    @Test("the first ticks open minIdle upstreams, a quarter of the pool at a time")
    func minIdle() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 3))
        #expect(pool.actions() == [])
        pool.tick()
        #expect(pool.actions() == [.dial(up(0), db0), .dial(up(1), db0)])
        pool.connected(up(0))
        pool.tick()
        #expect(pool.actions() == [.dial(up(2), db0)])
        pool.connected(up(1))
        pool.connected(up(2))
        pool.tick()
        #expect(pool.actions() == [])
        #expect(pool.census.idle == 3)
    }

    @Test("pinned upstreams are not ready, so minIdle is filled up beside them")
    func minIdleBesidePins() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 2))
        pool.warm()
        _ = pool.granted(.pin)
        pool.tick()
        #expect(pool.actions() == [.dial(up(2), db0)])
    }

    @Test("the most recently used upstream is used first")
    func lastInFirstOut() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 3))
        pool.warm()
        let first = pool.granted(.pin)
        let second = pool.granted(.pin)
        pool.release(second)
        pool.release(first)
        #expect(pool.lease(.pin) == .granted(first))
        #expect(pool.lease(.pin) == .granted(second))
    }

    @Test("above maxIdle the longest idle upstream is closed at once")
    func maxIdle() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, maxIdle: 1, minIdle: 1))
        pool.warm()
        let first = pool.granted(.control)
        pool.queued(.control, by: 2)
        _ = pool.actions()
        pool.connected(up(1))
        _ = pool.actions()
        pool.release(first)
        #expect(pool.actions() == [])
        pool.release(up(1))
        #expect(pool.actions() == [.close(first, .maxIdle)])
        #expect(pool.census.idle == 1)
    }

    @Test("a fresh upstream too many stays until the next tick")
    func freshOneTooMany() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, maxIdle: 0, maxPipeline: 1))
        pool.queued(.shared, by: 1)
        pool.connected(up(0))
        _ = pool.granted(.shared)
        _ = pool.actions()
        pool.connected(up(1))
        #expect(pool.census.idle == 1)
        pool.tick()
        #expect(pool.actions() == [.close(up(1), .maxIdle)])
    }

    @Test("idleTimeout closes idle upstreams down to minIdle")
    func idleTimeout() {
        let limits = PoolLimits(maxOpen: 8, minIdle: 3, idleTimeout: .seconds(60))
        let pool = PoolScript(limits)
        pool.warm()
        pool.setLimits(PoolLimits(maxOpen: 8, minIdle: 1, idleTimeout: .seconds(60)))
        pool.pass(.seconds(60) - 1)
        pool.tick()
        #expect(pool.actions() == [])
        pool.pass(1)
        pool.tick()
        #expect(pool.actions() == [.close(up(0), .idleTimeout), .close(up(1), .idleTimeout)])
        #expect(pool.census.idle == 1)
    }

    @Test("maxLifetime retires an idle upstream, with ten percent of jitter either way")
    func maxLifetime() {
        var lifetimes: Set<Int64> = []
        for seed in 1...30 {
            let limits = PoolLimits(maxOpen: 4, minIdle: 1, maxLifetime: .seconds(100))
            let pool = PoolScript(limits, seed: UInt64(seed))
            pool.warm()
            var age: Int64 = 0
            while pool.counters.closes(.maxLifetime) == 0, age < 200 {
                pool.pass(.seconds(1))
                age += 1
                pool.tick()
                if pool.actions().contains(.close(up(0), .maxLifetime)) { pool.closed(up(0)) }
            }
            lifetimes.insert(age)
        }
        #expect(lifetimes.min()! >= 90 && lifetimes.max()! <= 110)
        #expect(lifetimes.count > 5)
    }

    @Test("past its lifetime a leased upstream is retired when it is released or settled")
    func lifetimeOfLeased() {
        let limits = PoolLimits(maxOpen: 4, minIdle: 2, maxLifetime: .seconds(10))
        let pool = PoolScript(limits)
        pool.warm()
        let pinned = pool.granted(.pin)
        let shared = pool.granted(.shared)
        pool.pass(.seconds(12))
        pool.release(pinned)
        pool.finish(shared)
        pool.settle(shared)
        #expect(pool.actions() == [.close(pinned, .maxLifetime), .close(shared, .maxLifetime)])
    }

    @Test("a shared upstream that never runs empty is replaced when its lifetime is over")
    func lifetimeOfBusy() {
        let limits = PoolLimits(maxOpen: 4, minIdle: 1, maxLifetime: .seconds(10))
        let pool = PoolScript(limits)
        pool.warm()
        let old = pool.granted(.shared)
        pool.pass(.seconds(12))
        pool.finish(old)
        _ = pool.granted(.shared)
        pool.tick()
        #expect(pool.actions() == [.dial(up(1), db0)])
        #expect(pool.lease(.shared) == .granted(old))
        pool.connected(up(1))
        pool.tick()
        #expect(pool.lease(.shared) == .granted(up(1)))
        #expect(pool.actions() == [])
        pool.finish(old)
        pool.finish(old)
        pool.settle(old)
        #expect(pool.actions() == [.close(old, .maxLifetime)])
    }

    @Test("a busy upstream past its lifetime goes on if it cannot be replaced")
    func lifetimeOfOnly() {
        let limits = PoolLimits(maxOpen: 1, minIdle: 1, maxLifetime: .seconds(10))
        let pool = PoolScript(limits)
        pool.warm()
        let old = pool.granted(.shared)
        pool.pass(.seconds(12))
        pool.tick()
        #expect(pool.actions() == [])
        #expect(pool.lease(.shared) == .granted(old))
    }
}

@Suite("Probes")
struct ProbeTests {
    private func warmPool(pingInterval: Int64 = .seconds(30), minIdle: Int = 1) -> PoolScript {
        let pool = PoolScript(
            PoolLimits(maxOpen: 8, minIdle: minIdle, pingInterval: pingInterval))
        pool.warm()
        return pool
    }

    @Test("an upstream idle for pingInterval, or up to ten percent less, is probed")
    func due() {
        let pool = warmPool()
        pool.pass(.seconds(27) - 1)
        pool.tick()
        #expect(pool.actions() == [])
        pool.pass(.seconds(3) + 1)
        pool.tick()
        #expect(pool.actions() == [.probe(up(0))])
        #expect(pool.nextDeadline == pool.now + .seconds(1))
    }

    @Test("a probed upstream is not leasable until it answered, and then handed over")
    func notLeasable() {
        let pool = warmPool()
        pool.pass(.seconds(30))
        pool.tick()
        pool.queued(.shared, by: 2)
        #expect(pool.actions() == [.probe(up(0))])
        pool.probed(up(0))
        #expect(pool.actions() == [.grant(client(2), up(0))])
    }

    @Test("a probe does not make the upstream younger for idleTimeout")
    func idleTimeGoesOn() {
        let limits = PoolLimits(
            maxOpen: 8, maxIdle: 2, minIdle: 1, idleTimeout: .seconds(40),
            pingInterval: .seconds(30))
        let pool = PoolScript(limits)
        pool.warm()
        pool.pass(.seconds(30))
        pool.tick()
        pool.probed(up(0))
        _ = pool.actions()
        pool.setLimits(
            PoolLimits(maxOpen: 8, idleTimeout: .seconds(40), pingInterval: .seconds(30)))
        pool.pass(.seconds(10))
        pool.tick()
        #expect(pool.actions() == [.close(up(0), .idleTimeout)])
    }

    @Test("an unanswered probe retires the upstream")
    func unanswered() {
        let pool = warmPool()
        pool.pass(.seconds(30))
        pool.tick()
        _ = pool.actions()
        pool.pass(.seconds(1))
        pool.tick()
        #expect(pool.actions() == [.close(up(0), .pingFailed), .dial(up(1), db0)])
        #expect(pool.counters.probeFailures == 1)
        pool.probed(up(0))
        #expect(pool.census.closing == 1)
    }

    @Test("an upstream lost during its probe is a failed probe")
    func lostWhileProbed() {
        let pool = warmPool()
        pool.pass(.seconds(30))
        pool.tick()
        pool.lost(up(0), .upstreamReset)
        #expect(pool.counters.probes == 1)
        #expect(pool.counters.probeFailures == 1)
        #expect(pool.counters.closes(.upstreamReset) == 1)
    }

    @Test("after an answered probe the next one is due an interval later")
    func again() {
        let pool = warmPool()
        pool.pass(.seconds(30))
        pool.tick()
        pool.probed(up(0))
        _ = pool.actions()
        pool.pass(.seconds(26))
        pool.tick()
        #expect(pool.actions() == [])
        pool.pass(.seconds(4))
        pool.tick()
        #expect(pool.actions() == [.probe(up(0))])
    }

    @Test("the probe interval can be shortened for the server's own timeout, or switched off")
    func interval() {
        let pool = warmPool()
        pool.setPingInterval(.seconds(1))
        pool.pass(.seconds(1))
        pool.tick()
        #expect(pool.actions() == [.probe(up(0))])
        pool.probed(up(0))
        pool.setPingInterval(0)
        pool.pass(.seconds(1000))
        pool.tick()
        #expect(pool.actions() == [])
    }

    @Test("an interval of any length is one", arguments: [.min, -1, .max / 2, .max - 1, .max])
    func extremeInterval(interval: Int64) {
        let pool = warmPool()
        pool.setPingInterval(interval)
        pool.pass(.seconds(1_000_000_000))
        pool.tick()
        #expect(pool.actions() == [])
    }

    @Test("probes of several upstreams are spread")
    func spread() {
        let pool = warmPool(minIdle: 6)
        var moments: Set<Int> = []
        pool.pass(.seconds(27))
        for moment in 0...30 {
            pool.tick()
            for case .probe(let id) in pool.actions() {
                moments.insert(moment)
                pool.probed(id)
            }
            pool.pass(.milliseconds(100))
        }
        #expect(moments.count > 2)
        #expect(pool.counters.probes == 6)
    }
}
