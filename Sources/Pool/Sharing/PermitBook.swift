// What the workers of a pool share: the free permits, and for each worker its need, the promises
// made to it and its credit; and how many permits there are. `Permits.swift` explains the scheme.

/// One number that several workers use at the same time. Its steps are atomic, and every worker
/// sees the steps of all numbers in the same order: the book relies on that.
package protocol PermitCell: AnyObject, Sendable {
    func load() -> Int
    func store(_ value: Int)
    /// Stores `desired` if the number is `expected`. Returns what the number was before.
    func compareExchange(expected: Int, desired: Int) -> Int
}

/// The permits that no worker holds, and what workers tell each other. Workers are numbered from 0
/// as members of the pool. Only the member itself calls `collect`, `publish` and `forgetPromises`
/// with its number.
package struct PermitBook<Cell: PermitCell>: Sendable {
    /// All numbers, see `Place`. They are in one array because each turn of a worker reads some: a
    /// struct of cells would be copied cell by cell for that, with a retain for each.
    private let cells: [Cell]
    private let members: Int

    /// - Parameters:
    ///   - permits: all permits of the pool; they are free at first.
    ///   - members: how many workers share them, at most 63.
    ///   - makeCell: a number with this value.
    package init(_ permits: PoolPermits, members: Int, makeCell: (Int) -> Cell) {
        let all = [permits.open, permits.control, permits.pins]
        var values = all + [0]
        // The last one is the sink.
        for _ in 0...members { values += [0, 0, 0, 0, 0, 0, 0, 0, 0, .max, .max] }
        values += all + all
        cells = values.map(makeCell)
        self.members = members
    }

    /// The workers that share the permits, a bit each.
    var everybody: UInt64 { .max >> UInt64(64 - members) }

    /// The member that no worker is. What it is paid, the pool no longer has.
    private var sink: Int { members }

    /// Takes as much of `wanted` as is free. The caller holds it until it puts it back or pays it.
    package func take(_ wanted: PoolPermits) -> PoolPermits { take(upTo: wanted, from: Place.free) }

    /// Makes permits free.
    package func putBack(_ permits: PoolPermits) { add(permits, to: Place.free) }

    /// Takes what has been paid to `member` since the last call.
    package func collect(_ member: Int) -> PoolPermits {
        take(
            upTo: PoolPermits(open: .max, control: .max, pins: .max), from: Place.credit(of: member)
        )
    }

    /// The workers that have published a need, a bit each.
    package var hungry: UInt64 { UInt64(bitPattern: Int64(cells[Place.hungry].load())) }

    /// Replaces the need of `member`; an empty need withdraws it.
    package func publish(_ need: PermitNeed, of member: Int) {
        cells[Place.sharedSince(of: member)].store(Int(need.sharedSince))
        cells[Place.pinSince(of: member)].store(Int(need.pinSince))
        let first = Place.need(of: member)
        cells[first].store(need.permits.open)
        cells[first + 1].store(need.permits.control)
        cells[first + 2].store(need.permits.pins)
        let bit = Int(bitPattern: 1 << UInt(member))
        let hungry = cells[Place.hungry]
        var mask = hungry.load()
        while true {
            let now = hungry.compareExchange(
                expected: mask, desired: need.permits.isEmpty ? mask & ~bit : mask | bit)
            if now == mask { return }
            mask = now
        }
    }

    /// What `member` lacks and nobody has promised yet.
    package func need(of member: Int) -> PermitNeed {
        PermitNeed(
            load(Place.need(of: member)).less(load(Place.promised(to: member))),
            sharedSince: Int64(cells[Place.sharedSince(of: member)].load()),
            pinSince: Int64(cells[Place.pinSince(of: member)].load()))
    }

    /// Promises as much of `permits` as `member` still lacks, and returns that.
    package func promise(_ permits: PoolPermits, to member: Int) -> PoolPermits {
        raise(
            Place.promised(to: member), by: permits, atMostTo: load(Place.need(of: member)))
    }

    /// Keeps a promise; the caller then wakes `member`. The credit is written last: a `member` that
    /// sees it may at once publish a need without these permits. If the old need were reduced only
    /// then, the reduction would hit the new one.
    package func pay(_ permits: PoolPermits, to member: Int) {
        // Both stop at zero: after `forgetPromises` there may be less than is to be subtracted.
        _ = take(upTo: permits, from: Place.need(of: member))
        _ = take(upTo: permits, from: Place.promised(to: member))
        add(permits, to: Place.credit(of: member))
    }

    /// Whether anything is promised to `member`.
    func hasPromises(to member: Int) -> Bool { !load(Place.promised(to: member)).isEmpty }

    /// Drops the promises to `member`, so that others make new ones.
    package func forgetPromises(to member: Int) {
        let first = Place.promised(to: member)
        for index in first..<first + 3 { cells[index].store(0) }
    }

    // MARK: How many there are

    /// Sets how many permits there are to be. `adjust` brings that about.
    package func setTotal(_ permits: PoolPermits) {
        let first = Place.total(members)
        cells[first].store(permits.open)
        cells[first + 1].store(permits.control)
        cells[first + 2].store(permits.pins)
    }

    /// Brings the number of permits to what was last set, as far as that can be had now: makes
    /// those that are missing, and takes those that are too many from the free ones; workers give
    /// up the rest as if another worker lacked it. Only one member calls this, with every tick. If
    /// a payment comes in between, too many may be given up; the next call makes them again. True
    /// when the others must look.
    package func adjust() -> Bool {
        let total = load(Place.total(members))
        let made = load(Place.made(members))
        let present = made.less(load(Place.credit(of: sink)))
        let missing = total.less(present)
        var surplus = present.less(total)
        if !missing.isEmpty {
            add(missing, to: Place.made(members))
            putBack(missing)
        }
        let bit: UInt64 = 1 << UInt64(sink)
        if surplus.isEmpty {
            if hungry & bit != 0 { publish(PermitNeed(), of: sink) }
            return !missing.isEmpty
        }
        let taken = take(surplus)
        add(taken, to: Place.credit(of: sink))
        surplus = surplus.less(taken)
        let isNew = hungry & bit == 0
        publish(
            surplus.isEmpty
                ? PermitNeed() : PermitNeed(surplus, sharedSince: 0, pinSince: 0),
            of: sink)
        return isNew || !missing.isEmpty
    }

    /// Drops the promises of what is too many: a promised pin may never end, and another one may
    /// end before it.
    package func forgetSurplusPromises() { forgetPromises(to: sink) }

    // MARK: For tests

    /// How many permits there are, wherever they are.
    package var presentPermits: PoolPermits {
        load(Place.made(members)).less(load(Place.credit(of: sink)))
    }

    /// The permits that anybody may take.
    package var freePermits: PoolPermits { load(Place.free) }

    /// What has been paid to `member`, which has not collected it yet.
    package func credit(of member: Int) -> PoolPermits { load(Place.credit(of: member)) }

    /// What `member` has published and nobody has paid yet.
    package func unpaidNeed(of member: Int) -> PoolPermits { load(Place.need(of: member)) }
}

/// Which cell is what. Where it says permits, three cells follow each other: open, control, pins.
private enum Place {
    /// Permits that any worker may take.
    static var free: Int { 0 }
    /// A bit for each worker that has published a need.
    static var hungry: Int { 3 }
    /// Permits that `member` lacks.
    static func need(of member: Int) -> Int { 4 + member * 11 }
    /// Permits of that need that other workers have promised.
    static func promised(to member: Int) -> Int { need(of: member) + 3 }
    /// Permits that are paid and not collected.
    static func credit(of member: Int) -> Int { need(of: member) + 6 }
    /// `PermitNeed.sharedSince` of the need.
    static func sharedSince(of member: Int) -> Int { need(of: member) + 9 }
    /// `PermitNeed.pinSince` of the need.
    static func pinSince(of member: Int) -> Int { need(of: member) + 10 }
    /// How many permits there are to be.
    static func total(_ members: Int) -> Int { need(of: members + 1) }
    /// How many have been made since the start.
    static func made(_ members: Int) -> Int { total(members) + 3 }
}

/// Steps on the three cells of one place.
extension PermitBook {
    private func load(_ place: Int) -> PoolPermits {
        PoolPermits(
            open: cells[place].load(), control: cells[place + 1].load(),
            pins: cells[place + 2].load())
    }

    private func take(upTo wanted: PoolPermits, from place: Int) -> PoolPermits {
        PoolPermits(
            open: take(wanted.open, place), control: take(wanted.control, place + 1),
            pins: take(wanted.pins, place + 2))
    }

    private func add(_ permits: PoolPermits, to place: Int) {
        _ = raise(
            place, by: permits, atMostTo: PoolPermits(open: .max, control: .max, pins: .max))
    }

    private func raise(
        _ place: Int, by permits: PoolPermits, atMostTo limit: PoolPermits
    ) -> PoolPermits {
        PoolPermits(
            open: raise(place, permits.open, limit.open),
            control: raise(place + 1, permits.control, limit.control),
            pins: raise(place + 2, permits.pins, limit.pins))
    }

    private func take(_ wanted: Int, _ index: Int) -> Int {
        if wanted <= 0 { return 0 }
        let number = cells[index]
        var current = number.load()
        while current > 0 {
            let taken = min(current, wanted)
            let now = number.compareExchange(expected: current, desired: current - taken)
            if now == current { return taken }
            current = now
        }
        return 0
    }

    private func raise(_ index: Int, _ by: Int, _ limit: Int) -> Int {
        if by <= 0 { return 0 }
        let number = cells[index]
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
