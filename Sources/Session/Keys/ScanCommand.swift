// SCAN over several servers: what one of them is sent, and what the client gets of its reply.

package import RESP

/// SCAN for one node, with the server's own cursor.
package struct ScanCommand: Equatable, Sendable {
    /// The cursor is none that Redpool gives out; the answer is `ERR invalid cursor`.
    package struct InvalidCursor: Error {}

    /// The answer where `InvalidCursor` is thrown, in the server's words.
    package static let invalidCursor = Array("-ERR invalid cursor\r\n".utf8)

    /// Those of 2^64 - 1, the largest cursor of a server.
    fileprivate static let mostDigits = 20

    /// The number of the node; there may be no such node any more.
    package let node: Int
    /// What it is sent; all but the cursor is as the client has written it.
    package let command: [UInt8]
    /// The same with cursor 0, for a node that has to begin.
    package let fromStart: [UInt8]

    /// Nil for a SCAN without a cursor: any server has the right error for it.
    package init?(_ bytes: Span<UInt8>, _ frame: CommandFrame) throws(InvalidCursor) {
        var arguments = CommandArguments(bytes, frame: frame)
        guard let name = arguments.next(bytes), let cursor = arguments.next(bytes) else {
            return nil
        }
        guard cursor.length <= ScanCommand.mostDigits,
            let own = ScanCursor((0..<cursor.length).map { bytes[cursor.start + $0] })
        else { throw InvalidCursor() }
        node = own.node
        var options: [UInt8] = []
        while let word = arguments.next(bytes) {
            Encode.bulk(bytes, word.start..<(word.start + word.length), into: &options)
        }
        var beginning: [UInt8] = []
        Encode.arrayHeader(frame.argumentCount, into: &beginning)
        Encode.bulk(bytes, name.start..<(name.start + name.length), into: &beginning)
        command = ScanCommand.joined(beginning, own.server, options)
        fromStart = ScanCommand.joined(beginning, 0, options)
    }

    private static func joined(
        _ beginning: [UInt8], _ cursor: Int64, _ options: [UInt8]
    ) -> [UInt8] {
        var digits: [UInt8] = []
        Encode.decimal(cursor, into: &digits)
        var output = beginning
        Encode.bulk(digits, into: &output)
        return output + options
    }
}

extension ScanCursor {
    /// The reply of a node to SCAN as the client gets it: with a cursor that says where to go on.
    /// An error passes unchanged. A cursor too large for the client's becomes an error. Nil when
    /// it is no reply to SCAN: the connection that it came from cannot be trusted.
    ///
    /// - Parameters:
    ///   - node: the number of the node that has answered.
    ///   - nodes: the numbers of all nodes that there are, in any order.
    package static func replacing(in reply: [UInt8], node: Int, nodes: [Int]) -> [UInt8]? {
        guard NodeMerge.isWhole(reply) else { return nil }
        var cursor = ReplyCursor(from: 0)
        guard let outer = cursor.next(reply.span) else { return nil }
        if outer.type == UInt8(ascii: "-") || outer.type == UInt8(ascii: "!") { return reply }
        guard outer.type == UInt8(ascii: "*"), outer.value == 2,
            let word = cursor.next(reply.span), word.type == UInt8(ascii: "$"), !word.isNull
        else { return nil }
        let rest = cursor.position
        guard let keys = cursor.next(reply.span), keys.depth == 1, !keys.isNull,
            keys.type == UInt8(ascii: "*") || keys.type == UInt8(ascii: "~")
        else { return nil }
        while let key = cursor.next(reply.span) {
            guard key.depth == 2, key.type == UInt8(ascii: "$"), !key.isNull else { return nil }
        }
        let text = Array(reply[word.range])
        guard (1...ScanCommand.mostDigits).contains(text.count),
            text.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else { return nil }
        guard let server = ScanCursor(reply: text, node: node) else {
            return ScanCommand.invalidCursor
        }
        var output: [UInt8] = []
        output.reserveCapacity(reply.count + 8)
        Encode.arrayHeader(2, into: &output)
        Encode.bulk(server.next(of: nodes)?.text ?? [UInt8(ascii: "0")], into: &output)
        return output + reply[rest...]
    }
}
