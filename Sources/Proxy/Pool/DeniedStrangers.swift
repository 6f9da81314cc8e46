// The names in `denyCommands` that the command table does not have; `DenyList` has the others.

import RESP
import Session

/// The denied names that the table does not have: commands of modules, renamed commands, new
/// subcommands. It also has every name that may be a container's.
struct DeniedStrangers {
    private let names: Set<[UInt8]>

    init(_ names: [String], table: CommandTable) {
        let known = table.all.map(\.name).filter { $0.contains("|") }
        self.names = Set(Set(names).subtracting(known).map { Array($0.utf8) })
    }

    /// True when the command must not reach the server. The name is `UnknownName.asRead`.
    func refuses(_ name: [UInt8]) -> Bool {
        if names.isEmpty { return false }
        return names.contains(name)
            || names.contains(Array(name.prefix { $0 != UInt8(ascii: "|") }))
    }
}
