// The pool of one upstream address inside one worker: what it holds, and its way in, `lease`.
// Neighbours: +Take (which upstream), +Acquire (getting another one), +Events (what the shell
// reports), +Retire (closing), +Tick (time), +Queue (waiters), +States (bookkeeping). It must not
// know sockets, and it never calls out: what is to be done comes out of `nextAction()`.

/// Leases upstreams to clients.
///
/// `now` never goes back between calls. An `UpstreamID` of a connection that is gone is ignored
/// everywhere. What mutating calls decide comes out of `nextAction()`, see `PoolAction`.
package struct PoolStateMachine: ~Copyable {
    /// What holds now; `setLimits` changes it.
    package internal(set) var limits: PoolLimits
    /// What happened since `init`.
    package internal(set) var counters = PoolCounters()
    /// Whether `drain` was called.
    package internal(set) var isDraining = false

    /// What of the limits this machine may use: all, or its share of them, see `setPermits`.
    package internal(set) var permits: PoolPermits
    /// Others share the limits.
    var isRationed: Bool
    /// A shared command was served worse than with one upstream more, for want of a permit.
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
    var recentGroups = InlineArray<16, Int>(repeating: 0)

    var queue = WaitQueue()
    var turns: [Turn] = []
    var actions = ActionQueue()
    var gate = DialGate()
    var fixedUsers = FixedUsers()
    var random: RandomSource
    var pingInterval: Int64
    /// The earliest deadline of a probe, or earlier; `.max` if there is none.
    var probeDeadline = Int64.max
    /// The `now` of the latest call.
    var clock: Int64
    /// The permits' connections and pins, or what there was when they were lowered.
    var openCeiling: Int
    var pinCeiling: Int

    /// An empty pool. The first `tick` dials `minIdle` upstreams of `warmKey`.
    ///
    /// - Parameters:
    ///   - permits: what it may use of the limits at first; nil for all, if it is alone.
    ///   - seed: of lifetimes' and backoffs' jitter; a different one per pool.
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
        // Group 0 is that of `warmKey` for ever, so every entry of `recentGroups` names a group.
        groups.append(KeyGroup(key: warmKey))
        groupIndices[warmKey] = 0
        // Sorting more than a few turns at a time is rare.
        turns.reserveCapacity(64)
    }

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
        if waiting(kind, for: group).count == 0,
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
        // For shared commands `take` has tried already.
        if kind.isExclusive { _ = acquire(for: kind, of: group, now: now) }
        return .queued(ticket)
    }

    /// What makes waiting pointless. Pins that are merely all taken are waited for.
    @inline(__always)
    private func refusalAtOnce(_ kind: LeaseKind) -> Refusal? {
        if isDraining { return .draining }
        if gate.isOpen, connected == 0 { return .upstreamDown }
        if kind == .pin, limits.maxPinned == 0 { return .pinLimit }
        return nil
    }

    private mutating func refuse(_ refusal: Refusal) -> LeaseOutcome {
        counters.misses += 1
        counters.countRefusal(refusal)
        return .refused(refusal)
    }

    /// The client that has commands in flight on this shared upstream sends one more there: only
    /// that keeps their order. Allowed on a retiring upstream too. One of kind `.slow` takes
    /// the upstream along into the slow lane, until it settles.
    package mutating func add(_ id: UpstreamID, _ kind: LeaseKind = .shared) {
        guard let slot = index(of: id), slots[slot].state == .shared else { return }
        slots[slot].countCommand(now: clock)
        if case .slow = kind, slots[slot].lane == .fast { moveToSlowLane(slot) }
    }

    /// `count` replies (1 or more) of a shared upstream are complete. When nothing is in flight any
    /// more, the shell calls `settle` at the end of the loop iteration, so that a burst does not
    /// bounce.
    package mutating func finish(_ id: UpstreamID, count: Int32 = 1, now: MonotonicTime) {
        guard let slot = index(of: id), slots[slot].state == .shared else { return }
        precondition(slots[slot].inFlight >= count, "a reply without a command")
        clock = now.nanoseconds
        slots[slot].inFlight -= count
        slots[slot].progressAt = now.nanoseconds
        if queue.count > 0, groups[slots[slot].group].hasSharedWaiters { pump(now.nanoseconds) }
    }

    /// Whether `nextAction` has something. Asked for every command: `mutating`, because a call of
    /// another module that cannot change the machine gets a copy of it, of 900 bytes (Swift 6.3).
    package var hasActions: Bool {
        mutating get { actions.hasNext }
    }

    /// The next thing for the shell to do, in order, or nil.
    package mutating func nextAction() -> PoolAction? {
        actions.next()
    }
}
