// Commands that block and can be sent again if the server has unblocked them without a result.
// Nothing is lost then but their places in the server's queues.

import RESP

/// A command that blocks, and that can be sent again with what is left of its timeout.
package struct RepeatableWait: Equatable, Sendable {
    /// How the command writes its timeout.
    private enum Unit { case seconds, milliseconds }

    /// In nanoseconds; nil for one without an end.
    package let timeout: Int64?
    private let words: [[UInt8]]
    /// Where the timeout stands in `words`.
    private let place: Int
    private let unit: Unit

    private static let millisecond: Int64 = 1_000_000
    private static let second: Int64 = 1_000_000_000

    /// Nil for a command that would bring something else if it was sent again: XREAD with `$` or
    /// `+` misses what comes in between, and WAIT answers how far it is. Nil as well for one whose
    /// timeout is written in a way that is not understood here.
    package init?(_ command: Command, _ words: [[UInt8]]) {
        guard let (place, unit) = RepeatableWait.place(of: command, words),
            words.indices.contains(place)
        else { return nil }
        let number = words[place]
        let found =
            unit == .seconds
            ? RepeatableWait.seconds(number)
            : Word.integer(number, in: 0...RepeatableWait.longest).map { $0 * Self.millisecond }
        guard let found else { return nil }
        timeout = found == 0 ? nil : found
        self.words = words
        self.place = place
        self.unit = unit
    }

    /// The command with so many nanoseconds left, rounded up to milliseconds, of which it is at
    /// least one.
    package func bytes(left: Int64) -> [UInt8] {
        var words = words
        if timeout != nil {
            let nanoseconds = max(left, 1)
            let rest = (nanoseconds - 1) / Self.millisecond + 1
            words[place] = []
            switch unit {
            case .milliseconds: Encode.decimal(rest, into: &words[place])
            case .seconds:
                Encode.decimal(rest / 1000, into: &words[place])
                words[place].append(UInt8(ascii: "."))
                for power in [100, 10, 1] as [Int64] {
                    words[place].append(UInt8(ascii: "0") + UInt8(rest / power % 10))
                }
            }
        }
        var bytes: [UInt8] = []
        Encode.command(words, into: &bytes)
        return bytes
    }

    // MARK: Reading

    /// The longest timeout in milliseconds, 31 years.
    private static let longest: Int64 = 1_000_000_000_000

    private static func place(of command: Command, _ words: [[UInt8]]) -> (Int, Unit)? {
        switch command {
        case .blpop, .brpop, .blmove, .brpoplpush, .bzpopmin, .bzpopmax:
            (words.count - 1, .seconds)
        case .blmpop, .bzmpop: (1, .seconds)
        case .xread, .xreadgroup: blockPlace(words).map { ($0, .milliseconds) }
        default: nil
        }
    }

    /// Where the number behind BLOCK stands in an XREAD or XREADGROUP; nil if the command cannot
    /// be repeated.
    private static func blockPlace(_ words: [[UInt8]]) -> Int? {
        var place: Int?
        var index = 1
        while index < words.count {
            switch Word(words[index]) {
            case "block":
                // Redis takes the last one.
                place = index + 1
                index += 2
            case "count", "claim": index += 2
            case "group": index += 3
            case "noack": index += 1
            case "streams":
                let rest = words[(index + 1)...]
                guard !rest.isEmpty, rest.count % 2 == 0 else { return nil }
                let ids = rest.suffix(rest.count / 2)
                return ids.contains { Word($0) == "$" || Word($0) == "+" } ? nil : place
            default: return nil
            }
        }
        return nil
    }

    /// Decimal seconds in nanoseconds: digits, of which at most nine stand before the point. Nil
    /// for less than a millisecond, which Redis 6.2 takes for no end.
    private static func seconds(_ text: [UInt8]) -> Int64? {
        let parts = text.split(
            separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
        guard let whole = parts.first,
            let seconds = Word.integer(Array(whole), in: 0...999_999_999)
        else { return nil }
        let digits = parts.count > 1 ? Array(parts[1].prefix(9)) : []
        let padding = Array(repeating: UInt8(ascii: "0"), count: 9 - digits.count)
        // The digit in front keeps zeros behind the point.
        let range = second...2 * second - 1
        guard let fraction = Word.integer([UInt8(ascii: "1")] + digits + padding, in: range),
            parts.count == 1 || parts[1].dropFirst(9).allSatisfy({ isDigit($0) })
        else { return nil }
        let value = seconds * second + fraction - second
        return value == 0 && digits.count == 9 || (1..<millisecond).contains(value) ? nil : value
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
}
