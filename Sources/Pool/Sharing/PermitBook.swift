// What the workers of a pool share: the free permits, and for each worker its need, the promises
// made to it and its credit. `Permits.swift` explains the scheme.

/// One number that several workers use at the same time. Its steps are atomic, and every worker
/// sees the steps of all numbers in the same order: the book relies on that.
package protocol PermitCell: Sendable {
    func load() -> Int
    func store(_ value: Int)
    /// Stores `desired` if the number is `expected`. Returns what the number was before.
    func compareExchange(expected: Int, desired: Int) -> Int
}

/// The permits that no worker holds, and what workers tell each other. Workers are numbered from 0
/// as members of the pool. Only the member itself calls `collect`, `publish` and `forgetPromises`
/// with its number.
package struct PermitBook<Cell: PermitCell>: Sendable {
    private let free: PermitCells<Cell>
    private let accounts: [Account]
    private let hungryMask: Cell

    /// What one worker lacks, and what others give it.
    private struct Account: Sendable {
        let need: PermitCells<Cell>
        let sharedSince: Cell
        let pinSince: Cell
        let promised: PermitCells<Cell>
        let credit: PermitCells<Cell>
    }

    /// - Parameters:
    ///   - permits: all permits of the pool; they are free at first.
    ///   - members: how many workers share them, at most 64.
    ///   - makeCell: a number with this value.
    package init(_ permits: PoolPermits, members: Int, makeCell: (Int) -> Cell) {
        let nothing = PoolPermits()
        free = PermitCells(permits, makeCell)
        accounts = (0..<members).map { _ in
            Account(
                need: PermitCells(nothing, makeCell), sharedSince: makeCell(.max),
                pinSince: makeCell(.max), promised: PermitCells(nothing, makeCell),
                credit: PermitCells(nothing, makeCell))
        }
        hungryMask = makeCell(0)
    }

    /// The workers that share the permits, a bit each.
    var everybody: UInt64 { .max >> UInt64(64 - accounts.count) }

    /// Takes as much of `wanted` as is free. The caller holds it until it puts it back or pays it.
    package func take(_ wanted: PoolPermits) -> PoolPermits { free.take(upTo: wanted) }

    /// Makes permits free.
    package func putBack(_ permits: PoolPermits) { free.add(permits) }

    /// Takes what has been paid to `member` since the last call.
    package func collect(_ member: Int) -> PoolPermits {
        accounts[member].credit.take(upTo: PoolPermits(open: .max, control: .max, pins: .max))
    }

    /// The workers that have published a need, a bit each.
    package var hungry: UInt64 { UInt64(bitPattern: Int64(hungryMask.load())) }

    /// Replaces the need of `member`; an empty need withdraws it.
    package func publish(_ need: PermitNeed, of member: Int) {
        let account = accounts[member]
        account.sharedSince.store(Int(need.sharedSince))
        account.pinSince.store(Int(need.pinSince))
        account.need.store(need.permits)
        let bit = Int(bitPattern: 1 << UInt(member))
        var mask = hungryMask.load()
        while true {
            let now = hungryMask.compareExchange(
                expected: mask, desired: need.permits.isEmpty ? mask & ~bit : mask | bit)
            if now == mask { return }
            mask = now
        }
    }

    /// What `member` lacks and nobody has promised yet.
    package func need(of member: Int) -> PermitNeed {
        let account = accounts[member]
        return PermitNeed(
            account.need.load().less(account.promised.load()),
            sharedSince: Int64(account.sharedSince.load()),
            pinSince: Int64(account.pinSince.load()))
    }

    /// Promises as much of `permits` as `member` still lacks, and returns that.
    package func promise(_ permits: PoolPermits, to member: Int) -> PoolPermits {
        let account = accounts[member]
        return account.promised.raise(by: permits, atMostTo: account.need.load())
    }

    /// Keeps a promise; the caller then wakes `member`. The credit comes last: once `member` can
    /// see it, it may publish a need that no longer counts it, and what was taken off that need
    /// would be lost for good.
    package func pay(_ permits: PoolPermits, to member: Int) {
        let account = accounts[member]
        account.need.subtract(permits)
        account.promised.subtract(permits)
        account.credit.add(permits)
    }

    /// Drops the promises to `member`, so that others make new ones.
    package func forgetPromises(to member: Int) {
        accounts[member].promised.store(PoolPermits())
    }

    // MARK: For tests

    /// The permits that anybody may take.
    package var freePermits: PoolPermits { free.load() }

    /// What has been paid to `member`, which has not collected it yet.
    package func credit(of member: Int) -> PoolPermits { accounts[member].credit.load() }

    /// What `member` has published and nobody has paid yet.
    package func unpaidNeed(of member: Int) -> PoolPermits { accounts[member].need.load() }
}

/// A number of each kind of permit, in cells.
private struct PermitCells<Cell: PermitCell>: Sendable {
    private let open: Cell
    private let control: Cell
    private let pins: Cell

    init(_ permits: PoolPermits, _ makeCell: (Int) -> Cell) {
        open = makeCell(permits.open)
        control = makeCell(permits.control)
        pins = makeCell(permits.pins)
    }

    func load() -> PoolPermits {
        PoolPermits(open: open.load(), control: control.load(), pins: pins.load())
    }

    func store(_ permits: PoolPermits) {
        open.store(permits.open)
        control.store(permits.control)
        pins.store(permits.pins)
    }

    func add(_ permits: PoolPermits) {
        _ = raise(by: permits, atMostTo: PoolPermits(open: .max, control: .max, pins: .max))
    }

    /// Stops at zero: after `forgetPromises` there may be less than is to be subtracted.
    func subtract(_ permits: PoolPermits) { _ = take(upTo: permits) }

    func take(upTo wanted: PoolPermits) -> PoolPermits {
        PoolPermits(
            open: PermitCells.take(open, wanted.open),
            control: PermitCells.take(control, wanted.control),
            pins: PermitCells.take(pins, wanted.pins))
    }

    func raise(by permits: PoolPermits, atMostTo limit: PoolPermits) -> PoolPermits {
        PoolPermits(
            open: PermitCells.raise(open, permits.open, limit.open),
            control: PermitCells.raise(control, permits.control, limit.control),
            pins: PermitCells.raise(pins, permits.pins, limit.pins))
    }

    private static func take(_ number: Cell, _ wanted: Int) -> Int {
        if wanted <= 0 { return 0 }
        var current = number.load()
        while current > 0 {
            let taken = min(current, wanted)
            let now = number.compareExchange(expected: current, desired: current - taken)
            if now == current { return taken }
            current = now
        }
        return 0
    }

    private static func raise(_ number: Cell, _ by: Int, _ limit: Int) -> Int {
        if by <= 0 { return 0 }
        var current = number.load()
        while current < limit {
            let raised = min(limit - current, by)
            let now = number.compareExchange(expected: current, desired: current + raised)
            if now == current { return raised }
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
