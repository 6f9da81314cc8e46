// The keys of a pool in front of a Redis or Valkey cluster, and their checks.

private let second: Int64 = 1_000_000_000

extension Schema {
    /// In place of `upstream`.
    static let clusterSourceKeys: [KeySpec] = [
        KeySpec(
            key: .cluster, scope: .poolOnly, kind: .list(of: .seed, empty: nil),
            standard: .depends("in place of upstream"), reload: .structural,
            doc: "nodes of a cluster (docs/cluster.md), one or a list; they name the others")
    ]

    /// What is particular to a pool in front of a cluster.
    static let clusterKeys: [KeySpec] = [
        KeySpec(
            key: .crossSlot, scope: .pool,
            kind: .choice(ClusterSource.CrossSlot.allCases.map(\.rawValue)),
            standard: .text("split"), reload: .live,
            doc:
                "commands with keys in several slots: split MGET and its like, all: MSET too, refuse"
        ),
        KeySpec(
            key: .clusterRefresh, scope: .pool, kind: .duration(second...3600 * second, zero: nil),
            standard: .text("15s"), reload: .live,
            doc: "time between questions for the map of slots, in quiet times"),
        KeySpec(
            key: .maxNodes, scope: .pool, kind: .integer(1...1000), standard: .text("64"),
            reload: .live,
            doc:
                "most nodes of a cluster; each may have maxOpen connections, which need descriptors"
        ),
        KeySpec(
            key: .clusterCommands, scope: .pool, kind: .choice(["emulate", "off"]),
            standard: .text("emulate"), reload: .live,
            doc: "what CLUSTER describes to clients: a cluster of one node, Redpool; or no cluster"),
        KeySpec(
            key: .announce, scope: .pool, kind: .peerOrNone, standard: .text(""), reload: .live,
            doc: "where CLUSTER says that this node is; empty is the address that a client came to"
        ),
    ]
}

extension PoolDraft {
    /// The elements of the key `cluster`; nil if the pool has no valid ones.
    var seeds: [UpstreamSpec]? {
        guard case .list(let elements)? = settings[.cluster]?.value else { return nil }
        return elements.compactMap { element -> UpstreamSpec? in
            if case .seed(let spec) = element { spec } else { nil }
        }
    }

    /// The pool's own key that says where its servers are found; nil if none is valid.
    var sourceKey: Key? { Schema.sources.first { settings[$0] != nil } }

    /// The user in the URL of `upstream`, or in that of a node of `cluster`.
    var userOfURL: String? {
        upstream?.username ?? seeds?.lazy.compactMap(\.username).first
    }
}

extension SectionReader {
    /// What is wrong with the nodes of `cluster` together.
    func checkSeeds() -> [Diagnostic] {
        guard let setting = settings[.cluster], case .list(let elements) = setting.value else {
            return []
        }
        let most = ClusterSource.mostSeeds
        if elements.count > most {
            return [
                problem(
                    .cluster, at: setting.elements[most],
                    "\(elements.count) are too many; name \(most) of them, which know the others")
            ]
        }
        guard case .seed(let first)? = elements.first else { return [] }
        var user = first.username
        for (element, place) in zip(elements, setting.elements) {
            guard case .seed(let spec) = element else { continue }
            guard spec.isTLS == first.isTLS else {
                return [
                    problem(
                        .cluster, at: place,
                        "\(elements[0].text) and \(element.text) are mixed; all have TLS or none")
                ]
            }
            if let mine = user, let its = spec.username, mine != its {
                return [
                    problem(
                        .cluster, at: place,
                        "the users \(shown(mine)) and \(shown(its)) are mixed; a pool has one")
                ]
            }
            user = user ?? spec.username
        }
        return []
    }

    /// Keys that are for a pool in front of a cluster. The printed configuration has every key with
    /// a default.
    func checkClusterKeys() -> [Diagnostic] {
        Schema.clusterKeys.compactMap { spec in
            guard let setting = settings[spec.key], setting.value != spec.standardValue?.value
            else { return nil }
            return problem(spec.key, at: setting.position, "is only for a pool with cluster")
        }
    }
}

/// Reads an element of the key `cluster`.
func parseSeed(_ text: String) throws(ValueProblem) -> UpstreamSpec {
    guard !text.lowercased().hasPrefix("unix:"), !text.hasPrefix("/") else {
        throw ValueProblem(
            "\(shown(text)): a node of a cluster has no unix socket; write host:port")
    }
    let spec = try parseUpstream(text)
    guard spec.database == 0 else {
        throw ValueProblem("\(shown(text)) has a database; a cluster has only 0")
    }
    return spec
}

/// Reads `host:port` of a peer, without a scheme.
func parsePeer(_ text: String) throws(ValueProblem) -> UpstreamAddress {
    guard !text.utf8.contains(where: { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "@") }) else {
        throw ValueProblem("has to be host:port, without a scheme or a user")
    }
    let (host, port) = try splitHostPort(text, defaultPort: nil, example: "redis.example.com:6379")
    return .tcp(host: try checkHost(host, bracketed: text.hasPrefix("[")), port: port)
}

extension UpstreamSpec {
    /// A node in the syntax of the file.
    var seedText: String {
        guard isTLS || username != nil else { return "\(address)" }
        return (isTLS ? "rediss://" : "redis://") + (username.map { "\($0)@" } ?? "") + "\(address)"
    }
}

extension ClusterSource {
    /// The nodes of a pool's file with its other keys.
    init(
        _ seeds: [UpstreamSpec], crossSlot: String, refresh: Int64, maxNodes: Int,
        commands: String, announce: String
    ) {
        var addresses: [UpstreamAddress] = []
        for seed in seeds where !addresses.contains(seed.address) { addresses.append(seed.address) }
        self.init(
            seeds: addresses, crossSlot: CrossSlot(rawValue: crossSlot) ?? .split,
            refresh: refresh, maxNodes: maxNodes, emulates: commands != "off",
            announce: try? parsePeer(announce))
    }
}
