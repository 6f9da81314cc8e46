// Private keys on their way from a file to a context.

package import Config
package import EventLoop

extension TLSContext {
    /// The process's context for settings with this key. The copy of the key that is made for it is
    /// overwritten.
    static func shared(
        side: TLSSettings.Side, _ verification: TLSSettings.Verification,
        _ minimum: TLSSettings.Version, authorities: [UInt8]?, certificate: [UInt8],
        _ key: PrivateKey?
    ) throws(TLSSettingsProblem) -> TLSContext {
        var settings = TLSSettings(
            side: side, verification: verification, minimum: minimum, authorities: authorities,
            certificate: certificate, key: key?.pem ?? [], keyFingerprint: key?.fingerprint)
        defer { Secret.wipe(&settings.key) }
        return try shared(settings)
    }
}

extension Config {
    /// All workers have taken their contexts. The result, which is to be kept as long as the
    /// configuration is in force, has the contexts of its pools: so their keys need not stay in
    /// memory beside them, and are forgotten.
    package func settleTLS() -> [TLSContext] {
        let listeners = pools.compactMap(\.listenTLS)
        let servers = pools.flatMap { pool in
            guard case .sentinels(let source) = pool.source else { return [pool.upstreamTLS] }
            return [pool.upstreamTLS, source.tls]
        }.compactMap { $0 }
        let contexts =
            listeners.compactMap { try? $0.context() } + servers.compactMap { try? $0.context() }
        TLSContext.letGo()
        for key in listeners.map(\.key) + servers.map(\.key) { key?.forget() }
        return contexts
    }
}
