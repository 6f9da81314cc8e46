import Pool
import Testing

@Suite("Pins and control leases")
struct ExclusiveTests {
    @Test("a pin is exclusive: nobody else gets its upstream")
    func exclusive() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 2))
        pool.warm()
        let pinned = pool.granted(.pin)
        let shared = pool.granted(.shared)
        #expect(shared != pinned)
        #expect(pool.census.pinned == 1)
        #expect(pool.isExclusivelyLeased(pinned))
        #expect(!pool.isExclusivelyLeased(shared))
        pool.release(pinned)
        #expect(!pool.isExclusivelyLeased(pinned))
    }

    @Test("pins need one upstream each")
    func oneEach() {
        let pool = PoolScript(PoolLimits(maxOpen: 16))
        for id in 1...3 { pool.queued(.pin, by: UInt64(id)) }
        #expect(pool.actions() == [.dial(up(0), db0), .dial(up(1), db0), .dial(up(2), db0)])
    }

    @Test("a released upstream goes to the first waiter in the same call")
    func handOver() {
        let pool = PoolScript(PoolLimits(maxOpen: 2, minIdle: 2))
        pool.warm()
        let id = pool.granted(.pin)
        pool.queued(.pin, by: 2)
        pool.queued(.pin, by: 3)
        _ = pool.actions()
        pool.release(id)
        #expect(pool.actions() == [.grant(client(2), id)])
        pool.release(id)
        #expect(pool.actions() == [.grant(client(3), id)])
        pool.release(id)
        #expect(pool.census.idle == 2)
    }

    @Test("pins are bounded, and the rest waits although upstreams are idle")
    func pinLimit() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, maxPinned: 2, minIdle: 4))
        pool.warm()
        let first = pool.granted(.pin)
        _ = pool.granted(.pin)
        pool.queued(.pin, by: 3)
        #expect(pool.actions() == [])
        #expect(pool.census.idle == 2)
        _ = pool.granted(.shared)
        pool.lost(first)
        #expect(pool.actions().first == .grant(client(3), up(0)))
    }

    @Test("a pool of one has no pins: they are refused at once")
    func poolOfOne() {
        let pool = PoolScript(PoolLimits(maxOpen: 1))
        #expect(pool.lease(.pin) == .refused(.pinLimit))
    }

    @Test("pins never take what shared commands need")
    func sharedIsNeverStarved() {
        for maxOpen in 2...9 {
            let pool = PoolScript(PoolLimits(maxOpen: maxOpen, maxPinned: 100, minIdle: maxOpen))
            pool.warm()
            for id in 1...10 { _ = pool.lease(.pin, by: UInt64(id)) }
            _ = pool.granted(.shared)
        }
    }

    @Test(
        "a pin leaves an upstream to shared commands, and another one is its own once it is there")
    func lastUpstream() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1))
        pool.warm()
        pool.queued(.pin, by: 2)
        #expect(pool.actions() == [.dial(up(1), db0)])
        #expect(pool.lease(.shared) == .granted(up(0)))
        pool.finish(up(0))
        pool.settle(up(0))
        pool.connected(up(1))
        #expect(pool.actions() == [.grant(client(2), up(1))])
        #expect(pool.lease(.shared) == .granted(up(0)))
    }

    @Test("while the server refuses connections pins wait, and the only upstream stays shared")
    func serverIsFull() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1, breakerTime: 0))
        pool.warm()
        pool.queued(.pin, by: 2)
        pool.queued(.pin, db1, by: 3)
        #expect(pool.actions() == [.dial(up(1), db0)])
        pool.connectFailed(up(1), .handshakeFailed)
        for _ in 0..<7 {
            pool.pass(.milliseconds(100))
            pool.tick()
            #expect(pool.actions() == [])
            #expect(pool.lease(.shared) == .granted(up(0)))
            pool.finish(up(0))
            pool.settle(up(0))
        }
        pool.pass(.milliseconds(100))
        pool.tick()
        #expect(
            pool.actions() == [
                .refuse(client(2), .upstreamDown), .refuse(client(3), .upstreamDown),
            ])
        pool.pass(.milliseconds(200))
        pool.tick()
        pool.connected(up(1, 1))
        _ = pool.granted(.pin)
        #expect(pool.lease(.shared) == .granted(up(0)))
    }

    @Test(
        "one particular upstream is not pinned either if it is the only one, but another is dialled"
    )
    func lastInParticular() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1))
        pool.warm()
        #expect(!pool.pin(up(0)))
        #expect(!pool.pin(up(0)))
        #expect(pool.actions() == [.dial(up(1), db0)])
        pool.connected(up(1))
        #expect(pool.pin(up(0)))
    }

    @Test("no other is dialled for one that could not be pinned anyway")
    func closingInParticular() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1))
        pool.warm()
        pool.retire(up(0), .failoverSign)
        _ = pool.actions()
        #expect(!pool.pin(up(0)))
        #expect(pool.actions().isEmpty)
    }

    @Test("pins and shared commands leave one upstream for control")
    func controlReserve() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 4, maxPipeline: 1))
        pool.warm()
        _ = pool.granted(.pin)
        _ = pool.granted(.shared)
        _ = pool.granted(.shared)
        let fourth = pool.granted(.shared)
        #expect(pool.census.idle == 1)
        let control = pool.granted(.control)
        #expect(control != fourth)
        pool.release(control)
        #expect(pool.census.idle == 1)
    }

    @Test("control may dial the last slot, others may not")
    func controlDials() {
        let pool = PoolScript(PoolLimits(maxOpen: 3, minIdle: 1))
        pool.warm()
        _ = pool.granted(.shared)
        pool.queued(.pin, by: 2)
        _ = pool.actions()
        pool.connected(up(1))
        _ = pool.actions()
        pool.queued(.shared, db1, by: 3)
        #expect(pool.actions() == [])
        pool.queued(.control, by: 4)
        #expect(pool.actions() == [.dial(up(2), db0)])
        pool.connected(up(2))
        #expect(pool.actions() == [.grant(client(4), up(2))])
    }

    @Test("control takes an idle upstream in any database, of its protocol")
    func controlInAnyDatabase() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1))
        pool.warm()
        let control = pool.granted(.control, db1)
        pool.release(control, db0)
        pool.queued(.control, resp3, by: 2)
        #expect(pool.actions() == [.convert(control, from: db0, to: resp3)])
    }

    @Test("control converts no upstream to another database while it can dial")
    func controlKeepsDatabases() {
        let pool = PoolScript(PoolLimits(maxOpen: 2, minIdle: 1))
        pool.warm()
        let first = pool.granted(.control)
        pool.release(first, db1)
        pool.queued(.control, resp3, by: 2)
        #expect(pool.actions() == [.dial(up(1), resp3)])
        pool.queued(.control, resp3, by: 3)
        #expect(pool.actions() == [.convert(first, from: db1, to: resp3)])
    }

    @Test("control in a pool of one waits for the shared upstream to run empty")
    func controlSharesASlot() {
        let pool = PoolScript(PoolLimits(maxOpen: 1, minIdle: 1))
        pool.warm()
        let only = pool.granted(.shared)
        pool.queued(.control, by: 2)
        pool.finish(only)
        pool.settle(only)
        #expect(pool.actions() == [.grant(client(2), only)])
    }

    @Test("while pins wait, shared commands do not spread, and what runs empty is pinned")
    func spillYieldsToPins() {
        let pool = PoolScript(
            PoolLimits(maxOpen: 4, maxPinned: 2, minIdle: 4, maxPipeline: 2))
        pool.warm()
        let first = pool.granted(.shared)
        _ = pool.granted(.shared)
        _ = pool.granted(.shared)
        _ = pool.granted(.shared)
        let third = pool.granted(.shared)
        pool.queued(.pin, by: 9)
        // The third has room, but is to run empty.
        #expect(pool.lease(.shared) == .granted(first))
        pool.finish(third)
        pool.settle(third)
        #expect(pool.actions() == [.grant(client(9), third)])
        #expect(pool.lease(.shared) != .granted(third))
    }

    @Test("while pins wait, a key whose only upstream is unavailable may still get another one")
    func availabilityComesFirst() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, maxPinned: 4, minIdle: 1))
        pool.warm()
        pool.setAvailable(pool.granted(.shared), false)
        pool.queued(.pin, by: 1)
        #expect(pool.actions() == [.dial(up(1), db0)])
        pool.queued(.shared, by: 2)
        #expect(pool.actions() == [.dial(up(2), db0)])
    }

    @Test("an upstream released in another state serves waiters of that state")
    func releasedWithAnotherKey() {
        let pool = PoolScript(PoolLimits(maxOpen: 2, minIdle: 2))
        pool.warm()
        let id = pool.granted(.pin)
        pool.queued(.pin, db1, by: 2)
        _ = pool.actions()
        pool.release(id, db1)
        #expect(pool.actions() == [.grant(client(2), id)])
    }

    @Test("a rekeyed pin is counted under its new key when it is released so")
    func rekey() {
        let pool = PoolScript(PoolLimits(maxOpen: 2, minIdle: 1))
        pool.warm()
        let id = pool.granted(.control)
        pool.rekey(id, db1)
        pool.release(id, db1)
        #expect(pool.lease(.shared, db1) == .granted(id))
    }

    @Test("one particular upstream can be pinned while nothing is in flight there")
    func pinThisOne() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, maxPinned: 2, minIdle: 4))
        pool.warm()
        let shared = pool.granted(.shared)
        #expect(!pool.pin(shared))
        pool.finish(shared)
        #expect(pool.pin(shared))
        #expect(!pool.pin(shared))
        #expect(pool.pin(up(0)))
        #expect(!pool.pin(up(1)))
        #expect(pool.census.pinned == 2)
        pool.release(shared)
        #expect(pool.census.idle == 3)
    }

    @Test("pinning one particular upstream keeps to retirement, and to the reserve for control")
    func pinThisOneNot() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 4, maxPipeline: 1))
        pool.warm()
        let shared = pool.granted(.shared)
        pool.retire(shared, .failoverSign)
        pool.finish(shared)
        #expect(!pool.pin(shared))
        _ = pool.granted(.shared)
        _ = pool.granted(.shared)
        #expect(!pool.pin(up(0)))
        #expect(!pool.pin(up(9)))
    }

    @Test("a pin that ends dirty is closed, and its place goes to the next")
    func dirty() {
        let pool = PoolScript(PoolLimits(maxOpen: 2, minIdle: 2))
        pool.warm()
        let id = pool.granted(.pin)
        pool.queued(.pin, by: 2)
        _ = pool.actions()
        pool.retire(id, .dirty)
        #expect(pool.actions() == [.close(id, .dirty)])
        pool.closed(id)
        #expect(pool.actions() == [.dial(up(1, 1), db0)])
        #expect(pool.counters.closes(.dirty) == 1)
    }
}
