// Clients to which CLIENT TRACKING REDIRECT sends messages. The server knows them by the id of a
// connection, so each gets an upstream of its own and keeps it, and so the id, while any client's
// messages go there.

import Config
import EventLoop
import Pool
import RESP
import Session

/// A request to give a client such an upstream. Another client waits for it.
struct TargetOrder {
    let client: SlotID
    /// The client that uses CLIENT TRACKING.
    let tracker: UInt64
    /// Where that client waits: its worker and its token.
    let asker: Int
    let token: UInt64
    var until: MonotonicTime
}

extension Worker {
    /// Answers when `target` has its upstream, or its deadline has passed.
    func order(_ target: ClientConnection, for tracker: UInt64, token: UInt64, at asker: Int) {
        let order = TargetOrder(
            client: target.id, tracker: tracker, asker: asker, token: token,
            until: now + target.pool.config.poolTimeout)
        if !serve(order) { orders.targets.append(order) }
    }

    /// Called with every tick, and when the server has reported the id of a connection.
    func serveTargets() {
        if orders.targets.isEmpty { return }
        let waiting = orders.targets
        orders.targets = []
        orders.targets += waiting.filter { !serve($0) }
    }

    /// A halt of the pool is over, in which no target could get an upstream: what waits for one has
    /// its whole time again.
    func renewTargets(of pool: PoolFront) {
        for index in orders.targets.indices {
            guard clients[orders.targets[index].client]?.pool === pool else { continue }
            orders.targets[index].until = now + pool.config.poolTimeout
        }
        for (token, gathering) in questions.open where isHeldUp(gathering, by: pool) {
            questions.open[token]?.deadline = now + Gathering.patience + pool.config.poolTimeout
        }
    }

    /// A command of this pool waits for the answers.
    private func isHeldUp(_ gathering: Gathering, by pool: PoolFront) -> Bool {
        guard case .client(let id) = gathering.purpose else { return false }
        return clients[id]?.pool === pool
    }

    /// Whether the wait for these answers stands still, because an operator has paused the pool.
    func isHalted(_ gathering: Gathering) -> Bool {
        guard case .client(let id) = gathering.purpose else { return false }
        return clients[id]?.pool.isHalted == true
    }

    private func serve(_ order: TargetOrder) -> Bool {
        var answer: Int64?
        if let client = clients[order.client] {
            answer = client.targetID(for: order.tracker)
            if answer == nil {
                if now < order.until || client.pool.isHalted { return false }
                client.release(from: order.tracker)
                answer = ClientConnection.noTarget
            }
        }
        if order.asker == index {
            answered(.connection(answer), token: order.token, by: index)
        } else {
            group.mailboxes[order.asker].post(
                .answer(.connection(answer), token: order.token, from: index))
        }
        return true
    }
}

extension ClientConnection {
    /// Stands for an id: the client exists, and has no upstream of its own.
    static let noTarget: Int64 = -1

    /// The server's id of the upstream that this client has while `tracker` sends messages there.
    /// Nil while there is none; the call then takes the next step towards one.
    func targetID(for tracker: UInt64) -> Int64? {
        if upstream?.hold == nil { becomeTarget() }
        guard let upstream, upstream.hold != nil, mode != .preparing else { return nil }
        guard let found = upstream.knownServerID else {
            // Inside a transaction the server would queue the question.
            if !session.isSendingTransaction, upstream.hold?.isInTransaction == false {
                keepAsTarget(upstream, for: tracker)
                upstream.identify()
            }
            return nil
        }
        keepAsTarget(upstream, for: tracker)
        return found
    }

    /// Keeps the upstream for this client, and closes it afterwards: the messages would go to its
    /// next client.
    private func keepAsTarget(_ upstream: UpstreamConnection, for tracker: UInt64) {
        trackers.insert(tracker)
        upstream.setTarget(true)
        upstream.spoil(.dirty)
    }

    /// The messages of `tracker` no longer go to this client.
    func release(from tracker: UInt64) {
        guard extras != nil, trackers.remove(tracker) != nil, trackers.isEmpty,
            let upstream, upstream.hold != nil
        else { return }
        upstream.setTarget(false)
        if inFlight == 0, mode == .open, upstream.hold?.isClean == true { endHold(upstream) }
    }

    // MARK: The client that tracks

    /// The messages of this client now go to the client `serial`, or to none (0).
    func redirect(to serial: UInt64) {
        release(session.redirect(to: serial))
    }

    /// The requested redirection has failed, or the client leaves.
    func forgetAskedRedirection() {
        release(session.forgetAskedRedirection())
    }

    /// This client no longer needs `target`, if there is one (0: none), for its messages.
    func release(_ target: UInt64) {
        pool.releaseTarget(target, from: self)
    }

    private var isAtRest: Bool {
        inFlight == 0 && upstream == nil && granted == nil && !isLockedOut
    }

    /// Takes an upstream if one is free and nothing else is under way. A blocked client keeps the
    /// upstream of its command.
    private func becomeTarget() {
        switch mode {
        case .open where isAtRest, .gathering where isAtRest:
            let lease = server.machine.lease(
                .pin, key: key, for: WaiterID(raw: id.raw), now: worker.now)
            server.noteWork()
            switch lease {
            case .granted(let found):
                guard let own = server[found] else { return }
                upstream = own
                own.lend(to: self, for: .hold)
                own.rename(session.identity.name)
            // The client does not wait in the queue: it can send commands meanwhile. The next tick
            // tries again.
            case .queued(let ticket): server.machine.cancel(ticket)
            case .refused: break
            }
        case .exclusive where isBlocked:
            guard let upstream, upstream.ending.spoiled == nil, inFlight == 1 else { return }
            upstream.lend(to: self, for: .hold)
            upstream.setBlocking(true)
            mode = .open
        default: break
        }
    }
}
