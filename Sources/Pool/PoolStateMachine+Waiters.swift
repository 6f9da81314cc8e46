// The wait queue: who is served next, and what becomes of those who cannot be served.

/// The waiters of one group and kind, by the age of the first.
struct Turn {
    let group: Int
    let kind: LeaseKind
    let sequence: UInt64
    let since: Int64
}

extension PoolStateMachine {
    /// The client left: its waiter gives up its place. False for a stale ticket, which changes
    /// nothing: the waiter has been granted an upstream or refused, by an action that may not be
    /// carried out yet.
    @discardableResult
    package mutating func cancel(_ ticket: WaitTicket) -> Bool {
        guard let node = queue.index(of: ticket) else { return false }
        counters.cancels += 1
        let kind = queue.nodes[node].kind
        removeWaiter(node, now: clock)
        // While pins wait, shared commands take no more upstreams. Now they may.
        if kind == .pin { pump(clock) }
        return true
    }

    /// How long this waiter has waited, in nanoseconds, without the time of a halt; nil for a stale
    /// ticket.
    package func waited(_ ticket: WaitTicket, now: MonotonicTime) -> Int64? {
        queue.index(of: ticket).map {
            max(0, waitersNow(now.nanoseconds) - queue.nodes[$0].since)
        }
    }

    /// How long the oldest waiter has waited, in nanoseconds; 0 if nobody waits. The time of a halt
    /// does not count.
    package func oldestWait(now: MonotonicTime) -> Int64 {
        guard queue.oldest >= 0 else { return 0 }
        return max(0, waitersNow(now.nanoseconds) - queue.nodes[queue.oldest].since)
    }

    /// Serves all waiters that can be served. It is called after every change that may make that
    /// possible. Waiters longer than `patience` come first; then upstreams go to waiters of their
    /// own key, which needs no conversion; then others are acquired. Within a group and kind the
    /// order is strict. If the breaker is open and nothing is connected, all are refused.
    mutating func pump(_ now: Int64) {
        guard queue.count > 0 else { return }
        if isHalted {
            serveReleaser(now)
            return
        }
        if gate.isOpen, connected == 0 {
            refuseAll(.upstreamDown, now: now)
            return
        }
        collectTurns()
        for index in turns.indices where now - turns[index].since >= limits.patience {
            serveFirst(turns[index], now: now)
        }
        for index in turns.indices { serve(turns[index], opening: false, now: now) }
        for index in turns.indices { serve(turns[index], opening: true, now: now) }
    }

    private mutating func collectTurns() {
        turns.removeAll(keepingCapacity: true)
        for group in groups.indices where groups[group].references > 0 {
            for kind in LeaseKind.allCases {
                let head = waiting(kind, for: group).head
                guard head >= 0 else { continue }
                turns.append(
                    Turn(
                        group: group, kind: kind, sequence: queue.nodes[head].sequence,
                        since: queue.nodes[head].since))
            }
        }
        if turns.count > 1 { turns.sort { $0.sequence < $1.sequence } }
    }

    private mutating func serveFirst(_ turn: Turn, now: Int64) {
        if let slot = take(turn.kind, of: turn.group, opening: true, now: now) {
            grantFirst(turn, slot, now: now)
        } else if turn.kind.isExclusive {
            _ = acquire(for: turn.kind, of: turn.group, now: now)
        }
    }

    private mutating func serve(_ turn: Turn, opening: Bool, now: Int64) {
        while waiting(turn.kind, for: turn.group).count > 0 {
            guard let slot = take(turn.kind, of: turn.group, opening: opening, now: now) else {
                break
            }
            grantFirst(turn, slot, now: now)
        }
        guard opening, turn.kind.isExclusive, waiting(turn.kind, for: turn.group).count > 0
        else { return }
        while acquire(for: turn.kind, of: turn.group, now: now) == .started {}
    }

    private mutating func grantFirst(_ turn: Turn, _ slot: Int, now: Int64) {
        grant(waiting(turn.kind, for: turn.group).head, slot, now: now)
    }

    mutating func grant(_ node: Int, _ slot: Int, now: Int64) {
        actions.append(.grant(queue.nodes[node].waiter, id(of: slot)))
        counters.handOvers += 1
        removeWaiter(node, now: now)
    }

    mutating func refuseAll(_ refusal: Refusal, now: Int64) {
        while queue.oldest >= 0 { refuseWaiter(queue.oldest, refusal, now: now) }
    }

    /// Refuses waiters whose deadline has passed, unless `takeAtDeadline` finds an upstream.
    mutating func expireWaiters(_ now: Int64) {
        if isHalted { return }
        while queue.oldest >= 0 {
            let node = queue.oldest
            guard now - queue.nodes[node].since >= limits.poolTimeout else { return }
            let (kind, group) = (queue.nodes[node].kind, queue.nodes[node].group)
            if let slot = takeAtDeadline(kind, of: group) {
                grant(node, slot, now: now)
                continue
            }
            counters.waitTimeouts += 1
            refuseWaiter(node, refusalAtDeadline(queue.nodes[node].kind), now: now)
        }
    }

    /// The upstream for a shared command that has waited until its deadline: any shared one of its
    /// key that is available, also a stalled one, before the client is refused.
    private mutating func takeAtDeadline(_ kind: LeaseKind, of group: Int) -> Int? {
        guard !kind.isExclusive else { return nil }
        let lane = Lane(kind)
        var best: Int?
        for slot in slots.indices
        where slots[slot].state == .shared && slots[slot].group == group
            && slots[slot].closeReason == nil && slots[slot].isAvailable
            && slots[slot].inFlight < min(limits.hardLimit(slots[slot].lane), slots[slot].most)
        {
            let isBetter =
                best.map { other in
                    let isOfLane = slots[slot].lane == lane
                    return isOfLane == (slots[other].lane == lane)
                        ? slots[slot].inFlight < slots[other].inFlight : isOfLane
                } ?? true
            if isBetter { best = slot }
        }
        if let best { slots[best].countCommand(now: clock) }
        return best
    }

    private func refusalAtDeadline(_ kind: LeaseKind) -> Refusal {
        if connected == 0, gate.isFailing { return .upstreamDown }
        if kind == .pin, count(.pinned) >= permits.pins { return .pinLimit }
        return gate.isOpen ? .upstreamDown : .poolTimeout
    }

    private mutating func refuseWaiter(_ node: Int, _ refusal: Refusal, now: Int64) {
        actions.append(.refuse(queue.nodes[node].waiter, refusal))
        counters.refusedWaiters += 1
        counters.countRefusal(refusal)
        removeWaiter(node, now: now)
    }

    private mutating func removeWaiter(_ node: Int, now: Int64) {
        let group = queue.nodes[node].group
        let kind = queue.nodes[node].kind
        if node == releaser { releaser = none }
        counters.waitNanoseconds += UInt64(max(0, waitersNow(now) - queue.nodes[node].since))
        queue.remove(node, from: &groups[group].waiting[kind])
        groups[group].references -= 1
    }
}
