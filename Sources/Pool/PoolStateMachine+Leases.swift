// Which upstream a lease gets, and how a lease ends. Leases that have to wait are in +Waiters.

extension PoolStateMachine {
    // MARK: Asking

    /// Asks for an upstream in the state `key`.
    ///
    /// `shared` and `slow`: one command is counted in flight on the upstream; `finish` counts its
    /// reply. `pin` and `control`: it serves nobody else until `release`, `retire` or `lost`.
    package mutating func lease(
        _ kind: LeaseKind, key: PoolKey, for waiter: WaiterID, now: MonotonicTime
    ) -> LeaseOutcome {
        let now = now.nanoseconds
        clock = now
        let group = groupIndex(of: key)
        if !kind.isExclusive {
            let lane = Lane(kind)
            let head = listed(lane, of: group).head
            if head >= 0, waiting(kind, for: group).count == 0,
                hasRoom(head, lane: lane, now: now)
            {
                slots[head].countCommand(now: now)
                counters.hits += 1
                return .granted(id(of: head))
            }
        }
        return leaseFromElsewhere(kind, group: group, waiter: waiter, now: now)
    }

    private mutating func leaseFromElsewhere(
        _ kind: LeaseKind, group: Int, waiter: WaiterID, now: Int64
    ) -> LeaseOutcome {
        if let refusal = refusalAtOnce(kind) { return refuse(refusal) }
        if !isHalted, waiting(kind, for: group).count == 0,
            let slot = take(kind, of: group, opening: true, now: now)
        {
            counters.hits += 1
            return .granted(id(of: slot))
        }
        guard queue.count < limits.maxWaiters else { return refuse(.queueFull) }
        counters.misses += 1
        counters.waits += 1
        groups[group].references += 1
        let ticket = queue.append(
            waiter, kind: kind, group: group, now: now, to: &groups[group].waiting[kind])
        // For shared commands `take` has tried that.
        if kind.isExclusive, !isHalted { _ = acquire(for: kind, of: group, now: now) }
        return .queued(ticket)
    }

    /// The reason not to queue at all, or nil. If all pins are taken, a pin is queued.
    @inline(__always)
    private func refusalAtOnce(_ kind: LeaseKind) -> Refusal? {
        if isDraining { return .draining }
        if gate.isOpen, connected == 0, !isHalted { return .upstreamDown }
        if kind == .pin, limits.maxPinned == 0 { return .pinLimit }
        return nil
    }

    private mutating func refuse(_ refusal: Refusal) -> LeaseOutcome {
        counters.misses += 1
        counters.countRefusal(refusal)
        return .refused(refusal)
    }

    /// Pins this upstream, past the queue: WAIT must go where its client's writes went. False if it
    /// has commands in flight, is leased exclusively, retiring or not connected, or if no more pins
    /// are allowed, and during a halt. False also if it is the last upstream, which is kept for
    /// control or shared commands; then another one is dialled.
    package mutating func pin(_ id: UpstreamID) -> Bool {
        guard let slot = index(of: id), count(.pinned) < permits.pins, !isHalted
        else { return false }
        let mayPin =
            switch slots[slot].state {
            case .idle: hasHeadroom
            case .shared:
                slots[slot].inFlight == 0 && !slots[slot].isFenced
                    && slots[slot].closeReason == nil
            default: false
            }
        guard mayPin else { return false }
        guard leavesOne else {
            let mayHaveOneMore = coming == 0 && open < permits.connections && mayDial(clock)
            if mayHaveOneMore, !isDraining { dial(slots[slot].group, now: clock) }
            return false
        }
        move(slot, to: .pinned)
        return true
    }

    /// Whether the upstream is leased for a pin or a control command.
    package func isExclusivelyLeased(_ id: UpstreamID) -> Bool {
        guard let slot = index(of: id) else { return false }
        return slots[slot].state == .pinned || slots[slot].state == .control
    }

    // MARK: Which upstream

    /// Leases an upstream of the group, if one is available now. With `opening`, a shared command
    /// that finds none with room has another one acquired.
    mutating func take(_ kind: LeaseKind, of group: Int, opening: Bool, now: Int64) -> Int? {
        switch kind {
        case .shared, .slow:
            return takeShared(Lane(kind), of: group, opening: opening, now: now)
        case .pin:
            guard count(.pinned) < permits.pins, hasHeadroom, leavesOne else { return nil }
            return takeIdle(of: group, as: .pinned)
        case .control:
            return takeIdle(of: group, as: .control) ?? takeForControl(group)
        }
    }

    /// Control commands concern no database, so an idle upstream in any database will do. While a
    /// script runs, the server refuses SELECT.
    private mutating func takeForControl(_ group: Int) -> Int? {
        let key = groups[group].key
        let slot = longestIdle { other in
            groups[other].key.user == key.user
                && groups[other].key.protocolVersion == key.protocolVersion
        }
        if let slot { move(slot, to: .control) }
        return slot
    }

    private mutating func takeIdle(of group: Int, as state: UpstreamState) -> Int? {
        let slot = groups[group].idle.head
        guard slot >= 0 else { return nil }
        move(slot, to: state)
        return slot
    }

    /// Whether pins and shared commands may use one more upstream: they leave the last one to
    /// control commands.
    @inline(__always)
    var hasHeadroom: Bool { busy < permits.open }

    /// Whether one upstream is left for shared commands if another is pinned. Only connected ones
    /// count: the server may refuse a dial, and a pin may never end. The pin may take the last
    /// one if this worker cannot get another, because other workers have them, or keeps none idle.
    var leavesOne: Bool {
        if connected - count(.pinned) - retiring > 1 { return true }
        if gate.isFailing { return false }
        let isAnotherPossible =
            open < permits.connections || count(.connecting) + count(.closing) > 0
        return !isAnotherPossible || limits.maxIdle == 0
    }

    /// True if a pin waits and a permit for a pin is free. Shared commands then take no more
    /// upstreams.
    @inline(__always)
    var isPinWaiting: Bool {
        queue.countByKind.pin > 0 && count(.pinned) < permits.pins
    }

    /// Whether a listed upstream is open to work below the limit of its lane's pipelines.
    @inline(__always)
    func hasRoom(_ slot: Int, lane: Lane, now: Int64) -> Bool {
        isOpenToWork(slot, below: limits.pipelineLimit(lane), now: now)
    }

    /// Whether a listed upstream is available, not stalled, and has fewer than `limit` in flight.
    @inline(__always)
    private func isOpenToWork(_ slot: Int, below limit: Int32, now: Int64) -> Bool {
        let inFlight = slots[slot].inFlight
        return slots[slot].isAvailable && inFlight < limit && inFlight < slots[slot].most
            && (inFlight == 0 || now - slots[slot].progressAt <= limits.slowThreshold)
    }

    /// Chooses in this order: the first shared upstream of the lane that has room; an idle one; one
    /// that has more in flight than `pipelineLimit`, the least deep first, while another one is
    /// acquired. If no other can be acquired or the last dial failed: also a stalled one, then one
    /// of the other lane. There a command waits as on a connection of its own.
    private mutating func takeShared(
        _ lane: Lane, of group: Int, opening: Bool, now: Int64
    ) -> Int? {
        if let slot = shared(lane, of: group, now: now) {
            slots[slot].countCommand(now: now)
            return slot
        }
        let mayAdd = !isPinWaiting || !hasAvailable(lane, of: group)
        let slot = groups[group].idle.head
        if mayAdd, hasHeadroom, slot >= 0 {
            slots[slot].lane = lane
            move(slot, to: .shared)
            slots[slot].countCommand(now: now)
            return slot
        }
        guard opening else { return nil }
        let isStarted = mayAdd && acquire(for: lane.kind, of: group, now: now) != .impossible
        if isRationed, !isStarted { isCramped = true }
        // If the last dial failed, nobody waits for the next one.
        let isComing = isStarted && !gate.isFailing
        let found =
            leastDeep(lane, of: group, stalledToo: !isComing, now: now)
            ?? (isComing ? nil : leastDeep(lane.other, of: group, stalledToo: true, now: now))
        if let found { slots[found].countCommand(now: now) }
        return found
    }

    private func hasAvailable(_ lane: Lane, of group: Int) -> Bool {
        var slot = listed(lane, of: group).head
        while slot >= 0 {
            if slots[slot].isAvailable { return true }
            slot = slots[slot].next
        }
        return false
    }

    private mutating func shared(_ lane: Lane, of group: Int, now: Int64) -> Int? {
        let head = listed(lane, of: group).head
        guard head >= 0 else { return nil }
        if hasRoom(head, lane: lane, now: now) { return head }
        // While pins wait, only the first one is filled, up to the hard limit, so that the others
        // run empty.
        if isPinWaiting {
            return isOpenToWork(head, below: limits.hardLimit(lane), now: now) ? head : nil
        }
        let current = groups[group].current[lane]
        if current >= 0, hasRoom(current, lane: lane, now: now) { return current }
        var slot = slots[head].next
        while slot >= 0 {
            if hasRoom(slot, lane: lane, now: now) {
                groups[group].current[lane] = slot
                return slot
            }
            slot = slots[slot].next
        }
        return nil
    }

    /// The upstream of a lane with the fewest commands in flight that may take one more.
    private func leastDeep(
        _ lane: Lane, of group: Int, stalledToo: Bool, now: Int64
    ) -> Int? {
        var best: Int?
        var slot = listed(lane, of: group).head
        while slot >= 0 {
            let limit = limits.hardLimit(lane)
            let fits =
                isOpenToWork(slot, below: limit, now: now)
                || (stalledToo && slots[slot].isAvailable && slots[slot].inFlight < limit
                    && slots[slot].inFlight < slots[slot].most)
            if fits, best.map({ slots[slot].inFlight < slots[$0].inFlight }) ?? true {
                best = slot
            }
            slot = slots[slot].next
        }
        return best
    }

    // MARK: Shared upstreams at work

    /// A client that has commands in flight on this shared upstream sends `count` more there,
    /// because only that keeps their order. It may do so on a retiring upstream too. A command of
    /// kind `.slow` moves the upstream to the slow lane until it settles.
    package mutating func add(
        _ id: UpstreamID, _ kind: LeaseKind = .shared, count: Int32 = 1
    ) {
        guard let slot = index(of: id), slots[slot].state == .shared else { return }
        slots[slot].countCommand(count, now: clock)
        if case .slow = kind, slots[slot].lane == .fast { moveToSlowLane(slot) }
    }

    /// A slow command follows others on an upstream of the fast lane: fast commands of other
    /// clients must not be put behind it. An upstream off work changes its lane too, as it may take
    /// work again. The function is out of line and called last, so that fast commands do not pay
    /// for it.
    @inline(never)
    mutating func moveToSlowLane(_ slot: Int) {
        let wasListed = slots[slot].isListed
        if wasListed { unlist(slot) }
        slots[slot].lane = .slow
        if wasListed { list(slot) }
    }

    /// Whether a client that has commands in flight here must not `add` one.
    package func isFull(_ id: UpstreamID) -> Bool {
        guard let slot = index(of: id), slots[slot].state == .shared else { return false }
        return isHalted || slots[slot].inFlight >= slots[slot].most
    }

    /// Limits the commands in flight on this upstream to `most`, at least 1, while it is shared, so
    /// that its replies do not exceed the server's output limit. Commands in flight are not
    /// affected. The limit holds until the connection ends. The time is the `now` of the last call.
    package mutating func setMost(_ id: UpstreamID, _ most: Int32) {
        guard let slot = index(of: id) else { return }
        let isMore = most > slots[slot].most
        slots[slot].most = max(1, most)
        if isMore, queue.count > 0, slots[slot].state == .shared { pump(clock) }
    }

    /// Says whether a shared upstream may take new work. It may not while a large reply is under
    /// way, its reader is slow or its output is full. Commands in flight are not affected. The time
    /// is the `now` of the last call.
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

    /// The shell sends a fence of its own behind the commands in flight on a shared upstream. Until
    /// `finishFence` the upstream does not fall idle, and so is neither pinned nor converted. A
    /// fence does not count as a command: it makes the upstream neither deep nor stalled, and a
    /// retiring one does not wait for it. False if the upstream is not shared.
    package mutating func addFence(_ id: UpstreamID) -> Bool {
        guard let slot = index(of: id), slots[slot].state == .shared else { return false }
        slots[slot].isFenced = true
        return true
    }

    /// The fence was answered. If nothing is in flight, the shell calls `settle`, as after a reply.
    package mutating func finishFence(_ id: UpstreamID) {
        guard let slot = index(of: id), slots[slot].state == .shared else { return }
        slots[slot].isFenced = false
    }

    /// `count` replies (1 or more) of a shared upstream are complete. If nothing is in flight then,
    /// the shell calls `settle` at the end of the loop iteration, not at once: the next command of
    /// a burst finds the upstream still shared.
    package mutating func finish(_ id: UpstreamID, count: Int32 = 1, now: MonotonicTime) {
        guard let slot = index(of: id), slots[slot].state == .shared else { return }
        precondition(slots[slot].inFlight >= count, "a reply without a command")
        clock = now.nanoseconds
        slots[slot].inFlight -= count
        slots[slot].progressAt = now.nanoseconds
        if queue.count > 0, groups[slots[slot].group].hasSharedWaiters { pump(now.nanoseconds) }
    }

    // MARK: The end of a lease

    /// Ends the shared use of an upstream with nothing in flight, at the end of a loop iteration:
    /// it closes if it retires, else it falls idle, and so goes to the first fitting waiter.
    /// Nothing happens if commands are in flight, or while it is unavailable or fenced.
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

    /// A pin or control lease ended, and the upstream is clean and in the state `key`. This call
    /// gives it to the first fitting waiter, or it falls idle.
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
}
