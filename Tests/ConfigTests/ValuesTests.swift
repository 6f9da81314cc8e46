import Testing

@testable import Config

@Suite struct ValuesTests {
    @Test(arguments: [
        ("0s", 0), ("0ms", 0), ("1ms", 1), ("800ms", 800), ("1s", 1000), ("90s", 90_000),
        ("1m30s", 90_000), ("1h30m", 5_400_000), ("1h2m3s4ms", 3_723_004),
    ])
    func durations(text: String, milliseconds: Int64) throws {
        #expect(try parseDuration(text) == milliseconds * 1_000_000)
    }

    @Test(arguments: ["", "s", "1", "1 s", " 1s", "1s ", "1S", "1d", "1s1s", "1ms1s", "1s2", "+1s"])
    func notDurations(_ text: String) {
        #expect(throws: ValueProblem.self) { try parseDuration(text) }
    }

    @Test func formattedDurationsReadBack() throws {
        var generator = SplitMix(state: 1)
        for _ in 0..<1000 {
            let time = Int64.random(in: 0...10_000_000, using: &generator) * 1_000_000
            #expect(try parseDuration(formatDuration(time)) == time)
        }
        #expect(formatDuration(90_000_000_000) == "90s")
        #expect(formatDuration(3_600_000_000_000) == "1h")
    }

    @Test(arguments: [
        ("64kb", 65_536), ("64KB", 65_536), ("64kib", 65_536), ("1b", 1), ("2mb", 2_097_152),
        ("1gb", 1_073_741_824), ("1GiB", 1_073_741_824), ("0b", 0),
        ("99999999999gb", Int.max),
    ])
    func sizes(text: String, bytes: Int) throws {
        #expect(try parseSize(text) == bytes)
    }

    @Test(arguments: ["", "kb", "1", "1k", "1 kb", "1.5kb", "1tb", "kb1", "-1kb"])
    func notSizes(_ text: String) {
        #expect(throws: ValueProblem.self) { try parseSize(text) }
    }

    @Test(arguments: [
        ("SYNC", "sync"), ("Script Debug", "script|debug"), ("MODULE|LOADEX", "module|loadex"),
        ("JSON.SET", "json.set"), ("restore-asking", "restore-asking"), ("_x 9", "_x|9"),
        (
            "abcdefghijklmnopqrstuvwx ABCDEFGHIJKLMNOPQRSTUVWX",
            "abcdefghijklmnopqrstuvwx|abcdefghijklmnopqrstuvwx"
        ),
    ])
    func commands(text: String, name: String) throws {
        #expect(try parseCommand(text) == name)
        #expect(try parseCommand(Element.command(name).text) == name)
    }

    @Test(arguments: [
        "", " ", "|", "a ", " a", "a  b", "a||b", "a| b", "a b c", "a|b|c", "a\tb", "a,b", "a*",
        "é", "a\u{301}", "\u{212A}ELVIN", "a:b", "abcdefghijklmnopqrstuvwxy",
        "a abcdefghijklmnopqrstuvwxy",
    ])
    func notCommands(_ text: String) {
        #expect(throws: ValueProblem.self) { try parseCommand(text) }
    }

    @Test(arguments: [
        ("::", "::"), ("::1", "::1"), ("1::", "1::"), ("0:0:0:0:0:0:0:1", "::1"),
        ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        ("1:0:3:4:5:6:7:8", "1:0:3:4:5:6:7:8"), ("::ffff:1.2.3.4", "::ffff:102:304"),
        ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"), ("1::0:3", "1::3"),
        ("0:0:3:0:0:0:7:8", "0:0:3::7:8"), ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
    ])
    func addressesOfVersion6(text: String, canonical: String) {
        #expect(canonicalIPv6(text) == canonical)
        #expect(canonicalIPv6(canonical) == canonical)
    }

    @Test(arguments: [
        "", ":", ":::", "1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "::1::", "12345::", "g::",
        "1.2.3.4", "1.2.3.4::", "::1.2.3", "::1.2.3.4:5", ":1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8::",
        "::+1", "fe80::1%lo",
    ])
    func notAddressesOfVersion6(_ text: String) {
        #expect(canonicalIPv6(text) == nil)
    }

    @Test(arguments: [
        "127.0.0.1:6380", "[::1]:6380", "*:1", "unix:/run/redpool.sock", "0.0.0.0:65535",
    ])
    func listenAddressesReadBack(_ text: String) throws {
        #expect(try parseListen(text).description == text)
    }

    @Test(arguments: ["127.0.0.1:6380", "[::1]:6380", "db-1.example:1", "unix:/run/redis.sock"])
    func upstreamAddressesReadBack(_ text: String) throws {
        #expect(try parseUpstream(text).address.description == text)
    }

    @Test(arguments: [
        ("redis://h", "h:6379", nil, 0), ("redis://h:1", "h:1", nil, 0),
        ("redis://h/", "h:6379", nil, 0), ("redis://app@h/7", "h:6379", "app", 7),
        ("REDIS://[::1]", "[::1]:6379", nil, 0), ("redis://a@b@h", "h:6379", "a@b", 0),
        ("redis://h/2147483647", "h:6379", nil, 2_147_483_647),
    ])
    func urls(text: String, address: String, username: String?, database: Int) throws {
        let spec = try parseUpstream(text)
        #expect(spec.address.description == address)
        #expect(spec.username == username)
        #expect(spec.database == database)
    }

    @Test func passwordFiles() throws {
        let text = pool("passwordFile: /pw")
        func password(_ contents: String) throws -> String? {
            try valid(text, files: ["/pw": contents]).pools[0].password?.text
        }
        #expect(try password("secret") == "secret")
        #expect(try password("secret\n") == "secret")
        #expect(try password("secret\r\nmore\n") == "secret")
        #expect(try password(" with space ") == " with space ")
        for contents in ["", "\n", "\r\n", "\nsecret"] {
            #expect(
                problems(text, files: ["/pw": contents])
                    == ["5:19: pools.main.passwordFile: /pw: its first line is empty"])
        }
        let result = Config.parse(text: text, file: file) { _ throws(Config.FileError) in [0xFF] }
        guard case .invalid(let errors) = result else {
            Issue.record("bytes that are not UTF-8 are a password")
            return
        }
        #expect(errors.map(\.message) == ["/pw: its first line is not UTF-8"])
    }

    @Test func filesAreReadOnce() {
        var reads: [String] = []
        let text =
            "defaults: {passwordFile: pw}\n" + pool() + """
                  other:
                    listen: 127.0.0.1:1
                    upstream: h:1
                """
        _ = Config.parse(text: text, file: file) { path throws(Config.FileError) in
            reads.append(path)
            return [65]
        }
        #expect(reads == ["/etc/redpool/pw"])
    }
}

/// A small seeded generator (S. Vigna's SplitMix64), so that failures repeat.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
