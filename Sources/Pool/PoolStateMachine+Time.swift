// What time does: the tick with its deadlines and timeouts, and whether a shared upstream is slow.

extension PoolStateMachine {
    // MARK: The tick

    /// Deadlines of waiters, probes and closes; lifetimes, idle timeouts and probes due; the
    /// breaker's dial, `minIdle`, and whoever waits for the end of a backoff.
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

    /// When `tick` has something to do that cannot wait for the next regular one: the earliest
    /// deadline of a waiter or a probe, or the end of a backoff that somebody waits for.
    ///
    /// `mutating` for the same reason as `hasActions`.
    package var nextDeadline: MonotonicTime? {
        mutating get {
            var earliest = probeDeadline
            if queue.oldest >= 0 {
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
            move(slot, to: .probing)
            slots[slot].deadline = now + limits.pingTimeout
            probeDeadline = min(probeDeadline, slots[slot].deadline)
            counters.probes += 1
            actions.append(.probe(id(of: slot)))
        }
    }

    /// `pingInterval` after the last answer, up to 10 % less per connection.
    private func probeDue(_ slot: Int) -> Int64 {
        slots[slot].activeAt + pingInterval - pingInterval / 2000 * (slots[slot].jitter + 100)
    }

    /// An upstream that never runs empty must end too, but not before it can be replaced.
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

    /// Upstreams that are open to work, or will be as soon as a probe is answered.
    var ready: Int {
        count(.idle) + count(.probing) + count(.shared) - retiring - yielding
    }

    /// Dials for `minIdle`, and once per second while the breaker is open.
    mutating func keepWarm(_ now: Int64) {
        guard !isDraining else { return }
        if gate.isOpen {
            tryAgain(now)
            return
        }
        while ready + count(.connecting) + count(.converting) < limits.minIdle,
            open < permits.connections, mayDial(now)
        {
            dial(0, now: now)
        }
    }

    /// The open breaker's one dial per second. A full pool has no slot for it, and should not need
    /// it as its upstreams work; but it may want to replace one, and that is as good a trial.
    private mutating func tryAgain(_ now: Int64) {
        guard gate.allows(now), count(.connecting) == 0 else { return }
        if open < permits.connections {
            dial(0, now: now)
        } else if connected > 0 {
            gate.trust()
        }
    }

    // MARK: Waiters who starve

    /// Where all upstreams are shared by busy keys, a waiter of another key would starve. One
    /// shared upstream at a time then takes no new work until it has run empty and been handed
    /// over: one of a key that has several, if there is one. Pins have no right to that.
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

    /// The turns are those of the `pump` before.
    private func firstStarving(_ now: Int64) -> Turn? {
        guard queue.count > 0 else { return nil }
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
    // What counts is the server's time. Replies that lie unread, and commands that lie unwritten, are
    // the worker's own delay. If they counted, a turn of the loop longer than `slowThreshold`
    // (thousands of clients at once, a busy machine) would make every upstream look stalled and
    // spread the batches over new connections.

    /// What was given to a shared upstream in the turn that began at `since` has been written, at
    /// `now`. If it has answered in that turn, or was given its first command, its time begins now.
    package mutating func written(_ id: UpstreamID, since: MonotonicTime, now: MonotonicTime) {
        guard let slot = index(of: id), slots[slot].state == .shared,
            slots[slot].progressAt >= since.nanoseconds
        else { return }
        slots[slot].progressAt = now.nanoseconds
    }

    /// Whether a shared upstream would be given no more commands because it owes replies for too
    /// long. The shell then looks whether there is something to read (`hasAnswered`).
    package func isStalled(_ id: UpstreamID, now: MonotonicTime) -> Bool {
        guard let slot = index(of: id), slots[slot].state == .shared else { return false }
        return slots[slot].inFlight > 0
            && now.nanoseconds - slots[slot].progressAt > limits.slowThreshold
    }

    /// Bytes of a shared upstream wait to be read.
    package mutating func hasAnswered(_ id: UpstreamID, now: MonotonicTime) {
        guard let slot = index(of: id), slots[slot].state == .shared else { return }
        slots[slot].progressAt = now.nanoseconds
    }
}
