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

extension UpstreamPool {
    /// Who leases the connection.
    private static let userAsker = WaiterID(raw: .max - 1)

    /// The server has closed a connection of this user, or refused his credentials to a client. The
    /// next tick has a look, if nobody has then made another connection.
    func doubt(_ user: UInt32) {
        if user == 0 || users.checks.waiting.contains(user) || isServed(user) { return }
        // What was asked for before has come and gone.
        endCheck { $0.user == user }
        users.checks.waiting.append(user)
    }

    /// There is a connection in this user's name.
    private func isServed(_ user: UInt32) -> Bool {
        allUpstreams.contains { $0.key.user == user && $0.stage == .ready }
    }

    /// Called with every tick: has a connection made for the first user in the line.
    func checkUsers() {
        if let asking = users.checks.asking {
            guard isServed(asking.user) || worker.now >= asking.until else { return }
            users.checks.asking = nil
        }
        while users.checks.asking == nil, !users.checks.waiting.isEmpty {
            check(users.checks.waiting.removeFirst())
        }
    }

    private func check(_ user: UInt32) {
        let client = worker.clients.all.first { $0.pool === self && $0.key.user == user }
        guard let client, !isServed(user) else { return }
        let key = PoolKey(
            user: user, protocolVersion: client.key.protocolVersion, database: 0)
        switch machine.lease(.shared, key: key, for: UpstreamPool.userAsker, now: worker.now) {
        case .granted(let id):
            if let upstream = self[id] { giveBack(upstream) }
        case .queued(let ticket):
            // Whoever leases it goes without saying: nobody answers, and it goes back unused.
            users.checks.asking = UserChecks.Asking(
                user: user, key: key, ticket: ticket, until: worker.now + config.poolTimeout)
        case .refused: break
        }
        noteWork()
    }

    /// The server has refused a login in this user's name. When no connection of his is left, all
    /// his clients are closed; other workers see to theirs.
    func loginRefused(_ user: UInt32) {
        users.checks.waiting.removeAll { $0 == user }
        endCheck { $0.user == user }
        if isServed(user) { return }
        var isAnybodyThere = false
        for client in worker.clients.all where client.pool === self && client.key.user == user {
            isAnybodyThere = true
            client.closeAfterFlush(.user_refused)
        }
        guard isAnybodyThere else { return }
        let name = users.name(of: user)
        for other in otherWorkers {
            worker.group.mailboxes[other].post(.userRefused(pool: index, name))
        }
    }

    /// A check whose connection the server refuses waits for it no more.
    func endCheck(where isOver: (UserChecks.Asking) -> Bool) {
        guard let asking = users.checks.asking, isOver(asking) else { return }
        machine.cancel(asking.ticket)
        users.checks.asking = nil
    }
}
