// Commands that the table does not know. Redpool asks the server once what they are. A module's
// command has an upstream to itself until its reply. A renamed command could be anything and pins
// an upstream for the rest of the connection. A command that the server does not know gets the
// server's error.

import RESP
import Session

/// What the server has said about names outside the table.
struct UnknownCommands {
    /// What kind of command a name is.
    enum Kind {
        /// The server does not know it: the reply is an error.
        case stranger
        /// A module's command. It has an upstream to itself until its reply.
        case module
        /// A command of the server under another name. It could be anything.
        case renamed
        /// The server cannot be asked, or has not answered. The command gets an upstream of its
        /// own, which is closed afterwards.
        case unclear
    }

    /// Bounds the memory that a client can use up with invented names.
    private static let most = 4096
    private var kinds: [[UInt8]: Kind] = [:]

    /// The known kind of a name, as `UnknownName` reads it.
    func kind(of name: [UInt8]) -> Kind? { kinds[name] }

    mutating func learn(_ name: [UInt8], _ kind: Kind) {
        if kinds.count >= UnknownCommands.most { kinds.removeAll() }
        kinds[name] = kind
    }

    /// Reads the reply to COMMAND INFO for one name. The caller does not store `unclear`: an error
    /// (no permission, LOADING) says nothing about the name.
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
        // COMMAND INFO would read this name as another one.
        if !name.canBeAskedFor { return .impossible }
        let kind = unknownCommands.kind(of: name.asRead)
        if name.isAboutOneHop, kind != .stranger {
            // Before 7.0 the server has no such subcommand. Other servers must know it.
            if primary.facts.hasOldWords { return .known(.stranger) }
            return kind != nil || primary.facts.isBefore7 ? .impossible : .toAsk(name.asRead)
        }
        if let kind { return .known(kind) }
        // Before 7.0, COMMAND INFO knows no subcommands.
        return name.isSubcommand && primary.facts.isBefore7
            ? .unclear(name.asRead) : .toAsk(name.asRead)
    }
    /// True for a command that this server must not get, because it might carry it out.
    func withholds(_ name: UnknownName) -> Bool {
        guard name.isAboutOneHop else { return false }
        if case .known(.stranger) = kind(of: name) { return false }
        return true
    }
}
