import Pool
import Testing

@Suite("The end of upstreams, and of the pool")
struct EndTests {
    @Test("a lost upstream's slot is free at once")
    func lost() {
        let pool = PoolScript(PoolLimits(maxOpen: 1, minIdle: 1))
        pool.warm()
        let id = pool.granted(.shared)
        _ = pool.actions()
        pool.lost(id)
        #expect(pool.census.open == 0)
        pool.queued(.shared, by: 2)
        #expect(pool.actions() == [.dial(up(0, 1), db0)])
    }

    @Test("retire closes an idle or exclusive upstream at once, a shared one when it settles")
    func retire() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 3))
        pool.warm()
        let pinned = pool.granted(.pin)
        let shared = pool.granted(.shared)
        pool.retire(pinned, .dirty)
        pool.retire(shared, .failoverSign)
        pool.retire(up(0), .addressChanged)
        #expect(pool.actions() == [.close(pinned, .dirty), .close(up(0), .addressChanged)])
        pool.queued(.shared, by: 5)
        pool.finish(shared)
        pool.settle(shared)
        #expect(pool.actions().last == .close(shared, .failoverSign))
    }

    @Test("retire while connecting or closing does no harm")
    func retireElsewhere() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 1))
        pool.tick()
        pool.retire(up(0), .addressChanged)
        pool.retire(up(0), .dirty)
        pool.connected(up(0))
        #expect(pool.actions() == [.dial(up(0), db0), .close(up(0), .addressChanged)])
        pool.lost(up(0), .upstreamReset)
        #expect(pool.counters.closes(.addressChanged) == 1)
    }

    @Test("a dial that was given up and fails frees its slot, and is no sign of failure")
    func failureOfAbandonedDial() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 1))
        pool.tick()
        pool.retire(up(0), .addressChanged)
        pool.connectFailed(up(0))
        #expect(pool.census.open == 0)
        #expect(pool.consecutiveFailures == 0)
        #expect(pool.counters.closes(.addressChanged) == 1)
    }

    @Test("closed for an upstream that we did not close means that the server did")
    func closedByServer() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 1))
        pool.warm()
        pool.closed(up(0))
        #expect(pool.counters.closes(.upstreamClosed) == 1)
    }

    @Test("drain refuses waiters and newcomers, closes the unused, and lets leases end")
    func drain() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, maxPinned: 1, minIdle: 4))
        pool.warm()
        let pinned = pool.granted(.pin)
        let shared = pool.granted(.shared)
        pool.queued(.pin, by: 3)
        _ = pool.actions()
        pool.drain()
        #expect(
            pool.actions() == [
                .refuse(client(3), .draining), .close(up(0), .drain), .close(up(1), .drain),
            ])
        #expect(pool.isDraining)
        #expect(pool.lease(.shared) == .refused(.draining))
        pool.finish(shared)
        pool.settle(shared)
        pool.release(pinned)
        #expect(pool.actions() == [.close(shared, .drain), .close(pinned, .drain)])
        for slot in 0..<4 { pool.closed(up(UInt32(slot))) }
        pool.pass(.seconds(60))
        pool.tick()
        #expect(pool.census.open == 0)
        #expect(pool.actions() == [])
    }

    @Test("lower limits close idle upstreams at once, and leased ones when they end")
    func lowerLimits() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 4))
        pool.warm()
        let first = pool.granted(.pin)
        let second = pool.granted(.pin)
        pool.setLimits(PoolLimits(maxOpen: 1))
        #expect(
            pool.actions() == [.close(up(0), .configChanged), .close(up(1), .configChanged)])
        pool.closed(up(0))
        pool.closed(up(1))
        pool.release(first)
        #expect(pool.actions() == [.close(first, .configChanged)])
        pool.closed(first)
        pool.release(second)
        #expect(pool.actions() == [])
        #expect(pool.census.open == 1)
    }

    @Test("higher limits serve those who wait for them")
    func higherLimits() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, maxPinned: 1, minIdle: 3))
        pool.warm()
        _ = pool.granted(.pin)
        pool.queued(.pin, by: 2)
        pool.setLimits(PoolLimits(maxOpen: 4, maxPinned: 2, minIdle: 2))
        #expect(pool.actions() == [.grant(client(2), up(1))])
    }

    @Test("a new lifetime holds for connections that exist")
    func newLifetime() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1))
        pool.warm()
        pool.pass(.seconds(100))
        pool.setLimits(PoolLimits(maxOpen: 4, maxLifetime: .seconds(10)))
        pool.tick()
        #expect(pool.actions() == [.close(up(0), .maxLifetime)])
    }

    @Test("keys that are used no more leave nothing behind")
    func keysAreReclaimed() {
        let pool = PoolScript(PoolLimits(maxOpen: 2, minIdle: 1))
        pool.warm()
        for database in 0..<100 {
            let key = PoolKey(user: 0, protocolVersion: 2, database: UInt32(database))
            let id = pool.granted(.control, database == 0 ? db0 : key)
            let next = PoolKey(user: 0, protocolVersion: 2, database: UInt32(database + 1))
            pool.release(id, next)
            pool.tick()
            for case .dial(let id, _) in pool.actions() { pool.connectFailed(id) }
        }
        #expect(pool.census.idle == 1)
    }
}

@Suite("Limits and words")
struct LimitsTests {
    @Test("limits are clamped to what is consistent")
    func clamps() {
        let limits = PoolLimits(maxOpen: 0, maxPinned: 9, maxIdle: 9, minIdle: 9, maxPipeline: 0)
        #expect(limits.maxOpen == 1)
        #expect(limits.maxPinned == 0)
        #expect(limits.maxIdle == 1)
        #expect(limits.minIdle == 1)
        #expect(limits.maxPipeline == 1)
    }

    @Test(
        "maxPinned leaves an eighth, and always one for shared commands and one for control",
        arguments: [(1, 0), (2, 1), (3, 1), (4, 2), (8, 6), (16, 14), (32, 28), (10_000, 8750)])
    func pins(maxOpen: Int, expected: Int) {
        #expect(PoolLimits(maxOpen: maxOpen).maxPinned == expected)
    }

    @Test("an explicit maxPinned may leave a single upstream, which is for shared commands")
    func explicitPins() {
        #expect(PoolLimits(maxOpen: 4, maxPinned: 3).maxPinned == 3)
        #expect(PoolLimits(maxOpen: 4, maxPinned: 4).maxPinned == 3)
        let pool = PoolScript(PoolLimits(maxOpen: 4, maxPinned: 3, minIdle: 4))
        pool.warm()
        for _ in 0..<3 { _ = pool.granted(.pin) }
        _ = pool.granted(.shared)
        #expect(pool.census.idle == 0)
    }

    @Test("every reason and refusal has a word of its own, in snake case")
    func words() {
        let words = CloseReason.allCases.map(\.word) + Refusal.allCases.map(\.word)
        #expect(Set(words).count == CloseReason.allCases.count + Refusal.allCases.count)
        #expect(words.allSatisfy { $0.allSatisfy { $0.isLowercase || $0 == "_" } })
        #expect(CloseReason.maxIdle.word == "max_idle")
    }

    @Test("every reason can be counted")
    func counted() {
        for reason in CloseReason.allCases {
            let pool = PoolScript(PoolLimits(maxOpen: 1, minIdle: 1))
            pool.warm()
            pool.lost(up(0), reason)
            #expect(pool.counters.closes(reason) == 1)
            #expect(pool.counters.allCloses == 1)
            #expect(pool.counters.opens == 1)
        }
    }

    @Test("moments compare, and differ by nanoseconds")
    func time() {
        let start = MonotonicTime(nanoseconds: 5)
        #expect(start + .milliseconds(1) == MonotonicTime(nanoseconds: 1_000_005))
        #expect((start + .seconds(2)) - start == 2_000_000_000)
        #expect(start < start + 1)
    }
}
