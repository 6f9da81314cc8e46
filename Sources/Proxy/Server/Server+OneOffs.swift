// Upstreams that are spent on commands that are not understood: how many at once, how many a second,
// and the clients that wait for one.

import Config
import EventLoop
import Pool
import RESP
import Session

extension Server {
    /// Where one-off upstreams are asked for.
    struct OneOffLine {
        let gate: OneOffGate<AtomicCell>
        /// Clients that wait, first come, first served, and until when.
        var waiting: [(id: SlotID, until: MonotonicTime)] = []
    }

    /// True when `client` may spend an upstream now.
    func maySpend(for client: ClientConnection) -> Bool {
        let room = oneOffs.gate.room(now: worker.now, reserve: reserve(against: client))
        guard room > 0 else { return false }
        return oneOffs.waiting.isEmpty || client.placeInLine == .called
    }

    /// A third of what there is is kept for clients that have logged in.
    private func reserve(against client: ClientConnection) -> Int {
        client.isLockedOut ? OneOffLimits.perSecond / 3 : 0
    }

    /// This upstream serves one more command, and is then closed. False when another worker was
    /// quicker.
    func spend(_ upstream: UpstreamConnection, for client: ClientConnection) -> Bool {
        guard oneOffs.gate.begin(now: worker.now) else { return false }
        client.placeInLine = .none
        upstream.ending.oneOffSince = worker.now
        upstream.spoil(.notUnderstood)
        return true
    }

    /// What was to be closed behind one command is a client's now.
    func unspend(_ upstream: UpstreamConnection) {
        upstream.ending.oneOffSince = nil
        oneOffEnded()
    }

    /// The connection of a one-off upstream is closed.
    func oneOffEnded() {
        oneOffs.gate.end()
        callOneOffs()
    }

    func standInLine(_ client: ClientConnection, until: MonotonicTime) {
        if client.placeInLine == .waiting { return }
        client.placeInLine = .waiting
        oneOffs.waiting.append((client.id, until))
    }

    /// Called with every tick: a command that the server does not answer, or has silenced, must not
    /// keep others out of line for ever. It is given up when its place is wanted.
    func closeOverdueOneOffs() {
        guard oneOffs.gate.isFull else { return }
        for upstream in allUpstreams {
            guard let since = upstream.ending.oneOffSince, upstream.stage == .ready,
                worker.now - since > pool.config.poolTimeout
            else { continue }
            machine.retire(upstream.id, .notUnderstood, now: worker.now)
            noteWork()
        }
    }

    /// Called with every tick as well: has as many of those in line look again as there is room for,
    /// and all whose time is over.
    func callOneOffs() {
        if oneOffs.waiting.isEmpty { return }
        let gate = oneOffs.gate
        var called = 0
        oneOffs.waiting.removeAll { place in
            guard let client = worker.clients[place.id], client.placeInLine == .waiting else {
                return true
            }
            let isOver = worker.now >= place.until
            let room = gate.room(now: worker.now, reserve: reserve(against: client))
            guard isOver || room > called else { return false }
            if !isOver { called += 1 }
            client.placeInLine = .called
            worker.ready(client)
            return true
        }
    }

    /// The error for a command that has waited too long for an upstream to be spent on it.
    var oneOffText: String {
        "PINLIMIT pool \(pool.config.name): Redpool does not understand this command, and spends at most "
            + "\(OneOffLimits.perSecond) connections a second on such commands "
            + "(waited \(pool.config.poolTimeout / 1_000_000)ms)"
    }
}
