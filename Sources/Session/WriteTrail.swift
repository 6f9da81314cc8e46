// Where a client's writes went. WAIT and WAITAOF ask about the last write of one connection, so
// they have to follow it.

package import Pool

/// Which upstreams carried a client's writes.
package struct WriteTrail: Equatable, Sendable {
    /// The upstream of the last write; nil before the first.
    package private(set) var upstream: UpstreamID?
    /// Writes went to more than one upstream.
    package private(set) var isSpread = false

    package init() {}

    /// A trail of another process. Without an upstream nothing is spread.
    package init(upstream: UpstreamID?, isSpread: Bool) {
        self.upstream = upstream
        self.isSpread = isSpread && upstream != nil
    }

    /// A command that may write goes to this upstream.
    package mutating func add(_ id: UpstreamID) {
        if upstream == id { return }
        isSpread = upstream != nil
        upstream = id
    }

    /// The writes went to another server than the next one: an id of its upstreams says nothing.
    package mutating func isElsewhere() { if upstream != nil { isSpread = true } }

    /// A write on this upstream would not spread the trail.
    package func stays(on id: UpstreamID) -> Bool {
        !isSpread && (upstream == nil || upstream == id)
    }

    /// A write on this upstream is known to have changed data. The offset that the server keeps for
    /// it is then behind all earlier writes, because a client has commands in flight on one
    /// upstream only.
    package mutating func collapse(to id: UpstreamID) {
        upstream = id
        isSpread = false
    }
}
