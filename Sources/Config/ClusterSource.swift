// A Redis or Valkey cluster as the source of a pool's servers.

/// The cluster that a pool is in front of, and how its clients see it.
package struct ClusterSource: Sendable, Equatable {
    /// 1 to `ClusterSource.mostSeeds` TCP addresses, each once: they are asked for the map until a
    /// node has answered. A name stands for all its addresses.
    package let seeds: [UpstreamAddress]
    /// What becomes of a command whose keys are in several slots.
    package let crossSlot: CrossSlot
    /// How often a node is asked for the map, in nanoseconds, 10 % more or less.
    package let refresh: Int64
    /// The most nodes that are known, 1 to 1000.
    package let maxNodes: Int
    /// Whether CLUSTER describes a cluster of one node, Redpool.
    package let emulates: Bool
    /// Where a cluster-aware client finds Redpool; nil for the address that it came to.
    package let announce: UpstreamAddress?

    /// The most addresses that a pool begins with.
    package static let mostSeeds = 64

    /// What becomes of a command whose keys are in several slots.
    package enum CrossSlot: String, Sendable, CaseIterable {
        /// MGET, EXISTS, TOUCH, DEL and UNLINK are split by slot; the server refuses others.
        case split
        /// MSET is split as well, and then is not atomic.
        case all
        /// The server refuses all.
        case refuse
    }

    /// For tests, and for code that has no file.
    package init(
        seeds: [UpstreamAddress], crossSlot: CrossSlot = .split, refresh: Int64 = 15_000_000_000,
        maxNodes: Int = 64, emulates: Bool = true, announce: UpstreamAddress? = nil
    ) {
        self.seeds = seeds
        self.crossSlot = crossSlot
        self.refresh = refresh
        self.maxNodes = maxNodes
        self.emulates = emulates
        self.announce = announce
    }
}

extension PoolConfig {
    /// The cluster that the pool is in front of; nil for a pool with one server at a time.
    package var cluster: ClusterSource? {
        if case .cluster(let source) = source { source } else { nil }
    }
}
