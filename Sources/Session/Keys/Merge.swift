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
    /// parts, and `ends` where each one ends. Nil when one is not what a server answers to such a
    /// part: the connection that it came from cannot be trusted.
    ///
    /// An error of a part is the answer: the first in the order of the keys. If other parts have
    /// changed data meanwhile, it says so.
    ///
    /// - Parameters:
    ///   - pool: the pool's name, for that error.
    ///   - name: the command's name, for that error.
    package func merged(
        _ replies: [UInt8], ends: [Int], pool: String, name: String
    ) -> [UInt8]? {
        guard ends.count == parts.count else { return nil }
        let bytes = replies.span
        var firstError: Range<Int>?
        var failed = 0
        var start = 0
        for end in ends {
            guard start <= end, end <= bytes.count else { return nil }
            if Split.isError(bytes.extracting(start..<end)) {
                failed += 1
                firstError = firstError ?? start..<end
            }
            start = end
        }
        if let firstError {
            let error = Array(replies[firstError])
            let ran = parts.count - failed
            guard merge.changesData, ran > 0 else { return error }
            return partial(error, pool: pool, name: name, ran: ran)
        }
        switch merge {
        case .elements: return array(bytes, ends)
        case .counting, .removing: return sum(bytes, ends)
        case .setting: return status(bytes, ends)
        }
    }

    private static func isError(_ reply: Span<UInt8>) -> Bool {
        guard !reply.isEmpty else { return false }
        return reply[0] == UInt8(ascii: "-") || reply[0] == UInt8(ascii: "!")
    }

    private static func isOK(_ reply: Span<UInt8>) -> Bool {
        var cursor = ReplyCursor(from: 0)
        guard let item = cursor.next(reply) else { return false }
        return item.type == UInt8(ascii: "+") && item.matches("OK", in: reply)
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

    private func status(_ replies: Span<UInt8>, _ ends: [Int]) -> [UInt8]? {
        var start = 0
        for end in ends {
            guard Split.isOK(replies.extracting(start..<end)) else { return nil }
            start = end
        }
        return Array("+OK\r\n".utf8)
    }

    private func sum(_ replies: Span<UInt8>, _ ends: [Int]) -> [UInt8]? {
        var sum: Int64 = 0
        var start = 0
        for part in parts.indices {
            let reply = replies.extracting(start..<ends[part])
            var cursor = ReplyCursor(from: 0)
            // As many as it has keys at most.
            guard let item = cursor.next(reply), item.type == UInt8(ascii: ":"),
                (0...Int64(parts[part].keyCount)).contains(item.value),
                cursor.position == reply.count
            else { return nil }
            let count = item.value
            sum += count
            start = ends[part]
        }
        var output: [UInt8] = []
        Encode.integer(sum, into: &output)
        return output
    }

    /// The elements in the order of the command's keys, as they came.
    private func array(_ replies: Span<UInt8>, _ ends: [Int]) -> [UInt8]? {
        // In each reply the next element.
        var positions: [Int] = []
        positions.reserveCapacity(parts.count)
        var start = 0
        for part in parts.indices {
            let reply = replies.extracting(start..<ends[part])
            guard let elements = Split.elements(of: reply, count: parts[part].keyCount) else {
                return nil
            }
            positions.append(start + elements)
            start = ends[part]
        }
        var output: [UInt8] = []
        output.reserveCapacity(16 + replies.count)
        Encode.arrayHeader(partOfKey.count, into: &output)
        var scanner = ReplyScanner()
        for part in partOfKey {
            let index = Int(part)
            let start = positions[index]
            let reply = replies.extracting(0..<ends[index])
            guard let end = Split.endOfValue(reply, from: start, &scanner) else { return nil }
            let value = replies.extracting(start..<end)
            unsafe value.withUnsafeBufferPointer { unsafe output.append(contentsOf: $0) }
            positions[index] = end
        }
        return positions == ends ? output : nil
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
    private static func endOfValue(
        _ reply: Span<UInt8>, from start: Int, _ scanner: inout ReplyScanner
    ) -> Int? {
        guard start < reply.count,
            reply[start] == UInt8(ascii: "$") || reply[start] == UInt8(ascii: "_")
        else { return nil }
        guard case .complete(let end) = scanner.scan(reply, from: start) else { return nil }
        return end
    }
}
