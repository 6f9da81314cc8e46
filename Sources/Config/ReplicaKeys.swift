// The keys of reads from replicas.

private let second: Int64 = 1_000_000_000

extension Schema {
    /// Only for a pool in front of a cluster.
    static let replicaKeys: [KeySpec] = [
        KeySpec(
            key: .reads, scope: .pool,
            kind: .choice(ClusterSource.Reads.allCases.map(\.rawValue)),
            standard: .text("primary"), reload: .live,
            doc: "with cluster: where reads go; client: to replicas if the client sends READONLY"),
        KeySpec(
            key: .maxReplicaLag, scope: .pool,
            kind: .duration(2 * second...3600 * second, zero: nil),
            standard: .text("10s"), reload: .live,
            doc: "a replica that may be further behind its primary than this is not read from"),
    ]
}
