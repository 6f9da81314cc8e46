// Users whose credentials the server has accepted, so that connections can be opened in their name.
// Nothing here is ever logged or shown but the name.

import Config
import Pool

/// The users of one pool. User 0 is the one that the configuration names, or the server's default.
struct UserTable {
    private struct Entry {
        var name: [UInt8]
        var password: [UInt8]
        /// The client that brought this password first.
        var witness: UInt64 = 0
        /// The server has accepted the credentials before and does not any more.
        var isRefused = false
    }
    private var entries: [Entry]
    var checks = UserChecks()
    /// A client that tries users out must not fill the memory.
    private static let most = 4096

    init(name: String, password: String?) {
        entries = [
            Entry(
                name: Array((name.isEmpty ? "default" : name).utf8),
                password: Array((password ?? "").utf8))
        ]
    }

    /// The user for whom exactly these credentials were accepted the last time.
    func find(name: [UInt8], password: [UInt8]) -> UInt32? {
        entries.firstIndex { $0.name == name && $0.password == password && !$0.isRefused }
            .map(UInt32.init)
    }

    /// The user of this name whose credentials clients have brought.
    func find(name: [UInt8]) -> UInt32? {
        entries.dropFirst().firstIndex { $0.name == name }.map(UInt32.init)
    }

    /// Records credentials that the server has just accepted from a client, by its id. Nil when
    /// there are too many users.
    mutating func accepted(name: [UInt8], password: [UInt8], from client: UInt64) -> UInt32? {
        if let index = entries.firstIndex(where: { $0.name == name && $0.password == password }) {
            entries[index].isRefused = false
            return UInt32(index)
        }
        // User 0 keeps the configured password, whatever a client found to work as well.
        if let index = entries.dropFirst().firstIndex(where: { $0.name == name }) {
            entries[index].password = password
            entries[index].witness = client
            entries[index].isRefused = false
            return UInt32(index)
        }
        guard entries.count < UserTable.most else { return nil }
        entries.append(Entry(name: name, password: password, witness: client))
        return UInt32(entries.count - 1)
    }

    /// The server has refused a user's credentials: the next client that brings them is judged
    /// anew.
    mutating func refused(_ user: UInt32) {
        entries[Int(user)].isRefused = true
    }

    /// Passwords that clients have brought for the same user as user 0 are judged anew.
    mutating func forgetDefault() {
        for index in entries.indices.dropFirst() where entries[index].name == entries[0].name {
            entries[index].isRefused = true
        }
    }

    /// The same user as user 0, by a password that a client has brought, and that client.
    var defaultByPassword: (user: UInt32, witness: UInt64)? {
        let found = entries.indices.dropFirst().first {
            entries[$0].name == entries[0].name && !entries[$0].isRefused
        }
        return found.map { (UInt32($0), entries[$0].witness) }
    }

    func name(of user: UInt32) -> [UInt8] { entries[Int(user)].name }

    func password(of user: UInt32) -> [UInt8] { entries[Int(user)].password }
}

extension UpstreamPool {
    /// What a new connection has shown of the server's default user, when the configuration names
    /// no other: it has to log in, or it has not.
    func noteDefault(needsLogin: Bool) {
        isLoginKnown = true
        guard config.password == nil, needsLogin != defaultNeedsLogin else { return }
        defaultNeedsLogin = needsLogin
        forgetValidated()
        if needsLogin { lockDefault() } else { unlockDefault() }
    }

    /// The default user needs no password any more. Connections that were made while it did stay
    /// without a login, and what was brought as its password says nothing of the next one.
    private func unlockDefault() {
        users.forgetDefault()
        for upstream in allUpstreams where upstream.key.user == 0 && upstream.lacksLogin {
            upstream.retireWhenFree(.configChanged)
        }
    }

    /// The default user has got a password. To the server, earlier connections are logged in all
    /// the same: no later client may have one of them, and clients that came before whoever brought
    /// the password go on by way of that.
    private func lockDefault() {
        retireDefaults()
        guard let (user, witness) = users.defaultByPassword else { return }
        for client in worker.clients.all
        where client.pool === self && client.key.user == 0 && client.serial < witness {
            client.key.user = user
            guard case .waiting(let ticket) = client.mode else { continue }
            machine.cancel(ticket)
            client.leaseAnew()
        }
        noteWork()
    }

    /// A client has logged in. If it is the first to bring a password for the user that all others
    /// are without one, the next new connection has to show whether they still may be.
    func noteLogin(of client: ClientConnection) {
        guard config.password == nil, !defaultNeedsLogin,
            users.defaultByPassword?.witness == client.serial
        else { return }
        retireDefaults()
    }

    /// Whatever goes to a shared connection of the default user is refused there before it can
    /// change anything.
    var isAllWithoutLogin: Bool {
        allUpstreams.allSatisfy { $0.key.user != 0 || $0.isExclusive || $0.lacksLogin }
    }

    private func retireDefaults() {
        for upstream in allUpstreams where upstream.key.user == 0 && upstream.stage == .ready {
            upstream.retireWhenFree(.configChanged)
        }
    }

    /// No connection can be had for `key`, whose user is a client's: the password has changed, or
    /// the user is gone (`isLogin`), or may not select the database. Whoever waits to log in is
    /// judged by the server elsewhere; whoever is logged in already cannot be served, and is closed
    /// as a client of a deleted user would be. The breaker does not count it: no client may close
    /// the pool to the others.
    func stateRefused(_ id: UpstreamID, _ key: PoolKey, isLogin: Bool, _ text: String) {
        if key.user != 0 { users.refused(key.user) }
        forgetValidated()
        for client in worker.clients.all where client.pool === self {
            guard case .waiting(let ticket) = client.mode else { continue }
            // HELLO, say, which can go elsewhere.
            let isVisitor = client.awaited?.key == key && client.key != key
            let isLoggingIn =
                client.key != key && client.isLoggingIn(as: users.name(of: key.user))
            if isVisitor || isLoggingIn {
                machine.cancel(ticket)
                client.leaseAnew()
            } else if isLogin ? client.key.user == key.user : client.key == key {
                client.closeAfterFlush(isLogin ? .user_refused : .upstream_lost)
            }
        }
        endCheck { $0.key == key }
        if isLogin { loginRefused(key.user) }
        // Nobody else wants a connection of this user: none must be dialled in its place.
        if scripts.asking?.key == key {
            endScriptQuestion(patience: ScriptTrust.shortPatience)
        }
        machine.retire(id, .handshakeFailed, now: worker.now)
        machine.closed(id, now: worker.now)
        noteWork()
        warnLimit(
            "upstream.state_refused", reason: CloseReason.handshakeFailed.word,
            "\(config.upstream) refuses a client's state: \(text)")
    }
}
