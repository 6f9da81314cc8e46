// When the pool may dial: backoff after failures, and the breaker after many.

/// Whether the pool believes in its upstream.
///
/// - `closed`: dials are allowed, after failures with backoff. To `open` by a failure when dials
///   have failed for `breakerTime`.
/// - `open`: one dial per second. To `halfOpen` when that begins; to `closed` if the pool is full,
///   but then one more failure opens it again.
/// - `halfOpen`: that dial is under way. To `closed` by its success, to `open` by its failure.
package enum BreakerState: UInt8, Sendable {
    case closed, open, halfOpen
}

/// Backoff and breaker. Exponential from 50 ms to 1 s with full jitter; the first dial after a
/// success is not delayed.
struct DialGate {
    private(set) var consecutiveFailures = 0
    private(set) var lastFailure: CloseReason?
    private(set) var isOpen = false
    /// Earliest time of the next dial.
    private(set) var nextDialAt = Int64.min
    private var step = 0
    private var failedAt = Int64.min
    /// The first of the failures that have followed each other without a pause.
    private var failingSince = Int64.min
    private var lastFailedAt = Int64.min

    static let firstDelay = Int64.milliseconds(50)
    static let longestDelay = Int64.seconds(1)

    /// Whether the last dial that ended failed.
    var isFailing: Bool { consecutiveFailures > 0 }

    func allows(_ now: Int64) -> Bool { now >= nextDialAt }

    mutating func succeeded() {
        self = DialGate(lastFailure: lastFailure)
    }

    /// Closes the breaker without a success: the next failure opens it again.
    mutating func trust() {
        isOpen = false
    }

    init(lastFailure: CloseReason? = nil) {
        self.lastFailure = lastFailure
    }

    /// - Parameters:
    ///   - dialedAt: when the failed dial began. Dials that were under way together count as one
    ///     step of the backoff, since the later ones tell nothing new.
    ///   - breakerTime: how long dials have failed when the breaker opens.
    mutating func failed(
        _ reason: CloseReason, dialedAt: Int64, now: Int64, breakerTime: Int64,
        random: inout RandomSource
    ) {
        // While nobody dials, nothing is known of the server.
        let isFirst =
            consecutiveFailures == 0 || dialedAt > lastFailedAt + 2 * Self.longestDelay
        if isFirst { failingSince = now }
        lastFailedAt = now
        consecutiveFailures += 1
        lastFailure = reason
        if now - failingSince >= breakerTime { isOpen = true }
        if isOpen {
            nextDialAt = now + Self.longestDelay
        } else if dialedAt > failedAt {
            let ceiling = min(Self.firstDelay << Int64(min(step, 5)), Self.longestDelay)
            step += 1
            failedAt = now
            nextDialAt = now + random.below(ceiling)
        }
    }
}

/// SplitMix64: jitter needs spread, not secrecy, and tests need it to repeat.
struct RandomSource {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// Uniform in 0 ..< `bound`, which is above 0.
    mutating func below(_ bound: Int64) -> Int64 {
        Int64(next() % UInt64(bound))
    }
}
