/// A place in the file: line and column from 1, columns in Unicode scalars.
struct Position: Sendable, Hashable {
    var line: Int
    var column: Int
}

/// A YAML document without what a configuration does not need.
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

    /// Reads a text. It is refused if it is longer than `sizeLimit`, is no YAML, or uses what the
    /// configuration does without: anchors, aliases, tags, a second document.
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
