import RESP
import Session
import TestSupport
import Testing

private let table = CommandTable()

private func split(_ words: [[UInt8]], includesMSET: Bool = true) throws -> Split? {
    let (bytes, frame) = try framed(words)
    let command = table.find(bytes.span, frame)
    return Split(command, bytes.span, frame, includesMSET: includesMSET)
}

private func split(_ text: String, includesMSET: Bool = true) throws -> Split? {
    try split(text.split(separator: " ").map { Array($0.utf8) }, includesMSET: includesMSET)
}

/// The words of a command that a part is sent as.
private func words(_ command: [UInt8]) throws -> [[UInt8]] {
    var scanner = CommandScanner()
    let scan = scanner.scan(command.span, frameStart: 0, limits: CommandLimits())
    guard case .command(let frame) = scan, frame.end == command.count else { return [] }
    var arguments = CommandArguments(command.span, frame: frame)
    var found: [[UInt8]] = []
    while let place = arguments.next(command.span) {
        found.append(Array(command[place.start..<(place.start + place.length)]))
    }
    return found
}

private func text(_ bytes: [UInt8]?) -> String? {
    bytes.map { String(decoding: $0, as: UTF8.self) }
}

/// What a part is sent as.
private func command(_ part: Int, of split: Split) -> [UInt8] {
    Array(split.commands[split.parts[part].range])
}

private func bytes(_ texts: String...) -> [[UInt8]] { texts.map { Array($0.utf8) } }

extension Split {
    fileprivate func merged(_ replies: [[UInt8]], pool: String, name: String) -> [UInt8]? {
        var ends: [Int] = []
        for reply in replies { ends.append((ends.last ?? 0) + reply.count) }
        return merged(replies.flatMap(\.self), ends: ends, pool: pool, name: name)
    }
}

@Suite("Commands whose keys are in several slots")
struct SplitTests {
    @Test("parts have one slot each, in the order of their first keys")
    func parts() throws {
        let found = try #require(try split("mget foo bar foo {bar}2"))
        #expect(found.parts.map(\.slot) == [12182, 5061])
        #expect(found.partOfKey == [0, 1, 0, 1])
        #expect(text(command(0, of: found)) == "*3\r\n$4\r\nmget\r\n$3\r\nfoo\r\n$3\r\nfoo\r\n")
        #expect(try split("DEL foo {foo}2")?.parts.count == 1)
    }

    @Test("a value goes with its key")
    func values() throws {
        let found = try #require(try split("MSET foo 1 bar 2 foo 3"))
        #expect(try words(command(0, of: found)) == bytes("MSET", "foo", "1", "foo", "3"))
        #expect(try words(command(1, of: found)) == bytes("MSET", "bar", "2"))
        #expect(try split("MSET foo 1 bar") == nil)
        #expect(try split("MSET foo 1 bar 2", includesMSET: false) == nil)
    }

    @Test(
        "commands that are not split, and those without keys",
        arguments: ["MSETNX foo 1 bar 2", "GET foo", "MGET", "DEL", "SUNION foo bar", "NOSUCH foo"])
    func none(command: String) throws {
        #expect(try split(command) == nil)
    }

    @Test("MGET: elements in the order of the keys, of RESP2 and RESP3")
    func elements() throws {
        let found = try #require(try split("MGET foo bar foo baz"))
        #expect(found.partOfKey == [0, 1, 0, 2])
        let replies = bytes("*2\r\n$1\r\na\r\n$-1\r\n", "*1\r\n_\r\n", "*1\r\n$0\r\n\r\n")
        let merged = found.merged(replies, pool: "p", name: "MGET")
        #expect(text(merged) == "*4\r\n$1\r\na\r\n_\r\n$-1\r\n$0\r\n\r\n")
    }

    @Test("counts are added up")
    func counts() throws {
        let found = try #require(try split("EXISTS foo bar foo"))
        #expect(
            text(found.merged(bytes(":2\r\n", ":0\r\n"), pool: "p", name: "EXISTS")) == ":2\r\n")
        let removed = try #require(try split("UNLINK foo bar"))
        let merged = removed.merged(bytes(":1\r\n", ":1\r\n"), pool: "p", name: "UNLINK")
        #expect(text(merged) == ":2\r\n")
        let set = try #require(try split("MSET foo 1 bar 2"))
        #expect(text(set.merged(bytes("+OK\r\n", "+OK\r\n"), pool: "p", name: "MSET")) == "+OK\r\n")
    }

    @Test(
        "the first error in the order of the keys is the answer; where data has changed it says so")
    func errors() throws {
        let replies = bytes("*1\r\n$1\r\na\r\n", "-LOADING b\r\n", "-OTHER c\r\n")
        let read = try #require(try split("MGET foo bar baz"))
        #expect(text(read.merged(replies, pool: "p", name: "MGET")) == "-LOADING b\r\n")
        let removed = try #require(try split("DEL foo bar baz"))
        let some = removed.merged(
            bytes(":1\r\n", "-LOADING b\r\n", ":0\r\n"), pool: "main", name: "DEL")
        #expect(text(some) == "-PARTIAL pool main: DEL ran for 2 of 3 slots: LOADING b\r\n")
        let none = removed.merged(
            bytes("-LOADING a\r\n", "-LOADING b\r\n", "-X c\r\n"), pool: "main", name: "DEL")
        #expect(text(none) == "-LOADING a\r\n")
        let bulk = removed.merged(
            bytes(":1\r\n", "!5\r\nX\r\n-Y\r\n", ":0\r\n"), pool: "main", name: "DEL")
        #expect(text(bulk) == "-PARTIAL pool main: DEL ran for 2 of 3 slots: X  -Y\r\n")
    }

    @Test(
        "a reply of another kind is none",
        arguments: [
            "*1\r\n$1\r\na\r\n", "*3\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n", "*-1\r\n", ":1\r\n",
            "+OK\r\n", "$1\r\na\r\n", "*2\r\n$1\r\na\r\n*0\r\n", "*2\r\n$1\r\na\r\n", "",
            "*2\r\n:1\r\n:2\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n+OK\r\n", "*2147483647\r\n",
            "|1\r\n$1\r\na\r\n$1\r\nb\r\n*2\r\n$1\r\na\r\n$1\r\na\r\n",
        ])
    func strange(reply: String) throws {
        let read = try #require(try split("MGET foo foo bar"))
        let replies = bytes(reply, "*1\r\n$-1\r\n")
        #expect(read.merged(replies, pool: "p", name: "MGET") == nil)
        #expect(read.merged(bytes(reply), pool: "p", name: "MGET") == nil)
    }

    @Test("a count beyond the keys, below 0 or with more behind it is none")
    func strangeCounts() throws {
        let count = try #require(try split("EXISTS foo foo bar"))
        for reply in [":3\r\n", ":-1\r\n", ":9223372036854775807\r\n", ":1\r\n:1\r\n", "+OK\r\n"] {
            #expect(count.merged(bytes(reply, ":1\r\n"), pool: "p", name: "EXISTS") == nil)
        }
        let set = try #require(try split("MSET foo 1 bar 2"))
        #expect(set.merged(bytes("+OK\r\n", ":1\r\n"), pool: "p", name: "MSET") == nil)
    }

    /// A server that has all keys, and servers that have those of a slot each.
    @Test("whatever keys there are, the answer is that of one server", arguments: 0..<10)
    func oneServer(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var data: [[UInt8]: [UInt8]] = [:]
        for _ in 0..<200 {
            // Also of more parts than are looked through one by one.
            let most = random.chance(10) ? 60 : 12
            let keys = (0..<(1 + random.below(most))).map { _ -> [UInt8] in
                let tag = random.chance(30) ? "{t}" : ""
                return Array("\(tag)\(random.below(most))".utf8)
            }
            let name = ["MGET", "EXISTS", "DEL", "MSET"][random.below(4)]
            var command = [Array(name.utf8)]
            for key in keys {
                command.append(key)
                if name == "MSET" { command.append(random.bytes(random.below(40))) }
            }
            let found = try #require(try split(command))
            var alone = data
            let expected = answer(command, &alone)
            let replies = try found.parts.map { part in
                let sent = try words(Array(found.commands[part.range]))
                for key in stride(from: 1, to: sent.count, by: name == "MSET" ? 2 : 1) {
                    let word = sent[key]
                    let slot = Slot.of(word.span, start: 0, length: word.count)
                    #expect(slot == part.slot)
                }
                return answer(sent, &data)
            }
            #expect(found.merged(replies, pool: "p", name: name) == expected)
            #expect(data == alone)
        }
    }

    private func answer(_ words: [[UInt8]], _ data: inout [[UInt8]: [UInt8]]) -> [UInt8] {
        var output: [UInt8] = []
        let keys = words.dropFirst()
        switch String(decoding: words[0], as: UTF8.self) {
        case "MGET":
            Encode.arrayHeader(keys.count, into: &output)
            for key in keys {
                if let value = data[key] {
                    Encode.bulk(value, into: &output)
                } else {
                    Encode.null(.resp2, into: &output)
                }
            }
        case "EXISTS": Encode.integer(Int64(keys.count { data[$0] != nil }), into: &output)
        case "DEL":
            Encode.integer(
                Int64(keys.count { data.removeValue(forKey: $0) != nil }), into: &output)
        default:
            for index in stride(from: 1, to: words.count, by: 2) {
                data[words[index]] = words[index + 1]
            }
            Encode.simpleString("OK", into: &output)
        }
        return output
    }
}

@Suite("The cursor of a SCAN over several servers")
struct ScanCursorTests {
    @Test("what a client gets says which server goes on, and where")
    func rounds() throws {
        var random = SeededRandom(seed: 1)
        for _ in 0..<2000 {
            let server = Int64(random.next() % UInt64(ScanCursor.limit))
            let node = random.below(ScanCursor.mostNodes)
            let cursor = try #require(ScanCursor(server: server, node: node))
            #expect(ScanCursor(cursor.text) == cursor)
        }
        #expect(ScanCursor(Array("0".utf8)) == ScanCursor(server: 0, node: 0))
        #expect(ScanCursor(Array("4097".utf8)) == ScanCursor(server: 1, node: 1))
    }

    @Test(
        "what is no cursor",
        arguments: ["", "-1", "x", "01", "1x", "9223372036854775808", "18446744073709551615"])
    func invalid(text: String) {
        #expect(ScanCursor(Array(text.utf8)) == nil)
        #expect(ScanCursor(reply: Array(text.utf8), node: 1) == nil)
    }

    @Test("cursors of servers that do not fit are none")
    func bounds() {
        #expect(ScanCursor(Array("\(Int64.max)".utf8))?.server == ScanCursor.limit - 1)
        #expect(ScanCursor(reply: Array("\(ScanCursor.limit)".utf8), node: 0) == nil)
        #expect(ScanCursor(server: 0, node: 4096) == nil)
        #expect(ScanCursor(server: -1, node: 0) == nil)
    }

    @Test("every server is asked once, and one that is gone is skipped")
    func course() throws {
        var cursor: ScanCursor? = ScanCursor(server: 0, node: 0)
        var asked: [Int] = []
        while let now = cursor {
            asked.append(now.node)
            let reply = try #require(ScanCursor(reply: Array("0".utf8), node: now.node))
            cursor = reply.next(of: [7, 0, 3].filter { $0 != 3 || asked.count > 1 })
        }
        #expect(asked == [0, 7])
        let middle = try #require(ScanCursor(reply: Array("17".utf8), node: 3))
        #expect(middle.next(of: [0, 3, 7]) == middle)
    }
}
