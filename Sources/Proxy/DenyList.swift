// Commands that a pool refuses: what does not fit a shared connection, unless the configuration
// says otherwise, and whatever the operator adds.

import RESP
import Session

/// The `denyCommands` of a pool, as a table that costs one look per command: a pointer, so that
/// nothing is retained for that look. `destroy` must be called before it goes away.
struct DenyList {
    /// By the command's place in the table.
    private let isDenied: UnsafeMutableBufferPointer<Bool>

    /// `names` are in lower case, a subcommand as `container|subcommand`. A container's name stands
    /// for all of its subcommands.
    init(_ names: [String], table: CommandTable) {
        let wanted = Set(names)
        isDenied = .allocate(capacity: table.all.count)
        _ = isDenied.initialize(
            from: table.all.lazy.map { info in
                let container = info.name.prefix { $0 != "|" }
                return wanted.contains(info.name) || wanted.contains(String(container))
            })
    }

    func destroy() { isDenied.deallocate() }

    /// True when the command must not reach the server.
    func refuses(_ command: Command) -> Bool {
        let row = Int(command.rawValue)
        return row < isDenied.count && isDenied[row]
    }
}

/// Those of the names that the table does not have: modules' commands, renamed ones, new
/// subcommands; and all that may be a container's name.
struct DeniedStrangers {
    private let names: Set<String>

    init(_ names: [String], table: CommandTable) {
        self.names = Set(names).subtracting(table.all.map(\.name).filter { $0.contains("|") })
    }

    /// True when the command must not reach the server; a subcommand as `container|subcommand`.
    func refuses(_ name: [UInt8]) -> Bool {
        if names.isEmpty { return false }
        let name = Word.lowercased(name)
        return names.contains(name) || names.contains(String(name.prefix { $0 != "|" }))
    }
}
