import RESP
import TestSupport
import Testing

@testable import Session

private let table = CommandTable()

private func utf8(_ text: String) -> [UInt8] { Array(text.utf8) }

private func encoded(_ texts: [String]) -> [UInt8] {
    var bytes: [UInt8] = []
    for text in texts {
        Encode.command(text.split(separator: " ").map { utf8(String($0)) }, into: &bytes)
    }
    return bytes
}

@Suite("CommandRun: plain commands that follow each other")
struct CommandRunTests {
    private let denied = DenyList(["getset"], table: table)

    private func run(_ bytes: [UInt8], from start: Int = 0, most: Int = 1000) -> CommandRun {
        table.run(bytes.span, from: start, limits: CommandLimits(), stopped: denied, most: most)
    }

    @Test("it has all commands, and knows the last one and whether one may write")
    func whole() {
        let reads = encoded(["GET a", "MGET a b c", "STRLEN a"])
        let found = run(reads)
        #expect((found.end, found.count, found.mayWrite) == (reads.count, 3, false))
        #expect(found.last == .strlen)
        #expect(run(encoded(["GET a", "SET a 1", "GET a"])).mayWrite)
        #expect(run([]).count == 0)
        let second = run(reads, from: encoded(["GET a"]).count)
        #expect((second.end, second.count) == (reads.count, 2))
    }

    @Test(
        "it ends before a command that is not plain",
        arguments: [
            "MULTI", "SELECT 1", "BLPOP k 0", "SMEMBERS k", "NOSUCH a", "CLIENT REPLY OFF",
            "GETSET a b", "CLIENT NOSUCH", "EVAL x 0", "SUBSCRIBE a", "AUTH x", "QUIT", "MONITOR",
            "FLUSHALL", "CLIENT ID", "WAIT 0 0", "XREAD BLOCK 0 STREAMS a $", "DEBUG SLEEP 1",
        ])
    func ends(before text: String) {
        let plain = encoded(["GET a", "SET b 1"])
        let found = run(plain + encoded([text, "GET c"]))
        #expect((found.end, found.count) == (plain.count, 2))
    }

    @Test(
        "it ends before what is incomplete, malformed, inline or empty",
        arguments: [
            "*2\r\n$3\r\nGET\r\n$1\r\nk", "*2\r\n$3\r\nGET\r\n$1\r\nkxx", "GET k\r\n", "\r\n",
            "*0\r\n", "*-1\r\n", "*2\r\n:3\r\n", "*x\r\n", "*1\r", "*2\r\n$3\r\nGET\rx$1\r\nk\r\n",
        ])
    func ends(beforeBytes text: String) {
        let plain = encoded(["GET a", "SET b 1"])
        let found = run(plain + utf8(text))
        #expect((found.end, found.count) == (plain.count, 2))
    }

    @Test("it is cut everywhere at the last complete command")
    func everySplit() {
        let texts = ["GET a", "SET key value", "MGET a b", "GET \u{e9}"]
        let bytes = encoded(texts)
        let ends = (0...texts.count).map { encoded(Array(texts[..<$0])).count }
        for cut in 0...bytes.count {
            let found = run(Array(bytes[..<cut]))
            #expect(found.end == ends.last { $0 <= cut })
            #expect(Int(found.count) == ends.lastIndex { $0 <= cut })
        }
    }

    @Test("it ends before a write where writes are to be sent one by one")
    func withoutWrites() {
        let reads = encoded(["GET a", "STRLEN a"])
        let found = table.run(
            (reads + encoded(["SET a 1", "GET a"])).span, from: 0, limits: CommandLimits(),
            stopped: denied, most: 9, hasWrites: false)
        #expect((found.end, found.count, found.mayWrite) == (reads.count, 2, false))
    }

    @Test("it is bounded in commands and in bytes, and by the limits of the client")
    func bounds() {
        let many = encoded(Array(repeating: "GET a", count: 2000))
        #expect(run(many, most: 7).count == 7)
        #expect(run(many, most: 0).count == 0)
        #expect(run(many, most: -3).count == 0)
        #expect(run(many).end < 17 << 10)
        var limits = CommandLimits()
        limits.maxArguments = 2
        let found = table.run(
            encoded(["GET a", "SET a 1"]).span, from: 0, limits: limits, stopped: denied, most: 9)
        #expect(found.count == 1)
    }

    @Test("a name like the one before is judged as if it were alone", arguments: 0..<5)
    func repeated(seed: UInt64) {
        let words = [
            "GET a", "get a", "GETX a", "SET a 1", "set a 1", "GETSET a 1", "OBJECT HELP",
            "OBJECT ENCODING a", "CLIENT ID", "ECHO a", "PING", "PING a", "MEMORY USAGE a",
            "MEMORY DOCTOR", "STRLEN a", "GET", "NOSUCH a", "COMMAND COUNT", "COMMAND",
        ]
        var random = SeededRandom(seed: seed)
        for _ in 0..<10 {
            var texts: [String] = []
            while texts.count < 12 {
                let text = words[random.below(words.count)]
                texts += Array(repeating: text, count: 1 + random.below(3))
            }
            let expected = texts.prefix { run(encoded([$0])).count == 1 }
            let found = run(encoded(texts))
            #expect(Int(found.count) == expected.count, "\(texts)")
            #expect(found.mayWrite == expected.contains { run(encoded([$0])).mayWrite })
            #expect(found.last == (expected.last.map { run(encoded([$0])).last } ?? .unknown))
        }
    }
}

@Suite("KeyedCommands: commands with one key, each with its node")
struct KeyedCommandsTests {
    private let denied = DenyList(["getset"], table: table)

    private func find(
        _ bytes: [UInt8], most: Int = 100, longest: Int = 16_384,
        of nodes: [UInt32] = [0, 64, 255]
    ) -> KeyedCommands {
        let owners = (0..<Slot.count).map { [0, 64, 255, 256][$0 % 4] as UInt16 }
        var taken = NodeSet()
        for node in nodes { taken.insert(node) }
        var found = KeyedCommands(from: 0)
        owners.withUnsafeBufferPointer {
            table.findKeyed(
                bytes.span, limits: CommandLimits(), stopped: denied, most: most,
                longest: longest, owners: $0.baseAddress!, nodes: taken, &found)
        }
        return found
    }

    @Test("each is what it is alone, up to the first other one", arguments: 0..<5)
    func one(seed: UInt64) {
        let words = [
            "GET", "get", "SET", "STRLEN", "MGET", "PING", "GETSET", "NOSUCH", "OBJECT ENCODING",
        ]
        var random = SeededRandom(seed: seed)
        for _ in 0..<10 {
            var texts: [String] = []
            while texts.count < 20 {
                let word = words[random.below(random.chance(8) ? words.count : 4)]
                texts.append("\(word) k\(random.below(100))")
            }
            let alone = texts.map { find(encoded([$0])) }
            let expected = alone.prefix { $0.count == 1 }.prefix(KeyedCommands.most)
            let found = find(encoded(texts))
            #expect(found.count == expected.count, "\(texts)")
            for (index, one) in expected.enumerated() {
                #expect(found.ends[index] == encoded(Array(texts[...index])).count)
                #expect(found.slots[index] == one.slots[0])
                #expect(found.owners[index] == [0, 64, 255, 256][Int(one.slots[0]) % 4])
                #expect(found.commands[index] == one.commands[0])
                #expect(found.mayWrite[index] == one.mayWrite[0])
            }
        }
        #expect(find(encoded(["SET k 1"])).mayWrite[0] && !find(encoded(["GET k"])).mayWrite[0])
    }

    @Test("they are cut everywhere at the last complete one, and at the most that are wanted")
    func bounds() {
        let texts = ["GET b", "SET foo value", "GET c"]
        let bytes = encoded(texts)
        let ends = (0...texts.count).map { encoded(Array(texts[..<$0])).count }
        for cut in 0...bytes.count {
            #expect(find(Array(bytes[..<cut])).count == ends.lastIndex { $0 <= cut })
        }
        for most in -1...3 { #expect(find(bytes, most: most).count == max(0, most)) }
        for longest in 0...bytes.count {
            let expected = ends.firstIndex { $0 >= longest }
            #expect(find(bytes, longest: longest).count == expected, "\(longest)")
        }
        let long = encoded(["SET k " + String(repeating: "x", count: 20_000), "GET k"])
        #expect(find(long).count == 1)
    }

    @Test("they end before one for another node")
    func nodes() {
        // Slots 3300, 7365 and 15495.
        let bytes = encoded(["GET b", "GET c", "GET a"])
        #expect(find(bytes).count == 2)
        #expect(find(bytes, of: [0]).count == 1)
        #expect(find(bytes, of: [64]).count == 0)
        #expect(find(encoded(["GET a"]), of: [256]).count == 0)
        #expect(find(bytes, of: []).count == 0)
    }
}
