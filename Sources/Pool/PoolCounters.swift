// What the pool counts, in the terms of database/sql and go-redis.

/// Counters since the pool was created. They only grow.
package struct PoolCounters: Equatable, Sendable {
    /// Leases granted at once.
    package var hits: UInt64 = 0
    /// Leases not granted at once: queued or refused.
    package var misses: UInt64 = 0
    /// Leases queued. `waits == handOvers + cancels + refused waiters + waiting`.
    package var waits: UInt64 = 0
    /// Waiters that were granted an upstream.
    package var handOvers: UInt64 = 0
    /// Nanoseconds waited, summed over all waits that ended; without the time of halts.
    package var waitNanoseconds: UInt64 = 0
    /// Waiters refused because `poolTimeout` passed.
    package var waitTimeouts: UInt64 = 0
    /// Waiters that left.
    package var cancels: UInt64 = 0
    /// Waiters refused, at their deadline or before.
    package var refusedWaiters: UInt64 = 0
    /// Dials begun; each takes a slot.
    package var dials: UInt64 = 0
    /// Dials that succeeded, the handshake included.
    package var connects: UInt64 = 0
    /// Dials that failed.
    package var dialFailures: UInt64 = 0
    /// Upstreams of another process that were taken over. That process has counted them as open.
    package var adoptions: UInt64 = 0
    /// Probes sent.
    package var probes: UInt64 = 0
    /// Probes answered.
    package var probeAnswers: UInt64 = 0
    /// Probes unanswered in time, or whose connection was lost.
    package var probeFailures: UInt64 = 0
    /// Conversions begun.
    package var conversions: UInt64 = 0
    /// One for each `Refusal`.
    private var refusalsByKind = InlineArray<5, UInt64>(repeating: 0)
    /// One for each `CloseReason`.
    private var closesByReason = InlineArray<30, UInt64>(repeating: 0)

    package init() {}

    /// Slots taken, one per dial: `opens` plus `adoptions` minus the sum of all `closes` is what is
    /// open, always.
    package var opens: UInt64 { dials }

    /// Leases refused for this reason, at once or after waiting.
    package func refusals(_ refusal: Refusal) -> UInt64 { refusalsByKind[Int(refusal.rawValue)] }

    /// Connections ended for this reason, counted when the slot is free again.
    package func closes(_ reason: CloseReason) -> UInt64 { closesByReason[Int(reason.rawValue)] }

    /// The sum of `closes` over all reasons.
    package var allCloses: UInt64 {
        var sum: UInt64 = 0
        for index in closesByReason.indices { sum += closesByReason[index] }
        return sum
    }

    /// Adds other counters, for example those of a server that the pool had before.
    package mutating func add(_ other: PoolCounters) {
        hits += other.hits
        misses += other.misses
        waits += other.waits
        handOvers += other.handOvers
        waitNanoseconds += other.waitNanoseconds
        waitTimeouts += other.waitTimeouts
        cancels += other.cancels
        refusedWaiters += other.refusedWaiters
        dials += other.dials
        connects += other.connects
        dialFailures += other.dialFailures
        adoptions += other.adoptions
        probes += other.probes
        probeAnswers += other.probeAnswers
        probeFailures += other.probeFailures
        conversions += other.conversions
        for index in refusalsByKind.indices { refusalsByKind[index] += other.refusalsByKind[index] }
        for index in closesByReason.indices { closesByReason[index] += other.closesByReason[index] }
    }

    mutating func countRefusal(_ refusal: Refusal) { refusalsByKind[Int(refusal.rawValue)] += 1 }

    mutating func countClose(_ reason: CloseReason) { closesByReason[Int(reason.rawValue)] += 1 }

    package static func == (left: PoolCounters, right: PoolCounters) -> Bool {
        left.scalars == right.scalars
            && Refusal.allCases.allSatisfy { left.refusals($0) == right.refusals($0) }
            && CloseReason.allCases.allSatisfy { left.closes($0) == right.closes($0) }
    }

    private var scalars: [UInt64] {
        [
            hits, misses, waits, handOvers, waitNanoseconds, waitTimeouts, cancels, refusedWaiters,
            dials, connects, dialFailures, adoptions, probes, probeAnswers, probeFailures,
            conversions,
        ]
    }
}

/// How many upstreams are in which state now.
package struct PoolCensus: Equatable, Sendable {
    package var connecting = 0
    package var converting = 0
    package var idle = 0
    package var probing = 0
    package var shared = 0
    package var pinned = 0
    package var control = 0
    package var closing = 0
    /// Leases in the wait queue.
    package var waiting = 0

    package init() {}

    /// All that count towards `maxOpen`.
    package var open: Int {
        connecting + converting + idle + probing + shared + pinned + control + closing
    }

    /// Those with a connection that works as far as is known.
    package var connected: Int { converting + idle + probing + shared + pinned + control }
}
