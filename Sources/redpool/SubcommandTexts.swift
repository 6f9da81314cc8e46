// The texts of the help, by subcommand.

extension Subcommand {
    /// What the subcommand does, in one line.
    var overview: String {
        switch self {
        case .run: "Run the daemon in the foreground."
        case .check: "Check a configuration, print what is in effect."
        case .ping: "Send PING through the pools, for probes."
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

            With --online, a server that cannot be reached, refuses the login, or allows
            fewer clients than maxOpen, is printed for its pool.

            EXIT CODES: 0, 1 a server is not well (--online), 64 wrong usage, 66 the file
            cannot be read, 78 the configuration is wrong.
            """
        case .ping:
            """
            Connects to the first address of 'listen' of each pool, or of one, as a client
            does. The server has to answer within 6 s. The file is read, its password
            files are not.

            EXIT CODES: 0 every server has answered, 1 one has not, 64 wrong usage or no
            such pool, 66 the file cannot be read, 69 no daemon listens, 78 the
            configuration is wrong.
            """
        case .version: ""
        }
    }
}
