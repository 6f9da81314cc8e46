import Testing

@testable import Config

@Suite struct HintsTests {
    @Test(arguments: [
        ("5min", "5m"), ("5 minutes", "5m"), ("90 sec", "90s"), ("1d", "24h"), ("2weeks", "336h"),
        ("1.5s", "1500ms"), ("0.25h", "15m"), ("1.5m", "90s"), ("10S", "10s"), ("250msec", "250ms"),
        ("0d", "0s"), ("999999999d", nil), ("1.0005s", nil), ("0.5ms", nil), (".5s", nil),
        ("1.s", nil), ("1.2.3s", nil), ("5", nil), ("s", nil), ("", nil), ("5us", nil),
        ("1h30m", nil), ("-5min", nil), ("9999999999s", nil), ("٣s", nil),
    ])
    func durations(text: String, meant: String?) {
        #expect(durationHint(text) == meant.map { " (did you mean \($0)?)" })
    }

    @Test(arguments: [
        ("512k", "512kb"), ("1.5mb", "1536kb"), ("2T", "2048gb"), ("64 KiB", "64kb"),
        ("10 bytes", "10b"), ("0.5kb", "512b"), ("0.001b", nil), ("5x", nil), ("k", nil),
        ("999999999t", nil),
    ])
    func sizes(text: String, meant: String?) {
        #expect(sizeHint(text) == meant.map { " (did you mean \($0)?)" })
    }

    @Test(arguments: [
        ("listen:127.0.0.1:6380", "listen"), ("  upstream:h:1 x: y", "upstream"),
        ("{threads:4}", "threads"), ("pools:x", "pools"),
        ("listen = 127.0.0.1:1", "listen"), ("anything=1", "anything"),
        ("listen: x", nil), ("listen:", nil), ("unix:/path", nil), ("localhost:6380", nil),
        ("redis://h:1", nil), ("# a = b", nil), ("a == b", nil), ("a b = c", nil), ("", nil),
        ("= 3", nil),
    ])
    func brokenPairs(line: String, key: String?) {
        #expect(BrokenPair(line)?.key == key)
    }

    @Test(arguments: [
        ("warn", "warning"), ("warnings", "warning"), ("err", "error"), ("inf", "info"),
        ("de", nil), ("x", nil),
    ])
    func words(word: String, meant: String?) {
        let levels = LogConfig.Level.allCases.map(\.rawValue)
        #expect(didYouMean(word, among: levels) == (meant.map { " (did you mean \($0)?)" } ?? ""))
    }

    @Test func aBeginningThatSeveralHaveIsNoHint() {
        #expect(didYouMean("max", among: ["maxOpen", "maxIdle"]) == "")
    }
}
