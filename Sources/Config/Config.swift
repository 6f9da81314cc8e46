/// A valid configuration of the daemon: what `redpool.yaml` says, with every default filled in.
///
/// A value of this type has passed all checks; code that uses it need not check again. All
/// durations are nanoseconds.
package struct Config: Sendable, Equatable {
    /// The pools, in the order of the file; at least one.
    package let pools: [PoolConfig]
    /// The worker threads, 1 to 64.
    package let threads: Int
    /// The most client connections at once, 1 to 1000000; nil is `auto`: what the limit of open
    /// files allows, at most 10000.
    package let maxClients: Int?
    /// The most reply bytes that are held for all clients together; at least 4194304.
    package let totalOutputLimit: Int
    /// How long SIGTERM and SIGINT wait for what is in flight, in nanoseconds; 0 does not wait.
    package let drainTimeout: Int64
    /// What is logged and how.
    package let log: LogConfig
}

/// What is logged and how: the key `log`.
package struct LogConfig: Sendable, Equatable {
    /// The least severe level that is logged.
    package enum Level: String, Sendable, CaseIterable {
        case error, warning, notice, info, debug
    }

    /// How a log line looks.
    package enum Format: String, Sendable, CaseIterable {
        /// Priorities for the journal under systemd, text on a terminal, logfmt otherwise.
        case auto
        /// Time, level, message, then the fields.
        case text
        /// `key=value` fields only.
        case logfmt
    }

    /// The least severe level that is logged.
    package let level: Level
    /// How a log line looks.
    package let format: Format
    /// Whether each connect and disconnect of a client is logged, at level info.
    package let clients: Bool
    /// The time between two summary lines of a pool, in nanoseconds; 0 is never.
    package let stats: Int64
}

extension Config {
    /// Why a file could not be read.
    package struct FileError: Error, Equatable {
        /// The cause in words, such as `Permission denied`.
        package let message: String
        /// The system's `errno`; 0 if the cause is another one.
        package let code: Int32

        package init(message: String, code: Int32 = 0) {
            self.message = message
            self.code = code
        }
    }

    /// Reads a whole file that the configuration names, such as a `passwordFile`.
    package typealias ReadFile = (String) throws(FileError) -> [UInt8]

    /// Reads a configuration.
    ///
    /// `text` is the contents of `file`; relative paths in it are relative to the directory of
    /// `file`. `readFile` is called for each `passwordFile`, once for each distinct path. The
    /// function is pure apart from what `readFile` does.
    package static func parse(text: String, file: String, readFile: ReadFile) -> ConfigResult {
        var resolution = Resolution(text: text)
        let passwords = resolution.readPasswords(file: file, readFile: readFile)
        let diagnostics = Diagnostic.sorted(resolution.diagnostics)
        guard resolution.isValid else { return .invalid(diagnostics) }
        return .valid(Config(resolution, passwords: passwords), warnings: diagnostics)
    }
}
