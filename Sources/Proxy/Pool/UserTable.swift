// Users whose credentials the server has accepted. Redpool opens connections with them. Only the
// names are ever logged or shown.

import Config
import HandOver
import Pool

/// The users of one pool. User 0 is the configured user, or the server's default user. Every other
/// number stands for one name with one password and is never reused, so what is kept under a number
/// concerns only clients that have shown that password.
struct UserTable {
    private struct Entry {
        let name: [UInt8]
        var password: Secret
        /// The client that was first to bring this password, since the last refusal if there was
        /// one.
        var witness: UInt64 = 0
        /// The server accepted the credentials earlier and refuses them now.
        var isRefused = false
    }
    private var base: Entry
    private var entries: [UInt32: Entry] = [:]
    /// The numbers of each name, in the order in which clients brought its passwords.
    private var numbers: [[UInt8]: [UInt32]] = [:]
    private var last: UInt32 = 0
    /// The user with the name of user 0 whose password the server accepted last.
    private var newestDefault: UInt32?
    /// When the last connection was made for which the default user needed no login.
    var openSince = MonotonicTime(nanoseconds: 0)
    /// When `keep` last made no room.
    private var fullSince: MonotonicTime?
    /// Bounds the memory that a client can use up by trying users.
    private static let most = 4096
    /// The same for the passwords of one name: the server accepts any password for a user without
    /// one.
    private static let mostOfName = 64
    /// After a search that made no room, none is made for this long, in nanoseconds.
    private static let patience: Int64 = 100_000_000

    init(name: String, password: Secret?) {
        base = Entry(
            name: Array((name.isEmpty ? "default" : name).utf8),
            password: password ?? "")
    }

    /// The user whose credentials are exactly these, unless the server refuses them now.
    func find(name: [UInt8], password: [UInt8]) -> UInt32? {
        number(name, password).flatMap { entries[$0]?.isRefused == true ? nil : $0 }
    }

    private func number(_ name: [UInt8], _ password: [UInt8]) -> UInt32? {
        if name == base.name, base.password.matches(password) { return 0 }
        return numbers[name]?.first { entries[$0]?.password.matches(password) == true }
    }

    /// The users of this name with a password that a client has brought.
    func all(named name: [UInt8]) -> [UInt32] { numbers[name] ?? [] }

    /// True when there is no room for one more user of this name.
    func isFull(for name: [UInt8]) -> Bool {
        last == .max || entries.count >= UserTable.most
            || all(named: name).count >= UserTable.mostOfName
    }

    /// Records credentials that the server has just accepted from the client with this id. A new
    /// password for a known name makes a new user: it shares nothing with clients that have shown
    /// another password. Nil when there are too many users.
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
            entries[user] = Entry(name: name, password: Secret(password), witness: client)
            numbers[name, default: []].append(user)
        }
        if user != 0, name == base.name { newestDefault = user }
        return user
    }

    /// True when a search for unused users may make room.
    func mayLookForRoom(now: MonotonicTime) -> Bool {
        fullSince.map { now - $0 >= UserTable.patience } ?? true
    }

    /// Drops all users except these. Notes the time if that makes no room.
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

    /// The server has refused a user's credentials. It judges the next client that brings them.
    mutating func refused(_ user: UInt32) {
        entries[user]?.isRefused = true
    }

    /// The default user has changed: the server judges again all passwords that clients have
    /// brought for it.
    mutating func forgetDefault() {
        for user in all(named: base.name) { refused(user) }
    }

    /// The configuration has other credentials, or another server judges all of them. Users stay,
    /// because clients have their numbers, and the server judges each again.
    mutating func move(name: String, password: Secret?) {
        self = UserTable(name: name, password: password, keeping: self)
    }

    private init(name: String, password: Secret?, keeping old: UserTable) {
        self.init(name: name, password: password)
        entries = old.entries
        numbers = old.numbers
        last = old.last
        for user in entries.keys { refused(user) }
    }

    /// The configuration has another password for user 0.
    mutating func setPassword(_ password: Secret?) {
        base.password = password ?? ""
    }

    /// The user with the name of user 0 and a password that a client has brought, and that client.
    var defaultByPassword: (user: UInt32, witness: UInt64)? {
        guard let newestDefault, let entry = entries[newestDefault], !entry.isRefused else {
            return nil
        }
        return (newestDefault, entry.witness)
    }

    // MARK: Handing over

    /// Writes down all users but user 0.
    func write(to pool: inout CarriedPool) {
        pool.users = entries.map { number, entry in
            CarriedUser(
                number: number, name: entry.name, password: entry.password.bytes,
                witness: entry.witness, isRefused: entry.isRefused)
        }
        pool.lastUser = last
        pool.newestDefault = newestDefault
        pool.openSince = openSince
    }

    /// Takes over users of a former program. Returns their numbers here, by those there.
    mutating func take(_ users: [CarriedUser]) -> [UInt32: UInt32] {
        var numbers: [UInt32: UInt32] = [:]
        for user in users.sorted(by: { $0.number < $1.number }) {
            let known = accepted(name: user.name, password: user.password, from: user.witness)
            numbers[user.number] = known
            if user.isRefused, let known { refused(known) }
        }
        return numbers
    }

    /// The server refuses a login with an empty name.
    func name(of user: UInt32) -> [UInt8] { user == 0 ? base.name : entries[user]?.name ?? [] }

    func password(of user: UInt32) -> [UInt8] {
        user == 0 ? base.password.bytes : entries[user]?.password.bytes ?? []
    }
}
