// Why an upstream connection ended. Each ends with exactly one reason. Its word is the same in the
// log and in the table of docs/troubleshooting.md.

/// Why an upstream connection ended. `PoolCounters` has a counter for each reason.
package enum CloseReason: UInt8, CaseIterable, BitwiseCopyable, Sendable {
    /// More than `maxIdle` were idle.
    case maxIdle
    /// Idle longer than `idleTimeout`.
    case idleTimeout
    /// Older than `maxLifetime`.
    case maxLifetime
    /// A probe was not answered within `pingTimeout`, or not with PONG.
    case pingFailed
    /// The server ended the connection (EOF).
    case upstreamClosed
    /// The server or the network reset the connection, or it timed out at TCP level.
    case upstreamReset
    /// The dial was refused or unreachable.
    case connectFailed
    /// The dial, including the handshake, exceeded `connectTimeout`.
    case connectTimeout
    /// HELLO, AUTH or SELECT on a new connection failed.
    case handshakeFailed
    /// The conversion to another key failed.
    case conversionFailed
    /// A reply nobody expects, or one that cannot be parsed.
    case desync
    /// The client left while the connection was in a state that cannot be undone.
    case clientGone
    /// A pin ended with state that cannot be cleaned.
    case dirty
    /// Closed to make room for an upstream of another user.
    case replaced
    /// Closed so that another worker, whose clients waited, could open one.
    case rebalanced
    /// READONLY, LOADING or MASTERDOWN: the server's role changed.
    case failoverSign
    /// The upstream's name now resolves to another address.
    case addressChanged
    /// A reload changed what the connection depends on, or lowered `maxOpen`; or the server now
    /// wants a login that this connection could do without, or the other way round.
    case configChanged
    /// No reply within `commandTimeout`.
    case commandTimeout
    /// Another server answers at the upstream's address now.
    case serverChanged
    /// The server was too busy to say who it is when the connection was made.
    case serverUnknown
    /// It carried a command that Redpool does not understand and that may have changed its state.
    case notUnderstood
    /// The pool is being shut down.
    case drain
    /// A message came that nobody on this connection had subscribed to.
    case strayPush
    /// An operator has paused the pool (PAUSE).
    case paused
    /// An operator has had every upstream of the pool replaced (RECONNECT).
    case reconnect
    /// An operator has closed this one (KILL UPSTREAM).
    case killed
    /// Another server has become the pool's primary.
    case failover
    /// The node has left the cluster.
    case nodeRemoved
    /// Another program of Redpool has taken it over, and its client needs it no more.
    case upgrade

    /// The word for the log and docs/troubleshooting.md.
    package var word: String {
        switch self {
        case .maxIdle: "max_idle"
        case .idleTimeout: "idle_timeout"
        case .maxLifetime: "max_lifetime"
        case .pingFailed: "ping_failed"
        case .upstreamClosed: "upstream_closed"
        case .upstreamReset: "upstream_reset"
        case .connectFailed: "connect_failed"
        case .connectTimeout: "connect_timeout"
        case .handshakeFailed: "handshake_failed"
        case .conversionFailed: "conversion_failed"
        case .desync: "desync"
        case .clientGone: "client_gone"
        case .dirty: "dirty"
        case .replaced: "replaced"
        case .rebalanced: "rebalanced"
        case .failoverSign: "failover_sign"
        case .addressChanged: "address_changed"
        case .configChanged: "config_changed"
        case .commandTimeout: "command_timeout"
        case .serverChanged: "server_changed"
        case .serverUnknown: "server_unknown"
        case .notUnderstood: "not_understood"
        case .drain: "drain"
        case .strayPush: "stray_push"
        case .paused: "paused"
        case .reconnect: "reconnect"
        case .killed: "killed"
        case .failover: "failover"
        case .nodeRemoved: "node_removed"
        case .upgrade: "upgrade"
        }
    }
}
