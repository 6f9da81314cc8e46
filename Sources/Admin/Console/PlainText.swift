// Text of clients and servers for people. It cannot break a line, a table or a terminal.

enum PlainText {
    /// The most characters that are shown of a name, an address and the like.
    static let longest = 64

    /// Bytes as text on one line: what is not UTF-8, does not print, or would move a terminal's
    /// cursor is `?`. Blanks in a row are one, because two separate columns. Cut if it is too long.
    static func of(_ bytes: [UInt8], longest: Int = PlainText.longest) -> String {
        // A character has up to four bytes.
        let piece = bytes.count > longest * 4 ? Array(bytes[..<(longest * 4)]) : bytes
        return of(String(decoding: piece, as: UTF8.self), longest: longest)
    }

    /// The same for text.
    static func of(_ text: String, longest: Int = PlainText.longest) -> String {
        var shown = String.UnicodeScalarView()
        var count = 0
        var isBehindBlank = true
        for scalar in text.unicodeScalars {
            if count == longest { return String(shown) + "..." }
            if scalar == " " {
                if isBehindBlank { continue }
                isBehindBlank = true
            } else {
                isBehindBlank = false
            }
            shown.append(isPrinted(scalar) ? scalar : "?")
            count += 1
        }
        if shown.last == " " { shown.removeLast() }
        return String(shown)
    }

    private static func isPrinted(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII { return (0x20...0x7E).contains(scalar.value) }
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate,
            .unassigned:
            return false
        default: return true
        }
    }
}
