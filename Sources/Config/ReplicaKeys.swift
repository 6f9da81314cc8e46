// The keys of reads from replicas.

private let second: Int64 = 1_000_000_000

extension Schema {
    /// Only for a pool with Sentinels or in front of a cluster: others know of no replicas.
    static let replicaKeys: [KeySpec] = [
        KeySpec(
            key: .reads, scope: .pool,
            kind: .choice(PoolConfig.Reads.allCases.map(\.rawValue)),
            standard: .text("primary"), reload: .live,
            doc:
                "where reads go, not with upstream; client: to replicas if the client sends READONLY"
        ),
        KeySpec(
            key: .maxReplicaLag, scope: .pool,
            kind: .duration(2 * second...3600 * second, zero: nil),
            standard: .text("10s"), reload: .live,
            doc: "a replica that may be further behind its primary than this is not read from"),
    ]
}

extension SectionReader {
    /// Keys that are for a pool whose replicas others name. The printed configuration has every key
    /// with a default.
    func checkReplicaKeys() -> [Diagnostic] {
        Schema.replicaKeys.compactMap { spec in
            guard let setting = settings[spec.key], setting.value != spec.standardValue?.value
            else { return nil }
            let text =
                spec.key == .reads
                ? "\(setting.text) needs sentinels or cluster"
                : "is only for a pool with sentinels or cluster"
            return problem(spec.key, at: setting.position, text)
        }
    }
}
