import RESP
import Testing

@Suite("reply cursor")
struct ReplyCursorTests {
    /// Items as text: indented by depth, type, payload or number.
    private static func outline(_ text: String, from start: Int = 0) -> (lines: [String], end: Int)
    {
        let bytes = utf8(text)
        var cursor = ReplyCursor(from: start)
        var lines: [String] = []
        while let item = cursor.next(bytes.span) {
            let payload = String(
                decoding: copy(bytes.span, item.start, item.length), as: UTF8.self)
            let isText = "+-$=!,(#".utf8.contains(item.type)
            lines.append(
                String(repeating: ".", count: item.depth)
                    + String(Unicode.Scalar(item.type))
                    + (item.isNull ? "null" : isText ? payload : "\(item.value)"))
        }
        return (lines, cursor.position)
    }

    @Test("a RESP3 HELLO is walked in order, with depths")
    func hello() {
        let text = "%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$2\r\nid\r\n:7\r\n$7\r\nmodules\r\n*0\r\n"
        let (lines, end) = Self.outline(text + "+OK\r\n")
        #expect(
            lines == ["%3", ".$server", ".$redis", ".$id", ".:7", ".$modules", ".*0"])
        #expect(end == text.utf8.count)
    }

    @Test("every type has its payload or its number")
    func types() {
        let text =
            "*12\r\n+a\r\n-ERR b\r\n:-5\r\n_\r\n#t\r\n,1.5\r\n(99\r\n$-1\r\n*-1\r\n!3\r\nbad\r\n"
            + "=7\r\ntxt:xyz\r\n~1\r\n*1\r\n$0\r\n\r\n"
        let (lines, end) = Self.outline(text)
        #expect(
            lines == [
                "*12", ".+a", ".-ERR b", ".:-5", "._null", ".#t", ".,1.5", ".(99", ".$null",
                ".*null", ".!bad", ".=xyz", ".~1", "..*1", "...$",
            ])
        #expect(end == text.utf8.count)
    }

    @Test("attributes and pushes are walked but are not elements")
    func outOfBand() {
        let text = "|1\r\n+k\r\n:1\r\n*2\r\n>1\r\n+p\r\n:2\r\n|1\r\n+k\r\n:3\r\n:4\r\n"
        let (lines, end) = Self.outline(text + ":9\r\n")
        #expect(
            lines == ["|1", ".+k", ".:1", "*2", ".>1", "..+p", ".:2", ".|1", "..+k", "..:3", ".:4"])
        #expect(end == text.utf8.count)
    }

    @Test("lines of MONITOR among elements are items, but no elements")
    func passedLines() {
        let bytes = utf8(
            "*2\r\n+1.5 [0 a] \"A\"\r\n+OK\r\n+1.6 [0 a] \"B\"\r\n*1\r\n+2\r\n+3\r\n:4\r\n")
        var cursor = ReplyCursor(from: 0, passesLines: true)
        var passed: [Bool] = []
        while let item = cursor.next(bytes.span) { passed.append(item.isPassedLine) }
        #expect(passed == [false, true, false, true, false, true, true, false])
        #expect(cursor.position == bytes.count)
    }

    @Test("a minus one is a number, not a null")
    func minusOne() {
        #expect(Self.outline(":-1\r\n").lines == [":-1"])
    }

    @Test(
        "bytes that are not a whole reply end the walk",
        arguments: ["", "x\r\n", "+OK", "$3\r\nab", "$x\r\n", "*-2\r\n", ":\r\n", "=-5\r\n"])
    func broken(text: String) {
        #expect(Self.outline(text).lines.isEmpty)
    }

    @Test("the walk ends where the scanner ends", arguments: 0..<UInt64(200))
    func agreesWithScanner(seed: UInt64) {
        var maker = ReplyMaker(seed: seed)
        var bytes = utf8("+x\r\n")
        maker.reply(depth: 0, into: &bytes)
        let end = bytes.count
        bytes += utf8("+OK\r\n")
        var cursor = ReplyCursor(from: 4)
        var items = 0
        while cursor.next(bytes.span) != nil { items += 1 }
        #expect(items > 0)
        #expect(cursor.position == end)
    }

    @Test("an item's payload is compared with text")
    func matches() throws {
        let bytes = utf8("*2\r\n$7\r\nmessage\r\n+OK\r\n")
        var cursor = ReplyCursor(from: 0)
        _ = cursor.next(bytes.span)
        let next = cursor.next(bytes.span)
        let item = try #require(next)
        let matches = (["message", "massage", "messag"] as [StaticString]).map {
            item.matches($0, in: bytes.span)
        }
        #expect(matches == [true, false, false])
    }
}
