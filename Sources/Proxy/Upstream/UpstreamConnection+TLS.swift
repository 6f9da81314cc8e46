// TLS to the server. Nothing is sent before the server's certificate has been verified: the
// handshake of Redpool, credentials first, begins when the channel is open.

import Config
package import EventLoop
import Glibc
import Pool

extension UpstreamConnection {
    /// The server is to be spoken to with TLS.
    var wantsTLS: Bool { server.tls != nil }

    /// Begins TLS on a connection that has just been made.
    func secure() {
        stage = .securing
        guard let context = server.tls?.context, let role = server.tls?.nextRole() else {
            failTLS(.other, "TLS: no settings")
            return
        }
        switch context {
        case .success(let context):
            channel.beginTLS(context, as: role, on: worker.loop)
            lookAtTLS()
        case .failure(let problem): failTLS(.other, "TLS: \(problem.message)")
        }
    }

    /// Goes on when the handshake of TLS is over.
    func lookAtTLS() {
        guard stage == .securing else { return }
        switch channel.tlsState {
        case .handshaking: break
        case .open:
            pool.meter.upstreamTLS.succeeded(resumed: channel.isResumed)
            beginHandshake()
        case .failed(let problem): failTLS(TLSFailure(problem.kind), words(for: problem))
        case .none: failTLS(.other, "TLS: the connection is plain")
        }
    }

    private func failTLS(_ failure: TLSFailure, _ text: String) {
        pool.meter.upstreamTLS.count(failure)
        fail(.handshakeFailed, text)
    }

    /// The handshake of TLS has not ended in time. A Redis server without TLS waits for the rest of
    /// what it takes for a command.
    func securingTimedOut() {
        pool.meter.upstreamTLS.count(.timeout)
        fail(
            .connectTimeout,
            "no answer to the TLS handshake: does \(server.place) speak TLS?")
    }

    /// The connection has ended in the handshake of TLS.
    func securingEnded(_ text: String) {
        if case .failed(let problem) = channel.tlsState {
            failTLS(TLSFailure(problem.kind), text)
        } else {
            failTLS(.closed, "\(text) in the TLS handshake")
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
        channel.forgetRecords(upTo: inFlight.isEmpty ? output.sentTotal : output.answeredTotal)
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

    /// The cause of a connection's end, for people: what TLS says, or the system. A server may
    /// refuse a client certificate after the handshake.
    func endText(error: Int32) -> String {
        if case .failed(let problem) = channel.tlsState {
            if stage != .securing { pool.meter.upstreamTLS.count(TLSFailure(problem.kind)) }
            return words(for: problem)
        }
        let text = error == 0 ? "the server closed the connection" : System.errorText(error)
        guard stage == .handshaking, handshake.isFirst, channel.lacksCertificate else {
            return text
        }
        pool.meter.upstreamTLS.count(.clientCertificate)
        return words(for: TLSProblem(kind: .seemsToWantCertificate, text: text))
    }

    private func words(for problem: TLSProblem) -> String {
        problem.words(name: server.tls?.name ?? "", place: "\(pool.config.upstream)")
    }

    /// The first byte that a server sends on a plain connection is that of an alert of TLS.
    func isAlert(_ first: UInt8) -> Bool { first == 0x15 && !wantsTLS && handshake.isFirst }

    static let speaksTLS = "the server speaks TLS: write rediss://"
}

extension TLSProblem {
    /// The problem of a connection to a server, for people. `name` is the one that its certificate
    /// must have, `place` where the server is.
    package func words(name: String, place: String) -> String {
        switch kind {
        case .certificate: "TLS: certificate verify failed: \(text)"
        case .name: "TLS: certificate verify failed: the certificate is not for \(name)"
        case .wantsCertificate: "TLS: the server wants a client certificate (tlsCertFile)"
        case .seemsToWantCertificate:
            "TLS: the server wants a client certificate (tlsCertFile), it seems: \(text)"
        case .notTLS: "TLS: \(text): does \(place) speak TLS?"
        case .other: "TLS: \(text)"
        }
    }
}
