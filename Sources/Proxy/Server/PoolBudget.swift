// What the workers of one pool share: its permits (see `PermitBook`) and some numbers for messages.
// All of it is atomic.

import Pool
import Synchronization

/// One pool's permits in a process with several workers, and the numbers that its workers publish.
final class PoolBudget: Sendable {
    let permits: PermitBook<AtomicCell>
    private let accounts: [Account]
    /// A bit for each worker that has an upstream connection.
    private let connectedMask = Atomic<UInt64>(0)

    /// How long a promise of surplus permits counts, in nanoseconds: a promised pin may never end.
    private static let promiseTime: Int64 = 2_000_000_000
    private let promisesSince = Atomic<Int64>(0)

    /// - Parameter members: the workers that share the pool, 2 to 63: they are bits of a mask, and
    ///   one bit is for permits that the pool has too many.
    init(_ limits: PoolLimits, members: Int) {
        permits = PermitBook(limits.permits, members: members) { AtomicCell($0) }
        accounts = (0..<members).map { _ in Account() }
    }

    /// What one worker publishes about its part of the pool.
    private final class Account: Sendable {
        let open = Atomic<Int>(0)
        let pinned = Atomic<Int>(0)
        let waiting = Atomic<Int>(0)
        let clients = Atomic<Int>(0)
    }

    /// Called with every tick of the first member: brings the number of permits to what the limits
    /// say. True when the others must look.
    func adjust(now: MonotonicTime) -> Bool {
        let since = promisesSince.load(ordering: .relaxed)
        if now.nanoseconds - since >= PoolBudget.promiseTime {
            promisesSince.store(now.nanoseconds, ordering: .relaxed)
            permits.forgetSurplusPromises()
        }
        return permits.adjust()
    }

    // MARK: What people are told

    /// Publishes a worker's numbers. Any worker uses them in its messages.
    func report(_ census: PoolCensus, clients: Int, of member: Int) {
        accounts[member].open.store(census.open, ordering: .relaxed)
        accounts[member].pinned.store(census.pinned, ordering: .relaxed)
        accounts[member].waiting.store(census.waiting, ordering: .relaxed)
        accounts[member].clients.store(clients, ordering: .relaxed)
        if census.connected == 0 { _ = disconnected(member) }
    }

    /// The sums over all workers. They may be a moment old.
    var use: PoolUse {
        var use = PoolUse(open: 0, pinned: 0, waiting: 0, clients: 0)
        for account in accounts {
            use.open += account.open.load(ordering: .relaxed)
            use.pinned += account.pinned.load(ordering: .relaxed)
            use.waiting += account.waiting.load(ordering: .relaxed)
            use.clients += account.clients.load(ordering: .relaxed)
        }
        return use
    }

    /// A worker has a connection.
    func connected(_ member: Int) {
        connectedMask.bitwiseOr(1 << UInt64(member), ordering: .relaxed)
    }

    /// A worker has no connection. True when no worker of the pool has one.
    func disconnected(_ member: Int) -> Bool {
        let rest = connectedMask.bitwiseAnd(
            ~(1 << UInt64(member)), ordering: .relaxed
        ).newValue
        return rest == 0
    }
}

/// How a pool is used, for messages.
struct PoolUse {
    var open: Int
    var pinned: Int
    var waiting: Int
    /// Those of the pool.
    var clients: Int

    /// Adds the connections to another server of the pool.
    mutating func add(_ other: PoolUse) {
        open += other.open
        pinned += other.pinned
        waiting += other.waiting
    }
}

/// One number of a `PermitBook`. The book needs one total order of all steps, so the ordering is
/// sequentially consistent.
final class AtomicCell: PermitCell {
    private let value: Atomic<Int>

    init(_ value: Int) { self.value = Atomic(value) }

    func load() -> Int { value.load(ordering: .sequentiallyConsistent) }

    func store(_ value: Int) { self.value.store(value, ordering: .sequentiallyConsistent) }

    func compareExchange(expected: Int, desired: Int) -> Int {
        value.compareExchange(
            expected: expected, desired: desired, ordering: .sequentiallyConsistent
        ).original
    }
}
