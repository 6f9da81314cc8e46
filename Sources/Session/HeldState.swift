// What the server has tied to an upstream connection that one client holds, as its replies tell it.
// The connection can go back to the pool when nothing is left.

/// State of a held upstream. It begins clean; every change follows from a reply.
package struct HeldState: Equatable, Sendable {
    /// MULTI was answered +OK and its end has not been answered yet.
    package private(set) var isInTransaction = false
    /// WATCH was answered +OK, and nothing since has ended it.
    package private(set) var isWatching = false
    /// Subscriptions by kind; the server counts channels and patterns together.
    package private(set) var channels = 0
    package private(set) var patterns = 0
    package private(set) var shards = 0
    /// Something happened whose effects cannot be told: the connection must not be used again.
    package private(set) var isTainted = false

    package init() {}

    package var subscriptions: Int { channels + patterns + shards }

    /// Nothing ties the connection to its client.
    package var isClean: Bool {
        !isInTransaction && !isWatching && subscriptions == 0 && !isTainted
    }

    /// A DISCARD or an UNWATCH is enough to make it clean.
    package var isCleanable: Bool { subscriptions == 0 && !isTainted }

    /// A reply has come. Redis 7.0 multi.c: any reply to EXEC ends the transaction, but for the one
    /// to a renamed EXEC; only +OK of DISCARD does; EXEC and DISCARD outside of MULTI change nothing.
    package mutating func replied(to expectation: Expectation, _ reply: ReplyFacts) {
        switch expectation {
        case .multi:
            if reply.isOK { isInTransaction = true }
        case .exec:
            if reply.isUnknownCommand {
                isTainted = true
            } else if isInTransaction {
                isInTransaction = false
                isWatching = false
            }
        case .discard:
            if reply.isOK {
                isInTransaction = false
                isWatching = false
            } else if reply.isUnknownCommand {
                isTainted = true
            }
        case .watch:
            if reply.isOK { isWatching = true }
        case .unwatch:
            if reply.isOK, !isInTransaction { isWatching = false }
        case .select, .authenticate, .helloChange, .hello:
            // Queued in a transaction after all: it will take effect when nobody looks.
            if reply.isQueued { isTainted = true }
        default:
            break
        }
    }

    /// A confirmation of the SUBSCRIBE family has come, with the server's count after it.
    package mutating func confirmed(_ kind: SubscriptionKind, count: Int) {
        switch kind {
        case .channel: channels = max(0, count - patterns)
        case .pattern: patterns = max(0, count - channels)
        case .shard: shards = max(0, count)
        }
    }

    /// How many confirmations an UNSUBSCRIBE without arguments brings: one each, or one with null.
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

/// What a confirmation is about.
package enum SubscriptionKind: Sendable {
    case channel
    case pattern
    case shard
}

/// The beginning and the end of a frame that passes by in pieces: enough to tell a message from a
/// confirmation, and to read a confirmation's count, without keeping the frame.
package struct FrameEdges: Sendable {
    private var prefix: [UInt8] = []
    private var tail: [UInt8] = []
    private static let prefixLength = 40
    private static let tailLength = 24

    package init() {}

    /// What a frame on a subscribed connection is.
    package enum Kind: Equatable, Sendable {
        case message
        case confirmation(SubscriptionKind, count: Int)
        case other
    }

    package mutating func add(_ bytes: Span<UInt8>, from start: Int, to end: Int) {
        var index = start
        while index < end, prefix.count < FrameEdges.prefixLength {
            prefix.append(bytes[index])
            index += 1
        }
        index = max(start, end - FrameEdges.tailLength)
        while index < end {
            tail.append(bytes[index])
            index += 1
        }
        if tail.count > FrameEdges.tailLength {
            tail.removeFirst(tail.count - FrameEdges.tailLength)
        }
    }

    package mutating func clear() {
        prefix.removeAll(keepingCapacity: true)
        tail.removeAll(keepingCapacity: true)
    }

    /// Judges the complete frame that was added.
    package var kind: Kind {
        guard let first = prefix.first, first == UInt8(ascii: "*") || first == UInt8(ascii: ">")
        else { return .other }
        let lines = prefix.split(separator: 10, maxSplits: 3, omittingEmptySubsequences: false)
        guard lines.count >= 3, lines[1].first == UInt8(ascii: "$") else { return .other }
        let word = String(decoding: lines[2].prefix { $0 != 13 }, as: UTF8.self)
        switch word {
        case "message", "pmessage", "smessage": return .message
        case "subscribe", "unsubscribe": return .confirmation(.channel, count: lastNumber)
        case "psubscribe", "punsubscribe": return .confirmation(.pattern, count: lastNumber)
        case "ssubscribe", "sunsubscribe": return .confirmation(.shard, count: lastNumber)
        default: return .other
        }
    }

    /// The number in the frame's last line.
    private var lastNumber: Int {
        guard tail.count > 2, let colon = tail.dropLast(2).lastIndex(of: UInt8(ascii: ":")) else {
            return 0
        }
        return Int(String(decoding: tail[(colon + 1)...].dropLast(2), as: UTF8.self)) ?? 0
    }
}
