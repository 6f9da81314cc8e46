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
        /// The server cannot be asked, or has not answered: this once, an upstream that is closed
        /// afterwards.
        case unclear
    }

    /// A client that makes names up must not fill the memory.
    private static let most = 4096
    private var kinds: [[UInt8]: Kind] = [:]

    /// What is known of a name, as `UnknownName` reads it.
    func kind(of name: [UInt8]) -> Kind? { kinds[name] }

    mutating func learn(_ name: [UInt8], _ kind: Kind) {
        if kinds.count >= UnknownCommands.most { kinds.removeAll() }
        kinds[name] = kind
    }

    /// Reads the reply to COMMAND INFO for one name. `unclear` is not to be learned: an error (no
    /// permission, LOADING) says nothing of the name.
    static func judge(_ reply: [UInt8]) -> Kind {
        var cursor = ReplyCursor(from: 0)
        guard let outer = cursor.next(reply.span), outer.type == UInt8(ascii: "*"),
            let entry = cursor.next(reply.span)
        else { return .unclear }
        if entry.isNull { return .stranger }
        while let item = cursor.next(reply.span) {
            if item.matches("module", in: reply.span) { return .module }
        }
        return .renamed
    }
}

extension PoolFront {
    func kind(of name: UnknownName) -> UnknownKind {
        if deniedStrangers.refuses(name.asRead) { return .denied }
        // Names are looked at before; COMMAND INFO would read this one as another.
        if !name.canBeAskedFor { return .impossible }
        let kind = unknownCommands.kind(of: name.asRead)
        if name.isAboutOneHop, kind != .stranger {
            // A server of before 7.0 has no such subcommand; of others it must be known.
            if server.facts.hasOldWords { return .known(.stranger) }
            return kind != nil || server.facts.isBefore7 ? .impossible : .toAsk(name.asRead)
        }
        if let kind { return .known(kind) }
        // Before 7.0, COMMAND INFO knows no subcommands.
        return name.isSubcommand && server.facts.isBefore7
            ? .unclear(name.asRead) : .toAsk(name.asRead)
    }
    /// True for what this server must not get, because it may carry it out.
    func withholds(_ name: UnknownName) -> Bool {
        guard name.isAboutOneHop else { return false }
        if case .known(.stranger) = kind(of: name) { return false }
        return true
    }
}
