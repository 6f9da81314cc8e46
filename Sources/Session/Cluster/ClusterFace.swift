// What a cluster-aware client sees of a pool in front of a cluster: a cluster of one node, Redpool,
// which has all slots. So it never learns the nodes' own addresses, and comes to Redpool with all.
// The layouts are those of Redis 6.2 to 8.0 and Valkey 8.0 and 8.1. Of CLUSTER SLOTS it is that of
// 6.2, which every client reads: the map that 7.0 has added to a node would be empty, and old
// clients (go-redis 8) take no fourth element.

package import RESP

/// Redpool's answers to CLUSTER, READONLY, READWRITE and ASKING, for one listener of a pool.
package struct ClusterFace: Sendable {
    private let host: String
    private let port: UInt16
    private let id: String
    private let shardID: String

    /// - Parameters:
    ///   - pool: the pool's name; the ids are made of it, so they stay the same.
    ///   - host: where clients reach Redpool. Empty if it has no name (a unix socket): for clients
    ///     that means the address that they are connected to.
    ///   - port: the port there.
    package init(pool: String, host: String, port: UInt16) {
        self.host = host
        self.port = port
        id = ClusterFace.identifier(pool, salt: 1)
        shardID = ClusterFace.identifier(pool, salt: 2)
    }

    /// The answer; nil for commands that go to a node: COUNTKEYSINSLOT and GETKEYSINSLOT, and those
    /// that are not about the cluster.
    ///
    /// - Parameters:
    ///   - protocolVersion: the client's, as in HELLO.
    ///   - isCovered: whether every slot has a node.
    package func reply(
        to command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame, protocolVersion: UInt8,
        isCovered: Bool
    ) -> [UInt8]? {
        if let refused = ClusterFace.refusedName(command) {
            return ClusterFace.error(
                "ERR CLUSTER \(refused) is refused by Redpool: send it to the node itself")
        }
        guard let (name, count) = ClusterFace.arity(command) else {
            return ClusterFace.unknownSubcommand(command, bytes, frame)
        }
        guard frame.argumentCount == count else {
            return ClusterFace.error("ERR wrong number of arguments for '\(name)' command")
        }
        let version = ProtocolVersion(rawValue: protocolVersion) ?? .resp2
        var output: [UInt8] = []
        switch command {
        case .readonly, .readwrite, .asking: Encode.simpleString("OK", into: &output)
        case .clusterMyid: Encode.bulk(id, into: &output)
        case .clusterMyshardid: Encode.bulk(shardID, into: &output)
        case .clusterLinks: Encode.arrayHeader(0, into: &output)
        case .clusterNodes: Encode.verbatim(Array(nodes.utf8), version, into: &output)
        case .clusterInfo:
            Encode.verbatim(Array(ClusterFace.info(isCovered).utf8), version, into: &output)
        case .clusterSlots: slots(into: &output)
        case .clusterShards: shards(version, into: &output)
        case .clusterHelp: ClusterFace.help(into: &output)
        case .clusterKeyslot:
            guard let key = ClusterFace.argument(2, bytes, frame) else { return nil }
            let slot = Slot.of(bytes, start: key.start, length: key.length)
            Encode.integer(Int64(slot), into: &output)
        case .clusterReplicas, .clusterSlaves, .clusterCountFailureReports:
            guard isOwn(bytes, frame) else { return ClusterFace.unknownNode(bytes, frame) }
            if command == .clusterCountFailureReports {
                Encode.integer(0, into: &output)
            } else {
                Encode.arrayHeader(0, into: &output)
            }
        default: return nil
        }
        return output
    }

    /// The slot that COUNTKEYSINSLOT or GETKEYSINSLOT is about; nil for anything else, also for a
    /// number that is no slot: then any node has the right error for it.
    package static func slot(
        ofCommand command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> UInt16? {
        guard command == .clusterCountkeysinslot || command == .clusterGetkeysinslot,
            let place = argument(2, bytes, frame)
        else { return nil }
        let last = Int64(Slot.count - 1)
        return Word.integer(bytes, start: place.start, count: place.length, in: 0...last).map {
            UInt16($0)
        }
    }
}

// MARK: - The node

extension ClusterFace {
    /// 40 hexadecimal digits, as the id of a node. The same name gives the same ones: FNV-1a, mixed
    /// at the end.
    private static func identifier(_ pool: String, salt: UInt8) -> String {
        var digits = ""
        for round in 0..<5 as Range<UInt8> {
            var sum: UInt64 = 0xCBF2_9CE4_8422_2325
            for byte in [salt, round] + Array(pool.utf8) {
                sum = (sum ^ UInt64(byte)) &* 0x100_0000_01B3
            }
            sum = (sum ^ (sum >> 33)) &* 0xFF51_AFD7_ED55_8CCD
            sum ^= sum >> 33
            let half = String(UInt32(truncatingIfNeeded: sum), radix: 16)
            digits += String(repeating: "0", count: 8 - half.utf8.count) + half
        }
        return digits
    }

    /// The port of the bus is 0: there is none.
    private var nodes: String {
        "\(id) \(host):\(port)@0 myself,master - 0 0 1 connected 0-\(Slot.count - 1)\n"
    }

    private func slots(into output: inout [UInt8]) {
        Encode.arrayHeader(1, into: &output)
        Encode.arrayHeader(3, into: &output)
        Encode.integer(0, into: &output)
        Encode.integer(Int64(Slot.count - 1), into: &output)
        Encode.arrayHeader(3, into: &output)
        Encode.bulk(host, into: &output)
        Encode.integer(Int64(port), into: &output)
        Encode.bulk(id, into: &output)
    }

    private func shards(_ version: ProtocolVersion, into output: inout [UInt8]) {
        Encode.arrayHeader(1, into: &output)
        Encode.mapHeader(2, version, into: &output)
        Encode.bulk("slots", into: &output)
        Encode.arrayHeader(2, into: &output)
        Encode.integer(0, into: &output)
        Encode.integer(Int64(Slot.count - 1), into: &output)
        Encode.bulk("nodes", into: &output)
        Encode.arrayHeader(1, into: &output)
        Encode.mapHeader(7, version, into: &output)
        Encode.bulk("id", into: &output)
        Encode.bulk(id, into: &output)
        Encode.bulk("port", into: &output)
        Encode.integer(Int64(port), into: &output)
        for (name, value) in [("ip", host), ("endpoint", host), ("role", "master")] {
            Encode.bulk(name, into: &output)
            Encode.bulk(value, into: &output)
        }
        Encode.bulk("replication-offset", into: &output)
        Encode.integer(0, into: &output)
        Encode.bulk("health", into: &output)
        Encode.bulk("online", into: &output)
    }

    private static func info(_ isCovered: Bool) -> String {
        let numbers = [
            ("slots_assigned", Slot.count), ("slots_ok", Slot.count), ("slots_pfail", 0),
            ("slots_fail", 0), ("known_nodes", 1), ("size", 1), ("current_epoch", 1),
            ("my_epoch", 1), ("stats_messages_sent", 0), ("stats_messages_received", 0),
        ]
        var text = "cluster_state:\(isCovered ? "ok" : "fail")\r\n"
        for (name, value) in numbers { text += "cluster_\(name):\(value)\r\n" }
        return text + "total_cluster_links_buffer_limit_exceeded:0\r\n"
    }
}

// MARK: - Words

extension ClusterFace {
    /// The name in the server's error, and the number of words, of the commands that are answered.
    private static func arity(_ command: Command) -> (name: String, count: Int)? {
        switch command {
        case .asking: ("asking", 1)
        case .readonly: ("readonly", 1)
        case .readwrite: ("readwrite", 1)
        // It needs a subcommand, so the number of words is never right.
        case .cluster: ("cluster", 0)
        case .clusterCountFailureReports: ("cluster|count-failure-reports", 3)
        case .clusterCountkeysinslot: ("cluster|countkeysinslot", 3)
        case .clusterGetkeysinslot: ("cluster|getkeysinslot", 4)
        case .clusterHelp: ("cluster|help", 2)
        case .clusterInfo: ("cluster|info", 2)
        case .clusterKeyslot: ("cluster|keyslot", 3)
        case .clusterLinks: ("cluster|links", 2)
        case .clusterMyid: ("cluster|myid", 2)
        case .clusterMyshardid: ("cluster|myshardid", 2)
        case .clusterNodes: ("cluster|nodes", 2)
        case .clusterReplicas: ("cluster|replicas", 3)
        case .clusterShards: ("cluster|shards", 2)
        case .clusterSlaves: ("cluster|slaves", 3)
        case .clusterSlots: ("cluster|slots", 2)
        default: nil
        }
    }

    /// The subcommands that change a cluster, or are about one node of it.
    private static func refusedName(_ command: Command) -> String? {
        switch command {
        case .clusterAddslots: "ADDSLOTS"
        case .clusterAddslotsrange: "ADDSLOTSRANGE"
        case .clusterBumpepoch: "BUMPEPOCH"
        case .clusterCancelslotmigrations: "CANCELSLOTMIGRATIONS"
        case .clusterDelslots: "DELSLOTS"
        case .clusterDelslotsrange: "DELSLOTSRANGE"
        case .clusterFailover: "FAILOVER"
        case .clusterFlushslots: "FLUSHSLOTS"
        case .clusterForget: "FORGET"
        case .clusterGetslotmigrations: "GETSLOTMIGRATIONS"
        case .clusterMeet: "MEET"
        case .clusterMigrateslots: "MIGRATESLOTS"
        case .clusterMigration: "MIGRATION"
        case .clusterReplicate: "REPLICATE"
        case .clusterReset: "RESET"
        case .clusterSaveconfig: "SAVECONFIG"
        case .clusterSetConfigEpoch: "SET-CONFIG-EPOCH"
        case .clusterSetslot: "SETSLOT"
        case .clusterSlotStats: "SLOT-STATS"
        default: nil
        }
    }

    private static func help(into output: inout [UInt8]) {
        let lines = [
            ("COUNT-FAILURE-REPORTS <node-id>", "Return number of failure reports for <node-id>."),
            ("COUNTKEYSINSLOT <slot>", "Return the number of keys in <slot>."),
            ("GETKEYSINSLOT <slot> <count>", "Return key names in a slot."),
            ("INFO", "Return information about the cluster."),
            ("KEYSLOT <key>", "Return the hash slot for <key>."),
            ("LINKS", "Return information about all network links: there are none."),
            ("MYID", "Return the node id."),
            ("MYSHARDID", "Return the node's shard id."),
            ("NODES", "Return the one node that clients see, Redpool."),
            ("REPLICAS <node-id>", "Return <node-id> replicas: there are none."),
            ("SHARDS", "Return information about slot range mappings and the node."),
            ("SLOTS", "Return information about slots range mappings."),
            ("HELP", "Print this help."),
        ]
        let title = "CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
        Encode.arrayHeader(1 + 2 * lines.count, into: &output)
        Encode.simpleString(title, into: &output)
        for (command, text) in lines {
            Encode.simpleString(command, into: &output)
            Encode.simpleString("    \(text)", into: &output)
        }
    }

    /// The server's error for CLUSTER with a subcommand that the table does not have.
    private static func unknownSubcommand(
        _ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> [UInt8]? {
        let name = Word(bytes, start: frame.nameStart, count: frame.nameLength)
        guard command == .unknown, name == "cluster", frame.firstLength >= 0 else { return nil }
        let word = shown(bytes, start: frame.firstStart, count: frame.firstLength)
        return Array("-ERR unknown subcommand '".utf8) + word
            + Array("'. Try CLUSTER HELP.\r\n".utf8)
    }

    private static func unknownNode(_ bytes: Span<UInt8>, _ frame: CommandFrame) -> [UInt8]? {
        guard let place = argument(2, bytes, frame) else { return nil }
        let word = shown(bytes, start: place.start, count: place.length)
        return Array("-ERR Unknown node ".utf8) + word + [13, 10]
    }

    /// A word as servers show it in an error: up to its first NUL, 128 bytes at most.
    private static func shown(_ bytes: Span<UInt8>, start: Int, count: Int) -> [UInt8] {
        var word: [UInt8] = []
        let end = max(start, min(start + min(count, 128), bytes.count))
        for index in start..<end {
            let byte = bytes[index]
            if byte == 0 { break }
            word.append(byte == 13 || byte == 10 ? UInt8(ascii: " ") : byte)
        }
        return word
    }

    /// Whether the last of three words is this node's id.
    private func isOwn(_ bytes: Span<UInt8>, _ frame: CommandFrame) -> Bool {
        guard let place = ClusterFace.argument(2, bytes, frame), place.length == id.utf8.count
        else { return false }
        var index = place.start
        for digit in id.utf8 {
            guard bytes[index] == digit else { return false }
            index += 1
        }
        return true
    }

    private static func argument(
        _ wanted: Int, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> (start: Int, length: Int)? {
        var arguments = CommandArguments(bytes, frame: frame)
        for _ in 0..<wanted where arguments.next(bytes) == nil { return nil }
        return arguments.next(bytes)
    }

    private static func error(_ text: String) -> [UInt8] {
        var output: [UInt8] = []
        Encode.error(text, into: &output)
        return output
    }
}
