// What a server says of its replication: INFO replication. Recorded from Redis 6.2.14, 7.0.15 and
// 8.0.2 and Valkey 8.0.1 and 8.1.1, which agree in the fields that are read here.

import RESP

/// What a primary or a replica says of itself in INFO replication.
package struct ReplicationInfo: Equatable, Sendable {
    /// What it is.
    package enum Role: Equatable, Sendable {
        case primary
        /// Without a link it gets no writes, and may be about to take over other data.
        case replica(isLinked: Bool)
    }

    package let role: Role
    /// `master_replid`: which history its offset belongs to. A primary begins one when it starts,
    /// and when it takes over; its replicas have the same.
    package let history: [UInt8]
    /// How much of the history its data has in it: a primary has written so much, and a replica has
    /// carried out so much.
    package let offset: Int64

    /// For tests.
    package init(role: Role, history: [UInt8], offset: Int64) {
        self.role = role
        self.history = history
        self.offset = offset
    }

    private static let historyLength = 40
    private static let offsets: ClosedRange<Int64> = 0...(Int64.max / 2)

    /// Reads the reply to INFO replication. Nil for any other reply, and if a field is missing or
    /// not understood.
    package init?(_ reply: [UInt8]) {
        var cursor = ReplyCursor(from: 0)
        guard let item = cursor.next(reply.span), !item.isNull,
            item.type == UInt8(ascii: "$") || item.type == UInt8(ascii: "="),
            item.start + item.length <= reply.count
        else { return nil }
        var fields = Fields()
        for line in reply[item.range].split(separator: UInt8(ascii: "\n")) { fields.read(line) }
        guard let history = fields.history, history.count == Self.historyLength else { return nil }
        self.history = history
        if fields.role == "master" {
            guard let offset = fields.primaryOffset else { return nil }
            role = .primary
            self.offset = offset
        } else {
            guard fields.role == "slave", let offset = fields.replicaOffset, let link = fields.link
            else { return nil }
            role = .replica(isLinked: link == "up")
            self.offset = offset
        }
    }

    private struct Fields {
        var role: Word?
        var link: Word?
        var history: [UInt8]?
        var primaryOffset: Int64?
        var replicaOffset: Int64?

        mutating func read(_ line: ArraySlice<UInt8>) {
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return }
            let value = Array(line[(colon + 1)...].prefix { $0 != 13 })
            switch Word(Array(line[..<colon])) {
            case "role": role = Word(value)
            case "master_link_status": link = Word(value)
            case "master_replid": history = value
            case "master_repl_offset":
                primaryOffset = Word.integer(value, in: ReplicationInfo.offsets)
            case "slave_repl_offset":
                replicaOffset = Word.integer(value, in: ReplicationInfo.offsets)
            default: break
            }
        }
    }
}
