// What a pool does about its users: whose credentials are accepted, which clients a new password of
// the default user locks out, and which connections must close.

import Config
import EventLoop
import Pool
import Session

extension PoolFront {
    /// The number of credentials that the server has just accepted from a client; nil when there
    /// are too many users.
    func accept(_ name: [UInt8], _ password: [UInt8], from client: UInt64) -> UInt32? {
        if let user = users.accepted(name: name, password: password, from: client) { return user }
        guard users.mayLookForRoom(now: worker.now) else { return nil }
        forgetUnusedUsers()
        return users.accepted(name: name, password: password, from: client)
    }

    /// Drops users without a client, upstream, waiter or question, and what is kept about them.
    private func forgetUnusedUsers() {
        var used: Set<UInt32> = []
        forEachServer { used.formUnion($0.machine.usersInUse) }
        for upstream in allUpstreams { used.insert(upstream.key.user) }
        for client in worker.clients.all where client.pool === self {
            used.insert(client.key.user)
            if let wanted = client.wanted { used.insert(wanted.key.user) }
        }
        forEachServer { server in
            if let asking = server.checks.asking { used.insert(asking.user) }
            used.formUnion(server.checks.waiting)
            if let asking = server.scripts.asking {
                used.formUnion([asking.user, asking.key.user])
            }
        }
        users.keep(used, now: worker.now)
        used.insert(0)
        forEachServer { server in
            server.fences.keep(used)
            server.scripts.keep(used)
        }
        knownKeys.keep(used)
    }

    /// Another worker has found that the server refuses the credentials of a user with this name.
    func doubt(_ name: [UInt8]) {
        for user in users.all(named: name) { primary.doubt(user) }
    }

    /// A new connection has shown whether the server's default user needs a login. Only for a
    /// configuration without a user name.
    func noteDefault(needsLogin: Bool) {
        isLoginKnown = true
        guard config.password == nil, needsLogin != defaultNeedsLogin else { return }
        defaultNeedsLogin = needsLogin
        knownKeys.forgetAll()
        if needsLogin { lockDefault() } else { unlockDefault() }
    }

    /// The default user no longer needs a password. Connections from before that are still without
    /// a login. The passwords that clients brought for it say nothing about the next password.
    private func unlockDefault() {
        users.forgetDefault()
        for upstream in allUpstreams
        where upstream.key.user == 0 && upstream.origin.lacksLogin {
            upstream.retireWhenFree(.configChanged)
        }
    }

    /// The default user has a password now. The server treats earlier connections as logged in, so
    /// no later client may get one of them.
    private func lockDefault() {
        retireDefaults()
        adoptEarlyClients()
    }

    /// The password may have been set at any time since the last connection that needed none. To
    /// the server, clients that connected before that are logged in until they send RESET. They
    /// continue as the user of the password, if a client has brought it.
    private func adoptEarlyClients() {
        guard let (user, _) = users.defaultByPassword else { return }
        let openSince = users.openSince.nanoseconds
        for client in worker.clients.all
        where client.pool === self && client.key.user == 0 && client.origin.connectedAt < openSince
            && !client.session.hasReset
        {
            client.session.logIn(as: user, protocolVersion: nil, name: nil)
            guard case .waiting(let wait) = client.mode else { continue }
            client.giveUp(wait)
        }
        forEachServer { $0.noteWork() }
    }

    /// A client has logged in. It may be the first to bring a password for the default user, whom
    /// all other clients use without one. Then the next new connection shows whether they still
    /// may, unless one has already.
    func noteLogin(of client: ClientConnection) {
        guard config.password == nil, users.defaultByPassword?.witness == client.serial else {
            return
        }
        if defaultNeedsLogin { adoptEarlyClients() } else { retireDefaults() }
    }

    /// A client is about to give the default user a password. Only a new connection can show that
    /// none is needed yet, and that all who are there are logged in.
    func seeDefaultOpen() {
        let openSince = users.openSince.nanoseconds
        let isNewcomerThere = worker.clients.all.contains {
            $0.pool === self && $0.key.user == 0 && $0.origin.connectedAt >= openSince
        }
        if isNewcomerThere, !defaultNeedsLogin { retireDefaults() }
    }

    /// A client has given the default user this password. The other workers have clients, too.
    func tellPassword(_ password: [UInt8]) {
        for other in otherWorkers {
            worker.group.mailboxes[other].post(
                .passwordSet(
                    pool: config.name, Secret(password), user: users.name(of: 0),
                    openSince: users.openSince))
        }
    }

    /// A client of another worker has given the default user this password, and no connection
    /// needed a login at that time.
    func learn(_ password: Secret, of user: [UInt8], openSince: MonotonicTime) {
        guard config.password == nil, user == users.name(of: 0) else { return }
        users.openSince = max(users.openSince, openSince)
        guard accept(user, password.bytes, from: 0) != nil else { return }
        if defaultNeedsLogin { adoptEarlyClients() } else { retireDefaults() }
    }

    /// True when every shared connection of the default user is without a login: the server then
    /// refuses all commands on them before they can change anything.
    var isAllWithoutLogin: Bool {
        allUpstreams.allSatisfy { $0.key.user != 0 || !$0.isShared || $0.origin.lacksLogin }
    }

    private func retireDefaults() {
        for upstream in allUpstreams where upstream.key.user == 0 && upstream.stage == .ready {
            upstream.retireWhenFree(.configChanged)
        }
    }
}
