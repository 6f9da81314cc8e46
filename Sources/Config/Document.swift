/// A place in the file: line and column, starting at 1; columns count Unicode scalars.
struct Position: Sendable, Hashable, CustomStringConvertible {
    var line: Int
    var column: Int

    /// The place for messages: `3:13`.
    var description: String { "\(line):\(column)" }
}

/// A YAML document, reduced to what a configuration needs.
indirect enum Tree: Sendable {
    /// Text as in the file, never resolved to a YAML 1.1 type (`no`, `1_000`, `12:30`). Quoted text
    /// may be empty; unquoted empty text means that there is no value.
    case scalar(String, isQuoted: Bool, Position)
    case sequence([Tree], Position)
    case mapping([Entry], Position)

    /// A key with its value.
    struct Entry: Sendable {
        let key: String
        let position: Position
        let value: Tree
    }

    /// The text of a scalar.
    var text: String? {
        if case .scalar(let text, _, _) = self { text } else { nil }
    }

    var position: Position {
        switch self {
        case .scalar(_, _, let position), .sequence(_, let position), .mapping(_, let position):
            position
        }
    }
}

/// The result of reading a text as YAML.
struct Document {
    /// The longest file in bytes.
    static let sizeLimit = 1_048_576

    /// The root; nil if the text is empty or has problems.
    private(set) var root: Tree?
    /// The problems of the text as YAML.
    private(set) var problems: [Diagnostic]

    /// Reads a text. Refuses one that is longer than `sizeLimit`, is not YAML, or uses a feature
    /// that configurations do not need: anchors, aliases, tags, a second document.
    init(text: String) {
        problems = []
        guard text.utf8.count <= Document.sizeLimit else {
            problems = [
                Diagnostic(line: 1, column: 1, path: "", message: "the file is longer than 1 MiB")
            ]
            return
        }
        problems = Preflight.problems(in: text)
        guard problems.isEmpty else { return }
        var composer = Composer(text)
        let tree = composer.compose()
        problems = composer.problems
        if problems.isEmpty { root = tree }
    }
}
