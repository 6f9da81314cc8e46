// The command line: a subcommand and its arguments. It is read by hand, because
// swift-argument-parser links Foundation; with that the binary had 16 MB instead of 10
// (docs/architecture.md).

/// The request on the command line.
enum Invocation {
    case run(config: String)
    /// Show that this program could take over from another one, see `Upgrader`.
    case rehearse(config: String)
    case check(CheckRequest)
    case ping(config: String, pool: String?)
    case status(ConsoleRequest)
    case console(ConsoleRequest)
    case version
    /// Only the version, for scripts (`--version`).
    case bareVersion
    /// The help for a subcommand; nil: for all of them.
    case help(Subcommand?)
}

/// What `redpool check` is to check.
struct CheckRequest {
    /// `-` is standard input.
    let file: String
    let isOnline: Bool
}

/// A command for the console of a running daemon.
struct ConsoleRequest {
    let subcommand: Subcommand
    /// The path of the console's socket.
    let socket: String
    /// The words behind the subcommand.
    let words: [String]
    let wantsJSON: Bool
    /// Whether the answer is printed again and again.
    let isWatched: Bool
}

/// A wrong command line: what is wrong, and with which subcommand.
struct UsageError: Error {
    let problem: String
    let subcommand: Subcommand?

    /// The text for standard error.
    var message: String {
        let name = subcommand.map { "redpool \($0.rawValue)" } ?? "redpool"
        return """
            Error: \(problem)
            Usage: \(subcommand?.usage ?? Subcommand.generalUsage)
              See '\(name) --help' for more information.
            """
    }
}

/// The words of the command line, in order.
private struct Words {
    private var rest: ArraySlice<String>
    private var isPastOptions = false

    enum Word {
        case option(name: String, attached: String?)
        case operand(String)
    }

    init(_ rest: ArraySlice<String>) { self.rest = rest }

    /// The next word. After `--` all words are operands; `-` is always one.
    mutating func next() -> Word? {
        guard let word = rest.popFirst() else { return nil }
        if isPastOptions || !word.hasPrefix("-") || word == "-" { return .operand(word) }
        if word == "--" {
            isPastOptions = true
            return next()
        }
        guard word.hasPrefix("--"), let sign = word.firstIndex(of: "=") else {
            return .option(name: word, attached: nil)
        }
        return .option(
            name: String(word[..<sign]), attached: String(word[word.index(after: sign)...]))
    }

    /// The value of the last option: attached to it, or the next word.
    mutating func value(_ attached: String?) -> String? {
        if let attached { return attached }
        guard let word = rest.first, !word.hasPrefix("-") || word == "-" else { return nil }
        return rest.popFirst()
    }
}

extension Invocation {
    /// Reads the words after the program's name.
    init(_ arguments: ArraySlice<String>) throws(UsageError) {
        guard let first = arguments.first else {
            self = .help(nil)
            return
        }
        switch first {
        case "help":
            self = .help(arguments.dropFirst().first.flatMap(Subcommand.init))
        case "-h", "--help": self = .help(nil)
        case "--version": self = .bareVersion
        case "rehearse":
            let words = Array(arguments.dropFirst())
            guard words.count == 2, words[0] == Option.config.rawValue else {
                throw UsageError(problem: "rehearse is for redpool upgrade", subcommand: nil)
            }
            self = .rehearse(config: words[1])
        default:
            guard let subcommand = Subcommand(rawValue: first) else {
                let kind = first.hasPrefix("-") ? "Unknown option" : "Unexpected argument"
                throw UsageError(problem: "\(kind) '\(first)'", subcommand: nil)
            }
            self = try Invocation(subcommand, Words(arguments.dropFirst()))
        }
    }

    private init(_ subcommand: Subcommand, _ given: Words) throws(UsageError) {
        var words = given
        var values: [Option: String] = [:]
        var operands: [String] = []
        let most = subcommand.operands.count + (subcommand.optionalOperands?.most ?? 0)
        while let word = words.next() {
            switch word {
            case .option("-h", nil), .option("--help", nil):
                self = .help(subcommand)
                return
            case .option("--version", nil):
                self = .bareVersion
                return
            case .option(let name, let attached):
                let option = subcommand.options.first { $0.rawValue == name }
                guard let option, option.value != nil || attached == nil else {
                    throw UsageError(problem: "Unknown option '\(name)'", subcommand: subcommand)
                }
                guard let kind = option.value else {
                    values[option] = ""
                    continue
                }
                guard let value = words.value(attached) else {
                    throw UsageError(
                        problem: "Missing value for '\(name) \(kind)'", subcommand: subcommand)
                }
                values[option] = value
            case .operand(let operand):
                guard operands.count < most else {
                    throw UsageError(
                        problem: "Unexpected argument '\(operand)'", subcommand: subcommand)
                }
                operands.append(operand)
            }
        }
        guard operands.count >= subcommand.operands.count else {
            throw UsageError(
                problem: "Missing expected argument '\(subcommand.operands[operands.count])'",
                subcommand: subcommand)
        }
        self = try Invocation(subcommand, values, operands)
    }

    private init(
        _ subcommand: Subcommand, _ values: [Option: String], _ operands: [String]
    ) throws(UsageError) {
        let config = values[.config] ?? Subcommand.defaultConfig
        switch subcommand {
        case .run: self = .run(config: config)
        case .version: self = .version
        case .ping: self = .ping(config: config, pool: operands.first)
        case .check:
            if let file = operands.first, values[.config] != nil {
                throw UsageError(problem: "Unexpected argument '\(file)'", subcommand: .check)
            }
            self = .check(
                CheckRequest(file: operands.first ?? config, isOnline: values[.online] != nil))
        case .status, .show, .pause, .resume, .reconnect, .kill, .log, .reload, .upgrade:
            let cut = values[.cut] != nil ? ["CUT"] : []
            let request = ConsoleRequest(
                subcommand: subcommand, socket: values[.socket] ?? Subcommand.defaultSocket,
                words: operands + cut, wantsJSON: values[.json] != nil,
                isWatched: values[.watch] != nil)
            self = subcommand == .status ? .status(request) : .console(request)
        }
    }
}
