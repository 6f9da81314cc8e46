import Pool
import Testing

@Suite("Fences")
struct FenceTests {
    @Test("an upstream with a fence in flight does not fall idle until it is answered")
    func keepsIt() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1))
        pool.warm()
        let id = pool.granted(.shared)
        #expect(pool.addFence(id))
        pool.finish(id)
        pool.settle(id)
        pool.tick()
        #expect(pool.census.shared == 1)
        #expect(!pool.pin(id))
        pool.finishFence(id)
        pool.settle(id)
        #expect(pool.census.idle == 1)
    }

    @Test("a fence makes an upstream neither slow nor deep")
    func isNoCommand() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1, maxPipeline: 1))
        pool.warm()
        let id = pool.granted(.shared)
        #expect(pool.addFence(id))
        pool.finish(id)
        pool.pass(.seconds(10))
        #expect(pool.lease(.shared) == .granted(id))
        #expect(pool.actions() == [])
    }

    @Test("what waits for the upstream gets it when the fence is answered")
    func handsOver() {
        let pool = PoolScript(PoolLimits(maxOpen: 1, minIdle: 1))
        pool.warm()
        let id = pool.granted(.shared)
        #expect(pool.addFence(id))
        pool.finish(id)
        pool.queued(.shared, resp3, by: 2)
        pool.settle(id)
        #expect(pool.actions() == [])
        pool.finishFence(id)
        pool.settle(id)
        #expect(pool.actions() == [.convert(id, from: db0, to: resp3)])
    }

    @Test("one that retires waits for its commands, not for the fence")
    func retires() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1))
        pool.warm()
        let id = pool.granted(.shared)
        #expect(pool.addFence(id))
        pool.retire(id, .maxLifetime)
        #expect(pool.actions() == [])
        pool.finish(id)
        pool.settle(id)
        #expect(pool.actions() == [.close(id, .maxLifetime)])
    }

    @Test("only a shared upstream is fenced")
    func sharedOnly() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1))
        pool.warm()
        #expect(!pool.addFence(up(0)))
        let id = pool.granted(.control)
        #expect(!pool.addFence(id))
        pool.finishFence(id)
        pool.release(id)
        // What is leased anew has no fence of before.
        #expect(pool.lease(.shared) == .granted(id))
        pool.finish(id)
        pool.settle(id)
        #expect(pool.census.idle == 1)
    }
}
