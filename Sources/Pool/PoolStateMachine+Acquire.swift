// Getting one more upstream of a key: converting, dialling, or making room for a dial.

extension PoolStateMachine {
    /// What came of trying to get one more upstream.
    enum Acquisition {
        /// Enough are coming already.
        case covered
        /// One more is on its way.
        case started
        /// Not now: no slot, backoff, or too many dials at a time.
        case impossible
    }

    /// Gets one more upstream for the group unless enough are coming. `kind` counts as wanted
    /// even if nobody of that kind waits yet.
    mutating func acquire(for kind: LeaseKind, of group: Int, now: Int64) -> Acquisition {
        guard !isDraining else { return .impossible }
        // What others of the group want is theirs to ask for: a pin that cannot be had would take
        // upstreams from other keys without end.
        guard kind != .pin || count(.pinned) < permits.pins else { return .impossible }
        guard groups[group].coming < wanted(of: group, including: kind) else { return .covered }
        let hasRoom = busy + coming < permits.open
        guard kind == .control || hasRoom else { return .impossible }
        let key = groups[group].key
        let canDial = mayDial(now) && open < permits.connections
        // A control command may be what ends a script, during which SELECT is refused.
        let keepsDatabase = kind == .control && canDial
        let isFixed = fixedUsers.contains(key.user, now: now)
        if isFixed, !fixedUsers.hasRoom(for: key.user, now: now) { return .impossible }
        // A pin that leaves nothing to others first needs one more, whatever its key.
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

    /// One upstream serves all shared commands of a lane; pins and control need one each. Pins
    /// near their limit leave out what is coming for other keys: that may be pinned first.
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

    /// Counts an upstream that is on its way as coming for another key.
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

    /// Takes a slot, of which there is one, and dials.
    mutating func dial(_ group: Int, now: Int64) {
        precondition(open < permits.connections, "no slot to dial with")
        if freeSlots.head < 0 {
            slots.append(UpstreamSlot())
            stateCounts[UpstreamState.free.index] += 1
            freeSlots.pushFront(slots.count - 1, in: &slots)
        }
        let slot = freeSlots.head
        slots[slot].closeReason = nil
        slots[slot].most = .max
        slots[slot].dialedAt = now
        slots[slot].expiresAt = .max
        slots[slot].jitter = random.below(201) - 100
        assign(slot, to: group)
        move(slot, to: .connecting)
        counters.dials += 1
        actions.append(.dial(id(of: slot), groups[group].key))
    }
}
