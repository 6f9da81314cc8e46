import Logging

/// One log line before it is written. Pure: the caller passes everything in it.
struct LogLine {
    let level: Logger.Level
    let message: String
    let fields: Logger.Metadata
    /// Nanoseconds since 1970.
    let time: Int64

    /// The line in a format, with its line break, at most `LogSink.lineLimit` bytes of UTF-8.
    func rendered(as format: LogFormat) -> String {
        var line = prefix(of: format)
        if format != .text {
            if let event = fields["event"] { LogLine.append("event", event, to: &line) }
            if !line.isEmpty, line.last != ">" { line += " " }
            line += "msg="
            LogLine.appendQuoted(message, to: &line)
        }
        let shown: Set<String> = format == .text ? [] : ["event"]
        let first = ["event", "pool"].filter { fields[$0] != nil }
        let rest = fields.keys.filter { !first.contains($0) }.sorted()
        for key in first + rest where !shown.contains(key) {
            guard let value = fields[key] else { continue }
            LogLine.append(key, value, to: &line)
        }
        return LogLine.limited(line)
    }

    private func prefix(of format: LogFormat) -> String {
        switch format {
        case .journal:
            return "<\(LogLine.priority(level))>"
        case .logfmt:
            return "ts=\(formatTime(time)) level=\(level.rawValue)"
        case .text:
            let name = level.rawValue
            let padding = String(repeating: " ", count: max(1, 9 - name.count))
            var line = "\(formatTime(time)) \(name)\(padding)"
            LogLine.appendEscaped(message, to: &line)
            return line
        }
    }

    /// The syslog priority of a level (RFC 5424, 6.2.1).
    static func priority(_ level: Logger.Level) -> Int {
        switch level {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }

    /// Names of fields whose values are always masked.
    private static let secrets: Set<String> = ["password", "secret", "token"]

    private static func append(
        _ key: String, _ value: Logger.MetadataValue, to line: inout String
    ) {
        if !line.isEmpty, line.last != ">" { line += " " }
        for character in key.utf8 {
            line.unicodeScalars.append(isBare(character) ? Unicode.Scalar(character) : "_")
        }
        line += "="
        let text = secrets.contains(key.lowercased()) ? "***" : flat(value)
        if !text.isEmpty, text.utf8.allSatisfy({ isBare($0) || isMark($0) }) {
            line += text
        } else {
            appendQuoted(text, to: &line)
        }
    }

    /// A value as text. Dictionaries are sorted by key, so that equal values give equal text.
    private static func flat(_ value: Logger.MetadataValue) -> String {
        switch value {
        case .string(let text):
            return text
        case .stringConvertible(let object):
            return object.description
        case .array(let values):
            return "[" + values.map(flat).joined(separator: ", ") + "]"
        case .dictionary(let values):
            let pairs = values.sorted { $0.key < $1.key }.map { "\($0.key): \(flat($0.value))" }
            return "{" + pairs.joined(separator: ", ") + "}"
        }
    }

    private static func isBare(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."):
            true
        default: false
        }
    }

    private static func isMark(_ byte: UInt8) -> Bool {
        "-/:@+%*[],".utf8.contains(byte)
    }

    private static func appendQuoted(_ text: String, to line: inout String) {
        line += "\""
        appendEscaped(text, to: &line, quoted: true)
        line += "\""
    }

    /// Appends text. Escapes every character that could break the line, move the cursor of a
    /// terminal, or reorder the text.
    private static func appendEscaped(
        _ text: String, to line: inout String, quoted: Bool = false
    ) {
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"" where quoted: line += "\\\""
            case "\\": line += "\\\\"
            case "\n": line += "\\n"
            case "\r": line += "\\r"
            case "\t": line += "\\t"
            case " "..."~": line.unicodeScalars.append(scalar)
            default:
                if isUnsafe(scalar) {
                    let digits = String(scalar.value, radix: 16)
                    line += "\\u{\(digits)}"
                } else {
                    line.unicodeScalars.append(scalar)
                }
            }
        }
    }

    private static func isUnsafe(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned:
            true
        default:
            false
        }
    }

    /// The line with its line break. If it is too long, it is cut between two characters and ends
    /// in `...`. A quoted value that is cut stays open; the mark shows that it is incomplete.
    private static func limited(_ line: String) -> String {
        let room = LogSink.lineLimit - 1
        guard line.utf8.count > room else { return line + "\n" }
        let mark = "..."
        var end = line.utf8.index(line.startIndex, offsetBy: room - mark.utf8.count)
        while end > line.startIndex, end.samePosition(in: line.unicodeScalars) == nil {
            end = line.utf8.index(before: end)
        }
        return line[..<end] + mark + "\n"
    }
}

/// A time in nanoseconds since 1970 as `2026-01-31T23:59:59.123Z`. Any value is accepted.
package func formatTime(_ nanoseconds: Int64) -> String {
    let milliseconds = floored(nanoseconds, by: 1_000_000)
    let seconds = floored(milliseconds.quotient, by: 1000)
    let minutes = floored(seconds.quotient, by: 60)
    let hours = floored(minutes.quotient, by: 60)
    let days = floored(hours.quotient, by: 24)
    // Converts days since 1970 to a civil date. Years begin in March, so the leap day is the last
    // day (H. Hinnant, "chrono-compatible low-level date algorithms").
    let era = floored(days.quotient + 719_468, by: 146_097)
    let day = era.remainder
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365
    let dayOfYear = day - (365 * year + year / 4 - year / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    let dayOfMonth = dayOfYear - (153 * shifted + 2) / 5 + 1
    let month = shifted < 10 ? shifted + 3 : shifted - 9
    let civilYear = year + era.quotient * 400 + (month <= 2 ? 1 : 0)
    let date = "\(padded(civilYear, 4))-\(padded(month, 2))-\(padded(dayOfMonth, 2))"
    let time = "\(padded(days.remainder, 2)):\(padded(hours.remainder, 2))"
    return "\(date)T\(time):\(padded(minutes.remainder, 2)).\(padded(seconds.remainder, 3))Z"
}

private func floored(_ value: Int64, by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
    let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
    return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
}

private func padded(_ value: Int64, _ width: Int) -> String {
    let digits = String(value)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
}
