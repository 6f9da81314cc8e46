// Another configuration takes the place of the present one, in one turn: pools and listeners come
// and go, and the clients of a listener that goes are drained. Other clients notice nothing.

import Config
import EventLoop
import Pool

/// What takes the place of the present configuration, in every worker. Immutable.
package struct Replacement: Sendable {
    let settings: WorkerSettings
    /// The groups of all its pools, by name.
    let groups: [String: PoolGroup]
    /// How often each pool has moved, this time included.
    let moves: [String: Int]
    /// The numbers of the listeners that it does not have any more.
    let removed: Set<UInt16>
    /// Called with the worker's number when it is in force there.
    let applied: @Sendable (Int) -> Void
}

extension Worker {
    /// Puts another configuration into force. A worker that drains keeps the one that it has.
    func replace(_ new: Replacement) {
        defer { new.applied(index) }
        guard lifecycle == .running else { return }
        options = WorkerOptions(new.settings, workers: group.workers)
        acceptor?.replace(new.settings)
        let configs = new.settings.config.pools
        for pool in pools where pool.leavesBy == nil {
            let name = pool.config.name
            if let config = configs.first(where: { $0.name == name }),
                new.groups[name] === pool.group
            {
                pool.replace(config, moves: new.moves[config.name] ?? 0)
            } else {
                pool.leavesBy = now + options.drainTimeout
                pool.endHalt(.resumed)
            }
        }
        for (index, config) in configs.enumerated() where pool(config.name) == nil {
            if let group = new.groups[config.name] { addPool(config, group, at: index) }
        }
        drainClients(of: new.removed)
    }

    func addPool(_ config: PoolConfig, _ group: PoolGroup, at index: Int) {
        let seed = UInt64(truncatingIfNeeded: now.nanoseconds) &+ UInt64(index << 8)
        pools.append(PoolFront(worker: self, config: config, group: group, seed: seed))
    }

    /// Lets the clients of these listeners, and of pools that leave, finish what is in flight, as a
    /// drain does. The listeners of a pool stay if another one of the name takes its place.
    private func drainClients(of removed: Set<UInt16>) {
        if removed.isEmpty, pools.allSatisfy({ $0.leavesBy == nil }) { return }
        let until = now + options.drainTimeout
        for client in clients.all where !client.lists.contains(.leaving) {
            guard removed.contains(client.origin.listener) || client.pool.leavesBy != nil else {
                continue
            }
            client.lists.insert(.leaving)
            watched.leaving.append((client.id, until))
            if client.isToBlock { client.closeAfterFlush(.drain) }
            if client.isQuiet { client.takeLastInput() }
        }
        closeLeaving()
    }

    /// Called with every tick: closes clients of removed listeners as soon as nothing of theirs is
    /// in flight, and removed pools as soon as their clients are gone.
    func closeLeaving() {
        if !watched.leaving.isEmpty {
            let leaving = watched.leaving
            watched.leaving = []
            for (id, until) in leaving {
                guard let client = clients[id] else { continue }
                if client.isQuiet && !client.isNewcomer || now >= until {
                    client.close(.drain)
                } else {
                    watched.leaving.append((id, until))
                }
            }
            for pool in pools { pool.forEachServer { $0.unblockAll() } }
        }
        guard pools.contains(where: { $0.leavesBy != nil }) else { return }
        for pool in pools where pool.isOver { pool.close() }
        pools.removeAll { $0.isClosed }
    }

    /// The resolver has answered for `name`, which may be an upstream's no longer.
    func resolved(_ owner: String, _ name: String, _ answer: NameAnswer) {
        for pool in pools where pool.config.name == owner {
            pool.forEachServer { if $0.place == name { $0.resolved(answer) } }
        }
    }
}
