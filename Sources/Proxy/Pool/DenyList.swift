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
    private let names: Set<[UInt8]>

    init(_ names: [String], table: CommandTable) {
        let known = table.all.map(\.name).filter { $0.contains("|") }
        self.names = Set(Set(names).subtracting(known).map { Array($0.utf8) })
    }

    /// True when the command must not reach the server; the name is `UnknownName.asRead`.
    func refuses(_ name: [UInt8]) -> Bool {
        if names.isEmpty { return false }
        return names.contains(name)
            || names.contains(Array(name.prefix { $0 != UInt8(ascii: "|") }))
    }
}
