// CLIENT LIST and CLIENT INFO show Redpool's clients in the server's own format. A line of the
// server is the template, so each version has its own fields in its own order.

import Config
import EventLoop
import Pool
import RESP
import Session

enum ClientLine {
    /// The text of a bulk or verbatim reply; nil for any other reply.
    static func text(of reply: [UInt8]) -> String? {
        var cursor = ReplyCursor(from: 0)
        guard let item = cursor.next(reply.span), !item.isNull,
            item.type == UInt8(ascii: "$") || item.type == UInt8(ascii: "=")
        else { return nil }
        return String(
            decoding: reply[item.start..<(item.start + item.length)], as: UTF8.self)
    }

    /// Turns a truncated reply into a complete one that has its first line only.
    static func firstLine(of reply: [UInt8]) -> [UInt8] {
        guard let type = reply.first, let header = reply.firstIndex(of: 10) else { return reply }
        let line = reply[(header + 1)...].prefix { $0 != 10 }
        return [type] + Array("\(line.count)\r\n".utf8) + line + [13, 10]
    }

    /// The error for a list that would be too long.
    static func tooLong(_ pool: PoolFront) -> [UInt8] {
        var reply: [UInt8] = []
        Encode.error(
            "OUTPUTLIMIT pool \(pool.config.name): the list is longer than clientOutputLimit, or "
                + "than half of what totalOutputLimit leaves", into: &reply)
        return reply
    }

    /// The error for a form of CLIENT LIST that the server accepts and Redpool does not understand.
    static let refusal = Array(
        "-ERR Redpool does not understand this form of CLIENT LIST\r\n".utf8)
}

/// A line of the server, cut at the values that belong to the client.
struct LineTemplate: Sendable {
    /// The fields with a value of the client's own.
    private enum Field: String, Sendable {
        case id, addr, laddr, fd, name, age, idle, flags, db, sub, psub, ssub, multi, cmd, user
        case redir, resp
        case libraryName = "lib-name"
        case libraryVersion = "lib-ver"

        /// Fields that the server knows best if the client holds the upstream. For example, only
        /// `flags` shows that a watched key has been changed.
        var isOfServerIfHeld: Bool {
            switch self {
            case .flags, .db, .sub, .psub, .ssub, .multi, .cmd, .resp: true
            default: false
            }
        }
    }

    private struct Piece: Sendable {
        /// The text before the value.
        let text: [UInt8]
        let field: Field
        /// CLIENT INFO calls itself `client` before Redis 7.0, without its subcommand.
        let isWithoutSubcommand: Bool
    }

    private var pieces: [Piece] = []
    private var end: [UInt8] = [10]
    /// Bytes that all lines have in common.
    private(set) var length = 0

    init() {}

    /// Cuts a line. `isHeld` says that the client holds the upstream that the line describes.
    init(_ line: Substring, isHeld: Bool = false) {
        var text: [UInt8] = []
        for (index, word) in line.split(separator: " ", omittingEmptySubsequences: false)
            .enumerated()
        {
            if index > 0 { text.append(UInt8(ascii: " ")) }
            guard let equals = word.firstIndex(of: "="),
                let field = Field(rawValue: String(word[..<equals])),
                !(isHeld && field.isOfServerIfHeld)
            else {
                text.append(contentsOf: word.utf8)
                continue
            }
            text.append(contentsOf: word[...equals].utf8)
            pieces.append(
                Piece(text: text, field: field, isWithoutSubcommand: word == "cmd=client"))
            length += text.count
            text = []
        }
        end = text + [10]
        length += end.count
    }

    /// Appends the line of a client, with its line feed.
    func append(_ client: ClientConnection, to output: inout [UInt8]) {
        for piece in pieces {
            output.append(contentsOf: piece.text)
            append(piece, of: client, to: &output)
        }
        output.append(contentsOf: end)
    }

    private func append(_ piece: Piece, of client: ClientConnection, to output: inout [UInt8]) {
        let now = client.worker.now.nanoseconds
        let hold = client.upstream?.hold
        switch piece.field {
        case .id: number(client.serial, &output)
        case .addr: client.appendPeer(to: &output)
        case .laddr: output.append(contentsOf: client.localBytes)
        case .fd: number(client.channel.descriptor, &output)
        case .name: shown(client.session.identity.name, &output)
        case .age: number((now - client.origin.connectedAt) / 1_000_000_000, &output)
        case .idle: number((now - client.lastActivity) / 1_000_000_000, &output)
        case .flags: flags(of: client, &output)
        case .db: number(client.key.database, &output)
        case .sub: number((hold?.channels ?? 0) + client.sharedSubscriptions.channels, &output)
        case .psub: number((hold?.patterns ?? 0) + client.sharedSubscriptions.patterns, &output)
        case .ssub: number((hold?.shards ?? 0) + client.sharedSubscriptions.shards, &output)
        case .multi: number(hold?.isInTransaction == true ? 0 : -1, &output)
        case .cmd:
            let name = client.worker.table.info(client.lastCommand)?.name ?? "NULL"
            if piece.isWithoutSubcommand {
                output.append(contentsOf: name.utf8.prefix { $0 != UInt8(ascii: "|") })
            } else {
                output.append(contentsOf: name.utf8)
            }
        case .user:
            output.append(contentsOf: client.userName)
        case .redir:
            if hold?.isTracking == true {
                number(client.session.redirection.current, &output)
            } else {
                number(-1, &output)
            }
        case .resp: number(client.key.protocolVersion, &output)
        case .libraryName: shown(client.session.identity.libraryName, &output)
        case .libraryVersion: shown(client.session.identity.libraryVersion, &output)
        }
    }

    /// Appends a name as the server shows it. Valkey checks and shows a name only up to its first
    /// NUL; the part behind could look like other fields or lines.
    private func shown(_ name: [UInt8], _ output: inout [UInt8]) {
        output.append(contentsOf: name.prefix { $0 > 0x20 })
    }

    private func number(_ value: some BinaryInteger, _ output: inout [UInt8]) {
        Encode.decimal(Int64(clamping: value), into: &output)
    }

    private func flags(of client: ClientConnection, _ output: inout [UInt8]) {
        let hold = client.upstream?.hold
        let start = output.count
        func show(_ flag: Unicode.Scalar, if isSet: Bool?) {
            if isSet == true { output.append(UInt8(ascii: flag)) }
        }
        // In Redis's order.
        show("O", if: hold?.isMonitoring)
        show("P", if: (hold?.subscriptions ?? 0) > 0 || client.isListener)
        show("x", if: hold?.isInTransaction)
        show("b", if: client.isBlockedAlone)
        show("t", if: hold?.isTracking)
        show("B", if: hold?.isBroadcast)
        show("r", if: hold?.flags.contains(.readOnly))
        show("e", if: hold?.flags.contains(.noEvict))
        show("T", if: hold?.flags.contains(.noTouch))
        if output.count == start { output.append(UInt8(ascii: "N")) }
    }
}
