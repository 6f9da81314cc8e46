// Whether a shared upstream is slow. What counts is the server's time: replies that lie unread, and
// commands that lie unwritten because the worker itself was busy, are not its delay. Without this,
// a turn of the loop that takes longer than `slowThreshold` (thousands of clients at once, a busy
// machine) would make every upstream look stalled, and spread the batches over new connections.

extension PoolStateMachine {
    /// What was given to a shared upstream in the turn that began at `since` has been written, at
    /// `now`. If it has answered in that turn, or was given its first command, its time begins now.
    package mutating func written(_ id: UpstreamID, since: MonotonicTime, now: MonotonicTime) {
        guard let slot = index(of: id), slots[slot].state == .shared,
            slots[slot].progressAt >= since.nanoseconds
        else { return }
        slots[slot].progressAt = now.nanoseconds
    }

    /// Whether a shared upstream would be given no more commands because it owes replies for too
    /// long. The shell then looks whether there is something to read (`hasAnswered`).
    package func isStalled(_ id: UpstreamID, now: MonotonicTime) -> Bool {
        guard let slot = index(of: id), slots[slot].state == .shared else { return false }
        return slots[slot].inFlight > 0
            && now.nanoseconds - slots[slot].progressAt > limits.slowThreshold
    }

    /// Bytes of a shared upstream wait to be read.
    package mutating func hasAnswered(_ id: UpstreamID, now: MonotonicTime) {
        guard let slot = index(of: id), slots[slot].state == .shared else { return }
        slots[slot].progressAt = now.nanoseconds
    }
}
