// Why a client connection ends. Each close has one reason. Its word is the same in the log and in
// the table of docs/troubleshooting.md.

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
    /// A large command that used an upstream of its own stopped for a minute before its end.
    case upload_stalled
    /// The client did not read its replies: more than `clientOutputLimit` bytes waited for it.
    case output_limit
    /// The client sent more than `clientOutputLimit` bytes behind a command that blocks.
    case input_limit
    /// Bytes that are not the Redis protocol.
    case protocol_error
    /// The client's handshake of TLS failed or took too long, TLS failed later on, or the client
    /// speaks TLS where that is not expected.
    case tls_failed
    /// The upstream with the client's state or its unanswered commands is gone.
    case upstream_lost
    /// The server does not accept the client's user any more.
    case user_refused
    /// The server accepted the client as a new user, but Redpool has no number left for one.
    case user_limit
    /// The file of users has the client's user no more.
    case user_removed
    /// Redpool is shutting down.
    case drain
    /// A CLIENT KILL ended this client. It came from another client or from itself. Or it was an
    /// operator's KILL CLIENT.
    case killed
    /// An operator has paused the pool with CLOSE, and the client's state kept an upstream.
    case paused
    /// `maxClients` are connected already.
    case max_clients
    /// Another program of Redpool has taken over, which cannot go on with this client.
    case upgrade

    package var word: String { "\(self)" }
}
