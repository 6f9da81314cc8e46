/// The configuration of one pool: where its clients connect, which upstream it uses, and its
/// limits. All durations are in nanoseconds.
package struct PoolConfig: Sendable, Equatable {
    /// What a client sees when an upstream connection is lost with its commands in flight.
    package enum OnUpstreamLoss: String, Sendable, CaseIterable {
        /// The client's connection is closed, as if the server had closed it.
        case close
        /// The client gets an error reply, `-UPSTREAMLOST`, for each of its commands.
        case error
    }

    /// Which commands go to replicas.
    package enum Reads: String, Sendable, CaseIterable {
        /// None.
        case primary
        /// Those that only read.
        case replica
        /// Those of clients that have sent READONLY.
        case client
    }

    /// The name, `[a-z0-9_-]{1,32}`; it labels the pool's log lines.
    package let name: String
    /// Where clients connect; at least one address, none of them used by another pool.
    package let listen: [ListenAddress]
    /// TLS for clients; nil if no address in `listen` has it.
    package let listenTLS: ListenTLS?
    /// Where the servers come from.
    package let source: PoolUpstream
    /// Which commands go to replicas; with `upstream` none.
    package let reads: Reads
    /// A replica that is further behind than this, in nanoseconds, is not read from.
    package let maxReplicaLag: Int64
    /// TLS to the servers; nil without.
    package let upstreamTLS: UpstreamTLS?
    /// The database that upstream connections select, 0 to 2147483647.
    package let upstreamDatabase: Int
    /// The ACL user that upstream connections authenticate as; empty is the default user.
    package let username: String
    /// The password that upstream connections authenticate with; nil: no authentication. Never
    /// printed: descriptions of this type show `***`.
    package let password: Secret?
    /// The users that clients have to log in as; nil: clients need no login.
    package let clientUsers: ClientUsers?
    /// The most upstream connections of any kind at once, 1 to 10000. Connections that are being
    /// made are included.
    package let maxOpen: Int
    /// The most upstream connections that are pinned to one client at once, 0 to `maxOpen` - 1.
    package let maxPinned: Int
    /// The most upstream connections that are kept idle, 0 to `maxOpen`.
    package let maxIdle: Int
    /// The upstream connections that are opened in advance, 0 to `maxIdle`.
    package let minIdle: Int
    /// The age at which an upstream connection is retired, in nanoseconds; 0: never.
    package let maxLifetime: Int64
    /// The idle time after which an upstream connection above `minIdle` is closed, in nanoseconds;
    /// 0: never.
    package let idleTimeout: Int64
    /// The idle time after which Redpool sends a PING on an upstream connection, in nanoseconds; 0:
    /// never.
    package let pingInterval: Int64
    /// The longest that connecting and authenticating may take, in nanoseconds; at least 1 ms.
    package let connectTimeout: Int64
    /// The longest that a command waits for an upstream connection, in nanoseconds; at least 1 ms.
    package let poolTimeout: Int64
    /// The longest that a command that does not block waits for its reply, in nanoseconds, 1 ms to
    /// 1 h; 0: no limit.
    package let commandTimeout: Int64
    /// Commands that wait for an upstream or for their reply for this long are remembered, in
    /// nanoseconds, 1 ms to 1 h; 0: none are.
    package let slowLog: Int64
    /// The time between look-ups of the upstream's name, in nanoseconds, 1 s to 24 h; 0: one
    /// look-up for each connect only.
    package let dnsRefresh: Int64
    /// What a client sees when a connection is lost with its commands in flight.
    package let onUpstreamLoss: OnUpstreamLoss
    /// What becomes of clients that subscribe.
    package let pubsub: PubSub
    /// The commands and subcommands that are denied: lower case, each once, a subcommand as
    /// `script|debug`. Empty: none.
    package let denyCommands: [String]
    /// The most commands in flight on a shared upstream connection, 1 to 100000.
    package let maxPipeline: Int
    /// The time after which a client that sends nothing is closed, in nanoseconds; 0: never.
    package let clientIdleTimeout: Int64
    /// The time after which a client in WATCH or MULTI that sends nothing is closed, in
    /// nanoseconds; 0: never.
    package let transactionTimeout: Int64
    /// The most reply bytes that are buffered for a client that does not read them; at least 65536.
    package let clientOutputLimit: Int
    /// The idle time after which TCP keepalive probes begin, on both sides, in nanoseconds; 0: off.
    package let keepalive: Int64
    /// The permission bits of the pool's unix sockets, 0 to 0o777.
    package let socketMode: UInt32
    /// The group of the pool's unix sockets; empty leaves the group of the process.
    package let socketGroup: String
}

extension PoolConfig {
    /// What stands before the address of a server, if Redpool speaks TLS to it.
    package var scheme: String { upstreamTLS == nil ? "" : "rediss://" }

    /// Where the servers come from; an address has its scheme.
    package var shownSource: String {
        guard case .server(let address) = source else { return "\(source)" }
        return "\(scheme)\(address)"
    }

    /// Whether `new` has another server, user or database: clients have to move there. What speaks
    /// TLS is another server than what does not.
    package func isMove(to new: PoolConfig) -> Bool {
        source.isMove(to: new.source) || upstreamDatabase != new.upstreamDatabase
            || username != new.username || (password == nil) != (new.password == nil)
            || (upstreamTLS == nil) != (new.upstreamTLS == nil)
    }

    /// Whether `new` is another pool that shares only the name: nothing that clients have in front
    /// of a cluster can go on at other servers.
    package func isOtherPool(than new: PoolConfig) -> Bool {
        (cluster != nil || new.cluster != nil) && isMove(to: new)
    }
}

extension PoolConfig: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The name and the addresses. No description ever has the password.
    package var description: String {
        let places = listen.map(\.description).joined(separator: ", ")
        return
            "pool \(name): \(places) -> \(shownSource), password \(password == nil ? "none" : "***")"
    }

    /// Equals `description`.
    package var debugDescription: String { description }

    /// For `dump` and debuggers: the description instead of the fields.
    package var customMirror: Mirror {
        Mirror(self, children: ["description": description])
    }
}
