// Which upstream a lease gets, of those that its key has.

extension PoolStateMachine {
    /// Leases an upstream of the group, if there is one to be had now. With `opening`, another
    /// one is acquired for shared commands when that is better than what there is.
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

    /// What a control command says concerns no database: an idle upstream in any one will do, and
    /// while a script runs, the server lets nobody go to another.
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

    /// Pins and shared commands leave the last upstream to control commands.
    @inline(__always)
    var hasHeadroom: Bool { busy < permits.open }

    /// Whether a pin of what is connected leaves one upstream to shared commands. Another one
    /// counts once it is there: the server may refuse it, and a pin may last for ever. Where this
    /// worker may have no other, as others have them, or keeps none idle, the pin takes what there
    /// is.
    var leavesOne: Bool {
        if connected - count(.pinned) - retiring > 1 { return true }
        if gate.isFailing { return false }
        let isAnotherPossible =
            open < permits.connections || count(.connecting) + count(.closing) > 0
        return !isAnotherPossible || limits.maxIdle == 0
    }

    /// Pins wait that could have an upstream: shared commands must not spread further.
    @inline(__always)
    var isPinWaiting: Bool {
        queue.countByKind.pin > 0 && count(.pinned) < permits.pins
    }

    /// Whether a listed upstream is not busy.
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

    /// In this order: the first shared upstream of the lane that is not busy; an idle one; one
    /// more, while the server accepts connections, and meanwhile the least deep of those that are
    /// only deep is filled further; if no more can be had, the least deep one although it is
    /// stalled, be it of the other lane. There a command waits as on a connection of its own.
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
        // Where the last dial has failed, the next one is not waited for.
        let isComing = isStarted && !gate.isFailing
        let found =
            leastDeep(lane, of: group, stalledToo: !isComing, now: now)
            ?? (isComing ? nil : leastDeep(lane.other, of: group, stalledToo: true, now: now))
        if let found { slots[found].countCommand(now: now) }
        return found
    }

    /// The upstream for a shared command that has waited until its deadline: any of the key that is
    /// connected, however long it has been silent, before the client is told that there is none.
    mutating func takeAtDeadline(_ kind: LeaseKind, of group: Int) -> Int? {
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
        // While pins wait, the first one is fed however deep, so that the others run empty.
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
}
