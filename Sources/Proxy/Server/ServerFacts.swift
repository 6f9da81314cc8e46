// The facts that a server reports when a connection is made, and how its answers are read. An
// answer that is not in Redis's format counts as none.

import RESP
import Topology

/// What an upstream server has reported; nil for what it has not.
struct ServerFacts {
    /// `timeout` of its configuration, in seconds; 0: it never closes idle clients.
    var timeoutSeconds: Int64?
    /// Output that the server buffers for a normal client before it closes the client, in bytes; 0:
    /// no limit.
    var outputLimit = 0
    var version: [UInt8]? {
        didSet {
            let parts = ServerFacts.parts(of: version ?? [])
            isBefore72 = parts.map { $0 < (7, 2) } ?? false
            isBefore7 = parts.map { $0 < (7, 0) } ?? true
            hasOldWords = parts.map { $0 < (7, 0) } ?? false
            release = ServerFacts.release(version)
        }
    }
    /// Redis before 7.2. HELLO carries out its options one by one, so those before a bad one take
    /// effect, and a refused login is answered even behind replies that are not written yet. Valkey
    /// reports the Redis version that it is compatible with, 7.2.4.
    private(set) var isBefore72 = false
    /// Redis before 7.0, or a server of unknown version: COMMAND INFO knows no subcommands.
    private(set) var isBefore7 = true
    /// Redis before 7.0: its errors for unknown commands have another text.
    private(set) var hasOldWords = false
    /// As 100 * major + minor; nil if it is not known.
    private(set) var release: Int?
    /// Valkey's own version; nil if it is none.
    var valkeyVersion: [UInt8]? {
        didSet {
            valkeyRelease = ServerFacts.release(valkeyVersion)
            let version = Word(valkeyVersion ?? [])
            refusesEndsOfNothing = version == "8.0.0" || version == "8.0.1"
        }
    }
    /// The same as 100 * major + minor.
    private(set) var valkeyRelease: Int?
    /// It answers UNSUBSCRIBE of a connection without subscriptions with an error.
    private(set) var refusesEndsOfNothing = false
    var runID: [UInt8]?
    /// What it has said in ROLE.
    var role: ServerRole?
    /// A line of CLIENT LIST. It shows the fields and their order.
    var clientLine = ""
    /// MULTI and EXEC are not renamed. Only then is a block sure to end.
    var hasTransactions = false
    var newProtocol = NewProtocol.unknown

    /// Whether the server speaks RESP3, as HELLO has shown.
    enum NewProtocol {
        case unknown, spoken
        /// It has no HELLO, or not under this name.
        case refused
    }

    /// The server has RESP3, as far as is known.
    var mayHaveNewProtocol: Bool {
        newProtocol != .refused && release.map { $0 >= 600 } ?? true
    }
}

extension ServerFacts {
    /// The range of `timeout` (Redis 6.2 to 8 and Valkey, config.c: a C int, 0 or more). A value
    /// outside counts as not reported. In nanoseconds, all of it fits into 64 bits.
    private static let timeouts: ClosedRange<Int64> = 0...Int64(Int32.max)

    /// The value of `name:` in the text of INFO; nil when the reply is not a text or has no such
    /// line.
    static func field(_ name: StaticString, in reply: [UInt8]) -> [UInt8]? {
        var cursor = ReplyCursor(from: 0)
        guard let item = cursor.next(reply.span), !item.isNull,
            item.type == UInt8(ascii: "$") || item.type == UInt8(ascii: "=")
        else { return nil }
        let key = name.withUTF8Buffer { Array($0) } + [UInt8(ascii: ":")]
        for line in reply[item.range].split(separator: 10) where line.starts(with: key) {
            return Array(line.dropFirst(key.count).prefix { $0 != 13 })
        }
        return nil
    }

    /// True when COMMAND INFO for two names has found both: neither is renamed or disabled. False
    /// for any reply but an array of two entries.
    static func knowsBoth(_ reply: [UInt8]) -> Bool {
        var cursor = ReplyCursor(from: 0)
        guard let outer = cursor.next(reply.span), isArray(outer), outer.value == 2 else {
            return false
        }
        var entries = 0
        while let item = cursor.next(reply.span) {
            guard item.depth == 1 else { continue }
            guard isArray(item), item.value > 0 else { return false }
            entries += 1
        }
        return entries == 2
    }

    /// The number in the second element of the reply to CONFIG GET timeout; nil when there is none.
    static func configValue(in reply: [UInt8]) -> Int64? {
        var cursor = ReplyCursor(from: 0)
        var texts: [Range<Int>] = []
        while let item = cursor.next(reply.span) {
            if item.type == UInt8(ascii: "$"), !item.isNull { texts.append(item.range) }
        }
        guard texts.count == 2 else { return nil }
        return Word.integer(Array(reply[texts[1]]), in: timeouts)
    }

    private static func isArray(_ item: ReplyItem) -> Bool { item.type == UInt8(ascii: "*") }

    /// As 100 * major + minor; nil when the text is not a version.
    private static func release(_ version: [UInt8]?) -> Int? {
        parts(of: version ?? []).map { Int(min($0, 300) * 100 + min($1, 99)) }
    }

    /// Major and minor number; nil when the text is not a version.
    private static func parts(of version: [UInt8]) -> (Int64, Int64)? {
        let parts = version.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
            .prefix(2).compactMap { Word.integer(Array($0), in: 0...1_000_000) }
        return parts.count == 2 ? (parts[0], parts[1]) : nil
    }
}

extension ServerFacts {
    /// The smaller of the hard and the soft limit for normal clients in the reply to CONFIG GET
    /// client-output-buffer-limit. 0 when there is none or the reply is not understood.
    static func outputLimit(in reply: [UInt8]) -> Int {
        var cursor = ReplyCursor(from: 0)
        var texts: [Range<Int>] = []
        while let item = cursor.next(reply.span) {
            if item.type == UInt8(ascii: "$"), !item.isNull { texts.append(item.range) }
        }
        guard texts.count == 2 else { return 0 }
        let words = reply[texts[1]].split(separator: UInt8(ascii: " "))
        guard words.count >= 4, Array(words[0]) == Array("normal".utf8) else { return 0 }
        let limits = words[1...2].compactMap { Word.integer(Array($0), in: 1...(Int64.max / 2)) }
        return limits.min().map { Int($0) } ?? 0
    }
}
