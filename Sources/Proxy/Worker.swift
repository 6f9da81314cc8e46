// A worker: one thread, one event base, and everything that lives on it. Nothing here is shared
// with another thread except the mailbox. One iteration of the loop collects what is ready, feeds
// the cores and queues output; the epilogue then writes every connection once.

import Config
package import EventLoop
package import Logging
import Pool
import Session
import Telemetry

/// What other threads ask of a worker.
package enum WorkerMessage: Sendable {
    /// Stop accepting, finish what is in flight, then end.
    case drain
    /// End now.
    case stop
    /// An upstream's name has been resolved; empty when it could not be.
    case resolved(pool: Int, [SocketAddress])
}

/// One event loop with its clients and pools. Not Sendable: created and used on its own thread.
package final class Worker {
    /// The largest read from a socket, and the size of the one buffer that all reads share.
    static let readSize = 256 * 1024
    /// Janitor work is done this often; finer deadlines have the deadline timer.
    static let tickInterval: Int64 = 100_000_000
    /// After a turn or a sleep of this length an upstream may seem slow that has long answered.
    private static let longTurn: Int64 = 3_000_000

    let loop: EventLoop
    let table: CommandTable
    let maxClients: Int
    let drainTimeout: Int64
    /// Bytes that may wait for all clients together.
    let totalOutputLimit: Int
    let logClients: Bool
    /// Time between summary lines in nanoseconds; 0 = none.
    let statisticsInterval: Int64
    var lastStatistics: MonotonicTime
    var lastSummaries: MonotonicTime
    let log: Logger
    let mailbox: Mailbox<WorkerMessage>
    let chunks = ChunkPool()
    let readBuffer: UnsafeMutableRawPointer
    /// When this turn of the loop began; in the epilogue, when it began to write.
    var now: MonotonicTime
    var turnBegan: MonotonicTime
    /// `now` is that of this turn.
    var isClockRead = false
    var clients = SlotTable<ClientConnection>()
    var pools: ContiguousArray<UpstreamPool> = []
    var listeners: ContiguousArray<Listener> = []
    var statistics = WorkerStatistics()
    var lifecycle = Lifecycle.running

    /// Connections with bytes to write, each at most once.
    var dirtyClients: ContiguousArray<ClientConnection> = []
    var dirtyUpstreams: ContiguousArray<UpstreamConnection> = []
    /// Clients whose wait is over: their input is looked at again before this iteration ends.
    var readyClients: ContiguousArray<ClientConnection> = []

    /// Clients that are at their output limit while others wait behind them.
    var clientsAtLimit: ContiguousArray<SlotID> = []
    /// Clients that are only waiting for their last bytes to be read, oldest first.
    var lingering: ContiguousArray<(SlotID, since: MonotonicTime)> = []

    private var nextSerial: UInt64 = 0
    private var tickTimer: [TimerBox] = []
    private var mailWatch: [WatchBox] = []

    /// Where a worker stands. `running` -> `draining` -> `stopped`, or straight to `stopped`.
    enum Lifecycle: Equatable {
        case running
        case draining(deadline: MonotonicTime)
        case stopped
    }

    /// Nil when the system is out of descriptors.
    package init?(settings: WorkerSettings, mailbox: Mailbox<WorkerMessage>, log: Logger) {
        guard let loop = EventLoop() else { return nil }
        self.loop = loop
        self.mailbox = mailbox
        self.log = log
        table = settings.table
        maxClients = settings.maxClients
        drainTimeout = settings.config.drainTimeout
        totalOutputLimit = settings.config.totalOutputLimit
        logClients = settings.config.log.clients
        statisticsInterval = settings.config.log.stats
        now = MonotonicTime(nanoseconds: EventLoop.now())
        turnBegan = now
        lastStatistics = now
        lastSummaries = now
        readBuffer = .allocate(byteCount: Worker.readSize, alignment: 64)
        for (index, pool) in settings.config.pools.enumerated() {
            pools.append(UpstreamPool(worker: self, index: index, config: pool))
        }
        for listening in settings.listeners {
            listeners.append(Listener(listening, worker: self, pool: pools[listening.pool]))
        }
        let me = Unmanaged.passUnretained(self).toOpaque()
        tickTimer = [TimerBox(loop: loop, owner: me, callback: workerTick)]
        mailWatch = [
            WatchBox(
                descriptor: mailbox.wakeup.descriptor, loop: loop, owner: me,
                callback: workerMail)
        ]
    }

    deinit {
        readBuffer.deallocate()
    }

    /// Runs until stopped. `started` is called once, before the first wait. False when the event
    /// loop itself has failed.
    package func run(started: () -> Void) -> Bool {
        tick()
        epilogue()
        started()
        while lifecycle != .stopped {
            if !loop.runOnce() {
                log.critical("the event loop failed", metadata: ["event": "loop.failed"])
                return false
            }
            epilogue()
        }
        closeEverything()
        // They refer to this worker.
        listeners.removeAll()
        pools.removeAll()
        return true
    }

    /// An id for a new client, as CLIENT ID shows it.
    func takeSerial() -> UInt64 {
        nextSerial += 1
        return nextSerial
    }

    /// Reads the clock: once in a turn of the loop, by whichever event comes first. Everything that
    /// happens in a turn happens at the same time, however long it takes.
    func updateNow() {
        if isClockRead { return }
        isClockRead = true
        let last = now
        now = MonotonicTime(nanoseconds: EventLoop.now())
        turnBegan = now
        if now - last > Worker.longTurn {
            for pool in pools { pool.lookAtStalled() }
        }
    }

    fileprivate func tick() {
        updateNow()
        for pool in pools { pool.tick() }
        for listener in listeners { listener.tick() }
        closeIdleClients()
        closeLingering()
        logWhatIsDue()
        chunks.trimAfterBurst()
        clientsAtLimit.removeAll { clients[$0]?.checkLimit() != true }
        if case .draining(let deadline) = lifecycle { continueDrain(deadline) }
        if lifecycle != .stopped { tickTimer[0].timer.start(after: Worker.tickInterval) }
    }

    fileprivate func readMail() {
        updateNow()
        for message in mailbox.takeAll() {
            switch message {
            case .drain: beginDrain()
            case .stop: lifecycle = .stopped
            case .resolved(let pool, let addresses):
                pools[pool].resolved(addresses)
            }
        }
    }
}

/// A non-copyable timer cannot stand in an array; a box can.
private final class TimerBox {
    let timer: Timer
    init(loop: EventLoop, owner: UnsafeMutableRawPointer, callback: @escaping EventCallback) {
        timer = Timer(loop: loop, owner: owner, callback: callback)
    }
}

private final class WatchBox {
    let watch: DescriptorWatch
    init(
        descriptor: Int32, loop: EventLoop, owner: UnsafeMutableRawPointer,
        callback: @escaping EventCallback
    ) {
        watch = DescriptorWatch(
            descriptor: descriptor, loop: loop, owner: owner, callback: callback)
    }
}

private func workerTick(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<Worker>.fromOpaque(owner).takeUnretainedValue().tick()
}

private func workerMail(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<Worker>.fromOpaque(owner).takeUnretainedValue().readMail()
}
