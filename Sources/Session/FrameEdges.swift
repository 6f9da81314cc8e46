// Frames that pass by on a connection which one client holds.

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
        /// A line of MONITOR.
        case line
        /// The server gives up a redirection; the push ends with its id.
        case brokenRedirection
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
        guard let first = prefix.first else { return .other }
        if first == UInt8(ascii: "+") { return .line }
        guard first == UInt8(ascii: "*") || first == UInt8(ascii: ">") else { return .other }
        let lines = prefix.split(separator: 10, maxSplits: 3, omittingEmptySubsequences: false)
        guard lines.count >= 3, lines[1].first == UInt8(ascii: "$") else { return .other }
        let word = String(decoding: lines[2].prefix { $0 != 13 }, as: UTF8.self)
        switch word {
        case "message", "pmessage", "smessage": return .message
        case "subscribe", "unsubscribe": return .confirmation(.channel, count: lastNumber)
        case "psubscribe", "punsubscribe": return .confirmation(.pattern, count: lastNumber)
        case "ssubscribe", "sunsubscribe": return .confirmation(.shard, count: lastNumber)
        case "tracking-redir-broken": return .brokenRedirection
        default: return .other
        }
    }

    /// No server has more subscriptions; what says so is nobody's count, and must not overflow
    /// sums.
    private static let countLimit = Int(UInt32.max)

    /// The number in the frame's last line, 0 ... `countLimit`.
    private var lastNumber: Int {
        guard tail.count > 2, let colon = tail.dropLast(2).lastIndex(of: UInt8(ascii: ":")) else {
            return 0
        }
        let number = Int(String(decoding: tail[(colon + 1)...].dropLast(2), as: UTF8.self)) ?? 0
        return min(max(0, number), FrameEdges.countLimit)
    }
}
