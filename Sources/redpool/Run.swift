import ArgumentParser
import EventLoop
import Glibc

/// The daemon, in the foreground.
struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the daemon in the foreground.",
        discussion: """
            SIGTERM and SIGINT drain: no new clients, what is in flight is finished within \
            drainTimeout, exit 0. A second one, or SIGQUIT, exits at once.
            """)

    @Option(help: "The configuration file.")
    var config = "/etc/redpool/redpool.yaml"

    func run() throws {
        do {
            let daemon = try Daemon(configPath: config)
            try daemon.run()
        } catch let failure as StartFailure {
            complain(failure.message)
            throw ExitCode(failure.code)
        }
    }
}
