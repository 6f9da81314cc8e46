// When the pool may dial: backoff after failures, and the breaker after many.

/// Whether the pool dials its upstream as usual.
///
/// - `closed`: it does, with backoff after failures. Becomes `open` by a failure when dials have
///   failed for `breakerTime`.
/// - `open`: it dials once per second. Becomes `halfOpen` when such a dial begins, or `closed` if
///   the pool is full; in the latter case one more failure opens it again.
/// - `halfOpen`: such a dial is under way. Becomes `closed` if it succeeds, `open` if it fails.
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
    /// How often the delay has been doubled.
    private var step = 0
    /// The failure that has begun the present delay.
    private var failedAt = Int64.min
    /// The first failure of a series without a pause.
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
    ///   - dialedAt: when the failed dial began. Dials that were under way at the same time count
    ///     as one step of the backoff.
    ///   - breakerTime: how long dials must have failed for the breaker to open.
    mutating func failed(
        _ reason: CloseReason, dialedAt: Int64, now: Int64, breakerTime: Int64,
        random: inout RandomSource
    ) {
        // A dial long after the last failure begins a new series: meanwhile the server may have
        // been up.
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

/// SplitMix64: jitter need not be secret, and tests need the same numbers again.
package struct RandomSource {
    private var state: UInt64

    package init(seed: UInt64) {
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
    package mutating func below(_ bound: Int64) -> Int64 {
        Int64(next() % UInt64(bound))
    }
}
