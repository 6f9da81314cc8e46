// The pool's share of what the process may have open: nothing to do where one worker serves it.

import Logging
import Pool

extension Server {
    /// Takes, gives back and hands over permits. True when the machine may have new actions.
    func balance() -> Bool {
        guard let budget = pool.group.budget, let member = pool.member else { return false }
        let isTick = isTickDue
        isTickDue = false
        if isTick { budget.report(machine.census, of: member) }
        let outcome = keeper.balance(&machine, budget.permits, now: worker.now, isTick: isTick)
        if outcome.toWake != 0 { pool.group.wake(outcome.toWake) }
        return outcome.hasChanged
    }

    /// How the pool is used, over all workers.
    var use: PoolUse {
        let census = machine.census
        guard let budget = pool.group.budget, let member = pool.member else {
            return PoolUse(open: census.open, pinned: census.pinned, waiting: census.waiting)
        }
        budget.report(census, of: member)
        return budget.use
    }

    /// No connection is left here. True when that is so for the whole pool, and news.
    func becomesDown() -> Bool {
        if let budget = pool.group.budget, let member = pool.member {
            return budget.disconnected(member)
        }
        defer { isDown = true }
        return !isDown
    }

    /// There is a connection. True when the pool was down.
    func becomesUp() -> Bool {
        if let budget = pool.group.budget, let member = pool.member {
            return budget.connected(member)
        }
        defer { isDown = false }
        return isDown
    }
}
