// Who the primary is, by what Sentinels say. The tracker knows no sockets: it is told what has
// happened and when, and `nextAction()` says what is to be done. In the files beside this one:
//
//   +Judgement   which claim is believed
//   +Asking      who is connected, asked and verified, and when
//   +Replicas    which replicas the primary has
//
// A claim is an address with the epoch of its configuration. What makes the tracker take over a
// claim instead of the present one:
//
//   higher epoch   the server says in ROLE that it is a primary, or more than half of the known
//                  Sentinels make the claim
//   equal epoch    the server says so while the present one does not, and no majority names that;
//                  or more than half of the Sentinels have made the claim for long enough
//   lower epoch    more than half of the Sentinels have made it for long enough: somebody has told
//                  them anew; those that made the higher claim are overruled
//
// Long enough is a second, or five if a Sentinel still makes the present claim.
//
// ROLE alone decides nothing: after a failover the old primary says `master` for ten seconds and
// accepts writes that are lost (Redis 7.0.15).

package import Pool

/// Follows the primary of one name.
///
/// `now` never goes back between calls. Events for Sentinels that are not watched are ignored.
package struct SentinelTracker: ~Copyable {
    /// The most Sentinels that are watched, those of the configuration not counted beyond it.
    package static let mostSentinels = 8
    /// While there is something to find out, each Sentinel is asked this often.
    package static let searchInterval = Int64.milliseconds(500)
    /// In quiet times one Sentinel, in turn, is asked this often.
    package static let quietInterval = Int64.seconds(10)
    /// The same while a Sentinel names a replica that is not up, if replicas are wanted.
    package static let replicaInterval = Int64.seconds(2)
    /// The most replicas that are named. Each may have `maxOpen` connections.
    package static let mostReplicas = 16
    /// A message of a switch makes its sender be asked at once, but not more often than this.
    package static let urgentInterval = Int64.milliseconds(20)
    /// How long a majority has to make a claim that does not have a higher epoch, if nobody makes
    /// the present one. It is also how long the first decision waits for Sentinels that do not
    /// answer.
    package static let confirmationTime = Int64.seconds(1)
    /// The same if a Sentinel still makes the present claim: the others may not know of a failover
    /// yet. They send each other what they know every 2 s, and at once after a failover.
    package static let contradictionTime = Int64.seconds(5)
    /// A connection that could not be made, or is lost, is made again after this time, and up to a
    /// quarter more.
    package static let retryInterval = Int64.seconds(1)
    /// In quiet times the interval is doubled with each failure, so many times.
    static let mostDoublings = 3

    /// How long a connection, an answer or a ROLE may take.
    package let answerTimeout: Int64
    /// The claim that holds, and for which `adopt` was the last action of its kind; nil before the
    /// first decision.
    package internal(set) var primary: PrimaryClaim?
    /// When `primary` has changed last.
    var decidedAt = Int64.min / 2
    /// The primary has said in ROLE that it is one, and there has been no sign of trouble since.
    package internal(set) var isVerified = false
    /// `leave` was said for the present primary, and it has not been verified since. Then `adopt`
    /// is said again.
    var hasLeft = false

    /// Clients read from replicas, so Sentinels are asked for them.
    package internal(set) var wantsReplicas = false
    /// The primary's replicas that are up; `replicas` was said for them.
    package internal(set) var replicas: [NodeAddress] = []

    var sentinels: [WatchedSentinel] = []
    var roles: [RoleCheck] = []
    var lastID: UInt32 = 0
    var quietAskAt: Int64
    var clock: Int64
    var random: RandomSource
    private var actions: [SentinelAction] = []
    private var head = 0

    /// - Parameters:
    ///   - addresses: the Sentinels of the configuration.
    ///   - answerTimeout: how long a connection, an answer or a ROLE may take.
    ///   - seed: of the jitter.
    package init(
        sentinels addresses: [NodeAddress], answerTimeout: Int64 = .seconds(1), seed: UInt64 = 0,
        now: MonotonicTime
    ) {
        random = RandomSource(seed: seed)
        self.answerTimeout = min(max(answerTimeout, .milliseconds(1)), .seconds(3600))
        clock = now.nanoseconds
        quietAskAt = now.nanoseconds + Self.quietInterval
        configure(addresses)
        pump()
    }

    /// Goes on with what another process has decided, before anything else has happened. The
    /// workers know it: no `adopt` follows, but the Sentinels and the server are asked.
    package mutating func resume(_ claim: PrimaryClaim) {
        primary = claim
        decidedAt = clock
    }

    /// The next thing for the shell to do, or nil.
    package mutating func nextAction() -> SentinelAction? {
        guard head < actions.count else { return nil }
        let action = actions[head]
        head += 1
        if head == actions.count {
            actions.removeAll(keepingCapacity: true)
            head = 0
        }
        return action
    }

    mutating func want(_ action: SentinelAction) {
        actions.append(action)
    }

    /// How many Sentinels are connected.
    package var connectedSentinels: Int { sentinels.count { $0.link == .up } }

    /// The Sentinels that are watched.
    package var known: [NodeAddress] { sentinels.map(\.address) }

    /// The same with what is known of them, for reports.
    package var views: [SentinelView] {
        sentinels.map {
            SentinelView(
                id: $0.id, address: $0.address, isConfigured: $0.isConfigured,
                isConnected: $0.link == .up, claim: $0.claim)
        }
    }
}

// MARK: Events

extension SentinelTracker {
    /// The configuration names these Sentinels from now on; of a name that is looked up, all its
    /// addresses.
    package mutating func setSentinels(_ addresses: [NodeAddress], now: MonotonicTime) {
        clock = now.nanoseconds
        configure(addresses)
        finish()
    }

    /// A Sentinel is connected and subscribed. It is asked behind that, so no switch is missed.
    package mutating func connected(_ id: SentinelID, now: MonotonicTime) {
        clock = now.nanoseconds
        guard let index = index(of: id), case .connecting = sentinels[index].link else { return }
        sentinels[index].link = .up
        sentinels[index].askedAt = nil
        sentinels[index].wantAsked(at: clock)
        finish()
    }

    /// A connection to a Sentinel could not be made, or is lost.
    package mutating func disconnected(_ id: SentinelID, now: MonotonicTime) {
        clock = now.nanoseconds
        guard let index = index(of: id) else { return }
        if case .down = sentinels[index].link { return }
        lose(index)
        finish()
    }

    /// Login or TLS has changed: all connections are made anew. What was said stays decided.
    package mutating func reconnect(now: MonotonicTime) {
        clock = now.nanoseconds
        for index in sentinels.indices {
            if case .down = sentinels[index].link {} else { want(.close(sentinels[index].id)) }
            sentinels[index].disconnect(soonest: clock, retryAt: clock)
        }
        finish()
    }

    /// A Sentinel has answered its questions.
    package mutating func answered(_ id: SentinelID, _ answer: SentinelAnswer, now: MonotonicTime) {
        clock = now.nanoseconds
        guard let index = index(of: id), sentinels[index].askedAt != nil else { return }
        take(answer, from: index)
        watchPeers()
        finish()
    }

    /// A Sentinel has published a message about the name.
    package mutating func received(
        _ message: SentinelMessage, from id: SentinelID, now: MonotonicTime
    ) {
        clock = now.nanoseconds
        guard let index = index(of: id), sentinels[index].link == .up else { return }
        let interval = message == .switched ? Self.urgentInterval : Self.searchInterval
        sentinels[index].wantAsked(at: max(clock, sentinels[index].lastAskedAt + interval))
        finish()
    }

    /// What a server has answered to ROLE: to `verify`, or in the handshake of a dial. Nil if it
    /// did not answer, or could not be connected.
    package mutating func role(_ role: ServerRole?, of address: NodeAddress, now: MonotonicTime) {
        clock = now.nanoseconds
        let result: RoleCheck.Result =
            switch role {
            case .primary: .primary
            case .other: .other
            case nil: .unreachable
            }
        note(result, of: address)
        finish()
    }

    /// A sign that this server may not be the primary any more: it has answered READONLY, or the
    /// last connection to it is lost. All Sentinels are asked, and the server is.
    package mutating func doubt(_ address: NodeAddress, now: MonotonicTime) {
        clock = now.nanoseconds
        guard address == primary?.address else { return }
        isVerified = false
        askAll()
        finish()
    }

    /// Time has passed. Call it at `nextDeadline` at the latest.
    package mutating func tick(now: MonotonicTime) {
        clock = now.nanoseconds
        finish()
    }

    /// Decides, and says what follows. Everything that an event brings about is said before the
    /// call returns.
    mutating func finish() {
        judge()
        judgeReplicas()
        pump()
    }

    func index(of id: SentinelID) -> Int? { sentinels.firstIndex { $0.id == id } }
}
