// What must hold between any two calls. For tests: it costs O(slots + waiters).

extension PoolStateMachine {
    /// Traps if the pool contradicts itself: limits, counters, and every list against the states.
    package func checkInvariants() {
        checkLimits()
        checkSlots()
        checkGroups()
        checkQueue()
        checkCounters()
    }

    private func checkLimits() {
        precondition(open <= openCeiling, "more open than maxOpen")
        precondition(count(.pinned) <= pinCeiling, "more pinned than maxPinned")
        precondition(isDraining == false || queue.count == 0, "waiters in a draining pool")
        precondition(
            !gate.isOpen || connected > 0 || queue.count == 0, "waiters behind an open breaker")
    }

    private func checkSlots() {
        var counted = InlineArray<9, Int>(repeating: 0)
        var retiringSeen = 0
        var yieldingSeen = 0
        var comingSeen = 0
        for slot in slots.indices {
            let upstream = slots[slot]
            counted[upstream.state.index] += 1
            precondition((upstream.state == .shared) || !upstream.isListed, "listed, not shared")
            precondition((upstream.state == .shared) || !upstream.isYielding, "yields, not shared")
            if upstream.state.isComing { comingSeen += 1 }
            switch upstream.state {
            case .shared:
                precondition(upstream.inFlight >= 0, "negative in flight")
                let isOut = upstream.closeReason != nil || upstream.isYielding
                precondition(upstream.isListed != isOut, "listed although off work, or not")
                if upstream.closeReason != nil { retiringSeen += 1 }
                if upstream.isYielding { yieldingSeen += 1 }
            case .closing:
                precondition(upstream.closeReason != nil, "closing without a reason")
                if upstream.group >= 0 { comingSeen += 1 }
            case .free:
                precondition(upstream.group == none, "free slot in a group")
            case .connecting, .converting, .idle, .probing, .pinned, .control:
                precondition(upstream.group >= 0, "upstream without a key")
                precondition(upstream.closeReason == nil, "reason to close, not closing")
            }
        }
        for state in UpstreamState.allCases {
            precondition(counted[state.index] == count(state), "count of a state")
        }
        precondition(counted[UpstreamState.free.index] == freeSlots.count, "free list")
        precondition(retiringSeen == retiring && yieldingSeen == yielding, "off work")
        precondition(comingSeen == coming, "coming")
    }

    private func checkGroups() {
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
                references[group] += groups[group].waiting[kind.index].count
            }
            precondition(groups[group].references == references[group], "references of a group")
            precondition(groups[group].coming == comingOf[group], "coming of a group")
            precondition(groups[group].isLive || references[group] == 0, "dead group in use")
            idleSeen += length(groups[group].idle) { slot in
                slots[slot].state == .idle && slots[slot].group == group
            }
            for lane in [Lane.fast, .slow] {
                let list = groups[group].lanes[lane.rawValue]
                _ = length(list) { slot in
                    slots[slot].isListed && slots[slot].lane == lane && slots[slot].group == group
                }
            }
        }
        precondition(idleSeen == count(.idle), "idle lists of groups")
        var slot = idle.head
        while slot >= 0 {
            idleSeen -= 1
            slot = slots[slot].idleNext
        }
        precondition(idleSeen == 0, "idle list of the pool")
    }

    /// Walks a list and checks its links, its count and each member.
    private func length(_ list: SlotList, where holds: (Int) -> Bool) -> Int {
        var length = 0
        var previous = none
        var slot = list.head
        while slot >= 0 {
            precondition(slots[slot].previous == previous, "broken link")
            precondition(holds(slot), "slot on a wrong list")
            length += 1
            previous = slot
            slot = slots[slot].next
        }
        precondition(list.tail == previous && list.count == length, "list ends elsewhere")
        return length
    }

    private func checkQueue() {
        var seen = 0
        var sequence: UInt64 = 0
        var node = queue.oldest
        while node >= 0 {
            precondition(queue.nodes[node].isWaiting, "a waiter that waits no longer")
            precondition(queue.nodes[node].sequence > sequence, "queue out of order")
            sequence = queue.nodes[node].sequence
            seen += 1
            node = queue.nodes[node].newer
        }
        precondition(seen == queue.count, "length of the queue")
        for group in groups.indices {
            for kind in LeaseKind.allCases { seen -= groups[group].waiting[kind.index].count }
        }
        precondition(seen == 0, "waiters of groups")
    }

    private func checkCounters() {
        precondition(Int(counters.opens - counters.allCloses) == open, "opens - closes != open")
        let ended = counters.handOvers + counters.cancels + counters.refusedWaiters
        precondition(Int(counters.waits - ended) == queue.count, "waits do not add up")
        let resolved = counters.connects + counters.dialFailures
        precondition(Int(counters.dials - resolved) >= count(.connecting), "dials do not add up")
    }
}
