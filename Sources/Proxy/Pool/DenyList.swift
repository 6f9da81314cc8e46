// Commands that a pool refuses: by default, those that do not fit a shared connection, and what the
// operator adds.

import RESP
import Session

/// The `denyCommands` of a pool, as a table: one look-up per command. It is a pointer, so that a
/// look-up retains nothing. The owner must call `destroy` before it drops the value.
struct DenyList {
    /// Indexed by the command's row in the table.
    private let isDenied: UnsafeMutableBufferPointer<Bool>

    /// `names` are in lower case; a subcommand is `container|subcommand`. A container's name denies
    /// all its subcommands.
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
