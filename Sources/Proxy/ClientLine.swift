// CLIENT LIST and CLIENT INFO show Redpool's clients in the server's own format: a line of the
// server is the template, so that every version has its own fields in its own order.

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
            "name": String(decoding: client.identity.name, as: UTF8.self),
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
            "lib-name": String(decoding: client.identity.libraryName, as: UTF8.self),
            "lib-ver": String(decoding: client.identity.libraryVersion, as: UTF8.self),
        ]
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
        return template.split(separator: " ", omittingEmptySubsequences: false).map { field in
            guard let equals = field.firstIndex(of: "=") else { return String(field) }
            let key = String(field[..<equals])
            guard var value = own[key] else { return String(field) }
            if field == "cmd=client" {
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
        /// The clients of other workers, all of them.
        let others: [ClientSnapshot]

        init(_ words: [[UInt8]], others: [ClientSnapshot]) {
            wanted = ListFilter(words)
            self.others = others
        }

        func admits(_ client: ClientSnapshot) -> Bool {
            if let ids = wanted.ids, !ids.contains(client.serialNumber) { return false }
            return wanted.type == nil || wanted.type == client.type
        }
    }

    /// What the client gets where the server has accepted a form that is not understood.
    static let refusal = Array(
        "-ERR Redpool does not understand this form of CLIENT LIST\r\n".utf8)
}
