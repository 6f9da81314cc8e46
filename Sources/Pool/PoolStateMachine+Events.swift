// What the shell reports about upstreams, apart from their end.

extension PoolStateMachine {
    /// A shared upstream with nothing in flight, at the end of a loop iteration: it is retired, or
    /// falls idle, which hands it to whoever waits for one. With something in flight, or while
    /// unavailable or fenced, nothing happens.
    package mutating func settle(_ id: UpstreamID, now: MonotonicTime) {
        clock = now.nanoseconds
        guard let slot = index(of: id) else { return }
        settle(slot, now: now.nanoseconds)
    }

    mutating func settle(_ slot: Int, now: Int64) {
        guard slots[slot].state == .shared, slots[slot].inFlight == 0 else { return }
        if let reason = slots[slot].closeReason {
            close(slot, reason, now: now)
            pump(now)
            return
        }
        guard slots[slot].isAvailable, !slots[slot].isFenced else { return }
        slots[slot].activeAt = slots[slot].progressAt
        park(slot, now: now)
    }

    /// The shell asks a shared upstream something of its own, behind what is in flight there: until
    /// `finishFence` it does not fall idle, and so is neither pinned nor converted. It is no
    /// command: it makes the upstream neither deep nor slow, and one that retires does not wait for
    /// it. False when the upstream is not shared.
    package mutating func addFence(_ id: UpstreamID) -> Bool {
        guard let slot = index(of: id), slots[slot].state == .shared else { return false }
        slots[slot].isFenced = true
        return true
    }

    /// The answer has come. With nothing in flight any more, `settle` is called as after a reply.
    package mutating func finishFence(_ id: UpstreamID) {
        guard let slot = index(of: id), slots[slot].state == .shared else { return }
        slots[slot].isFenced = false
    }

    /// A pin or control lease ended clean, and the upstream is in the state `key`. It goes to the
    /// first fitting waiter in this call, or falls idle.
    package mutating func release(_ id: UpstreamID, key: PoolKey, now: MonotonicTime) {
        clock = now.nanoseconds
        guard let slot = index(of: id), isExclusive(slot) else { return }
        assign(slot, to: groupIndex(of: key))
        slots[slot].activeAt = now.nanoseconds
        park(slot, now: now.nanoseconds)
    }

    /// The state of an exclusively leased upstream changed (SELECT, AUTH, HELLO succeeded).
    package mutating func rekey(_ id: UpstreamID, to key: PoolKey) {
        guard let slot = index(of: id), isExclusive(slot) else { return }
        assign(slot, to: groupIndex(of: key))
    }

    @inline(__always)
    private func isExclusive(_ slot: Int) -> Bool {
        slots[slot].state == .pinned || slots[slot].state == .control
    }

    /// Whether a shared upstream may take new work. False while a large reply is under way, its
    /// reader is slow or its output is full; commands in flight are not affected. It takes place at
    /// the `now` of the call before.
    package mutating func setAvailable(_ id: UpstreamID, _ isAvailable: Bool) {
        guard let slot = index(of: id), slots[slot].state == .shared,
            slots[slot].isAvailable != isAvailable
        else { return }
        slots[slot].isAvailable = isAvailable
        guard isAvailable else { return }
        slots[slot].progressAt = clock
        if slots[slot].inFlight == 0 {
            settle(slot, now: clock)
        } else {
            pump(clock)
        }
    }

    /// No more than `most` commands, at least 1, are to be in flight on this upstream while it is
    /// shared: its replies must not add up. What is in flight already is not affected. It holds
    /// until the connection ends, and takes place at the `now` of the call before.
    package mutating func setMost(_ id: UpstreamID, _ most: Int32) {
        guard let slot = index(of: id) else { return }
        let isMore = most > slots[slot].most
        slots[slot].most = max(1, most)
        if isMore, queue.count > 0, slots[slot].state == .shared { pump(clock) }
    }

    /// Whether a client that has commands in flight here must not `add` one.
    package func isFull(_ id: UpstreamID) -> Bool {
        guard let slot = index(of: id) else { return false }
        return slots[slot].state == .shared && slots[slot].inFlight >= slots[slot].most
    }

    /// A dial succeeded, the handshake included. With `key`, the upstream is in that state and not
    /// in the one that was wanted.
    package mutating func connected(
        _ id: UpstreamID, as key: PoolKey? = nil, now: MonotonicTime
    ) {
        clock = now.nanoseconds
        guard let slot = index(of: id), slots[slot].state == .connecting else { return }
        if let key { refile(slot, under: key) }
        counters.connects += 1
        gate.succeeded()
        slots[slot].connectedAt = now.nanoseconds
        slots[slot].activeAt = now.nanoseconds
        slots[slot].expiresAt = expiry(of: slot)
        // Nobody may want it at this very moment, but somebody did, and will again: if it is one
        // too many, the tick trims it.
        park(slot, trim: false, now: now.nanoseconds)
    }

    /// A dial failed. The reason says how: `connectFailed`, `connectTimeout`, `handshakeFailed`.
    package mutating func connectFailed(
        _ id: UpstreamID, _ reason: CloseReason, now: MonotonicTime
    ) {
        clock = now.nanoseconds
        guard let slot = index(of: id) else { return }
        if slots[slot].state == .connecting {
            dialFailed(slot, reason, now: now.nanoseconds)
        } else if slots[slot].state == .closing {
            // Retired meanwhile: it is gone all the same, and that says nothing of the server.
            free(slot, slots[slot].closeReason ?? reason)
        }
        pump(now.nanoseconds)
    }

    mutating func dialFailed(_ slot: Int, _ reason: CloseReason, now: Int64) {
        counters.dialFailures += 1
        gate.failed(
            reason, dialedAt: slots[slot].dialedAt, now: now,
            breakerTime: limits.breakerTime, random: &random)
        free(slot, reason)
    }

    /// A conversion succeeded. With `key`, the upstream is in that state and not in the one that
    /// was wanted.
    package mutating func converted(
        _ id: UpstreamID, as key: PoolKey? = nil, now: MonotonicTime
    ) {
        clock = now.nanoseconds
        guard let slot = index(of: id), slots[slot].state == .converting else { return }
        if let key { refile(slot, under: key) }
        slots[slot].activeAt = now.nanoseconds
        park(slot, trim: false, now: now.nanoseconds)
    }

    /// A probe was answered with PONG. The upstream keeps its idle time, and goes behind those
    /// that were used since.
    package mutating func probed(_ id: UpstreamID, now: MonotonicTime) {
        clock = now.nanoseconds
        guard let slot = index(of: id), slots[slot].state == .probing else { return }
        slots[slot].activeAt = now.nanoseconds
        park(slot, wasProbing: true, trim: false, now: now.nanoseconds)
    }

    /// A clean upstream: closed if its time is over, else idle, and thereby to the first fitting
    /// waiter; with `trim`, the longest idle one is closed if there are too many.
    mutating func park(_ slot: Int, wasProbing: Bool = false, trim: Bool = true, now: Int64) {
        if let reason = reasonToClose(slot, now: now) {
            close(slot, reason, now: now)
            pump(now)
            return
        }
        if !wasProbing { slots[slot].idleSince = now }
        move(slot, to: .idle, atBack: wasProbing)
        pump(now)
        if trim { trimIdle(now) }
    }

    @inline(__always)
    private func reasonToClose(_ slot: Int, now: Int64) -> CloseReason? {
        if isDraining { return .drain }
        if slots[slot].expiresAt <= now { return .maxLifetime }
        guard open - count(.closing) > permits.connections else { return nil }
        return isRationed ? .rebalanced : .configChanged
    }

    mutating func trimIdle(_ now: Int64) {
        guard count(.idle) + count(.probing) > limits.maxIdle else { return }
        while count(.idle) + count(.probing) > limits.maxIdle,
            let slot = longestIdle(where: { _ in true })
        {
            close(slot, .maxIdle, now: now)
        }
        // Waiters may have counted on what was closed.
        pump(now)
    }

    /// When the connection's life ends: `maxLifetime` after it was made, +-10 %.
    func expiry(of slot: Int) -> Int64 {
        guard limits.maxLifetime > 0 else { return .max }
        return slots[slot].connectedAt + limits.maxLifetime
            + limits.maxLifetime / 1000 * slots[slot].jitter
    }
}
