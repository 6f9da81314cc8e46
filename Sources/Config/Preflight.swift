/// Reads the text of a file once before the YAML parser does and refuses what the parser would
/// take: anchors, aliases, tags, directives, block scalars. No configuration needs them, and each
/// can make a file mean something else than it seems to.
///
/// It knows just enough of YAML to tell where a token begins: quoted text, comments, flow brackets,
/// indicators. What it does not understand it passes over, and leaves to the parser.
struct Preflight {
    private let scalars: [Unicode.Scalar]
    private var index = 0
    private var position = Position(line: 1, column: 1)
    private var flowDepth = 0
    private var problems: [Diagnostic] = []

    /// The problems of a text, in its order.
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
                // A block scalar's lines are text, in which nothing begins a token.
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

    /// Why a token may not begin with a character; nil if it may.
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

    /// Passes over unquoted text up to what ends it: `: `, ` #`, a line's end, or in a flow
    /// collection one of its indicators.
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
                // In single quotes, a doubled quote stands for one.
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

    /// Whether what stands `offset` from here ends a token: a blank, a break, a flow indicator, the
    /// end of the text.
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
