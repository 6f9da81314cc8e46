// The texts of the help, by subcommand.

extension Subcommand {
    /// What the subcommand does, in one line.
    var overview: String {
        switch self {
        case .run: "Run the daemon in the foreground."
        case .check: "Check a configuration, print what is in effect."
        case .version: "Print the version."
        }
    }

    /// What else the help says.
    var details: String {
        switch self {
        case .run:
            """
            SIGTERM and SIGINT drain: no new clients, what is in flight is finished within
            drainTimeout, exit 0. A second one, or SIGQUIT, exits at once.
            """
        case .check:
            """
            Every problem is printed with its line and column. Without one, the
            configuration in effect is printed, with the origin of each value. The file
            '-' is standard input.

            EXIT CODES: 0, 64 wrong usage, 66 the file cannot be read, 78 the
            configuration is wrong.
            """
        case .version: ""
        }
    }
}
