// Where a pool's servers come from: an address, Sentinels that name the primary, or a cluster.

/// Where a pool's servers come from.
package enum PoolUpstream: Sendable, Equatable {
    /// One server: the key `upstream`.
    case server(UpstreamAddress)
    /// The primary that Sentinels name: the key `sentinels`.
    case sentinels(SentinelSource)
    /// The nodes of a cluster: the key `cluster`.
    case cluster(ClusterSource)

    /// Whether the other one is another server, whatever its addresses are. A pool that asks other
    /// Sentinels for the same name stays where it is until they name another primary. A pool in
    /// front of a cluster stays there if one of the first nodes is still named.
    package func isMove(to new: PoolUpstream) -> Bool {
        switch (self, new) {
        case (.server(let old), .server(let new)): old != new
        case (.sentinels(let old), .sentinels(let new)): old.primaryName != new.primaryName
        case (.cluster(let old), .cluster(let new)): !old.seeds.contains(where: new.seeds.contains)
        default: true
        }
    }
}

extension PoolUpstream: CustomStringConvertible {
    /// For people: the server's address, or the name of the primary.
    package var description: String {
        switch self {
        case .server(let address): address.description
        case .sentinels(let source): "primary \(source.primaryName)"
        case .cluster(let source): "cluster \(source.seeds[0])"
        }
    }
}

/// The Sentinels that name a pool's primary, and how they are asked. No description has the
/// password.
package struct SentinelSource: Sendable, Equatable {
    /// 1 to `SentinelSource.most` TCP addresses, each once. A name stands for all its addresses.
    package let addresses: [UpstreamAddress]
    /// The name under which the Sentinels know the primary; not empty.
    package let primaryName: String
    /// The user that logs in to the Sentinels; empty is the default user.
    package let username: String
    /// The password for the Sentinels; nil: no AUTH.
    package let password: Secret?
    /// TLS to the Sentinels; nil without. An empty `serverName` is the host that is dialled.
    package let tls: UpstreamTLS?

    /// The most Sentinels that a pool asks.
    package static let most = 8

    /// For tests, and for code that has no file.
    package init(
        addresses: [UpstreamAddress], primaryName: String, username: String = "",
        password: Secret? = nil, tls: UpstreamTLS? = nil
    ) {
        self.addresses = addresses
        self.primaryName = primaryName
        self.username = username
        self.password = password
        self.tls = tls
    }
}

extension UpstreamAddress {
    /// The name or numeric address of the host; empty for a unix socket.
    package var host: String {
        if case .tcp(let host, _) = self { host } else { "" }
    }

    /// An address that somebody has named at run time. Nil unless the host is a name or a numeric
    /// address as the configuration would have it: `*`, or a number that the system reads as an
    /// address of another form, is none.
    package init?(host: String, port: UInt16) {
        let isIPv6 = host.utf8.contains(UInt8(ascii: ":"))
        guard port > 0, let name = try? checkHost(host, bracketed: isIPv6) else { return nil }
        self = .tcp(host: name, port: port)
    }
}

extension PoolConfig {
    /// The address of the one server of a pool with `upstream`. Other pools get their servers'
    /// addresses at run time: this one then has port 0, to which nothing can connect.
    package var upstream: UpstreamAddress {
        switch source {
        case .server(let address): address
        case .sentinels(let source): .tcp(host: source.primaryName, port: 0)
        case .cluster(let source): .tcp(host: source.seeds[0].host, port: 0)
        }
    }

    /// The address that the configuration gives; nil for a pool whose servers others name.
    package var givenAddress: UpstreamAddress? {
        if case .server(let address) = source { address } else { nil }
    }

    /// How the Sentinels of the pool are asked; nil for a pool with `upstream`.
    package var sentinels: SentinelSource? {
        if case .sentinels(let source) = source { source } else { nil }
    }
}
