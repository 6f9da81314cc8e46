// Keys of session tickets on their way to another program. Clients with TLS are closed in an
// upgrade; with their tickets they come back by a short handshake.

internal import CTLS

/// For contexts by the digests of their settings.
struct TLSTickets {
    /// For each a digest and the keys.
    private(set) var bytes: [UInt8] = []

    private static let digestSize = 32
    private static let keysSize = redpool_tls_ticket_size

    init(_ bytes: [UInt8] = []) {
        self.bytes = bytes.count % (Self.digestSize + Self.keysSize) == 0 ? bytes : []
    }

    mutating func take(from context: TLSContext, _ digest: [UInt8]) {
        guard context.side == .server else { return }
        var keys = [UInt8](repeating: 0, count: Self.keysSize)
        if redpool_tls_get_tickets(context.handle, &keys) { bytes += digest + keys }
    }

    /// A context that gets none makes its own.
    func give(to context: TLSContext, _ digest: [UInt8]) {
        var start = 0
        while start < bytes.count {
            let keys = start + Self.digestSize
            let end = keys + Self.keysSize
            if bytes[start..<keys].elementsEqual(digest) {
                _ = redpool_tls_set_tickets(context.handle, Array(bytes[keys..<end]))
                return
            }
            start = end
        }
    }
}
