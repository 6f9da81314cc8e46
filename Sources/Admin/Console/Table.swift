// A table of the console, and its three forms: lines for RESP2 and RESP3, and JSON. Rendering can
// stop at any row and go on later, because the main thread must not be held up.

import RESP

/// A value in a table.
enum Cell: Equatable {
    /// There is none: `-`, and null in JSON.
    case absent
    case number(Int64)
    case text(String)

    /// A text from a client or a server.
    static func plain(_ bytes: [UInt8]) -> Cell {
        bytes.isEmpty ? .absent : .text(PlainText.of(bytes))
    }

    static func plain(_ text: String?, longest: Int = PlainText.longest) -> Cell {
        guard let text, !text.isEmpty else { return .absent }
        return .text(PlainText.of(text, longest: longest))
    }

    static func count(_ number: some BinaryInteger) -> Cell { .number(Int64(clamping: number)) }

    static func count(_ number: (some BinaryInteger)?) -> Cell {
        number.map { .number(Int64(clamping: $0)) } ?? .absent
    }

    /// A duration in nanoseconds, in milliseconds.
    static func milliseconds(_ nanoseconds: Int64?) -> Cell {
        nanoseconds.map { .number($0 / 1_000_000) } ?? .absent
    }

    /// A duration in nanoseconds, in seconds.
    static func seconds(_ nanoseconds: Int64?) -> Cell {
        nanoseconds.map { .number($0 / 1_000_000_000) } ?? .absent
    }

    /// As in a table for people.
    var shown: String {
        switch self {
        case .absent: "-"
        case .number(let number): "\(number)"
        case .text(let text): text
        }
    }
}

/// Columns with names, and rows that are made when they are needed.
struct Table {
    let columns: [String]
    let count: Int
    let row: (Int) -> [Cell]

    init(_ columns: [String], count: Int, row: @escaping (Int) -> [Cell]) {
        self.columns = columns
        self.count = count
        self.row = row
    }

    init(_ columns: [String], _ rows: [[Cell]]) {
        self.init(columns, count: rows.count) { rows[$0] }
    }
}

/// Renders a table in pieces.
struct TableRenderer {
    /// What the caller gets.
    enum Form: Equatable {
        /// One line for each row: an array of simple strings in RESP2, one text in RESP3.
        case lines(ProtocolVersion)
        /// A bulk string: an array with an object for each row.
        case json
    }

    /// `measuring` -> `writing` -> `done`; JSON needs no measuring.
    private enum Stage {
        case measuring(next: Int)
        case writing(next: Int)
        case done
    }

    private let table: Table
    private let form: Form
    private var stage: Stage
    private var rows: [[Cell]] = []
    private var widths: [Int]
    private var hasText: [Bool]
    private var body: [UInt8] = []

    init(_ table: Table, as form: Form) {
        self.table = table
        self.form = form
        stage = form == .json ? .writing(next: 0) : .measuring(next: 0)
        widths = table.columns.map(\.utf8.count)
        hasText = Array(repeating: false, count: table.columns.count)
    }

    /// Goes on until the reply is complete, or `isOver` says so behind a row. Returns the reply
    /// when it is complete.
    mutating func work(until isOver: () -> Bool) -> [UInt8]? {
        while true {
            switch stage {
            case .measuring(let row):
                if row == table.count {
                    begin()
                    stage = .writing(next: 0)
                } else {
                    measure(table.row(row))
                    stage = .measuring(next: row + 1)
                }
            case .writing(let row):
                if row == table.count {
                    stage = .done
                    return end()
                }
                write(row)
                stage = .writing(next: row + 1)
            case .done: return nil
            }
            if isOver() { return nil }
        }
    }

    // MARK: Lines

    private mutating func measure(_ cells: [Cell]) {
        for (column, cell) in cells.enumerated() {
            widths[column] = max(widths[column], cell.shown.unicodeScalars.count)
            if case .text = cell { hasText[column] = true }
        }
        rows.append(cells)
    }

    private mutating func begin() {
        if form == .lines(.resp2) { Encode.arrayHeader(table.count + 1, into: &body) }
        line(table.columns)
    }

    private mutating func write(_ row: Int) {
        switch form {
        case .lines: line(rows[row].map(\.shown))
        case .json: object(table.row(row), isFirst: row == 0)
        }
    }

    /// Columns of numbers stand on the right, others on the left. Two blanks are between columns,
    /// and none at the end.
    private mutating func line(_ cells: [String]) {
        if form == .lines(.resp2) { body.append(UInt8(ascii: "+")) }
        let start = body.count
        var blanks = 0
        for (column, cell) in cells.enumerated() {
            let missing = widths[column] - cell.unicodeScalars.count
            if !hasText[column] { blanks += missing }
            if body.count > start || blanks > 0 {
                body.append(contentsOf: repeatElement(UInt8(ascii: " "), count: blanks))
            }
            body.append(contentsOf: cell.utf8)
            blanks = 2 + (hasText[column] ? missing : 0)
        }
        if form == .lines(.resp2) { body.append(UInt8(ascii: "\r")) }
        body.append(UInt8(ascii: "\n"))
    }

    // MARK: JSON

    private mutating func object(_ cells: [Cell], isFirst: Bool) {
        body.append(contentsOf: (isFirst ? "[{" : ",\n {").utf8)
        for (column, cell) in cells.enumerated() {
            if column > 0 { body.append(contentsOf: ", ".utf8) }
            JSON.append(table.columns[column], to: &body)
            body.append(contentsOf: ": ".utf8)
            switch cell {
            case .absent: body.append(contentsOf: "null".utf8)
            case .number(let number): Encode.decimal(number, into: &body)
            case .text(let text): JSON.append(text, to: &body)
            }
        }
        body.append(UInt8(ascii: "}"))
    }

    private mutating func end() -> [UInt8] {
        var reply: [UInt8] = []
        switch form {
        case .lines(.resp2): return body
        case .lines(.resp3):
            body.removeLast()
            Encode.verbatim(body, .resp3, into: &reply)
        case .json:
            body.append(contentsOf: (table.count == 0 ? "[]" : "]").utf8)
            Encode.bulk(body, into: &reply)
        }
        return reply
    }
}

enum JSON {
    /// Appends a text with its quotes.
    static func append(_ text: String, to output: inout [UInt8]) {
        output.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                output.append(UInt8(ascii: "\\"))
                output.append(byte)
            case 0..<0x20, 0x7F:
                output.append(contentsOf: "\\u00".utf8)
                output.append(digit(byte >> 4))
                output.append(digit(byte & 15))
            default: output.append(byte)
            }
        }
        output.append(UInt8(ascii: "\""))
    }

    private static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }
}
