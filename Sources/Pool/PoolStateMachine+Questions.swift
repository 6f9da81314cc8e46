// Leases of one particular upstream, and what the shell may ask about one.

extension PoolStateMachine {
    /// True while the connection is lent out whole (pin or control), not shared.
    package func isExclusivelyLeased(_ id: UpstreamID) -> Bool {
        guard let slot = index(of: id) else { return false }
        return slots[slot].state == .pinned || slots[slot].state == .control
    }

    /// Pins this very upstream, past the queue: WAIT has to go where its client's writes went.
    /// False when it has commands in flight, is lent out or not connected, or when `maxPinned` are
    /// pinned.
    package mutating func pin(_ id: UpstreamID) -> Bool {
        guard let slot = index(of: id), count(.pinned) < limits.maxPinned else { return false }
        let state = slots[slot].state
        guard state == .idle || (state == .shared && slots[slot].inFlight == 0) else {
            return false
        }
        move(slot, to: .pinned)
        return true
    }
}
