import ArgumentParser

/// The command line: `run` is the daemon, the others are for people and scripts.
@main
struct Redpool: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "redpool",
        abstract: "A local connection pool for Redis and Valkey.",
        version: redpoolVersion,
        subcommands: [Run.self, Check.self, Version.self])
}

/// The version of this tree, as CHANGELOG.md has it.
let redpoolVersion = "0.1.0"

struct Version: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Print the version.")

    func run() {
        print("redpool \(redpoolVersion)")
    }
}
