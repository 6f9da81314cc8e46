// Names that are not in the table, and the server's error for names that no command can have.

package import RESP

/// The name of a command that is not in the table.
package struct UnknownName: Sendable {
    /// In lower case and up to the first NUL, as the server reads it. A subcommand is
    /// `client|name`, as in COMMAND INFO.
    package let asRead: [UInt8]
    /// The command is a container of the table, and the subcommand is unknown.
    package let isSubcommand: Bool
    /// False for names that no command can have, and that COMMAND INFO would read as another name.
    package let canBeAskedFor: Bool

    /// The container is CLIENT.
    package let isOfClient: Bool
    /// CLIENT MAINT_NOTIFICATIONS. It is about the connection to the next hop, Redpool, which has
    /// nothing to notify of. It is never sent to a server that would carry it out.
    package let isAboutOneHop: Bool

    /// The longest name or subcommand that a server is asked about, in bytes. Longer ones count as
    /// impossible.
    package static let longest = 128

    /// Reads the name of a frame whose command is `.unknown`.
    package init(_ frame: CommandFrame, in bytes: Span<UInt8>, table: CommandTable) {
        let first =
            frame.firstLength < 0 ? nil : (start: frame.firstStart, length: frame.firstLength)
        self.init(
            name: (start: frame.nameStart, length: frame.nameLength), first: first, in: bytes,
            table: table)
    }

    /// The same for a command whose arguments have not all arrived. `first` is the argument after
    /// the name, if there is one.
    package init(
        name: (start: Int, length: Int), first: (start: Int, length: Int)?,
        in bytes: Span<UInt8>, table: CommandTable
    ) {
        let container = table.find(bytes, nameStart: name.start, nameLength: name.length)
        let text = UnknownName.read(bytes, name.start, name.length)
        guard container != .unknown, let first else {
            isSubcommand = false
            isOfClient = false
            isAboutOneHop = false
            asRead = text
            canBeAskedFor = !UnknownName.isImpossible(
                bytes, start: name.start, count: name.length)
            return
        }
        isSubcommand = true
        isOfClient = container == .client
        isAboutOneHop =
            isOfClient
            && Word(bytes, start: first.start, count: first.length) == "maint_notifications"
        let bar = [UInt8(ascii: "|")]
        asRead = text + bar + UnknownName.read(bytes, first.start, first.length)
        canBeAskedFor = !UnknownName.isImpossible(bytes, start: first.start, count: first.length)
    }

    private static func read(_ bytes: Span<UInt8>, _ start: Int, _ count: Int) -> [UInt8] {
        var read: [UInt8] = []
        while read.count < min(count, longest + 1), bytes[start + read.count] != 0 {
            read.append(Word.folded(bytes[start + read.count]))
        }
        return read
    }

    /// True when no command of any server has this name: it is empty or too long, or contains a
    /// control character, a blank, or the bar that joins subcommands. Some servers would read a
    /// name with a NUL up to the NUL, see `Word`.
    package static func isImpossible(_ bytes: Span<UInt8>, start: Int, count: Int) -> Bool {
        guard count > 0, count <= longest else { return true }
        for index in start..<min(start &+ count, bytes.count) {
            let byte = bytes[index]
            if byte <= 0x20 || byte == 0x7F || byte == UInt8(ascii: "|") { return true }
        }
        return false
    }
}

extension UnknownName {
    /// The most bytes of the name in the server's error, and of the arguments.
    package static let room = 128

    /// The error reply for a name that the server does not know, without its CR LF: that of Redis
    /// 6.2 (`isOld`), or of Redis from 7.0 on and Valkey (server.c, processCommand). `words` are
    /// the name and its arguments; only those that the text has room for are read.
    package static func refusal(of words: [[UInt8]], isOld: Bool) -> [UInt8] {
        let quotes = isOld ? ("`", "`", ", ") : ("'", "'", " ")
        var list: [UInt8] = []
        for argument in words.dropFirst() {
            guard list.count < room else { break }
            // The room is measured without the quotes.
            let text = cString(argument).prefix(room - list.count)
            list += Array(quotes.0.utf8) + text + Array((quotes.1 + quotes.2).utf8)
        }
        let name = cString(words.first ?? [])
        var reply = Array("-ERR unknown command \(quotes.0)".utf8)
        reply += isOld ? name : name.prefix(room)
        reply += Array("\(quotes.1), with args beginning with: ".utf8) + list
        return oneLine(reply)
    }

    /// The same for a subcommand that the container does not have. `words` are the container's name
    /// and the subcommand, which may be cut.
    package static func subcommandRefusal(of words: [[UInt8]], isOld: Bool) -> [UInt8] {
        let subcommand = words.count > 1 ? cString(words[1]) : []
        let begin =
            isOld
            ? "-ERR Unknown subcommand or wrong number of arguments for '"
            : "-ERR unknown subcommand '"
        let container = cString(words.first ?? []).map {
            Word.isLetter($0) ? Word.folded($0) &- 0x20 : $0
        }
        var reply = Array(begin.utf8)
        reply += isOld ? subcommand : subcommand.prefix(room)
        reply += Array("'. Try ".utf8) + container + Array(" HELP.".utf8)
        return oneLine(reply)
    }

    private static func oneLine(_ reply: [UInt8]) -> [UInt8] {
        reply.map { $0 == 13 || $0 == 10 ? 0x20 : $0 }
    }

    private static func cString(_ bytes: [UInt8]) -> ArraySlice<UInt8> {
        bytes.prefix { $0 != 0 }
    }
}
