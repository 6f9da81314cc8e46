// When Redpool asks a server again about itself.

import Pool

/// When the server was last asked for facts that can change while it runs.
struct Looks {
    /// When `CONFIG GET timeout` was last answered.
    private(set) var lastAsked = MonotonicTime(nanoseconds: 0)
    /// The server has closed an unused connection, so its `timeout` may have changed.
    var isTimeoutDoubtful = false
    /// When a server other than the previous one last answered.
    var otherServerSeen = MonotonicTime(nanoseconds: 0)
    /// When a reply last suggested that the server has changed its role.
    var roleDoubted = MonotonicTime(nanoseconds: 0)
    /// A refusal older than this is tried again with the next connection.
    private(set) var interval = Looks.most

    /// The interval is `pingInterval` within these bounds, in nanoseconds.
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
