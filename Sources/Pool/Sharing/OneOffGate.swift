// A limit on one-off upstreams. A command that Redpool does not understand gets an upstream that is
// closed after it, so each such command costs the pool a new connection.

/// Limits one-off upstreams over all workers of a pool, by their number and by their rate. Clients
/// that exceed the limit wait in a queue of the shell's.
package struct OneOffGate<Cell: PermitCell>: Sendable {
    /// How many are in use: one counts from `begin` until its connection is closed.
    private let used: Cell
    private let most: Cell
    /// When the last `perSecond` of them began, in nanoseconds.
    private let begun: [Cell]

    /// - Parameters:
    ///   - maxPinned: the pool's; half of it, but one at least, may be in use at once.
    ///   - makeCell: a number with this value.
    package init(maxPinned: Int, makeCell: (Int) -> Cell) {
        used = makeCell(0)
        // Without `map`, which would not be specialized here: its general form is far larger.
        var begun: [Cell] = []
        for _ in 0..<OneOffLimits.perSecond { begun.append(makeCell(OneOffLimits.never)) }
        self.begun = begun
        most = makeCell(Self.most(of: maxPinned))
    }

    /// The pool's `maxPinned` has changed. Those in use stay.
    package func setMaxPinned(_ maxPinned: Int) { most.store(Self.most(of: maxPinned)) }

    private static func most(of maxPinned: Int) -> Int { max(1, maxPinned / 2) }

    /// How many are in use.
    package var inUse: Int { used.load() }

    /// Whether no more can begin before one ends.
    package var isFull: Bool { used.load() >= most.load() }

    /// How many may begin now, unless another worker begins one first. `reserve` of the `perSecond`
    /// are not counted.
    package func room(now: MonotonicTime, reserve: Int = 0) -> Int {
        let due = begun.count { OneOffLimits.isOver(since: $0.load(), now: now) }
        return max(0, min(due - reserve, most.load() - used.load()))
    }

    /// Counts one that begins. False if the limit does not allow it.
    package func begin(now: MonotonicTime) -> Bool {
        guard change(by: 1, upTo: most.load()) else { return false }
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

    /// Counts one whose connection is closed.
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
    /// How many one-off upstreams a pool may begin within a second.
    package static let perSecond = 10
    /// A time before any clock's start, and far enough from `Int.min` not to overflow.
    static let never = Int.min / 2

    static func isOver(since begun: Int, now: MonotonicTime) -> Bool {
        Int(now.nanoseconds) - begun >= 1_000_000_000
    }
}
