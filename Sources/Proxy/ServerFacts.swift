// What a server says of itself when a connection is made, and how its answers are read.

import RESP

/// What an upstream server has said of itself; nil where it would not say.
struct ServerFacts {
    /// `timeout` of its configuration, in seconds; 0 = it never closes idle clients.
    var timeoutSeconds: Int?
    var version: String? {
        didSet {
            let parts = (version ?? "").split(separator: ".").prefix(2).compactMap { Int($0) }
            isBefore72 = parts.count == 2 && (parts[0], parts[1]) < (7, 2)
        }
    }
    /// Redis before 7.2: HELLO carries its options out one by one, so that those before a bad one
    /// count, and a refused login is answered even behind replies that are not written yet. Valkey
    /// names the Redis version that it is compatible with, 7.2.4.
    private(set) var isBefore72 = false
    var runID: String?
    /// A line of CLIENT LIST, for its fields and their order.
    var clientLine = ""
    /// MULTI and EXEC go by their own names: only then can a block be trusted to end.
    var hasTransactions = false
}

extension ServerFacts {
    /// The value of `name:` in the text of INFO.
    static func field(_ name: String, in reply: [UInt8]) -> String? {
        for line in reply.split(separator: 10) {
            let text = String(decoding: line, as: UTF8.self)
            if text.hasPrefix(name + ":") {
                return String(
                    text.dropFirst(name.utf8.count + 1).prefix { $0 != "\r" && $0 != "\r\n" })
            }
        }
        return nil
    }

    /// True when COMMAND INFO for two names has found both: neither is renamed or disabled.
    static func knowsBoth(_ reply: [UInt8]) -> Bool {
        var cursor = ReplyCursor(from: 0)
        guard let outer = cursor.next(reply.span), outer.value == 2 else { return false }
        while let item = cursor.next(reply.span) {
            if item.depth == 1, item.isNull { return false }
        }
        return true
    }

    /// The number in the second element of CONFIG GET's reply; nil when there is none.
    static func configValue(in reply: [UInt8]) -> Int? {
        var cursor = ReplyCursor(from: 0)
        var texts: [String] = []
        while let item = cursor.next(reply.span) {
            if item.type == UInt8(ascii: "$"), item.length >= 0 {
                texts.append(
                    String(decoding: reply[item.start..<(item.start + item.length)], as: UTF8.self))
            }
        }
        return texts.count == 2 ? Int(texts[1]) : nil
    }
}
