import Pool
import Testing

@Suite("Getting another upstream")
struct AcquireTests {
    @Test("an idle upstream of the same user is converted rather than a new one dialled")
    func converts() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1))
        pool.warm()
        pool.queued(.shared, db1, by: 2)
        #expect(pool.actions() == [.convert(up(0), from: db0, to: db1)])
        #expect(pool.census.converting == 1)
        pool.converted(up(0))
        #expect(pool.actions() == [.grant(client(2), up(0))])
        #expect(pool.counters.conversions == 1)
    }

    @Test("the upstream that was idle longest is converted")
    func convertsTheColdest() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 2))
        pool.warm()
        let hot = pool.granted(.pin)
        pool.release(hot)
        pool.queued(.pin, db1, by: 2)
        #expect(pool.actions() == [.convert(hot == up(0) ? up(1) : up(0), from: db0, to: db1)])
    }

    @Test("a failed conversion costs the upstream, and the waiter gets another one")
    func conversionFails() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1))
        pool.warm()
        pool.queued(.shared, db1, by: 2)
        _ = pool.actions()
        pool.lost(up(0), .conversionFailed)
        #expect(pool.actions() == [.dial(up(0, 1), db1)])
        #expect(pool.counters.closes(.conversionFailed) == 1)
    }

    @Test("an upstream of another user is never converted")
    func usersApart() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1))
        pool.warm()
        pool.queued(.shared, otherUser, by: 2)
        #expect(pool.actions() == [.dial(up(1), otherUser)])
    }

    @Test("in a full pool an idle upstream of another user makes room, and its slot is dialled")
    func replaces() {
        let pool = PoolScript(PoolLimits(maxOpen: 1, minIdle: 1))
        pool.warm()
        pool.queued(.shared, otherUser, by: 2)
        #expect(pool.actions() == [.close(up(0), .replaced)])
        pool.queued(.shared, otherUser, by: 3)
        #expect(pool.actions() == [])
        pool.closed(up(0))
        #expect(pool.actions() == [.dial(up(0, 1), otherUser)])
        pool.connected(up(0, 1))
        #expect(
            pool.actions() == [.grant(client(2), up(0, 1)), .grant(client(3), up(0, 1))])
    }

    @Test("no more than a quarter of the pool is dialled at the same time")
    func dialCap() {
        let pool = PoolScript(PoolLimits(maxOpen: 8))
        for id in 1...6 { pool.queued(.pin, by: UInt64(id)) }
        #expect(pool.actions() == [.dial(up(0), db0), .dial(up(1), db0)])
        pool.connected(up(0))
        #expect(pool.actions() == [.dial(up(2), db0)])
        pool.connected(up(1))
        #expect(pool.actions() == [.grant(client(1), up(1)), .dial(up(3), db0)])
    }

    @Test("closing connections count until the server's end is seen, or closeTimeout")
    func closingCounts() {
        let pool = PoolScript(PoolLimits(maxOpen: 2, maxPinned: 1, minIdle: 2))
        pool.warm()
        pool.retire(pool.granted(.control), .dirty)
        pool.retire(pool.granted(.control), .dirty)
        #expect(pool.census.open == 2)
        pool.queued(.shared, by: 1)
        #expect(pool.actions() == [.close(up(1), .dirty), .close(up(0), .dirty)])
        pool.closed(up(1))
        #expect(pool.actions() == [.dial(up(1, 1), db0)])
        pool.pass(.seconds(1))
        pool.tick()
        #expect(pool.census.closing == 0)
        #expect(pool.counters.closes(.dirty) == 2)
    }

    @Test("events of connections that are gone are ignored")
    func staleIdentifiers() {
        let pool = PoolScript(PoolLimits(maxOpen: 2, minIdle: 1))
        pool.warm()
        let stale = pool.granted(.shared)
        pool.lost(stale)
        pool.tick()
        let census = pool.census
        let counters = pool.counters
        pool.add(stale)
        pool.finish(stale)
        pool.settle(stale)
        pool.release(stale)
        pool.rekey(stale, db1)
        pool.retire(stale, .dirty)
        pool.setAvailable(stale, false)
        pool.connected(stale)
        pool.connectFailed(stale)
        pool.converted(stale)
        pool.probed(stale)
        pool.lost(stale)
        pool.closed(stale)
        pool.closed(up(9))
        #expect(pool.census == census)
        #expect(pool.counters == counters)
    }

    @Test("upstreams of a key that is busy alone yield to a waiter of another key in the end")
    func starvingKey() {
        let pool = PoolScript(PoolLimits(maxOpen: 1, minIdle: 1))
        pool.warm()
        let only = pool.granted(.shared)
        pool.queued(.shared, db1, by: 2)
        pool.pass(.milliseconds(100))
        pool.tick()
        pool.queued(.shared, by: 3)
        pool.finish(only)
        pool.settle(only)
        #expect(pool.actions() == [.convert(only, from: db0, to: db1)])
        pool.converted(only)
        #expect(pool.actions() == [.grant(client(2), only)])
    }

    @Test("an upstream stops yielding when nobody starves any more")
    func yieldingEnds() {
        let pool = PoolScript(PoolLimits(maxOpen: 1, minIdle: 1))
        pool.warm()
        let only = pool.granted(.shared)
        let ticket = pool.queued(.shared, db1, by: 2)
        pool.pass(.milliseconds(100))
        pool.tick()
        pool.cancel(ticket)
        pool.tick()
        #expect(pool.lease(.shared) == .granted(only))
    }

    @Test("where a key has several upstreams, one of those yields, not another key's only one")
    func surplusYieldsFirst() {
        let pool = PoolScript(
            PoolLimits(maxOpen: 4, minIdle: 2, maxPipeline: 1, slowThreshold: .seconds(9)))
        pool.warm()
        let zero = pool.granted(.shared)
        pool.queued(.shared, db1, by: 1)
        for case .convert(let id, _, _) in pool.actions() { pool.converted(id) }
        _ = pool.lease(.shared, db1, by: 2)
        for case .dial(let id, _) in pool.actions() { pool.connected(id) }
        _ = pool.lease(.shared, db1, by: 3)
        #expect(pool.census.shared == 3)
        pool.queued(.shared, resp3, by: 4)
        pool.pass(.milliseconds(100))
        pool.tick()
        _ = pool.actions()
        #expect(pool.lease(.shared) == .granted(zero))
    }

    @Test("an upstream that was not let into a database is of use where it is")
    func notLetIn() {
        let pool = PoolScript(PoolLimits(maxOpen: 1, minIdle: 0))
        pool.queued(.shared, db1, by: 1)
        _ = pool.actions()
        pool.connected(up(0), as: db0)
        #expect(pool.actions() == [.convert(up(0), from: db0, to: db1)])
        let ticket = pool.queued(.shared, db0, by: 2)
        pool.converted(up(0), as: db0)
        #expect(pool.actions() == [.grant(client(2), up(0))])
        pool.cancel(ticket)
        pool.finish(up(0))
        pool.settle(up(0))
        #expect(pool.actions() == [.convert(up(0), from: db0, to: db1)])
        pool.converted(up(0))
        #expect(pool.actions() == [.grant(client(1), up(0))])
    }

    @Test("a pin that cannot be had takes no upstream from those who can use it")
    func hopelessPin() {
        let pool = PoolScript(PoolLimits(maxOpen: 2, maxPinned: 1, minIdle: 2))
        pool.warm()
        _ = pool.granted(.pin)
        let control = pool.granted(.control)
        pool.queued(.pin, by: 1)
        pool.queued(.shared, db1, by: 2)
        pool.queued(.shared, by: 3)
        pool.pass(.milliseconds(300))
        pool.release(control)
        #expect(pool.actions() == [.convert(control, from: db0, to: db1)])
        pool.converted(control)
        #expect(pool.actions() == [.grant(client(2), control)])
    }
}
