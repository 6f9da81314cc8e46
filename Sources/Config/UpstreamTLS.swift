// TLS to a pool's server: the keys, and the files that they name.

/// TLS to the server of a pool: its `rediss://`, and the keys `tls...`. The files are in memory,
/// so equal values are equal in everything.
package struct UpstreamTLS: Sendable, Equatable {
    /// What is verified of the server's certificate.
    package enum Verification: String, Sendable, CaseIterable {
        /// That a trusted authority has signed it, and that it is for the server's name.
        case full
        /// That a trusted authority has signed it.
        case ca
        /// Nothing.
        case none
    }

    /// A version of the protocol.
    package enum Version: String, Sendable, CaseIterable {
        case v12 = "1.2"
        case v13 = "1.3"
    }

    /// What is verified of the server's certificate.
    package let verification: Verification
    /// The oldest version of the protocol.
    package let minimum: Version
    /// The name or numeric address that the certificate must have; empty for that of each server.
    /// A name is told to the server.
    package let serverName: String
    /// PEM of the authorities; nil if the system has none, or none are needed.
    package let authorities: [UInt8]?
    /// The file that they come from if it is the system's.
    package let systemFile: String?
    /// PEM of the client certificate with its chain; empty without one.
    package let certificate: [UInt8]
    /// The client certificate's key; nil without one. Never printed.
    package let key: PrivateKey?

    /// Whether the contents of all files are the same.
    package func hasSameFiles(as other: UpstreamTLS) -> Bool {
        authorities == other.authorities && certificate == other.certificate && key == other.key
    }

    /// One of the files.
    package enum File: Sendable {
        case authorities, certificate, key
    }

    /// Why a file cannot be used, in words that follow its name: `has no certificate`.
    package struct Problem: Error, Equatable {
        /// Nil if it is not about a file.
        package let file: File?
        package let message: String

        package init(file: File?, message: String) {
            self.file = file
            self.message = message
        }
    }
}

extension UpstreamTLS: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// No description has a key.
    package var description: String {
        "TLS to \(serverName), verify \(verification.rawValue), "
            + "client certificate \(certificate.isEmpty ? "none" : "***")"
    }

    /// Equals `description`.
    package var debugDescription: String { description }

    /// For `dump` and debuggers: the description instead of the fields.
    package var customMirror: Mirror {
        Mirror(self, children: ["description": description])
    }
}

extension Schema {
    /// The keys of TLS to the server.
    static let tlsKeys: [KeySpec] = [
        KeySpec(
            key: .tlsCaFile, scope: .pool, kind: .path, standard: .text(""), reload: .opened,
            doc: "file with the CA certificates to trust, for rediss://; empty is the system's"),
        KeySpec(
            key: .tlsVerify, scope: .pool,
            kind: .choice(UpstreamTLS.Verification.allCases.map(\.rawValue)),
            standard: .text("full"), reload: .opened,
            doc: "what is verified of the server: CA and name, only the CA, or nothing"),
        KeySpec(
            key: .tlsServerName, scope: .pool, kind: .text, standard: .text(""), reload: .opened,
            doc: "name that the server's certificate must have; empty is the host that is dialled"),
        KeySpec(
            key: .tlsCertFile, scope: .pool, kind: .path, standard: .text(""), reload: .opened,
            doc: "file with the client certificate for the server, its chain behind it"),
        KeySpec(
            key: .tlsKeyFile, scope: .pool, kind: .path, standard: .text(""), reload: .opened,
            doc: "file with the private key of tlsCertFile, without a passphrase"),
        KeySpec(
            key: .tlsMinVersion, scope: .pool,
            kind: .choice(UpstreamTLS.Version.allCases.map(\.rawValue)),
            standard: .text("1.2"), reload: .opened,
            doc: "oldest version of TLS that is accepted from the server"),
    ]
}

extension Resolution {
    /// The keys of TLS belong to an upstream with TLS, and the two of a client certificate to each
    /// other.
    func checkTLS(_ pool: PoolDraft) -> [Diagnostic] {
        guard let source = pool.sourceKey else { return [] }
        guard securedEnds(of: pool) != (false, false) else {
            let users =
                switch source {
                case .sentinels: "primaryTls or sentinelTls"
                case .cluster: "a cluster with rediss://"
                default: "an upstream with rediss://"
                }
            // The printed configuration has every key, with its default.
            return Schema.tlsKeys.filter { spec in
                guard let setting = pool.settings[spec.key], setting.origin == .own else {
                    return false
                }
                return setting.value != spec.standardValue?.value
            }.map { problem($0.key, of: pool, "is only for \(users)") }
        }
        var found: [Diagnostic] = []
        let (certificate, key) = (text(.tlsCertFile, of: pool), text(.tlsKeyFile, of: pool))
        if !certificate.isEmpty, key.isEmpty {
            found.append(
                problem(.tlsKeyFile, of: pool, at: .tlsCertFile, "is needed with tlsCertFile"))
        } else if certificate.isEmpty, !key.isEmpty {
            found.append(
                problem(.tlsCertFile, of: pool, at: .tlsKeyFile, "is needed with tlsKeyFile"))
        }
        let name = text(.tlsServerName, of: pool)
        if !name.isEmpty, UpstreamTLS.canonicalName(name) == nil {
            found.append(
                problem(.tlsServerName, of: pool, "\(shown(name)) is not a host name or address"))
        }
        if text(.tlsVerify, of: pool) == UpstreamTLS.Verification.none.rawValue {
            found.append(
                problem(.tlsVerify, of: pool, severity: .warning, "none accepts any server"))
        }
        return found
    }

    func text(_ key: Key, of pool: PoolDraft) -> String {
        guard case .text(let text)? = pool.settings[key]?.value else { return "" }
        return text
    }

    func problem(
        _ key: Key, of pool: PoolDraft, at place: Key? = nil,
        severity: Diagnostic.Severity = .error, _ message: String
    ) -> Diagnostic {
        let position = pool.settings[place ?? key]?.position ?? pool.position
        return Diagnostic(
            line: position.line, column: position.column, severity: severity,
            path: pool.path(key), message: message)
    }

    /// Reads the files of TLS of all pools and reports those that cannot be used. The result has
    /// one element per pool; nil for a pool without TLS.
    mutating func readTLS(
        file: String, systemFiles: [String], readFile: Config.ReadFile,
        judge: (UpstreamTLS) -> UpstreamTLS.Problem?
    ) -> [UpstreamTLS?] {
        var found: [UpstreamTLS?] = []
        // Read once for all pools.
        var system: Authorities?
        for pool in pools {
            guard securedEnds(of: pool) != (false, false) else {
                found.append(nil)
                continue
            }
            let before = diagnostics.count
            let verification =
                UpstreamTLS.Verification(rawValue: text(.tlsVerify, of: pool)) ?? .full
            var authorities = Authorities(
                pem: bytes(.tlsCaFile, of: pool, besides: file, by: readFile), systemFile: nil)
            if text(.tlsCaFile, of: pool).isEmpty, verification != .none {
                let ofSystem = system ?? Authorities(ofSystem: systemFiles, by: readFile)
                system = ofSystem
                authorities = ofSystem
            }
            let tls = UpstreamTLS(
                verification: verification,
                minimum: UpstreamTLS.Version(rawValue: text(.tlsMinVersion, of: pool)) ?? .v12,
                serverName: serverName(of: pool),
                authorities: authorities.pem, systemFile: authorities.systemFile,
                certificate: bytes(.tlsCertFile, of: pool, besides: file, by: readFile) ?? [],
                key: privateKey(.tlsKeyFile, of: pool, besides: file, by: readFile))
            found.append(tls)
            // What cannot be read, or lacks its other half, is reported already.
            guard diagnostics.count == before, isPaired(pool), let problem = judge(tls) else {
                continue
            }
            report(problem, of: pool, systemFile: tls.systemFile)
        }
        return found
    }

    /// The authorities to trust, and the file of the system that has them.
    fileprivate struct Authorities {
        let pem: [UInt8]?
        let systemFile: String?
    }

    private func isPaired(_ pool: PoolDraft) -> Bool {
        text(.tlsCertFile, of: pool).isEmpty == text(.tlsKeyFile, of: pool).isEmpty
    }

    /// The servers that Sentinels or nodes name have one each.
    private func serverName(of pool: PoolDraft) -> String {
        if let name = UpstreamTLS.canonicalName(text(.tlsServerName, of: pool)) { return name }
        guard case .tcp(let host, _)? = pool.upstream?.address else { return "" }
        return host
    }

    mutating func bytes(
        _ key: Key, of pool: PoolDraft, besides file: String, by readFile: Config.ReadFile
    ) -> [UInt8]? {
        let name = text(key, of: pool)
        guard !name.isEmpty, let setting = pool.settings[key] else { return nil }
        do throws(Config.FileError) {
            let bytes = try readFile(Resolution.absolute(name, besides: file))
            if bytes.count <= Document.sizeLimit { return bytes }
            report(setting.position, pool.path(key), "\(shownPath(name)) is longer than 1 MB")
        } catch {
            report(
                setting.position, pool.path(key),
                "\(shownPath(name)) cannot be read: \(error.message)")
        }
        return nil
    }

    /// The key in the file; nil without one. No other copy of it stays in memory.
    mutating func privateKey(
        _ key: Key, of pool: PoolDraft, besides file: String, by readFile: Config.ReadFile
    ) -> PrivateKey? {
        guard var pem = bytes(key, of: pool, besides: file, by: readFile) else { return nil }
        defer { Secret.wipe(&pem) }
        return PrivateKey(pem)
    }

    private mutating func report(
        _ problem: UpstreamTLS.Problem, of pool: PoolDraft, systemFile: String?
    ) {
        let key: Key =
            switch problem.file {
            case .authorities: .tlsCaFile
            case .certificate: .tlsCertFile
            case .key: .tlsKeyFile
            case nil: pool.sourceKey ?? .upstream
            }
        var name = problem.file == nil ? "" : text(key, of: pool)
        if problem.file == .authorities, name.isEmpty { name = systemFile ?? "" }
        let message = name.isEmpty ? problem.message : "\(shownPath(name)) \(problem.message)"
        let position = pool.settings[key]?.position ?? pool.position
        report(position, pool.path(key), message)
    }
}

extension Resolution.Authorities {
    /// Those of the system: the first file that can be read. A bundle has about 200 KB.
    fileprivate init(ofSystem files: [String], by readFile: Config.ReadFile) {
        for file in files {
            guard let pem = try? readFile(file), !pem.isEmpty, pem.count <= Document.sizeLimit
            else { continue }
            self.init(pem: pem, systemFile: file)
            return
        }
        self.init(pem: nil, systemFile: nil)
    }
}

extension UpstreamTLS {
    /// The name that the certificate of a server at this host must have.
    package func name(of host: String) -> String { serverName.isEmpty ? host : serverName }

    /// A name or a numeric address in the form in which a certificate is asked for it; nil if it
    /// is neither.
    static func canonicalName(_ name: String) -> String? {
        if name.isEmpty { return nil }
        return try? checkHost(name, bracketed: name.utf8.contains(UInt8(ascii: ":")))
    }
}
