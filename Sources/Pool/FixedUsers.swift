// Users whom the server does not let move a connection to another protocol or database. Theirs are
// dialled for the key that is wanted; how often is limited, as a dial costs far more than a move.

/// Users who have been refused a conversion, for a while.
struct FixedUsers {
    private struct Entry {
        let until: Int64
        var tokens: Int
        var refilledAt: Int64
    }
    private var entries: [UInt32: Entry] = [:]
    private static let most = 1024
    /// So many connections of one user are dialled at once.
    private static let burst = 16
    /// Then one more each time that so much time has passed, in nanoseconds.
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

    /// Whether no connection of this user is worth converting.
    mutating func contains(_ user: UInt32, now: Int64) -> Bool {
        guard !entries.isEmpty, let entry = entries[user] else { return false }
        if now < entry.until { return true }
        entries[user] = nil
        return false
    }

    /// Whether one more connection may be dialled for a user who is in here.
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

    /// One is dialled.
    mutating func count(_ user: UInt32) { entries[user]?.tokens -= 1 }
}
