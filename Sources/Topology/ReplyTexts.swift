// Reads the replies that consist of texts: lists of names and values, and lists of such lists.

import RESP

/// Readers of whole replies. What a server sends may be anything, so each has bounds.
enum ReplyTexts {
    /// The most texts in one list: Sentinel's longest has 46 (Redis 8.0, Valkey 8.1).
    private static let mostTexts = 256
    /// The most lists in one reply.
    private static let mostRows = 1024

    /// The texts of an array, a set, a map or a push; nil for any other reply, and if an element is
    /// not a text.
    static func list(_ reply: [UInt8]) -> [ArraySlice<UInt8>]? {
        var cursor = ReplyCursor(from: 0)
        guard let outer = cursor.next(reply.span), let count = elements(of: outer),
            count <= mostTexts
        else { return nil }
        var texts: [ArraySlice<UInt8>] = []
        while let item = cursor.next(reply.span) {
            guard item.depth == 1, isText(item) else { return nil }
            texts.append(reply[item.range])
        }
        return texts.count == count ? texts : nil
    }

    /// The lists of an array of lists; nil for any other reply.
    static func rows(_ reply: [UInt8]) -> [[ArraySlice<UInt8>]]? {
        var cursor = ReplyCursor(from: 0)
        guard let outer = cursor.next(reply.span), let count = elements(of: outer),
            count <= mostRows
        else { return nil }
        var rows: [[ArraySlice<UInt8>]] = []
        while let item = cursor.next(reply.span) {
            if item.depth == 1 {
                guard let fields = elements(of: item), fields <= mostTexts else { return nil }
                rows.append([])
            } else {
                guard item.depth == 2, isText(item), !rows.isEmpty else { return nil }
                rows[rows.count - 1].append(reply[item.range])
            }
        }
        return rows.count == count ? rows : nil
    }

    /// The value behind a name in a list of names and values.
    static func value(
        of name: StaticString, in texts: [ArraySlice<UInt8>]
    ) -> ArraySlice<UInt8>? {
        let wanted = Word(stringLiteral: name)
        for index in stride(from: 0, to: texts.count - 1, by: 2)
        where Word(Array(texts[index])) == wanted {
            return texts[index + 1]
        }
        return nil
    }

    /// How many items follow the header of an aggregate; nil for other items. A header's number is
    /// at most that of 32 bits.
    static func elements(of item: ReplyItem) -> Int? {
        let count = Int(max(0, min(item.value, Int64(Int32.max))))
        return switch item.type {
        case UInt8(ascii: "*"), UInt8(ascii: "~"), UInt8(ascii: ">"): count
        case UInt8(ascii: "%"): 2 * count
        default: nil
        }
    }

    private static func isText(_ item: ReplyItem) -> Bool {
        switch item.type {
        case UInt8(ascii: "$"), UInt8(ascii: "="): !item.isNull
        case UInt8(ascii: "+"), UInt8(ascii: ":"): true
        default: false
        }
    }
}
