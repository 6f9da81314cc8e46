// Leases of one particular upstream, and what the shell may ask about one.

extension PoolStateMachine {
    /// True while the connection is lent out whole (pin or control), not shared.
    package func isExclusivelyLeased(_ id: UpstreamID) -> Bool {
        guard let slot = index(of: id) else { return false }
        return slots[slot].state == .pinned || slots[slot].state == .control
    }

    /// Pins this very upstream, past the queue: WAIT has to go where its client's writes went.
    /// False when it has commands in flight, is lent out, retiring or not connected, when no pin is
    /// allowed any more, or when it is the last upstream, which is kept for control or for shared
    /// commands. In the latter case another one is dialled.
    package mutating func pin(_ id: UpstreamID) -> Bool {
        guard let slot = index(of: id), count(.pinned) < permits.pins else { return false }
        let mayPin =
            switch slots[slot].state {
            case .idle: hasHeadroom
            case .shared:
                slots[slot].inFlight == 0 && !slots[slot].isFenced
                    && slots[slot].closeReason == nil
            default: false
            }
        guard mayPin else { return false }
        guard leavesOne else {
            let mayHaveOneMore = coming == 0 && open < permits.connections && mayDial(clock)
            if mayHaveOneMore, !isDraining { dial(slots[slot].group, now: clock) }
            return false
        }
        move(slot, to: .pinned)
        return true
    }

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
}
