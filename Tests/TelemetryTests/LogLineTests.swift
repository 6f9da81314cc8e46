import Logging
import Testing

@testable import Telemetry

/// 2026-01-31T23:59:59.123Z in nanoseconds since 1970.
private let time: Int64 = 1_769_903_999_123_456_789

private func rendered(
    _ format: LogFormat, level: Logger.Level = .warning, message: String = "hello there",
    fields: Logger.Metadata = [:]
) -> String {
    LogLine(level: level, message: message, fields: fields, time: time).rendered(as: format)
}

@Suite struct LogLineTests {
    static let fields: Logger.Metadata = [
        "waiting": "118", "pool": "cache", "count": "1532", "event": "pool.wait_timeout",
    ]

    @Test func logfmt() {
        #expect(
            rendered(.logfmt, fields: LogLineTests.fields)
                == "ts=2026-01-31T23:59:59.123Z level=warning event=pool.wait_timeout "
                + "msg=\"hello there\" pool=cache count=1532 waiting=118\n")
    }

    @Test func journal() {
        #expect(
            rendered(.journal, fields: LogLineTests.fields)
                == "<4>event=pool.wait_timeout msg=\"hello there\" pool=cache count=1532 "
                + "waiting=118\n")
    }

    @Test func text() {
        #expect(
            rendered(.text, fields: LogLineTests.fields)
                == "2026-01-31T23:59:59.123Z warning  hello there event=pool.wait_timeout "
                + "pool=cache count=1532 waiting=118\n")
    }

    @Test func linesWithoutFields() {
        #expect(rendered(.journal) == "<4>msg=\"hello there\"\n")
        #expect(
            rendered(.logfmt) == "ts=2026-01-31T23:59:59.123Z level=warning msg=\"hello there\"\n")
        #expect(rendered(.text) == "2026-01-31T23:59:59.123Z warning  hello there\n")
    }

    @Test(arguments: [
        (Logger.Level.trace, 7), (.debug, 7), (.info, 6), (.notice, 5), (.warning, 4), (.error, 3),
        (.critical, 2),
    ])
    func priorities(level: Logger.Level, priority: Int) {
        #expect(rendered(.journal, level: level, message: "x") == "<\(priority)>msg=\"x\"\n")
    }

    @Test(arguments: [
        ("", "\"\""), ("a b", "\"a b\""), ("127.0.0.1:6380", "127.0.0.1:6380"),
        ("[::1]:6380", "[::1]:6380"), ("a=b", "\"a=b\""), ("say \"x\"", #""say \"x\"""#),
        (#"a\b"#, #""a\\b""#), ("a\nb\r\t", #""a\nb\r\t""#), ("\u{1B}[31m", #""\u{1b}[31m""#),
        ("a\u{2028}b", #""a\u{2028}b""#), ("a\u{202E}b", #""a\u{202e}b""#), ("é", "\"é\""),
        ("a\u{85}b", #""a\u{85}b""#), ("\u{0}", #""\u{0}""#),
    ])
    func values(value: String, shown: String) {
        #expect(
            rendered(.journal, message: "m", fields: ["k": .string(value)])
                == "<4>msg=\"m\" k=\(shown)\n")
    }

    @Test func messagesStayOnOneLine() {
        for format in LogFormat.allCases {
            let line = rendered(format, message: "a\nts=0 level=info\r\u{2028}<3>x")
            #expect(line.unicodeScalars.filter { $0 == "\n" }.count == 1)
            #expect(line.hasSuffix("\n"))
            #expect(
                !line.unicodeScalars.contains("\r") && !line.unicodeScalars.contains("\u{2028}"))
        }
        #expect(rendered(.journal, message: ">\n") == "<4>msg=\">\\n\"\n")
    }

    @Test func keysCannotForgeFields() {
        #expect(
            rendered(.journal, message: "m", fields: ["a b=\n": "c"]) == "<4>msg=\"m\" a_b__=c\n")
    }

    @Test func secretsAreMasked() {
        let line = rendered(.logfmt, fields: ["password": "hunter2", "Token": "hunter2"])
        #expect(!line.contains("hunter2"))
        #expect(line.contains("password=***"))
    }

    @Test func nestedValuesAreStable() {
        let value: Logger.MetadataValue = ["b": ["1", "2"], "a": .stringConvertible(3)]
        #expect(
            rendered(.journal, message: "m", fields: ["k": value])
                == "<4>msg=\"m\" k=\"{a: 3, b: [1, 2]}\"\n")
    }

    @Test(arguments: ["x", "é", "😀"])
    func longLinesAreCut(_ character: String) {
        for extra in 0..<4 {
            let message =
                String(repeating: "y", count: extra) + String(repeating: character, count: 5000)
            let line = rendered(.journal, message: message)
            #expect((LogSink.lineLimit - 3...LogSink.lineLimit).contains(line.utf8.count))
            #expect(line.hasSuffix(character + "...\n"))
        }
    }

    @Test(arguments: [
        (Int64(0), "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (951_782_400_000_000_000, "2000-02-29T00:00:00.000Z"),
        (1_772_323_199_999_999_999, "2026-02-28T23:59:59.999Z"),
        (1_772_323_200_000_000_000, "2026-03-01T00:00:00.000Z"),
        (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000Z"),
        (1_798_761_599_000_000_000, "2026-12-31T23:59:59.000Z"),
        (Int64.max, "2262-04-11T23:47:16.854Z"), (Int64.min, "1677-09-21T00:12:43.145Z"),
    ])
    func times(nanoseconds: Int64, text: String) {
        #expect(formatTime(nanoseconds) == text)
    }
}
