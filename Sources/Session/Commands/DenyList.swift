// Commands that a pool does not just pass on: those that it refuses, by default those that do not
// fit a shared connection, and what the operator adds; and those whose replies it corrects.

/// The `denyCommands` of a pool, as a table: one look-up per command. It is a pointer, so that a
/// look-up retains nothing. The owner must call `destroy` before it drops the value.
@safe
package struct DenyList {
    /// Indexed by the command's row in the table: 0 for one that is passed on.
    private let marks: UnsafeMutableBufferPointer<UInt8>

    private static let denied: UInt8 = 1
    private static let counted: UInt8 = 2

    /// `names` are in lower case; a subcommand is `container|subcommand`. A container's name denies
    /// all its subcommands.
    ///
    /// - Parameter countsSubscribers: replies that count subscribers are corrected, because many of
    ///   them can be on one upstream.
    package init(_ names: [String], table: CommandTable, countsSubscribers: Bool = false) {
        let wanted = Set(names)
        let place = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: table.all.count)
        _ = unsafe place.initialize(
            from: table.all.lazy.map { info in
                let container = Substring(info.name.utf8.prefix { $0 != UInt8(ascii: "|") })
                return wanted.contains(info.name) || wanted.contains(String(container))
                    ? DenyList.denied : 0
            })
        if countsSubscribers {
            for command in [Command.publish, .spublish, .pubsubNumsub, .pubsubShardnumsub] {
                unsafe place[Int(command.rawValue)] |= DenyList.counted
            }
        }
        unsafe marks = place
    }

    package func destroy() { unsafe marks.deallocate() }

    /// True when the command must not reach the server.
    package func refuses(_ command: Command) -> Bool { mark(of: command) & DenyList.denied != 0 }

    /// True when the command's reply counts subscribers, and is corrected.
    package func corrects(_ command: Command) -> Bool { mark(of: command) & DenyList.counted != 0 }

    /// True when there is more to the command than to pass it on.
    @inline(__always)
    package func stops(_ command: Command) -> Bool { mark(of: command) != 0 }

    @inline(__always)
    private func mark(of command: Command) -> UInt8 {
        let row = Int(command.rawValue)
        return unsafe row < marks.count ? marks[row] : 0
    }
}
