// The state that the server keeps for one client on an upstream that this client holds, as the
// replies show it. The connection can return to the pool when no state is left.

/// State of a held upstream. It begins clean. Every change follows from a reply.
package struct HeldState: Equatable, Sendable {
    /// MULTI was answered +OK, and the reply that ends it has not come.
    package private(set) var isInTransaction = false
    /// WATCH was answered +OK, and nothing has ended it since.
    package private(set) var isWatching = false
    /// Subscriptions by kind; the server counts channels and patterns together.
    package private(set) var channels = 0
    package private(set) var patterns = 0
    package private(set) var shards = 0
    /// CLIENT TRACKING ON was answered +OK, and no OFF since.
    package private(set) var isTracking = false
    /// The tracking is in BCAST mode.
    package private(set) var isBroadcast = false
    /// MONITOR was answered +OK. Only RESET ends it.
    package private(set) var isMonitoring = false
    /// The properties that are on.
    package private(set) var flags: ConnectionFlags = []
    /// The open transaction has members that change the connection when EXEC runs them.
    package private(set) var hasMembers = false
    /// The server remembers keys that were read here, even after tracking has ended. The next
    /// client that tracks here would get invalidations for keys that it has never read (Redis 7.0
    /// tracking.c: entries of the table are dropped lazily, by client id).
    package private(set) var remembersKeys = false
    /// Another client's invalidations are redirected here.
    package var isTarget = false
    /// A command with unknown effects has run: the connection must not be reused.
    package private(set) var isTainted = false

    package init() {}

    /// The state of an upstream that another process held.
    package init(carried: CarriedHold) {
        isInTransaction = carried.isInTransaction
        isWatching = carried.isWatching
        channels = Int(carried.channels)
        patterns = Int(carried.patterns)
        shards = Int(carried.shards)
        isTracking = carried.isTracking
        isBroadcast = carried.isBroadcast
        isMonitoring = carried.isMonitoring
        flags = carried.flags
        hasMembers = carried.hasMembers
        remembersKeys = carried.remembersKeys
        isTarget = carried.isTarget
        isTainted = carried.isTainted
    }

    package var subscriptions: Int { channels + patterns + shards }

    /// True when no state ties the connection to its client.
    package var isClean: Bool {
        !isInTransaction && !isWatching && !isListening && flags.isEmpty && !isTainted && !isTarget
    }

    /// True when a few commands make the connection fit for any client. `cleaning` has the next
    /// one.
    package var isCleanable: Bool {
        !isListening && !remembersKeys && !isTainted && !isTarget
    }

    /// True when the server may send pushes or lines without a command.
    package var isListening: Bool { subscriptions > 0 || isTracking || isMonitoring }

    /// Takes a reply; `value` is the number of its expectation. Redis 7.0 multi.c: any reply to
    /// EXEC ends the transaction, except the one to a renamed EXEC. DISCARD ends it only with +OK.
    /// Outside MULTI, EXEC and DISCARD change nothing.
    package mutating func replied(
        to expectation: Expectation, _ reply: ReplyFacts, value: UInt32 = 0
    ) {
        switch expectation {
        case .multi:
            if reply.isOK { isInTransaction = true }
        case .exec, .execWalked:
            // Members have run whose effects Redpool has not followed.
            if expectation == .exec, hasMembers, !reply.isError { isTainted = true }
            if reply.error == .unknownCommand {
                isTainted = true
            } else if isInTransaction {
                endTransaction()
            }
        case .discard:
            if reply.isOK {
                endTransaction()
            } else if reply.error == .unknownCommand {
                isTainted = true
            }
        case .watch:
            if reply.isOK { isWatching = true }
        case .unwatch:
            if reply.isOK, !isInTransaction { isWatching = false }
        case .select, .authenticate, .helloChange, .hello:
            // The command was queued in a transaction after all: it takes effect later, unobserved.
            if reply.isQueued { isTainted = true }
        default:
            repliedToProperty(expectation, reply, value)
        }
    }

    private mutating func endTransaction() {
        isInTransaction = false
        isWatching = false
        hasMembers = false
    }

    private mutating func repliedToProperty(
        _ expectation: Expectation, _ reply: ReplyFacts, _ value: UInt32
    ) {
        switch expectation {
        case .trackingOn, .trackingOff, .monitor, .flagOn, .flagOff, .bind:
            if reply.isQueued { isTainted = true }
        default: return
        }
        guard reply.isOK else { return }
        switch expectation {
        case .trackingOn:
            isTracking = true
            isBroadcast = TrackingOptions(rawValue: value).contains(.broadcast)
            if !isBroadcast { remembersKeys = true }
        case .trackingOff:
            isTracking = false
            isBroadcast = false
        case .monitor: isMonitoring = true
        case .flagOn: flags.insert(ConnectionFlags(rawValue: value))
        case .flagOff: flags.remove(ConnectionFlags(rawValue: value))
        case .bind: isTainted = true
        default: break
        }
    }

    /// A command was queued that changes the connection when EXEC runs.
    package mutating func queued() {
        hasMembers = true
    }

    /// Takes a confirmation of the SUBSCRIBE family, with the server's count.
    package mutating func confirmed(_ kind: SubscriptionKind, count: Int) {
        switch kind {
        case .channel: channels = max(0, count - patterns)
        case .pattern: patterns = max(0, count - channels)
        case .shard: shards = max(0, count)
        }
    }

    /// The number of confirmations for an UNSUBSCRIBE without arguments: one per subscription, or
    /// one with null.
    package func confirmations(of expectation: Expectation) -> Int {
        switch expectation {
        case .unsubscribeChannels: max(1, channels)
        case .unsubscribePatterns: max(1, patterns)
        case .unsubscribeShards: max(1, shards)
        default: 1
        }
    }

    package mutating func taint() {
        isTainted = true
    }
}

// MARK: - Cleaning

extension HeldState {
    /// A command that removes state which a client has left. It has worked when the reply is +OK.
    package enum Cleaning: Equatable, Sendable {
        case discard
        case unwatch
        case turnOff(ConnectionFlags)

        package var words: [StaticString] {
            switch self {
            case .discard: ["DISCARD"]
            case .unwatch: ["UNWATCH"]
            case .turnOff(.noEvict): ["CLIENT", "NO-EVICT", "OFF"]
            case .turnOff(.noTouch): ["CLIENT", "NO-TOUCH", "OFF"]
            case .turnOff(.importSource): ["CLIENT", "IMPORT-SOURCE", "OFF"]
            case .turnOff: ["READWRITE"]
            }
        }
    }

    /// The next command to send on a cleanable connection; nil when it is clean.
    package var cleaning: Cleaning? {
        if isInTransaction { return .discard }
        if isWatching { return .unwatch }
        for flag in [ConnectionFlags.noEvict, .noTouch, .readOnly, .importSource]
        where flags.contains(flag) {
            return .turnOff(flag)
        }
        return nil
    }

    /// The server has answered `cleaning` with +OK.
    package mutating func cleaned() {
        switch cleaning {
        case .discard: endTransaction()
        case .unwatch: isWatching = false
        case .turnOff(let flag): flags.remove(flag)
        case nil: break
        }
    }
}
