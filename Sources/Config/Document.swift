import Yams

/// A place in the file: line and column from 1, columns in Unicode scalars.
struct Position: Sendable, Hashable {
    var line: Int
    var column: Int
}

/// A YAML document without what a configuration does not need. This file is the only one that knows
/// Yams.
indirect enum Tree: Sendable {
    /// Text as it stands in the file, never resolved to a YAML 1.1 type (`no`, `1_000`, `12:30`).
    /// Quoted text may be empty; unquoted empty text is the absence of a value.
    case scalar(String, isQuoted: Bool, Position)
    case sequence([Tree], Position)
    case mapping([Entry], Position)

    /// A key with its value.
    struct Entry: Sendable {
        let key: String
        let position: Position
        let value: Tree
    }

    var position: Position {
        switch self {
        case .scalar(_, _, let position), .sequence(_, let position), .mapping(_, let position):
            position
        }
    }
}

/// What reading a text as YAML gives.
struct Document {
    /// The longest file in bytes.
    static let sizeLimit = 1_048_576

    /// The root; nil if the text is empty or has problems.
    private(set) var root: Tree?
    /// The problems of the text as YAML.
    private(set) var problems: [Diagnostic]
    private var remainingNodes: Int
    private let lines: TextLines

    /// Reads a text. It is refused if it is longer than `sizeLimit`, is no YAML, or uses what the
    /// configuration does without: anchors, aliases, tags, a second document.
    init(text: String) {
        // An unshared document has no more nodes than twice its characters. The bound holds even
        // if an alias has slipped through and makes a small text a huge tree.
        remainingNodes = 2 * text.utf8.count + 2
        problems = []
        lines = TextLines(text.utf8.count > Document.sizeLimit ? "" : text)
        guard text.utf8.count <= Document.sizeLimit else {
            report(Position(line: 1, column: 1), "the file is longer than 1 MiB")
            return
        }
        problems = Preflight.problems(in: text)
        guard problems.isEmpty else { return }
        do {
            // The basic resolver gives every scalar the same type, so that `1` and `"1"` are the
            // same key; the default one would also load the tables of regular expressions.
            if let node = try Yams.compose(yaml: text, .basic, .default, .utf8) {
                let tree = convert(node)
                if problems.isEmpty { root = tree }
            }
        } catch let error as YamlError {
            let problem = Document.describe(error, in: lines)
            report(problem.position, problem.message)
        } catch {
            report(Position(line: 1, column: 1), "the file cannot be read as YAML: \(error)")
        }
    }

    private mutating func report(_ position: Position, _ message: String) {
        problems.append(
            Diagnostic(line: position.line, column: position.column, path: "", message: message))
    }

    private mutating func convert(_ node: Node) -> Tree {
        let position = place(of: node)
        remainingNodes -= 1
        guard remainingNodes > 0 else {
            if remainingNodes == 0 { report(position, "aliases (*) are not supported") }
            return .sequence([], position)
        }
        switch node {
        case .scalar(let scalar):
            return .scalar(scalar.string, isQuoted: scalar.style != .plain, position)
        case .sequence(let sequence):
            return .sequence(sequence.map { convert($0) }, position)
        case .mapping(let mapping):
            return .mapping(convert(mapping), position)
        case .alias:
            report(position, "aliases (*) are not supported")
            return .sequence([], position)
        }
    }

    /// Where a node begins. An absent value at the end of a text without a last line break is
    /// reported by libyaml on the line that would follow.
    private func place(of node: Node) -> Position {
        guard let mark = node.mark else { return Position(line: 1, column: 1) }
        return lines.clamped(Position(line: mark.line, column: mark.column))
    }

    private mutating func convert(_ mapping: Node.Mapping) -> [Tree.Entry] {
        var entries: [Tree.Entry] = []
        for (key, value) in mapping {
            guard case .scalar(let text, _, let position) = convert(key) else {
                report(place(of: key), "a key has to be plain text")
                continue
            }
            entries.append(Tree.Entry(key: text, position: position, value: convert(value)))
        }
        return entries
    }

    private static func describe(
        _ error: YamlError, in lines: TextLines
    ) -> (position: Position, message: String) {
        switch error {
        case .scanner(let context, let problem, let mark, _),
            .parser(let context, let problem, let mark, _):
            let position = lines.clamped(Position(line: mark.line, column: mark.column))
            let hint = lines.hint(at: position, contextLine: context?.mark.line)
            return (position, "\(problem)\(hint)")
        case .composer(_, let problem, let mark, _):
            let position = lines.clamped(Position(line: mark.line, column: mark.column))
            let isSecond = problem.contains("another document")
            return (position, isSecond ? "the file has a second document; one is read" : problem)
        case .duplicatedKeysInMapping(let names, let context):
            let first = Position(line: context.mark.line, column: context.mark.column)
            let name = names.first ?? ""
            let place = lines.clamped(lines.repetition(of: name, at: first))
            let hint = place == first ? "" : " (first at line \(first.line))"
            return (place, "\(shown(name)) appears twice\(hint)")
        case .reader(let problem, _, _, _):
            return (lines.firstUnreadable, problem)
        default:
            return (Position(line: 1, column: 1), "the file cannot be read as YAML")
        }
    }
}
