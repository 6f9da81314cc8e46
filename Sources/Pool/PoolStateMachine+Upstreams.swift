// The life of an upstream: how the pool gets one more, how it falls idle, and how it ends.

extension PoolStateMachine {
    // MARK: One more

    /// The outcome of `acquire`.
    enum Acquisition {
        /// Enough are coming already.
        case covered
        /// One more is coming.
        case started
        /// None can be had now: no slot, backoff, or too many dials at a time.
        case impossible
    }

    /// Gets one more upstream for the group unless enough are coming. `kind` counts as wanted
    /// even if nobody of that kind waits yet.
    mutating func acquire(for kind: LeaseKind, of group: Int, now: Int64) -> Acquisition {
        guard !isDraining, !isHalted else { return .impossible }
        // A pin without a permit acquires nothing, although `wanted` counts other kinds too: it
        // would take upstreams from other keys again and again.
        guard kind != .pin || count(.pinned) < permits.pins else { return .impossible }
        guard groups[group].coming < wanted(of: group, including: kind) else { return .covered }
        let hasRoom = busy + coming < permits.open
        guard kind == .control || hasRoom else { return .impossible }
        let key = groups[group].key
        let canDial = mayDial(now) && open < permits.connections
        // The control command may be to end a script; while one runs, the server refuses SELECT.
        let keepsDatabase = kind == .control && canDial
        let isFixed = fixedUsers.contains(key.user, now: now)
        if isFixed, !fixedUsers.hasRoom(for: key.user, now: now) { return .impossible }
        // A pin that would take the last upstream needs a new one; an idle one of another key is no
        // help.
        let mayUseIdle = kind != .pin || leavesOne
        let convertible = longestIdle { other in
            mayUseIdle && !isFixed && other != group && groups[other].key.user == key.user
                && (!keepsDatabase || groups[other].key.database == key.database)
        }
        if let convertible {
            convert(convertible, to: group)
            return .started
        }
        if canDial {
            fixedUsers.count(key.user)
            dial(group, now: now)
            return .started
        }
        guard mayDial(now), mayUseIdle,
            let slot = longestIdle(where: { other in
                groups[other].key.user != key.user || (isFixed && other != group)
            })
        else {
            return .impossible
        }
        fixedUsers.count(key.user)
        close(slot, .replaced, for: group, now: now)
        return .started
    }

    /// How many upstreams the waiters of a group want. One serves all shared commands of a lane;
    /// each pin and each control command needs its own. Near the limit of pins, upstreams coming
    /// for other keys are subtracted, because they may be pinned first.
    func wanted(of group: Int, including kind: LeaseKind) -> Int {
        let waitingPins = groups[group].waiting.pin.count
        let comingElsewhere = coming - groups[group].coming
        let allowedPins = permits.pins - count(.pinned) - comingElsewhere
        var wanted = min(waitingPins, max(0, allowedPins))
        wanted += groups[group].waiting.control.count
        if kind == .shared || groups[group].waiting.shared.count > 0 { wanted += 1 }
        if kind == .slow || groups[group].waiting.slow.count > 0 { wanted += 1 }
        return wanted
    }

    /// The upstream that has been idle longest among those whose group fits.
    func longestIdle(where fits: (_ group: Int) -> Bool) -> Int? {
        guard count(.idle) > 0 else { return nil }
        var longest: Int?
        for slot in slots.indices
        where slots[slot].state == .idle && fits(slots[slot].group) {
            if longest.map({ slots[slot].idleSince < slots[$0].idleSince }) ?? true {
                longest = slot
            }
        }
        return longest
    }

    private mutating func convert(_ slot: Int, to group: Int) {
        let old = groups[slots[slot].group].key
        // Off the old group's lists before it is counted under the new one.
        move(slot, to: .pinned)
        assign(slot, to: group)
        move(slot, to: .converting)
        counters.conversions += 1
        actions.append(.convert(id(of: slot), from: old, to: groups[group].key))
    }

    /// Counts a coming upstream under another key.
    mutating func refile(_ slot: Int, under key: PoolKey) {
        let state = slots[slot].state
        // Off the old group's counts before it is counted under the new one.
        move(slot, to: .pinned)
        assign(slot, to: groupIndex(of: key))
        move(slot, to: state)
    }

    /// Whether backoff, breaker and the cap on concurrent dials allow one more.
    @inline(__always)
    func mayDial(_ now: Int64) -> Bool {
        !gate.isOpen && gate.allows(now) && count(.connecting) < limits.maxDials
    }

    /// Takes a slot and dials. The caller has checked that there is a slot.
    mutating func dial(_ group: Int, now: Int64) {
        precondition(open < permits.connections, "no slot to dial with")
        let slot = freeSlot()
        slots[slot].dialedAt = now
        slots[slot].expiresAt = .max
        assign(slot, to: group)
        move(slot, to: .connecting)
        counters.dials += 1
        actions.append(.dial(id(of: slot), groups[group].key))
    }

    /// A slot for a new upstream, still free.
    mutating func freeSlot() -> Int {
        if freeSlots.head < 0 {
            slots.append(UpstreamSlot())
            stateCounts[UpstreamState.free.index] += 1
            freeSlots.pushFront(slots.count - 1, in: &slots)
        }
        let slot = freeSlots.head
        slots[slot].closeReason = nil
        slots[slot].most = .max
        slots[slot].jitter = random.below(201) - 100
        return slot
    }

    // MARK: What the shell reports

    /// A dial succeeded, the handshake included. With `key`, the upstream is in that state instead
    /// of the one it was dialled for.
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
        // It is kept even if nobody wants it at this moment, because the next command may. If it
        // is one too many, the tick closes it.
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
            // It was retired while connecting, so this does not count as a failure of the server.
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

    /// A conversion succeeded. With `key`, the upstream is in that state instead of the one it was
    /// converted to.
    package mutating func converted(
        _ id: UpstreamID, as key: PoolKey? = nil, now: MonotonicTime
    ) {
        clock = now.nanoseconds
        guard let slot = index(of: id), slots[slot].state == .converting else { return }
        if let key { refile(slot, under: key) }
        slots[slot].activeAt = now.nanoseconds
        park(slot, trim: false, now: now.nanoseconds)
    }

    /// The server has refused to convert a connection of this user: no other is converted before
    /// `until`.
    package mutating func refuseConversions(
        of user: UInt32, until: MonotonicTime, now: MonotonicTime
    ) {
        fixedUsers.add(user, until: until.nanoseconds, now: now.nanoseconds)
    }

    /// Another server answers at the address: what the old one refused to users no longer holds.
    package mutating func allowConversions() { fixedUsers.forget() }

    /// A probe was answered with PONG. The upstream keeps its idle time and goes to the back of the
    /// idle list.
    package mutating func probed(_ id: UpstreamID, now: MonotonicTime) {
        clock = now.nanoseconds
        guard let slot = index(of: id), slots[slot].state == .probing else { return }
        counters.probeAnswers += 1
        slots[slot].activeAt = now.nanoseconds
        park(slot, wasProbing: true, trim: false, now: now.nanoseconds)
    }

    // MARK: Falling idle

    /// Closes a clean upstream if it is too old or one too many; otherwise it falls idle, and
    /// `pump` gives it to the first fitting waiter. With `trim`, idle ones above `maxIdle` are
    /// closed.
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
        if let drainReason { return drainReason }
        if isHalted, releaser < 0 { return .paused }
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
        // A waiter may have counted on an upstream that was closed.
        pump(now)
    }

    /// When the connection's life ends: `maxLifetime` after it was made, +-10 %.
    func expiry(of slot: Int) -> Int64 {
        guard limits.maxLifetime > 0 else { return .max }
        return slots[slot].connectedAt + limits.maxLifetime
            + limits.maxLifetime / 1000 * slots[slot].jitter
    }

    // MARK: The end

    /// Closes an upstream on purpose, at once. A shared one gets no new work and closes when its
    /// commands in flight are answered.
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

    /// Gives a shared upstream no new work, so that it settles soon, and closes.
    mutating func closeWhenSettled(_ slot: Int, _ reason: CloseReason) {
        // Any other reason outlasts a halt.
        if slots[slot].closeReason == .paused { slots[slot].closeReason = reason }
        guard slots[slot].closeReason == nil else {
            // Otherwise it would take work again after the halt.
            if slots[slot].closeReason == .paused { slots[slot].closeReason = reason }
            return
        }
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

    /// The answer to `close`: the server has closed its side. Until then the server may still count
    /// the connection, so its slot counts too.
    package mutating func closed(_ id: UpstreamID, now: MonotonicTime) {
        lost(id, .upstreamClosed, now: now)
    }

    /// Starts to close an upstream. With `group`, the slot is meant for a dial of that group.
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

    /// Frees the slot, so that it no longer counts. IDs of the old connection are stale from now
    /// on.
    mutating func free(_ slot: Int, _ reason: CloseReason) {
        move(slot, to: .free)
        assign(slot, to: none)
        slots[slot].generation &+= 1
        slots[slot].closeReason = nil
        counters.countClose(reason)
    }
}
