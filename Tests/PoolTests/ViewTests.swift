import Pool
import Testing

@Suite("What is shown of one upstream")
struct ViewTests {
    @Test("its state, its age limit, and how long it is idle")
    func states() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1, maxLifetime: .seconds(100)))
        pool.tick()
        #expect(pool.view(up(0))?.state == "connecting")
        #expect(pool.view(up(0))?.retiresIn == nil)
        pool.connected(up(0))
        pool.pass(.seconds(3))
        let idle = pool.view(up(0))
        #expect(idle?.state == "idle" && idle?.idle == .seconds(3))
        // 10 % more or less for each connection.
        #expect((87...107).contains((idle?.retiresIn ?? 0) / .seconds(1)))
        let shared = pool.granted(.shared)
        #expect(pool.view(shared)?.state == "shared" && pool.view(shared)?.idle == nil)
        pool.finish(shared)
        pool.settle(shared)
        pool.retire(shared, .dirty)
        #expect(pool.view(shared)?.state == "closing")
        pool.lost(shared)
        #expect(pool.view(shared) == nil)
        #expect(pool.view(up(77)) == nil)
    }

    @Test("without a limit of the age there is no end of it")
    func ageless() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1))
        pool.warm()
        #expect(pool.view(up(0))?.retiresIn == nil)
        #expect(pool.view(pool.granted(.shared))?.state == "shared")
    }
}
