// When a client's writes were answered, as far as it matters to where it reads.

package import Pool

/// A client's writes. Their replies are not noted: a time after the last reply is as good as its
/// own, and there is one when the client reads while nothing of it is in flight on a primary.
package struct OwnWrites: Sendable {
    private var hasWritten = false
    private var lastReply = MonotonicTime(nanoseconds: 0)

    /// For a client that has written nothing.
    package init() {}

    /// The client has sent something that may write, to whichever node.
    package mutating func wrote() { hasWritten = true }

    /// When the client's last write was answered, or later. Nil while it may not be answered.
    ///
    /// - Parameter isWaiting: something of the client is in flight, but for reads on replicas.
    package mutating func answeredBy(isWaiting: Bool, now: MonotonicTime) -> MonotonicTime? {
        if hasWritten {
            if isWaiting { return nil }
            lastReply = now
            hasWritten = false
        }
        return lastReply
    }
}
