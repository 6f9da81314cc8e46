// The numbers a pool works with. The configuration names most of them; the rest are constants
// with a reason.

/// Limits and durations of one pool. Durations are nanoseconds. The initialiser clamps the limits
/// to what is consistent, so that a stored value never contradicts another.
package struct PoolLimits: Equatable, Sendable {
    /// Bounds all connections, dialling and closing ones included. 1 ... 10000.
    package let maxOpen: Int
    /// Bounds pins. 0 ... `maxOpen - 1`: one upstream is left for shared commands.
    package let maxPinned: Int
    /// Bounds idle upstreams. 0 ... `maxOpen`.
    package let maxIdle: Int
    /// Upstreams kept ready (idle or shared). 0 ... `maxIdle`.
    package let minIdle: Int
    /// Commands in flight on a shared upstream above which another one is opened. At least 1.
    package let maxPipeline: Int
    /// The same for the slow lane. At least 1.
    package let slowPipeline: Int
    /// Bounds the wait queue. 0 or more; 0 refuses what cannot be granted at once.
    package let maxWaiters: Int
    /// How long dials must fail for the breaker to open: `poolTimeout` unless given. So no waiter
    /// gets an error if the server is back within that time, however many dials have failed.
    package let breakerTime: Int64
    /// An upstream older than this, +-10 % per connection, is retired when it falls idle. 0 = off.
    package let maxLifetime: Int64
    /// An upstream idle longer than this is closed while more than `minIdle` are ready. 0 = off.
    package let idleTimeout: Int64
    /// An upstream idle for this long, up to 10 % less, is probed. 0 = off.
    package let pingInterval: Int64
    /// Deadline of a probe. At least 1 ms.
    package let pingTimeout: Int64
    /// Deadline of every waiter. At least 1 ms.
    package let poolTimeout: Int64
    /// A shared upstream that owes replies and has sent none for this long is stalled. At least 1.
    package let slowThreshold: Int64
    /// How many workers share the limits; this pool is the part of one of them. At least 1.
    package let workers: Int
    /// The slot of a closing connection is reused after this time, even if the server has not
    /// closed its side.
    package let closeTimeout: Int64

    /// The default of `maxPinned`: `maxOpen` minus the greater of 2 and an eighth of it, so that
    /// one upstream is left for shared commands and one for control commands. It is 1 for a
    /// `maxOpen` of 2, and 0 for 1.
    package static func standardPins(of maxOpen: Int) -> Int {
        maxOpen - (maxOpen >= 3 ? max(2, maxOpen / 8) : 1)
    }

    /// The most workers that a pool is spread over: as many as can have two upstreams each and keep
    /// one idle, but at least one. With more, they would take connections from each other. The
    /// `PermitBook` has room for 63.
    package static func mostWorkers(maxOpen: Int, maxIdle: Int) -> Int {
        max(1, min(maxOpen / 2, maxIdle, 63))
    }

    /// - Parameters: see the properties; out of range values are clamped. `maxPinned` defaults
    ///   to `standardPins`, `maxIdle` to `maxOpen`, `breakerTime` to `poolTimeout`.
    package init(
        maxOpen: Int, maxPinned: Int? = nil, maxIdle: Int? = nil, minIdle: Int = 0,
        maxPipeline: Int = 1024, slowPipeline: Int = 4, maxWaiters: Int = 100_000,
        breakerTime: Int64? = nil, maxLifetime: Int64 = 0, idleTimeout: Int64 = 0,
        pingInterval: Int64 = 0, pingTimeout: Int64 = .seconds(1),
        poolTimeout: Int64 = .milliseconds(800), slowThreshold: Int64 = .milliseconds(10),
        closeTimeout: Int64 = .seconds(1), workers: Int = 1
    ) {
        let maxOpen = min(max(maxOpen, 1), 10_000)
        let maxIdle = min(max(maxIdle ?? maxOpen, 0), maxOpen)
        self.maxOpen = maxOpen
        self.maxPinned = min(max(maxPinned ?? Self.standardPins(of: maxOpen), 0), maxOpen - 1)
        self.maxIdle = maxIdle
        self.minIdle = min(max(minIdle, 0), maxIdle)
        self.maxPipeline = min(max(maxPipeline, 1), 1_000_000)
        self.slowPipeline = min(max(slowPipeline, 1), 1_000_000)
        self.maxWaiters = min(max(maxWaiters, 0), 10_000_000)
        self.maxLifetime = max(maxLifetime, 0)
        self.idleTimeout = max(idleTimeout, 0)
        self.pingInterval = max(pingInterval, 0)
        self.pingTimeout = max(pingTimeout, .milliseconds(1))
        self.poolTimeout = max(poolTimeout, .milliseconds(1))
        self.breakerTime = max(breakerTime ?? self.poolTimeout, 0)
        self.slowThreshold = max(slowThreshold, 1)
        self.closeTimeout = max(closeTimeout, 0)
        self.workers = max(workers, 1)
    }

    /// Pins and shared commands leave this many upstreams free, so that a control command always
    /// gets one. It is 0 with fewer than three, and if `maxPinned` leaves only one, which shared
    /// commands need.
    var controlReserve: Int { maxOpen >= 3 && maxPinned <= maxOpen - 2 ? 1 : 0 }

    /// The most dials at the same time: a restarted server must not get all handshakes at once.
    var maxDials: Int { max(1, maxOpen / (4 * workers)) }

    /// How long a waiter stands back for younger waiters of another key when an upstream of that
    /// key falls free. To use the upstream as it is saves a round trip; after this time it is
    /// converted.
    var patience: Int64 { min(poolTimeout / 4, .milliseconds(100)) }

    /// The commands in flight from which a shared upstream is busy.
    func pipelineLimit(_ lane: Lane) -> Int32 {
        Int32(truncatingIfNeeded: lane == .fast ? maxPipeline : slowPipeline)
    }

    /// The commands in flight from which a shared upstream takes no more in any case. If no other
    /// can be had, slow commands may be as many as fast ones usually are: on an upstream they are
    /// served in the end, as on a connection of their own; in the queue they would fail at the
    /// deadline.
    func hardLimit(_ lane: Lane) -> Int32 {
        lane == .fast
            ? pipelineLimit(.fast) * 16 : max(pipelineLimit(.slow) * 16, pipelineLimit(.fast))
    }
}
