// How many upstreams a pool spends on commands that are not understood: each is closed behind its
// command, and the next client pays for a new one.

/// A limit on one-off upstreams, by rate and by number, over all workers of a pool. Clients that
/// find it shut wait in a line of the shell's.
package struct OneOffGate<Cell: PermitCell>: Sendable {
    /// Those in use: their command is not answered, or their connection not closed yet.
    private let used: Cell
    private let most: Int
    /// When the latest began, in nanoseconds: one place for each that a second allows.
    private let begun: [Cell]

    /// - Parameters:
    ///   - maxPinned: the pool's; half of it, but one at least, may be in use at once.
    ///   - makeCell: a number with this value.
    package init(maxPinned: Int, makeCell: (Int) -> Cell) {
        most = max(1, maxPinned / 2)
        used = makeCell(0)
        begun = (0..<OneOffLimits.perSecond).map { _ in makeCell(OneOffLimits.never) }
    }

    /// How many are in use.
    package var inUse: Int { used.load() }

    /// No more can begin before one ends.
    package var isFull: Bool { used.load() >= most }

    /// How many may begin now, unless another worker is quicker; `reserve` of those that a second
    /// allows are kept for others.
    package func room(now: MonotonicTime, reserve: Int = 0) -> Int {
        let due = begun.count { OneOffLimits.isOver(since: $0.load(), now: now) }
        return max(0, min(due - reserve, most - used.load()))
    }

    /// One begins, if there is room for it.
    package func begin(now: MonotonicTime) -> Bool {
        guard change(by: 1, upTo: most) else { return false }
        for cell in begun {
            let last = cell.load()
            guard OneOffLimits.isOver(since: last, now: now) else { continue }
            if cell.compareExchange(expected: last, desired: Int(now.nanoseconds)) == last {
                return true
            }
        }
        end()
        return false
    }

    /// The connection of one is closed.
    package func end() {
        _ = change(by: -1, upTo: .max)
    }

    private func change(by difference: Int, upTo limit: Int) -> Bool {
        var number = used.load()
        while number + difference <= limit, number + difference >= 0 {
            let found = used.compareExchange(expected: number, desired: number + difference)
            if found == number { return true }
            number = found
        }
        return false
    }
}

/// The limits that hold for every pool.
package enum OneOffLimits {
    /// One-off upstreams that a pool may begin within any second.
    package static let perSecond = 10
    /// Long before any clock begins, and far from the end of the number range.
    static let never = Int.min / 2

    static func isOver(since begun: Int, now: MonotonicTime) -> Bool {
        Int(now.nanoseconds) - begun >= 1_000_000_000
    }
}
