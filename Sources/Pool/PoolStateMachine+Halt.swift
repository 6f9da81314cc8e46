// A halt: no lease is granted, nothing is dialled or probed, and every upstream closes as soon as
// it is free. Waiters wait on, and their time stands still. Commands in flight and exclusive leases
// end as they would without it.
//
// While the pool is halted no upstream is listed, so `lease` and `add` need not ask for it.

extension PoolStateMachine {
    /// Halts the pool until `resume`.
    package mutating func halt(now: MonotonicTime) {
        let now = now.nanoseconds
        clock = now
        if isHalted { return }
        isHalted = true
        haltedAt = now
        retireUnleased(.paused, now)
        pump(now)
    }

    /// Ends the halt: serves the waiters. What has failed before says nothing of the server now, so
    /// the next dial is not delayed, and nobody is refused before it has failed.
    package mutating func resume(now: MonotonicTime) {
        let now = now.nanoseconds
        clock = now
        guard isHalted else { return }
        isHalted = false
        queue.shift(since: haltedAt, to: now)
        gate.succeeded()
        for slot in slots.indices where slots[slot].state == .shared {
            guard slots[slot].closeReason == .paused else { continue }
            // Still at work: it goes on.
            slots[slot].closeReason = nil
            retiring -= 1
            list(slot)
        }
        // `setLimits` may have shortened `poolTimeout` meanwhile.
        expireWaiters(now)
        keepWarm(now)
        pump(now)
    }

    /// Asks for a control lease that a halted pool grants as well: for the commands that release
    /// blocked clients. One such waiter at a time.
    package mutating func leaseToRelease(
        key: PoolKey, for waiter: WaiterID, now: MonotonicTime
    ) -> LeaseOutcome {
        let outcome = lease(.control, key: key, for: waiter, now: now)
        guard case .queued(let ticket) = outcome else { return outcome }
        releaser = Int(ticket.index)
        if isHalted { serveReleaser(now.nanoseconds) }
        return outcome
    }

    /// Retires every upstream: idle and coming ones at once, shared ones when their commands are
    /// answered. The shell closes exclusive ones when their lease ends.
    package mutating func replaceAll(_ reason: CloseReason, now: MonotonicTime) {
        clock = now.nanoseconds
        retireUnleased(reason, now.nanoseconds)
        keepWarm(now.nanoseconds)
        pump(now.nanoseconds)
    }

    private mutating func retireUnleased(_ reason: CloseReason, _ now: Int64) {
        for slot in slots.indices {
            let state = slots[slot].state
            guard state != .pinned, state != .control else { continue }
            retire(slot, reason, now: now)
        }
    }

    /// `pump` of a halted pool: nobody is served but the releaser, and nothing stays idle. The
    /// breaker does not apply: nobody else waits for its dials.
    mutating func serveReleaser(_ now: Int64) {
        if releaser >= 0,
            let slot = take(
                .control, of: queue.nodes[releaser].group, opening: false, now: now)
        {
            grant(releaser, slot, now: now)
        }
        while let slot = longestIdle(where: { _ in true }) { close(slot, .paused, now: now) }
        if releaser >= 0, count(.connecting) == 0, gate.allows(now),
            open < permits.connections
        {
            dial(queue.nodes[releaser].group, now: now)
        }
    }

    /// When the time of waiters began to stand still; `now` if it does not.
    @inline(__always)
    func waitersNow(_ now: Int64) -> Int64 { isHalted ? min(now, haltedAt) : now }

    /// Waiters for control leases that can be served.
    @inline(__always)
    var controlWaiters: Int {
        isHalted ? (releaser >= 0 ? 1 : 0) : queue.countByKind.control
    }

    /// Waiters of any kind that can be served.
    @inline(__always)
    var hasServable: Bool { isHalted ? releaser >= 0 : queue.count > 0 }
}
