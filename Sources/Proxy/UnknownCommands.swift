// Commands that the table does not know: the server is asked once what they are. A module's command
// holds an upstream for its reply; a renamed one could be anything and holds it for good; one that
// the server does not know either is an error like any other.

import RESP
import Session

/// What a server has said of names outside the table.
struct UnknownCommands {
    /// What a name stands for.
    enum Kind {
        /// The server does not know it either: an error like any other.
        case stranger
        /// A module's command: an upstream of its own for its reply.
        case module
        /// One of the server's own under another name: it could be anything.
        case renamed
    }

    /// Longer names are no command of any server.
    static let longestName = 64
    /// A client that makes names up must not fill the memory.
    private static let most = 4096
    private var kinds: [[UInt8]: Kind] = [:]

    /// What is known of a name; names are compared without regard to case.
    func kind(of name: [UInt8]) -> Kind? {
        kinds[UnknownCommands.folded(name)]
    }

    mutating func learn(_ name: [UInt8], _ kind: Kind) {
        if kinds.count >= UnknownCommands.most { kinds.removeAll() }
        kinds[UnknownCommands.folded(name)] = kind
    }

    private static func folded(_ name: [UInt8]) -> [UInt8] {
        name.map { $0 >= 65 && $0 <= 90 ? $0 | 0x20 : $0 }
    }

    /// The name of a command that is not in the table, as COMMAND INFO takes it: a subcommand with
    /// its container, `client|name`. Nil for what is longer than any name.
    static func name(
        of frame: CommandFrame, in bytes: Span<UInt8>, table: CommandTable
    ) -> [UInt8]? {
        guard frame.nameLength <= longestName else { return nil }
        var name = (0..<frame.nameLength).map { bytes[frame.nameStart + $0] }
        let container = table.find(
            bytes, nameStart: frame.nameStart, nameLength: frame.nameLength)
        if container == .unknown { return name }
        let length = frame.firstLength
        guard length >= 0, name.count + 1 + length <= longestName else { return nil }
        name.append(UInt8(ascii: "|"))
        name += (0..<length).map { bytes[frame.firstStart + $0] }
        return name
    }

    /// Reads the reply to COMMAND INFO for one name. An error (no permission, LOADING) teaches
    /// nothing: this once, an upstream of one's own is always right.
    static func judge(_ reply: [UInt8]) -> (kind: Kind, isLasting: Bool) {
        var cursor = ReplyCursor(from: 0)
        guard let outer = cursor.next(reply.span), outer.type == UInt8(ascii: "*"),
            let entry = cursor.next(reply.span)
        else { return (.renamed, false) }
        if entry.isNull { return (.stranger, true) }
        while let item = cursor.next(reply.span) {
            if item.matches("module", in: reply.span) { return (.module, true) }
        }
        return (.renamed, true)
    }
}
