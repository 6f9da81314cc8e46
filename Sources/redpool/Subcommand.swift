// The subcommands: what they take, and their help.

/// An option of a subcommand.
enum Option: String, CaseIterable {
    case config = "--config"
    case online = "--online"

    /// The name of the option's value in usage texts; nil: the option has no value.
    var value: String? {
        switch self {
        case .config: "<config>"
        case .online: nil
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
        case .online:
            """
              --online                Also resolve, connect to and log in at the server of
                                      each pool.
            """
        }
    }
}

enum Subcommand: String, CaseIterable {
    case run, check, ping, version

    static let defaultConfig = "/etc/redpool/redpool.yaml"
    static let generalUsage = "redpool <subcommand>"

    var options: [Option] {
        switch self {
        case .run, .ping: [.config]
        case .check: [.config, .online]
        case .version: []
        }
    }

    /// The usage of the operands that may follow, and how many there may be.
    var optionalOperands: (usage: String, most: Int)? {
        switch self {
        case .check: ("<file>", 1)
        case .ping: ("<pool>", 1)
        case .run, .version: nil
        }
    }

    var usage: String {
        let flags = options.map { option in
            "[" + ([option.rawValue] + (option.value.map { [$0] } ?? [])).joined(separator: " ")
                + "]"
        }
        let more = optionalOperands.map { ["[\($0.usage)]"] } ?? []
        return (["redpool", rawValue] + flags + more).joined(separator: " ")
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
