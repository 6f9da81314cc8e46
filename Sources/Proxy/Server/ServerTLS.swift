// TLS to a server: the context, whom the certificate must name, and sessions for shorter
// handshakes.

package import Config
package import EventLoop
import Pool

/// What a worker's connections to one server share of TLS.
struct ServerTLS {
    /// The context, or why there is none.
    let context: Result<TLSContext, TLSSettingsProblem>
    /// Sessions that the server has given, newest last.
    private var sessions: [TLSSession] = []

    /// Connections that are made at the same time can each use one.
    private static let mostSessions = 8

    /// - Parameter address: where the server is; nil while that is not known.
    init(_ config: UpstreamTLS, at address: UpstreamAddress?) {
        if config.serverName.isEmpty, case .tcp(let host, _) = address {
            name = host
        } else {
            name = config.serverName
        }
        context = Result { () throws(TLSSettingsProblem) in try config.context() }
    }

    /// The name or numeric address that its certificate must have.
    let name: String

    /// How the next connection begins.
    mutating func nextRole() -> TLSRole {
        while let session = sessions.popLast() {
            guard session.isUsable else { continue }
            if session.isReusable { sessions.append(session) }
            return .client(name: name, session: session)
        }
        return .client(name: name, session: nil)
    }

    /// Keeps a session for a later connection.
    mutating func keep(_ session: TLSSession?) {
        guard let session else { return }
        if sessions.count == ServerTLS.mostSessions { sessions.removeFirst() }
        sessions.append(session)
    }
}

extension Server {
    /// Settings or files of TLS have changed. New connections use the new ones; the present ones
    /// close as soon as they are free.
    func renewTLS() {
        tls = pool.config.upstreamTLS.map { ServerTLS($0, at: names.upstream) }
        for upstream in allUpstreams { upstream.retireWhenFree(.configChanged) }
    }
}

extension UpstreamTLS {
    /// The process's context for these settings.
    package func context() throws(TLSSettingsProblem) -> TLSContext {
        let verification: TLSSettings.Verification =
            switch self.verification {
            case .full: .full
            case .ca: .authority
            case .none: .none
            }
        return try TLSContext.shared(
            side: .client, verification, minimum == .v12 ? .v12 : .v13, authorities: authorities,
            certificate: certificate, key)
    }

    /// When the certificates of each file expire, in seconds since 1970, by the key of the file: of
    /// several certificates, the first one.
    package var expiries: [(key: String, at: Int64)] {
        let own = systemFile == nil ? authorities ?? [] : []
        return [("tlsCaFile", own), ("tlsCertFile", certificate)].compactMap { key, pem in
            TLSCertificates.firstExpiry(pem).map { (key, $0) }
        }
    }

    /// Why no connection can be made with these settings; nil if they are right.
    package var problem: Problem? {
        do throws(TLSSettingsProblem) {
            _ = try context()
            return nil
        } catch {
            return error.problem(certificateKey: "tlsCertFile")
        }
    }
}
