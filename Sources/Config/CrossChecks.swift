// Checks of values against each other: sizes, times, credentials, addresses.

extension Resolution {
    /// `minIdle` <= `maxIdle` <= `maxOpen`, and `maxPinned` < `maxOpen`.
    func checkSizes(_ pool: PoolDraft) -> [Diagnostic] {
        [
            atMost(.maxIdle, .maxOpen, of: pool), atMost(.minIdle, .maxIdle, of: pool),
            below(.maxPinned, .maxOpen, of: pool),
        ].compactMap { $0 }
    }

    /// Warns if an upstream connection is closed as idle before its first PING.
    func checkTimes(_ pool: PoolDraft) -> [Diagnostic] {
        guard let ping = pool.settings[.pingInterval], case .duration(let pingTime) = ping.value,
            let idle = pool.settings[.idleTimeout], case .duration(let idleTime) = idle.value,
            idleTime > 0, pingTime >= idleTime
        else { return [] }
        let consequence = "idle connections above minIdle are closed before their first PING"
        let culprit = blame(.pingInterval, .idleTimeout, in: pool)
        let relation =
            culprit == .pingInterval
            ? "\(ping.text) is not less than idleTimeout (\(idle.described))"
            : "\(idle.text) is not more than pingInterval (\(ping.described))"
        return [
            diagnostic(
                culprit, of: pool, severity: .warning, message: "\(relation): \(consequence)")
        ]
    }

    /// AUTH needs a password, and only one user.
    func checkCredentials(_ pool: PoolDraft) -> [Diagnostic] {
        guard let username = pool.settings[.username], case .text(let name) = username.value,
            case .text(let file)? = pool.settings[.passwordFile]?.value,
            let source = pool.sourceKey
        else { return [] }
        let userOfURL = pool.userOfURL
        if let user = userOfURL, username.origin == .own, user != name {
            let message = "\(shown(name)) is not the user of \(source.name)'s URL (\(shown(user)))"
            return [diagnostic(.username, of: pool, message: message)]
        }
        guard file.isEmpty, !(userOfURL ?? name).isEmpty else { return [] }
        let key = userOfURL == nil ? Key.username : source
        return [
            diagnostic(
                key, of: pool, message: "a user needs passwordFile; AUTH always has a password")
        ]
    }

    /// No address may be listened on twice, and none may be an upstream, which would be a loop.
    func checkAddresses(_ pools: [PoolDraft]) -> [Diagnostic] {
        var found: [Diagnostic] = []
        var earlier: [(pool: String, address: ListenAddress, line: Int)] = []
        for pool in pools {
            guard let setting = pool.settings[.listen], case .list(let list) = setting.value
            else { continue }
            for (element, place) in zip(list, setting.elements) {
                guard case .listen(let address) = element else { continue }
                if let other = earlier.first(where: { $0.address.overlaps(address) }) {
                    let owner = other.pool == pool.name ? "this pool" : "pool \(other.pool)"
                    found.append(
                        diagnostic(
                            .listen, of: pool, at: place,
                            message: "\(address) is taken by \(owner) (\(other.address), "
                                + "at line \(other.line))"))
                }
                for target in pools {
                    guard let role = address.role(in: target) else { continue }
                    let owner = target.name == pool.name ? "this pool" : "pool \(target.name)"
                    found.append(
                        diagnostic(
                            .listen, of: pool, at: place,
                            message: "\(address) is \(role) of \(owner): a loop"))
                    break
                }
                earlier.append((pool.name, address, place.line))
            }
        }
        return found
    }

    /// No pool listens where metrics are served.
    func checkHTTP() -> [Diagnostic] {
        guard let setting = globals[.httpListen], case .text(let text) = setting.value,
            !text.isEmpty, let address = try? parseListen(text)
        else { return [] }
        for pool in pools {
            guard case .list(let list)? = pool.settings[.listen]?.value else { continue }
            for case .listen(let other) in list where other.overlaps(address) {
                return [
                    Diagnostic(
                        line: setting.position.line, column: setting.position.column,
                        path: "http.listen",
                        message: "\(address) is taken by pool \(pool.name) (\(other))")
                ]
            }
        }
        return []
    }

    /// The console's socket is a path that a socket can have, and no pool's.
    func checkConsole() -> [Diagnostic] {
        guard let setting = globals[.socket], case .text(let path) = setting.value, !path.isEmpty
        else { return [] }
        var message: String?
        if !path.hasPrefix("/") {
            message = "\(shown(path)) is not an absolute path"
        } else if path.utf8.count > 107 {
            message = "the path is longer than 107 bytes"
        } else {
            for pool in pools {
                guard case .list(let list)? = pool.settings[.listen]?.value else { continue }
                if list.contains(.listen(.unix(path: path))) {
                    message = "unix:\(path) is taken by pool \(pool.name)"
                }
            }
        }
        return message.map {
            [
                Diagnostic(
                    line: setting.position.line, column: setting.position.column,
                    path: "admin.socket", message: $0)
            ]
        } ?? []
    }

    private func atMost(_ low: Key, _ high: Key, of pool: PoolDraft) -> Diagnostic? {
        guard let small = pool.settings[low], case .integer(let lower) = small.value,
            let great = pool.settings[high], case .integer(let upper) = great.value, lower > upper
        else { return nil }
        let culprit = blame(low, high, in: pool)
        let message =
            culprit == low
            ? "\(small.text) is more than \(high.rawValue) (\(great.described))"
            : "\(great.text) is less than \(low.rawValue) (\(small.described))"
        return diagnostic(culprit, of: pool, message: message)
    }

    private func below(_ low: Key, _ high: Key, of pool: PoolDraft) -> Diagnostic? {
        guard let small = pool.settings[low], case .integer(let lower) = small.value,
            let great = pool.settings[high], case .integer(let upper) = great.value,
            lower >= upper
        else { return nil }
        let culprit = blame(low, high, in: pool)
        let message =
            culprit == low
            ? "\(small.text) is not less than \(high.rawValue) (\(great.described))"
            : "\(great.text) is not more than \(low.rawValue) (\(small.described))"
        return diagnostic(culprit, of: pool, message: message)
    }

    /// Which of two contradicting keys to report: the first, unless only the second is in the pool
    /// itself, or only the second is in the file.
    private func blame(_ first: Key, _ second: Key, in pool: PoolDraft) -> Key {
        func rank(_ key: Key) -> Int {
            switch pool.settings[key]?.origin {
            case .own: 2
            case .defaults: 1
            default: 0
            }
        }
        return rank(second) > rank(first) ? second : first
    }

    /// A problem of a key, at its value unless there is a better place.
    func diagnostic(
        _ key: Key, of pool: PoolDraft, at place: Position? = nil,
        severity: Diagnostic.Severity = .error, message: String
    ) -> Diagnostic {
        let position = place ?? pool.settings[key]?.position ?? pool.position
        return Diagnostic(
            line: position.line, column: position.column, severity: severity,
            path: pool.path(key), message: message)
    }
}

extension ListenAddress {
    /// Whether the two addresses cannot both be bound. `0.0.0.0` covers every IPv4 address, `::`
    /// every IPv6 address, `*` both.
    fileprivate func overlaps(_ other: ListenAddress) -> Bool {
        switch (self, other) {
        case (.unix(let path), .unix(let otherPath)):
            return path == otherPath
        case (.tcp(let host, let port, _), .tcp(let otherHost, let otherPort, _)):
            guard port == otherPort else { return false }
            return host == otherHost || covers(host, otherHost) || covers(otherHost, host)
        default:
            return false
        }
    }

    /// What a pool takes this address for, if its own connections would arrive here.
    fileprivate func role(in pool: PoolDraft) -> String? {
        if let upstream = pool.upstream {
            return isReached(by: upstream.address) ? "the upstream" : nil
        }
        if let seeds = pool.seeds {
            return seeds.contains { isReached(by: $0.address) } ? "a node" : nil
        }
        guard case .list(let elements)? = pool.settings[.sentinels]?.value else { return nil }
        let isSentinel = elements.contains { element in
            if case .sentinel(let address) = element { isReached(by: address) } else { false }
        }
        return isSentinel ? "a Sentinel" : nil
    }

    /// Whether a connection to the address would arrive here, as far as that is certain.
    package func isReached(by address: UpstreamAddress) -> Bool {
        switch (self, address) {
        case (.unix(let path), .unix(let target)):
            return path == target
        case (.tcp(let host, let port, _), .tcp(let target, let targetPort)):
            guard port == targetPort else { return false }
            let targets = target == "localhost" ? ["127.0.0.1", "::1"] : [target]
            return targets.contains { $0 == host || (isLocal($0) && covers(host, $0)) }
        default:
            return false
        }
    }
}

private func covers(_ wildcard: String, _ host: String) -> Bool {
    let isIPv6 = host.utf8.contains(UInt8(ascii: ":"))
    switch wildcard {
    case "*": return true
    case "0.0.0.0": return !isIPv6 && host != "*"
    case "::": return isIPv6
    default: return false
    }
}

/// True when the host certainly belongs to this machine.
private func isLocal(_ host: String) -> Bool {
    (isIPv4(host) && host.hasPrefix("127.")) || ["::1", "::", "0.0.0.0"].contains(host)
}
