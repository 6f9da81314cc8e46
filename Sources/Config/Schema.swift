/// Every key of the configuration file. The raw value is the key's name.
enum Key: String, Sendable, CaseIterable {
    case listen, upstream, sentinels, primaryName, cluster
    case primaryTls, primaryDatabase, sentinelUsername, sentinelPasswordFile, sentinelTls
    case crossSlot, clusterRefresh, maxNodes, clusterCommands, announce
    case reads, maxReplicaLag
    case username, passwordFile
    case tlsCaFile, tlsVerify, tlsServerName, tlsCertFile, tlsKeyFile, tlsMinVersion
    case listenCertFile, listenKeyFile, listenCaFile, listenClients
    case clientPasswordFile, clientUsersFile, allowUnauthenticated
    case maxOpen, maxPinned, maxIdle, minIdle
    case maxLifetime, idleTimeout, pingInterval, keepalive
    case connectTimeout, poolTimeout, commandTimeout, slowLog, dnsRefresh, maxPipeline
    case pubsub, pubsubLoss
    case onUpstreamLoss, denyCommands
    case clientIdleTimeout, transactionTimeout, clientOutputLimit
    case socketMode, socketGroup
    case threads, maxClients, totalOutputLimit, drainTimeout
    case level, format, clients, stats
    case socket, mode, group
    /// `listen` of the section `http`.
    case httpListen

    /// The key as the file has it, in its section.
    var name: String { self == .httpListen ? "listen" : rawValue }
}

/// Where a key may stand.
enum Scope: Sendable {
    /// Only in a pool: the key has no default.
    case poolOnly
    /// In a pool, or in `defaults` for all pools.
    case pool
    /// At the top of the file.
    case global
    /// In `log`.
    case log
    /// In `admin`.
    case admin
    /// In `http`.
    case http
}

/// The kind of a key's value. Ranges are in nanoseconds for durations and in bytes for sizes.
enum Kind: Sendable {
    case upstream, text, path, mode, boolean
    /// A TCP address to listen on; empty for none.
    case tcpOrNone
    /// The TCP address of a peer; empty for none.
    case peerOrNone
    case integer(ClosedRange<Int>)
    /// A whole number, or `auto`.
    case integerOrAuto(ClosedRange<Int>)
    /// A duration. `zero` is the meaning of `0s`; nil: `0s` is refused.
    case duration(ClosedRange<Int64>, zero: String?)
    case size(ClosedRange<Int>)
    case choice([String])
    /// A list, or a single element. `empty` is the meaning of `[]`; nil: `[]` is refused.
    case list(of: ElementKind, empty: String?)
}

/// The kind of a list's elements.
enum ElementKind: Sendable {
    /// An address to listen on.
    case listen
    /// The address of a Sentinel.
    case sentinel
    /// The address of a node of a cluster.
    case seed
    /// The name of a command or a subcommand.
    case command
}

/// The value of a key that is not in the file.
enum Standard: Sendable {
    /// The file must give it.
    case required
    /// There is none: other keys say whether the file must give it. The text is the rule.
    case depends(String)
    /// As text of the file.
    case text(String)
    /// As elements of a list.
    case list([String])
    /// Derived from other keys by a rule; the text is the value when all keys have their defaults.
    case derived(String, rule: String)
}

/// How a change of a key affects open connections.
enum ReloadClass: String, Sendable {
    /// Open connections follow the new value.
    case live
    /// No connection is cut: surplus ones are closed when they become idle.
    case graceful
    /// Open connections keep the old value until they close. Those that were opened with another
    /// password, or with other settings or files of TLS, close as soon as they are free.
    case opened = "new connections"
    /// Listeners or pools are added and removed.
    case structural
    /// Clients move to the new server as soon as nothing of theirs is in flight at the old one.
    case move
    /// Only a start of the process reads it; a reload lists it as pending.
    case restart
}

/// One row of the schema: everything about one key. It drives parsing, suggestions, defaults, the
/// printed configuration, the sample file and the reference page.
struct KeySpec: Sendable {
    let key: Key
    let scope: Scope
    let kind: Kind
    let standard: Standard
    let reload: ReloadClass
    /// One line of documentation: no final full stop, at most 100 characters.
    let doc: String
}

private let second: Int64 = 1_000_000_000
private let month: Int64 = 30 * 24 * 3600 * second
private let never = second / 10...month

/// The schema, in the order in which keys are printed.
enum Schema {
    static let keys: [KeySpec] = poolKeys + globalKeys + logKeys + adminKeys + httpKeys

    /// The keys of a pool.
    static let poolKeys: [KeySpec] =
        addressKeys + primaryKeys + clusterSourceKeys + credentialKeys + tlsKeys + sentinelKeys
        + clusterKeys + replicaKeys + listenTLSKeys + loginKeys + sizeKeys + lifeKeys + clientKeys
        + pubSubKeys

    private static let addressKeys: [KeySpec] = [
        KeySpec(
            key: .listen, scope: .poolOnly, kind: .list(of: .listen, empty: nil),
            standard: .required, reload: .structural,
            doc: "where clients connect, one address or a list; no two pools share one"),
        KeySpec(
            key: .upstream, scope: .poolOnly, kind: .upstream,
            standard: .depends("required, or sentinels, or cluster"), reload: .move,
            doc: "the Redis or Valkey server"),
    ]

    /// How Redpool logs in to servers.
    private static let credentialKeys: [KeySpec] = [
        KeySpec(
            key: .username, scope: .pool, kind: .text, standard: .text(""), reload: .move,
            doc: "ACL user for AUTH upstream; empty is the default user"),
        KeySpec(
            key: .passwordFile, scope: .pool, kind: .path, standard: .text(""), reload: .opened,
            doc: "file whose first line is the password for AUTH upstream; empty is no AUTH"),
    ]

    /// Who may come in. The files are read again by every reload.
    private static let loginKeys: [KeySpec] = [
        KeySpec(
            key: .clientPasswordFile, scope: .pool, kind: .path, standard: .text(""),
            reload: .live,
            doc: "file whose first line is the password that clients need; empty is none"),
        KeySpec(
            key: .clientUsersFile, scope: .pool, kind: .path, standard: .text(""), reload: .live,
            doc: "file of the users that clients may log in as: lines NAME PASSWORD or NAME #SHA256"
        ),
        KeySpec(
            key: .allowUnauthenticated, scope: .pool, kind: .boolean, standard: .text("false"),
            reload: .live,
            doc: "let other machines in without a login, although the pool lends them its rights"),
    ]

    private static let sizeKeys: [KeySpec] = [
        KeySpec(
            key: .maxOpen, scope: .pool, kind: .integer(1...10_000), standard: .text("32"),
            reload: .graceful,
            doc: "most upstream connections at once, of any kind, connecting ones included"),
        KeySpec(
            key: .maxPinned, scope: .pool, kind: .integer(0...9_999),
            standard: .derived(
                "28",
                rule: "seven eighths of maxOpen, rounded up, at least 2 below it (1 of 2, 0 of 1)"),
            reload: .graceful,
            doc: "most of them that are pinned to one client at once; less than maxOpen"),
        KeySpec(
            key: .maxIdle, scope: .pool, kind: .integer(0...10_000),
            standard: .derived("32", rule: "maxOpen"), reload: .graceful,
            doc: "most of them that are kept idle; at most maxOpen"),
        KeySpec(
            key: .minIdle, scope: .pool, kind: .integer(0...10_000),
            standard: .derived("1", rule: "1, or maxIdle if that is 0"), reload: .graceful,
            doc: "upstream connections opened at the start and kept open; at most maxIdle"),
        KeySpec(
            key: .maxPipeline, scope: .pool, kind: .integer(1...100_000),
            standard: .text("1024"), reload: .live,
            doc: "most commands in flight on one shared upstream connection"),
    ]

    private static let lifeKeys: [KeySpec] = [
        KeySpec(
            key: .maxLifetime, scope: .pool, kind: .duration(never, zero: "for ever"),
            standard: .text("1h"), reload: .live,
            doc: "age, give or take 10 %, at which an upstream connection is retired once idle"),
        KeySpec(
            key: .idleTimeout, scope: .pool, kind: .duration(never, zero: "never"),
            standard: .text("5m"), reload: .live,
            doc: "idle upstream connections above minIdle are closed after this"),
        KeySpec(
            key: .pingInterval, scope: .pool, kind: .duration(never, zero: "never"),
            standard: .text("30s"), reload: .live,
            doc: "idle upstream connections are sent PING after this; keep it below idleTimeout"),
        // The range of TCP_KEEPIDLE in Linux is 1 to 32767 seconds (MAX_TCP_KEEPIDLE in net/tcp.h).
        KeySpec(
            key: .keepalive, scope: .pool, kind: .duration(second...32_767 * second, zero: "off"),
            standard: .text("60s"), reload: .opened,
            doc: "idle time before TCP keepalive probes, on client and upstream connections"),
        KeySpec(
            key: .connectTimeout, scope: .pool,
            kind: .duration(second / 1000...3600 * second, zero: nil), standard: .text("2s"),
            reload: .opened, doc: "longest that connecting and authenticating upstream may take"),
        KeySpec(
            key: .poolTimeout, scope: .pool,
            kind: .duration(second / 1000...3600 * second, zero: nil), standard: .text("5s"),
            reload: .live,
            doc: "longest wait for an upstream connection; keep it below the clients' timeouts"),
        KeySpec(
            key: .commandTimeout, scope: .pool,
            kind: .duration(second / 1000...3600 * second, zero: "none"), standard: .text("0s"),
            reload: .live, doc: "longest wait for the reply to one command that does not block"),
        KeySpec(
            key: .slowLog, scope: .pool,
            kind: .duration(second / 1000...3600 * second, zero: "off"), standard: .text("100ms"),
            reload: .live,
            doc: "commands that wait or take this long are kept for SHOW SLOWLOG, by name only"),
        KeySpec(
            key: .dnsRefresh, scope: .pool,
            kind: .duration(second...24 * 3600 * second, zero: "only when connecting"),
            standard: .text("30s"), reload: .live,
            doc: "time between look-ups of the upstream's name"),
    ]

    private static let clientKeys: [KeySpec] = [
        KeySpec(
            key: .onUpstreamLoss, scope: .pool,
            kind: .choice(PoolConfig.OnUpstreamLoss.allCases.map(\.rawValue)),
            standard: .text("close"), reload: .live,
            doc:
                "what a client sees of commands lost in flight: "
                + "a closed connection, or -UPSTREAMLOST for each"
        ),
        KeySpec(
            key: .denyCommands, scope: .pool,
            kind: .list(of: .command, empty: "all are allowed"),
            standard: .list([
                "SYNC", "PSYNC", "REPLCONF", "DEBUG", "SCRIPT DEBUG", "MODULE LOAD",
                "MODULE LOADEX", "MODULE UNLOAD",
            ]), reload: .live, doc: "commands and subcommands that Redpool refuses"),
        KeySpec(
            key: .clientIdleTimeout, scope: .pool, kind: .duration(never, zero: "never"),
            standard: .text("0s"), reload: .live,
            doc: "clients that send nothing for this long are closed"),
        KeySpec(
            key: .transactionTimeout, scope: .pool, kind: .duration(never, zero: "never"),
            standard: .text("60s"), reload: .live,
            doc: "clients in WATCH or MULTI that send nothing for this long are closed"),
        KeySpec(
            key: .clientOutputLimit, scope: .pool, kind: .size(65_536...1_099_511_627_776),
            standard: .text("32mb"), reload: .live,
            doc:
                "most bytes held for a client that does not read, or behind its blocked command; "
                + "then it is closed"
        ),
        KeySpec(
            key: .socketMode, scope: .pool, kind: .mode, standard: .text("0660"),
            reload: .structural, doc: "file mode of the unix sockets in listen"),
        KeySpec(
            key: .socketGroup, scope: .pool, kind: .text, standard: .text(""),
            reload: .structural,
            doc: "group of the unix sockets in listen; empty is the group of the process"),
    ]

    /// The keys at the top of the file, except `pools`, `defaults` and the sections.
    static let globalKeys: [KeySpec] = [
        KeySpec(
            key: .threads, scope: .global, kind: .integer(1...64), standard: .text("1"),
            reload: .restart,
            doc: "worker threads, each with its own event loop; limits apply to all together"),
        KeySpec(
            key: .maxClients, scope: .global, kind: .integerOrAuto(1...1_000_000),
            standard: .text("auto"), reload: .graceful,
            doc:
                "most client connections at once; auto: as the open-file limit allows, at most 10000"
        ),
        KeySpec(
            key: .totalOutputLimit, scope: .global, kind: .size(4 << 20...1_099_511_627_776),
            standard: .text("256mb"), reload: .live,
            doc: "most such bytes held for all clients together; then those with most are closed"
        ),
        KeySpec(
            key: .drainTimeout, scope: .global,
            kind: .duration(second / 1000...24 * 3600 * second, zero: "do not wait"),
            standard: .text("10s"), reload: .live,
            doc: "longest that SIGTERM and SIGINT wait for commands in flight"),
    ]

    /// The keys of `log`.
    static let logKeys: [KeySpec] = [
        KeySpec(
            key: .level, scope: .log, kind: .choice(LogConfig.Level.allCases.map(\.rawValue)),
            standard: .text("info"), reload: .live, doc: "least severe level that is logged"),
        KeySpec(
            key: .format, scope: .log, kind: .choice(LogConfig.Format.allCases.map(\.rawValue)),
            standard: .text("auto"), reload: .live,
            doc: "auto: journal format under systemd, text on a terminal, else logfmt"),
        KeySpec(
            key: .clients, scope: .log, kind: .boolean, standard: .text("false"), reload: .live,
            doc: "log each connect and disconnect of a client"),
        KeySpec(
            key: .stats, scope: .log, kind: .duration(second...24 * 3600 * second, zero: "never"),
            standard: .text("5m"), reload: .live, doc: "time between summary lines of a pool"),
    ]

    /// The keys outside pools, with what their names begin with in the names of SHOW CONFIG.
    static let sections: [(prefix: String, keys: [KeySpec])] = [
        ("", globalKeys), ("log.", logKeys), ("admin.", adminKeys), ("http.", httpKeys),
    ]

    /// The keys of `admin`.
    static let adminKeys: [KeySpec] = [
        KeySpec(
            key: .socket, scope: .admin, kind: .path,
            standard: .derived(
                AdminConfig.standardSocket,
                rule: "\(AdminConfig.standardSocket), if its directory exists"),
            reload: .restart, doc: "unix socket of the console (docs/console.md); empty: none"),
        KeySpec(
            key: .mode, scope: .admin, kind: .mode, standard: .text("0660"), reload: .restart,
            doc: "file mode of that socket: who can open it can look at everything"),
        KeySpec(
            key: .group, scope: .admin, kind: .text, standard: .text(""), reload: .restart,
            doc: "group of that socket; empty is the group of the process"),
    ]

    /// The keys of `http`.
    static let httpKeys: [KeySpec] = [
        KeySpec(
            key: .httpListen, scope: .http, kind: .tcpOrNone, standard: .text(""),
            reload: .restart,
            doc: "where metrics, health and the status page are served (docs/monitoring.md)")
    ]
}
