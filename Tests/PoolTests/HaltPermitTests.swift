import Pool
import Testing

@Suite("A pool that several workers halt")
struct HaltPermitTests {
    private func limits(_ maxOpen: Int, maxPinned: Int? = nil) -> PoolLimits {
        PoolLimits(maxOpen: maxOpen, maxPinned: maxPinned, poolTimeout: .seconds(5), workers: 2)
    }

    private func halt(_ world: PermitWorld) {
        for (index, member) in world.members.enumerated() {
            member.pool.halt(now: world.now)
            world.run(index)
        }
    }

    private func resume(_ world: PermitWorld) {
        for (index, member) in world.members.enumerated() {
            member.pool.resume(now: world.now)
            world.run(index)
        }
    }

    @Test("waiters of a halted worker keep no permits from others")
    func keepsNothing() {
        let world = PermitWorld(limits(4), members: 2)
        for _ in 0..<3 { world.lease(.pin, on: 0) }
        world.advance(.milliseconds(200))
        halt(world)
        for kind in LeaseKind.allCases {
            for index in [0, 1] { world.lease(kind, on: index) }
        }
        world.releaseEverything()
        world.advance(.seconds(20))
        #expect(world.members.allSatisfy { $0.pool.census.open == 0 && $0.served <= 3 })
        #expect(world.members.allSatisfy { $0.pool.permitNeed() == PermitNeed() })
        #expect(world.failure == nil)
        resume(world)
        for _ in 0..<20 {
            world.advance(.milliseconds(50))
            world.releaseEverything()
        }
        #expect(world.members.allSatisfy { $0.waits.isEmpty && $0.refusals.isEmpty })
        #expect(world.failure == nil)
    }

    @Test(
        "a releaser gets a connection, whichever worker has the permits", arguments: [2, 3, 4, 8])
    func releasers(maxOpen: Int) {
        let world = PermitWorld(limits(maxOpen), members: 2)
        for pin in 0..<maxOpen { world.lease(.pin, on: pin % 2) }
        world.advance(.milliseconds(300))
        halt(world)
        for index in [0, 1] {
            world.lease(.control, on: index)
            world.leaseToRelease(on: index)
        }
        for _ in 0..<10 {
            world.advance(.milliseconds(50))
            for index in [0, 1] { world.endReleases(index) }
        }
        #expect(world.members.allSatisfy { $0.releases == 1 })
        #expect(world.failure == nil)
        resume(world)
        for _ in 0..<40 {
            world.advance(.milliseconds(50))
            world.releaseEverything()
        }
        #expect(world.members.allSatisfy { $0.waits.isEmpty })
        #expect(world.failure == nil)
    }

    @Test(
        "whatever they do and in whatever order, nothing is exceeded and nobody starves",
        arguments: 0..<20)
    func random(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let world = PermitWorld(limits(2 + random.below(7)), members: 2 + random.below(2))
        for _ in 0..<300 where world.failure == nil {
            let index = random.below(world.members.count)
            let member = world.members[index]
            switch random.below(12) {
            case 0:
                member.pool.halt(now: world.now)
                world.run(index)
            case 1, 2:
                member.pool.resume(now: world.now)
                world.run(index)
            case 3: world.leaseToRelease(on: index)
            case 4: world.endReleases(index)
            case 5 where !member.exclusive.isEmpty:
                world.endExclusive(index, random.below(member.exclusive.count))
            case 6 where !member.shared.isEmpty:
                world.answerShared(index, random.below(member.shared.count))
            case 7: world.cancel(index)
            case 8: world.advance(.milliseconds(Int64(random.below(200))))
            default: world.lease(LeaseKind.allCases[random.below(4)], on: index)
            }
        }
        resume(world)
        for _ in 0..<100 where world.failure == nil {
            world.advance(.milliseconds(50))
            world.releaseEverything()
            for index in world.members.indices { world.endReleases(index) }
        }
        #expect(world.failure == nil)
        #expect(world.members.allSatisfy { $0.waits.isEmpty })
    }
}
