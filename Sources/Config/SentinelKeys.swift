// The keys of a pool whose primary Sentinels name, and their checks.

extension Schema {
    /// The keys that say where a pool's servers come from. A pool has one of them.
    static let sources: [Key] = [.upstream, .sentinels, .cluster]

    /// In place of `upstream`.
    static let primaryKeys: [KeySpec] = [
        KeySpec(
            key: .sentinels, scope: .poolOnly, kind: .list(of: .sentinel, empty: nil),
            standard: .depends("in place of upstream"), reload: .live,
            doc: "the Sentinels that name the primary (docs/sentinel.md), one or a list, at most 8"),
        KeySpec(
            key: .primaryName, scope: .poolOnly, kind: .text,
            standard: .depends("required with sentinels"), reload: .move,
            doc: "the name under which the Sentinels know the primary, such as mymaster"),
    ]

    /// How Sentinels and the servers that they name are spoken to.
    static let sentinelKeys: [KeySpec] = [
        KeySpec(
            key: .primaryTls, scope: .pool, kind: .boolean, standard: .text("false"),
            reload: .move,
            doc: "with sentinels: TLS to the servers, as rediss:// in upstream"),
        KeySpec(
            key: .primaryDatabase, scope: .pool, kind: .integer(0...Int(Int32.max)),
            standard: .text("0"), reload: .move,
            doc: "with sentinels: the database, as redis://host/1 in upstream"),
        KeySpec(
            key: .sentinelUsername, scope: .pool, kind: .text, standard: .text(""),
            reload: .live,
            doc: "ACL user for AUTH to the Sentinels; empty is the default user"),
        KeySpec(
            key: .sentinelPasswordFile, scope: .pool, kind: .path, standard: .text(""),
            reload: .live,
            doc: "file whose first line is the password for AUTH to the Sentinels; empty is no AUTH"
        ),
        KeySpec(
            key: .sentinelTls, scope: .pool, kind: .boolean, standard: .text("false"),
            reload: .live,
            doc: "TLS to the Sentinels; the keys tls... hold for them too"),
    ]
}

extension SectionReader {
    /// A pool has one source of servers, and no keys of another one.
    func checkSource(at position: Position) -> [Diagnostic] {
        let given = Schema.sources.filter { settings[$0] != nil || broken.contains($0) }
        let all = Schema.sources.map(\.rawValue)
        guard let source = given.first else {
            return [
                problem(
                    .upstream, at: position,
                    "is required, or sentinels, or cluster (the Redis or Valkey server)")
            ]
        }
        if given.count > 1 {
            let places = given.compactMap { settings[$0]?.position }
            let place = places.max { ($0.line, $0.column) < ($1.line, $1.column) } ?? position
            return [
                problem(
                    nil, at: place,
                    "has both \(given.map(\.rawValue).joined(separator: " and ")); "
                        + "a pool has one of \(all.joined(separator: ", "))")
            ]
        }
        switch source {
        case .sentinels: return checkPrimaryName(at: position) + checkCount() + checkClusterKeys()
        case .cluster: return checkSeeds() + checkSentinelKeys(of: source)
        default:
            return checkSentinelKeys(of: source) + checkClusterKeys() + checkReplicaKeys()
        }
    }

    private func checkCount() -> [Diagnostic] {
        guard let setting = settings[.sentinels], case .list(let elements) = setting.value,
            elements.count > SentinelSource.most
        else { return [] }
        return [
            problem(
                .sentinels, at: setting.elements[SentinelSource.most],
                "\(elements.count) are too many; name \(SentinelSource.most) of them, "
                    + "which know the others")
        ]
    }

    private func checkPrimaryName(at position: Position) -> [Diagnostic] {
        if let name = settings[.primaryName] {
            guard name.value == .text("") else { return [] }
            return [problem(.primaryName, at: name.position, "is empty")]
        }
        if broken.contains(.primaryName) { return [] }
        return [
            problem(.sentinels, at: settings[.sentinels]?.position ?? position, "needs primaryName")
        ]
    }

    /// The printed configuration has every key with a default.
    private func checkSentinelKeys(of source: Key) -> [Diagnostic] {
        (Schema.primaryKeys + Schema.sentinelKeys).compactMap { spec in
            guard let setting = settings[spec.key], setting.value != spec.standardValue?.value
            else { return nil }
            let hint =
                switch spec.key {
                case .primaryTls: " (did you mean \(source.name): rediss://...?)"
                case .primaryDatabase where source == .upstream:
                    " (did you mean upstream: redis://host/\(setting.text)?)"
                default: ""
                }
            return problem(
                spec.key, at: setting.position, "is only for a pool with sentinels\(hint)")
        }
    }

    func problem(_ key: Key?, at place: Position, _ message: String) -> Diagnostic {
        Diagnostic(
            line: place.line, column: place.column,
            path: key.map { "\(path).\($0.name)" } ?? path, message: message)
    }
}

extension Resolution {
    /// Who of a pool's servers and Sentinels is spoken to with TLS.
    func securedEnds(of pool: PoolDraft) -> (servers: Bool, sentinels: Bool) {
        if case .upstream(let upstream)? = pool.settings[.upstream]?.value {
            return (upstream.isTLS, false)
        }
        if let seeds = pool.seeds { return (seeds.contains(where: \.isTLS), false) }
        guard pool.settings[.sentinels] != nil else { return (false, false) }
        return (
            pool.settings[.primaryTls]?.value == .boolean(true),
            pool.settings[.sentinelTls]?.value == .boolean(true)
        )
    }

    /// AUTH to the Sentinels needs a password.
    func checkSentinelCredentials(_ pool: PoolDraft) -> [Diagnostic] {
        guard pool.settings[.sentinels] != nil, !text(.sentinelUsername, of: pool).isEmpty,
            case .text("")? = pool.settings[.sentinelPasswordFile]?.value
        else { return [] }
        return [
            diagnostic(
                .sentinelUsername, of: pool,
                message: "a user needs sentinelPasswordFile; AUTH always has a password")
        ]
    }
}

/// Reads an element of the key `sentinels`.
func parseSentinel(_ text: String) throws(ValueProblem) -> UpstreamAddress {
    guard !text.lowercased().hasPrefix("unix:"), !text.hasPrefix("/") else {
        throw ValueProblem("\(shown(text)): a Sentinel has no unix socket; write host:port")
    }
    // Neither a host nor a port has one.
    guard !text.utf8.contains(UInt8(ascii: "/")) else {
        throw ValueProblem(
            "a Sentinel is host:port, without a scheme (see sentinelTls, sentinelUsername)")
    }
    if text.utf8.contains(UInt8(ascii: "@")) {
        throw ValueProblem("a user or password is not part of host:port (see sentinelUsername)")
    }
    let (host, port) = try splitHostPort(text, defaultPort: 26379, example: "10.0.0.1:26379")
    return .tcp(host: try checkHost(host, bracketed: text.hasPrefix("[")), port: port)
}
