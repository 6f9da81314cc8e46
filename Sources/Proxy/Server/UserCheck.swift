// Checks whether users with whose credentials clients have logged in still exist. The server closes
// the connections of a user that it deletes. A client that shares such a connection, or has none at
// that moment, may only be closed when it is known that the connection was not closed for another
// reason.

import Config
import EventLoop
import Pool

/// Users for whom it is unknown whether the server still accepts them.
struct UserChecks {
    /// A connection of a user that is being waited for.
    struct Asking {
        let user: UInt32
        let key: PoolKey
        let ticket: WaitTicket
        let until: MonotonicTime
    }

    var asking: Asking?
    /// Users to check, one at a time.
    var waiting: [UInt32] = []
}

extension Server {
    /// The server has closed a connection of this user, or refused the user's credentials to a
    /// client. The next tick checks the user, unless there is another connection by then.
    func doubt(_ user: UInt32) {
        if user == 0 || checks.waiting.contains(user) || isServed(user) { return }
        // A check from before does not count.
        endCheck { $0.user == user }
        checks.waiting.append(user)
    }

    /// True when the user has a connection.
    private func isServed(_ user: UInt32) -> Bool {
        allUpstreams.contains { $0.key.user == user && $0.stage == .ready }
    }

    /// Called with every tick: requests a connection for the first user in the queue.
    func checkUsers() {
        if let asking = checks.asking {
            guard isServed(asking.user) || worker.now >= asking.until else { return }
            checks.asking = nil
        }
        while checks.asking == nil, !checks.waiting.isEmpty {
            check(checks.waiting.removeFirst())
        }
    }

    private func check(_ user: UInt32) {
        let client = worker.clients.all.first { $0.pool === pool && $0.key.user == user }
        guard let client, !isServed(user) else { return }
        let key = PoolKey(
            user: user, protocolVersion: client.key.protocolVersion, database: 0)
        switch machine.lease(.shared, key: key, for: OwnWaiter.users.id, now: worker.now) {
        case .granted(let id):
            if let upstream = self[id] { giveBack(upstream) }
        case .queued(let ticket):
            // The waiter is not a client, so the connection is returned unused.
            checks.asking = UserChecks.Asking(
                user: user, key: key, ticket: ticket, until: worker.now + pool.config.poolTimeout)
        case .refused: break
        }
        noteWork()
    }

    /// The server has refused a login of this user. If the user has no connection left, all its
    /// clients are closed. The other workers do the same with theirs.
    func loginRefused(_ user: UInt32) {
        checks.waiting.removeAll { $0 == user }
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

    /// Ends the check if `isOver`, for example because the server refuses its connection.
    func endCheck(where isOver: (UserChecks.Asking) -> Bool) {
        guard let asking = checks.asking, isOver(asking) else { return }
        machine.cancel(asking.ticket)
        checks.asking = nil
    }
}

extension Server {
    /// The server refuses connections in the state `key` of a client's user. The password has
    /// changed or the user is gone (`isLogin`), or the user may not select the database. Clients
    /// that wait to log in lease again, and the server judges them. Clients that are logged in
    /// cannot be served; they are closed, as the server closes the clients of a deleted user. The
    /// breaker does not count it: no client may close the pool to the others.
    func stateRefused(_ id: UpstreamID, _ key: PoolKey, isLogin: Bool, _ text: String) {
        if key.user != 0 { pool.users.refused(key.user) }
        pool.knownKeys.forgetAll()
        for client in worker.clients.all where client.server === self {
            guard case .waiting(let wait) = client.mode else { continue }
            // For example HELLO, which can use another connection.
            let isVisitor = wait.wanted.key == key && client.key != key
            let isLoggingIn =
                client.key == key
                ? client.isLockedOut && client.isLoggingIn
                : client.isLoggingIn(as: pool.users.name(of: key.user))
            if isVisitor || isLoggingIn {
                client.giveUp(wait)
            } else if isLogin ? client.key.user == key.user : client.key == key {
                client.closeAfterFlush(isLogin ? .user_refused : .upstream_lost)
            }
        }
        pool.subscriberDesk?.stateRefused(key, by: self, isLogin: isLogin)
        endCheck { $0.key == key }
        if isLogin { loginRefused(key.user) }
        // No other client wants a connection of this user, so the state machine must not dial one
        // in its place.
        if scripts.asking?.key == key {
            endScriptQuestion(patience: ScriptTrust.shortPatience)
        }
        machine.retire(id, .handshakeFailed, now: worker.now)
        machine.closed(id, now: worker.now)
        noteWork()
        pool.warnLimit(
            "upstream.state_refused", reason: CloseReason.handshakeFailed.word,
            "\(place) refuses a connection for a client's user or database: \(text)")
    }
}
