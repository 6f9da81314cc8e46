import Session
import Testing

@Suite struct SubscriptionSimulationTests {
    /// scripts/simulate runs more of them.
    @Test(arguments: UInt64(0)..<12)
    func clientsSeeWhatTheirTwinsSee(seed: UInt64) {
        let world = SubscriptionWorld(seed: seed)
        world.run(steps: 3000)
        #expect(world.failure == nil)
    }

    @Test func confirmingAtOnceIsSeen() {
        let seen = (UInt64(0)..<8).count { seed in
            let world = SubscriptionWorld(seed: seed, broken: .confirmsAtOnce)
            world.run(steps: 3000)
            return world.failure != nil
        }
        #expect(seen == 8)
    }
}
