// Why a client connection ended: one reason each, the same word in log, metric and manual.

/// Reasons for the end of a client connection.
package enum ClientCloseReason: UInt8, CaseIterable, Sendable {
    /// The client closed, or sent QUIT.
    case client_closed
    /// The client's connection broke.
    case client_reset
    /// Nothing came from the client for `clientIdleTimeout`.
    case idle_timeout
    /// The client held an upstream by WATCH or MULTI and sent nothing for `transactionTimeout`.
    case transaction_timeout
    /// Nothing came for a minute of a large command that held an upstream.
    case upload_stalled
    /// The client did not read: more than `clientOutputLimit` was waiting for it.
    case output_limit
    /// More than `clientOutputLimit` has come behind its command that blocks.
    case input_limit
    /// Bytes that are not the Redis protocol.
    case protocol_error
    /// The upstream connection that held the client's state or its unanswered commands is gone.
    case upstream_lost
    /// The server lets the client's user in no more.
    case user_refused
    /// The server has let the client in as one user more than Redpool can tell apart.
    case user_limit
    /// Redpool is shutting down.
    case drain
    /// Another client said so with CLIENT KILL, or it did itself.
    case killed
    /// Over `maxClients`.
    case max_clients

    package var word: String { "\(self)" }
}
