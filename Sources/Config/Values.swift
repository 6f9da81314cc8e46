/// Why the text of a value is refused. The message follows the key's path: `300 has no unit (did
/// you mean 300s?)`.
struct ValueProblem: Error, Equatable {
    let message: String

    init(_ message: String) {
        self.message = message
    }
}

/// The value of a key, read from its text.
enum Value: Sendable, Equatable {
    case integer(Int)
    /// Nanoseconds.
    case duration(Int64)
    /// Bytes.
    case size(Int)
    case boolean(Bool)
    case text(String)
    /// Permission bits.
    case mode(UInt32)
    case upstream(UpstreamSpec)
    /// The word `auto`.
    case automatic
    case list([Element])
}

/// An element of a list.
enum Element: Sendable, Equatable {
    case listen(ListenAddress)
    /// A TCP address.
    case sentinel(UpstreamAddress)
    /// A node of a cluster: a TCP address, and the other parts of a URL but the database.
    case seed(UpstreamSpec)
    /// A command in lower case; a subcommand is `script|debug`.
    case command(String)

    /// The element in the syntax of the file.
    var text: String {
        switch self {
        case .listen(let address): address.description
        case .sentinel(let address): address.description
        case .seed(let spec): spec.seedText
        case .command(let name): name.uppercased().split(separator: "|").joined(separator: " ")
        }
    }
}

/// The units of durations in nanoseconds, largest first.
private let durationUnits: [(name: Substring, length: Int64)] = [
    ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000),
]

/// The units of sizes in bytes. As in redis.conf, `kb` is 1024 bytes, and letter case is ignored.
private let sizeUnits: [String: Int] = [
    "b": 1, "kb": 1024, "kib": 1024, "mb": 1_048_576, "mib": 1_048_576,
    "gb": 1_073_741_824, "gib": 1_073_741_824,
]

/// Reads a whole number: decimal digits, optionally a minus sign, no leading zero (YAML 1.1 reads
/// that as octal).
func parseInteger(_ text: String) throws(ValueProblem) -> Int {
    let digits = text.hasPrefix("-") ? text.dropFirst() : text[...]
    guard isDigits(digits), digits.count == 1 || !digits.hasPrefix("0") else {
        throw ValueProblem("\(shown(text)) is not a whole number")
    }
    // A number that does not fit is outside every range, so the nearest number leads to the right
    // error.
    return Int(text) ?? (text.hasPrefix("-") ? Int.min : Int.max)
}

/// Reads a duration, such as `800ms` or `1m30s`, in nanoseconds.
func parseDuration(_ text: String) throws(ValueProblem) -> Int64 {
    if text.hasPrefix("-") { throw ValueProblem("\(shown(text)) is negative") }
    if isDigits(text[...]) {
        throw ValueProblem("\(shown(text)) has no unit (did you mean \(shown(text))s?)")
    }
    var rest = text[...]
    var total: Int64 = 0
    var smallest = Int64.max
    while !rest.isEmpty {
        let digits = Substring(rest.utf8.prefix(while: isDigit))
        let name = Substring(rest[digits.endIndex...].utf8.prefix(while: isLetter))
        rest = rest[name.endIndex...]
        guard !digits.isEmpty, !name.isEmpty else { throw notADuration(text) }
        guard let unit = durationUnits.first(where: { $0.name == name }) else {
            let hint = durationHint(text) ?? " (the units are ms, s, m and h)"
            throw ValueProblem("\(shown(text)) has an unknown unit\(hint)")
        }
        guard unit.length < smallest else { throw notADuration(text) }
        smallest = unit.length
        total = saturatingAdd(total, saturatingProduct(Int64(digits) ?? Int64.max, unit.length))
    }
    if smallest == Int64.max { throw notADuration(text) }
    return total
}

private func notADuration(_ text: String) -> ValueProblem {
    let hint = durationHint(text) ?? " (such as 800ms, 5m or 1h30m)"
    return ValueProblem("\(shown(text)) is not a duration\(hint)")
}

private func saturatingProduct(_ left: Int64, _ right: Int64) -> Int64 {
    let (product, overflow) = left.multipliedReportingOverflow(by: right)
    return overflow ? Int64.max : product
}

private func saturatingAdd(_ left: Int64, _ right: Int64) -> Int64 {
    let (sum, overflow) = left.addingReportingOverflow(right)
    return overflow ? Int64.max : sum
}

/// Reads a size, such as `64kb` or `32mb`, in bytes.
func parseSize(_ text: String) throws(ValueProblem) -> Int {
    if text.hasPrefix("-") { throw ValueProblem("\(shown(text)) is negative") }
    if isDigits(text[...]) {
        throw ValueProblem("\(shown(text)) has no unit (did you mean \(shown(text))b?)")
    }
    let digits = Substring(text.utf8.prefix(while: isDigit))
    let name = text[digits.endIndex...]
    guard !digits.isEmpty, name.utf8.allSatisfy(isLetter) else {
        let hint = sizeHint(text) ?? " (such as 64kb or 32mb)"
        throw ValueProblem("\(shown(text)) is not a size\(hint)")
    }
    guard let unit = sizeUnits[name.lowercased()] else {
        let hint = sizeHint(text) ?? " (the units are b, kb, mb and gb)"
        throw ValueProblem("\(shown(text)) has an unknown unit\(hint)")
    }
    let (product, overflow) = (Int(digits) ?? Int.max).multipliedReportingOverflow(by: unit)
    return overflow ? Int.max : product
}

/// Reads `true` or `false`. For the other booleans of YAML 1.1 the error names the right one.
func parseBoolean(_ text: String) throws(ValueProblem) -> Bool {
    switch text {
    case "true": return true
    case "false": return false
    default: break
    }
    let hint: String
    switch text.lowercased() {
    case "true", "yes", "on", "y", "1": hint = " (did you mean true?)"
    case "false", "no", "off", "n", "0": hint = " (did you mean false?)"
    default: hint = ""
    }
    throw ValueProblem("\(shown(text)) is not true or false\(hint)")
}

/// Reads permission bits, three octal digits with or without a leading zero.
func parseMode(_ text: String) throws(ValueProblem) -> UInt32 {
    let digits = text.count == 4 && text.hasPrefix("0") ? text.dropFirst() : text[...]
    guard digits.utf8.count == 3, isDigits(digits), let mode = UInt32(digits, radix: 8) else {
        throw ValueProblem("\(shown(text)) is not a file mode (such as \"0660\")")
    }
    return mode
}

/// The most characters of a command's name, and of a subcommand's.
private let commandWordLimit = 24

/// Reads the name of a command, or of a subcommand with a space or `|` between the two words. The
/// result is in lower case with `|`: `SCRIPT DEBUG` is `script|debug`, as in the server's COMMAND
/// INFO.
func parseCommand(_ text: String) throws(ValueProblem) -> String {
    let words = text.split(omittingEmptySubsequences: false) { $0 == " " || $0 == "|" }
    guard words.count <= 2, words.allSatisfy(isCommandWord) else {
        throw ValueProblem("\(shown(text)) is not a command (such as SYNC or SCRIPT DEBUG)")
    }
    guard words.allSatisfy({ $0.utf8.count <= commandWordLimit }) else {
        throw ValueProblem(
            "\(shown(text)) is not a command: a word has at most \(commandWordLimit) characters")
    }
    return words.joined(separator: "|").lowercased()
}

private func isCommandWord(_ word: Substring) -> Bool {
    !word.isEmpty
        && word.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "-"):
                true
            default: false
            }
        }
}

// By bytes: a look at each character would have every start read the tables of Unicode.

private func isDigit(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
}

private func isLetter(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
}

/// Whether all of the text can be seen and is ASCII.
func isPlain(_ text: some StringProtocol) -> Bool {
    text.utf8.allSatisfy { (UInt8(ascii: "!")...UInt8(ascii: "~")).contains($0) }
}

/// Whether the text is one or more decimal digits.
func isDigits(_ text: Substring) -> Bool {
    !text.isEmpty && text.utf8.allSatisfy(isDigit)
}

/// Text of the file for a message: one line, without control characters, cut after so many
/// characters.
func shown(_ text: some StringProtocol, longest: Int = 64) -> String {
    if text.isEmpty { return "\"\"" }
    if isPlain(text), text.utf8.count <= longest { return String(text) }
    var result = ""
    for scalar in text.unicodeScalars.prefix(longest) {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: result += "?"
        default: result.unicodeScalars.append(scalar)
        }
    }
    return text.unicodeScalars.count > longest ? result + "..." : result
}

/// The same for the path of a file. The name of the file is at its end.
func shownPath(_ path: String) -> String { shown(path, longest: 1000) }
