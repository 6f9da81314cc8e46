// What a worker keeps, in parts: its options, its clock, and its lists of what is to be done.

import Config
import Pool
import RESP

/// What the configuration says to a worker, but for its pools.
struct WorkerOptions {
    /// In nanoseconds.
    let drainTimeout: Int64
    /// Bytes that may wait for all clients of this worker together.
    let totalOutputLimit: Int
    /// Each connect and disconnect of a client is logged.
    private(set) var logsClients: Bool
    /// `level: debug`: decisions about connections are logged.
    private(set) var traces: Bool
    /// Time between summary lines in nanoseconds; 0 = none.
    let statisticsInterval: Int64
    /// How many lines the log has lost since the start.
    let lostLines: @Sendable () -> UInt64

    init(_ settings: WorkerSettings, workers: Int) {
        let config = settings.config
        lostLines = settings.lostLines
        drainTimeout = config.drainTimeout
        // Each worker sees only what waits for its own clients.
        totalOutputLimit = config.totalOutputLimit / workers
        logsClients = config.log.clients
        traces = config.log.level == .debug
        statisticsInterval = config.log.stats
    }

    /// Changes what of single connections is logged.
    mutating func log(clients: Bool, traces: Bool) {
        logsClients = clients
        self.traces = traces
    }
}

/// When the worker last wrote its regular lines.
struct LoggedTimes {
    var statistics: MonotonicTime
    var summaries: MonotonicTime
}

/// The time, read once in a turn of the loop.
struct TurnClock {
    /// When this turn began; in the epilogue, when it began to write.
    var now: MonotonicTime
    var turnBegan: MonotonicTime
    /// `turnBegan` in microseconds; it wraps around after 71 minutes.
    private(set) var stamp: UInt32
    /// `now` is that of this turn.
    var isRead = false
    private var lengths = TurnLengths()

    /// A turn that begins at `now`.
    init(now: MonotonicTime) {
        self.now = now
        turnBegan = now
        stamp = TurnClock.stamp(of: now)
    }

    /// A new turn begins.
    mutating func begin(_ now: MonotonicTime) {
        self.now = now
        turnBegan = now
        stamp = TurnClock.stamp(of: now)
    }

    /// This turn has begun to write.
    mutating func beginWriting(_ now: MonotonicTime) {
        self.now = now
        lengths.note(now.nanoseconds &- turnBegan.nanoseconds)
    }

    /// The tick has come in this turn.
    mutating func noteTick() { lengths.noteTick(turnBegan, interval: Worker.tickInterval) }

    /// The longest turn of the last one to two minutes, in nanoseconds.
    var longestTurn: Int64 { lengths.longest }

    static func stamp(of time: MonotonicTime) -> UInt32 {
        UInt32(truncatingIfNeeded: UInt64(bitPattern: time.nanoseconds) / 1000)
    }

    /// The time in nanoseconds since something with this stamp; less by a multiple of 71 minutes if
    /// that is longer.
    func age(of stamp: UInt32) -> Int64 {
        // In the epilogue, `now` can be of a later moment than the turn.
        Int64(TurnClock.stamp(of: now) &- stamp) * 1000
    }
}

/// How long turns last: until the worker begins to write to servers, or, where that is more, as
/// long as they hold up the tick.
private struct TurnLengths {
    /// The longest turn since `since`, and of the span before.
    private var recent: Int64 = 0
    private var former: Int64 = 0
    private var since = MonotonicTime(nanoseconds: 0)
    private var tickDue = Int64.max

    private static let span: Int64 = 60_000_000_000

    @inline(__always)
    mutating func note(_ length: Int64) {
        if length > recent { recent = length }
    }

    mutating func noteTick(_ now: MonotonicTime, interval: Int64) {
        if tickDue != .max { note(now.nanoseconds - tickDue) }
        tickDue = now.nanoseconds + interval
        guard now - since >= TurnLengths.span else { return }
        since = now
        former = recent
        recent = 0
    }

    var longest: Int64 { max(recent, former) }
}

/// What is to be done before the present iteration of the loop ends, or in the next one.
struct WorkerWork: ~Copyable {
    /// Connections with bytes to write, each at most once.
    var dirtyClients = WorkList<ClientConnection>()
    var dirtyUpstreams = WorkList<UpstreamConnection>()
    /// Clients that wait for one more look at what has come, see `expectMore`. They count as dirty.
    var expecting = WorkList<ClientConnection>()
    /// A client has had strands: else no client need be asked for them.
    var hasSeenStrands = false
    /// What is to go to servers waits for one more look at what has come, see `flushAll`.
    var isDelayed = false
    /// Servers whose state machine has decided something, or that have connections to settle.
    var servers = WorkList<Server>()
    /// Clients whose wait is over: their input is looked at again before this iteration ends.
    var readyClients = WorkList<ClientConnection>()
    /// Clients that go on in the next iteration.
    var carriedOver: ContiguousArray<SlotID> = []
    /// Clients whose handshakes of TLS are to go on, the first to come first.
    var shaking: ContiguousArray<SlotID> = []
    /// See `takeStrands`.
    var spareStrands: [ClientStrands] = []
    /// Memory for parked replies that go out. Empty at all other times.
    var drained: [UInt8] = []
    /// The same for short ones: what one run of replies lets its client have.
    let passing = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)
    /// What the lists above may still refer to.
    var departed = Departed()

    deinit {
        passing.deallocate()
    }

    /// Nothing in these lists is left to do. A server on no list has no connections to settle.
    var isDone: Bool {
        dirtyClients.isEmpty && dirtyUpstreams.isEmpty && expecting.isEmpty
            && readyClients.isEmpty && servers.isEmpty
    }
}

/// What a server accepts from a client.
struct WireLimits {
    let loggedIn = CommandLimits()
    let beforeLogin = CommandLimits.beforeAuthentication
}

/// Clients that are looked at with every tick.
struct WatchedClients {
    /// Those at their output limit while others wait behind them.
    var atLimit: ContiguousArray<SlotID> = []
    /// Those that are only waiting for their last bytes to be read, oldest first.
    var lingering: ContiguousArray<(SlotID, since: MonotonicTime)> = []
    /// Those whose handshake of TLS was not done at the last tick, oldest first.
    var shaking: ContiguousArray<(SlotID, since: MonotonicTime)> = []
    /// Those whose listener a reload has removed.
    var leaving: ContiguousArray<(SlotID, until: MonotonicTime)> = []
}

/// What clients want of other clients.
struct WorkerOrders {
    /// Clients whose CLIENT LIST or CLIENT KILL the server has accepted.
    var accepted: ContiguousArray<SlotID> = []
    /// How many such orders the other workers have before them.
    var out = 0
    /// Clients that are to have an upstream of their own, see Worker+Targets.
    var targets: [TargetOrder] = []
    /// The worker is about to stand still for an upgrade.
    var freezing: Freezing?
    var freezeTimers: [FreezeTimer] = []
}

/// What other workers are being asked, and what the main thread asks.
struct WorkerQuestions {
    /// By token.
    var open: [UInt64: Gathering] = [:]
    /// For which client.
    var tokens: [UInt64: UInt64] = [:]
    var lastToken: UInt64 = 0
    /// What they have answered to a client's command, which is about to be looked at again.
    var answers: [UInt64: [WorkerAnswer]] = [:]
    /// Made for the first report that takes its time.
    var reporting: Reporting?
}
