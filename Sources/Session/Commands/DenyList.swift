// Commands that a pool refuses: by default, those that do not fit a shared connection, and what the
// operator adds.

/// The `denyCommands` of a pool, as a table: one look-up per command. It is a pointer, so that a
/// look-up retains nothing. The owner must call `destroy` before it drops the value.
@safe
package struct DenyList {
    /// Indexed by the command's row in the table.
    private let isDenied: UnsafeMutableBufferPointer<Bool>

    /// `names` are in lower case; a subcommand is `container|subcommand`. A container's name denies
    /// all its subcommands.
    package init(_ names: [String], table: CommandTable) {
        let wanted = Set(names)
        let place = UnsafeMutableBufferPointer<Bool>.allocate(capacity: table.all.count)
        _ = unsafe place.initialize(
            from: table.all.lazy.map { info in
                let container = Substring(info.name.utf8.prefix { $0 != UInt8(ascii: "|") })
                return wanted.contains(info.name) || wanted.contains(String(container))
            })
        unsafe isDenied = place
    }

    package func destroy() { unsafe isDenied.deallocate() }

    /// True when the command must not reach the server.
    package func refuses(_ command: Command) -> Bool {
        let row = Int(command.rawValue)
        return unsafe row < isDenied.count && isDenied[row]
    }
}
