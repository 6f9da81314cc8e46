// Tables of text with aligned columns, for a terminal.

/// A table. Numbers are aligned at the right, all else at the left.
struct TextTable {
    private let header: [String]
    private var rows: [[String]] = []

    init(_ header: [String]) { self.header = header }

    /// Adds a row with a cell for each column.
    mutating func add(_ cells: [String]) { rows.append(cells) }

    /// The lines, none longer than `width` if the first column can be cut so far.
    func lines(width: Int) -> [String] {
        var widths = header.indices.map { column in
            ([header] + rows).map { $0[column].count }.max() ?? 0
        }
        let surplus = widths.reduce(0) { $0 + $1 + 1 } - 1 - width
        if surplus > 0, let first = widths.first { widths[0] = max(4, first - surplus) }
        return ([header] + rows).map { cells in
            let padded = cells.enumerated().map { column, cell in
                TextTable.fitted(
                    cell, widths[column], isNumber: isNumeric(column))
            }
            return TextTable.trimmed(padded.joined(separator: " "))
        }
    }

    /// Whether the column has a number, with or without a unit, in every row that has a value. A
    /// time of day is none.
    private func isNumeric(_ column: Int) -> Bool {
        rows.allSatisfy { row in
            let cell = row[column]
            return cell == "-"
                || (cell.first.map { $0.isNumber || $0 == ">" } == true && !cell.contains(":"))
        }
    }

    private static func fitted(_ cell: String, _ width: Int, isNumber: Bool) -> String {
        if cell.count > width { return cut(cell, width) }
        let gap = String(repeating: " ", count: width - cell.count)
        return isNumber ? gap + cell : cell + gap
    }

    /// The text, cut with `~` at its end if it is longer.
    static func cut(_ text: String, _ width: Int) -> String {
        text.count > width ? text.prefix(max(0, width - 1)) + "~" : text
    }

    private static func trimmed(_ line: String) -> String {
        var line = line
        while line.last == " " { line.removeLast() }
        return line
    }
}
