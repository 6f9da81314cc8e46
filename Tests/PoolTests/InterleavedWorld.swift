import Pool

// Workers on threads of their own with the real book of permits, interrupted at any atomic step.

/// What a worker meets, in order.
enum Happening {
    case lease(LeaseKind)
    /// The oldest lease ends.
    case end
}

final class InterleavedWorld: @unchecked Sendable {
    private let limits: PoolLimits
    private let members: [Member]
    private var scripts: [[Happening]]
    private var hasMail: [Bool]
    private var isTickDue: [Bool]
    private var now = MonotonicTime(nanoseconds: .seconds(1))
    private var serial: UInt64 = 0
    private var interleaver: Interleaver!
    private var book: PermitBook<SteppedCell>!
    /// All scripts are at their end: leases end too.
    private var isOver = false
    private(set) var failure: String?
    /// Atomic steps that it took.
    var steps: Int { interleaver.steps }

    init(
        _ limits: PoolLimits, _ scripts: [[Happening]], _ preemption: Preemption, seed: UInt64 = 0
    ) {
        self.limits = limits
        self.scripts = scripts
        hasMail = scripts.map { _ in false }
        isTickDue = hasMail
        let now = now
        members = scripts.indices.map { Member($0, limits: limits, now: now) }
        interleaver = Interleaver(scripts.count, preemption, seed: seed) { [unowned self] in
            work($0)
        }
        book = PermitBook(limits.permits, members: scripts.count) {
            SteppedCell($0) { [unowned interleaver] in interleaver!.step() }
        }
    }

    /// Limits, scripts and preemptions made from a seed.
    convenience init(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let count = random.chance(70) ? 2 : 3
        let maxOpen = 1 + random.below(5)
        let limits = PoolLimits(
            maxOpen: maxOpen, maxPinned: random.chance(70) ? nil : random.below(maxOpen),
            maxPipeline: 1 + random.below(2), poolTimeout: .seconds(60), workers: count)
        let scripts = (0..<count).map { _ in
            (0..<1 + random.below(8)).map { _ in Self.happening(limits, &random) }
        }
        let preemption: Preemption =
            random.chance(30)
            ? .often(percent: [3, 10, 40][random.below(3)])
            : .at((0..<1 + random.below(6)).map { _ in random.below(600) }.sorted())
        self.init(limits, scripts, preemption, seed: seed)
    }

    private static func happening(
        _ limits: PoolLimits, _ random: inout SeededRandom
    ) -> Happening {
        switch random.below(10) {
        case ..<3: .end
        case ..<6: .lease(.shared)
        case ..<7: .lease(.control)
        default: .lease(limits.maxPinned > 0 ? .pin : .shared)
        }
    }

    /// Lets all scripts run to their end, and then all leases end. Nobody may wait any more when so
    /// many ticks have passed after that.
    func run(ticks: Int) {
        for index in members.indices { interleaver.wake(index) }
        interleaver.runUntilAllSleep()
        check()
        isOver = true
        for index in members.indices { interleaver.wake(index) }
        interleaver.runUntilAllSleep()
        check()
        for _ in 0..<ticks where failure == nil {
            now = now + .milliseconds(100)
            for index in members.indices {
                isTickDue[index] = true
                interleaver.wake(index)
            }
            interleaver.runUntilAllSleep()
            check()
        }
        interleaver.end()
        for index in members.indices where !members[index].waits.isEmpty {
            fail("\(index) starves: \(members.map { ($0.pool.census, $0.keeper.held) })")
        }
    }

    // MARK: A worker

    private func work(_ index: Int) {
        while hasWork(index), failure == nil { iterate(index) }
    }

    private func hasWork(_ index: Int) -> Bool {
        let member = members[index]
        return hasMail[index] || isTickDue[index] || !scripts[index].isEmpty
            || !member.dialing.isEmpty || !member.closing.isEmpty || !member.converting.isEmpty
            || (isOver && !(member.shared.isEmpty && member.exclusive.isEmpty))
    }

    /// One turn of the loop: the server's answers, one happening, and the end of the turn.
    private func iterate(_ index: Int) {
        let member = members[index]
        let isTick = isTickDue[index]
        isTickDue[index] = false
        hasMail[index] = false
        if isTick { member.pool.tick(now: now) }
        answer(member)
        if !scripts[index].isEmpty {
            switch scripts[index].removeFirst() {
            case .lease(let kind):
                serial += 1
                member.lease(kind, key: db0, serial: serial, now: now)
            case .end: endOldest(member)
            }
        } else if isOver {
            endOldest(member)
        }
        balance(index, isTick)
        if let broken = member.brokenPromise { fail(broken) }
    }

    private func answer(_ member: Member) {
        let dialing = member.dialing
        let closing = member.closing
        let converting = member.converting
        member.dialing = []
        member.closing = []
        member.converting = []
        for id in dialing { member.pool.connected(id, now: now) }
        for id in closing { member.pool.closed(id, now: now) }
        for id in converting { member.pool.converted(id, now: now) }
    }

    private func endOldest(_ member: Member) {
        if !member.exclusive.isEmpty {
            member.pool.release(member.exclusive.removeFirst(), key: db0, now: now)
        } else if !member.shared.isEmpty {
            let id = member.shared.removeFirst()
            member.pool.finish(id, now: now)
            if !member.shared.contains(id) { member.pool.settle(id, now: now) }
        }
    }

    private func balance(_ index: Int, _ isTick: Bool) {
        let member = members[index]
        var isTick = isTick
        for _ in 0..<100 {
            member.performActions(now: now)
            let outcome = member.keeper.balance(&member.pool, book, now: now, isTick: isTick)
            for other in members.indices where outcome.toWake & (1 << UInt64(other)) != 0 {
                hasMail[other] = true
                interleaver.wake(other)
            }
            if !outcome.hasChanged {
                member.performActions(now: now)
                return
            }
            isTick = false
        }
        fail("a worker comes to no end")
    }

    // MARK: What must hold while all sleep

    private func fail(_ what: String) {
        if failure == nil { failure = "\(what); limits \(limits)" }
    }

    private func check() {
        var permits = book.take(PoolPermits(open: .max, control: .max, pins: .max))
        book.putBack(permits)
        var open = 0
        for index in members.indices {
            let member = members[index]
            permits = permits + member.keeper.held
            open += member.pool.census.open
            let lost = member.keeper.published.permits != book.unpaidNeed(of: index)
            if lost, !member.waits.isEmpty {
                fail(
                    "\(index) lacks \(member.keeper.published.permits), others believe "
                        + "\(book.unpaidNeed(of: index))")
            }
        }
        if permits != limits.permits { fail("permits \(permits), not \(limits.permits)") }
        if open > limits.maxOpen { fail("more open than maxOpen") }
    }
}
