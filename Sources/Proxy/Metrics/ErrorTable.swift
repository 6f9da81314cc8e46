// What has gone wrong in a pool, one row for each kind and word: how often, when first and last,
// and what was said last.

package import Pool

/// What a row of the table counts.
package enum ErrorRowKind: UInt8, CaseIterable, Sendable {
    /// Commands that got an error of Redpool's own.
    case refused
    /// Clients that were closed.
    case client
    /// Upstreams that were closed.
    case upstream
    /// Dials that failed.
    case dial
    /// Error replies of the server to commands of clients.
    case reply

    package var word: String { "\(self)" }
}

/// A row of the table.
package struct ErrorRow: Equatable, Sendable {
    package let pool: String
    package let kind: ErrorRowKind
    /// The reason, or the first word of the server's error.
    package let word: String
    package var count: UInt64
    package var first: MonotonicTime
    package var last: MonotonicTime
    /// Empty if nothing was said. Words of the server's replies are not kept: they can quote keys.
    package var text: String

    /// Adds another worker's row of the same kind and word.
    package mutating func add(_ other: ErrorRow) {
        count += other.count
        first = min(first, other.first)
        if other.last >= last, !other.text.isEmpty { text = other.text }
        last = max(last, other.last)
    }

    /// The rows of several workers, those of one kind and word added; the latest first.
    package static func merged(_ rows: [ErrorRow]) -> [ErrorRow] {
        var merged: [ErrorRow] = []
        for row in rows {
            let same = merged.firstIndex {
                $0.pool == row.pool && $0.kind == row.kind && $0.word == row.word
            }
            if let same { merged[same].add(row) } else { merged.append(row) }
        }
        return merged.sorted {
            $0.last == $1.last
                ? ($0.pool, $0.kind.rawValue, $0.word) < ($1.pool, $1.kind.rawValue, $1.word)
                : $0.last > $1.last
        }
    }
}

/// The table of one pool on one worker. Counting allocates nothing.
struct ErrorTable {
    private struct Entry {
        var count: UInt64 = 0
        var first = MonotonicTime(nanoseconds: 0)
        var last = MonotonicTime(nanoseconds: 0)
        var text = ""
    }

    /// Those of one kind behind those of the other.
    private var entries: [Entry]

    /// The words of each kind; the place of a word is the raw value of its case.
    private static let words: [[String]] = ErrorRowKind.allCases.map { kind in
        switch kind {
        case .refused: RefusedReason.allCases.map(\.word)
        case .client: ClientCloseReason.allCases.map(\.word)
        case .upstream, .dial: CloseReason.allCases.map(\.word)
        case .reply: ErrorWord.allCases.map(\.word)
        }
    }
    /// The words are made when they are asked for: most processes never are.
    private static let starts: [Int] = [
        RefusedReason.allCases.count, ClientCloseReason.allCases.count,
        CloseReason.allCases.count, CloseReason.allCases.count, ErrorWord.allCases.count,
    ].reduce(into: [0]) { $0.append($0.last! + $1) }

    init() { entries = Array(repeating: Entry(), count: ErrorTable.starts.last!) }

    /// Counts one of `kind`; `reason` is the raw value of its reason. An empty text keeps the last.
    mutating func count(
        _ kind: ErrorRowKind, _ reason: UInt8, times: Int = 1, _ text: String = "",
        now: MonotonicTime
    ) {
        let place = ErrorTable.starts[Int(kind.rawValue)] + Int(reason)
        if entries[place].count == 0 { entries[place].first = now }
        entries[place].count += UInt64(times)
        entries[place].last = now
        if !text.isEmpty { entries[place].text = text }
    }

    /// How many of `kind` were counted for this reason.
    func total(_ kind: ErrorRowKind, _ reason: UInt8) -> UInt64 {
        entries[ErrorTable.starts[Int(kind.rawValue)] + Int(reason)].count
    }

    /// How many of `kind` were counted for each reason, in the order of its cases.
    func totals(_ kind: ErrorRowKind) -> [UInt64] {
        let start = ErrorTable.starts[Int(kind.rawValue)]
        return entries[start..<ErrorTable.starts[Int(kind.rawValue) + 1]].map(\.count)
    }

    /// The rows in which something was counted.
    func rows(of pool: String) -> [ErrorRow] {
        var rows: [ErrorRow] = []
        for kind in ErrorRowKind.allCases {
            let start = ErrorTable.starts[Int(kind.rawValue)]
            for (offset, word) in ErrorTable.words[Int(kind.rawValue)].enumerated() {
                let entry = entries[start + offset]
                guard entry.count > 0 else { continue }
                rows.append(
                    ErrorRow(
                        pool: pool, kind: kind, word: word, count: entry.count,
                        first: entry.first, last: entry.last, text: entry.text))
            }
        }
        return rows
    }
}
