// One-off upstreams: each serves one command that Redpool does not understand and is then closed.
// Bounds how many there are at once and per second, and keeps the clients that wait for one.

import Config
import Pool

extension Server {
    /// The queue for one-off upstreams.
    struct OneOffLine {
        let gate: OneOffGate<AtomicCell>
        /// Waiting clients in order of arrival, each with its deadline.
        var waiting: [(id: SlotID, until: MonotonicTime)] = []
    }

    /// True when `client` may use up an upstream now.
    func maySpend(for client: ClientConnection) -> Bool {
        let room = oneOffs.gate.room(now: worker.now, reserve: reserve(against: client))
        guard room > 0 else { return false }
        return oneOffs.waiting.isEmpty || client.placeInLine == .called
    }

    /// A third of the rate is reserved for clients that are logged in.
    private func reserve(against client: ClientConnection) -> Int {
        client.isLockedOut ? OneOffLimits.perSecond / 3 : 0
    }

    /// Marks this upstream as one-off: it serves one more command and is then closed. False when
    /// another worker took the last place.
    func spend(_ upstream: UpstreamConnection, for client: ClientConnection) -> Bool {
        guard oneOffs.gate.begin(now: worker.now) else { return false }
        client.placeInLine = .none
        upstream.ending.oneOffSince = worker.now
        upstream.spoil(.notUnderstood)
        return true
    }

    /// The upstream is no longer one-off: a client keeps it.
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

    /// Called with every tick. A command that brings no reply, or whose reply is suppressed, must
    /// not block the queue. When all places are taken, upstreams that have had such a command for
    /// longer than `poolTimeout` are closed.
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

    /// Also called with every tick: resumes as many waiting clients as there is room for, and all
    /// whose deadline has passed.
    func callOneOffs() {
        if oneOffs.waiting.isEmpty || pool.isHalted { return }
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

    /// The error for a command that gets no one-off upstream within `poolTimeout`. It does not wait
    /// if its client has ended its input.
    func oneOffText(hasWaited: Bool) -> String {
        "PINLIMIT pool \(pool.config.name): Redpool does not understand this command, "
            + "and spends at most \(OneOffLimits.perSecond) connections a second on such commands "
            + (hasWaited
                ? "(waited \(pool.config.poolTimeout / 1_000_000)ms)"
                : "(a client that has ended its input does not wait)")
    }
}
