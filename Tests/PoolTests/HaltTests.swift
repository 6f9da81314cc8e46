import Pool
import Testing

@Suite("A halted pool")
struct HaltTests {
    @Test("what is at rest closes at once, what is at work when it is answered")
    func closes() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 4))
        pool.warm()
        let shared = pool.granted(.shared)
        let pinned = pool.granted(.pin)
        pool.halt()
        #expect(pool.actions() == [.close(up(0), .paused), .close(up(1), .paused)])
        pool.finish(shared)
        pool.settle(shared)
        pool.release(pinned)
        #expect(pool.actions() == [.close(shared, .paused), .close(pinned, .paused)])
    }

    @Test("what is coming is given up")
    func coming() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 1, pingInterval: .seconds(1)))
        pool.warm()
        pool.pass(.seconds(1))
        pool.queued(.shared, db1, by: 1)
        pool.queued(.pin, resp3, by: 2)
        #expect(pool.actions().count == 2)
        pool.halt()
        #expect(pool.actions().count == 2)
        #expect(pool.census.closing == 2)
        pool.connected(up(1))
        #expect(pool.census.idle == 0)
    }

    @Test("nobody is served, nothing is dialled or probed, however long it lasts")
    func nothing() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 2, pingInterval: .seconds(1)))
        pool.warm()
        let shared = pool.granted(.shared)
        pool.halt()
        _ = pool.actions()
        for kind in LeaseKind.allCases { pool.queued(kind, by: UInt64(kind.rawValue)) }
        #expect(!pool.pin(shared))
        #expect(pool.isFull(shared))
        for _ in 0..<100 {
            pool.pass(.seconds(1))
            pool.tick()
        }
        #expect(pool.actions() == [])
        #expect(pool.census.waiting == 4)
        #expect(pool.nextDeadline == nil)
    }

    @Test("waiters have the same time left afterwards as before")
    func standsStill() {
        let pool = PoolScript(
            PoolLimits(maxOpen: 2, poolTimeout: .milliseconds(800)))
        pool.queued(.shared, by: 1)
        _ = pool.actions()
        pool.pass(.milliseconds(500))
        pool.halt()
        pool.pass(.seconds(10))
        pool.queued(.shared, by: 2)
        pool.pass(.seconds(10))
        #expect(pool.oldestWait == .milliseconds(500))
        pool.resume()
        #expect(pool.oldestWait == .milliseconds(500))
        _ = pool.actions()
        pool.pass(.milliseconds(299))
        pool.tick()
        #expect(!pool.actions().contains(.refuse(client(1), .poolTimeout)))
        pool.pass(.milliseconds(1))
        pool.tick()
        #expect(pool.actions().contains(.refuse(client(1), .poolTimeout)))
        pool.pass(.milliseconds(500))
        pool.tick()
        #expect(pool.actions().contains(.refuse(client(2), .poolTimeout)))
        #expect(pool.counters.waitNanoseconds == 1_600_000_000)
    }

    @Test("a waiter that leaves during the halt has not waited for longer than before it")
    func leaves() {
        let pool = PoolScript(PoolLimits(maxOpen: 1))
        let ticket = pool.queued(.shared, by: 1)
        pool.pass(.milliseconds(100))
        pool.halt()
        pool.pass(.seconds(10))
        pool.cancel(ticket)
        #expect(pool.counters.waitNanoseconds == 100_000_000)
        #expect(pool.oldestWait == 0)
    }

    @Test("then waiters are served in their order, and the pool is warm again")
    func resumes() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 2))
        pool.warm()
        pool.halt()
        for case .close(let id, _) in pool.actions() { pool.closed(id) }
        pool.queued(.shared, by: 1)
        pool.queued(.shared, by: 2)
        pool.resume()
        let dials = pool.actions()
        #expect(dials.count == 2)
        for case .dial(let id, _) in dials { pool.connected(id) }
        let grants = pool.actions().compactMap { action -> WaiterID? in
            if case .grant(let waiter, _) = action { waiter } else { nil }
        }
        #expect(grants == [client(1), client(2)])
    }

    @Test("what is at work still takes work again")
    func goesOn() {
        let pool = PoolScript(PoolLimits(maxOpen: 1))
        pool.queued(.shared, by: 1)
        pool.tick()
        for case .dial(let id, _) in pool.actions() { pool.connected(id) }
        guard case .grant(_, let id)? = pool.actions().first else {
            Issue.record("not granted")
            return
        }
        pool.halt()
        pool.queued(.shared, by: 2)
        pool.resume()
        #expect(pool.actions() == [.grant(client(2), id)])
        pool.finish(id)
        pool.finish(id)
        pool.settle(id)
        #expect(pool.actions() == [])
        #expect(pool.census.idle == 1)
    }

    @Test("what retires for another reason still does", arguments: [true, false])
    func otherReason(isFirst: Bool) {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1))
        pool.warm()
        let shared = pool.granted(.shared)
        if isFirst { pool.retire(shared, .failoverSign) }
        pool.halt()
        if !isFirst { pool.retire(shared, .failoverSign) }
        pool.resume()
        _ = pool.actions()
        pool.finish(shared)
        pool.settle(shared)
        #expect(pool.actions().first == .close(shared, .failoverSign))
    }

    @Test("an open breaker refuses nobody during a halt, nor before a dial after it has failed")
    func breaker() {
        let pool = PoolScript(PoolLimits(maxOpen: 1, breakerTime: 0))
        pool.queued(.shared, by: 1)
        for case .dial(let id, _) in pool.actions() { pool.connectFailed(id) }
        #expect(pool.breaker == .open)
        #expect(pool.lease(.shared) == .refused(.upstreamDown))
        _ = pool.actions()
        pool.halt()
        pool.queued(.shared, by: 2)
        pool.resume()
        #expect(pool.breaker == .closed)
        let dials = pool.actions()
        #expect(dials == [.dial(up(0, 1), db0)])
        pool.connectFailed(up(0, 1))
        #expect(pool.actions() == [.refuse(client(2), .upstreamDown)])
    }

    @Test("the releaser is served, over a connection of its own, and nobody else")
    func releaser() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 2))
        pool.warm()
        let pinned = pool.granted(.pin)
        pool.halt()
        for case .close(let id, _) in pool.actions() { pool.closed(id) }
        pool.queued(.control, by: 1)
        guard case .queued = pool.leaseToRelease(by: 2) else {
            Issue.record("not queued")
            return
        }
        let dials = pool.actions()
        guard case .dial(let id, db0)? = dials.first, dials.count == 1 else {
            Issue.record("not one dial: \(dials)")
            return
        }
        pool.connected(id)
        #expect(pool.actions() == [.grant(client(2), id)])
        #expect(pool.census.control == 1)
        pool.release(id)
        #expect(pool.actions() == [.close(id, .paused)])
        #expect(pool.census.waiting == 1)
        pool.release(pinned)
        #expect(pool.actions() == [.close(pinned, .paused)])
    }

    @Test("the releaser may use what another lease leaves, but not one of another user")
    func releaserTakesOver() {
        let pool = PoolScript(PoolLimits(maxOpen: 3, minIdle: 3))
        pool.warm()
        let first = pool.granted(.pin)
        let second = pool.granted(.control)
        let third = pool.granted(.control)
        pool.halt()
        guard case .queued = pool.leaseToRelease(by: 2) else {
            Issue.record("not queued")
            return
        }
        #expect(pool.actions() == [])
        pool.rekey(first, otherUser)
        pool.release(first, otherUser)
        #expect(pool.actions() == [.close(first, .paused)])
        pool.release(second)
        #expect(pool.actions() == [.grant(client(2), second)])
        pool.release(third)
        #expect(pool.actions() == [.close(third, .paused)])
    }

    @Test("a releaser that gives up leaves nothing behind")
    func releaserLeaves() {
        let pool = PoolScript(PoolLimits(maxOpen: 3))
        pool.halt()
        guard case .queued(let ticket) = pool.leaseToRelease(by: 2) else {
            Issue.record("not queued")
            return
        }
        pool.cancel(ticket)
        for case .dial(let id, _) in pool.actions() { pool.connected(id) }
        #expect(pool.actions() == [.close(up(0), .paused)])
        pool.closed(up(0))
        pool.tick()
        #expect(pool.actions() == [])
    }

    @Test("a drain during a halt refuses those who wait")
    func drain() {
        let pool = PoolScript(PoolLimits(maxOpen: 3))
        pool.halt()
        pool.queued(.shared, by: 1)
        pool.drain()
        #expect(pool.actions() == [.refuse(client(1), .draining)])
        #expect(pool.lease(.shared) == .refused(.draining))
    }

    @Test("halting twice and resuming twice change nothing more")
    func twice() {
        let pool = PoolScript(PoolLimits(maxOpen: 1, poolTimeout: .seconds(1)))
        pool.queued(.shared, by: 1)
        _ = pool.actions()
        pool.halt()
        pool.pass(.seconds(5))
        pool.halt()
        #expect(pool.oldestWait == 0)
        pool.resume()
        pool.pass(.milliseconds(100))
        pool.resume()
        #expect(pool.oldestWait == .milliseconds(100))
    }
}

@Suite("All upstreams are replaced")
struct ReplaceTests {
    @Test("idle ones at once, shared ones when they are answered, and waiters lose nothing")
    func replaces() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 3))
        pool.warm()
        let shared = pool.granted(.shared)
        let pinned = pool.granted(.pin)
        pool.replaceAll()
        let actions = pool.actions()
        #expect(actions.contains(.close(up(0), .reconnect)))
        #expect(!actions.contains(.close(shared, .reconnect)))
        #expect(!actions.contains(.close(pinned, .reconnect)))
        // Those that are kept ready are dialled again at once.
        #expect(actions.contains { if case .dial = $0 { true } else { false } })
        pool.queued(.shared, by: 9)
        pool.finish(shared)
        pool.settle(shared)
        #expect(pool.actions().contains(.close(shared, .reconnect)))
        #expect(pool.counters.refusedWaiters == 0)
    }
}
