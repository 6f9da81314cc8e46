// Another configuration of a pool. Most keys are in force at once; a new password, or other
// settings of TLS, retire upstreams that were opened with the old ones; another server, user or
// database is a move: the clients go there as soon as nothing of theirs is in flight at the old
// server, and never have commands at both.

import Config
import Pool
import Session

extension PoolFront {
    /// Puts another configuration into force. `moves` counts the moves of the pool.
    func replace(_ new: PoolConfig, moves: Int) {
        let old = config
        let isMove = old.isMove(to: new)
        if isMove { takeBackGrants() }
        setConfig(new)
        forEachServer { $0.followConfig() }
        if isMove {
            if old.source.isMove(to: new.source) { namedReplicas = [] }
            leaveReplicas(.configChanged)
            move(to: address(of: new, after: old))
        } else {
            if old.upstreamTLS != new.upstreamTLS { forEachServer { $0.renewTLS() } }
            if old.password != new.password { renewPassword() }
        }
        if old.clientUsers != new.clientUsers { replaceClientUsers() }
        if isMove || old.reads != new.reads { followReplicas() }
        self.moves = moves
        forEachServer { $0.noteWork() }
    }

    private func renewPassword() {
        users.setPassword(config.password)
        for upstream in allUpstreams where upstream.key.user == 0 {
            upstream.retireWhenFree(.configChanged)
        }
    }

    /// Workers can be at different servers while they apply a move. No number that one server has
    /// given may reach another one then.
    var isMoving: Bool { moves != group.moveCount }

    /// Takes back upstreams that clients have been granted and have not used yet.
    func takeBackGrants() {
        primary.settle()
        for client in worker.clients.all where client.pool === self {
            guard let unused = client.granted else { continue }
            client.granted = nil
            client.server.giveBack(unused.upstream)
        }
    }

    /// Where the primary is after a move. That of other Sentinels is not known yet.
    private func address(of new: PoolConfig, after old: PoolConfig) -> UpstreamAddress? {
        if case .sentinels = new.source, !old.source.isMove(to: new.source) {
            return primary.names.upstream
        }
        return new.givenAddress
    }

    private func move(to address: UpstreamAddress?) {
        primary.depart(
            Departure(by: worker.now + worker.options.drainTimeout, reason: .configChanged))
        forgetServer()
        primary.move(to: address)
        let database = warmKey.database
        for client in worker.clients.all where client.pool === self {
            client.session.move(toDatabase: database)
            worker.askAgain(client)
            guard case .waiting(let wait) = client.mode,
                wait.wanted.key.database != client.key.database
            else { continue }
            client.giveUp(wait)
        }
    }

    /// A removed pool whose clients are gone, on this worker. The first call retires its
    /// connections; when they are closed, or their time is over, nothing is left.
    var isOver: Bool {
        guard let leavesBy, traffic.clients == 0 else { return false }
        for server in servers where !server.machine.isDraining {
            server.machine.drain(now: worker.now)
            server.noteWork()
        }
        return census.open == 0 || worker.now >= leavesBy
    }
}

extension PoolConfig {
    /// The state of a new client.
    var warmKey: PoolKey {
        PoolKey(user: 0, protocolVersion: 2, database: UInt32(clamping: upstreamDatabase))
    }
}
