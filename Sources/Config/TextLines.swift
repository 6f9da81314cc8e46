/// The lines of a text, for finding places in it and for explaining the YAML parser's errors.
struct TextLines {
    private let lines: [[Unicode.Scalar]]

    init(_ text: String) {
        var lines: [[Unicode.Scalar]] = [[]]
        var afterReturn = false
        for scalar in text.unicodeScalars {
            if scalar == "\n", afterReturn {
                afterReturn = false
                continue
            }
            afterReturn = scalar == "\r"
            if Preflight.isBreak(scalar) {
                lines.append([])
            } else {
                lines[lines.count - 1].append(scalar)
            }
        }
        self.lines = lines
    }

    /// The nearest place in the text. The place after the last character counts.
    func clamped(_ position: Position) -> Position {
        let line = min(max(1, position.line), lines.count)
        guard line == position.line else {
            return Position(line: line, column: lines[line - 1].count + 1)
        }
        return Position(
            line: line, column: min(max(1, position.column), lines[line - 1].count + 1))
    }

    /// The place after the last character.
    var end: Position {
        Position(line: lines.count, column: lines[lines.count - 1].count + 1)
    }

    /// The first character that YAML does not allow in a file; the start if there is none.
    var firstUnreadable: Position {
        for (row, line) in lines.enumerated() {
            if let column = line.firstIndex(where: { !TextLines.isReadable($0) }) {
                return Position(line: row + 1, column: column + 1)
            }
        }
        return Position(line: 1, column: 1)
    }

    /// The printable characters of YAML 1.1 (5.1), as libyaml's reader checks them.
    private static func isReadable(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x09, 0x20...0x7E, 0x85, 0xA0...0xD7FF, 0xE000...0xFFFD, 0x10000...0x10FFFF: true
        default: false
        }
    }

    /// The probable cause of a parser's error, to append to its message. `began` is the place where
    /// the parser began to read what it cannot understand.
    func hint(at position: Position, began: Position?) -> String {
        let line = lines[position.line - 1]
        if line.indices.contains(position.column - 1), line[position.column - 1] == "\t" {
            return " (indent with spaces, not with tabs)"
        }
        let nearby = [began?.line ?? 0, position.line, position.line - 1].filter {
            (1...lines.count).contains($0)
        }
        if nearby.contains(where: { hasBareIPv6(lines[$0 - 1]) }) {
            return " (an IPv6 address needs quotes: \"[::1]:6380\")"
        }
        let hints = nearby.map { number in
            var text = String.UnicodeScalarView()
            text.append(contentsOf: lines[number - 1])
            return BrokenPair.hint(String(text))
        }
        return hints.first { !$0.isEmpty } ?? ""
    }

    /// Whether a line has `[...]:` without a quote before it: YAML reads the bracket as a list.
    private func hasBareIPv6(_ line: [Unicode.Scalar]) -> Bool {
        guard let open = line.firstIndex(of: "["), let close = line.lastIndex(of: "]") else {
            return false
        }
        guard open < close, close + 1 < line.count, line[close + 1] == ":" else { return false }
        let quoted = line[..<open].contains { $0 == "\"" || $0 == "'" }
        let inside = line[(open + 1)..<close]
        return !quoted && inside.contains(":")
            && inside.allSatisfy { $0 == ":" || $0 == "." || $0.properties.isHexDigit }
    }
}
