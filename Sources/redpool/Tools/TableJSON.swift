// Reads the JSON of the console's tables: an array of flat objects, or one object.

/// The rows of a table. Each is a dictionary of column names to texts; `null` is `-`.
struct TableJSON {
    private(set) var rows: [[String: String]] = []
    private var text: Substring.UnicodeScalarView

    /// The text is no table.
    struct Malformed: Error {}

    init(_ text: String) throws(Malformed) {
        self.text = Substring(text).unicodeScalars
        if take("[") {
            if !take("]") {
                repeat { rows.append(try object()) } while take(",")
                try expect("]")
            }
        } else {
            rows = [try object()]
        }
        skipBlanks()
        guard self.text.isEmpty else { throw Malformed() }
    }

    private mutating func object() throws(Malformed) -> [String: String] {
        var row: [String: String] = [:]
        try expect("{")
        if take("}") { return row }
        repeat {
            let key = try string()
            try expect(":")
            row[key] = try value()
        } while take(",")
        try expect("}")
        return row
    }

    /// A string, a number or a word, as text.
    private mutating func value() throws(Malformed) -> String {
        skipBlanks()
        if text.first == "\"" { return try string() }
        let word = text.prefix {
            $0.properties.isAlphabetic || $0.properties.numericType != nil
                || "+-.".contains(Character($0))
        }
        guard !word.isEmpty else { throw Malformed() }
        text = text.dropFirst(word.count)
        return String(word) == "null" ? "-" : String(word)
    }

    private mutating func string() throws(Malformed) -> String {
        try expect("\"")
        var result = String.UnicodeScalarView()
        while let scalar = text.popFirst() {
            switch scalar {
            case "\"": return String(result)
            case "\\": result.append(try escaped())
            default: result.append(scalar)
            }
        }
        throw Malformed()
    }

    /// The character of an escape. A surrogate, which stands for half a character, becomes `?`.
    private mutating func escaped() throws(Malformed) -> Unicode.Scalar {
        switch text.popFirst() {
        case "n": return "\n"
        case "r": return "\r"
        case "t": return "\t"
        case "b", "f": return " "
        case "u":
            var code: UInt32 = 0
            for _ in 0..<4 {
                guard let digit = text.popFirst(), digit.isASCII,
                    let value = Character(digit).hexDigitValue
                else { throw Malformed() }
                code = code << 4 | UInt32(value)
            }
            return Unicode.Scalar(code) ?? "?"
        case let other?: return other
        case nil: throw Malformed()
        }
    }

    private mutating func skipBlanks() {
        text = text.drop { " \t\r\n".unicodeScalars.contains($0) }
    }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        skipBlanks()
        guard text.first == scalar else { return false }
        text.removeFirst()
        return true
    }

    private mutating func expect(_ scalar: Unicode.Scalar) throws(Malformed) {
        guard take(scalar) else { throw Malformed() }
    }
}
