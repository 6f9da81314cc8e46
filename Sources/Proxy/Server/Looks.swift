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
    var roleDoubts = RoleDoubts()
    /// What has been told of it, and when.
    private var told: [PrimaryTrouble: MonotonicTime] = [:]
    /// A refusal older than this is tried again with the next connection.
    private(set) var interval = Looks.most

    /// The interval is `pingInterval` within these bounds, in nanoseconds.
    static let least: Int64 = 1_000_000_000
    private static let most: Int64 = 30_000_000_000

    /// Whether a sign of this kind was not told a moment ago.
    mutating func mayTell(_ trouble: PrimaryTrouble, now: MonotonicTime) -> Bool {
        if let last = told[trouble], now - last < Looks.tellInterval { return false }
        told[trouble] = now
        return true
    }

    /// Whether something has been told of it since the last call.
    mutating func hasTold() -> Bool {
        defer { told = [:] }
        return !told.isEmpty
    }

    private static let tellInterval: Int64 = 100_000_000

    mutating func asked(now: MonotonicTime) {
        lastAsked = now
        isTimeoutDoubtful = false
    }

    mutating func setInterval(_ pings: Int64) {
        interval = pings == 0 ? Looks.most : min(max(pings, Looks.least), Looks.most)
    }
}

/// Signs that the server has changed its role, such as READONLY. Each that is heeded costs all
/// connections. A pool may have a replica on purpose, and a client that keeps writing there: the
/// longer the same server answers, the fewer signs are heeded.
struct RoleDoubts {
    private var heededAt: MonotonicTime?
    /// The `run_id` of the server that gave the last sign.
    private var runID: [UInt8]?
    private var interval = RoleDoubts.least

    private static let least: Int64 = 1_000_000_000
    private static let most: Int64 = 60_000_000_000

    /// Whether a sign of the server with this `run_id` is to be heeded.
    mutating func heeds(_ runID: [UInt8]?, now: MonotonicTime) -> Bool {
        guard let heededAt, runID == self.runID else {
            self.heededAt = now
            self.runID = runID
            interval = RoleDoubts.least
            return true
        }
        guard now - heededAt >= interval else { return false }
        let wasQuiet = now - heededAt >= 4 * interval
        interval = wasQuiet ? RoleDoubts.least : min(2 * interval, RoleDoubts.most)
        self.heededAt = now
        return true
    }
}
