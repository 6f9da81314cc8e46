// What the tracker remembers of one Sentinel and of one server's role.

/// A Sentinel, for reports.
package struct SentinelView: Equatable, Sendable {
    package let id: SentinelID
    package let address: NodeAddress
    /// Named in the configuration, and not by other Sentinels alone.
    package let isConfigured: Bool
    package let isConnected: Bool
    /// Which primary it names; nil if it names none, or is not connected.
    package let claim: PrimaryClaim?
}

/// A Sentinel.
struct WatchedSentinel {
    /// The connection: none, in the making, or one that is subscribed.
    enum Link: Equatable {
        /// It is made again at `soonest` while there is something to find out, else at `retryAt`.
        case down(soonest: Int64, retryAt: Int64)
        case connecting(since: Int64)
        case up
    }

    let id: SentinelID
    let address: NodeAddress
    /// Named in the configuration, and not by other Sentinels alone.
    var isConfigured: Bool
    var link = Link.down(soonest: .min, retryAt: .min)
    /// Connections that ended, since the latest answer.
    var failures = 0
    /// When the questions were sent that are not answered yet.
    var askedAt: Int64?
    var lastAskedAt = Int64.min / 2
    /// When it is to be asked again.
    var askAt = Int64.max
    /// It has answered, or could not be asked, since it is known.
    var hasSpoken = false
    /// It has answered since it is known.
    var hasAnswered = false
    /// The latest answer, while it is connected.
    var claim: PrimaryClaim?
    /// Since when it has made this claim without a pause.
    var claimedSince: Int64 = 0
    var answeredAt: Int64 = 0
    /// The replicas of the primary that it names, in its latest answer; nil if it has not said.
    var replicas: SentinelReplicas?
    /// A majority has contradicted its claim for long. What it says alone is not believed until it
    /// says what the others say.
    var isOverruled = false
    var runID: [UInt8]?
    /// The other Sentinels that it names, with their ids.
    var peers = AddressSet()
    var peerIDs: [NodeAddress: [UInt8]] = [:]

    init(id: SentinelID, address: NodeAddress, isConfigured: Bool) {
        self.id = id
        self.address = address
        self.isConfigured = isConfigured
    }

    /// Ends the connection in the model.
    mutating func disconnect(soonest: Int64, retryAt: Int64) {
        link = .down(soonest: soonest, retryAt: retryAt)
        askedAt = nil
        askAt = .max
        claim = nil
        replicas = nil
        hasSpoken = true
    }

    /// Wants it asked at `time` at the latest.
    mutating func wantAsked(at time: Int64) {
        askAt = min(askAt, time)
    }
}

/// What a server has said of its role when it was asked last.
struct RoleCheck {
    enum Result: Equatable {
        case primary
        case other
        case unreachable
    }

    let address: NodeAddress
    var result: Result?
    var resultAt: Int64 = 0
    /// When the question was sent that is not answered yet.
    var askedAt: Int64?
    var lastAskedAt = Int64.min / 2
}
