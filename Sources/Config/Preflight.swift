/// Reads the text of a file before the YAML parser and refuses features that the parser would
/// accept: anchors, aliases, tags, directives, block scalars. No configuration needs them, and each
/// can give a file another meaning than it seems to have.
///
/// It knows just enough of YAML to find the beginnings of tokens: quoted text, comments, flow
/// brackets, indicators. It skips what it does not understand and leaves it to the parser.
struct Preflight {
    private let scalars: [Unicode.Scalar]
    private var index = 0
    private var position = Position(line: 1, column: 1)
    private var flowDepth = 0
    private var problems: [Diagnostic] = []

    /// The problems of a text, in the order of the text.
    static func problems(in text: String) -> [Diagnostic] {
        var preflight = Preflight(scalars: Array(text.unicodeScalars))
        preflight.run()
        return preflight.problems
    }

    private init(scalars: [Unicode.Scalar]) {
        self.scalars = scalars
    }

    private mutating func run() {
        while let scalar = peek(0), problems.count < Diagnostic.limit {
            if let message = Preflight.refused(scalar, atLineStart: position.column == 1) {
                report(message)
                // The lines of a block scalar are text and contain no tokens.
                if scalar == "|" || scalar == ">" { return }
                skipPlain()
                continue
            }
            switch scalar {
            case "#": skipLine()
            case "'": skipQuoted(by: "'", escape: nil)
            case "\"": skipQuoted(by: "\"", escape: "\\")
            case "[", "{":
                flowDepth += 1
                advance()
            case "]", "}":
                flowDepth = max(0, flowDepth - 1)
                advance()
            default:
                if Preflight.isBlank(scalar) || isIndicator(scalar) {
                    advance()
                } else {
                    skipPlain()
                }
            }
        }
    }

    /// Why no token may begin with this character; nil if it may.
    private static func refused(_ scalar: Unicode.Scalar, atLineStart: Bool) -> String? {
        switch scalar {
        case "&": "anchors (&) are not supported"
        case "*": "aliases (*) are not supported; text that begins with * needs quotes (\"*:6380\")"
        case "!": "tags (!) are not supported; text that begins with ! needs quotes"
        case "|", ">": "block text (| and >) is not supported"
        case "%" where atLineStart: "YAML directives (%) are not supported"
        default: nil
        }
    }

    private func isIndicator(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "-": isEnd(1)
        case "?", ":": flowDepth > 0 || isEnd(1)
        case ",": flowDepth > 0
        default: false
        }
    }

    /// Skips unquoted text up to its end: `: `, ` #`, the end of the line, or, in a flow
    /// collection, a flow indicator.
    private mutating func skipPlain() {
        advance()
        while let scalar = peek(0), !Preflight.isBreak(scalar) {
            if scalar == ":", isEnd(1) { return }
            if scalar == "#", let before = peek(-1), Preflight.isBlank(before) { return }
            if flowDepth > 0, ",[]{}".unicodeScalars.contains(scalar) { return }
            advance()
        }
    }

    private mutating func skipQuoted(by quote: Unicode.Scalar, escape: Unicode.Scalar?) {
        advance()
        while let scalar = peek(0) {
            advance()
            if scalar == escape {
                advance()
            } else if scalar == quote {
                // In single quotes, two quotes are one quote character.
                guard escape == nil, peek(0) == quote else { return }
                advance()
            }
        }
    }

    private mutating func skipLine() {
        while let scalar = peek(0), !Preflight.isBreak(scalar) { advance() }
    }

    private mutating func report(_ message: String) {
        problems.append(
            Diagnostic(line: position.line, column: position.column, path: "", message: message))
    }

    private func peek(_ offset: Int) -> Unicode.Scalar? {
        let place = index + offset
        return scalars.indices.contains(place) ? scalars[place] : nil
    }

    /// Whether a token ends at `offset` from here: at a blank, a line break, a flow indicator or
    /// the end of the text.
    private func isEnd(_ offset: Int) -> Bool {
        guard let scalar = peek(offset) else { return true }
        if Preflight.isBlank(scalar) || Preflight.isBreak(scalar) { return true }
        return flowDepth > 0 && ",[]{}".unicodeScalars.contains(scalar)
    }

    private mutating func advance() {
        guard let scalar = peek(0) else { return }
        index += 1
        position.column += 1
        if Preflight.isBreak(scalar), !(scalar == "\r" && peek(0) == "\n") {
            position = Position(line: position.line + 1, column: 1)
        }
    }

    private static func isBlank(_ scalar: Unicode.Scalar) -> Bool {
        scalar == " " || scalar == "\t" || scalar == "\u{FEFF}" || isBreak(scalar)
    }

    /// The line breaks of YAML 1.1, which libyaml counts.
    static func isBreak(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "\n", "\r", "\u{85}", "\u{2028}", "\u{2029}": true
        default: false
        }
    }
}
