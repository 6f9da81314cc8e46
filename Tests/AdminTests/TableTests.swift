import RESP
import Testing

@testable import Admin

/// A table rendered to its end, in slices of so many rows.
func rendered(_ table: Table, as form: TableRenderer.Form, rowsAtOnce: Int = .max) -> String {
    var renderer = TableRenderer(table, as: form)
    while true {
        var rows = 0
        let bytes = renderer.work(until: {
            rows += 1
            return rows >= rowsAtOnce
        })
        if let bytes { return String(decoding: bytes, as: UTF8.self) }
    }
}

@Suite("Tables: their three forms")
struct TableTests {
    private let table = Table(
        ["id", "name", "note"],
        [
            [.number(7), .text("a"), .absent], [.number(1234), .text("long name"), .text("x\"y")],
        ])

    @Test("in RESP2 an array of simple strings, the header first, columns aligned")
    func lines() {
        let expected =
            "*3\r\n+  id  name       note\r\n+   7  a          -\r\n+1234  long name  x\"y\r\n"
        #expect(rendered(table, as: .lines(.resp2)) == expected)
    }

    @Test("in RESP3 the same lines as one verbatim string")
    func verbatim() {
        let text = "  id  name       note\n   7  a          -\n1234  long name  x\"y"
        #expect(
            rendered(table, as: .lines(.resp3)) == "=\(text.utf8.count + 4)\r\ntxt:\(text)\r\n")
    }

    @Test("in JSON an array of objects, keys are the columns, and what is absent is null")
    func json() {
        let text =
            "[{\"id\": 7, \"name\": \"a\", \"note\": null},\n"
            + " {\"id\": 1234, \"name\": \"long name\", \"note\": \"x\\\"y\"}]"
        #expect(rendered(table, as: .json) == "$\(text.utf8.count)\r\n\(text)\r\n")
    }

    @Test("without rows there is the header, or an empty array")
    func empty() {
        let empty = Table(["id", "name"], [])
        #expect(rendered(empty, as: .lines(.resp2)) == "*1\r\n+id  name\r\n")
        #expect(rendered(empty, as: .lines(.resp3)) == "=12\r\ntxt:id  name\r\n")
        #expect(rendered(empty, as: .json) == "$2\r\n[]\r\n")
    }

    @Test(
        "it can be interrupted behind any row",
        arguments: [TableRenderer.Form.lines(.resp2), .lines(.resp3), .json])
    func slices(form: TableRenderer.Form) {
        for size in 1...3 {
            #expect(rendered(table, as: form, rowsAtOnce: size) == rendered(table, as: form))
        }
        var made: [Int] = []
        let long = Table(["n"], count: 100) { row in
            made.append(row)
            return [.number(Int64(row))]
        }
        var renderer = TableRenderer(long, as: form)
        #expect(renderer.work(until: { made.count == 10 }) == nil)
        #expect(made == Array(0..<10))
    }

    @Test(
        "text of clients breaks neither a line, nor a table, nor a terminal",
        arguments: [
            ("plain", "plain"), ("a\r\nb", "a??b"), ("\u{1B}[31m", "?[31m"), ("  a   b ", "a b"),
            ("caf\u{e9}", "caf\u{e9}"), ("a\u{202E}b", "a?b"), ("\u{7F}", "?"), ("", ""),
        ])
    func plain(given: String, shown: String) {
        #expect(PlainText.of(Array(given.utf8)) == shown)
    }

    @Test("what is not UTF-8 is shown all the same, and what is long is cut")
    func odd() {
        #expect(PlainText.of([0xFF, 0x61]) == "\u{FFFD}a")
        let long = [UInt8](repeating: UInt8(ascii: "x"), count: 1_000_000)
        #expect(PlainText.of(long) == String(repeating: "x", count: 64) + "...")
    }

    @Test("JSON escapes what it must")
    func escapes() {
        var bytes: [UInt8] = []
        JSON.append("a\"b\\c\n\u{1}\u{7F}\u{e9}", to: &bytes)
        #expect(
            String(decoding: bytes, as: UTF8.self)
                == "\"a\\\"b\\\\c\\u000a\\u0001\\u007f\u{e9}\"")
    }
}
