// Bookkeeping: slots, states and their lists, groups, and the views of them for the shell.
//
// The small readers, here and elsewhere, are `@inline(__always)` for a reason: out of line, a
// non-mutating method gets a copy of the whole machine, 900 bytes a call (measured, Swift 6.3).

extension PoolStateMachine {
    // MARK: Views

    /// How many upstreams are in which state, and how many wait.
    package var census: PoolCensus {
        var result = PoolCensus()
        result.connecting = count(.connecting)
        result.converting = count(.converting)
        result.idle = count(.idle)
        result.probing = count(.probing)
        result.shared = count(.shared)
        result.pinned = count(.pinned)
        result.control = count(.control)
        result.closing = count(.closing)
        result.waiting = queue.count
        return result
    }

    /// Whether commands fail at once for want of a connection.
    package var breaker: BreakerState {
        guard gate.isOpen else { return .closed }
        return count(.connecting) > 0 ? .halfOpen : .open
    }

    /// Why the last failed dial failed, also after later successes; nil if none ever did.
    package var lastFailure: CloseReason? { gate.lastFailure }

    /// Dials that failed since the last one that succeeded.
    package var consecutiveFailures: Int { gate.consecutiveFailures }

    /// How long the oldest waiter has waited, in nanoseconds; 0 if nobody waits.
    package func oldestWait(now: MonotonicTime) -> Int64 {
        queue.oldest < 0 ? 0 : now.nanoseconds - queue.nodes[queue.oldest].since
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

    @inline(__always)
    func count(_ state: UpstreamState) -> Int { stateCounts[state.index] }

    /// All that count towards `maxOpen`.
    @inline(__always)
    var open: Int { slots.count - freeSlots.count }

    @inline(__always)
    var connected: Int { open - count(.connecting) - count(.closing) }

    /// Upstreams that only pins and shared commands have.
    @inline(__always)
    var busy: Int { count(.pinned) + count(.shared) }

    /// Those of a kind who wait for a group's upstreams. Read so, only that list is copied.
    @inline(__always)
    func waiting(_ kind: LeaseKind, for group: Int) -> WaitList {
        switch kind {
        case .shared: groups[group].waiting.shared
        case .slow: groups[group].waiting.slow
        case .pin: groups[group].waiting.pin
        case .control: groups[group].waiting.control
        }
    }

    /// The shared upstreams of a lane that take work. Read so, only that list is copied.
    @inline(__always)
    func listed(_ lane: Lane, of group: Int) -> SlotList {
        lane == .fast ? groups[group].lanes.fast : groups[group].lanes.slow
    }

    // MARK: Slots

    /// The slot of a connection that still exists, or nil.
    @inline(__always)
    func index(of id: UpstreamID) -> Int? {
        let index = Int(id.slot)
        guard index < slots.count, slots[index].generation == id.generation,
            slots[index].state != .free
        else { return nil }
        return index
    }

    @inline(__always)
    func id(of slot: Int) -> UpstreamID {
        UpstreamID(
            slot: UInt32(truncatingIfNeeded: slot), generation: slots[slot].generation)
    }

    /// Takes a slot off its state's lists and puts it on those of `state`.
    mutating func move(_ slot: Int, to state: UpstreamState, atBack: Bool = false) {
        leaveState(slot)
        slots[slot].state = state
        stateCounts[state.index] += 1
        let group = slots[slot].group
        switch state {
        case .free:
            freeSlots.pushFront(slot, in: &slots)
        case .connecting, .converting, .probing:
            countComing(group, by: 1)
        case .idle:
            if atBack {
                groups[group].idle.pushBack(slot, in: &slots)
            } else {
                groups[group].idle.pushFront(slot, in: &slots)
            }
        case .shared:
            slots[slot].inFlight = 0
            slots[slot].isAvailable = true
            list(slot)
        case .closing:
            if group >= 0 { countComing(group, by: 1) }
        case .pinned, .control:
            break
        }
    }

    private mutating func leaveState(_ slot: Int) {
        let group = slots[slot].group
        let state = slots[slot].state
        stateCounts[state.index] -= 1
        switch state {
        case .free:
            freeSlots.remove(slot, in: &slots)
        case .connecting, .converting, .probing:
            countComing(group, by: -1)
        case .idle:
            groups[group].idle.remove(slot, in: &slots)
        case .shared:
            if slots[slot].isListed { unlist(slot) }
            if slots[slot].isYielding { yielding -= 1 }
            if slots[slot].closeReason != nil { retiring -= 1 }
            slots[slot].isYielding = false
            slots[slot].isFenced = false
        case .closing:
            if group >= 0 { countComing(group, by: -1) }
        case .pinned, .control:
            break
        }
    }

    private mutating func countComing(_ group: Int, by change: Int) {
        groups[group].coming += change
        coming += change
    }

    /// Puts a shared upstream on its lane's list: it takes work.
    mutating func list(_ slot: Int) {
        let lane = slots[slot].lane
        groups[slots[slot].group].lanes[lane].pushBack(slot, in: &slots)
        slots[slot].isListed = true
    }

    /// Takes a shared upstream off its lane's list: it takes no new work.
    mutating func unlist(_ slot: Int) {
        let lane = slots[slot].lane
        let group = slots[slot].group
        groups[group].lanes[lane].remove(slot, in: &slots)
        if groups[group].current[lane] == slot { groups[group].current[lane] = none }
        slots[slot].isListed = false
    }

    /// A slow command joins what is in flight on an upstream of the fast lane: no fast one of
    /// anybody else must be put behind it. One that takes no work may do so again, then in its new
    /// lane. Out of line, and called last, so that `add` costs the others nothing for it.
    @inline(never)
    mutating func moveToSlowLane(_ slot: Int) {
        let wasListed = slots[slot].isListed
        if wasListed { unlist(slot) }
        slots[slot].lane = .slow
        if wasListed { list(slot) }
    }

    /// Changes which key a slot is counted under. The slot is on no list of its group.
    mutating func assign(_ slot: Int, to group: Int) {
        let old = slots[slot].group
        if old >= 0 { groups[old].references -= 1 }
        if group >= 0 { groups[group].references += 1 }
        slots[slot].group = group
    }

    // MARK: Groups

    /// The group of a key, made if there is none. A direct-mapped cache spares the dictionary.
    mutating func groupIndex(of key: PoolKey) -> Int {
        let hash = key.user &* 31 &+ key.database &* 2 &+ UInt32(key.protocolVersion)
        let place = Int(hash & 15)
        let recent = recentGroups[place]
        if groups[recent].key == key, groups[recent].isLive { return recent }
        let group = groupIndices[key] ?? makeGroup(key)
        recentGroups[place] = group
        return group
    }

    private mutating func makeGroup(_ key: PoolKey) -> Int {
        let group: Int
        if let free = freeGroups.popLast() {
            group = free
            groups[group] = KeyGroup(key: key)
        } else {
            group = groups.count
            groups.append(KeyGroup(key: key))
        }
        groupIndices[key] = group
        return group
    }

    /// Makes unused groups reusable, so that keys seen once do not add up. Done by the tick alone:
    /// within other calls group indices stay valid.
    mutating func reclaimGroups() {
        for group in groups.indices.dropFirst()
        where groups[group].isLive && groups[group].references == 0 {
            groups[group].isLive = false
            groupIndices[groups[group].key] = nil
            freeGroups.append(group)
        }
    }
}
