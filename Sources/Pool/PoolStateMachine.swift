// The pool of one upstream address inside one worker: what it stores, its lists and its limits.
// What it does is in the files beside this one:
//
//   +Leases        which upstream a lease gets, and how a lease ends
//   +Waiters       the wait queue: who is served next, and who is refused
//   +Upstreams     how connections begin, fall idle and end
//   +Halt          an operator's pause
//   +Time          what time alone does: deadlines, probes, timeouts, `minIdle`
//   +Invariants    what must always hold, for tests
//   Sharing/       how several workers share the limits of a pool
//
// The machine knows no sockets and calls nobody: `nextAction()` returns what the shell has to do.
//
// Small readers, here and in the other files, are `@inline(__always)` for a reason: out of line, a
// non-mutating method gets a copy of the whole machine, 900 bytes a call (measured, Swift 6.3).

/// Leases upstreams to clients.
///
/// `now` never goes back between calls. An `UpstreamID` of a connection that is gone is ignored
/// everywhere. What mutating calls decide comes out of `nextAction()`, see `PoolAction`.
package struct PoolStateMachine: ~Copyable {
    /// The limits in force; `setLimits` changes them.
    package internal(set) var limits: PoolLimits
    /// What happened since `init`.
    package internal(set) var counters = PoolCounters()
    /// Why upstreams close once `drain` was called.
    private(set) var drainReason: CloseReason?
    /// Between `halt` and `resume`.
    package internal(set) var isHalted = false
    /// When the halt began.
    var haltedAt: Int64 = 0
    /// The waiter that is served even during a halt, see `leaseToRelease`, or `none`.
    var releaser = none

    /// The part of the limits that this machine may use: all, or its share, see `setPermits`.
    package internal(set) var permits: PoolPermits
    /// Whether other workers share the limits.
    var isRationed: Bool
    /// Whether a shared command was put on a busy upstream because a permit for another is missing.
    var isCramped = false

    var slots: Rows<UpstreamSlot>
    var freeSlots = SlotList()
    var stateCounts = InlineArray<9, Int>(repeating: 0)
    /// Sum of all groups' `coming`.
    var coming = 0
    /// Shared upstreams that take no new work, because they retire.
    var retiring = 0
    /// Shared upstreams that take no new work, because they yield.
    var yielding = 0

    var groups = Rows<KeyGroup>(capacity: 4)
    var groupIndices: [PoolKey: Int] = [:]
    var freeGroups: [Int] = []
    /// The group of the key that `minIdle` and the breaker dial for; it always exists.
    var warmGroup = 0
    var recentGroups = InlineArray<16, Int>(repeating: 0)

    var queue = WaitQueue()
    var turns: [Turn] = []
    var actions = ActionQueue()
    var gate = DialGate()
    var fixedUsers = FixedUsers()
    var random: RandomSource
    /// The time from a connection's last answer to its probe, in nanoseconds; 0: none are probed.
    package internal(set) var pingInterval: Int64
    /// No probe has a deadline before this; `.max` if none is under way.
    var probeDeadline = Int64.max
    /// The `now` of the latest call.
    var clock: Int64
    /// What `open` and the number of pins must not exceed: the permits, or what was in use when the
    /// permits were lowered.
    var openCeiling: Int
    var pinCeiling: Int

    /// An empty pool. The first `tick` dials `minIdle` upstreams of `warmKey`.
    ///
    /// - Parameters:
    ///   - permits: what it may use of the limits at first; nil for all.
    ///   - seed: for the jitter of lifetimes and backoffs; a different one for each pool.
    package init(
        limits: PoolLimits, permits: PoolPermits? = nil, warmKey: PoolKey, seed: UInt64,
        now: MonotonicTime
    ) {
        self.limits = limits
        self.permits = permits ?? limits.permits
        isRationed = permits != nil
        random = RandomSource(seed: seed)
        pingInterval = limits.pingInterval
        clock = now.nanoseconds
        openCeiling = self.permits.connections
        pinCeiling = self.permits.pins
        slots = Rows(capacity: max(1, min(limits.maxOpen, 64)))
        // There is always a group 0, so every entry of `recentGroups` names a group.
        groups.append(KeyGroup(key: warmKey))
        groupIndices[warmKey] = 0
        turns.reserveCapacity(64)
    }

    /// Whether `nextAction` has something. It is `mutating` because each command asks: a call from
    /// another module that does not mutate gets a copy of the machine, 900 bytes (Swift 6.3).
    package var hasActions: Bool {
        mutating get { actions.hasNext }
    }

    /// The next thing for the shell to do, in order, or nil.
    package mutating func nextAction() -> PoolAction? {
        actions.next()
    }
}

extension PoolStateMachine {
    // MARK: Limits

    /// Puts new limits into force. Idle upstreams above them are closed at once, others when their
    /// lease ends. `pingInterval` is that of the limits until `setPingInterval` is called again.
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

    /// Whether `drain` was called.
    package var isDraining: Bool { drainReason != nil }

    /// Ends the use of the server: refuses waiters and new leases, closes upstreams that are not
    /// leased, and closes the others when their lease ends.
    package mutating func drain(_ reason: CloseReason = .drain, now: MonotonicTime) {
        clock = now.nanoseconds
        drainReason = reason
        refuseAll(.draining, now: now.nanoseconds)
        for slot in slots.indices {
            let state = slots[slot].state
            guard state != .pinned, state != .control else { continue }
            retire(slot, reason, now: now.nanoseconds)
        }
    }

    // MARK: Views

    /// A pin would wait neither for the end of another one nor for a permit of another worker.
    package var hasFreePin: Bool { count(.pinned) < permits.pins }

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

    /// The state of the breaker: while it is open and nothing is connected, leases are refused.
    package var breaker: BreakerState {
        guard gate.isOpen else { return .closed }
        return count(.connecting) > 0 ? .halfOpen : .open
    }

    /// Why the last failed dial failed, also after later successes; nil if none ever did.
    package var lastFailure: CloseReason? { gate.lastFailure }

    /// Dials that failed since the last one that succeeded.
    package var consecutiveFailures: Int { gate.consecutiveFailures }

    /// The users of all keys for which there is an upstream or a waiter, in whatever state.
    ///
    /// `mutating` for the same reason as `hasActions`.
    package var usersInUse: Set<UInt32> {
        mutating get {
            var users: Set<UInt32> = []
            for group in groups.indices where groups[group].references > 0 {
                users.insert(groups[group].key.user)
            }
            return users
        }
    }

    @inline(__always)
    func count(_ state: UpstreamState) -> Int { stateCounts[state.index] }

    /// All that count towards `maxOpen`.
    @inline(__always)
    var open: Int { slots.count - freeSlots.count }

    @inline(__always)
    var connected: Int { open - count(.connecting) - count(.closing) }

    /// Upstreams that pins and shared commands use: all leased ones but `control`.
    @inline(__always)
    var busy: Int { count(.pinned) + count(.shared) }

    /// The waiters of a kind for a group's upstreams. The `switch` has only that list copied.
    @inline(__always)
    func waiting(_ kind: LeaseKind, for group: Int) -> WaitList {
        switch kind {
        case .shared: groups[group].waiting.shared
        case .slow: groups[group].waiting.slow
        case .pin: groups[group].waiting.pin
        case .control: groups[group].waiting.control
        }
    }

    /// The shared upstreams of a lane that take work. Only that list is copied.
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

    /// Makes unused groups reusable, so that keys seen once do not accumulate. Only the tick calls
    /// it: within any other call, group indices stay valid.
    mutating func reclaimGroups() {
        for group in groups.indices
        where group != warmGroup && groups[group].isLive && groups[group].references == 0 {
            groups[group].isLive = false
            groupIndices[groups[group].key] = nil
            freeGroups.append(group)
        }
    }
}
