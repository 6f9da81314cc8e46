// What the state machine shows of one upstream, for people.

/// An upstream as the pool sees it. Times are durations in nanoseconds.
package struct UpstreamView: Equatable, Sendable {
    /// The word for its state.
    package let state: String
    /// Until `maxLifetime` is over; nil if there is no limit.
    package let retiresIn: Int64?
    /// Since it fell idle; nil if it is not idle.
    package let idle: Int64?
}

extension PoolStateMachine {
    /// Nil for a connection that is gone.
    package func view(of id: UpstreamID, now: MonotonicTime) -> UpstreamView? {
        guard let slot = index(of: id) else { return nil }
        let upstream = slots[slot]
        let isIdle = upstream.state == .idle || upstream.state == .probing
        let hasLimit = upstream.state.isConnected && upstream.expiresAt != .max
        return UpstreamView(
            state: upstream.state.word,
            retiresIn: hasLimit ? max(0, upstream.expiresAt - now.nanoseconds) : nil,
            idle: isIdle ? max(0, now.nanoseconds - upstream.idleSince) : nil)
    }
}

extension UpstreamState {
    fileprivate var word: String {
        switch self {
        case .free: "free"
        case .connecting: "connecting"
        case .converting: "converting"
        case .idle: "idle"
        case .probing: "probing"
        case .shared: "shared"
        case .pinned: "pinned"
        case .control: "control"
        case .closing: "closing"
        }
    }
}
