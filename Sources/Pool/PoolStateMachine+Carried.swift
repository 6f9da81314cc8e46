// Upstreams that another process hands over: they are connected, and may be leased, before this
// pool has dialled any.

/// An upstream as another process's pool saw it.
package struct CarriedSlot: Equatable, Sendable {
    /// What it is leased for.
    package enum Lease: Equatable, Sendable {
        /// It was idle. It is lent again when its server has answered, as after a probe.
        case none
        /// Commands whose replies are not complete: 1 or more, or none while only a fence is in
        /// flight.
        case shared(inFlight: Int32, isSlow: Bool, isFenced: Bool)
        case pin
        case control
    }

    package var lease: Lease
    package var dialedAt: MonotonicTime
    package var connectedAt: MonotonicTime
    /// When it last fell idle.
    package var idleSince: MonotonicTime
    /// When the server last answered, a probe included.
    package var activeAt: MonotonicTime
    /// Of a shared one: when it last replied, or got its first command.
    package var progressAt: MonotonicTime

    package init(
        lease: Lease, dialedAt: MonotonicTime, connectedAt: MonotonicTime,
        idleSince: MonotonicTime, activeAt: MonotonicTime, progressAt: MonotonicTime
    ) {
        self.lease = lease
        self.dialedAt = dialedAt
        self.connectedAt = connectedAt
        self.idleSince = idleSince
        self.activeAt = activeAt
        self.progressAt = progressAt
    }
}

extension PoolStateMachine {
    /// What is carried of an upstream. Nil for one that is not at rest: connecting, converting,
    /// probing, closing; and for one that is gone.
    package func carried(_ id: UpstreamID) -> CarriedSlot? {
        guard let slot = index(of: id) else { return nil }
        let upstream = slots[slot]
        let lease: CarriedSlot.Lease
        switch upstream.state {
        case .idle: lease = .none
        case .shared:
            lease = .shared(
                inFlight: upstream.inFlight, isSlow: upstream.lane == .slow,
                isFenced: upstream.isFenced)
        case .pinned: lease = .pin
        case .control: lease = .control
        case .free, .connecting, .converting, .probing, .closing: return nil
        }
        return CarriedSlot(
            lease: lease, dialedAt: MonotonicTime(nanoseconds: upstream.dialedAt),
            connectedAt: MonotonicTime(nanoseconds: upstream.connectedAt),
            idleSince: MonotonicTime(nanoseconds: upstream.idleSince),
            activeAt: MonotonicTime(nanoseconds: upstream.activeAt),
            progressAt: MonotonicTime(nanoseconds: upstream.progressAt))
    }

    /// Takes over an upstream in the state `key`. Its lease goes on. It counts towards the limits,
    /// which may be lower here: then it is one too many until it ends, as after `setLimits`.
    package mutating func adopt(
        _ carried: CarriedSlot, key: PoolKey, now: MonotonicTime
    ) -> UpstreamID {
        clock = now.nanoseconds
        let slot = freeSlot()
        slots[slot].dialedAt = carried.dialedAt.nanoseconds
        slots[slot].connectedAt = carried.connectedAt.nanoseconds
        slots[slot].idleSince = carried.idleSince.nanoseconds
        slots[slot].activeAt = carried.activeAt.nanoseconds
        slots[slot].expiresAt = expiry(of: slot)
        assign(slot, to: groupIndex(of: key))
        switch carried.lease {
        case .none: expectAnswer(of: slot, until: now.nanoseconds + limits.pingTimeout)
        case .shared(let inFlight, let isSlow, let isFenced):
            slots[slot].lane = isSlow ? .slow : .fast
            move(slot, to: .shared)
            slots[slot].inFlight = max(0, inFlight)
            slots[slot].isFenced = isFenced
            slots[slot].progressAt = carried.progressAt.nanoseconds
        case .pin: move(slot, to: .pinned)
        case .control: move(slot, to: .control)
        }
        counters.adoptions += 1
        openCeiling = max(openCeiling, open)
        pinCeiling = max(pinCeiling, count(.pinned))
        gate.succeeded()
        return id(of: slot)
    }
}
