import TestSupport
import Testing
import Topology

@Suite("The order of replies")
struct ReplyOrderTests {
    /// scripts/simulate runs many more.
    @Test("whatever nodes answer, the client gets replies in order", arguments: 0..<10)
    func simulation(seed: UInt64) {
        let world = OrderWorld(seed: seed)
        world.run(steps: 10_000)
        #expect(world.failure == nil)
    }
}
