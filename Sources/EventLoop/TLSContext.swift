// What many TLS connections share: settings, trusted certificates, a certificate of our own. A
// context is immutable, and there is one for each distinct set of settings in the process.

internal import CTLS
internal import Synchronization

/// Everything that makes up a context. Files are in memory, so equal settings have equal contents.
package struct TLSSettings: Sendable {
    /// Which end of connections the context is for.
    package enum Side: Sendable, Hashable {
        case client, server
    }

    /// What is verified of the peer's certificate.
    package enum Verification: Sendable, Hashable {
        /// Nothing: any server is accepted, and a client needs no certificate.
        case none
        /// That a trusted authority has signed it.
        case authority
        /// That, and that it names the server.
        case full
    }

    /// A version of the protocol.
    package enum Version: Sendable, Hashable {
        case v12, v13
    }

    package var side: Side
    package var verification: Verification
    package var minimum: Version
    /// PEM of the trusted authorities; nil if there are none.
    package var authorities: [UInt8]?
    /// PEM of the certificate with its chain, and of its key; both are empty without one.
    package var certificate: [UInt8]
    package var key: [UInt8]
    /// What stands for the key: the context may have been made already, and the key be forgotten.
    package var keyFingerprint: [UInt8]

    package init(
        side: Side, verification: Verification = .full, minimum: Version = .v12,
        authorities: [UInt8]? = nil, certificate: [UInt8] = [], key: [UInt8] = [],
        keyFingerprint: [UInt8]? = nil
    ) {
        self.side = side
        self.verification = verification
        self.minimum = minimum
        self.authorities = authorities
        self.certificate = certificate
        self.key = key
        self.keyFingerprint = keyFingerprint ?? TLSSettings.digest(of: key)
    }

    fileprivate static func digest(of bytes: [UInt8]) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 32)
        // It fails only without memory.
        precondition(redpool_tls_digest(bytes, bytes.count, &digest), "no SHA-256")
        return digest
    }

    /// What a context of these settings is found by. It keeps neither the files nor the key.
    struct Fingerprint: Hashable {
        private let side: Side
        private let verification: Verification
        private let minimum: Version
        private let files: [[UInt8]?]

        init(_ settings: TLSSettings) {
            side = settings.side
            verification = settings.verification
            minimum = settings.minimum
            files = [
                settings.authorities.map { digest(of: $0) }, digest(of: settings.certificate),
                settings.keyFingerprint,
            ]
        }

        /// The same in 32 bytes.
        var number: [UInt8] {
            let kind: [UInt8] = [
                side == .server ? 1 : 0, minimum == .v13 ? 1 : 0,
                verification == .none ? 0 : verification == .authority ? 1 : 2,
            ]
            return TLSSettings.digest(
                of: files.reduce(kind) { $0 + ($1 ?? [UInt8](repeating: 0, count: 32)) })
        }
    }
}

/// Why no context can be made of settings.
package struct TLSSettingsProblem: Error, Equatable {
    /// What cannot be used.
    package enum Part: Sendable {
        case authorities, certificate, key
        /// The library, or the machine's memory.
        case library
    }

    package let part: Part
    /// Follows the name of the file: `has no certificate`.
    package let message: String
}

/// Settings that are ready for use. The connections keep their context, so it can be replaced.
package final class TLSContext: Sendable {
    nonisolated(unsafe) let handle: OpaquePointer
    let side: TLSSettings.Side
    let verification: TLSSettings.Verification

    /// Where systems have the authorities that they trust, in one file.
    package static let systemFiles = [
        "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
    ]

    private struct Reference {
        weak var context: TLSContext?
    }
    /// All contexts that somebody has, and those that wait for the workers to take them.
    private struct Made {
        var known: [TLSSettings.Fingerprint: Reference] = [:]
        var kept: [TLSContext] = []
    }
    private static let made = Mutex(Made())

    /// The context of these settings. It is made if nobody has it yet, and kept until `letGo`.
    package static func shared(
        _ settings: TLSSettings
    ) throws(TLSSettingsProblem) -> TLSContext {
        let fingerprint = TLSSettings.Fingerprint(settings)
        if let found = made.withLock({ $0.known[fingerprint]?.context }) { return found }
        let new = try TLSContext(settings)
        if settings.side == .server { tickets.withLock { $0.give(to: new, fingerprint.number) } }
        return made.withLock { made in
            if let found = made.known[fingerprint]?.context { return found }
            made.known[fingerprint] = Reference(context: new)
            made.kept.append(new)
            return new
        }
    }

    private static let tickets = Mutex(TLSTickets())

    /// The keys of the session tickets of all contexts for clients, so that another program of this
    /// process can resume the sessions. They are secret.
    package static var ticketKeys: [UInt8] {
        var keys = TLSTickets()
        made.withLock { made in
            for (fingerprint, reference) in made.known {
                if let context = reference.context { keys.take(from: context, fingerprint.number) }
            }
        }
        return keys.bytes
    }

    /// Contexts that are made from now on, until `letGo`, get these keys if their settings are
    /// those of the contexts from which the keys come.
    package static func use(ticketKeys bytes: [UInt8]) {
        tickets.withLock { $0 = TLSTickets(bytes) }
    }

    /// Frees the contexts that nobody has: all workers have taken theirs.
    package static func letGo() {
        tickets.withLock { $0 = TLSTickets() }
        made.withLock { made in
            made.kept = []
            made.known = made.known.filter { $0.value.context != nil }
        }
    }

    init(_ settings: TLSSettings) throws(TLSSettingsProblem) {
        let isServer = settings.side == .server
        let minimum = settings.minimum == .v12 ? TLS1_2_VERSION : TLS1_3_VERSION
        guard redpool_tls_start(), let made = redpool_tls_context(isServer, minimum) else {
            throw TLSSettingsProblem(part: .library, message: TLSContext.takeReason())
        }
        handle = made
        side = settings.side
        verification = settings.verification
        // If this throws, deinit frees the handle.
        let verifies = settings.verification != .none
        redpool_tls_verify_peer(handle, verifies, isServer)
        if verifies { try trust(settings.authorities) }
        if !settings.certificate.isEmpty || !settings.key.isEmpty || isServer {
            try use(settings.certificate, settings.key)
        }
    }

    deinit { SSL_CTX_free(handle) }

    private func trust(_ authorities: [UInt8]?) throws(TLSSettingsProblem) {
        guard let authorities else {
            throw TLSSettingsProblem(
                part: .authorities,
                message: "the system has no file of CA certificates; the package is ca-certificates"
            )
        }
        let found = authorities.withUnsafeBytes {
            redpool_tls_trust(handle, $0.baseAddress, $0.count, side == .server)
        }
        if found == 0 { throw problem(.authorities, "has no certificate") }
        if found < 0 { throw problem(.authorities, "has a certificate that cannot be read") }
    }

    private func use(_ certificate: [UInt8], _ key: [UInt8]) throws(TLSSettingsProblem) {
        let found = certificate.withUnsafeBytes {
            redpool_tls_use_chain(handle, $0.baseAddress, $0.count)
        }
        if found == 0 { throw problem(.certificate, "has no certificate") }
        if found < 0 { throw problem(.certificate, "has a certificate that cannot be used") }
        let result = key.withUnsafeBytes {
            redpool_tls_use_key(handle, $0.baseAddress, $0.count)
        }
        if result == -2 {
            _ = TLSContext.takeReason()
            throw TLSSettingsProblem(part: .key, message: TLSContext.foreignKey)
        }
        if result < 0 {
            _ = TLSContext.takeReason()
            throw TLSSettingsProblem(
                part: .key, message: "has no private key without a passphrase")
        }
    }

    /// The message of a key that belongs to another certificate.
    package static let foreignKey = "does not belong to the certificate"

    private func problem(
        _ part: TLSSettingsProblem.Part, _ message: String
    ) -> TLSSettingsProblem {
        let reason = TLSContext.takeReason()
        let isPlain = message == "has no certificate"
        return TLSSettingsProblem(part: part, message: isPlain ? message : "\(message): \(reason)")
    }

    /// OpenSSL's words for what has just failed.
    private static func takeReason() -> String {
        var error = redpool_tls_error()
        redpool_tls_take_error(&error)
        return text(of: error)
    }

    static func text(of error: redpool_tls_error) -> String {
        withUnsafeBytes(of: error.text) { raw in
            String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
        }
    }
}

/// Certificates in the text of a file.
package enum TLSCertificates {
    /// When the first of them expires, in seconds since 1970; nil if there is none.
    package static func firstExpiry(_ pem: [UInt8]) -> Int64? {
        let found = pem.withUnsafeBytes { redpool_tls_first_expiry($0.baseAddress, $0.count) }
        return found < 0 ? nil : found
    }
}

/// A session that a server has given, with which a later handshake is shorter: no certificate comes
/// in it. So the session is a proof only of what was verified when it was made.
package final class TLSSession {
    let handle: OpaquePointer
    private let name: String
    private let context: TLSContext

    init(_ handle: OpaquePointer, of name: String, verifiedBy context: TLSContext) {
        self.handle = handle
        self.name = name
        self.context = context
    }

    /// The server was verified to have this name, with the settings of this context. Otherwise a
    /// handshake does not use the session.
    func isProof(of name: String, to context: TLSContext) -> Bool {
        self.name == name && self.context === context
    }

    deinit { SSL_SESSION_free(handle) }

    /// The certificate that was verified for it is still valid.
    package var isUsable: Bool { redpool_tls_is_usable(handle) }

    /// It may be used for more than one handshake.
    package var isReusable: Bool { redpool_tls_is_reusable(handle) }
}
