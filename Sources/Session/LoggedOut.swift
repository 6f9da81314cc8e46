// What becomes of a command of a client that has to log in to Redpool first. Redpool answers all of
// them itself, as a server with `requirepass` does; none reaches a server.

package import RESP

/// What to do with a command of a client that has to log in first.
package enum LoggedOutPlan: Equatable, Sendable {
    /// Answer with this error.
    case refuse([UInt8])
    /// AUTH or HELLO: see `LoginJudgement`.
    case judge
    /// `+OK`, then close the client.
    case quit
    /// Close the client without a reply (POST and Host:, which are stray HTTP requests).
    case vanish
    /// RESET.
    case reset
}

extension CommandTable {
    /// The plan for a command of a client that has to log in first. In the order of a server's
    /// checks (server.c, processCommand): name, arity, login.
    package func planLoggedOut(
        _ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame, _ dialect: Dialect
    ) -> LoggedOutPlan {
        switch command {
        case .quit: return .quit
        case .post, .host: return .vanish
        case .auth, .hello: return .judge
        default: break
        }
        if let error = nameError(command, bytes, frame, dialect) { return .refuse(error) }
        switch command {
        case .reset where !dialect.isBefore70: return .reset
        // EXEC's errors all say that the transaction is over.
        case .exec:
            return .refuse(
                CommandTable.line(
                    "-EXECABORT Transaction discarded because of: NOAUTH Authentication required."))
        default: return .refuse(CommandTable.line("-NOAUTH Authentication required."))
        }
    }

    /// The server's error if it does not know the command, or not with so many words.
    private func nameError(
        _ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame, _ dialect: Dialect
    ) -> [UInt8]? {
        let words = CommandTable.words(bytes, frame)
        let container = find(bytes, nameStart: frame.nameStart, nameLength: frame.nameLength)
        guard let outer = info(container), dialect.has(outer) else {
            return UnknownName.refusal(of: words, isOld: dialect.isBefore70) + [13, 10]
        }
        // Before Redis 7.0 the command itself judges its subcommands.
        if dialect.isBefore70 { return arityError(outer, words.count) }
        if words.count > 1, outer.hasSubcommands {
            guard let inner = info(command), inner.isNamedExactly(bytes, frame),
                dialect.has(inner)
            else { return UnknownName.subcommandRefusal(of: words, isOld: false) + [13, 10] }
            return arityError(inner, words.count)
        }
        return arityError(outer, words.count)
    }

    private func arityError(_ info: CommandInfo, _ count: Int) -> [UInt8]? {
        let arity = Int(info.arity)
        if arity == 0 || (arity > 0 ? count == arity : count >= -arity) { return nil }
        let isExec = info.name == "exec"
        return CommandTable.line(
            (isExec ? "-EXECABORT Transaction discarded because of: " : "-ERR ")
                + "wrong number of arguments for '\(info.name)' command")
    }

    private static func line(_ text: String) -> [UInt8] { Array(text.utf8) + [13, 10] }
}
