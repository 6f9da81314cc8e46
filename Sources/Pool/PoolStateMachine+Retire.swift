// How upstreams end: on purpose, by accident, and all of them.

extension PoolStateMachine {
    /// Closes an upstream on purpose: a shared one when its commands in flight are done, from now
    /// on without new work; any other one at once.
    package mutating func retire(_ id: UpstreamID, _ reason: CloseReason, now: MonotonicTime) {
        clock = now.nanoseconds
        guard let slot = index(of: id) else { return }
        retire(slot, reason, now: now.nanoseconds)
        pump(now.nanoseconds)
    }

    mutating func retire(_ slot: Int, _ reason: CloseReason, now: Int64) {
        switch slots[slot].state {
        case .free, .closing:
            break
        case .shared where slots[slot].inFlight > 0:
            closeWhenSettled(slot, reason)
        case .connecting, .converting, .idle, .probing, .shared, .pinned, .control:
            close(slot, reason, now: now)
        }
    }

    /// Takes a shared upstream off new work, so that it settles, and closes, before long.
    mutating func closeWhenSettled(_ slot: Int, _ reason: CloseReason) {
        guard slots[slot].closeReason == nil else { return }
        if slots[slot].isListed { unlist(slot) }
        if slots[slot].isYielding {
            slots[slot].isYielding = false
            yielding -= 1
        }
        slots[slot].closeReason = reason
        retiring += 1
    }

    /// The connection is gone, in whatever state; its slot is free at once.
    package mutating func lost(_ id: UpstreamID, _ reason: CloseReason, now: MonotonicTime) {
        clock = now.nanoseconds
        guard let slot = index(of: id) else { return }
        switch slots[slot].state {
        case .connecting:
            dialFailed(slot, reason, now: now.nanoseconds)
        case .closing:
            free(slot, slots[slot].closeReason ?? reason)
        case .probing:
            counters.probeFailures += 1
            free(slot, reason)
        default:
            free(slot, reason)
        }
        pump(now.nanoseconds)
    }

    /// Answers `close`: the peer's end was seen. Until then the server may still count the
    /// connection, so the slot counts too.
    package mutating func closed(_ id: UpstreamID, now: MonotonicTime) {
        lost(id, .upstreamClosed, now: now)
    }

    /// Starts closing. With `group`, the slot is meant for a dial of that group.
    mutating func close(
        _ slot: Int, _ reason: CloseReason, for group: Int = none, now: Int64
    ) {
        actions.append(.close(id(of: slot), reason))
        // Off its lists before it is counted under the group that it makes room for.
        move(slot, to: .control)
        assign(slot, to: group)
        slots[slot].closeReason = reason
        slots[slot].deadline = now + limits.closeTimeout
        move(slot, to: .closing)
    }

    /// The slot counts no more, and stale IDs of it are recognised.
    mutating func free(_ slot: Int, _ reason: CloseReason) {
        move(slot, to: .free)
        assign(slot, to: none)
        slots[slot].generation &+= 1
        slots[slot].closeReason = nil
        counters.countClose(reason)
    }

    /// Shutdown: refuses waiters and new leases, closes what is not leased, and the rest when its
    /// lease ends. Final.
    package mutating func drain(now: MonotonicTime) {
        clock = now.nanoseconds
        isDraining = true
        refuseAll(.draining, now: now.nanoseconds)
        for slot in slots.indices {
            let state = slots[slot].state
            guard state != .pinned, state != .control else { continue }
            retire(slot, .drain, now: now.nanoseconds)
        }
    }

    /// Puts new limits into force. Upstreams above them are closed when their lease ends;
    /// `pingInterval` is that of the limits until `setPingInterval` is called again.
    package mutating func setLimits(_ limits: PoolLimits, now: MonotonicTime) {
        clock = now.nanoseconds
        self.limits = limits
        if !isRationed { permits = limits.permits }
        openCeiling = max(permits.connections, open)
        pinCeiling = max(permits.pins, count(.pinned))
        pingInterval = limits.pingInterval
        for slot in slots.indices where slots[slot].state.isConnected {
            slots[slot].expiresAt = expiry(of: slot)
        }
        while open - count(.closing) > permits.connections,
            let slot = longestIdle(where: { _ in true })
        {
            close(slot, .configChanged, now: now.nanoseconds)
        }
        trimIdle(now.nanoseconds)
        expireWaiters(now.nanoseconds)
        pump(now.nanoseconds)
    }

    /// How long an upstream may be idle before it is probed, in nanoseconds; 0 = never. Called when
    /// the server's own `timeout` is known. More than 73 years count as 73 years: the clock can be
    /// that old before a sum overflows.
    package mutating func setPingInterval(_ interval: Int64) {
        pingInterval = min(max(interval, 0), .max / 4)
    }
}

extension UpstreamState {
    /// Whether there is a connection whose life has begun and is not ending.
    var isConnected: Bool {
        switch self {
        case .free, .connecting, .closing: false
        case .converting, .idle, .probing, .shared, .pinned, .control: true
        }
    }
}
