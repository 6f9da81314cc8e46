// When what a server has said of itself is asked again.

import Pool

/// When a server was asked for what can change while it runs.
struct Looks {
    /// The last answer to `CONFIG GET timeout`.
    private(set) var lastAsked = MonotonicTime(nanoseconds: 0)
    /// The server has closed a connection that nobody used: `timeout` may be another one now.
    var isTimeoutDoubtful = false
    /// When another server than before answered last.
    var otherServerSeen = MonotonicTime(nanoseconds: 0)
    /// What was refused longer ago than this is tried again with a new connection.
    private(set) var interval = Looks.most

    /// As often as an idle connection is sent PING, within these bounds.
    static let least: Int64 = 1_000_000_000
    private static let most: Int64 = 30_000_000_000

    mutating func asked(now: MonotonicTime) {
        lastAsked = now
        isTimeoutDoubtful = false
    }

    mutating func setInterval(_ pings: Int64) {
        interval = pings == 0 ? Looks.most : min(max(pings, Looks.least), Looks.most)
    }
}
