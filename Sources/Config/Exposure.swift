// Nobody is let in by accident: a pool that lends its clients what a stranger does not have is not
// open to other machines, unless they have to log in or the file says that it is meant.

extension Resolution {
    /// Refuses an address that other machines can reach, of a pool that lends an identity or a
    /// place and whose clients need neither a login nor a certificate. Sockets that the service
    /// manager passes are at addresses of `listen` too.
    ///
    /// - Parameter isHere: whether a name is one of this machine's.
    func checkExposure(_ pool: PoolDraft, isHere: ((String) -> Bool)? = nil) -> [Diagnostic] {
        guard pool.settings[.allowUnauthenticated]?.value == .boolean(false),
            !pool.hasText(.clientPasswordFile), !pool.hasText(.clientUsersFile),
            let lent = isHere.map({ pool.lentPlace(of: $0) }) ?? pool.lent,
            let listen = pool.settings[.listen],
            case .list(let elements) = listen.value
        else { return [] }
        let areVerified = text(.listenClients, of: pool) == ListenTLS.Clients.verified.rawValue
        for (index, element) in elements.enumerated() {
            guard case .listen(let address) = element, !address.isOfThisMachine,
                !(address.isTLS && areVerified)
            else { continue }
            let place = index < listen.elements.count ? listen.elements[index] : nil
            return [
                diagnostic(
                    .listen, of: pool, at: place,
                    message: "\(address) is open to other machines, and the pool lends its clients "
                        + "\(lent): set clientPasswordFile or clientUsersFile, or use rediss:// with "
                        + "listenClients: verified, or set allowUnauthenticated: true")
            ]
        }
        return []
    }
}

extension PoolDraft {
    /// Whether a key has a text that is not empty.
    fileprivate func hasText(_ key: Key) -> Bool {
        guard case .text(let text)? = settings[key]?.value else { return false }
        return !text.isEmpty
    }

    /// What clients get from the pool that they would not have at the server; nil if nothing.
    fileprivate var lent: String? {
        if hasText(.passwordFile) { return "its login (passwordFile)" }
        if hasText(.tlsCertFile) { return "its login (tlsCertFile)" }
        // Their addresses are known at run time only, so one of this machine is to be expected.
        if settings[.sentinels] != nil {
            return "its place (a server that Sentinels name may take them for clients of its "
                + "machine)"
        }
        if settings[.cluster] != nil {
            return "its place (a node that the cluster names may take them for clients of its "
                + "machine)"
        }
        guard let upstream, upstream.address.isOfThisMachine else { return nil }
        return place(upstream.address)
    }

    /// The same for a server whose name is one of this machine's; nil for what `lent` has found.
    fileprivate func lentPlace(of isHere: (String) -> Bool) -> String? {
        guard lent == nil, let upstream, case .tcp(let host, _) = upstream.address, isHere(host)
        else { return nil }
        return place(upstream.address)
    }

    private func place(_ address: UpstreamAddress) -> String {
        "its place (\(address) takes them for clients of this machine)"
    }
}

extension ListenAddress {
    /// Only this machine can connect.
    fileprivate var isOfThisMachine: Bool {
        switch self {
        case .unix: true
        case .tcp(let host, _, _): isLoopback(host)
        }
    }
}

extension UpstreamAddress {
    /// The server sees a client of its own machine.
    fileprivate var isOfThisMachine: Bool {
        switch self {
        case .unix: return true
        case .tcp(let host, _):
            // A connection to the address of no host goes to this one (ip(7)). A name of this zone
            // is always this machine's (RFC 6761).
            return isLoopback(host) || host == "0.0.0.0" || host == "::" || host == "localhost"
                || host.hasSuffix(".localhost") || host.hasPrefix("::ffff:7f")
                || host == "::ffff:0:0"
        }
    }
}

/// Whether an address is in 127.0.0.0/8, or is ::1.
private func isLoopback(_ host: String) -> Bool {
    (isIPv4(host) && host.hasPrefix("127.")) || host == "::1"
}
