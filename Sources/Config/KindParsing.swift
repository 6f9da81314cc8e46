// Reads the text of a value by the kind of its key, and prints values and suggestions for messages.

extension Kind {
    /// Reads the text of a value and checks its range.
    func parse(_ text: String) throws(ValueProblem) -> Value {
        switch self {
        case .upstream:
            return .upstream(try parseUpstream(text))
        case .text:
            guard isPlain(text) || (!hasControl(text) && !text.contains(where: \.isWhitespace))
            else {
                throw ValueProblem("\(shown(text)) has a space or a control character")
            }
            return .text(text)
        case .path:
            guard !hasControl(text) else {
                throw ValueProblem("\(shown(text)) has a control character")
            }
            return .text(text)
        case .tcpOrNone:
            if text.isEmpty { return .text("") }
            guard case .tcp(_, _, isTLS: false) = try parseListen(text) else {
                throw ValueProblem("\(shown(text)) is not a TCP address")
            }
            return .text(text)
        case .peerOrNone:
            if !text.isEmpty { _ = try parsePeer(text) }
            return .text(text)
        case .mode:
            return .mode(try parseMode(text))
        case .boolean:
            return .boolean(try parseBoolean(text))
        case .integer(let range):
            return .integer(try checked(try parseInteger(text), in: range, text: text))
        case .integerOrAuto(let range):
            if text == "auto" { return .automatic }
            return .integer(try checked(try parseInteger(text), in: range, text: text))
        case .duration(let range, let zero):
            let duration = try parseDuration(text)
            if duration == 0, zero != nil { return .duration(0) }
            return .duration(try checked(duration, in: range, text: text))
        case .size(let range):
            return .size(try checked(try parseSize(text), in: range, text: text))
        case .choice(let words):
            guard words.contains(text) else {
                let hint = didYouMean(text, among: words)
                throw ValueProblem("\(shown(text)) is not one of \(alternatives(words))\(hint)")
            }
            return .text(text)
        case .list(let kind, _):
            return .list([try kind.parse(text)])
        }
    }

    private func checked<Number: Comparable>(
        _ number: Number, in range: ClosedRange<Number>, text: String
    ) throws(ValueProblem) -> Number {
        if range.contains(number) { return number }
        throw ValueProblem("\(shown(text)) is out of range (\(self.range))")
    }

    /// Whether the value is a file mode, which YAML 1.1 could read as a number.
    var isMode: Bool { if case .mode = self { true } else { false } }

    /// The values that the key accepts, for messages: `1 to 10000`, `1s to 24h, or 0s (never)`.
    var range: String {
        switch self {
        case .upstream:
            "`host:port`, `[v6]:port`, `unix:/path`, `redis://[user@]host[:port][/db]`, "
                + "`rediss://...`"
        case .text: "text"
        case .path: "path"
        case .tcpOrNone: "`host:port`, `[v6]:port`, `*:port`; empty: off"
        case .peerOrNone: "`host:port`, `[v6]:port`; empty: none"
        case .mode: "three octal digits"
        case .boolean: "true or false"
        case .integer(let range): "\(range.lowerBound) to \(range.upperBound)"
        case .integerOrAuto(let range): "\(range.lowerBound) to \(range.upperBound), or auto"
        case .duration(let range, let zero):
            "\(formatDuration(range.lowerBound)) to \(formatDuration(range.upperBound))"
                + (zero.map { ", or 0s (\($0))" } ?? "")
        case .size(let range): "\(formatSize(range.lowerBound)) to \(formatSize(range.upperBound))"
        case .choice(let words): alternatives(words)
        case .list(let kind, let empty):
            "\(kind.range), or a list" + (empty.map { ", or [] (\($0))" } ?? "")
        }
    }
}

extension ElementKind {
    /// Reads the text of an element.
    func parse(_ text: String) throws(ValueProblem) -> Element {
        switch self {
        case .listen: .listen(try parseListen(text))
        case .sentinel: .sentinel(try parseSentinel(text))
        case .seed: .seed(try parseSeed(text))
        case .command: .command(try parseCommand(text))
        }
    }

    /// The name of the element kind, for messages.
    var noun: String {
        switch self {
        case .listen, .sentinel, .seed: "address"
        case .command: "command"
        }
    }

    /// Whether a repeated element in a list is refused here. Addresses have a wider check of their
    /// own: they may overlap, also between pools.
    var isSet: Bool {
        switch self {
        case .listen: false
        case .sentinel, .seed, .command: true
        }
    }

    /// The message for an element that is not text.
    var notText: String {
        switch self {
        case .listen, .sentinel, .seed: "an address has to be text; [v6]:port needs quotes"
        case .command: "a command has to be text, such as SYNC or SCRIPT DEBUG"
        }
    }

    /// The elements that the key accepts, for messages.
    var range: String {
        switch self {
        case .listen: "`host:port`, `[v6]:port`, `*:port`, `unix:/path`, `rediss://host:port`"
        case .sentinel: "`host`, `host:port`, `[v6]:port`; without a port 26379"
        case .seed: "`host:port`, `[v6]:port`, `redis://[user@]host[:port]`, `rediss://...`"
        case .command: "NAME or NAME SUBNAME"
        }
    }
}

extension KeySpec {
    /// The schema's value and its text; nil if the file must give the value or it is derived.
    var standardValue: (value: Value, text: String)? {
        switch standard {
        case .required, .depends, .derived:
            return nil
        case .text(let text):
            return (try? kind.parse(text)).map { ($0, text) }
        case .list(let texts):
            guard case .list(let kind, _) = kind else { return nil }
            return (try? .list(texts.map { try kind.parse($0) })).map { ($0, "") }
        }
    }
}

/// `a`, `a or b`, `a, b or c`.
func alternatives(_ words: [String]) -> String {
    guard let last = words.last, words.count > 1 else { return words.first ?? "" }
    return words.dropLast().joined(separator: ", ") + " or " + last
}

/// A duration in the syntax of the file. The argument is in nanoseconds, a whole number of
/// milliseconds. The unit is the largest that needs no fraction: `90s`, `1h`, `0s`.
func formatDuration(_ nanoseconds: Int64) -> String {
    let units: [(String, Int64)] = [
        ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000),
    ]
    if nanoseconds == 0 { return "0s" }
    for (name, length) in units where nanoseconds % length == 0 {
        return "\(nanoseconds / length)\(name)"
    }
    return "\(nanoseconds / 1_000_000)ms"
}

/// A size in bytes in the syntax of the file, in the largest unit that needs no fraction.
func formatSize(_ bytes: Int) -> String {
    let units: [(String, Int)] = [("gb", 1_073_741_824), ("mb", 1_048_576), ("kb", 1024)]
    for (name, length) in units where bytes != 0 && bytes % length == 0 {
        return "\(bytes / length)\(name)"
    }
    return "\(bytes)b"
}

/// ` (did you mean X?)`. X is the candidate that differs only in letter case, `_` and `-`, or else
/// the nearest with an edit distance of at most 2, or else the only one that begins with the word;
/// empty if there is none.
func didYouMean(_ word: String, among candidates: [String]) -> String {
    suggestion(for: word, among: candidates).map { " (did you mean \($0)?)" } ?? ""
}

private func suggestion(for word: String, among candidates: [String]) -> String? {
    // No candidate is near a longer word.
    guard word.utf8.count <= 40 else { return nil }
    let plain = simplified(word)
    if let same = candidates.first(where: { simplified($0) == plain }) { return same }
    let ranked = candidates.map { (name: $0, distance: editDistance(plain, simplified($0))) }
    guard let best = ranked.min(by: { $0.distance < $1.distance }) else { return nil }
    // Two edits turn any short word into any other.
    if best.distance <= min(2, plain.count / 2) { return best.name }
    let longer = candidates.filter { plain.count >= 3 && simplified($0).starts(with: plain) }
    return longer.count == 1 ? longer[0] : nil
}

private func simplified(_ word: String) -> [UInt8] {
    word.lowercased().utf8.filter { $0 != UInt8(ascii: "_") && $0 != UInt8(ascii: "-") }
}

/// Levenshtein's distance: insertions, deletions and replacements of one byte.
private func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    var row = Array(0...right.count)
    for (i, byte) in left.enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        for (j, other) in right.enumerated() {
            let replaced = diagonal + (byte == other ? 0 : 1)
            diagonal = row[j + 1]
            row[j + 1] = min(replaced, row[j] + 1, diagonal + 1)
        }
    }
    return row[right.count]
}
