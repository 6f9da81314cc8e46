import Pool
import Testing

// A reload changes the limits of a pool that several workers share.

@Suite("Permits: the limits change")
struct LimitChangeTests {
    private func limits(_ maxOpen: Int, maxPinned: Int? = nil, members: Int = 2) -> PoolLimits {
        PoolLimits(maxOpen: maxOpen, maxPinned: maxPinned, workers: members)
    }

    @Test("raised limits serve those who wait")
    func raised() {
        let world = PermitWorld(limits(4, maxPinned: 2), members: 2)
        for pin in 0..<6 { world.lease(.pin, on: pin % 2) }
        world.advance(.milliseconds(300))
        #expect(world.members.map { $0.exclusive.count }.reduce(0, +) == 2)
        world.setLimits(limits(8, maxPinned: 6))
        world.advance(.milliseconds(500))
        #expect(world.members.map { $0.exclusive.count }.reduce(0, +) == 6)
        world.expectLimits()
        #expect(world.failure == nil)
    }

    @Test("lowered limits close idle upstreams, and no lease is taken away")
    func lowered() {
        let world = PermitWorld(limits(12, maxPinned: 8), members: 2)
        for pin in 0..<8 { world.lease(.pin, on: pin % 2) }
        world.advance(.milliseconds(500))
        #expect(world.members.map { $0.exclusive.count }.reduce(0, +) == 8)
        world.setLimits(limits(4, maxPinned: 2))
        world.advance(.milliseconds(500))
        #expect(world.members.map { $0.exclusive.count }.reduce(0, +) == 8)
        while !world.members[0].exclusive.isEmpty { world.endExclusive(0, 0) }
        while world.members[1].exclusive.count > 1 { world.endExclusive(1, 0) }
        world.advance(.seconds(3))
        world.expectLimits()
        #expect(world.members.map { $0.pool.census.open }.reduce(0, +) <= 4)
        world.lease(.pin, on: 0)
        world.lease(.pin, on: 1)
        world.advance(.milliseconds(500))
        #expect(world.members.map { $0.exclusive.count }.reduce(0, +) == 2)
        #expect(world.failure == nil)
    }

    @Test("a pin that never ends keeps no other one from being given up")
    func endless() {
        let world = PermitWorld(limits(12, maxPinned: 4), members: 2)
        for pin in 0..<4 { world.lease(.pin, on: pin % 2) }
        world.advance(.milliseconds(500))
        world.setLimits(limits(12, maxPinned: 1))
        world.advance(.milliseconds(500))
        // Whichever worker has promised its pins, the other one's end instead.
        for index in [0, 1] { world.endExclusive(index, 0) }
        world.advance(.milliseconds(500))
        world.endExclusive(1, 0)
        world.advance(.seconds(3))
        world.expectLimits()
        #expect(world.members[0].exclusive.count == 1)
        #expect(world.failure == nil)
    }

    @Test("whatever happens meanwhile", arguments: 0..<200)
    func random(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let count = 2 + random.below(2)
        let world = PermitWorld(limits(1 + random.below(9), members: count), members: count)
        for _ in 0..<60 where world.failure == nil {
            let index = random.below(count)
            let member = world.members[index]
            switch random.below(8) {
            case 0:
                let maxOpen = 1 + random.below(9)
                let maxPinned = random.chance(50) ? nil : random.below(maxOpen)
                world.setLimits(limits(maxOpen, maxPinned: maxPinned, members: count))
            case 1...3: world.lease([.shared, .pin, .control][random.below(3)], on: index)
            case 4...5 where !member.exclusive.isEmpty: world.endExclusive(index, 0)
            case 6 where !member.shared.isEmpty: world.answerShared(index, 0)
            default: world.advance(.milliseconds(Int64(random.below(300))))
            }
        }
        world.releaseEverything()
        world.advance(.seconds(6))
        world.releaseEverything()
        world.advance(.seconds(6))
        world.expectLimits()
        #expect(world.failure == nil)
    }
}

@Suite("A pool gets another server")
struct MoveTests {
    @Test("backoff and breaker of the old server delay no dial, and another key is kept warm")
    func move() {
        var now = MonotonicTime(nanoseconds: .seconds(1))
        var pool = PoolStateMachine(
            limits: PoolLimits(maxOpen: 4, minIdle: 1, poolTimeout: .milliseconds(100)),
            warmKey: db0, seed: 1, now: now)
        for _ in 0..<200 where pool.breaker == .closed {
            now = now + .milliseconds(100)
            pool.tick(now: now)
            while let action = pool.nextAction() {
                if case .dial(let id, _) = action {
                    pool.connectFailed(id, .connectFailed, now: now)
                }
            }
        }
        #expect(pool.breaker == .open)
        let key = PoolKey(user: 0, protocolVersion: 2, database: 7)
        pool.move(warmKey: key, now: now)
        #expect(pool.breaker == .closed && pool.warmKey == key)
        pool.tick(now: now)
        var dialled: [PoolKey] = []
        while let action = pool.nextAction() {
            if case .dial(_, let key) = action { dialled.append(key) }
        }
        #expect(dialled == [key])
        // The group of the old key can go.
        for _ in 0..<3 {
            now = now + .milliseconds(100)
            pool.tick(now: now)
        }
        #expect(pool.brokenInvariant() == nil)
    }

    @Test("what was at work when the pool was halted takes no new work after a move")
    func moveOfAHaltedPool() {
        let now = MonotonicTime(nanoseconds: .seconds(1))
        var pool = PoolStateMachine(
            limits: PoolLimits(maxOpen: 2, minIdle: 1), warmKey: db0, seed: 1, now: now)
        pool.tick(now: now)
        guard case .dial(let id, _) = pool.nextAction() else {
            Issue.record("nothing is dialled")
            return
        }
        pool.connected(id, now: now)
        #expect(pool.lease(.shared, key: db0, for: client(1), now: now) == .granted(id))
        pool.halt(now: now)
        pool.move(warmKey: db0, now: now)
        pool.retire(id, .configChanged, now: now)
        pool.resume(now: now)
        let outcome = pool.lease(.shared, key: db0, for: client(2), now: now)
        #expect(outcome != .granted(id))
        pool.finish(id, now: now)
        pool.settle(id, now: now)
        var actions: [PoolAction] = []
        while let action = pool.nextAction() { actions.append(action) }
        #expect(actions.contains(.close(id, .configChanged)))
        #expect(pool.brokenInvariant() == nil)
    }
}
