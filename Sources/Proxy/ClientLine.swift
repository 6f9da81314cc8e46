// CLIENT LIST and CLIENT INFO show Redpool's clients in the server's own format: a line of the
// server is the template, so that every version has its own fields in its own order.

import Config
import EventLoop
import Pool
import RESP
import Session

enum ClientLine {
    /// The fields of a line that belong to the client and not to the upstream it was asked on.
    static func values(of client: ClientConnection) -> [String: String] {
        let now = client.worker.now.nanoseconds
        let hold = client.upstream?.hold
        var flags = ""
        // In Redis's order.
        if hold?.isMonitoring == true { flags += "O" }
        if (hold?.subscriptions ?? 0) > 0 { flags += "P" }
        if hold?.isInTransaction == true { flags += "x" }
        if case .exclusive(isBlocking: true) = client.mode { flags += "b" }
        if hold?.isTracking == true { flags += "t" }
        if hold?.isBroadcast == true { flags += "B" }
        if hold?.flags.contains(.readOnly) == true { flags += "r" }
        if hold?.flags.contains(.noEvict) == true { flags += "e" }
        if hold?.flags.contains(.noTouch) == true { flags += "T" }
        return [
            "id": "\(client.serial)",
            "addr": client.peerText, "laddr": client.localText,
            "fd": "\(client.channel.descriptor)",
            "name": shown(client.identity.name),
            "age": "\((now - client.connectedAt) / 1_000_000_000)",
            "idle": "\((now - client.lastActivity) / 1_000_000_000)",
            "flags": flags.isEmpty ? "N" : flags,
            "db": "\(client.key.database)",
            "sub": "\(hold?.channels ?? 0)", "psub": "\(hold?.patterns ?? 0)",
            "ssub": "\(hold?.shards ?? 0)",
            "multi": hold?.isInTransaction == true ? "0" : "-1",
            "cmd": client.worker.table.info(client.lastCommand)?.name ?? "NULL",
            "user": String(
                decoding: client.pool.users.name(of: client.key.user), as: UTF8.self),
            "redir": hold?.isTracking == true ? "\(client.redirection)" : "-1",
            "resp": "\(client.key.protocolVersion)",
            "lib-name": shown(client.identity.libraryName),
            "lib-ver": shown(client.identity.libraryVersion),
        ]
    }

    /// What a client calls itself, as the server shows it. Valkey checks a name up to its first NUL
    /// only, and shows no more of it; what is behind could look like other fields, or other lines.
    private static func shown(_ name: [UInt8]) -> String {
        String(decoding: name.prefix { $0 > 0x20 }, as: UTF8.self)
    }

    /// What the server knows best of a connection that one client holds: a watched key that has
    /// been touched shows in `flags` only.
    private static let heldFields = ["flags", "db", "sub", "psub", "ssub", "multi", "cmd", "resp"]

    /// The template with a client's own values; `isHeld` when it is the line of an upstream that
    /// the client holds.
    static func line(
        _ template: Substring, with values: [String: String], isHeld: Bool = false
    ) -> String {
        var own = values
        if isHeld {
            for field in heldFields { own[field] = nil }
        }
        return line(fields(of: template), with: own)
    }

    /// A field of a template.
    struct Field {
        let text: String
        /// What stands before `=`, and with it; nil where there is none.
        let key: String?
    }

    static func fields(of template: Substring) -> [Field] {
        template.split(separator: " ", omittingEmptySubsequences: false).map { field in
            Field(
                text: String(field), key: field.firstIndex(of: "=").map { String(field[..<$0]) })
        }
    }

    static func line(_ fields: [Field], with values: [String: String]) -> String {
        fields.map { field in
            guard let key = field.key, var value = values[key] else { return field.text }
            if field.text == "cmd=client" {
                // What CLIENT INFO says of itself before Redis 7.0: no subcommands there.
                value = String(value.prefix { $0 != "|" })
            }
            return "\(key)=\(value)"
        }.joined(separator: " ")
    }

    /// The text inside a bulk or verbatim reply; nil for anything else.
    static func text(of reply: [UInt8]) -> String? {
        var cursor = ReplyCursor(from: 0)
        guard let item = cursor.next(reply.span), item.length >= 0,
            item.type == UInt8(ascii: "$") || item.type == UInt8(ascii: "=")
        else { return nil }
        return String(
            decoding: reply[item.start..<(item.start + item.length)], as: UTF8.self)
    }

    /// A reply with the first line only of one that has been cut off: what is made of it needs no
    /// more.
    static func firstLine(of reply: [UInt8]) -> [UInt8] {
        guard let type = reply.first, let header = reply.firstIndex(of: 10) else { return reply }
        let line = reply[(header + 1)...].prefix { $0 != 10 }
        return [type] + Array("\(line.count)\r\n".utf8) + line + [13, 10]
    }

    /// A reply with `text` in the form of the client's protocol.
    static func encode(_ text: String, protocolVersion: UInt8) -> [UInt8] {
        var bytes: [UInt8] = []
        if protocolVersion == 3 {
            let length = text.utf8.count + 4
            bytes = Array("=\(length)\r\ntxt:".utf8) + Array(text.utf8) + [13, 10]
        } else {
            Encode.bulk(text, into: &bytes)
        }
        return bytes
    }

    /// Which clients a CLIENT LIST asks for.
    struct Filter {
        let wanted: ListFilter
        /// The clients of other workers that it asks for.
        private(set) var others: [ClientSnapshot] = []
        /// About how much memory it takes.
        private(set) var size = 0

        init(_ words: [[UInt8]], others: [ClientSnapshot]) {
            wanted = ListFilter(words)
            self.others = others.filter { admits($0.type, $0.serial) }
            let ids = 16 * (wanted.ids?.count ?? 0)
            size = self.others.reduce(64 + ids) { $0 + $1.size }
        }

        func admits(_ type: ClientType, _ serial: UInt64) -> Bool {
            if let ids = wanted.ids, !ids.contains(Int64(clamping: serial)) { return false }
            return wanted.type == nil || wanted.type == type
        }
    }

    /// What the client gets in place of a list that is too long to be made.
    static func tooLong(_ pool: UpstreamPool) -> [UInt8] {
        var reply: [UInt8] = []
        Encode.error(
            "OUTPUTLIMIT pool \(pool.config.name): the list is longer than clientOutputLimit, or "
                + "than half of what totalOutputLimit leaves", into: &reply)
        return reply
    }

    /// What the client gets where the server has accepted a form that is not understood.
    static let refusal = Array(
        "-ERR Redpool does not understand this form of CLIENT LIST\r\n".utf8)
}
