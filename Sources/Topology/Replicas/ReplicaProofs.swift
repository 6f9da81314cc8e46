// Until when a replica has all writes: by offsets, not by clocks of servers. When the primary is
// asked for its offset at a time T, its answer counts every write that was answered before T. A
// replica that is seen at that offset later, in the same history, has all of them.

package import Pool

/// What the answers of a primary and of its replicas prove. Replicas are told apart by numbers of
/// the caller's.
package struct ReplicaProofs: Sendable {
    /// An answer of the primary's.
    private struct Sample {
        let askedAt: MonotonicTime
        let offset: Int64
    }

    /// What is known of a replica that is linked.
    private struct Proof {
        let replica: UInt32
        /// Where it was seen last.
        var offset: Int64
        /// It has all writes that were answered before this time; nil if nothing is proven.
        var until: MonotonicTime?
    }

    private var history: [UInt8] = []
    /// Oldest first. A replica that is behind has been seen at the offsets of old ones only.
    private var samples: [Sample] = []
    private var proofs: [Proof] = []

    private static let mostSamples = 16

    /// Nothing is proven.
    package init() {}

    /// The primary has answered.
    ///
    /// - Parameter askedAt: when the question was sent, or earlier.
    package mutating func primaryAnswered(_ info: ReplicationInfo, askedAt: MonotonicTime) {
        guard info.role == .primary else { return forgetAll() }
        if info.history != history || info.offset < samples.last?.offset ?? 0 { forgetAll() }
        history = info.history
        if let last = samples.last, last.askedAt >= askedAt { return }
        if let last = samples.last, last.offset == info.offset { samples.removeLast() }
        samples.append(Sample(askedAt: askedAt, offset: info.offset))
        guard samples.count > Self.mostSamples else { return }
        // The further behind a replica is, the less it matters when exactly it was where.
        samples = samples.indices.compactMap { $0 % 2 == 0 ? samples[$0] : nil }
    }

    /// A replica has answered. The question was sent to the process that answers now.
    package mutating func replicaAnswered(_ replica: UInt32, _ info: ReplicationInfo) {
        guard info.role == .replica(isLinked: true), info.history == history else {
            return forget(replica)
        }
        let seen = samples.last { $0.offset <= info.offset }?.askedAt
        guard let index = proofs.firstIndex(where: { $0.replica == replica }) else {
            proofs.append(Proof(replica: replica, offset: info.offset, until: seen))
            return
        }
        if info.offset < proofs[index].offset {
            // It has taken over older data.
            proofs[index].until = seen
        } else if let seen {
            proofs[index].until = max(proofs[index].until ?? seen, seen)
        }
        proofs[index].offset = info.offset
    }

    /// Nothing is known of a replica any more: another process answers, it has no link, or it
    /// cannot serve.
    package mutating func forget(_ replica: UInt32) {
        proofs.removeAll { $0.replica == replica }
    }

    /// Nothing is known any more.
    package mutating func forgetAll() { self = ReplicaProofs() }

    /// The latest time before which all writes that were answered are known to be on the replica.
    package func provenUntil(_ replica: UInt32) -> MonotonicTime? {
        for proof in proofs where proof.replica == replica { return proof.until }
        return nil
    }

    /// Whether a client may read from a replica: it has all of the client's writes, and it is less
    /// than `maxLag` nanoseconds behind.
    ///
    /// - Parameter lastWrite: when the last reply to a write of the client had come, or later.
    package func mayRead(
        from replica: UInt32, after lastWrite: MonotonicTime, maxLag: Int64, now: MonotonicTime
    ) -> Bool {
        guard let until = provenUntil(replica) else { return false }
        return until > lastWrite && now - until < maxLag
    }
}
