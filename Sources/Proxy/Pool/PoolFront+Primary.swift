// The primary changes. The new one gets the pool's work from the very turn in which a worker hears
// of it: after a failover the old one goes on accepting writes for seconds, and what it takes is
// lost. So nothing is sent there any more: clients without anything in flight go over at once, in
// the order in which they wait; those with commands in flight when these are answered or lost.

import Config
import EventLoop
import Pool
import Session

/// Another server becomes the primary of a pool, on all its workers. Immutable.
package struct Succession: Sendable {
    /// What the workers share of the new one.
    let node: PoolNode
    /// Nil while nobody can say which server it is: commands wait for its name.
    let address: UpstreamAddress?
    /// How often the pool has moved, this time included.
    let moves: Int
}

extension PoolFront {
    /// How long commands that are in flight at a former primary may take, in nanoseconds. The next
    /// tick after it closes their connections.
    private static let patience: Int64 = 900_000_000

    /// The pool has another primary, or the first that is known.
    func succeed(_ new: Succession) {
        moves = new.moves
        let former: Server = primary
        guard former.names.isNamed else {
            name(former, new)
            return
        }
        takeBackGrants()
        former.setReplicas([])
        leaveReplicas(.failover)
        let next = addServer(new.node, at: new.address)
        if isHalted { next.halt() }
        prefer(next)
        forgetServer()
        for client in clientsByWait(of: former) { client.follow(next) }
        former.leave(
            Departure(by: worker.now + PoolFront.patience, reason: .failover))
        followReplicas()
        next.noteWork()
    }

    /// Nobody could name a primary until now: what waits for the address goes on.
    private func name(_ server: Server, _ new: Succession) {
        if member != nil { group.leave(new.node) }
        guard let address = new.address else { return }
        server.move(to: address)
        followReplicas()
        server.noteWork()
    }

    /// Nobody can say which server the primary is, for this reason: dials that wait for its name
    /// have failed.
    func primaryIsUnknown(_ text: String) {
        guard let primary, !primary.names.isNamed else { return }
        for (id, _) in primary.names.takeWaiting() {
            primary.dialFailed(id, .connectFailed, text)
        }
    }

    /// The clients of a server: those that wait, the longest first, and then the others.
    func clientsByWait(of server: Server) -> [ClientConnection] {
        var waiting: [(since: MonotonicTime, client: ClientConnection)] = []
        var others: [ClientConnection] = []
        worker.clients.forEach { client in
            guard client.server === server else { return }
            if case .waiting(let wait) = client.mode {
                waiting.append((wait.since, client))
            } else {
                others.append(client)
            }
        }
        waiting.sort { $0.since < $1.since }
        return waiting.map(\.client) + others
    }

    /// Called with every tick: lets go of former primaries without connections and clients.
    func letFormerGo() {
        guard servers.count > 1 else { return }
        for server in servers where server.departure != nil {
            var isWanted = server.machine.census.open > 0
            worker.clients.forEach { client in
                guard client.server === server else { return }
                client.followPrimary()
                if client.server === server { isWanted = true }
            }
            if !isWanted { remove(server) }
        }
    }
}

extension ClientConnection {
    /// Goes to the pool's primary. False if it is there already, or has something in flight, or a
    /// grant, elsewhere.
    @discardableResult
    func followPrimary() -> Bool {
        guard let primary = pool.primary, server !== primary, upstream == nil, granted == nil else {
            return false
        }
        if server.isReplica { home(at: primary) } else { follow(primary) }
        return true
    }

    /// Whether the head command has waited for `poolTimeout`, at all servers together. Each has a
    /// queue with times of its own, and primaries may change again and again.
    private func isOverdue(_ wait: LeaseWait) -> Bool {
        guard let waited = server.machine.waited(wait.ticket, now: worker.now) else { return false }
        let limit = retryUntil ?? worker.now + (pool.config.poolTimeout - waited)
        let isOver = worker.now >= limit && !pool.isHalted
        retryUntil = isOver ? nil : limit
        return isOver
    }

    /// Its wait ends, and its command looks for a server again.
    func replan() {
        guard case .waiting(let wait) = mode else { return }
        if isOverdue(wait) {
            refused(server.refusalText(.poolTimeout), .pool_timeout)
        }
        giveUp(wait)
    }

    /// Goes to another server, unless something of this client is in flight at its present one.
    func follow(_ next: Server) {
        worker.askAgain(self)
        if case .waiting = mode {
            replan()
            move(to: next)
        } else if upstream == nil {
            move(to: next)
            placeInLine = .none
            // It waits for something of the former server: a place in a line, an answer about
            // scripts, one particular connection.
            if mode == .barrier { worker.ready(self) }
        }
    }
}
