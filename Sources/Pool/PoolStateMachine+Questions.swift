// What the shell may ask about a connection.

extension PoolStateMachine {
    /// True while the connection is lent out whole (pin or control), not shared.
    package func isExclusivelyLeased(_ id: UpstreamID) -> Bool {
        guard let slot = index(of: id) else { return false }
        return slots[slot].state == .pinned || slots[slot].state == .control
    }
}
