// Frames on a connection that one client holds.

internal import RESP

/// The kind of subscription that a confirmation is for.
package enum SubscriptionKind: CaseIterable, Sendable {
    case channel
    case pattern
    case shard
}

/// The beginning and the end of a frame that arrives in pieces. They tell a message from a
/// confirmation and give a confirmation's count, without keeping the frame.
package struct FrameEdges: Sendable {
    private var prefix: [UInt8] = []
    private var tail: [UInt8] = []
    private static let prefixLength = 40
    /// The kind of a frame is known after this many bytes, except for the count of a confirmation.
    /// A push about a broken redirection is not longer.
    package static let longestDecided = 64
    private static let tailLength = 24

    package init() {}

    /// What a frame on a subscribed connection can be.
    package enum Kind: Equatable, Sendable {
        case message
        case confirmation(SubscriptionKind, count: Int)
        /// A line of MONITOR.
        case line
        /// The server ends a redirection; the push ends with its id.
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

    /// The frame that has begun is a line of MONITOR.
    package var isLine: Bool { prefix.first == UInt8(ascii: "+") }

    /// The kind of the complete frame that was added.
    package var kind: Kind {
        guard let first = prefix.first else { return .other }
        if isLine { return .line }
        guard first == UInt8(ascii: "*") || first == UInt8(ascii: ">") else { return .other }
        var cursor = ReplyCursor(from: 0)
        guard cursor.next(prefix.span) != nil, let word = cursor.next(prefix.span),
            word.type == UInt8(ascii: "$")
        else { return .other }
        if word.matches("message", in: prefix.span) || matches(word, "pmessage", "smessage") {
            return .message
        }
        if matches(word, "subscribe", "unsubscribe") {
            return .confirmation(.channel, count: count)
        }
        if matches(word, "psubscribe", "punsubscribe") {
            return .confirmation(.pattern, count: count)
        }
        if matches(word, "ssubscribe", "sunsubscribe") {
            return .confirmation(.shard, count: count)
        }
        let isBroken = word.matches("tracking-redir-broken", in: prefix.span)
        return isBroken ? .brokenRedirection : .other
    }

    private func matches(_ word: ReplyItem, _ one: StaticString, _ other: StaticString) -> Bool {
        word.matches(one, in: prefix.span) || word.matches(other, in: prefix.span)
    }

    /// The number in the frame's last line, 0 ... `countLimit`, so that sums of a few cannot
    /// overflow. Anything else counts as `countLimit`, so that the connection never counts as free
    /// of subscriptions.
    private var count: Int {
        let content = tail.dropLast(2)
        guard let colon = content.lastIndex(of: UInt8(ascii: ":")),
            let number = Word.integer(
                Array(content[(colon + 1)...]), in: 0...FrameEdges.countLimit)
        else { return Int(FrameEdges.countLimit) }
        return Int(number)
    }

    /// No server has more subscriptions than this.
    private static let countLimit = Int64(UInt32.max)
}
