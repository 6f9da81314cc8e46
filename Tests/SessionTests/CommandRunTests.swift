import RESP
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
}
