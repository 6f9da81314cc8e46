// How the replies of several nodes to one command become one reply.

import RESP

/// What the replies of nodes to one command have in common.
package enum NodeMerge: Equatable, Sendable {
    /// `+OK` or another status, alike from all: the first.
    case status
    /// A bulk string, alike from all: the first (SCRIPT LOAD, FUNCTION LOAD).
    case text
    /// A number, which is added up.
    case sum
    /// A number; the least counts (LASTSAVE, WAIT).
    case least
    /// A number; the largest counts: a user that one node does not have is removed all the same.
    case most
    /// Two numbers; of each the least counts (WAITAOF).
    case leastOfEach
    /// Arrays, one behind the other; a status of all is a status (ACL LOG RESET).
    case list
    /// Arrays of names, one behind the other, each name once.
    case names
    /// Arrays of names with numbers, which are added up by name.
    case counts
    /// Arrays of 0 and 1: 1 where all have 1.
    case flags
    /// A key or null: one of the keys.
    case choice
    /// OK if one is; else an error.
    case kill

    /// Nil for a command that does not go to several nodes: whose rule is not `all`, `every` or
    /// `offset`.
    package init?(_ command: Command) {
        switch command {
        case .aclLoad, .aclSave, .aclSetuser, .bgrewriteaof, .bgsave, .clientPause, .clientUnpause,
            .commandlogReset, .configResetstat, .configRewrite, .configSet, .flushall, .flushdb,
            .functionDelete, .functionFlush, .functionRestore, .memoryPurge, .moduleLoad,
            .moduleLoadex, .moduleUnload, .scriptFlush, .slowlogReset:
            self = .status
        case .functionLoad, .scriptLoad: self = .text
        case .commandlogLen, .dbsize, .pubsubNumpat, .slowlogLen: self = .sum
        case .lastsave, .wait: self = .least
        case .waitaof: self = .leastOfEach
        case .aclDeluser: self = .most
        case .aclLog, .commandlogGet, .keys, .slowlogGet: self = .list
        case .pubsubChannels, .pubsubShardchannels: self = .names
        case .pubsubNumsub, .pubsubShardnumsub: self = .counts
        case .scriptExists: self = .flags
        case .randomkey: self = .choice
        case .functionKill, .scriptKill: self = .kill
        default: return nil
        }
    }
}

extension NodeMerge {
    /// The one reply for the client. `replies` has a whole reply of each node, in their order. Nil
    /// when one is not what a server answers: the connection that it came from cannot be trusted.
    /// Nil too without any.
    ///
    /// An error of a node is the answer, the first if there are several.
    ///
    /// - Parameter random: chooses among keys, for RANDOMKEY.
    package func merged(_ replies: [[UInt8]], random: UInt64) -> [UInt8]? {
        guard let first = replies.first, replies.allSatisfy(NodeMerge.isWhole) else { return nil }
        if self == .kill { return afterKill(replies) }
        if let error = replies.first(where: NodeMerge.isError) { return error }
        switch self {
        case .status, .kill: return alike(replies, UInt8(ascii: "+")) ? first : nil
        case .text: return alike(replies, UInt8(ascii: "$")) ? first : nil
        case .sum, .least, .most: return number(replies)
        case .leastOfEach: return leastOfEach(replies)
        case .list:
            return alike(replies, UInt8(ascii: "+")) ? first : joined(replies, onlyOnce: false)
        case .names: return joined(replies, onlyOnce: true)
        case .counts: return counts(replies)
        case .flags: return flags(replies)
        case .choice: return choice(replies, random)
        }
    }

    /// Whether these bytes are one reply, with nothing around it.
    static func isWhole(_ reply: [UInt8]) -> Bool {
        guard let type = reply.first, type != UInt8(ascii: "|"), type != UInt8(ascii: ">") else {
            return false
        }
        var scanner = ReplyScanner()
        return scanner.scan(reply.span, from: 0) == .complete(end: reply.count)
    }

    private static func isError(_ reply: [UInt8]) -> Bool {
        reply.first == UInt8(ascii: "-") || reply.first == UInt8(ascii: "!")
    }

    /// Whether all are of this type, and none is null.
    private func alike(_ replies: [[UInt8]], _ type: UInt8) -> Bool {
        replies.allSatisfy { reply in
            var cursor = ReplyCursor(from: 0)
            guard let item = cursor.next(reply.span) else { return false }
            return item.type == type && !item.isNull
        }
    }

    /// Where no node ran a script, its error is that of all. An error of another kind says more:
    /// that a script could not be stopped.
    private func afterKill(_ replies: [[UInt8]]) -> [UInt8]? {
        if let done = replies.first(where: { $0.first == UInt8(ascii: "+") }) { return done }
        guard replies.allSatisfy(NodeMerge.isError) else { return nil }
        let other = replies.first { reply in
            var scanner = ReplyScanner()
            _ = scanner.scan(reply.span, from: 0)
            return !scanner.head.starts(with: "NOTBUSY")
        }
        return other ?? replies.first
    }

    // MARK: - Numbers

    private static func number(_ reply: [UInt8], _ cursor: inout ReplyCursor) -> Int64? {
        guard let item = cursor.next(reply.span), item.type == UInt8(ascii: ":"), item.value >= 0
        else {
            return nil
        }
        return item.value
    }

    private func number(_ replies: [[UInt8]]) -> [UInt8]? {
        var result: Int64?
        for reply in replies {
            var cursor = ReplyCursor(from: 0)
            guard let value = NodeMerge.number(reply, &cursor) else { return nil }
            guard let before = result else {
                result = value
                continue
            }
            switch self {
            case .least: result = min(before, value)
            case .most: result = max(before, value)
            default: result = NodeMerge.sum(before, value)
            }
            guard result != nil else { return nil }
        }
        guard let result else { return nil }
        var output: [UInt8] = []
        Encode.integer(result, into: &output)
        return output
    }

    /// Nil when it does not fit.
    private static func sum(_ one: Int64, _ other: Int64) -> Int64? {
        let (sum, overflows) = one.addingReportingOverflow(other)
        return overflows ? nil : sum
    }

    private func leastOfEach(_ replies: [[UInt8]]) -> [UInt8]? {
        var least: [Int64] = [.max, .max]
        for reply in replies {
            guard var walk = Walk(reply), walk.count == 2 else { return nil }
            for index in 0..<2 {
                guard let value = NodeMerge.number(reply, &walk.cursor) else { return nil }
                least[index] = min(least[index], value)
            }
        }
        var output: [UInt8] = []
        Encode.arrayHeader(2, into: &output)
        for value in least { Encode.integer(value, into: &output) }
        return output
    }

    private func flags(_ replies: [[UInt8]]) -> [UInt8]? {
        var all: [Bool]?
        for reply in replies {
            guard var walk = Walk(reply) else { return nil }
            var flags: [Bool] = []
            for _ in 0..<walk.count {
                guard let value = NodeMerge.number(reply, &walk.cursor), value <= 1 else {
                    return nil
                }
                flags.append(value == 1)
            }
            guard let before = all else {
                all = flags
                continue
            }
            guard before.count == flags.count else { return nil }
            all = zip(before, flags).map { $0 && $1 }
        }
        guard let all else { return nil }
        var output: [UInt8] = []
        Encode.arrayHeader(all.count, into: &output)
        for flag in all { Encode.integer(flag ? 1 : 0, into: &output) }
        return output
    }

    // MARK: - Keys and names

    private func choice(_ replies: [[UInt8]], _ random: UInt64) -> [UInt8]? {
        var keys: [[UInt8]] = []
        for reply in replies {
            var cursor = ReplyCursor(from: 0)
            guard let item = cursor.next(reply.span),
                item.type == UInt8(ascii: "$") || item.type == UInt8(ascii: "_")
            else { return nil }
            if !item.isNull { keys.append(reply) }
        }
        guard !keys.isEmpty else { return replies.first }
        return keys[Int(truncatingIfNeeded: random % UInt64(keys.count))]
    }

    /// The elements of all arrays, as they came.
    private func joined(_ replies: [[UInt8]], onlyOnce: Bool) -> [UInt8]? {
        var elements: [UInt8] = []
        elements.reserveCapacity(replies.reduce(0) { $0 + $1.count })
        var count = 0
        var seen: Set<ArraySlice<UInt8>> = []
        for reply in replies {
            guard var walk = Walk(reply) else { return nil }
            if !onlyOnce {
                elements += reply[walk.cursor.position...]
                count += walk.count
                continue
            }
            for _ in 0..<walk.count {
                guard let name = walk.name(in: reply) else { return nil }
                guard seen.insert(reply[name.range]).inserted else { continue }
                elements += reply[name.start..<walk.cursor.position]
                count += 1
            }
        }
        var output: [UInt8] = []
        output.reserveCapacity(elements.count + 16)
        output.append(replies[0][0])
        Encode.decimal(Int64(count), into: &output)
        return output + [13, 10] + elements
    }

    private func counts(_ replies: [[UInt8]]) -> [UInt8]? {
        var names: [ArraySlice<UInt8>] = []
        var sums: [Int64] = []
        for (node, reply) in replies.enumerated() {
            guard var walk = Walk(reply, arePairs: true), node == 0 || walk.count == names.count
            else { return nil }
            for index in 0..<walk.count {
                guard let place = walk.name(in: reply) else { return nil }
                let name = reply[place.range]
                guard let value = NodeMerge.number(reply, &walk.cursor) else { return nil }
                if node == 0 {
                    names.append(name)
                    sums.append(value)
                } else {
                    // All nodes were asked for the same names.
                    guard names[index] == name, let sum = NodeMerge.sum(sums[index], value) else {
                        return nil
                    }
                    sums[index] = sum
                }
            }
        }
        var output: [UInt8] = []
        let isMap = replies[0][0] == UInt8(ascii: "%")
        Encode.mapHeader(names.count, isMap ? .resp3 : .resp2, into: &output)
        for (name, sum) in zip(names, sums) {
            Encode.bulk(Array(name), into: &output)
            Encode.integer(sum, into: &output)
        }
        return output
    }
}

/// A walk over the elements of an array or a set, or over the pairs of a map.
private struct Walk {
    var cursor = ReplyCursor(from: 0)
    /// Elements, or pairs. No larger than the reply has bytes.
    let count: Int

    /// Nil for a reply of another kind.
    init?(_ reply: [UInt8], arePairs: Bool = false) {
        guard let outer = cursor.next(reply.span), !outer.isNull else { return nil }
        let value = outer.value
        guard (0...Int64(reply.count)).contains(value) else { return nil }
        let number = Int(value)
        switch outer.type {
        case UInt8(ascii: "*") where arePairs:
            guard number % 2 == 0 else { return nil }
            count = number / 2
        case UInt8(ascii: "%") where arePairs: count = number
        case UInt8(ascii: "*"), UInt8(ascii: "~"): count = number
        default: return nil
        }
    }

    /// The next element if it is a string: where it begins, and the place of its text.
    mutating func name(in reply: [UInt8]) -> (start: Int, range: Range<Int>)? {
        let start = cursor.position
        guard let item = cursor.next(reply.span), item.type == UInt8(ascii: "$"), !item.isNull
        else {
            return nil
        }
        return (start, item.range)
    }
}
