/// A valid configuration of the daemon: the contents of `redpool.yaml`, with every default filled
/// in.
///
/// A value of this type has passed all checks, so code that uses it need not check again. All
/// durations are in nanoseconds.
package struct Config: Sendable, Equatable {
    /// The pools, in the order of the file; at least one.
    package let pools: [PoolConfig]
    /// The worker threads, 1 to 64.
    package let threads: Int
    /// The most client connections at once, 1 to 1000000; nil is `auto`: as many as the limit on
    /// open files allows, at most 10000.
    package let maxClients: Int?
    /// The most reply bytes that are buffered for all clients together; at least 4194304.
    package let totalOutputLimit: Int
    /// How long SIGTERM and SIGINT wait for commands in flight, in nanoseconds; 0: they do not
    /// wait.
    package let drainTimeout: Int64
    /// What is logged and how.
    package let log: LogConfig
    /// The console.
    package let admin: AdminConfig
    /// Metrics, health and the status page.
    package let http: HttpConfig
}

/// Where metrics are served: the key `http`.
package struct HttpConfig: Sendable, Equatable {
    /// A TCP address; nil: they are not served.
    package let listen: ListenAddress?
}

/// Where the console listens: the key `admin`.
package struct AdminConfig: Sendable, Equatable {
    /// The path of the unix socket. Nil if the file does not have it: then it is
    /// `standardSocket`, if the directory exists. Empty: no console.
    package let socket: String?
    /// The permission bits of the socket, 0 to 0o777.
    package let mode: UInt32
    /// The group of the socket; empty leaves the group of the process.
    package let group: String

    /// Where the console listens unless the file says something else.
    package static let standardSocket = "/run/redpool/admin.sock"
}

/// What is logged and how: the key `log`.
package struct LogConfig: Sendable, Equatable {
    /// The least severe level that is logged.
    package enum Level: String, Sendable, CaseIterable {
        case error, warning, notice, info, debug
    }

    /// The format of a log line.
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
    /// The format of a log line.
    package let format: Format
    /// Whether each connect and disconnect of a client is logged, at level info.
    package let clients: Bool
    /// The time between two summary lines of a pool, in nanoseconds; 0: never.
    package let stats: Int64
}

extension Config {
    /// The same with the keys that need a restart as `first` has them.
    package func keeping(restartKeysOf first: Config) -> Config {
        Config(
            pools: pools, threads: first.threads, maxClients: maxClients,
            totalOutputLimit: totalOutputLimit, drainTimeout: drainTimeout, log: log,
            admin: first.admin, http: first.http)
    }
}

extension Config {
    /// Why a file could not be read.
    package struct FileError: Error, Equatable {
        /// The cause in words, for example `Permission denied`.
        package let message: String
        /// The system's `errno`; 0 for a cause that is not a system error.
        package let code: Int32

        package init(message: String, code: Int32 = 0) {
            self.message = message
            self.code = code
        }
    }

    /// Reads a complete file that the configuration names, for example a `passwordFile`.
    package typealias ReadFile = (String) throws(FileError) -> [UInt8]

    /// Reads a configuration.
    ///
    /// `text` is the contents of `file`; relative paths in it are relative to the directory of
    /// `file`. `readFile` is called for each file with passwords. The function is pure,
    /// except for `readFile` and `surroundings`.
    package static func parse(
        text: String, file: String, surroundings: Surroundings = Surroundings(),
        readFile: ReadFile
    ) -> ConfigResult {
        var resolution = Resolution(text: text)
        let contents = FileContents(
            passwords: resolution.readPasswords(.passwordFile, file: file, readFile: readFile),
            sentinelPasswords: resolution.readPasswords(
                .sentinelPasswordFile, file: file, readFile: readFile),
            clientUsers: resolution.readClientUsers(file: file, readFile: readFile),
            tls: resolution.readTLS(
                file: file, systemFiles: surroundings.authorities, readFile: readFile,
                judge: surroundings.judgeTLS ?? { _ in nil }),
            listenTLS: resolution.readListenTLS(
                file: file, readFile: readFile, judge: surroundings.judgeListenTLS ?? { _ in nil }))
        resolution.check(surroundings, file: file)
        let diagnostics = Diagnostic.sorted(resolution.diagnostics)
        guard resolution.isValid else { return .invalid(diagnostics) }
        return .valid(
            Config(resolution, contents), warnings: diagnostics)
    }
}
