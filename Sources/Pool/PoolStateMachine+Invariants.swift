// What must hold between any two calls. Only tests check it: it costs O(slots + waiters).

/// What does not hold.
private struct BrokenInvariant: Error {
    let what: StaticString
}

extension PoolStateMachine {
    /// The first way in which the pool contradicts itself, or nil: limits, counters, and every
    /// list against the states.
    package func brokenInvariant() -> String? {
        do throws(BrokenInvariant) {
            try checkLimits()
            try checkSlots()
            try checkGroups()
            try checkQueue()
            try checkCounters()
            return nil
        } catch {
            return "\(error.what)"
        }
    }

    private func require(_ holds: Bool, _ what: StaticString) throws(BrokenInvariant) {
        if !holds { throw BrokenInvariant(what: what) }
    }

    private func checkLimits() throws(BrokenInvariant) {
        try require(open <= openCeiling, "more open than allowed")
        try require(count(.pinned) <= pinCeiling, "more pinned than allowed")
        try require(isDraining == false || queue.count == 0, "waiters in a draining pool")
        try require(
            !gate.isOpen || connected > 0 || queue.count == 0 || isHalted,
            "waiters behind an open breaker")
        try require(releaser < 0 || queue.nodes[releaser].isWaiting, "a releaser that is served")
        if isHalted { try checkHalt() }
    }

    private func checkHalt() throws(BrokenInvariant) {
        let atRest = count(.idle) + count(.probing) + count(.converting)
        try require(atRest == 0, "at rest in a halted pool")
        try require(count(.connecting) <= 1, "dials in a halted pool")
        for slot in slots.indices {
            try require(!slots[slot].isListed, "takes work in a halted pool")
        }
    }

    private func checkSlots() throws(BrokenInvariant) {
        var counted = InlineArray<9, Int>(repeating: 0)
        var retiringSeen = 0
        var yieldingSeen = 0
        var comingSeen = 0
        for slot in slots.indices {
            let upstream = slots[slot]
            counted[upstream.state.index] += 1
            try require((upstream.state == .shared) || !upstream.isListed, "listed, not shared")
            try require((upstream.state == .shared) || !upstream.isYielding, "yields, not shared")
            try require((upstream.state == .shared) || !upstream.isFenced, "fenced, not shared")
            if upstream.state.isComing { comingSeen += 1 }
            switch upstream.state {
            case .shared:
                try require(upstream.inFlight >= 0, "negative in flight")
                let isOut = upstream.closeReason != nil || upstream.isYielding
                try require(upstream.isListed != isOut, "listed although off work, or not")
                if upstream.closeReason != nil { retiringSeen += 1 }
                if upstream.isYielding { yieldingSeen += 1 }
            case .closing:
                try require(upstream.closeReason != nil, "closing without a reason")
                if upstream.group >= 0 { comingSeen += 1 }
            case .free:
                try require(upstream.group == none, "free slot in a group")
            case .connecting, .converting, .idle, .probing, .pinned, .control:
                try require(upstream.group >= 0, "upstream without a key")
                try require(upstream.closeReason == nil, "reason to close, not closing")
            }
        }
        for state in UpstreamState.allCases {
            try require(counted[state.index] == count(state), "count of a state")
        }
        try require(counted[UpstreamState.free.index] == freeSlots.count, "free list")
        try require(retiringSeen == retiring && yieldingSeen == yielding, "off work")
        try require(comingSeen == coming, "coming")
    }

    private func checkGroups() throws(BrokenInvariant) {
        var references = [Int](repeating: 0, count: groups.count)
        var comingOf = references
        for slot in slots.indices where slots[slot].group >= 0 {
            let state = slots[slot].state
            references[slots[slot].group] += 1
            if state.isComing || state == .closing { comingOf[slots[slot].group] += 1 }
        }
        var idleSeen = 0
        for group in groups.indices {
            for kind in LeaseKind.allCases {
                references[group] += waiting(kind, for: group).count
            }
            try require(groups[group].references == references[group], "references of a group")
            try require(groups[group].coming == comingOf[group], "coming of a group")
            try require(groups[group].isLive || references[group] == 0, "dead group in use")
            idleSeen += try length(groups[group].idle) { slot in
                slots[slot].state == .idle && slots[slot].group == group
            }
            for lane in [Lane.fast, .slow] {
                let list = groups[group].lanes[lane]
                _ = try length(list) { slot in
                    slots[slot].isListed && slots[slot].lane == lane && slots[slot].group == group
                }
                let current = groups[group].current[lane]
                let isInLane =
                    current < 0
                    || (slots[current].isListed && slots[current].lane == lane
                        && slots[current].group == group)
                try require(isInLane, "current of another lane")
            }
        }
        try require(idleSeen == count(.idle), "idle lists of groups")
    }

    /// Walks a list and checks its links, its count and each member.
    private func length(_ list: SlotList, where holds: (Int) -> Bool) throws(BrokenInvariant) -> Int
    {
        var length = 0
        var previous = none
        var slot = list.head
        while slot >= 0 {
            try require(slots[slot].previous == previous, "broken link")
            try require(holds(slot), "slot on a wrong list")
            length += 1
            previous = slot
            slot = slots[slot].next
        }
        try require(list.tail == previous && list.count == length, "list ends elsewhere")
        return length
    }

    private func checkQueue() throws(BrokenInvariant) {
        var seen = 0
        var sequence: UInt64 = 0
        var node = queue.oldest
        while node >= 0 {
            try require(queue.nodes[node].isWaiting, "a waiter that waits no longer")
            try require(queue.nodes[node].sequence > sequence, "queue out of order")
            sequence = queue.nodes[node].sequence
            seen += 1
            node = queue.nodes[node].newer
        }
        try require(seen == queue.count, "length of the queue")
        for group in groups.indices {
            for kind in LeaseKind.allCases { seen -= waiting(kind, for: group).count }
        }
        try require(seen == 0, "waiters of groups")
    }

    private func checkCounters() throws(BrokenInvariant) {
        let taken = counters.opens + counters.adoptions
        try require(Int(taken - counters.allCloses) == open, "opens - closes != open")
        let ended = counters.handOvers + counters.cancels + counters.refusedWaiters
        try require(Int(counters.waits - ended) == queue.count, "waits do not add up")
        let resolved = counters.connects + counters.dialFailures
        try require(Int(counters.dials - resolved) >= count(.connecting), "dials do not add up")
    }
}
