import RESP
import Session
import TestSupport
import Testing

private func words(_ text: String) -> [[UInt8]] {
    text.split(separator: " ", omittingEmptySubsequences: false).map { Array($0.utf8) }
}

private func scan(_ text: String) throws -> ScanCommand? {
    let (bytes, frame) = try framed(words(text))
    return try ScanCommand(bytes.span, frame)
}

private func encoded(_ text: String) -> [UInt8] {
    var bytes: [UInt8] = []
    Encode.command(words(text), into: &bytes)
    return bytes
}

private func replaced(_ reply: String, node: Int = 3, nodes: [Int] = [7, 0, 3]) -> String? {
    ScanCursor.replacing(in: Array(reply.utf8), node: node, nodes: nodes).map {
        String(decoding: $0, as: UTF8.self)
    }
}

@Suite("SCAN over several servers")
struct ScanCommandTests {
    @Test("the node and the server's own cursor; all other words as they are")
    func commands() throws {
        let first = try #require(try scan("SCAN 0"))
        #expect(first.node == 0)
        #expect(first.command == encoded("SCAN 0"))
        let later = try #require(try scan("scan \(17 * 4096 + 5) MATCH a* count 10 "))
        #expect(later.node == 5)
        #expect(later.command == encoded("scan 17 MATCH a* count 10 "))
        let last = try #require(try scan("SCAN \(Int64.max)"))
        #expect(last.node == 4095)
        #expect(last.command == encoded("SCAN \(ScanCursor.limit - 1)"))
    }

    @Test(
        "a cursor that is none is another case than no cursor",
        arguments: ["", "x", "-1", "01", "+1", "9223372036854775808", "000000000000000000000"])
    func invalid(cursor: String) throws {
        #expect(throws: ScanCommand.InvalidCursor.self) { try scan("SCAN \(cursor)") }
        #expect(try scan("SCAN") == nil)
        #expect(ScanCommand.invalidCursor == Array("-ERR invalid cursor\r\n".utf8))
    }

    @Test("the cursor in a reply says where to go on")
    func replies() {
        let keys = "*2\r\n$1\r\na\r\n$0\r\n\r\n"
        #expect(replaced("*2\r\n$2\r\n17\r\n\(keys)") == "*2\r\n$5\r\n69635\r\n\(keys)")
        #expect(replaced("*2\r\n$1\r\n0\r\n\(keys)") == "*2\r\n$1\r\n7\r\n\(keys)")
        #expect(replaced("*2\r\n$1\r\n0\r\n*0\r\n", node: 7) == "*2\r\n$1\r\n0\r\n*0\r\n")
        #expect(replaced("*2\r\n$1\r\n0\r\n~0\r\n", nodes: []) == "*2\r\n$1\r\n0\r\n~0\r\n")
    }

    @Test("errors pass; cursors that do not fit are an error")
    func errors() {
        #expect(replaced("-LOADING x\r\n") == "-LOADING x\r\n")
        #expect(replaced("!5\r\nERR x\r\n") == "!5\r\nERR x\r\n")
        for cursor in ["\(ScanCursor.limit)", "18446744073709551615"] {
            let reply = replaced("*2\r\n$\(cursor.count)\r\n\(cursor)\r\n*0\r\n")
            #expect(reply == "-ERR invalid cursor\r\n")
        }
    }

    @Test(
        "a reply of another kind is none",
        arguments: [
            "", "+OK\r\n", ":0\r\n", "*0\r\n", "*-1\r\n", "*2\r\n:0\r\n*0\r\n", "-ERR",
            "*2\r\n$1\r\n0\r\n", "*2\r\n$1\r\n0\r\n*1\r\n", "*2\r\n$1\r\n0\r\n*-1\r\n",
            "*2\r\n$1\r\n0\r\n*1\r\n:1\r\n", "*2\r\n$1\r\n0\r\n*1\r\n$-1\r\n",
            "*2\r\n$1\r\n0\r\n*1\r\n*1\r\n$1\r\na\r\n", "*2\r\n$-1\r\n*0\r\n",
            "*2\r\n$0\r\n\r\n*0\r\n", "*2\r\n$2\r\n-1\r\n*0\r\n", "*2\r\n$1\r\nx\r\n*0\r\n",
            "*2\r\n$1\r\n0\r\n*0\r\n*0\r\n", "*3\r\n$1\r\n0\r\n*0\r\n*0\r\n",
            "*2\r\n$1\r\n0\r\n*2147483647\r\n", "-A\r\n-B\r\n", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r9",
        ])
    func strange(reply: String) {
        #expect(replaced(reply) == nil)
    }

    /// Servers whose tables have a bucket for each cursor, and a client that follows the cursors.
    @Test("a client gets every key of every node once, also if a node goes", arguments: 0..<20)
    func course(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var nodes = Array(Set((0..<(1 + random.below(6))).map { _ in random.below(4096) }))
        let sizes = Dictionary(uniqueKeysWithValues: nodes.map { ($0, 1 + random.below(9)) })
        let gone = random.chance(50) ? nodes.max() : nil
        var cursor = "0"
        var seen: [String] = []
        for _ in 0..<1000 {
            let command = try #require(try scan("SCAN \(cursor) COUNT 1"))
            var node = command.node
            // The first cursor is for no node in particular; one that is gone is skipped.
            if sizes[node] == nil { node = try #require(nodes.filter { $0 >= node }.min()) }
            let size = try #require(sizes[node])
            let text = String(decoding: command.command, as: UTF8.self)
            let own = try #require(Int(text.split(separator: "\r\n")[4]))
            seen.append("\(node):\(own)")
            let next = own + 1 == size ? "0" : "\(own + 1)"
            let reply = "*2\r\n$\(next.count)\r\n\(next)\r\n*1\r\n$1\r\nk\r\n"
            if let gone, gone != node { nodes.removeAll { $0 == gone } }
            let answer = try #require(replaced(reply, node: node, nodes: nodes))
            cursor = String(answer.split(separator: "\r\n")[2])
            if cursor == "0" { break }
        }
        let all = nodes.sorted().flatMap { node in (0..<sizes[node]!).map { "\(node):\($0)" } }
        #expect(cursor == "0")
        #expect(seen == all)
    }

    @Test("no words and no replies trap", arguments: 0..<6)
    func hostile(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let pieces = [
            "*2\r\n", "*1\r\n", "*0\r\n", "~0\r\n", "$1\r\n0\r\n", "$-1\r\n", ":1\r\n", "%1\r\n",
            "|1\r\n", "$16\r\n2251799813685247\r\n", "*2147483647\r\n", "-E\r\n", "*", "\r\n",
        ]
        for _ in 0..<2000 {
            let reply = (0..<random.below(7)).map { _ in pieces[random.below(pieces.count)] }
            _ = replaced(reply.joined(), node: random.below(5000) - 10, nodes: [0, 4096, -1])
            let (bytes, frame) = try framed(words("SCAN \(random.next()) x"))
            _ = try? ScanCommand(bytes.span, frame)
            let other = random.bytes(bytes.count)
            _ = try? ScanCommand(other.span, frame)
            _ = try? ScanCommand(Array(bytes.prefix(random.below(bytes.count))).span, frame)
        }
    }
}
