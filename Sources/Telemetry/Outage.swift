// What the log says of the time in which a pool has no upstream.

/// The time since a pool has lost its last upstream, until it has one again. It has a line at its
/// beginning, one a minute while it lasts, and one at its end. What follows from it, failed dials
/// and refused commands, is counted for these lines; only the first of each kind has a line of its
/// own. Pure: the time is passed in.
package struct Outage: Sendable, Equatable {
    /// When it began, in nanoseconds of any origin.
    package let began: Int64
    /// The latest cause, in the words of the system or the server.
    package private(set) var error: String
    /// Dials that failed, the first included.
    package private(set) var dialFailures = 1
    /// Commands that got an error of Redpool's own.
    package private(set) var refused = 0
    /// Clients that were closed with their upstreams.
    package private(set) var closed: Int

    /// Clients that left while they waited for an upstream.
    package private(set) var left: UInt64 = 0

    private var toldAt: Int64
    private var told: Set<RateLimiter.Key>

    /// The events that follow from an outage.
    package static let connectFailed = "upstream.connect_failed"
    package static let clientRefused = "client.refused"
    /// The reason of refusals that have nothing to do with it.
    package static let denied = "denied"

    private static let interval: Int64 = 60_000_000_000
    private static let mostKinds = 16

    /// - Parameters:
    ///   - key: the event of the failed dial that made the pool notice.
    ///   - closed: clients that were closed with the last upstreams.
    package init(_ key: RateLimiter.Key, error: String, closed: Int, now: Int64) {
        began = now
        toldAt = now
        told = [key]
        self.error = error
        self.closed = closed
    }

    /// Whether an event follows from an outage of its pool.
    package static func causes(_ key: RateLimiter.Key) -> Bool {
        key.event == connectFailed || (key.event == clientRefused && key.reason != denied)
    }

    /// Counts an event that `causes` names. True for the first of its kind, which has its own line.
    package mutating func count(_ key: RateLimiter.Key, _ said: RateLimiter.Said) -> Bool {
        if key.event == Outage.connectFailed {
            dialFailures += 1
            error = said.error
        } else {
            refused += 1
        }
        return told.count < Outage.mostKinds && told.insert(key).inserted
    }

    /// A client was closed because its upstream was lost.
    package mutating func countClosed() { closed += 1 }

    /// Clients have left that waited for an upstream.
    package mutating func countLeft(_ count: UInt64) { left += count }

    /// Whether a minute has passed since the last line. The line is then given.
    package mutating func isLineDue(now: Int64) -> Bool {
        guard now - toldAt >= Outage.interval else { return false }
        toldAt = now
        return true
    }

    /// How long it has lasted, in milliseconds.
    package func milliseconds(now: Int64) -> Int64 { max(0, now - began) / 1_000_000 }
}
