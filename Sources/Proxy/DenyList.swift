// Commands that a pool refuses: what does not fit a shared connection, unless the configuration
// says otherwise, and whatever the operator adds.

import RESP
import Session

/// The `denyCommands` of a pool, as a table that costs one look per command.
final class DenyList {
    /// By the command's place in the table.
    private let isDenied: ContiguousArray<Bool>
    /// Names that the table does not have: modules' commands, renamed ones, new subcommands; and
    /// all that may be a container's name.
    private let strangers: Set<String>

    /// `names` are in lower case, a subcommand as `container|subcommand`. A container's name stands
    /// for all of its subcommands.
    init(_ names: [String], table: CommandTable) {
        let wanted = Set(names)
        isDenied = ContiguousArray(
            table.all.map { info in
                let container = info.name.prefix { $0 != "|" }
                return wanted.contains(info.name) || wanted.contains(String(container))
            })
        let known = table.all.map(\.name).filter { $0.contains("|") }
        strangers = wanted.subtracting(known)
    }

    /// True when the command must not reach the server.
    func refuses(_ command: Command) -> Bool {
        let row = Int(command.rawValue)
        return row < isDenied.count && isDenied[row]
    }

    /// The same for a name that is not in the table; a subcommand as `container|subcommand`.
    func refusesStranger(_ name: [UInt8]) -> Bool {
        if strangers.isEmpty { return false }
        let name = Word.lowercased(name)
        return strangers.contains(name) || strangers.contains(String(name.prefix { $0 != "|" }))
    }
}
