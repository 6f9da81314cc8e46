// The machine's side of permits: it uses no more than it has, and says how many it lacks and how
// many it can give away. `Permits.swift` explains the scheme. A machine that serves its pool alone
// has all permits.

extension PoolStateMachine {
    /// How long a client of another worker must have waited before this worker gives up a shared
    /// upstream at work. The commands served meanwhile outweigh the cost of a new connection.
    private static let handOverTime = Int64.milliseconds(10)

    /// Puts another number of permits into force. Upstreams above it are closed: idle ones at once,
    /// shared ones when they have answered, others when their lease ends.
    package mutating func setPermits(_ permits: PoolPermits, now: MonotonicTime) {
        let now = now.nanoseconds
        clock = now
        isRationed = true
        self.permits = permits
        openCeiling = max(permits.connections, open)
        pinCeiling = max(permits.pins, count(.pinned))
        shed(now)
        keepWarm(now)
        pump(now)
    }

    private mutating func shed(_ now: Int64) {
        while true {
            if busy - retiring > permits.open, let slot = slotToShed() {
                retire(slot, .rebalanced, now: now)
                continue
            }
            guard open - count(.closing) - retiring > permits.connections else { return }
            if let slot = longestIdle(where: { _ in true }) {
                close(slot, .rebalanced, now: now)
            } else if let slot = slotToShed() {
                retire(slot, .rebalanced, now: now)
            } else {
                return
            }
        }
    }

    /// A shared upstream at work, of a key that has several if there is one.
    private func slotToShed() -> Int? {
        var best: Int?
        for slot in slots.indices where slots[slot].state == .shared && slots[slot].isListed {
            if groups[slots[slot].group].listed > 1 { return slot }
            best = best ?? slot
        }
        return best
    }

    // MARK: What it lacks

    /// False if `permitNeed` would return an empty need.
    @inline(__always)
    package var mayNeedPermits: Bool { queue.count > 0 || isCramped }

    /// The permits that waiters lack. If nobody waits, but commands were served worse for want of
    /// an upstream (`isCramped`), the need is one connection; the call resets that flag.
    package mutating func permitNeed() -> PermitNeed {
        var need = PermitNeed()
        let wasCramped = isCramped
        isCramped = false
        if isDraining || (isHalted && releaser < 0) { return need }
        if gate.isOpen {
            // One connection, to try whether the server is back.
            need.permits.open = permits.connections == 0 ? 1 : 0
            return need
        }
        let most = limits.permits
        let used = busy + coming
        let waitingPins = isHalted ? 0 : queue.countByKind.pin
        if hasServable {
            need.permits.open = max(0, min(used + demand, most.open) - permits.open)
            if waitingPins > 0 {
                need.permits.pins = max(
                    0, min(count(.pinned) + waitingPins, most.pins) - permits.pins)
            }
            if controlWaiters > 0 {
                need.permits.control = max(0, most.control - permits.control)
            }
            (need.sharedSince, need.pinSince) = waitingSince()
        }
        // Not while a client waits, but lacks nothing: other workers would take this need for that
        // client's, and two workers would pass one permit to and fro.
        if wasCramped, need.sharedSince == .max, need.permits.open == 0,
            used + 1 > permits.open, permits.open < most.open
        {
            need.permits.open = 1
        }
        return need
    }

    /// Upstreams that waiters want besides those that exist or are coming. A waiting pin counts
    /// only if there is a pin permit for it. Without one a connection is of no use to it, and two
    /// workers that lack pin permits would hand the connection to and fro.
    private var demand: Int {
        if isHalted { return limits.controlReserve == 0 && coming == 0 ? controlWaiters : 0 }
        var sum = 0
        var pins = max(0, permits.pins - count(.pinned))
        for group in groups.indices where groups[group].references > 0 {
            var wanted = min(waiting(.pin, for: group).count, pins)
            pins -= wanted
            if waiting(.shared, for: group).count > 0 { wanted += 1 }
            if waiting(.slow, for: group).count > 0 { wanted += 1 }
            if limits.controlReserve == 0 { wanted += waiting(.control, for: group).count }
            sum += max(0, wanted - groups[group].coming)
        }
        return sum
    }

    private func waitingSince() -> (shared: Int64, pin: Int64) {
        if isHalted { return (queue.nodes[releaser].since, .max) }
        var shared = Int64.max
        var pin = Int64.max
        for group in groups.indices where groups[group].references > 0 {
            for kind in LeaseKind.allCases {
                let head = waiting(kind, for: group).head
                guard head >= 0 else { continue }
                if kind == .pin {
                    pin = min(pin, queue.nodes[head].since)
                } else {
                    shared = min(shared, queue.nodes[head].since)
                }
            }
        }
        return (shared, pin)
    }

    /// What to take of the free permits while no worker lacks any: one more connection and one more
    /// pin than are used, so that the next lease need not wait, and what `minIdle` takes.
    package var permitWish: PoolPermits {
        if isDraining || isHalted { return PoolPermits() }
        let most = limits.permits
        let cold = max(0, limits.minIdle - ready - count(.connecting) - count(.converting))
        let open = max(busy + coming + 1, self.open + cold - permits.control)
        return PoolPermits(
            open: max(0, min(open, most.open) - permits.open),
            pins: max(0, min(count(.pinned) + 1, most.pins) - permits.pins))
    }

    // MARK: What it can spare

    /// The permits that are not used, less `reserve` connections and `reserve` pins. The keeper
    /// asks only at a tick, so that it does not give away what the next command needs again.
    package func permitSpare(keeping reserve: Int) -> PoolPermits {
        var spare = PoolPermits()
        guard !hasServable else { return spare }
        spare.pins = max(0, permits.pins - count(.pinned) - reserve)
        if open <= permits.open { spare.control = permits.control }
        let connections = permits.connections - spare.control
        spare.open = max(0, min(permits.open - busy - coming, connections - open) - reserve)
        return spare
    }

    /// What this worker promises to one that lacks permits. Permits in use are paid later, when
    /// they are not. Idle upstreams are given up at once, one at work only if the other worker's
    /// client has waited for long, because clients of this worker then share what is left.
    package func permitOffer(to rival: PermitNeed, now: MonotonicTime) -> PoolPermits {
        let now = now.nanoseconds
        let own = hasServable ? waitingSince() : (shared: Int64.max, pin: Int64.max)
        return PoolPermits(
            open: rival.permits.open > 0 ? openOffer(rival, own.shared, now) : 0,
            control: rival.permits.control > 0 && maySpareControl ? permits.control : 0,
            pins: rival.permits.pins > 0 ? pinOffer(rival, own.pin, now) : 0)
    }

    /// The part of a debt that can be paid now: no connection and no pin uses it. `held` is the sum
    /// of the machine's permits and all debts.
    package func payable(_ debt: PoolPermits, of held: PoolPermits) -> PoolPermits {
        let unused = held.connections - open
        let control = max(0, min(debt.control, unused))
        return PoolPermits(
            open: max(0, min(debt.open, held.open - busy, unused - control)), control: control,
            pins: max(0, min(debt.pins, held.pins - count(.pinned))))
    }

    private func pinOffer(_ rival: PermitNeed, _ ownSince: Int64, _ now: Int64) -> Int {
        let waiting = isHalted ? 0 : queue.countByKind.pin
        let spare = permits.pins - count(.pinned) - waiting
        if spare > 0 { return min(rival.permits.pins, spare) }
        // The next pin that ends is for the client that has waited longest, on whichever worker.
        let isOwed = count(.pinned) > permits.pins
        let isDue = rival.pinSince < ownSince && now - rival.pinSince >= limits.patience
        return isDue && !isOwed && ownSince != .max && permits.pins > 0 ? 1 : 0
    }

    private var maySpareControl: Bool {
        let leaving = count(.closing) + min(1, count(.idle))
        return controlWaiters == 0 && open - leaving <= permits.open
    }

    private func openOffer(_ rival: PermitNeed, _ ownSince: Int64, _ now: Int64) -> Int {
        let spare = permits.open - busy - coming - demand
        // Nobody waits there. It gets an unused permit only if this worker keeps another one.
        if rival.since == .max { return max(0, min(rival.permits.open, spare - 1)) }
        if spare > 0 { return min(rival.permits.open, spare) }
        let isOwed =
            busy - retiring > permits.open
            || open - count(.closing) - retiring > permits.connections
        guard !isOwed, permits.open > 0, now - rival.since >= Self.handOverTime else { return 0 }
        let atWork = count(.shared) - retiring - yielding
        // From here on this worker has one upstream at work at most, or permits that its own
        // waiters need. Only a client that has waited longer than those gets one: otherwise both
        // workers would pass it to and fro.
        if atWork > 1, permits.open <= busy { return 1 }
        let isDue =
            rival.sharedSince < ownSince && now - rival.sharedSince >= Self.handOverTime
        return atWork > 0 && isDue ? 1 : 0
    }
}
