// Watches clients that do not read: each for a while before it is judged, and all who delay others
// by one clock.

import Pool

/// The start of a time in which a slow client is watched, and how much it had read by then.
struct LimitCheck {
    let since: MonotonicTime
    let taken: UInt64
    /// The client's upstream is not read meanwhile.
    let isUnread: Bool

    init(_ client: ClientConnection, isUnread: Bool = false) {
        since = client.worker.now
        taken = client.bytesRead
        self.isUnread = isUnread
    }

    /// How long a client that delays others is watched before it is judged, in nanoseconds.
    static let interval: Int64 = 1_000_000_000
    /// The same for a client that delays nobody.
    static let shortInterval: Int64 = 100_000_000
    /// In a shorter time the client's reading cannot be measured.
    static let leastInterval: Int64 = 10_000_000
}

/// How long clients at their limits have delayed the other clients of one upstream. One clock
/// covers all of them.
struct LimitClock {
    private var began: MonotonicTime?
    private var left: MonotonicTime?

    /// The clock starts anew after this long without a client at its limit, in nanoseconds.
    private static let rest: Int64 = 10_000_000_000

    /// A client has reached its limit.
    mutating func begin(_ now: MonotonicTime) {
        if isAtRest(now) { began = now }
        left = nil
    }

    /// A client is below its limit again. The clock runs on while others are at theirs.
    mutating func leave(_ now: MonotonicTime) { left = now }

    /// The others have waited long enough for a client that does not read.
    func isOver(_ now: MonotonicTime) -> Bool {
        guard let began, !isAtRest(now) else { return false }
        return now - began >= LimitCheck.interval
    }

    /// The others have waited long enough for clients that read, but slowly.
    func isSpent(_ now: MonotonicTime) -> Bool {
        guard let began, !isAtRest(now) else { return false }
        return now - began >= LimitClock.most
    }

    private static let most: Int64 = 5_000_000_000

    private func isAtRest(_ now: MonotonicTime) -> Bool {
        guard began != nil else { return true }
        return left.map { now - $0 >= LimitClock.rest } ?? false
    }
}
