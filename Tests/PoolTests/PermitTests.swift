import Pool
import Testing

@Suite("Permits: several workers, one set of limits")
struct PermitTests {
    private func limits(_ maxOpen: Int, maxPinned: Int? = nil, members: Int = 2) -> PoolLimits {
        PoolLimits(maxOpen: maxOpen, maxPinned: maxPinned, workers: members)
    }

    @Test("a machine without permits leases nothing and says what it lacks")
    func lacking() {
        var pool = PoolStateMachine(
            limits: limits(8), permits: PoolPermits(), warmKey: db0, seed: 1,
            now: MonotonicTime(nanoseconds: 1))
        let now = MonotonicTime(nanoseconds: 5)
        _ = pool.lease(.pin, key: db0, for: client(1), now: now)
        _ = pool.lease(.pin, key: db0, for: client(2), now: now)
        _ = pool.lease(.control, key: db0, for: client(3), now: now)
        #expect(pool.nextAction() == nil)
        let need = pool.permitNeed()
        #expect(need.permits == PoolPermits(control: 1, pins: 2))
        #expect(need.pinSince == 5 && need.sharedSince == 5)
    }

    @Test("permits that are taken away close idle upstreams, then shared ones that have answered")
    func takenAway() {
        let world = PermitWorld(limits(8), members: 1)
        let member = world.members[0]
        world.lease(.pin, on: 0)
        world.lease(.pin, on: 0)
        world.advance(.milliseconds(5))
        world.endExclusive(0, 0)
        world.lease(.shared, on: 0)
        world.advance(.milliseconds(5))
        #expect(member.pool.census.shared == 1 && member.pool.census.pinned == 1)
        member.pool.setPermits(PoolPermits(open: 1, pins: 1), now: world.now)
        #expect(member.pool.nextAction() == nil)
        let id = member.shared[0]
        member.pool.finish(id, now: world.now)
        member.pool.settle(id, now: world.now)
        #expect(member.pool.nextAction() == .close(id, .rebalanced))
    }

    @Test("all pins can be had, however unevenly they are asked for", arguments: 0..<8)
    func uneven(onFirst: Int) {
        let world = PermitWorld(limits(8, maxPinned: 7), members: 2)
        for pin in 0..<7 { world.lease(.pin, on: pin < onFirst ? 0 : 1) }
        world.advance(.milliseconds(300))
        #expect(world.members[0].exclusive.count == onFirst)
        #expect(world.members[1].exclusive.count == 7 - onFirst)
        // What is left serves both.
        for _ in 0..<20 {
            for index in [0, 1] {
                world.lease(.shared, on: index)
                world.advance(.milliseconds(30))
                #expect(world.members[index].shared.count == 1)
                if !world.members[index].shared.isEmpty { world.answerShared(index, 0) }
            }
        }
        #expect(world.members.allSatisfy { $0.refusals.isEmpty })
        #expect(world.failure == nil)
    }

    @Test("one upstream that both need all the time is had by both in turn")
    func turns() {
        let world = PermitWorld(limits(8, maxPinned: 7), members: 2)
        for pin in 0..<7 { world.lease(.pin, on: pin % 2) }
        world.advance(.milliseconds(300))
        let before = world.members.map(\.served)
        for _ in 0..<600 {
            for index in [0, 1] {
                if world.members[index].waits.isEmpty, world.members[index].shared.count < 2 {
                    world.lease(.shared, on: index)
                }
            }
            world.advance(.milliseconds(1))
            for index in [0, 1] where !world.members[index].shared.isEmpty {
                world.answerShared(index, 0)
            }
        }
        #expect(world.members.allSatisfy { $0.refusals.isEmpty })
        #expect(zip(world.members, before).allSatisfy { $0.served - $1 > 100 })
        #expect(world.failure == nil)
    }

    @Test("a control command is to be had on every worker while everything else is pinned")
    func control() {
        let world = PermitWorld(limits(8), members: 4)
        for _ in 0..<6 { world.lease(.pin, on: 0) }
        world.advance(.milliseconds(200))
        #expect(world.members[0].exclusive.count == 6)
        for index in 0..<4 {
            let before = world.members[index].exclusive.count
            world.lease(.control, on: index)
            world.advance(.milliseconds(50))
            #expect(world.members[index].exclusive.count == before + 1)
            world.endExclusive(index, before)
        }
        #expect(world.failure == nil)
    }

    @Test("pins that end go to whoever has waited longest, on whichever worker")
    func fairness() {
        let world = PermitWorld(limits(6, maxPinned: 4), members: 2)
        for _ in 0..<4 { world.lease(.pin, on: 0) }
        world.advance(.milliseconds(100))
        world.lease(.pin, on: 1)
        // The first worker always has somebody who waits as well.
        for _ in 0..<3 { world.lease(.pin, on: 0) }
        for _ in 0..<10 {
            world.advance(.milliseconds(40))
            world.endExclusive(0, 0)
            world.lease(.pin, on: 0)
        }
        #expect(world.members[1].exclusive.count == 1)
        #expect(world.members[1].refusals.isEmpty)
        #expect(world.failure == nil)
    }

    @Test("a worker that keeps no promise keeps nobody else from being served")
    func brokenPromise() {
        let world = PermitWorld(limits(4, maxPinned: 2), members: 3)
        world.lease(.shared, on: 0)
        world.advance(.milliseconds(50))
        _ = world.book.promise(PoolPermits(open: 9, control: 9, pins: 9), to: 0)
        world.book.publish(
            PermitNeed(PoolPermits(open: 1), sharedSince: 0, pinSince: .max), of: 2)
        _ = world.book.promise(PoolPermits(open: 1), to: 2)
        for _ in 0..<4 { world.lease(.shared, on: 2) }
        world.advance(.milliseconds(700))
        #expect(world.members[2].shared.count == 4)
        #expect(world.failure == nil)
    }

    /// All connections are idle on worker 0, and a client waits on worker 1.
    private func waiting(upTo poolTimeout: Int64 = .seconds(20)) -> PermitWorld {
        let world = PermitWorld(
            PoolLimits(maxOpen: 4, maxPinned: 2, poolTimeout: poolTimeout, workers: 3), members: 3)
        for kind in [LeaseKind.pin, .pin, .control] { world.lease(kind, on: 0) }
        world.advance(.milliseconds(300))
        world.lease(.shared, on: 0)
        world.advance(.milliseconds(100))
        world.releaseEverything()
        #expect(world.members[0].pool.census.idle == 4)
        world.lease(.shared, on: 1)
        #expect(world.members[1].waits.count == 1)
        return world
    }

    @Test("a need that others have lost sight of is said again with the next tick")
    func lostNeed() {
        let world = waiting()
        world.lose(needOf: 1)
        world.advance(.milliseconds(110))
        #expect(world.members[1].shared.count == 1)
        #expect(world.failure == nil)
    }

    @Test("a promise that nobody keeps is forgotten")
    func forgottenPromise() {
        let world = waiting()
        _ = world.book.promise(PoolPermits(open: 9, control: 9, pins: 9), to: 1)
        world.awake = []
        world.advance(.milliseconds(1900))
        #expect(world.members[1].shared.isEmpty)
        world.advance(.milliseconds(300))
        #expect(world.members[1].shared.count == 1)
        #expect(world.failure == nil)
    }

    @Test("it is forgotten too if no client waits for as long as that")
    func forgottenPromiseOfShortWaits() {
        let world = waiting(upTo: .milliseconds(50))
        _ = world.book.promise(PoolPermits(open: 9, control: 9, pins: 9), to: 1)
        world.awake = []
        for _ in 0..<10 {
            // Between two of them there is none.
            world.advance(.milliseconds(250))
            #expect(world.members[1].waits.isEmpty)
            world.lease(.shared, on: 1)
        }
        #expect(!world.members[1].shared.isEmpty)
        #expect(world.failure == nil)
    }

    @Test("an unused permit is put back for somebody who has been promised another")
    func unusedPermit() {
        let world = PermitWorld(
            PoolLimits(maxOpen: 2, maxPinned: 0, poolTimeout: .seconds(20), workers: 3), members: 3)
        #expect(world.members.map(\.keeper.held.open) == [1, 1, 0])
        world.lease(.shared, on: 2)
        _ = world.book.promise(PoolPermits(open: 1), to: 2)
        world.awake = []
        world.advance(.milliseconds(110))
        #expect(world.members[2].shared.count == 1)
        #expect(world.failure == nil)
    }

    @Test(
        "whatever workers, clients and server do, the limits hold",
        arguments: Array(0..<60) + [236, 310, 863, 1112])
    func simulation(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let maxOpen = 2 + random.below(12)
        let count = 2 + random.below(3)
        let world = PermitWorld(
            PoolLimits(
                maxOpen: maxOpen, maxPinned: random.chance(50) ? nil : random.below(maxOpen + 1),
                minIdle: random.below(2), maxPipeline: 1 + random.below(4),
                idleTimeout: .milliseconds(Int64(500 + random.below(2000))),
                poolTimeout: .milliseconds(Int64(300 + random.below(700))), workers: count),
            members: count)
        for _ in 0..<1000 where world.failure == nil { step(world, &random) }
        #expect(world.failure == nil)
        calm(world)
    }

    private func step(_ world: PermitWorld, _ random: inout SeededRandom) {
        // The first workers have more to do than the last.
        let index = min(random.below(world.members.count), random.below(world.members.count))
        let member = world.members[index]
        switch random.below(100) {
        case ..<30:
            let kind: LeaseKind =
                random.chance(45) ? .shared : random.chance(75) ? .pin : .control
            world.lease(kind, on: index, key: random.chance(85) ? db0 : db1)
        case ..<45:
            if !member.shared.isEmpty {
                world.answerShared(index, random.below(member.shared.count))
            }
        case ..<58:
            if !member.exclusive.isEmpty {
                world.endExclusive(index, random.below(member.exclusive.count))
            }
        case ..<70:
            if !member.dialing.isEmpty {
                world.answerDial(
                    index, random.below(member.dialing.count), succeeds: random.chance(95))
            }
        case ..<78:
            if !member.closing.isEmpty {
                world.finishClose(index, random.below(member.closing.count))
            }
        case ..<82: world.cancel(index)
        case ..<92:
            let awake = world.awake.sorted()
            if !awake.isEmpty { world.run(awake[random.below(awake.count)]) }
        case ..<99: world.pass(Int64(random.below(3_000_000)))
        default: random.chance(80) ? world.serve() : world.pass(.milliseconds(120))
        }
    }

    /// Once everybody behaves, every worker gets what the limits allow, one after the other.
    private func calm(_ world: PermitWorld) {
        // Longer than `poolTimeout`: nobody is left who began to wait before.
        for _ in 0..<15 {
            world.advance(.milliseconds(100))
            world.releaseEverything()
        }
        for index in world.members.indices {
            for kind in LeaseKind.allCases where kind != .pin || world.limits.maxPinned > 0 {
                let member = world.members[index]
                let before = (member.served, member.refusals.count)
                world.lease(kind, on: index)
                world.advance(.milliseconds(250))
                #expect(member.served == before.0 + 1, "no \(kind) on \(index)")
                #expect(member.refusals.count == before.1)
                world.releaseEverything()
            }
        }
        #expect(world.failure == nil)
    }
}
