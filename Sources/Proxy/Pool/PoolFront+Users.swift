// What a pool does about its users: who is accepted, whom the default user's password shuts out, and
// whose connections have to go.

import Config
import EventLoop
import Pool
import RESP
import Session

extension PoolFront {
    /// The number of credentials that the server has accepted from a client; nil when there are too
    /// many users at once.
    func accept(_ name: [UInt8], _ password: [UInt8], from client: UInt64) -> UInt32? {
        if let user = users.accepted(name: name, password: password, from: client) { return user }
        guard users.mayLookForRoom(now: worker.now) else { return nil }
        forgetUnusedUsers()
        return users.accepted(name: name, password: password, from: client)
    }

    /// Forgets the users of whom there is no client, upstream, waiter or question, and what is kept
    /// of them.
    private func forgetUnusedUsers() {
        var used = server.machine.usersInUse
        for upstream in server.allUpstreams { used.insert(upstream.key.user) }
        for client in worker.clients.all where client.pool === self {
            used.insert(client.key.user)
            if let wanted = client.wanted { used.insert(wanted.key.user) }
        }
        if let asking = users.checks.asking { used.insert(asking.user) }
        used.formUnion(users.checks.waiting)
        if let asking = server.scripts.asking { used.formUnion([asking.user, asking.key.user]) }
        users.keep(used, now: worker.now)
        used.insert(0)
        server.fences.keep(used)
        server.scripts.keep(used)
        knownKeys.keep(used)
    }

    /// Another worker has found that the server refuses a user of this name.
    func doubt(_ name: [UInt8]) {
        for user in users.all(named: name) { server.doubt(user) }
    }

    /// What a new connection has shown of the server's default user, when the configuration names
    /// no other: it has to log in, or it has not.
    func noteDefault(needsLogin: Bool) {
        isLoginKnown = true
        guard config.password == nil, needsLogin != defaultNeedsLogin else { return }
        defaultNeedsLogin = needsLogin
        knownKeys.forgetAll()
        if needsLogin { lockDefault() } else { unlockDefault() }
    }

    /// The default user needs no password any more. Connections that were made while it did stay
    /// without a login, and what was brought as its password says nothing of the next one.
    private func unlockDefault() {
        users.forgetDefault()
        for upstream in server.allUpstreams
        where upstream.key.user == 0 && upstream.origin.lacksLogin {
            upstream.retireWhenFree(.configChanged)
        }
    }

    /// The default user has got a password. To the server, earlier connections are logged in all
    /// the same: no later client may have one of them.
    private func lockDefault() {
        retireDefaults()
        adoptEarlyClients()
    }

    /// The password may be as old as the last connection that needed none. To the server, clients
    /// who came before that are logged in, until they send RESET: they go on by way of the password,
    /// if somebody has brought it.
    private func adoptEarlyClients() {
        guard let (user, _) = users.defaultByPassword else { return }
        let openSince = users.openSince.nanoseconds
        for client in worker.clients.all
        where client.pool === self && client.key.user == 0 && client.origin.connectedAt < openSince
            && !client.hasReset
        {
            client.key.user = user
            guard case .waiting(let wait) = client.mode else { continue }
            server.machine.cancel(wait.ticket)
            client.leaseAnew()
        }
        server.noteWork()
    }

    /// A client has logged in. If it is the first to bring a password for the user that all others
    /// are without one, the next new connection has to show whether they still may be, unless one
    /// has done so already.
    func noteLogin(of client: ClientConnection) {
        guard config.password == nil, users.defaultByPassword?.witness == client.serial else {
            return
        }
        if defaultNeedsLogin { adoptEarlyClients() } else { retireDefaults() }
    }

    /// Whatever goes to a shared connection of the default user is refused there before it can
    /// change anything.
    var isAllWithoutLogin: Bool {
        server.allUpstreams.allSatisfy { $0.key.user != 0 || !$0.isShared || $0.origin.lacksLogin }
    }

    private func retireDefaults() {
        for upstream in server.allUpstreams where upstream.key.user == 0 && upstream.stage == .ready
        {
            upstream.retireWhenFree(.configChanged)
        }
    }
}
