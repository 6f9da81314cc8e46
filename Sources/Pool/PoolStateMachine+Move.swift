// The pool gets another server. The shell retires the connections to the old one; here is what the
// state machine knows of a server besides them.

extension PoolStateMachine {
    /// Another server is dialled from now on, and `warmKey` is what `minIdle` dials for. What
    /// failed at the old server delays no dial to the new one.
    package mutating func move(warmKey: PoolKey, now: MonotonicTime) {
        clock = now.nanoseconds
        gate = DialGate()
        fixedUsers.forget()
        warmGroup = groupIndex(of: warmKey)
    }

    /// Another key is what `minIdle` dials for.
    package var warmKey: PoolKey { groups[warmGroup].key }
}
