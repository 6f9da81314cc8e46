import Pool
import Testing

@Suite("Permits: workers that are interrupted anywhere")
struct InterleavingTests {
    @Test("nobody starves, whatever is interrupted where", arguments: 0..<30)
    func bySeed(block: UInt64) {
        for seed in block * 100..<(block + 1) * 100 {
            var random = SeededRandom(seed: seed)
            let count = random.chance(70) ? 2 : 3
            let maxOpen = 1 + random.below(5)
            let limits = PoolLimits(
                maxOpen: maxOpen, maxPinned: random.chance(70) ? nil : random.below(maxOpen),
                maxPipeline: 1 + random.below(2), poolTimeout: .seconds(60), workers: count)
            let scripts = (0..<count).map { _ in
                (0..<1 + random.below(8)).map { _ in happening(limits, &random) }
            }
            let preemption: Preemption =
                random.chance(30)
                ? .often(percent: [3, 10, 40][random.below(3)])
                : .at((0..<1 + random.below(6)).map { _ in random.below(600) }.sorted())
            let world = InterleavedWorld(limits, scripts, preemption, seed: seed)
            world.run(ticks: 3)
            #expect(world.failure == nil, "seed \(seed)")
            if world.failure != nil { return }
        }
    }

    private func happening(_ limits: PoolLimits, _ random: inout SeededRandom) -> Happening {
        switch random.below(10) {
        case ..<3: .end
        case ..<6: .lease(.shared)
        case ..<7: .lease(.control)
        default: .lease(limits.maxPinned > 0 ? .pin : .shared)
        }
    }
}
