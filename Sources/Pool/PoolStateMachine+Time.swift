// What time does: the tick with its deadlines and timeouts, and whether a shared upstream is slow.

extension PoolStateMachine {
    // MARK: The tick

    /// Does what is due. The shell calls it about every 100 ms, and at `nextDeadline`. It ends
    /// waiters, probes and closes at their deadlines, retires old and idle upstreams, sends probes,
    /// dials for `minIdle` and for an open breaker, and serves waiters after a backoff.
    package mutating func tick(now: MonotonicTime) {
        let now = now.nanoseconds
        clock = now
        expireWaiters(now)
        probeDeadline = .max
        for slot in slots.indices { sweep(slot, now: now) }
        openCeiling = max(permits.connections, min(openCeiling, open))
        pinCeiling = max(permits.pins, min(pinCeiling, count(.pinned)))
        reclaimGroups()
        keepWarm(now)
        pump(now)
        yieldToStarving(now)
        trimIdle(now)
    }

    /// When `tick` must be called even if the next regular one is later: the earliest deadline of a
    /// waiter or a probe, or the end of a backoff if there are waiters. Nil if there is no such
    /// time.
    ///
    /// `mutating` for the same reason as `hasActions`.
    package var nextDeadline: MonotonicTime? {
        mutating get {
            var earliest = probeDeadline
            if queue.oldest >= 0, !isHalted {
                earliest = min(earliest, queue.nodes[queue.oldest].since + limits.poolTimeout)
                if gate.nextDialAt > clock { earliest = min(earliest, gate.nextDialAt) }
            }
            return earliest == .max ? nil : MonotonicTime(nanoseconds: earliest)
        }
    }

    private mutating func sweep(_ slot: Int, now: Int64) {
        switch slots[slot].state {
        case .free, .connecting, .converting, .pinned, .control:
            break
        case .idle:
            sweepIdle(slot, now: now)
        case .probing:
            if slots[slot].deadline <= now {
                counters.probeFailures += 1
                close(slot, .pingFailed, now: now)
            } else {
                probeDeadline = min(probeDeadline, slots[slot].deadline)
            }
        case .shared:
            sweepShared(slot, now: now)
        case .closing:
            if slots[slot].deadline <= now { free(slot, slots[slot].closeReason ?? .drain) }
        }
    }

    private mutating func sweepIdle(_ slot: Int, now: Int64) {
        let idleTimeout = limits.idleTimeout
        if slots[slot].expiresAt <= now {
            close(slot, .maxLifetime, now: now)
        } else if idleTimeout > 0, now - slots[slot].idleSince >= idleTimeout,
            ready > limits.minIdle
        {
            close(slot, .idleTimeout, now: now)
        } else if pingInterval > 0, now >= probeDue(slot) {
            expectAnswer(of: slot, until: now + limits.pingTimeout)
            actions.append(.probe(id(of: slot)))
        }
    }

    /// The server has to answer before the upstream is lent.
    mutating func expectAnswer(of slot: Int, until deadline: Int64) {
        move(slot, to: .probing)
        slots[slot].deadline = deadline
        probeDeadline = min(probeDeadline, deadline)
        counters.probes += 1
    }

    /// When to probe an idle upstream: `pingInterval` after its last answer, or up to 10 % earlier.
    private func probeDue(_ slot: Int) -> Int64 {
        slots[slot].activeAt + pingInterval - pingInterval / 2000 * (slots[slot].jitter + 100)
    }

    /// Retires an old upstream even if it never runs empty, but only when another one of its key
    /// can take its work. If there is none, one is acquired first.
    private mutating func sweepShared(_ slot: Int, now: Int64) {
        if slots[slot].inFlight == 0 {
            settle(slot, now: now)
            return
        }
        guard slots[slot].expiresAt <= now, slots[slot].isListed else { return }
        let group = slots[slot].group
        if groups[group].listed > 1 || groups[group].idle.count > 0 {
            closeWhenSettled(slot, .maxLifetime)
        } else {
            _ = acquire(for: slots[slot].lane.kind, of: group, now: now)
        }
    }

    // MARK: Upstreams to have ready

    /// How many upstreams take work, or will when a probe is answered. `minIdle` counts them.
    var ready: Int {
        count(.idle) + count(.probing) + count(.shared) - retiring - yielding
    }

    /// Dials for `minIdle`, and once per second while the breaker is open.
    mutating func keepWarm(_ now: Int64) {
        guard !isDraining, !isHalted else { return }
        if gate.isOpen {
            tryAgain(now)
            return
        }
        while ready + count(.connecting) + count(.converting) < limits.minIdle,
            open < permits.connections, mayDial(now)
        {
            dial(warmGroup, now: now)
        }
    }

    /// Dials once per second while the breaker is open. A full pool has no slot for that dial. If
    /// it has connected upstreams, the breaker closes: the next regular dial is the trial then.
    private mutating func tryAgain(_ now: Int64) {
        guard gate.allows(now), count(.connecting) == 0 else { return }
        if open < permits.connections {
            dial(warmGroup, now: now)
        } else if connected > 0 {
            gate.trust()
        }
    }

    // MARK: Waiters who starve

    /// If busy keys share all upstreams, a waiter of another key would starve. One shared upstream
    /// at a time then yields: it takes no new work until it has run empty and goes to the waiter.
    /// It is one of a key that has several, if possible. No upstream yields to a pin.
    private mutating func yieldToStarving(_ now: Int64) {
        guard let turn = firstStarving(now) else {
            if yielding > 0 { stopYielding() }
            return
        }
        guard yielding == 0, let slot = slotToYield(to: turn) else { return }
        unlist(slot)
        slots[slot].isYielding = true
        yielding += 1
    }

    /// The first waiter, other than a pin, that has waited longer than `patience` and has no
    /// upstream coming. The turns are those of the last `pump`.
    private func firstStarving(_ now: Int64) -> Turn? {
        guard queue.count > 0, !isHalted else { return nil }
        return turns.first { turn in
            let head = waiting(turn.kind, for: turn.group).head
            return turn.kind != .pin && head >= 0
                && now - queue.nodes[head].since >= limits.patience
                && groups[turn.group].coming < wanted(of: turn.group, including: turn.kind)
        }
    }

    private func slotToYield(to turn: Turn) -> Int? {
        var best: Int?
        for slot in slots.indices where slots[slot].state == .shared && slots[slot].isListed {
            guard turn.kind == .control || slots[slot].group != turn.group else { continue }
            if groups[slots[slot].group].listed > 1 { return slot }
            best = best ?? slot
        }
        return best
    }

    private mutating func stopYielding() {
        for slot in slots.indices where slots[slot].isYielding {
            slots[slot].isYielding = false
            list(slot)
        }
        yielding = 0
    }

    // MARK: Slow upstreams
    //
    // What counts is the server's time. Replies that lie unread, and commands that lie unwritten,
    // are the worker's own delay. If they counted, a turn of the loop longer than `slowThreshold`
    // (thousands of clients at once, a busy machine) would make every upstream look stalled and
    // spread the batches over new connections.

    /// The commands of the turn that began at `since` were written at `now`. If the upstream has
    /// answered in that turn, or got its first command, its time begins at `now`.
    package mutating func written(_ id: UpstreamID, since: MonotonicTime, now: MonotonicTime) {
        guard let slot = index(of: id), slots[slot].state == .shared,
            slots[slot].progressAt >= since.nanoseconds
        else { return }
        slots[slot].progressAt = now.nanoseconds
    }

    /// Whether a shared upstream gets no more commands because it has owed replies for too long.
    /// The shell then looks whether there is something to read, and calls `hasAnswered` if so.
    package func isStalled(_ id: UpstreamID, now: MonotonicTime) -> Bool {
        guard let slot = index(of: id), slots[slot].state == .shared else { return false }
        return slots[slot].inFlight > 0
            && now.nanoseconds - slots[slot].progressAt > limits.slowThreshold
    }

    /// Commands in flight on a shared upstream; 0 for any other.
    package func commandsInFlight(_ id: UpstreamID) -> Int {
        guard let slot = index(of: id), slots[slot].state == .shared else { return 0 }
        return Int(slots[slot].inFlight)
    }

    /// There are bytes of a shared upstream to be read.
    package mutating func hasAnswered(_ id: UpstreamID, now: MonotonicTime) {
        guard let slot = index(of: id), slots[slot].state == .shared else { return }
        slots[slot].progressAt = now.nanoseconds
    }
}
