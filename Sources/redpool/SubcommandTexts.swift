// The texts of the help, by subcommand.

extension Subcommand {
    /// What the subcommand does, in one line.
    var overview: String {
        switch self {
        case .run: "Run the daemon in the foreground."
        case .check: "Check a configuration, print what is in effect."
        case .ping: "Send PING through the pools, for probes."
        case .status: "Show what is wrong, and the pools, on one screen."
        case .show: "Show a table of the console."
        case .pause: "Hold the commands of a pool."
        case .resume: "End a pause."
        case .reconnect: "Replace the upstreams of a pool."
        case .kill: "Close a client or an upstream."
        case .log: "Change the log for a time."
        case .reload: "Apply a changed configuration."
        case .upgrade: "Put a new binary under running clients."
        case .version: "Print the version."
        }
    }

    /// What else the help says.
    var details: String {
        switch self {
        case .run, .check, .ping, .version: detailsOfProgram
        case .status, .show, .pause, .resume, .reconnect, .kill, .log, .reload, .upgrade:
            detailsOfConsole + "\n\n" + consoleExits
        }
    }

    private var detailsOfProgram: String {
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
        default: ""
        }
    }

    private var consoleExits: String {
        let unwell = self == .status ? "a pool is not well" : "the daemon refuses"
        return """
            EXIT CODES: 0, 1 \(unwell), 64 wrong usage, 69 no daemon answers.
            """
    }

    private var detailsOfConsole: String {
        switch self {
        case .status:
            """
            First what is wrong: pools that are down or stalled, clients that wait,
            Sentinels and nodes of clusters that are down, slots without an owner, a
            change that needs a restart. Then the pools, the primaries that Sentinels
            name with their last failovers, the maps of clusters, latencies, and the last
            five errors.
            """
        case .show:
            """
            The words are those of the console's SHOW: pools, clients, upstreams, nodes,
            sentinels, clusters, stats, latency, errors, slowlog, config, memory,
            version, help. Some take more words:
            'show clients main by wait limit 10'.
            """
        case .pause:
            """
            No command is sent to the server any more. What is in flight ends, and idle
            upstreams close. Ends by itself after 30 s, or the time behind 'max'. With
            'close', subscribers and other clients that stay are closed.
            """
        case .resume: "Clients that wait go on at once."
        case .reconnect: "Each upstream is closed as soon as it is free."
        case .kill: "The ids are those of 'show clients' and 'show upstreams'."
        case .log:
            """
            'log level debug for 10m' changes the level, 'log clients on' logs connects and
            disconnects. Both fall back by themselves.
            """
        case .reload:
            """
            Prints what has changed, or every problem of the file; then nothing has
            changed.
            """
        case .upgrade:
            """
            Executes the file that the daemon was started from, in its place: clients stay
            connected, blocked ones stay blocked, transactions stay open. The new program
            is tried before. What cannot be handed over is waited for, for drainTimeout.
            """
        default: ""
        }
    }
}
