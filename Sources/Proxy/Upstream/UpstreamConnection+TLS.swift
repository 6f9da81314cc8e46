// TLS to the server. Nothing is sent before the server's certificate has been verified: the
// handshake of Redpool, credentials first, begins when the channel is open.

import Config
import EventLoop
import Glibc
import Pool

extension UpstreamConnection {
    /// The server is to be spoken to with TLS.
    var wantsTLS: Bool { pool.config.upstreamTLS != nil }

    /// Begins TLS on a connection that has just been made.
    func secure() {
        stage = .securing
        guard let context = server.tls?.context, let role = server.tls?.nextRole() else {
            fail(.handshakeFailed, "TLS: no settings")
            return
        }
        switch context {
        case .success(let context):
            channel.beginTLS(context, as: role, on: worker.loop)
            lookAtTLS()
        case .failure(let problem):
            fail(.handshakeFailed, "TLS: \(problem.message)")
        }
    }

    /// Goes on when the handshake of TLS is over.
    func lookAtTLS() {
        guard stage == .securing else { return }
        switch channel.tlsState {
        case .handshaking: break
        case .open:
            pool.traffic.tlsHandshakes += 1
            if channel.isResumed { pool.traffic.tlsResumed += 1 }
            beginHandshake()
        case .failed(let problem): fail(.handshakeFailed, words(for: problem))
        case .none: fail(.handshakeFailed, "TLS: the connection is plain")
        }
    }

    /// Sends what is left of a handshake. If that fails, the next read says why.
    func drainHandshake() {
        if channel.drain() == -Int(EAGAIN) { channel.awaitWritable() }
    }

    /// Keeps what the server has given for the next handshake.
    func keepSession() {
        if channel.isTLS { server.tls?.keep(channel.takeSession()) }
    }

    /// Called with every tick. Forgets records that nobody asks about, and does not wait for ever
    /// for the end of a stream that the server has announced.
    func checkTLS() {
        if inFlight.isEmpty { channel.forgetRecords(upTo: output.sentTotal) }
        guard channel.peerHasFinished, stage != .closing else { return }
        guard let since = ending.finishedSince else {
            ending.finishedSince = worker.now
            return
        }
        guard worker.now - since >= UpstreamConnection.patienceForEnd else { return }
        // Without the FIN it is not known what the server has received.
        ended(error: ECONNRESET)
    }

    /// How long the FIN may come behind close_notify, in nanoseconds.
    private static let patienceForEnd: Int64 = 1_000_000_000

    /// The cause of a connection's end, for people: what TLS says, or the system.
    func endText(error: Int32) -> String {
        if case .failed(let problem) = channel.tlsState { return words(for: problem) }
        return error == 0 ? "the server closed the connection" : System.errorText(error)
    }

    private func words(for problem: TLSProblem) -> String {
        switch problem.kind {
        case .certificate: "TLS: certificate verify failed: \(problem.text)"
        case .name:
            "TLS: certificate verify failed: the certificate is not for \(server.tls?.name ?? "")"
        case .wantsCertificate: "TLS: the server wants a client certificate (tlsCertFile)"
        case .notTLS: "TLS: \(problem.text): does \(pool.config.upstream) speak TLS?"
        case .other: "TLS: \(problem.text)"
        }
    }

    /// A Redis server without TLS waits for the rest of what it takes for a command.
    var noTLSAnswer: String {
        "no answer to the TLS handshake: does \(pool.config.upstream) speak TLS?"
    }

    /// The first byte that a server sends on a plain connection is that of an alert of TLS.
    func isAlert(_ first: UInt8) -> Bool { first == 0x15 && !wantsTLS && handshake.isFirst }

    static let speaksTLS = "the server speaks TLS: write rediss://"
}
