// How the replies to the parts of a command become one reply.

import RESP

/// What a command's replies have in common.
package enum Merge: Equatable, Sendable {
    /// MGET: an array with an element for each key.
    case elements
    /// EXISTS, TOUCH: a number, which is added up.
    case counting
    /// DEL, UNLINK: the same; a part that ran has changed something.
    case removing
    /// MSET: OK.
    case setting

    /// Nil for a command that is not split.
    init?(_ command: Command, includesMSET: Bool) {
        switch command {
        case .mget: self = .elements
        case .exists, .touch: self = .counting
        case .del, .unlink: self = .removing
        case .mset where includesMSET: self = .setting
        default: return nil
        }
    }

    fileprivate var changesData: Bool { self == .removing || self == .setting }
}

extension Split {
    /// The one reply for the client. `replies` has a whole reply for each part, in the order of the
    /// parts. Nil when one is not what a server answers to such a part: the connection that it came
    /// from cannot be trusted.
    ///
    /// An error of a part is the answer: the first in the order of the keys. If other parts have
    /// changed data meanwhile, it says so.
    ///
    /// - Parameters:
    ///   - pool: the pool's name, for that error.
    ///   - name: the command's name, for that error.
    package func merged(_ replies: [[UInt8]], pool: String, name: String) -> [UInt8]? {
        guard replies.count == parts.count else { return nil }
        let failed = replies.indices.filter { Split.isError(replies[$0]) }
        if let first = failed.first {
            let ran = replies.count - failed.count
            guard merge.changesData, ran > 0 else { return replies[first] }
            return partial(replies[first], pool: pool, name: name, ran: ran)
        }
        switch merge {
        case .elements: return array(replies)
        case .counting, .removing: return sum(replies)
        case .setting: return replies.allSatisfy { Split.isOK($0) } ? replies[0] : nil
        }
    }

    private static func isError(_ reply: [UInt8]) -> Bool {
        reply.first == UInt8(ascii: "-") || reply.first == UInt8(ascii: "!")
    }

    private static func isOK(_ reply: [UInt8]) -> Bool {
        var cursor = ReplyCursor(from: 0)
        guard let item = cursor.next(reply.span) else { return false }
        return item.type == UInt8(ascii: "+") && item.matches("OK", in: reply.span)
            && cursor.position == reply.count
    }

    private func partial(_ error: [UInt8], pool: String, name: String, ran: Int) -> [UInt8]? {
        var cursor = ReplyCursor(from: 0)
        guard let item = cursor.next(error.span) else { return nil }
        var output = Array("-PARTIAL pool \(pool): \(name) ran for \(ran) of ".utf8)
        output += Array("\(parts.count) slots: ".utf8)
        output += error[item.range].map { $0 == 13 || $0 == 10 ? UInt8(ascii: " ") : $0 }
        return output + [13, 10]
    }

    private func sum(_ replies: [[UInt8]]) -> [UInt8]? {
        var sum: Int64 = 0
        for (part, reply) in zip(parts, replies) {
            var cursor = ReplyCursor(from: 0)
            // As many as it has keys at most.
            guard let item = cursor.next(reply.span), item.type == UInt8(ascii: ":"),
                (0...Int64(part.keyCount)).contains(item.value), cursor.position == reply.count
            else { return nil }
            let count = item.value
            sum += count
        }
        var output: [UInt8] = []
        Encode.integer(sum, into: &output)
        return output
    }

    /// The elements in the order of the command's keys, as they came.
    private func array(_ replies: [[UInt8]]) -> [UInt8]? {
        // In each reply the next element.
        var positions = [Int](repeating: 0, count: parts.count)
        var size = 16
        for index in parts.indices {
            let reply = replies[index]
            size += reply.count
            guard let start = Split.elements(of: reply.span, count: parts[index].keyCount) else {
                return nil
            }
            positions[index] = start
        }
        var output: [UInt8] = []
        output.reserveCapacity(size)
        Encode.arrayHeader(partOfKey.count, into: &output)
        for part in partOfKey {
            let index = Int(part)
            let start = positions[index]
            let reply = replies[index]
            guard let end = Split.endOfValue(reply.span, from: start) else { return nil }
            output += reply[start..<end]
            positions[index] = end
        }
        for index in parts.indices where positions[index] != replies[index].count { return nil }
        return output
    }

    /// Where the elements of an array begin; nil if it is none of so many.
    private static func elements(of reply: Span<UInt8>, count: Int) -> Int? {
        guard reply.count > 3, reply[0] == UInt8(ascii: "*") else { return nil }
        var value = 0
        var position = 1
        while position < min(reply.count, 12), (48...57).contains(reply[position]) {
            value = 10 * value + Int(reply[position] - 48)
            position += 1
        }
        guard position > 1, value == count, position + 1 < reply.count, reply[position] == 13,
            reply[position + 1] == 10
        else { return nil }
        return position + 2
    }

    /// The end of the value or null that begins here; nil if it is something else.
    private static func endOfValue(_ reply: Span<UInt8>, from start: Int) -> Int? {
        guard start < reply.count,
            reply[start] == UInt8(ascii: "$") || reply[start] == UInt8(ascii: "_")
        else { return nil }
        var scanner = ReplyScanner()
        guard case .complete(let end) = scanner.scan(reply, from: start) else { return nil }
        return end
    }
}
