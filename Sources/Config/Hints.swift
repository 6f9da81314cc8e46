// Finds what a value or a line in a form that is not accepted was probably meant to be.

/// The units of times as people write them, in milliseconds.
private let timeWords: [String: Int64] = [
    "ms": 1, "msec": 1, "msecs": 1, "millis": 1, "millisecond": 1, "milliseconds": 1,
    "s": 1000, "sec": 1000, "secs": 1000, "second": 1000, "seconds": 1000,
    "m": 60_000, "min": 60_000, "mins": 60_000, "minute": 60_000, "minutes": 60_000,
    "h": 3_600_000, "hr": 3_600_000, "hrs": 3_600_000, "hour": 3_600_000, "hours": 3_600_000,
    "d": 86_400_000, "day": 86_400_000, "days": 86_400_000,
    "w": 604_800_000, "week": 604_800_000, "weeks": 604_800_000,
]

/// The units of sizes as people write them, in bytes.
private let sizeWords: [String: Int64] = [
    "b": 1, "byte": 1, "bytes": 1,
    "k": 1 << 10, "kb": 1 << 10, "kib": 1 << 10,
    "m": 1 << 20, "mb": 1 << 20, "mib": 1 << 20,
    "g": 1 << 30, "gb": 1 << 30, "gib": 1 << 30,
    "t": 1 << 40, "tb": 1 << 40, "tib": 1 << 40,
]

/// ` (did you mean 5m?)` for a duration in another form, such as `5min`, `1d` or `1.5s`; nil if
/// none is recognized.
func durationHint(_ text: String) -> String? {
    guard let milliseconds = product(of: text, timeWords) else { return nil }
    let (time, overflow) = milliseconds.multipliedReportingOverflow(by: 1_000_000)
    return overflow ? nil : " (did you mean \(formatDuration(time))?)"
}

/// ` (did you mean 512kb?)` for a size in another form, such as `512k` or `1.5mb`; nil if none is
/// recognized.
func sizeHint(_ text: String) -> String? {
    guard let bytes = product(of: text, sizeWords) else { return nil }
    return " (did you mean \(formatSize(Int(bytes)))?)"
}

/// The value of a number, whole or with decimals, and its unit. Nil for anything else, and for what
/// is no whole number of the smallest unit.
private func product(of text: String, _ units: [String: Int64]) -> Int64? {
    let plain = text.lowercased().filter { $0 != " " }
    let number = plain.prefix { $0.isASCII && ($0.isWholeNumber || $0 == ".") }
    guard let unit = units[String(plain.dropFirst(number.count))] else { return nil }
    let parts = number.split(separator: ".", omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count), let whole = digits(parts[0], atMost: 9) else { return nil }
    let (product, overflow) = whole.multipliedReportingOverflow(by: unit)
    guard !overflow else { return nil }
    guard parts.count == 2 else { return product }
    guard let decimals = digits(parts[1], atMost: 3) else { return nil }
    let scale: Int64 = [10, 100, 1000][parts[1].count - 1]
    let (rest, isTooLarge) = decimals.multipliedReportingOverflow(by: unit)
    guard !isTooLarge, rest % scale == 0 else { return nil }
    let (sum, isTooMuch) = product.addingReportingOverflow(rest / scale)
    return isTooMuch ? nil : sum
}

private func digits(_ text: Substring, atMost count: Int) -> Int64? {
    guard isDigits(text), text.count <= count else { return nil }
    return Int64(text)
}

/// The key of a line that is no `key: value` for want of a space or a colon.
struct BrokenPair {
    let key: String
    /// What is wrong with it, for messages.
    let problem: String

    /// Reads `key:value` and `key = value`. Nil for all other text: the key has to be one of the
    /// schema or a section, because an address also has a colon.
    init?(_ line: some StringProtocol) {
        let text = line.drop { $0 == " " || $0 == "{" }
        key = String(
            text.prefix { $0.isASCII && ($0.isLetter || $0.isWholeNumber || $0 == "_") })
        let key = self.key
        let isKnown =
            Schema.keys.contains { $0.key.name == key }
            || ["pools", "defaults", "log", "admin", "http"].contains(key)
        let rest = text.dropFirst(key.count)
        let value = rest.drop { $0 == " " }
        if isKnown, rest.hasPrefix(":"), let next = rest.dropFirst().first, next != " ",
            next != "\t"
        {
            problem = "a colon needs a space behind it: \"\(key): ...\""
        } else if !key.isEmpty, value.hasPrefix("="), !value.hasPrefix("==") {
            problem = "a key ends with a colon, not with =: \"\(key): ...\""
        } else {
            return nil
        }
    }

    /// The problem to append to a message; empty for text that is no such pair.
    static func hint(_ text: some StringProtocol) -> String {
        BrokenPair(text).map { " (\($0.problem))" } ?? ""
    }
}
