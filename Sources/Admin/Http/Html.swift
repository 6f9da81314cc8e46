// HTML in the making, and how numbers are written for people.

/// A page in the making. Only `text` takes words that do not come from here.
struct Html {
    private(set) var bytes: [UInt8] = []

    /// Markup.
    mutating func raw(_ markup: String) { bytes.append(contentsOf: markup.utf8) }

    /// Text.
    mutating func text(_ text: String) { raw(Html.escaped(text)) }

    /// An element with text.
    mutating func element(_ name: String, _ text: String, isBad: Bool = false) {
        raw(isBad ? "<\(name) class=bad>" : "<\(name)>")
        self.text(text)
        raw("</\(name)>")
    }

    /// A row of a table, or its head.
    mutating func row(_ cells: [String], isHead: Bool = false, bad: Set<Int> = []) {
        raw("<tr>")
        for (index, cell) in cells.enumerated() {
            element(isHead ? "th" : "td", cell, isBad: bad.contains(index))
        }
        raw("</tr>\n")
    }

    /// Text with nothing in it that means something in HTML, attributes included. Control
    /// characters become spaces.
    static func escaped(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            case "'": escaped += "&#39;"
            default:
                escaped.unicodeScalars.append(
                    scalar.value < 0x20 || scalar.value == 0x7F ? " " : scalar)
            }
        }
        return escaped
    }
}

/// Numbers for people.
enum Readable {
    /// A time in nanoseconds with three digits: `350 us`, `1.20 ms`, `12.3 s`, `5 min`.
    static func time(_ nanoseconds: UInt64) -> String {
        switch nanoseconds {
        case 0: "0"
        case ..<1_000_000: "\((nanoseconds + 500) / 1000) us"
        case ..<1_000_000_000: digits(nanoseconds, 1_000_000) + " ms"
        case ..<120_000_000_000: digits(nanoseconds, 1_000_000_000) + " s"
        case ..<7_200_000_000_000: "\(nanoseconds / 60_000_000_000) min"
        case ..<172_800_000_000_000: "\(nanoseconds / 3_600_000_000_000) h"
        default: "\(nanoseconds / 86_400_000_000_000) days"
        }
    }

    static func time(_ nanoseconds: Int64) -> String { time(UInt64(max(0, nanoseconds))) }

    /// `value / unit` with three digits, or with all before the point.
    private static func digits(_ value: UInt64, _ unit: UInt64) -> String {
        let places = value >= 100 * unit ? 0 : value >= 10 * unit ? 1 : 2
        let scale: UInt64 = [1, 10, 100][places]
        let (product, isTooLarge) = value.multipliedReportingOverflow(by: scale)
        let scaled = isTooLarge ? value / unit * scale : (product + unit / 2) / unit
        let part = "\(scaled % scale)"
        let zeros = String(repeating: "0", count: max(0, places - part.utf8.count))
        return places == 0 ? "\(scaled)" : "\(scaled / scale).\(zeros)\(part)"
    }

    /// A number per second: `0`, `0.25`, `12.5`, `1234`.
    static func rate(_ perSecond: Double) -> String {
        guard perSecond > 0, perSecond < 1e15 else { return "0" }
        return digits(UInt64(perSecond * 1000 + 0.5), 1000)
    }
}
