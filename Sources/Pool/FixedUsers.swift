// Users whose connections the server does not let convert to another protocol or database. For them
// the pool dials a connection for each key. The rate is limited: a dial costs far more than a
// conversion.

/// Users who were refused a conversion, each until a certain time.
struct FixedUsers {
    private struct Entry {
        let until: Int64
        var tokens: Int
        var refilledAt: Int64
    }
    private var entries: [UInt32: Entry] = [:]
    private static let most = 1024
    /// Connections that may be dialled for one user at once.
    private static let burst = 16
    /// The time after which one more may be dialled, in nanoseconds.
    private static let interval: Int64 = 50_000_000

    /// A conversion was refused to this user.
    mutating func add(_ user: UInt32, until: Int64, now: Int64) {
        if entries.count >= FixedUsers.most { entries = [:] }
        let known = entries[user]
        entries[user] = Entry(
            until: until, tokens: known?.tokens ?? FixedUsers.burst,
            refilledAt: known?.refilledAt ?? now)
    }

    mutating func forget() { entries = [:] }

    /// Whether the server refuses to convert connections of this user.
    mutating func contains(_ user: UInt32, now: Int64) -> Bool {
        guard !entries.isEmpty, let entry = entries[user] else { return false }
        if now < entry.until { return true }
        entries[user] = nil
        return false
    }

    /// Whether one more connection may be dialled for this user.
    mutating func hasRoom(for user: UInt32, now: Int64) -> Bool {
        guard var entry = entries[user] else { return true }
        let due = Int(clamping: (now - entry.refilledAt) / FixedUsers.interval)
        if due > 0 {
            entry.tokens = min(FixedUsers.burst, entry.tokens + min(due, FixedUsers.burst))
            entry.refilledAt = now
            entries[user] = entry
        }
        return entry.tokens > 0
    }

    /// Counts a connection that is dialled for this user.
    mutating func count(_ user: UInt32) { entries[user]?.tokens -= 1 }
}
