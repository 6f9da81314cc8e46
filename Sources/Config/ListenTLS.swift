// TLS for a pool's clients: the keys, and the files that they name.

/// TLS for the clients of a pool: the keys `listen...`. The files are in memory, so equal values
/// are equal in everything.
package struct ListenTLS: Sendable, Equatable {
    /// Which clients may come in.
    package enum Clients: String, Sendable, CaseIterable {
        /// All, with a certificate or without.
        case any
        /// Those with a certificate that a trusted authority has signed.
        case verified
    }

    /// Which clients may come in.
    package let clients: Clients
    /// PEM of the authorities that sign clients' certificates; empty if none is needed.
    package let authorities: [UInt8]
    /// PEM of the certificate with its chain.
    package let certificate: [UInt8]
    /// The certificate's key; nil if its file cannot be read. Never printed.
    package let key: PrivateKey?

    /// Whether the contents of all files are the same.
    package func hasSameFiles(as other: ListenTLS) -> Bool {
        authorities == other.authorities && certificate == other.certificate && key == other.key
    }
}

extension ListenTLS: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// No description has a key.
    package var description: String { "TLS for clients, \(clients.rawValue), certificate ***" }

    /// Equals `description`.
    package var debugDescription: String { description }

    /// For `dump` and debuggers: the description instead of the fields.
    package var customMirror: Mirror {
        Mirror(self, children: ["description": description])
    }
}

extension Schema {
    /// The keys of TLS for clients.
    static let listenTLSKeys: [KeySpec] = [
        KeySpec(
            key: .listenCertFile, scope: .pool, kind: .path, standard: .text(""), reload: .opened,
            doc: "file with the certificate for rediss:// in listen, its chain behind it"),
        KeySpec(
            key: .listenKeyFile, scope: .pool, kind: .path, standard: .text(""), reload: .opened,
            doc: "file with the private key of listenCertFile, without a passphrase"),
        KeySpec(
            key: .listenCaFile, scope: .pool, kind: .path, standard: .text(""), reload: .opened,
            doc: "file with the CA certificates that clients' certificates are verified with"),
        KeySpec(
            key: .listenClients, scope: .pool,
            kind: .choice(ListenTLS.Clients.allCases.map(\.rawValue)),
            standard: .text("any"), reload: .opened,
            doc: "clients of rediss:// in listen: any, or verified, with a certificate only"),
    ]
}

extension Resolution {
    /// The first address with TLS in `listen`.
    private func secureListener(
        of pool: PoolDraft
    ) -> (address: ListenAddress, place: Position)? {
        guard let listen = pool.settings[.listen], case .list(let list) = listen.value else {
            return nil
        }
        for (element, place) in zip(list, listen.elements) {
            if case .listen(let address) = element, address.isTLS { return (address, place) }
        }
        return nil
    }

    /// The keys of TLS for clients belong to a listener with TLS, and that needs a certificate.
    func checkListenTLS(_ pool: PoolDraft) -> [Diagnostic] {
        guard pool.settings[.listen] != nil else { return [] }
        guard let listener = secureListener(of: pool) else {
            // The printed configuration has every key, with its default.
            return Schema.listenTLSKeys.filter { spec in
                guard let setting = pool.settings[spec.key], setting.origin == .own else {
                    return false
                }
                return setting.value != spec.standardValue?.value
            }.map { problem($0.key, of: pool, "is only for a listener with rediss://") }
        }
        var found: [Diagnostic] = []
        let hasCertificate = !text(.listenCertFile, of: pool).isEmpty
        let hasKey = !text(.listenKeyFile, of: pool).isEmpty
        switch (hasCertificate, hasKey) {
        case (true, true): break
        case (true, false):
            found.append(
                problem(
                    .listenKeyFile, of: pool, at: .listenCertFile, "is needed with listenCertFile"))
        case (false, true):
            found.append(
                problem(
                    .listenCertFile, of: pool, at: .listenKeyFile, "is needed with listenKeyFile"))
        case (false, false):
            found.append(
                diagnostic(
                    .listen, of: pool, at: listener.place,
                    message: "\(listener.address) needs listenCertFile and listenKeyFile"))
        }
        return found + checkClients(of: pool)
    }

    /// Clients can be verified only with an authority. Who names one and does not say which clients
    /// may come in probably means that.
    private func checkClients(of pool: PoolDraft) -> [Diagnostic] {
        let isNamed = !text(.listenCaFile, of: pool).isEmpty
        if text(.listenClients, of: pool) == ListenTLS.Clients.verified.rawValue {
            return isNamed ? [] : [problem(.listenClients, of: pool, "verified needs listenCaFile")]
        }
        guard isNamed, pool.settings[.listenClients]?.origin == .schema else { return [] }
        return [
            problem(
                .listenCaFile, of: pool, "needs listenClients: verified (or any, to let all in)")
        ]
    }

    /// Reads the files of TLS for clients of all pools and reports those that cannot be used. The
    /// result has one element per pool; nil for a pool without such a listener.
    mutating func readListenTLS(
        file: String, readFile: Config.ReadFile, judge: (ListenTLS) -> UpstreamTLS.Problem?
    ) -> [ListenTLS?] {
        var found: [ListenTLS?] = []
        for pool in pools {
            guard secureListener(of: pool) != nil else {
                found.append(nil)
                continue
            }
            let before = diagnostics.count
            let clients = ListenTLS.Clients(rawValue: text(.listenClients, of: pool)) ?? .verified
            let authorities =
                clients == .verified
                ? bytes(.listenCaFile, of: pool, besides: file, by: readFile) : []
            let tls = ListenTLS(
                clients: clients, authorities: authorities ?? [],
                certificate: bytes(.listenCertFile, of: pool, besides: file, by: readFile) ?? [],
                key: privateKey(.listenKeyFile, of: pool, besides: file, by: readFile))
            found.append(tls)
            // What cannot be read, or lacks its other half, is reported already.
            guard diagnostics.count == before, checkListenTLS(pool).isEmpty,
                let problem = judge(tls)
            else { continue }
            report(problem, of: pool)
        }
        return found
    }

    private mutating func report(_ problem: UpstreamTLS.Problem, of pool: PoolDraft) {
        let key: Key =
            switch problem.file {
            case .authorities: .listenCaFile
            case .certificate: .listenCertFile
            case .key: .listenKeyFile
            case nil: .listen
            }
        let name = problem.file == nil ? "" : text(key, of: pool)
        let message = name.isEmpty ? problem.message : "\(shownPath(name)) \(problem.message)"
        report(pool.settings[key]?.position ?? pool.position, pool.path(key), message)
    }
}
