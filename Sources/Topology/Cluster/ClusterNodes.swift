// What a node of a cluster says of all nodes: CLUSTER NODES, read from a whole reply. Recorded from
// Redis 7.0.15 and 8.0.2 and Valkey 8.0.1 and 8.1.1, which agree:
//
//     <id> 127.0.0.1:22686@15242 master - 0 1795962167461 2 connected 5461-10921
//     <id> 127.0.0.1:29582@16382 myself,master - 0 0 1 connected 0-5460 [5->-<id>]
//
// The seventh word is the config epoch. CLUSTER SLOTS and CLUSTER SHARDS have none, so what they
// say cannot be told from what a node says that is cut off from the others.

import RESP

/// A node, as another one or itself describes it.
package struct ClusterNodeRow: Equatable, Sendable {
    /// 40 digits; it stays the same when the address changes.
    package let id: [UInt8]
    /// Nil when the one that says it does not know it.
    package let address: NodeAddress?
    /// It is the one that says this.
    package let isSpeaker: Bool
    package let isPrimary: Bool
    /// The id of a replica's primary; nil for a primary.
    package let primaryID: [UInt8]?
    /// `config-epoch`: which of two that claim a slot is right.
    package let epoch: Int64
    /// The slots that it serves. Slots on their way are those of the node that they leave.
    package let slots: [ClosedRange<UInt16>]

    package init(
        id: [UInt8], address: NodeAddress?, isSpeaker: Bool, isPrimary: Bool = true,
        primaryID: [UInt8]? = nil, epoch: Int64, slots: [ClosedRange<UInt16>]
    ) {
        self.id = id
        self.address = address
        self.isSpeaker = isSpeaker
        self.isPrimary = isPrimary
        self.primaryID = primaryID
        self.epoch = epoch
        self.slots = slots
    }
}

extension ClusterNodeRow {
    /// How names are chosen where a node has an address and a name.
    package enum Preference: Sendable { case address, name }

    /// The most nodes that are read.
    private static let mostRows = 2048
    private static let epochs: ClosedRange<Int64> = 0...(Int64.max / 2)
    private static let slotNumbers: ClosedRange<Int64> = 0...(Int64(Slot.count) - 1)

    /// Reads the reply to CLUSTER NODES. Nil for any other reply, and if a line is not understood.
    /// Nodes that are being met, or are known without an address, are left out.
    ///
    /// - Parameter asked: the address that was asked: a node may not know its own.
    package static func all(
        in reply: [UInt8], asked: NodeAddress, prefer: Preference = .address
    ) -> [ClusterNodeRow]? {
        var cursor = ReplyCursor(from: 0)
        guard let item = cursor.next(reply.span), !item.isNull,
            item.type == UInt8(ascii: "$") || item.type == UInt8(ascii: "="),
            item.start + item.length <= reply.count
        else { return nil }
        let lines = reply[item.range].split(separator: UInt8(ascii: "\n"))
        guard (1...mostRows).contains(lines.count) else { return nil }
        var rows: [ClusterNodeRow] = []
        for line in lines {
            let words = line.split(separator: UInt8(ascii: " "))
            guard words.count >= 8, isID(words[0]) else { return nil }
            let flags = words[2].split(separator: UInt8(ascii: ",")).map { Word(Array($0)) }
            if flags.contains("handshake") || flags.contains("noaddr") { continue }
            guard let row = ClusterNodeRow(words, flags, asked: asked, prefer: prefer) else {
                return nil
            }
            rows.append(row)
        }
        return rows
    }

    private init?(
        _ words: [ArraySlice<UInt8>], _ flags: [Word], asked: NodeAddress, prefer: Preference
    ) {
        guard let epoch = Word.integer(Array(words[6]), in: Self.epochs) else { return nil }
        id = Array(words[0])
        isSpeaker = flags.contains("myself")
        isPrimary = flags.contains("master")
        primaryID = Self.isID(words[3]) ? Array(words[3]) : nil
        self.epoch = epoch
        address = Self.address(words[1], own: isSpeaker ? asked : nil, prefer: prefer)
        var slots: [ClosedRange<UInt16>] = []
        for word in words[8...] where word.first != UInt8(ascii: "[") {
            guard let range = Self.range(word) else { return nil }
            slots.append(range)
        }
        self.slots = isPrimary ? slots : []
    }

    private static func isID(_ word: ArraySlice<UInt8>) -> Bool {
        word.count == 40 && word.allSatisfy { (0x30...0x39).contains($0) || Word.isLetter($0) }
    }

    /// `127.0.0.1:6379@16379`, behind it `,name` and more (Redis and Valkey from 7.0 on).
    private static func address(
        _ word: ArraySlice<UInt8>, own: NodeAddress?, prefer: Preference
    ) -> NodeAddress? {
        let parts = word.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
        let place = parts[0].prefix { $0 != UInt8(ascii: "@") }
        guard let colon = place.lastIndex(of: UInt8(ascii: ":")) else { return nil }
        let port = place[(colon + 1)...]
        let name = parts.count > 1 ? parts[1] : []
        if prefer == .name, !name.isEmpty, !name.contains(UInt8(ascii: "=")),
            let found = NodeAddress(host: name, port: port)
        {
            return found
        }
        let host = place[..<colon]
        if host.isEmpty, let own { return NodeAddress(host: own.host[...], port: port) ?? own }
        return NodeAddress(host: host, port: port)
    }

    /// `5` or `0-5460`.
    private static func range(_ word: ArraySlice<UInt8>) -> ClosedRange<UInt16>? {
        let ends = word.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        let numbers = ends.compactMap { Word.integer(Array($0), in: Self.slotNumbers) }
        guard let first = numbers.first, let last = numbers.last, numbers.count == ends.count,
            ends.count <= 2, first <= last
        else { return nil }
        return UInt16(first)...UInt16(last)
    }
}
