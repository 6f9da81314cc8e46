// Users whose credentials the server has accepted, so that connections can be opened in their name.
// Nothing here is ever logged or shown but the name.

import Config
import Pool

/// The users of one pool. User 0 is the one that the configuration names, or the server's default;
/// every other number stands for one name with one password, and is never used again: whatever is
/// kept by number is about the clients who have shown that password.
struct UserTable {
    private struct Entry {
        let name: [UInt8]
        let password: [UInt8]
        /// The client that brought this password first, since it was refused if it was.
        var witness: UInt64 = 0
        /// The server has accepted the credentials before and does not any more.
        var isRefused = false
    }
    private let base: Entry
    private var entries: [UInt32: Entry] = [:]
    /// The numbers of a name, in the order in which its passwords were brought.
    private var numbers: [[UInt8]: [UInt32]] = [:]
    private var last: UInt32 = 0
    /// The user of the same name as user 0 whose password the server accepted last.
    private var newestDefault: UInt32?
    /// Since then the last connection was made for which the default user needed no login.
    var openSince = MonotonicTime(nanoseconds: 0)
    var checks = UserChecks()
    /// When room was last looked for, in vain.
    private var fullSince: MonotonicTime?
    /// A client that tries users out must not fill the memory.
    private static let most = 4096
    /// The same for passwords of one name: a user without one is let in with any.
    private static let mostOfName = 64
    /// For so long nobody looks again where there was no room, in nanoseconds.
    private static let patience: Int64 = 100_000_000

    init(name: String, password: String?) {
        base = Entry(
            name: Array((name.isEmpty ? "default" : name).utf8),
            password: Array((password ?? "").utf8))
    }

    /// The user for whom exactly these credentials were accepted the last time.
    func find(name: [UInt8], password: [UInt8]) -> UInt32? {
        number(name, password).flatMap { entries[$0]?.isRefused == true ? nil : $0 }
    }

    private func number(_ name: [UInt8], _ password: [UInt8]) -> UInt32? {
        if name == base.name, password == base.password { return 0 }
        return numbers[name]?.first { entries[$0]?.password == password }
    }

    /// The users of this name whose credentials clients have brought.
    func all(named name: [UInt8]) -> [UInt32] { numbers[name] ?? [] }

    /// Whether one user more of this name would be too many.
    func isFull(for name: [UInt8]) -> Bool {
        last == .max || entries.count >= UserTable.most
            || all(named: name).count >= UserTable.mostOfName
    }

    /// Records credentials that the server has just accepted from a client, by its id. A password
    /// that is new for the name is a new user: clients who have shown another one have no part in
    /// it. Nil when there are too many users.
    mutating func accepted(name: [UInt8], password: [UInt8], from client: UInt64) -> UInt32? {
        let user: UInt32
        if let known = number(name, password) {
            if entries[known]?.isRefused == true {
                entries[known]?.isRefused = false
                entries[known]?.witness = client
            }
            user = known
        } else {
            if isFull(for: name) { return nil }
            last += 1
            user = last
            entries[user] = Entry(name: name, password: password, witness: client)
            numbers[name, default: []].append(user)
        }
        if user != 0, name == base.name { newestDefault = user }
        return user
    }

    /// Whether it is worth the while to look for users that nobody needs any more.
    func mayLookForRoom(now: MonotonicTime) -> Bool {
        fullSince.map { now - $0 >= UserTable.patience } ?? true
    }

    /// Forgets all users but these. `now` is noted if that makes no room.
    mutating func keep(_ used: Set<UInt32>, now: MonotonicTime) {
        let count = entries.count
        entries = entries.filter { used.contains($0.key) }
        numbers = numbers.compactMapValues { all in
            let left = all.filter { used.contains($0) }
            return left.isEmpty ? nil : left
        }
        if let newest = newestDefault, entries[newest] == nil { newestDefault = nil }
        fullSince = entries.count == count ? now : nil
    }

    /// The server has refused a user's credentials: the next client that brings them is judged
    /// anew.
    mutating func refused(_ user: UInt32) {
        entries[user]?.isRefused = true
    }

    /// Passwords that clients have brought for the same user as user 0 are judged anew.
    mutating func forgetDefault() {
        for user in all(named: base.name) { refused(user) }
    }

    /// The same user as user 0, by a password that a client has brought, and that client.
    var defaultByPassword: (user: UInt32, witness: UInt64)? {
        guard let newestDefault, let entry = entries[newestDefault], !entry.isRefused else {
            return nil
        }
        return (newestDefault, entry.witness)
    }

    /// Without a name the server lets nobody in.
    func name(of user: UInt32) -> [UInt8] { user == 0 ? base.name : entries[user]?.name ?? [] }

    func password(of user: UInt32) -> [UInt8] {
        user == 0 ? base.password : entries[user]?.password ?? []
    }
}
