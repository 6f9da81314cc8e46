// Lines of MONITOR, and which of them show commands of Redpool's own. A client in MONITOR must see
// exactly what clients have sent, as often as they have sent it.

internal import RESP

/// Commands of Redpool's own whose lines have not come yet, for one client in MONITOR. A line shows
/// the sender's address and the words of the command, so the commands are kept by both, in the
/// order in which they were sent.
package struct OwnCommands: Sendable {
    private var sent: [[UInt8]: [[UInt8]]] = [:]
    /// The local address of a connection, by its address at the server, where the two differ.
    private var aliases: [[UInt8]: [UInt8]] = [:]
    private var count = 0

    /// The longest command that is kept, as the text of a line. Longer ones are shown.
    package static let longest = 1024
    /// The longest line of such a command.
    package static let longestLine = longest + 256
    private static let most = 4096

    package init() {}

    /// Those of another process.
    package init(carried: CarriedOwnCommands) {
        for sent in carried.sent { self.sent(sent.text, from: sent.address) }
        for alias in carried.aliases { aliases[alias.seen] = alias.local }
    }

    /// For each connection in the order in which they were sent.
    package var carried: CarriedOwnCommands {
        CarriedOwnCommands(
            sent: sent.sorted { $0.key.lexicographicallyPrecedes($1.key) }.flatMap {
                address, texts in
                texts.map { CarriedOwnCommands.Sent(address: address, text: $0) }
            },
            aliases: aliases.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map {
                CarriedOwnCommands.Alias(seen: $0.key, local: $0.value)
            })
    }

    /// True when no line is expected.
    package var isEmpty: Bool { count == 0 }

    /// Adds a command; `text` has its words as a line shows them. When too many are waiting, all
    /// are dropped.
    package mutating func sent(_ text: [UInt8], from address: [UInt8]) {
        guard text.count <= OwnCommands.longest else { return }
        if count >= OwnCommands.most { self = OwnCommands() }
        sent[address, default: []].append(text)
        count += 1
    }

    /// The server has refused this command, so it has no line.
    package mutating func refused(_ text: [UInt8], from address: [UInt8]) {
        guard let index = sent[address]?.firstIndex(of: text) else { return }
        remove(index...index, from: address)
    }

    /// All commands from this address ran before the client began to monitor.
    package mutating func forget(_ address: [UInt8]) {
        count -= sent.removeValue(forKey: address)?.count ?? 0
    }

    /// True when a complete line, CR LF included, shows such a command; that command is then
    /// removed.
    package mutating func take(_ line: [UInt8]) -> Bool {
        guard let (from, text) = OwnCommands.read(line) else { return false }
        var address = aliases[from] ?? from
        if sent[address] == nil {
            // The digits of a fence identify its connection, even if the server sees another
            // address.
            guard OwnCommands.isFence(text), let known = sent.first(where: { $0.1.contains(text) })
            else { return false }
            address = known.0
            if aliases.count >= OwnCommands.most { aliases = [:] }
            aliases[from] = address
        }
        guard let index = sent[address]?.firstIndex(of: text) else { return false }
        // A connection's commands run in order, so earlier ones have no line any more. Connections
        // over unix sockets share one address.
        remove(address == OwnCommands.unix ? index...index : 0...index, from: address)
        return true
    }

    private mutating func remove(_ places: ClosedRange<Int>, from address: [UInt8]) {
        sent[address]?.removeSubrange(places)
        count -= places.count
        if sent[address]?.isEmpty == true { sent[address] = nil }
    }
}

// MARK: - The form of a line

extension OwnCommands {
    /// The address of every connection over a unix socket.
    package static let unix = Array("unix".utf8)

    /// The words of a command as a line shows them (Redis 7.0 replication.c,
    /// replicationFeedMonitors). Passwords are redacted there.
    package static func text(of words: [[UInt8]]) -> [UInt8] {
        var text: [UInt8] = []
        let name = words.first.map { Word($0) }
        var hidden = name == "auth" ? words.count : 0
        for (index, word) in words.enumerated() {
            if index > 0 { text.append(0x20) }
            let isHidden = index > 0 && hidden > 0
            if isHidden { hidden -= 1 }
            if name == "hello", index > 1, Word(word) == "auth" { hidden = 2 }
            text += quoted(isHidden ? Array("(redacted)".utf8) : word)
        }
        return text
    }

    /// The quoting of sds.c, sdscatrepr.
    private static func quoted(_ word: [UInt8]) -> [UInt8] {
        let digits = Array("0123456789abcdef".utf8)
        let backslash = UInt8(ascii: "\\")
        var text = [UInt8(ascii: "\"")]
        for byte in word {
            switch byte {
            case backslash, UInt8(ascii: "\""): text += [backslash, byte]
            case 7: text += [backslash, UInt8(ascii: "a")]
            case 8: text += [backslash, UInt8(ascii: "b")]
            case 9: text += [backslash, UInt8(ascii: "t")]
            case 10: text += [backslash, UInt8(ascii: "n")]
            case 13: text += [backslash, UInt8(ascii: "r")]
            case 0x20...0x7E: text.append(byte)
            default:
                text += [
                    backslash, UInt8(ascii: "x"), digits[Int(byte >> 4)], digits[Int(byte & 15)],
                ]
            }
        }
        return text + [UInt8(ascii: "\"")]
    }

    /// The address and the words of `+<time> [<database> <address>] <words>` CR LF; nil for
    /// anything else.
    private static func read(_ line: [UInt8]) -> (address: [UInt8], text: [UInt8])? {
        let end = line.count - 2
        var start = 0
        while start < end, line[start] != UInt8(ascii: "[") { start += 1 }
        while start < end, line[start] != 0x20 { start += 1 }
        start += 1
        var close = start
        while close + 2 < end,
            line[close] != UInt8(ascii: "]") || line[close + 1] != 0x20
                || line[close + 2] != UInt8(ascii: "\"")
        {
            close += 1
        }
        guard close + 2 < end else { return nil }
        let address = Array(line[start..<close])
        let isUnix = address.prefix(unixPath.count) == unixPath[...]
        return (isUnix ? unix : address, Array(line[(close + 2)..<end]))
    }

    private static let unixPath = Array("unix:".utf8)

    /// True when the text has the length of a fence's: no other command of Redpool's has as many
    /// digits.
    private static func isFence(_ text: [UInt8]) -> Bool {
        text.count == fenceLength && text[1] != UInt8(ascii: "C")
    }

    /// `"ECHO" "<16 digits>"`
    private static let fenceLength = 25
}
