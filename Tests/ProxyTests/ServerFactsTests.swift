import Session
import Testing

@testable import Proxy

@Suite("ServerFacts: what a server says of itself")
struct ServerFactsTests {
    @Test(
        "versions",
        arguments: [
            ("6.2.14", true, true, true), ("7.0.15", false, false, true),
            ("7.1", false, false, true), ("7.2.4", false, false, false),
            ("8.0.1", false, false, false), ("10.0.0", false, false, false),
            // What is no version: nothing is taken for granted.
            ("6", false, true, false), ("", false, true, false), ("x.y", false, true, false),
            ("07.2", false, true, false), ("7.-1", false, true, false),
        ])
    func versions(text: String, hasOldWords: Bool, isBefore7: Bool, isBefore72: Bool) {
        var facts = ServerFacts()
        #expect((facts.hasOldWords, facts.isBefore7, facts.isBefore72) == (false, true, false))
        facts.version = utf8(text)
        #expect(facts.hasOldWords == hasOldWords)
        #expect(facts.isBefore7 == isBefore7)
        #expect(facts.isBefore72 == isBefore72)
    }

    @Test(
        "a field of INFO",
        arguments: [
            ("# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\n", "abc"),
            ("run_id:abc\nx:y\n", "abc"), ("run_id:\r\n", ""), ("run_id:a:b\r\n", "a:b"),
            ("xrun_id:abc\r\n", nil), ("run_id\r\n", nil), ("", nil),
            ("x_run_id:1\r\nrun_id:2\r\nrun_id:3\r\n", "2"),
        ])
    func field(text: String, value: String?) {
        #expect(ServerFacts.field("run_id", in: bulk(text)) == value.map(utf8))
    }

    @Test(
        "other replies than a text have no fields",
        arguments: [
            "-ERR run_id:x\r\n", "$-1\r\n", "_\r\n", "+run_id:x\r\n", "",
            "*1\r\n$8\r\nrun_id:x\r\n",
        ])
    func noField(reply: String) {
        #expect(ServerFacts.field("run_id", in: utf8(reply)) == nil)
    }

    @Test("a verbatim text is one as well")
    func verbatim() {
        let text = "txt:# Server\r\nrun_id:abc\r\n"
        #expect(
            ServerFacts.field("run_id", in: utf8("=\(text.utf8.count)\r\n\(text)\r\n"))
                == utf8("abc"))
    }

    @Test(
        "COMMAND INFO has found both names",
        arguments: [
            ("*2\r\n*1\r\n$5\r\nmulti\r\n*2\r\n$4\r\nexec\r\n:1\r\n", true),
            ("*2\r\n*2\r\n$5\r\nmulti\r\n*1\r\n+x\r\n*1\r\n$4\r\nexec\r\n", true),
            ("*2\r\n*1\r\n$5\r\nmulti\r\n*-1\r\n", false), ("*2\r\n*-1\r\n*-1\r\n", false),
            ("*2\r\n$-1\r\n*1\r\n:1\r\n", false), ("*2\r\n*0\r\n*1\r\n:1\r\n", false),
            ("*1\r\n*1\r\n$5\r\nmulti\r\n", false),
            ("*3\r\n*1\r\n:1\r\n*1\r\n:1\r\n*1\r\n:1\r\n", false),
            ("*2\r\n_\r\n*1\r\n:1\r\n", false), ("-NOPERM no\r\n", false), ("*0\r\n", false),
            ("%1\r\n*1\r\n:1\r\n*1\r\n:1\r\n", false), ("", false),
        ])
    func knowsBoth(reply: String, knows: Bool) {
        #expect(ServerFacts.knowsBoth(utf8(reply)) == knows)
    }

    @Test(
        "CONFIG GET timeout",
        arguments: [
            (array(["timeout", "300"]), 300), (array(["timeout", "0"]), 0),
            (utf8("%1\r\n$7\r\ntimeout\r\n$2\r\n10\r\n"), 10),
            (array(["timeout", "2147483647"]), 2_147_483_647),
            (array(["timeout", "2147483648"]), nil), (array(["timeout", "-1"]), nil),
            (array(["timeout", "1.5"]), nil), (array(["timeout"]), nil), (array([]), nil),
            (array(["timeout", "1", "x", "2"]), nil), (utf8("-NOPERM no\r\n"), nil),
        ] as [([UInt8], Int64?)])
    func timeout(reply: [UInt8], seconds: Int64?) {
        #expect(ServerFacts.configValue(in: reply) == seconds)
    }

    @Test(
        "the limit of output is the smaller of two that are not 0",
        arguments: [
            ("normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60", 0),
            ("normal 1000 0 0 slave 1 1 1", 1000), ("normal 0 500 10", 500),
            ("normal 1000 500 10", 500), ("normal 500 1000 10", 500),
            ("slave 1 1 1 normal 5 5 5", 0), ("normal 1000 500", 0), ("", 0),
            ("normal x y 1", 0), ("normal -5 7 1", 7),
            ("normal 9223372036854775807 7 1", 7),
        ])
    func outputLimit(value: String, limit: Int) {
        #expect(
            ServerFacts.outputLimit(in: array(["client-output-buffer-limit", value])) == limit)
    }

    @Test("other replies than a pair of texts name no limit of output")
    func noOutputLimit() {
        for reply in ["-ERR no\r\n", "*0\r\n", "$-1\r\n", ""] {
            #expect(ServerFacts.outputLimit(in: utf8(reply)) == 0)
        }
    }
}

@Suite("Commands that the table does not know, or the pool refuses")
struct NameTests {
    @Test(
        "what the server says of a name",
        arguments: [
            ("*1\r\n*-1\r\n", .stranger), ("*1\r\n_\r\n", .stranger), ("*1\r\n$-1\r\n", .stranger),
            ("*1\r\n*3\r\n$3\r\nfoo\r\n:1\r\n*1\r\n+module\r\n", .module),
            ("*1\r\n*2\r\n$3\r\nfoo\r\n~2\r\n+write\r\n+module\r\n", .module),
            ("*1\r\n*2\r\n$3\r\nfoo\r\n*1\r\n+write\r\n", .renamed),
            ("*1\r\n*2\r\n$3\r\nfoo\r\n*1\r\n+modules\r\n", .renamed),
            ("-NOPERM no\r\n", .unclear), ("*0\r\n", .unclear), ("+OK\r\n", .unclear),
            ("", .unclear),
        ] as [(String, UnknownCommands.Kind)])
    func judge(reply: String, kind: UnknownCommands.Kind) {
        #expect(UnknownCommands.judge(utf8(reply)) == kind)
    }

    @Test("what is known is bounded: with too many all are forgotten")
    func bounded() {
        var names = UnknownCommands()
        #expect(names.kind(of: utf8("foo")) == nil)
        names.learn(utf8("foo"), .module)
        #expect(names.kind(of: utf8("foo")) == .module)
        names.learn(utf8("foo"), .stranger)
        #expect(names.kind(of: utf8("foo")) == .stranger)
        for number in 1..<4096 { names.learn(utf8("name\(number)"), .renamed) }
        #expect(names.kind(of: utf8("foo")) == .stranger)
        names.learn(utf8("one more"), .module)
        #expect(names.kind(of: utf8("foo")) == nil)
        #expect(names.kind(of: utf8("one more")) == .module)
    }

    @Test("of every command of the table: its own name denies it, and its container's")
    func denied() {
        let table = CommandTable()
        let names = ["memory", "script|flush", "get", "no-such", "config|nothing"]
        let list = DenyList(names, table: table)
        defer { list.destroy() }
        var denied: Set<String> = []
        for (row, info) in table.all.enumerated() {
            guard let command = Command(rawValue: UInt16(row)) else { continue }
            if list.refuses(command) { denied.insert(info.name) }
        }
        #expect(!list.refuses(.unknown))
        let expected = table.all.map(\.name).filter {
            ["get", "script|flush", "memory"].contains($0) || $0.hasPrefix("memory|")
        }
        #expect(denied == Set(expected))
        #expect(denied.contains("memory|usage"))
    }

    @Test("names outside the table are denied as they are, or by their container")
    func deniedStrangers() {
        let table = CommandTable()
        let none = DeniedStrangers([], table: table)
        #expect(!none.refuses(utf8("foo")))
        let some = DeniedStrangers(["foo", "client|kill", "client|new", "debug"], table: table)
        let refused = ["foo", "foo|bar", "client|new", "debug", "debug|new"]
        for name in refused { #expect(some.refuses(utf8(name))) }
        // Those in the table are no strangers.
        let others = ["fo", "foobar", "client", "client|kill", "client|other", ""]
        for name in others { #expect(!some.refuses(utf8(name))) }
    }
}
