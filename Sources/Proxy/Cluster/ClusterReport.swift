// What is known of the cluster that a pool is in front of, as values.

/// One node of a cluster.
package struct ClusterRow: Equatable, Sendable {
    /// Whether the node answers CLUSTER NODES.
    package enum State: String, CaseIterable, Sendable {
        /// It has not been asked.
        case unasked
        case up, down
    }

    package let address: String
    /// Empty for a node of which only the address is known, from MOVED.
    package let id: String
    package let isPrimary: Bool
    /// The address of a replica's primary; nil for a primary, and if it is not known.
    package let primary: String?
    /// How many slots it serves.
    package let slots: Int
    /// The slots in ranges, in order, the first ones: `0-5460,5462`.
    package let ranges: String
    package let state: State
    /// Why it is down, or what it says in place of an answer; empty if all is well.
    package let error: String
    /// When it has answered last, in nanoseconds since 1970; 0 for never.
    package let heardAt: Int64
}

/// What the nodes have refused, and what was sent in parts, since the start.
package struct ClusterCounts: Equatable, Sendable {
    package var moved: UInt64 = 0
    package var asked: UInt64 = 0
    /// TRYAGAIN and CLUSTERDOWN.
    package var triedAgain: UInt64 = 0
    /// Commands that were sent in parts.
    package var split: UInt64 = 0
    /// Commands, and parts, that were sent to replicas; also of a pool with Sentinels.
    package var replicaReads: UInt64 = 0

    /// Adds those of another worker.
    mutating func add(_ other: ClusterCounts) {
        moved += other.moved
        asked += other.asked
        triedAgain += other.triedAgain
        split += other.split
        replicaReads += other.replicaReads
    }
}

extension ClientTraffic {
    /// Its part that is about a cluster.
    var cluster: ClusterCounts {
        ClusterCounts(
            moved: moved, asked: asked, triedAgain: triedAgain, split: split,
            replicaReads: replicaReads)
    }
}

/// What a `ClusterWatch` knows.
package struct ClusterReport: Equatable, Sendable {
    /// 0 before the first map.
    package let version: UInt64
    /// How many slots have an owner.
    package let served: Int
    /// When the map has changed last, in nanoseconds since 1970; 0 before the first map.
    package let changedAt: Int64
    /// Maps in which a slot had another owner than before.
    package let changes: UInt64
    /// Replicas that have taken over the slots of their primary.
    package let failovers: UInt64
    /// Those of the map; before the first one those of the configuration.
    package let nodes: [ClusterRow]
    /// Names of the configuration that stand for nothing, with the reason.
    package let unknownNames: [String]
    /// What went wrong last when a node was asked; empty if nothing has.
    package let lastError: String

    /// A map is known.
    package var isKnown: Bool { version > 0 }

    /// In one word: `whole`, `partial` while slots have no owner, `unknown` before the first map.
    package var state: String { !isKnown ? "unknown" : isWhole ? "whole" : "partial" }

    /// All slots have an owner.
    package var isWhole: Bool { served == ClusterReport.slots }

    /// How many slots there are.
    package static let slots = 16384

    /// For people: how many slots nobody serves.
    package var missing: String {
        let count = ClusterReport.slots - served
        return count == 1 ? "1 slot has no owner" : "\(count) slots have no owner"
    }

    /// For clients' errors: why no map is known.
    package var problem: String {
        "the cluster's map is not known" + (lastError.isEmpty ? "" : ", last error: \(lastError)")
    }
}
