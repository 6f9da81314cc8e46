import Pool
import Testing

@Suite("The wait queue")
struct QueueTests {
    @Test("a waiter is refused at its deadline, and nextDeadline says when")
    func deadline() {
        let pool = PoolScript(PoolLimits(maxOpen: 2, maxPinned: 1, minIdle: 1))
        pool.warm()
        _ = pool.granted(.shared)
        pool.setAvailable(up(0), false)
        #expect(pool.nextDeadline == nil)
        let start = pool.now
        pool.queued(.shared, by: 2)
        _ = pool.actions()
        #expect(pool.nextDeadline == start + .milliseconds(800))
        pool.pass(.milliseconds(800) - 1)
        #expect(pool.oldestWait == .milliseconds(800) - 1)
        pool.tick()
        #expect(pool.actions() == [])
        pool.pass(1)
        pool.tick()
        #expect(pool.actions() == [.refuse(client(2), .poolTimeout)])
        #expect(pool.counters.waitTimeouts == 1)
        #expect(pool.counters.waitNanoseconds == 800_000_000)
        #expect(pool.nextDeadline == nil)
    }

    @Test("a pin that waited for a pin to end is told of the pin limit")
    func pinLimit() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, maxPinned: 1, minIdle: 2))
        pool.warm()
        _ = pool.granted(.pin)
        pool.queued(.pin, by: 2)
        pool.pass(.milliseconds(800))
        pool.tick()
        #expect(pool.actions().first == .refuse(client(2), .pinLimit))
        #expect(pool.counters.refusals(.pinLimit) == 1)
    }

    @Test("where nothing is connected and dialling fails, the waiter is told that it is down")
    func upstreamDown() {
        let pool = PoolScript(PoolLimits(maxOpen: 4))
        pool.queued(.shared, by: 2)
        pool.connectFailed(up(0))
        pool.pass(.milliseconds(800))
        pool.tick()
        #expect(pool.actions().contains(.refuse(client(2), .upstreamDown)))
    }

    @Test("a cancelled waiter is skipped, and its ticket is worth nothing more")
    func cancel() {
        let pool = PoolScript(PoolLimits(maxOpen: 2, minIdle: 2))
        pool.warm()
        let id = pool.granted(.pin)
        let first = pool.queued(.pin, by: 2)
        let second = pool.queued(.pin, by: 3)
        pool.queued(.pin, by: 4)
        _ = pool.actions()
        pool.cancel(second)
        pool.release(id)
        #expect(pool.actions() == [.grant(client(2), id)])
        pool.cancel(first)
        pool.cancel(second)
        pool.release(id)
        #expect(pool.actions() == [.grant(client(4), id)])
        #expect(pool.counters.cancels == 1)
        #expect(pool.counters.waits == 3)
        #expect(pool.counters.handOvers == 2)
    }

    @Test("the queue is bounded")
    func queueFull() {
        let pool = PoolScript(PoolLimits(maxOpen: 2, maxWaiters: 2))
        pool.queued(.shared, by: 1)
        pool.queued(.pin, by: 2)
        #expect(pool.lease(.shared) == .refused(.queueFull))
        #expect(pool.counters.misses == 3)
        #expect(pool.counters.waits == 2)
    }

    @Test("a newcomer does not overtake those who wait for the same")
    func noOvertaking() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, maxPinned: 2, minIdle: 4))
        pool.warm()
        let first = pool.granted(.pin)
        _ = pool.granted(.pin)
        pool.queued(.pin, by: 3)
        pool.queued(.pin, by: 4)
        pool.retire(first, .dirty)
        #expect(pool.actions() == [.close(first, .dirty), .grant(client(3), up(1))])
    }

    @Test("a freed upstream goes to its own key first, unless another key has lost patience")
    func patience() {
        let pool = PoolScript(PoolLimits(maxOpen: 2, minIdle: 2))
        pool.warm()
        let id = pool.granted(.pin)
        _ = pool.granted(.shared)
        pool.queued(.pin, db1, by: 2)
        pool.queued(.pin, by: 3)
        pool.queued(.pin, by: 4)
        _ = pool.actions()
        pool.pass(.milliseconds(99))
        pool.release(id)
        #expect(pool.actions() == [.grant(client(3), id)])
        pool.pass(.milliseconds(1))
        pool.release(id)
        #expect(pool.actions() == [.convert(id, from: db0, to: db1)])
    }

    @Test("a coming upstream goes to whoever has waited longest, of whatever kind")
    func oldestFirst() {
        let pool = PoolScript(PoolLimits(maxOpen: 4))
        pool.queued(.slow, by: 1)
        pool.queued(.control, by: 2)
        #expect(pool.actions() == [.dial(up(0), db0)])
        pool.connected(up(0))
        #expect(pool.actions() == [.grant(client(1), up(0)), .dial(up(1), db0)])
    }

    @Test("hits and misses are told apart")
    func hitsAndMisses() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1))
        pool.warm()
        _ = pool.granted(.shared)
        _ = pool.granted(.shared)
        pool.queued(.pin, by: 2)
        #expect(pool.counters.hits == 2)
        #expect(pool.counters.misses == 1)
    }
}
