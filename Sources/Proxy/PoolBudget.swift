// The permits of one pool that no worker holds, and what workers lack. The only state of a pool
// that its workers share, all of it atomics.

import Pool
import Synchronization

/// One pool's permits in a process of several workers, and what its workers tell of themselves.
final class PoolBudget: Sendable {
    private let free: AtomicPermits
    private let accounts: [Account]
    private let hungryMask = Atomic<UInt64>(0)
    /// Workers that have an upstream connection.
    private let connectedMask = Atomic<UInt64>(0)
    private let isDown = Atomic<Bool>(false)

    /// - Parameter members: the workers that share the pool, 2 to 64.
    init(_ limits: PoolLimits, members: Int) {
        free = AtomicPermits(limits.permits)
        accounts = (0..<members).map { _ in Account() }
    }

    var members: Int { accounts.count }

    /// What one worker publishes about its part of the pool.
    private final class Account: Sendable {
        let need = AtomicPermits(PoolPermits())
        let sharedSince = Atomic<Int64>(.max)
        let pinSince = Atomic<Int64>(.max)
        let promised = AtomicPermits(PoolPermits())
        let credit = AtomicPermits(PoolPermits())
        let open = Atomic<Int>(0)
        let pinned = Atomic<Int>(0)
        let waiting = Atomic<Int>(0)
    }

    // MARK: What people are told

    /// Publishes a worker's numbers for messages of any worker.
    func report(_ census: PoolCensus, of member: Int) {
        accounts[member].open.store(census.open, ordering: .relaxed)
        accounts[member].pinned.store(census.pinned, ordering: .relaxed)
        accounts[member].waiting.store(census.waiting, ordering: .relaxed)
    }

    /// The sums over all workers, as of late.
    var use: PoolUse {
        var use = PoolUse(open: 0, pinned: 0, waiting: 0)
        for account in accounts {
            use.open += account.open.load(ordering: .relaxed)
            use.pinned += account.pinned.load(ordering: .relaxed)
            use.waiting += account.waiting.load(ordering: .relaxed)
        }
        return use
    }

    /// A worker has a connection. True when the pool as a whole was said to have none.
    func connected(_ member: Int) -> Bool {
        connectedMask.bitwiseOr(1 << UInt64(member), ordering: .relaxed)
        return isDown.exchange(false, ordering: .relaxed)
    }

    /// A worker has no connection and cannot get one. True when that holds for the whole pool and
    /// has not been said yet.
    func disconnected(_ member: Int) -> Bool {
        let rest = connectedMask.bitwiseAnd(
            ~(1 << UInt64(member)), ordering: .relaxed
        ).newValue
        return rest == 0 && !isDown.exchange(true, ordering: .relaxed)
    }
}

/// How a pool is used, for messages.
struct PoolUse {
    var open: Int
    var pinned: Int
    var waiting: Int
}

/// The needs of others, woken through `group`: one worker's view of a budget.
struct WorkerLedger: PermitLedger {
    let budget: PoolBudget
    let pool: PoolGroup
}

extension PoolBudget {
    func take(_ wanted: PoolPermits) -> PoolPermits { free.takeUp(to: wanted) }
    func putBack(_ permits: PoolPermits) { free.add(permits) }
    func collect(_ member: Int) -> PoolPermits { accounts[member].credit.takeAll() }
    var hungry: UInt64 { hungryMask.load(ordering: .sequentiallyConsistent) }

    func publish(_ need: PermitNeed, of member: Int) {
        let account = accounts[member]
        account.sharedSince.store(need.sharedSince, ordering: .relaxed)
        account.pinSince.store(need.pinSince, ordering: .relaxed)
        account.need.store(need.permits)
        let bit = UInt64(1) << UInt64(member)
        if need.permits.isEmpty {
            hungryMask.bitwiseAnd(~bit, ordering: .sequentiallyConsistent)
        } else {
            hungryMask.bitwiseOr(bit, ordering: .sequentiallyConsistent)
        }
    }

    func need(of member: Int) -> PermitNeed {
        let account = accounts[member]
        return PermitNeed(
            account.need.load().less(account.promised.load()),
            sharedSince: account.sharedSince.load(ordering: .relaxed),
            pinSince: account.pinSince.load(ordering: .relaxed))
    }

    /// Two workers may promise at the same time: what is promised twice is given back.
    func promise(_ permits: PoolPermits, to member: Int) -> PoolPermits {
        let account = accounts[member]
        return account.promised.raise(by: permits, atMostTo: account.need.load())
    }

    func pay(_ permits: PoolPermits, to member: Int) {
        let account = accounts[member]
        account.credit.add(permits)
        account.need.subtract(permits)
        account.promised.subtract(permits)
    }

    func forgetPromises(to member: Int) { accounts[member].promised.store(PoolPermits()) }
}

extension WorkerLedger {
    func take(_ wanted: PoolPermits) -> PoolPermits { budget.take(wanted) }
    func putBack(_ permits: PoolPermits) { budget.putBack(permits) }
    func collect(_ member: Int) -> PoolPermits { budget.collect(member) }
    func publish(_ need: PermitNeed, of member: Int) { budget.publish(need, of: member) }
    var hungry: UInt64 { budget.hungry }
    func need(of member: Int) -> PermitNeed { budget.need(of: member) }
    func forgetPromises(to member: Int) { budget.forgetPromises(to: member) }

    func promise(_ permits: PoolPermits, to member: Int) -> PoolPermits {
        budget.promise(permits, to: member)
    }

    func pay(_ permits: PoolPermits, to member: Int) {
        budget.pay(permits, to: member)
        pool.wake(member)
    }

    func wakeOthers(than member: Int) {
        for other in 0..<budget.members where other != member { pool.wake(other) }
    }
}

/// Permits that any worker may add to and take from.
private final class AtomicPermits: Sendable {
    private let open: Atomic<Int>
    private let control: Atomic<Int>
    private let pins: Atomic<Int>

    init(_ permits: PoolPermits) {
        open = Atomic(permits.open)
        control = Atomic(permits.control)
        pins = Atomic(permits.pins)
    }

    func load() -> PoolPermits {
        PoolPermits(
            open: open.load(ordering: .relaxed), control: control.load(ordering: .relaxed),
            pins: pins.load(ordering: .relaxed))
    }

    func store(_ permits: PoolPermits) {
        open.store(permits.open, ordering: .relaxed)
        control.store(permits.control, ordering: .relaxed)
        pins.store(permits.pins, ordering: .relaxed)
    }

    func add(_ permits: PoolPermits) {
        if permits.open > 0 { open.add(permits.open, ordering: .sequentiallyConsistent) }
        if permits.control > 0 { control.add(permits.control, ordering: .sequentiallyConsistent) }
        if permits.pins > 0 { pins.add(permits.pins, ordering: .sequentiallyConsistent) }
    }

    /// Never below zero: what was forgotten meanwhile is not taken twice.
    func subtract(_ permits: PoolPermits) {
        _ = takeUp(to: permits)
    }

    func takeAll() -> PoolPermits {
        if load().isEmpty { return PoolPermits() }
        return PoolPermits(
            open: open.exchange(0, ordering: .sequentiallyConsistent),
            control: control.exchange(0, ordering: .sequentiallyConsistent),
            pins: pins.exchange(0, ordering: .sequentiallyConsistent))
    }

    func takeUp(to wanted: PoolPermits) -> PoolPermits {
        PoolPermits(
            open: AtomicPermits.take(open, wanted.open),
            control: AtomicPermits.take(control, wanted.control),
            pins: AtomicPermits.take(pins, wanted.pins))
    }

    func raise(by permits: PoolPermits, atMostTo limit: PoolPermits) -> PoolPermits {
        PoolPermits(
            open: AtomicPermits.raise(open, permits.open, limit.open),
            control: AtomicPermits.raise(control, permits.control, limit.control),
            pins: AtomicPermits.raise(pins, permits.pins, limit.pins))
    }

    private static func take(_ number: borrowing Atomic<Int>, _ wanted: Int) -> Int {
        if wanted <= 0 { return 0 }
        var current = number.load(ordering: .sequentiallyConsistent)
        while current > 0 {
            let taken = min(current, wanted)
            let (isDone, now) = number.compareExchange(
                expected: current, desired: current - taken, ordering: .sequentiallyConsistent)
            if isDone { return taken }
            current = now
        }
        return 0
    }

    private static func raise(_ number: borrowing Atomic<Int>, _ by: Int, _ limit: Int) -> Int {
        if by <= 0 { return 0 }
        var current = number.load(ordering: .sequentiallyConsistent)
        while current < limit {
            let raised = min(limit - current, by)
            let (isDone, now) = number.compareExchange(
                expected: current, desired: current + raised, ordering: .sequentiallyConsistent)
            if isDone { return raised }
            current = now
        }
        return 0
    }
}

extension PoolPermits {
    fileprivate func less(_ other: PoolPermits) -> PoolPermits {
        PoolPermits(
            open: max(0, open - other.open), control: max(0, control - other.control),
            pins: max(0, pins - other.pins))
    }
}
