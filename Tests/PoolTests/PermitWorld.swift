import Pool

// Several workers' pools that share one set of limits: what `PermitKeeper` and the machines make of
// it, whatever the order in which workers get to run.

/// One worker's pool and what is under way there.
final class Member {
    var pool: PoolStateMachine
    var keeper: PermitKeeper
    var dialing: [UpstreamID] = []
    var converting: [UpstreamID] = []
    var closing: [UpstreamID] = []
    /// An entry for each shared command in flight.
    var shared: [UpstreamID] = []
    var exclusive: [UpstreamID] = []
    /// Those of `exclusive` that are for control.
    var controls: [UpstreamID] = []
    var waits: [UInt64: (kind: LeaseKind, ticket: WaitTicket)] = [:]
    var served = 0
    var refusals: [Refusal] = []
    /// The waiter that a halted pool serves, and how often one was.
    var releaser: UInt64?
    var releases = 0
    private var hasGrantedToNobody = false

    init(_ index: Int, limits: PoolLimits, now: MonotonicTime) {
        pool = PoolStateMachine(
            limits: limits, permits: PoolPermits(), warmKey: db0, seed: UInt64(index) + 1,
            now: now)
        keeper = PermitKeeper(member: index)
    }

    func lease(_ kind: LeaseKind, key: PoolKey, serial: UInt64, now: MonotonicTime) {
        switch pool.lease(kind, key: key, for: WaiterID(raw: serial), now: now) {
        case .granted(let id): accept(id, kind)
        case .queued(let ticket): waits[serial] = (kind, ticket)
        case .refused(let refusal): refusals.append(refusal)
        }
    }

    func leaseToRelease(serial: UInt64, now: MonotonicTime) {
        guard releaser == nil else { return }
        switch pool.leaseToRelease(key: db0, for: WaiterID(raw: serial), now: now) {
        case .granted(let id):
            releases += 1
            accept(id, .control)
        case .queued(let ticket):
            waits[serial] = (.control, ticket)
            releaser = serial
        case .refused(let refusal): refusals.append(refusal)
        }
    }

    private func accept(_ id: UpstreamID, _ kind: LeaseKind) {
        served += 1
        if kind == .pin || kind == .control {
            exclusive.append(id)
            if kind == .control { controls.append(id) }
        } else {
            shared.append(id)
        }
    }

    func performActions(now: MonotonicTime) {
        while let action = pool.nextAction() { perform(action, now) }
    }

    private func perform(_ action: PoolAction, _ now: MonotonicTime) {
        switch action {
        case .dial(let id, _): dialing.append(id)
        case .convert(let id, from: _, to: _): converting.append(id)
        case .probe(let id): pool.probed(id, now: now)
        case .close(let id, _):
            dialing.removeAll { $0 == id }
            closing.append(id)
        case .grant(let waiter, let id):
            guard let wait = waits.removeValue(forKey: waiter.raw) else {
                hasGrantedToNobody = true
                return
            }
            if waiter.raw == releaser {
                releaser = nil
                releases += 1
            }
            accept(id, wait.kind)
        case .refuse(let waiter, let refusal):
            waits[waiter.raw] = nil
            if waiter.raw == releaser { releaser = nil }
            refusals.append(refusal)
        }
    }

    /// What does not hold of this worker alone, or nil.
    var brokenPromise: String? {
        if hasGrantedToNobody { return "granted to nobody" }
        return pool.brokenInvariant() ?? usesTooMuch
    }

    var usesTooMuch: String? {
        let census = pool.census
        let held = keeper.held
        if census.open > held.connections { return "more open than held" }
        if census.pinned > held.pins { return "more pinned than held" }
        if census.pinned + census.shared > held.open { return "the reserve is used" }
        return nil
    }
}

/// A process with several workers.
final class PermitWorld {
    private(set) var limits: PoolLimits
    /// What must not be exceeded: while there are too many, no more may come.
    private var most: PoolPermits
    let book: PermitBook<SteppedCell>
    /// Workers that were woken and have not run since.
    var awake: Set<Int> = []
    let members: [Member]
    private(set) var now = MonotonicTime(nanoseconds: .seconds(1))
    private var nextTick: MonotonicTime
    private var serial: UInt64 = 0
    private(set) var failure: String?

    init(_ limits: PoolLimits, members count: Int) {
        self.limits = limits
        most = limits.permits
        book = PermitBook(limits.permits, members: count) { SteppedCell($0) {} }
        let now = now
        members = (0..<count).map { Member($0, limits: limits, now: now) }
        nextTick = now
        advance(.milliseconds(200))
    }

    func lease(_ kind: LeaseKind, on index: Int, key: PoolKey = db0) {
        let member = members[index]
        serial += 1
        member.lease(kind, key: key, serial: serial, now: now)
        run(index)
    }

    func leaseToRelease(on index: Int) {
        serial += 1
        members[index].leaseToRelease(serial: serial, now: now)
        run(index)
    }

    /// Ends the leases that are for control.
    func endReleases(_ index: Int) {
        let member = members[index]
        for id in member.exclusive where member.controls.contains(id) {
            member.exclusive.removeAll { $0 == id }
            member.controls.removeAll { $0 == id }
            member.pool.release(id, key: db0, now: now)
        }
        run(index)
    }

    /// The end of a worker's loop iteration.
    func run(_ index: Int, isTick: Bool = false) {
        let member = members[index]
        awake.remove(index)
        var isFirst = true
        var rounds = 0
        repeat {
            rounds += 1
            if rounds > 100 { fail("a worker comes to no end") }
            member.performActions(now: now)
            defer { isFirst = false }
            let outcome = member.keeper.balance(
                &member.pool, book, now: now, isTick: isTick && isFirst)
            awake.formUnion(members.indices.filter { outcome.toWake & (1 << UInt64($0)) != 0 })
            if !outcome.hasChanged { break }
        } while failure == nil
        // The shell does not look again.
        if member.pool.hasActions { fail("a worker is not told of a decision") }
        check(member)
    }

    /// A reload has changed the limits.
    func setLimits(_ limits: PoolLimits) {
        self.limits = limits
        let permits = limits.permits
        most = PoolPermits(
            open: max(most.open, permits.open), control: max(most.control, permits.control),
            pins: max(most.pins, permits.pins))
        book.setTotal(permits)
        for index in members.indices {
            members[index].pool.setLimits(limits, now: now)
            run(index)
        }
    }

    /// As many permits are left as the limits say: from now on they hold.
    func expectLimits() {
        if book.presentPermits != limits.permits {
            fail("there are \(book.presentPermits) permits, not \(limits.permits)")
        }
        most = limits.permits
    }

    /// Others believe that a worker lacks nothing, and are not told otherwise.
    func lose(needOf index: Int) {
        book.publish(PermitNeed(), of: index)
        awake = []
    }

    // MARK: What the server and the clients do

    func answerShared(_ index: Int, _ position: Int) {
        let member = members[index]
        let id = member.shared.remove(at: position)
        member.pool.finish(id, now: now)
        if !member.shared.contains(id) { member.pool.settle(id, now: now) }
        run(index)
    }

    func endExclusive(_ index: Int, _ position: Int) {
        let member = members[index]
        let id = member.exclusive.remove(at: position)
        member.controls.removeAll { $0 == id }
        member.pool.release(id, key: db0, now: now)
        run(index)
    }

    func answerDial(_ index: Int, _ position: Int, succeeds: Bool = true) {
        let member = members[index]
        let id = member.dialing.remove(at: position)
        if succeeds {
            member.pool.connected(id, now: now)
        } else {
            member.pool.connectFailed(id, .connectFailed, now: now)
        }
        run(index)
    }

    func finishClose(_ index: Int, _ position: Int) {
        let member = members[index]
        member.pool.closed(member.closing.remove(at: position), now: now)
        run(index)
    }

    func cancel(_ index: Int) {
        let member = members[index]
        guard let (serial, wait) = member.waits.min(by: { $0.key < $1.key }) else { return }
        member.waits[serial] = nil
        if member.releaser == serial { member.releaser = nil }
        member.pool.cancel(wait.ticket)
        run(index)
    }

    /// The server answers everything at once, but leases stay.
    func serve() {
        for index in members.indices {
            while !members[index].dialing.isEmpty, failure == nil { answerDial(index, 0) }
            while !members[index].closing.isEmpty, failure == nil { finishClose(index, 0) }
            while !members[index].converting.isEmpty, failure == nil {
                let id = members[index].converting.removeFirst()
                members[index].pool.converted(id, now: now)
                run(index)
            }
        }
        var rounds = 0
        while let index = awake.min(), failure == nil {
            run(index)
            rounds += 1
            if rounds > 1000 { fail("permits go to and fro") }
        }
    }

    /// Lets time pass in steps of a millisecond, with a server that answers.
    func advance(_ duration: Int64) {
        let end = now + duration
        while now < end, failure == nil {
            serve()
            now = now + .milliseconds(1)
            tickIfDue()
        }
        serve()
    }

    /// Lets time pass for nobody but the clock.
    func pass(_ duration: Int64) {
        now = now + duration
        tickIfDue()
    }

    private func tickIfDue() {
        guard now >= nextTick else { return }
        nextTick = now + .milliseconds(100)
        if book.adjust() { awake = Set(members.indices) }
        for index in members.indices {
            members[index].pool.tick(now: now)
            // The machine has freed those whose end did not come in time.
            run(index, isTick: true)
        }
    }

    func releaseEverything() {
        for index in members.indices {
            while !members[index].shared.isEmpty, failure == nil { answerShared(index, 0) }
            while !members[index].exclusive.isEmpty, failure == nil { endExclusive(index, 0) }
        }
    }

    // MARK: What must hold

    func fail(_ what: String) {
        if failure == nil { failure = what + "; limits \(limits)" }
    }

    private func check(_ changed: Member) {
        if let broken = changed.brokenPromise { fail(broken) }
        var sum = (open: 0, pinned: 0, busy: 0)
        var permits = book.freePermits
        for index in members.indices {
            let member = members[index]
            let census = member.pool.census
            sum.open += census.open
            sum.pinned += census.pinned
            sum.busy += census.pinned + census.shared
            permits = permits + member.keeper.held + book.credit(of: index)
            if let broken = member.usesTooMuch { fail(broken) }
        }
        if sum.open > most.connections { fail("more open than maxOpen") }
        if sum.pinned > most.pins { fail("more pinned than maxPinned") }
        if sum.busy > most.open { fail("nothing is left for control") }
        if permits != book.presentPermits {
            fail("permits \(permits), not \(book.presentPermits)")
        }
    }
}
