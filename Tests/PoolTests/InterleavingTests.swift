import Pool
import Testing

@Suite("Permits: workers that are interrupted anywhere")
struct InterleavingTests {
    /// scripts/simulate runs many more.
    @Test("nobody starves, whatever is interrupted where", arguments: 0..<4)
    func bySeed(block: UInt64) {
        for seed in block * 50..<(block + 1) * 50 {
            let world = InterleavedWorld(seed: seed)
            world.run(ticks: 3)
            #expect(world.failure == nil, "seed \(seed)")
            if world.failure != nil { return }
        }
    }
}
