// Whether commands of a pool wait too long: for the server's replies, or for an upstream. Decides
// what is told of that, and when.

/// What a worker sees of its part of a pool.
package struct PoolSight: Equatable, Sendable {
    /// Clients' commands that are sent and not answered, without those that may block.
    package var inFlight = 0
    /// The clients that wait for these replies.
    package var clients = 0
    /// When the oldest of these commands was sent; nil if there is none.
    package var commandSince: Int64?
    /// Clients that wait for an upstream.
    package var waiting = 0
    /// When the oldest of these began to wait; nil if there is none.
    package var waiterSince: Int64?
    /// Clients that have left while they waited, since the start.
    package var left: UInt64 = 0
    package var open = 0
    package var pinned = 0

    package init() {}

    /// Adds what another worker sees.
    package mutating func add(_ other: PoolSight) {
        inFlight += other.inFlight
        clients += other.clients
        commandSince = PoolSight.earlier(commandSince, other.commandSince)
        waiting += other.waiting
        waiterSince = PoolSight.earlier(waiterSince, other.waiterSince)
        left += other.left
        open += other.open
        pinned += other.pinned
    }

    private static func earlier(_ left: Int64?, _ right: Int64?) -> Int64? {
        guard let left, let right else { return left ?? right }
        return min(left, right)
    }

    /// The age of the oldest command in flight in nanoseconds; 0 if there is none.
    package func oldestCommand(now: MonotonicTime) -> Int64 {
        max(0, now.nanoseconds - (commandSince ?? now.nanoseconds))
    }

    /// How long the oldest waiter has waited, in nanoseconds; 0 if there is none.
    package func oldestWait(now: MonotonicTime) -> Int64 {
        max(0, now.nanoseconds - (waiterSince ?? now.nanoseconds))
    }

    /// An age in milliseconds, for people. More than an hour is not told apart: the stamps of
    /// commands begin again after 71 minutes.
    package static func milliseconds(_ age: Int64) -> String {
        age > .seconds(3600) ? ">3600000" : "\(age / 1_000_000)"
    }
}

/// A line that is due.
package struct PoolNotice: Equatable, Sendable {
    package enum Kind: Equatable, Sendable {
        /// The oldest command is unanswered for too long.
        case stalled
        /// It is answered.
        case answered
        /// Clients wait too long for an upstream.
        case waiting
        /// Clients have left while they waited for one.
        case left
        /// Nobody has waited too long for a while.
        case served
    }

    package let kind: Kind
    /// What all workers see.
    package let sight: PoolSight
    /// Clients that have left while they waited, since the last line.
    package let left: UInt64
    /// How long it has lasted, in nanoseconds.
    package let duration: Int64
}

/// Watches all workers' parts of a pool.
///
/// `now` may differ between workers by as much as a turn of a worker lasts.
package struct PoolWatch: Sendable {
    /// One kind of trouble.
    private struct Trouble: Sendable {
        /// Nil while there is none that was told.
        var began: Int64?
        /// When it was last seen.
        var seenAt: Int64 = 0
        var toldAt = Int64.min / 2

        /// Whether a line is due for trouble that is seen now: one when it begins, not more often
        /// than every `merging`, then one every `interval`.
        mutating func isLineDue(since: Int64, now: Int64) -> Bool {
            seenAt = now
            guard now - toldAt >= (began == nil ? PoolWatch.merging : PoolWatch.interval) else {
                return false
            }
            toldAt = now
            began = began ?? since
            return true
        }

        /// The duration of trouble that has not been seen for `calm`; nil if there is none.
        mutating func end(after calm: Int64, now: Int64) -> Int64? {
            guard let began, now - seenAt >= calm else { return nil }
            self.began = nil
            return max(0, now - began)
        }
    }

    private var sights: [PoolSight]
    private var stall = Trouble()
    private var queue = Trouble()
    /// Of the clients that have left, those that a line has counted.
    private var counted: UInt64 = 0
    /// The number of clients that had left when it was last looked at.
    private var seenLeft: UInt64 = 0

    /// A command that is unanswered for this long is told of, in nanoseconds.
    package static let longestReply: Int64 = .seconds(5)
    /// A wait for an upstream of this length is told of.
    package static let longestWait: Int64 = .seconds(1)
    /// Nobody has waited for that long: the end of the trouble.
    private static let calm: Int64 = .seconds(1)
    /// New trouble is told at most once in this time.
    private static let merging: Int64 = .seconds(10)
    /// Trouble that lasts is told again.
    private static let interval: Int64 = .seconds(60)

    /// A watch over the parts of this many workers.
    package init(members: Int) {
        sights = Array(repeating: PoolSight(), count: members)
    }

    /// A worker tells what it sees, with every tick. Returns the lines that are due. While the pool
    /// is down there are none: that has lines of its own.
    package mutating func look(
        _ sight: PoolSight, of member: Int, isDown: Bool, now: MonotonicTime
    ) -> [PoolNotice] {
        sights[member] = sight
        var whole = PoolSight()
        for sight in sights { whole.add(sight) }
        if isDown {
            stall.began = nil
            queue.began = nil
            return []
        }
        var notices: [PoolNotice] = []
        if let notice = lookAtReplies(whole, now) { notices.append(notice) }
        if let notice = lookAtWaiters(whole, now) { notices.append(notice) }
        return notices
    }

    /// The number of clients that have left and that no line has counted. Then it is counted.
    package mutating func takeLeft() -> UInt64 {
        let left = sights.reduce(0) { $0 + $1.left }
        defer { counted = left }
        return left - counted
    }

    private mutating func lookAtReplies(_ whole: PoolSight, _ now: MonotonicTime) -> PoolNotice? {
        let age = whole.oldestCommand(now: now)
        let time = now.nanoseconds
        if age >= PoolWatch.longestReply {
            guard stall.isLineDue(since: time - age, now: time) else { return nil }
            return PoolNotice(kind: .stalled, sight: whole, left: 0, duration: age)
        }
        guard let duration = stall.end(after: 0, now: time) else { return nil }
        return PoolNotice(kind: .answered, sight: whole, left: 0, duration: duration)
    }

    private mutating func lookAtWaiters(_ whole: PoolSight, _ now: MonotonicTime) -> PoolNotice? {
        let wait = whole.oldestWait(now: now)
        let time = now.nanoseconds
        let isLong = wait >= PoolWatch.longestWait
        // Those whom a line that is not due yet has to count are trouble as long as none was told.
        let isLeft = whole.left > (queue.began == nil ? counted : seenLeft)
        seenLeft = whole.left
        if isLong || isLeft {
            let since = isLong ? time - wait : time
            guard queue.isLineDue(since: since, now: time) else { return nil }
            return PoolNotice(
                kind: isLong ? .waiting : .left, sight: whole, left: takeLeft(), duration: wait)
        }
        guard let duration = queue.end(after: PoolWatch.calm, now: time) else { return nil }
        return PoolNotice(kind: .served, sight: whole, left: takeLeft(), duration: duration)
    }
}
