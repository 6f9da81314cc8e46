// The subcommands: what they take, and their help.

/// An option of a subcommand.
enum Option: String, CaseIterable {
    case config = "--config"
    case socket = "--socket"
    case online = "--online"
    case json = "--json"
    case watch = "--watch"
    case cut = "--cut"

    /// The name of the option's value in usage texts; nil: the option has no value.
    var value: String? {
        switch self {
        case .config: "<config>"
        case .socket: "<path>"
        case .online, .json, .watch, .cut: nil
        }
    }

    /// The lines of the help.
    var help: String {
        switch self {
        case .config:
            """
              --config <config>       The configuration file. (default:
                                      \(Subcommand.defaultConfig))
            """
        case .socket:
            """
              --socket <path>         The console's socket. (default:
                                      \(Subcommand.defaultSocket))
            """
        case .online:
            """
              --online                Also resolve, connect to and log in at the server of
                                      each pool.
            """
        case .json: "  --json                  Print JSON, whose keys are the column names."
        case .watch: "  --watch                 Print again every 2 s."
        case .cut:
            """
              --cut                   Close the clients that cannot be handed over after
                                      drainTimeout.
            """
        }
    }
}

enum Subcommand: String, CaseIterable {
    case run, check, ping
    case status, show
    case pause, resume, reconnect, kill, log, reload, upgrade
    case version

    static let defaultConfig = "/etc/redpool/redpool.yaml"
    static let defaultSocket = "/run/redpool/admin.sock"
    static let generalUsage = "redpool <subcommand>"

    var options: [Option] {
        switch self {
        case .run: [.config]
        case .check: [.config, .online]
        case .ping: [.config]
        case .status: [.socket, .watch]
        case .show: [.socket, .json, .watch]
        case .pause, .resume, .reconnect, .kill, .log, .reload: [.socket]
        case .upgrade: [.socket, .cut]
        case .version: []
        }
    }

    /// The names of the operands that are required.
    var operands: [String] {
        switch self {
        case .show: ["<word>"]
        case .pause, .resume, .reconnect: ["<pool>"]
        case .kill: ["client|upstream", "<id>"]
        case .log: ["level|clients", "<value>"]
        case .run, .check, .ping, .status, .reload, .upgrade, .version: []
        }
    }

    /// The usage of the operands that may follow, and how many there may be.
    var optionalOperands: (usage: String, most: Int)? {
        switch self {
        case .check: ("<file>", 1)
        case .ping: ("<pool>", 1)
        case .show: ("<word> ...", 16)
        case .pause: ("max <time>] [close", 3)
        case .log: ("for <time>", 2)
        case .run, .status, .resume, .reconnect, .kill, .reload, .upgrade, .version: nil
        }
    }

    var usage: String {
        let flags = options.map { option in
            "[" + ([option.rawValue] + (option.value.map { [$0] } ?? [])).joined(separator: " ")
                + "]"
        }
        let more = optionalOperands.map { ["[\($0.usage)]"] } ?? []
        return (["redpool", rawValue] + flags + operands + more).joined(separator: " ")
    }

    /// The help for all subcommands.
    static let generalHelp = """
        OVERVIEW: A local connection pool for Redis and Valkey.

        USAGE: \(generalUsage)

        \(options([]))

        SUBCOMMANDS:
        \(allCases.map(\.line).joined(separator: "\n"))

          See 'redpool help <subcommand>' for detailed help.
        """

    /// One line of the general help.
    private var line: String {
        "  " + rawValue + String(repeating: " ", count: 24 - rawValue.utf8.count) + overview
    }

    /// The help for this subcommand.
    var help: String {
        let parts = [
            "OVERVIEW: \(overview)", details, "USAGE: \(usage)", Subcommand.options(options),
        ]
        return parts.filter { !$0.isEmpty }.joined(separator: "\n\n")
    }

    private static func options(_ own: [Option]) -> String {
        let common = """
              --version               Show the version.
              -h, --help              Show help information.
            """
        return (["OPTIONS:"] + own.map(\.help) + [common]).joined(separator: "\n")
    }
}
