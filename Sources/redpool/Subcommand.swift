// The subcommands and their help.

enum Subcommand: String {
    case run
    case check
    case version

    static let defaultConfig = "/etc/redpool/redpool.yaml"
    static let generalUsage = "redpool <subcommand>"

    var usage: String {
        switch self {
        case .run: "redpool run [--config <config>]"
        case .check: "redpool check <file>"
        case .version: "redpool version"
        }
    }

    /// The help for all subcommands.
    static let generalHelp = """
        OVERVIEW: A local connection pool for Redis and Valkey.

        USAGE: \(generalUsage)

        \(options)

        SUBCOMMANDS:
          run                     Run the daemon in the foreground.
          check                   Check a configuration file and print what is in
                                  effect.
          version                 Print the version.

          See 'redpool help <subcommand>' for detailed help.
        """

    /// The help for this subcommand.
    var help: String {
        switch self {
        case .run:
            """
            OVERVIEW: Run the daemon in the foreground.

            SIGTERM and SIGINT drain: no new clients, what is in flight is finished within
            drainTimeout, exit 0. A second one, or SIGQUIT, exits at once.

            USAGE: \(usage)

            OPTIONS:
              --config <config>       The configuration file. (default:
                                      \(Subcommand.defaultConfig))
            \(Subcommand.commonOptions)
            """
        case .check:
            """
            OVERVIEW: Check a configuration file and print what is in effect.

            USAGE: \(usage)

            ARGUMENTS:
              <file>                  The configuration file.

            \(Subcommand.options)
            """
        case .version:
            """
            OVERVIEW: Print the version.

            USAGE: \(usage)

            \(Subcommand.options)
            """
        }
    }

    private static let options = "OPTIONS:\n" + commonOptions
    private static let commonOptions = """
          --version               Show the version.
          -h, --help              Show help information.
        """
}
