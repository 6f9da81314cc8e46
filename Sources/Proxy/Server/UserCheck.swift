// Whether users in whose name clients have logged in are still there. The server closes the
// connections of a user that it deletes; clients that share one, or have none at that moment, can
// only be closed when it is known that it was not closed for something else.

import Config
import EventLoop
import Pool

/// Users of whom nobody knows whether the server still lets them in.
struct UserChecks {
    /// A connection in a user's name that is waited for.
    struct Asking {
        let user: UInt32
        let key: PoolKey
        let ticket: WaitTicket
        let until: MonotonicTime
    }

    var asking: Asking?
    /// One is asked about at a time.
    var waiting: [UInt32] = []
}

extension Server {
    /// Who leases the connection.
    private static let userAsker = WaiterID(raw: .max - 1)

    /// The server has closed a connection of this user, or refused his credentials to a client. The
    /// next tick has a look, if nobody has then made another connection.
    func doubt(_ user: UInt32) {
        if user == 0 || pool.users.checks.waiting.contains(user) || isServed(user) { return }
        // What was asked for before has come and gone.
        endCheck { $0.user == user }
        pool.users.checks.waiting.append(user)
    }

    /// There is a connection in this user's name.
    private func isServed(_ user: UInt32) -> Bool {
        allUpstreams.contains { $0.key.user == user && $0.stage == .ready }
    }

    /// Called with every tick: has a connection made for the first user in the line.
    func checkUsers() {
        if let asking = pool.users.checks.asking {
            guard isServed(asking.user) || worker.now >= asking.until else { return }
            pool.users.checks.asking = nil
        }
        while pool.users.checks.asking == nil, !pool.users.checks.waiting.isEmpty {
            check(pool.users.checks.waiting.removeFirst())
        }
    }

    private func check(_ user: UInt32) {
        let client = worker.clients.all.first { $0.pool === pool && $0.key.user == user }
        guard let client, !isServed(user) else { return }
        let key = PoolKey(
            user: user, protocolVersion: client.key.protocolVersion, database: 0)
        switch machine.lease(.shared, key: key, for: Server.userAsker, now: worker.now) {
        case .granted(let id):
            if let upstream = self[id] { giveBack(upstream) }
        case .queued(let ticket):
            // Whoever leases it goes without saying: nobody answers, and it goes back unused.
            pool.users.checks.asking = UserChecks.Asking(
                user: user, key: key, ticket: ticket, until: worker.now + pool.config.poolTimeout)
        case .refused: break
        }
        noteWork()
    }

    /// The server has refused a login in this user's name. When no connection of his is left, all
    /// his clients are closed; other workers see to theirs.
    func loginRefused(_ user: UInt32) {
        pool.users.checks.waiting.removeAll { $0 == user }
        endCheck { $0.user == user }
        if isServed(user) { return }
        var isAnybodyThere = false
        for client in worker.clients.all where client.pool === pool && client.key.user == user {
            isAnybodyThere = true
            client.closeAfterFlush(.user_refused)
        }
        guard isAnybodyThere else { return }
        let name = pool.users.name(of: user)
        for other in pool.otherWorkers {
            worker.group.mailboxes[other].post(.userRefused(pool: pool.config.name, name))
        }
    }

    /// A check whose connection the server refuses waits for it no more.
    func endCheck(where isOver: (UserChecks.Asking) -> Bool) {
        guard let asking = pool.users.checks.asking, isOver(asking) else { return }
        machine.cancel(asking.ticket)
        pool.users.checks.asking = nil
    }
}

extension Server {
    /// No connection can be had for `key`, whose user is a client's: the password has changed, or
    /// the user is gone (`isLogin`), or may not select the database. Whoever waits to log in is
    /// judged by the server elsewhere; whoever is logged in already cannot be served, and is closed
    /// as a client of a deleted user would be. The breaker does not count it: no client may close
    /// the pool to the others.
    func stateRefused(_ id: UpstreamID, _ key: PoolKey, isLogin: Bool, _ text: String) {
        if key.user != 0 { pool.users.refused(key.user) }
        pool.knownKeys.forgetAll()
        for client in worker.clients.all where client.pool === pool {
            guard case .waiting(let wait) = client.mode else { continue }
            // HELLO, say, which can go elsewhere.
            let isVisitor = wait.wanted.key == key && client.key != key
            let isLoggingIn =
                client.key == key
                ? client.isLockedOut && client.isLoggingIn
                : client.isLoggingIn(as: pool.users.name(of: key.user))
            if isVisitor || isLoggingIn {
                machine.cancel(wait.ticket)
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
        pool.warnLimit(
            "upstream.state_refused", reason: CloseReason.handshakeFailed.word,
            "\(pool.config.upstream) refuses a client's state: \(text)")
    }
}
