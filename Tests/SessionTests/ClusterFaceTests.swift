import RESP
import TestSupport
import Testing

@testable import Session

private let table = CommandTable()
private let commands = table.all.indices.compactMap { Command(rawValue: UInt16($0)) }
private let face = ClusterFace(pool: "main", host: "10.0.0.5", port: 6380)

private func answer(
    _ text: String, of face: ClusterFace = face, protocolVersion: UInt8 = 2, isCovered: Bool = true
) throws -> String? {
    let (bytes, frame) = try framed(text.split(separator: " ").map { Array($0.utf8) })
    let reply = face.reply(
        to: table.find(bytes.span, frame), bytes.span, frame, protocolVersion: protocolVersion,
        isCovered: isCovered)
    return reply.map { String(decoding: $0, as: UTF8.self) }
}

/// The text of a bulk string; its CR LF is one character.
private func text(_ command: String, of face: ClusterFace = face) throws -> String {
    let reply = try #require(try answer(command, of: face))
    return String(reply.split(separator: "\r\n", maxSplits: 1)[1].dropLast())
}

private func slot(_ text: String) throws -> UInt16? {
    let (bytes, frame) = try framed(text.split(separator: " ").map { Array($0.utf8) })
    return ClusterFace.slot(ofCommand: table.find(bytes.span, frame), bytes.span, frame)
}

@Suite("A cluster of one node")
struct ClusterFaceTests {
    @Test("the id is made of the pool's name, and is that of a node")
    func identity() throws {
        let id = try text("CLUSTER MYID")
        #expect(id.utf8.count == 40)
        #expect(id.allSatisfy { "0123456789abcdef".contains($0) })
        // It must not change from one release to the next: clients may keep it.
        #expect(id == "e58dbd4a28d9921e9d77a2570c17fb428221b96f")
        #expect(try text("CLUSTER MYSHARDID") != id)
        let other = ClusterFace(pool: "other", host: "10.0.0.5", port: 6380)
        #expect(try text("CLUSTER MYID", of: other) != id)
        let moved = ClusterFace(pool: "main", host: "", port: 1)
        #expect(try text("CLUSTER MYID", of: moved) == id)
    }

    @Test("SLOTS and SHARDS have the layouts of servers in RESP2 and RESP3")
    func slots() throws {
        let id = try text("CLUSTER MYID")
        let slots =
            "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$8\r\n10.0.0.5\r\n:6380\r\n$40\r\n\(id)\r\n"
        #expect(try answer("CLUSTER SLOTS") == slots)
        #expect(try answer("cluster slots", protocolVersion: 3) == slots)
        let slotPart = "$5\r\nslots\r\n*2\r\n:0\r\n:16383\r\n$5\r\nnodes\r\n*1\r\n"
        let node =
            "$2\r\nid\r\n$40\r\n\(id)\r\n$4\r\nport\r\n:6380\r\n$2\r\nip\r\n$8\r\n10.0.0.5\r\n"
            + "$8\r\nendpoint\r\n$8\r\n10.0.0.5\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
            + "$18\r\nreplication-offset\r\n:0\r\n$6\r\nhealth\r\n$6\r\nonline\r\n"
        #expect(try answer("CLUSTER SHARDS") == "*1\r\n*4\r\n\(slotPart)*14\r\n\(node)")
        let map = try answer("CLUSTER SHARDS", protocolVersion: 3)
        #expect(map == "*1\r\n%2\r\n\(slotPart)%7\r\n\(node)")
        let socket = ClusterFace(pool: "main", host: "", port: 0)
        let found = try answer("CLUSTER SLOTS", of: socket)
        #expect(found?.hasPrefix("*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$0\r\n\r\n:0\r\n") == true)
    }

    @Test("NODES and INFO are text")
    func texts() throws {
        let id = try text("CLUSTER MYID")
        let line = "\(id) 10.0.0.5:6380@0 myself,master - 0 0 1 connected 0-16383\n"
        #expect(try answer("CLUSTER NODES") == "$\(line.count)\r\n\(line)\r\n")
        let verbatim = try answer("CLUSTER NODES", protocolVersion: 3)
        #expect(verbatim == "=\(line.count + 4)\r\ntxt:\(line)\r\n")
        let info = try text("CLUSTER INFO")
        #expect(info.hasPrefix("cluster_state:ok\r\ncluster_slots_assigned:16384\r\n"))
        for line in ["slots_ok:16384", "known_nodes:1", "size:1"] {
            #expect(info.split(separator: "\r\n").contains("cluster_\(line)"))
        }
        let broken = try #require(try answer("CLUSTER INFO", isCovered: false))
        #expect(broken.split(separator: "\r\n")[1] == "cluster_state:fail")
    }

    @Test("all else that clients ask")
    func others() throws {
        let id = try text("CLUSTER MYID")
        #expect(try answer("READONLY") == "+OK\r\n")
        #expect(try answer("READWRITE") == "+OK\r\n")
        #expect(try answer("ASKING") == "+OK\r\n")
        #expect(try answer("CLUSTER KEYSLOT foo") == ":12182\r\n")
        #expect(try answer("CLUSTER KEYSLOT {foo}bar") == ":12182\r\n")
        #expect(try answer("CLUSTER LINKS") == "*0\r\n")
        #expect(try answer("CLUSTER REPLICAS \(id)") == "*0\r\n")
        #expect(try answer("CLUSTER SLAVES \(id)") == "*0\r\n")
        #expect(try answer("CLUSTER COUNT-FAILURE-REPORTS \(id)") == ":0\r\n")
        #expect(try answer("CLUSTER REPLICAS abc") == "-ERR Unknown node abc\r\n")
        #expect(try answer("CLUSTER SLAVES \(id)0") == "-ERR Unknown node \(id)0\r\n")
        #expect(try answer("CLUSTER COUNT-FAILURE-REPORTS x") == "-ERR Unknown node x\r\n")
        let help = try #require(try answer("CLUSTER HELP")).split(separator: "\r\n")
        #expect(help[0] == "*\(help.count - 1)")
        #expect(help.dropFirst().allSatisfy { $0.first == "+" })
    }

    @Test("the node of a slot answers for its keys")
    func keys() throws {
        #expect(try answer("CLUSTER COUNTKEYSINSLOT 5") == nil)
        #expect(try answer("CLUSTER GETKEYSINSLOT 5 10") == nil)
        #expect(try slot("CLUSTER COUNTKEYSINSLOT 16383") == 16383)
        #expect(try slot("CLUSTER GETKEYSINSLOT 0 10") == 0)
        for word in ["16384", "-1", "x", "99999999999999999999"] {
            #expect(try slot("CLUSTER COUNTKEYSINSLOT \(word)") == nil)
        }
        #expect(try slot("CLUSTER COUNTKEYSINSLOT") == nil)
        #expect(try slot("CLUSTER KEYSLOT 5") == nil)
        #expect(try answer("GET foo") == nil)
        #expect(try answer("NOSUCH foo") == nil)
    }

    @Test("what would change the cluster is refused")
    func refused() throws {
        let failover = "-ERR CLUSTER FAILOVER is refused by Redpool: send it to the node itself\r\n"
        #expect(try answer("CLUSTER FAILOVER") == failover)
        #expect(try answer("CLUSTER failover FORCE") == failover)
        // Every command of the family has an answer, or is for the node of a slot.
        for command in commands where table.clusterRule(command) == .front {
            let words = try #require(table.info(command)).name.split(separator: "|")
            let reply = try answer(words.joined(separator: " "))
            #expect(reply != nil, "\(words)")
            guard reply?.contains("refused") == true, let last = words.last else { continue }
            let start = "-ERR CLUSTER \(last.uppercased()) is refused"
            #expect(reply?.hasPrefix(start) == true, "\(words)")
        }
    }

    @Test(
        "wrong words get the server's errors",
        arguments: [
            ("CLUSTER", "wrong number of arguments for 'cluster' command"),
            ("CLUSTER SLOTS x", "wrong number of arguments for 'cluster|slots' command"),
            ("CLUSTER KEYSLOT", "wrong number of arguments for 'cluster|keyslot' command"),
            (
                "CLUSTER GETKEYSINSLOT 1",
                "wrong number of arguments for 'cluster|getkeysinslot' command"
            ),
            ("READONLY x", "wrong number of arguments for 'readonly' command"),
            ("CLUSTER NoSuch x", "unknown subcommand 'NoSuch'. Try CLUSTER HELP."),
        ])
    func wrong(command: String, error: String) throws {
        #expect(try answer(command) == "-ERR \(error)\r\n")
    }

    @Test("words in errors are short and have no line breaks")
    func shown() throws {
        let long = String(repeating: "x", count: 5000)
        let shown = String(repeating: "x", count: 128)
        let unknown = try answer("CLUSTER \(long)")
        #expect(unknown == "-ERR unknown subcommand '\(shown)'. Try CLUSTER HELP.\r\n")
        #expect(try answer("CLUSTER REPLICAS a\r\n-b\0c") == "-ERR Unknown node a  -b\r\n")
    }

    @Test("no words trap, and every answer is one reply", arguments: 0..<6)
    func hostile(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let words = ["cluster", "slots", "replicas", "", "5", "\0", "\r\n", "keyslot", "é"]
        for _ in 0..<1000 {
            let command = random.chance(10) ? .unknown : commands[random.below(commands.count)]
            let count = 1 + random.below(5)
            let (bytes, frame) = try framed(
                (0..<count).map { _ in Array(words[random.below(words.count)].utf8) })
            let cut = Array(bytes.prefix(random.below(bytes.count)))
            for bytes in [bytes, random.bytes(bytes.count), cut] {
                _ = ClusterFace.slot(ofCommand: command, bytes.span, frame)
                let reply = face.reply(
                    to: command, bytes.span, frame, protocolVersion: UInt8(random.below(5)),
                    isCovered: random.chance(50))
                guard let reply else { continue }
                var scanner = ReplyScanner()
                #expect(scanner.scan(reply.span, from: 0) == .complete(end: reply.count))
            }
        }
    }
}
