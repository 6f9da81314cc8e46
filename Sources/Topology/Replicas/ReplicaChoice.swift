// Which of several replicas a client reads from.

/// The choice among replicas. A client keeps the one that it has as long as it may read there: on
/// another one its reads could go back in time.
package enum ReplicaChoice {
    /// Of two that the client's id picks, the one with fewer commands in flight; nil if there is
    /// none.
    ///
    /// - Parameters:
    ///   - replicas: those that the client may read from.
    ///   - client: the client's id. Ids follow each other, so they are mixed.
    ///   - load: how many commands are in flight on a replica.
    package static func pick<Replica>(
        of replicas: [Replica], client: UInt64, load: (Replica) -> Int
    ) -> Replica? {
        guard replicas.count > 1 else { return replicas.first }
        var mixed = (client &+ 1) &* 0x9E37_79B9_7F4A_7C15
        mixed = (mixed ^ (mixed >> 32)) &* 0xD6E8_FEB8_6659_FD93
        let count = UInt64(replicas.count)
        let one = (mixed >> 32) % count
        let other = (one + 1 + (mixed & 0xFFFF_FFFF) % (count - 1)) % count
        let first = replicas[Int(one)]
        let second = replicas[Int(other)]
        return load(second) < load(first) ? second : first
    }
}
