// TLS for clients: the context of a pool's listeners.

package import Config
import EventLoop
import Logging

extension ListenTLS {
    /// The process's context for these settings.
    func context() throws(TLSSettingsProblem) -> TLSContext {
        try TLSContext.shared(
            side: .server, clients == .verified ? .authority : .none, .v12,
            authorities: authorities, certificate: certificate, key)
    }

    /// When the certificates of each file expire, in seconds since 1970, by the key of the file: of
    /// several certificates, the first one.
    package var expiries: [(key: String, at: Int64)] {
        [("listenCertFile", certificate), ("listenCaFile", authorities)].compactMap { key, pem in
            TLSCertificates.firstExpiry(pem).map { (key, $0) }
        }
    }

    /// Why no client can be served with these settings; nil if they are right.
    package var problem: UpstreamTLS.Problem? {
        do throws(TLSSettingsProblem) {
            _ = try context()
            return nil
        } catch {
            return error.problem(certificateKey: "listenCertFile")
        }
    }
}

extension PoolFront {
    /// The context for new clients with TLS; nil if no listener has it.
    func listenerContext() -> TLSContext? {
        guard let tls = config.listenTLS else { return nil }
        do throws(TLSSettingsProblem) {
            return try tls.context()
        } catch {
            // The files were tried when the configuration was read.
            worker.log.error(
                "no client can be served with TLS: \(error.message)",
                metadata: ["event": "tls.failed", "pool": "\(config.name)"])
            return nil
        }
    }
}

extension TLSSettingsProblem {
    /// The same in the words of the configuration. The key is the one that names the certificate.
    func problem(certificateKey: String) -> UpstreamTLS.Problem {
        switch part {
        case .authorities: UpstreamTLS.Problem(file: .authorities, message: message)
        case .certificate: UpstreamTLS.Problem(file: .certificate, message: message)
        case .key where message == TLSContext.foreignKey:
            UpstreamTLS.Problem(
                file: .key, message: "does not belong to the certificate in \(certificateKey)")
        case .key: UpstreamTLS.Problem(file: .key, message: message)
        case .library: UpstreamTLS.Problem(file: nil, message: "TLS: \(message)")
        }
    }
}
