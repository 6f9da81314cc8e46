import Pool
import Testing

@Suite("Shared leases")
struct SharedTests {
    @Test("the first lease dials and waits, and the connected upstream goes to it")
    func firstLease() {
        let pool = PoolScript(PoolLimits(maxOpen: 4))
        pool.queued(.shared, by: 1)
        #expect(pool.actions() == [.dial(up(0), db0)])
        pool.connected(up(0))
        #expect(pool.actions() == [.grant(client(1), up(0))])
        #expect(pool.census.shared == 1)
    }

    @Test("one coming upstream covers all shared waiters of its key")
    func oneDialForAll() {
        let pool = PoolScript(PoolLimits(maxOpen: 16))
        for id in 1...5 { pool.queued(.shared, by: UInt64(id)) }
        #expect(pool.actions() == [.dial(up(0), db0)])
        pool.connected(up(0))
        #expect(pool.actions() == (1...5).map { .grant(client($0), up(0)) })
    }

    @Test("one upstream is filled before another one is used")
    func fillsOne() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 3, maxPipeline: 4))
        pool.warm()
        let first = pool.granted(.shared)
        for _ in 2...4 { #expect(pool.lease(.shared) == .granted(first)) }
        let second = pool.granted(.shared)
        #expect(second != first)
        pool.finish(first)
        #expect(pool.lease(.shared) == .granted(first))
        #expect(pool.lease(.shared) == .granted(second))
        #expect(pool.actions() == [])
    }

    @Test("a deep upstream is filled further while another one is opened")
    func overfills() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 1, maxPipeline: 2))
        pool.warm()
        let first = pool.granted(.shared)
        _ = pool.granted(.shared)
        #expect(pool.lease(.shared) == .granted(first))
        #expect(pool.actions() == [.dial(up(1), db0)])
        #expect(pool.lease(.shared) == .granted(first))
        #expect(pool.actions() == [])
        pool.connected(up(1))
        #expect(pool.lease(.shared) == .granted(up(1)))
    }

    @Test("sixteen times the pipeline limit is the end: the next one waits")
    func hardLimit() {
        let pool = PoolScript(PoolLimits(maxOpen: 1, maxPipeline: 2))
        pool.queued(.shared, by: 1)
        pool.connected(up(0))
        for _ in 2...32 { _ = pool.granted(.shared) }
        _ = pool.actions()
        pool.queued(.shared, by: 33)
        #expect(pool.actions() == [])
        pool.finish(up(0))
        #expect(pool.actions() == [.grant(client(33), up(0))])
    }

    @Test("a stalled upstream gets no new work while another one can be had")
    func stalled() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 1))
        pool.warm()
        let first = pool.granted(.shared)
        pool.pass(.milliseconds(10))
        #expect(pool.lease(.shared) == .granted(first))
        pool.pass(1)
        pool.queued(.shared, by: 2)
        #expect(pool.actions() == [.dial(up(1), db0)])
        pool.connected(up(1))
        #expect(pool.actions() == [.grant(client(2), up(1))])
    }

    @Test("a reply ends the stall, and waiters go there without another upstream")
    func stallEnds() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 1))
        pool.warm()
        let first = pool.granted(.shared)
        _ = pool.granted(.shared)
        pool.pass(.milliseconds(11))
        pool.queued(.shared, by: 2)
        _ = pool.actions()
        pool.finish(first)
        #expect(pool.actions() == [.grant(client(2), first)])
    }

    @Test("when no more can be opened, a stalled upstream with the fewest in flight is used")
    func stalledIsBetterThanNone() {
        let pool = PoolScript(PoolLimits(maxOpen: 3, minIdle: 3))
        pool.warm()
        let first = pool.granted(.shared)
        _ = pool.granted(.shared)
        pool.pass(.milliseconds(11))
        let second = pool.granted(.shared)
        #expect(second != first)
        pool.pass(.milliseconds(11))
        #expect(pool.lease(.shared) == .granted(second))
        #expect(pool.actions() == [])
    }

    @Test("an unavailable upstream gets no new work, even if there is no other")
    func unavailable() {
        let pool = PoolScript(PoolLimits(maxOpen: 1, minIdle: 1))
        pool.warm()
        let only = pool.granted(.shared)
        pool.setAvailable(only, false)
        pool.queued(.shared, by: 2)
        pool.queued(.slow, by: 3)
        pool.pass(.milliseconds(50))
        pool.tick()
        pool.finish(only)
        pool.settle(only)
        #expect(pool.actions() == [])
        pool.setAvailable(only, true)
        #expect(pool.actions() == [.grant(client(2), only), .grant(client(3), only)])
    }

    @Test("available again with nothing in flight settles the upstream")
    func availableAgain() {
        let pool = PoolScript(PoolLimits(maxOpen: 1, minIdle: 1))
        pool.warm()
        let only = pool.granted(.shared)
        pool.setAvailable(only, false)
        pool.finish(only)
        pool.settle(only)
        #expect(pool.census.shared == 1)
        pool.setAvailable(only, true)
        #expect(pool.census.idle == 1)
    }

    @Test("slow commands get an upstream of their own")
    func slowLane() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 2))
        pool.warm()
        let fast = pool.granted(.shared)
        let slow = pool.granted(.slow)
        #expect(fast != slow)
        #expect(pool.lease(.shared) == .granted(fast))
        #expect(pool.lease(.slow) == .granted(slow))
    }

    @Test("the slow lane spills at its own, smaller pipeline limit")
    func slowSpill() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 2, slowPipeline: 2))
        pool.warm()
        let first = pool.granted(.slow)
        #expect(pool.lease(.slow) == .granted(first))
        #expect(pool.lease(.slow) != .granted(first))
    }

    @Test("if no more can be opened, one lane uses the other's upstream")
    func lanesHelpEachOther() {
        let pool = PoolScript(PoolLimits(maxOpen: 1, minIdle: 1))
        pool.warm()
        let only = pool.granted(.shared)
        #expect(pool.lease(.slow) == .granted(only))
        pool.finish(only)
        pool.finish(only)
        pool.settle(only)
        #expect(pool.lease(.slow) == .granted(only))
        #expect(pool.lease(.shared) == .granted(only))
    }

    @Test("a shared upstream with nothing in flight falls idle when it is settled")
    func settles() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1))
        pool.warm()
        let id = pool.granted(.shared)
        pool.settle(id)
        #expect(pool.census.shared == 1)
        pool.finish(id)
        #expect(pool.census.shared == 1)
        pool.settle(id)
        #expect(pool.census.idle == 1)
        #expect(pool.lease(.control) == .granted(id))
    }

    @Test("no more commands are in flight than the shell allows, stalled or at a deadline")
    func most() {
        let pool = PoolScript(PoolLimits(maxOpen: 1, minIdle: 1))
        pool.warm()
        pool.setMost(up(0), 2)
        let only = pool.granted(.shared)
        #expect(!pool.isFull(only))
        #expect(pool.lease(.slow) == .granted(only))
        #expect(pool.isFull(only))
        pool.queued(.shared, by: 2)
        pool.pass(.milliseconds(11))
        pool.queued(.slow, by: 3)
        pool.finish(only)
        #expect(pool.actions() == [.grant(client(2), only)])
        pool.setMost(only, 3)
        #expect(pool.actions() == [.grant(client(3), only)])
        pool.queued(.shared, by: 4)
        pool.pass(.milliseconds(800))
        pool.tick()
        #expect(pool.actions() == [.refuse(client(4), .poolTimeout)])
    }

    @Test("where no more may be in flight another upstream is opened, and that starts anew")
    func mostSpreads() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1))
        pool.warm()
        pool.setMost(up(0), 1)
        let first = pool.granted(.shared)
        pool.queued(.shared, by: 2)
        #expect(pool.actions() == [.dial(up(1), db0)])
        pool.connected(up(1))
        #expect(pool.actions() == [.grant(client(2), up(1))])
        #expect(pool.lease(.shared) == .granted(up(1)))
        pool.lost(first)
        pool.tick()
        #expect(!pool.isFull(up(0, 1)))
    }

    @Test("a settle that the shell forgot is made up for by the tick")
    func forgottenSettle() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1))
        pool.warm()
        let id = pool.granted(.shared)
        pool.finish(id)
        pool.tick()
        #expect(pool.census.idle == 1)
    }

    @Test("a client with something in flight sends more on its upstream, retiring or not")
    func add() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1))
        pool.warm()
        let id = pool.granted(.shared)
        pool.retire(id, .failoverSign)
        pool.add(id)
        pool.finish(id)
        pool.settle(id)
        #expect(pool.actions() == [])
        pool.finish(id)
        pool.settle(id)
        #expect(pool.actions() == [.close(id, .failoverSign)])
    }

    @Test("commands of different keys never share an upstream")
    func keysApart() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1))
        pool.warm()
        let zero = pool.granted(.shared)
        pool.queued(.shared, db1, by: 2)
        pool.queued(.shared, resp3, by: 3)
        pool.queued(.shared, otherUser, by: 4)
        #expect(pool.lease(.shared) == .granted(zero))
    }
}
