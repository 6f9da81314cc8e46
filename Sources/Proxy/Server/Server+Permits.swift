// This worker's share of its server's permits. Does nothing where one worker serves the pool.

import Pool

/// A worker's share of the permits of one server.
struct PermitShare {
    var keeper: PermitKeeper
    /// A tick has passed since the permits were last balanced.
    var isTickDue = false

    init(member: Int) { keeper = PermitKeeper(member: member) }
}

extension Server {
    /// A worker of the pool lacks permits, this one or another. Cheap enough to ask in every turn.
    var mayBalance: Bool {
        guard let budget = node.budget else { return false }
        return machine.mayNeedPermits || budget.permits.hungry != 0
    }

    /// Takes, returns and hands over permits. True when the state machine may have new actions.
    func balance() -> Bool {
        guard let budget = node.budget, let member = pool.member else { return false }
        let isTick = share.isTickDue
        share.isTickDue = false
        if isTick {
            budget.report(machine.census, clients: pool.traffic.clients, of: member)
            if member == 0, budget.adjust(now: worker.now) { pool.group.wake(.max, for: node.id) }
        }
        let outcome = share.keeper.balance(
            &machine, budget.permits, now: worker.now, isTick: isTick)
        if outcome.toWake != 0 { pool.group.wake(outcome.toWake, for: node.id) }
        return outcome.hasChanged
    }

    /// The numbers of the pool over all workers.
    var use: PoolUse {
        let census = machine.census
        guard let budget = node.budget, let member = pool.member else {
            return PoolUse(
                open: census.open, pinned: census.pinned, waiting: census.waiting,
                clients: pool.traffic.clients)
        }
        budget.report(census, clients: pool.traffic.clients, of: member)
        return budget.use
    }

    /// No worker of the pool has a connection. Called when this one cannot get one.
    var hasNone: Bool {
        guard machine.census.connected == 0 else { return false }
        guard let budget = node.budget, let member = pool.member else { return true }
        return budget.disconnected(member)
    }

    /// This worker has a connection.
    func noteConnected() {
        if let budget = node.budget, let member = pool.member { budget.connected(member) }
    }
}
