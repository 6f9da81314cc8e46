// TLS for clients: the handshake, and how it fails. Once it is done, a client with TLS is as any
// other.

import EventLoop
import Pool

extension ClientConnection {
    /// Goes on with the handshake. What the client has sent behind it is handled as any input.
    func shakeHands() {
        lists.remove(.shaking)
        guard channel.isOpen, channel.isReading, channel.isHandshaking else { return }
        let count = channel.shakeHands(into: worker.readBuffer, count: ClientConnection.turn)
        if channel.tlsState == .open {
            lastActivity = worker.now.nanoseconds
            pool.meter.clientTLS.succeeded(resumed: channel.isResumed)
            if count > 0 { handleRead(count) }
        }
        if channel.isOpen { noteRead(count) }
    }

    /// How long a handshake may take, in nanoseconds.
    static let handshakeTimeout: Int64 = 10_000_000_000

    /// The handshake has not been done in time.
    func closeLateHandshake() {
        let seconds = ClientConnection.handshakeTimeout / 1_000_000_000
        closeForTLS(.timeout, "no TLS handshake within \(seconds) s")
    }

    /// The connection is broken: by what TLS finds wrong, or by the client or the network.
    func closeBroken() {
        guard case .failed(let problem) = channel.tlsState else { return close(.client_reset) }
        let text =
            switch problem.kind {
            case .notTLS: "no TLS, but this address of listen has rediss://"
            case .certificate, .name: "certificate verify failed: \(problem.text)"
            case .wantsCertificate, .seemsToWantCertificate, .other: "TLS: \(problem.text)"
            }
        closeForTLS(TLSFailure(problem.kind), text)
    }

    private func closeForTLS(_ failure: TLSFailure, _ text: String) {
        pool.meter.clientTLS.count(failure)
        warnOfTLS(failure.rawValue, text)
        close(.tls_failed)
    }

    private func warnOfTLS(_ reason: String, _ text: String) {
        pool.warnLimit("client.tls_failed", reason: reason, "client \(peerText): \(text)")
    }

    /// Counts ciphertext that the client's socket has not taken as output that waits.
    func countUnsent() { worker.chunks.countOutput(channel.keptChange()) }

    /// The client is about to be closed, and what OpenSSL has kept for it is freed: about so much.
    func uncountTLS() {
        countUnsent()
        worker.chunks.countOutput(-channel.bytesKept)
        worker.chunks.countFreed(channel.isHandshaking ? 40 << 10 : 16 << 10)
    }

    /// Everything that the client is to get has gone to its socket.
    var isAllWritten: Bool { output.isEmpty && !channel.keepsOutput }

    /// A client without TLS has begun with a handshake of TLS (RFC 8446, 5.1). It would wait for an
    /// answer that cannot come. To it, the error is a wrong version of TLS.
    func refuseTLS(_ bytes: Span<UInt8>, _ start: Int) -> Bool {
        guard bytes[start] == 0x16, start + 1 < bytes.count, bytes[start + 1] == 0x03,
            !channel.isTLS, counted.commands == 0, mode == .open || mode == .loggedOut,
            inFlight == 0
        else { return false }
        warnOfTLS("unexpected", "TLS, but this address of listen has no rediss://")
        reply("-ERR Protocol error: TLS on a port without TLS\r\n")
        closeAfterFlush(.tls_failed)
        return true
    }
}
