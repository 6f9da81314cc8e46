// A worker: one thread, one event base, and everything that lives on it. Workers share only
// mailboxes and atomics (`WorkerGroup`). One iteration of the loop collects what is ready, feeds
// the cores and queues output. The epilogue then writes every connection once.

package import Config
package import EventLoop
package import Logging
package import Pool
import RESP
import Session
import Telemetry
package import Topology

/// A message from another thread to a worker.
package enum WorkerMessage: Sendable {
    /// A client has been accepted for this worker.
    case accepted(AcceptedClient)
    /// The acceptor has a warning for the log.
    case warning(AcceptWarning)
    /// Stop accepting, finish what is in flight, then report it.
    case drain
    /// Stop now.
    case stop
    /// Other workers need permits of a node of a pool, or have handed some over.
    case permits(pool: String, node: NodeID)
    /// Another worker asks a question.
    case question(WorkerQuestion, token: UInt64, from: Int)
    /// The answer to a question of this worker.
    case answer(WorkerAnswer, token: UInt64, from: Int)
    /// The messages of a tracking client no longer go to this client.
    case release(pool: String, target: UInt64, tracker: UInt64)
    /// The server has refused a login of a user who may have clients here.
    case userRefused(pool: String, [UInt8])
    /// A client of another worker has given the default user a password. No login was needed at
    /// `openSince`.
    case passwordSet(pool: String, Secret, user: [UInt8], openSince: MonotonicTime)
    /// The server has accepted a CLIENT PAUSE of another worker's client; nil for CLIENT UNPAUSE.
    case pause(pool: String, milliseconds: UInt32?, runID: [UInt8]?)
    /// The resolver has answered for an upstream's name.
    case resolved(pool: String, name: String, NameAnswer)
    /// The main thread wants a report; it goes to this mailbox.
    case report(ReportKind, token: UInt64, to: Mailbox<ReportPart>)
    /// What of single connections is logged from now on.
    case logging(clients: Bool, traces: Bool)
    /// Another server is the primary of a pool.
    case succeed(pool: String, Succession)
    /// Nobody can say which server the primary of a pool is.
    case primaryUnknown(pool: String, String)
    /// The map of a pool's cluster.
    case cluster(pool: String, SlotMap)
    /// The replicas that Sentinels name.
    case replicas(pool: String, [NodeAddress])
    /// A command of an operator; the answer goes to this mailbox.
    case operate(OperatorCommand, token: UInt64, to: Mailbox<OperatorMail>)
    /// Another configuration takes the place of the present one.
    case reload(Replacement)
    /// Stand still for an upgrade, or say what would be handed over.
    case freeze(FreezeOrder)
    /// The worker that stands still, or is about to, goes on.
    case thaw
    /// All workers stand still: write down what is handed over, and close the clients that cannot
    /// be.
    case writeDown(@Sendable (Int, FrozenCell) -> Void)
}

/// One event loop with its clients and pools. Not Sendable: created and used on its own thread.
package final class Worker {
    /// The largest read from a socket, and the size of the one buffer that all reads share.
    static let readSize = 256 * 1024
    /// Janitor work is done this often; finer deadlines have the deadline timer.
    static let tickInterval: Int64 = 100_000_000
    /// After a turn or a sleep of this length an upstream may seem slow that has long answered.
    private static let longTurn: Int64 = 3_000_000
    /// If a turn has answered this many clients, the worker looks for new commands once more before
    /// it writes to servers.
    static let gatheringFrom = 4

    /// This worker's number, from 0.
    let index: Int
    let group: WorkerGroup
    let loop: EventLoop
    let table: CommandTable
    var options: WorkerOptions
    let log: Logger
    var logged: LoggedTimes
    let mailbox: Mailbox<WorkerMessage>
    let chunks = ChunkPool()
    let readBuffer: UnsafeMutableRawPointer
    var clock: TurnClock
    var clients = SlotTable<ClientConnection>()
    var pools: ContiguousArray<PoolFront> = []
    /// Where this is the only worker; otherwise the main thread accepts.
    var acceptor: Acceptor?
    var lifecycle = Lifecycle.running
    var work = WorkerWork()
    /// What is to be done for listeners of messages.
    var fanOut = FanOut()
    /// Here rather than global: a global is asked for with each command whether it is there.
    let limits = WireLimits()
    /// What the client that is being handled may still do in this iteration.
    var turn = Turn()
    /// The part of what is kept for clients that is no reply: what they are called, mostly.
    var extraBytes = 0
    var watched = WatchedClients()
    var orders = WorkerOrders()
    /// Addresses that clients have connected to, as CLIENT LIST shows them: the first 255 that were
    /// asked for.
    var localAddresses: [[UInt8]] = []
    var questions = WorkerQuestions()
    private var tickTimer: Timer?
    private var mailWatch: DescriptorWatch?

    /// Where a worker stands. `running` -> `draining` -> `drained` -> `stopped`, or straight to
    /// `stopped`.
    enum Lifecycle: Equatable {
        case running
        case draining(deadline: MonotonicTime)
        /// Its clients are gone, or their time is over; other workers may still want its permits.
        case drained
        case stopped
    }

    /// Nil when the system has no descriptors left.
    package init?(settings: WorkerSettings, index: Int, group: WorkerGroup, log: Logger) {
        guard let loop = EventLoop() else { return nil }
        self.index = index
        self.group = group
        self.loop = loop
        mailbox = group.mailboxes[index]
        self.log = log
        table = settings.table
        // Each worker counts only what waits for its own clients.
        options = WorkerOptions(settings, workers: group.workers)
        let now = MonotonicTime(nanoseconds: EventLoop.now())
        clock = TurnClock(now: now)
        logged = LoggedTimes(statistics: now, summaries: now)
        readBuffer = .allocate(byteCount: Worker.readSize, alignment: 64)
        for (index, pool) in settings.config.pools.enumerated() {
            if let group = group.pool(pool.name) { addPool(pool, group, at: index) }
        }
        if group.workers == 1 {
            acceptor = Acceptor(settings, loop: loop, group: group, taker: self)
        }
        let me = Unmanaged.passUnretained(self).toOpaque()
        tickTimer = Timer(loop: loop, owner: me, callback: workerTick)
        mailWatch = DescriptorWatch(
            descriptor: mailbox.wakeup.descriptor, loop: loop, owner: me, callback: workerMail)
    }

    deinit {
        readBuffer.deallocate()
        chunks.destroy()
    }

    /// Runs until stopped. Calls `started` once, before the first wait, and `drained` when a drain
    /// is over, with the number of clients that are left. Returns false when the event loop has
    /// failed.
    ///
    /// - Parameter adoption: takes what a former program hands over. Nothing keeps it: it has
    ///   passwords.
    package func run(
        adoption: () -> Adoption? = { nil }, started: () -> Void,
        drained: (_ cut: Int) -> Void
    ) -> Bool {
        var hasReported = false
        if let adoption = adoption() { adopt(adoption) }
        tick()
        epilogue()
        started()
        while lifecycle != .stopped {
            if !work.carriedOver.isEmpty { readyCarriedOver() }
            if !loop.runOnce(waiting: isIdle) {
                log.critical("the event loop failed", metadata: ["event": "loop.failed"])
                return false
            }
            epilogue()
            while orders.freezing != nil, continueFreeze() { epilogue() }
            if lifecycle == .drained, !hasReported {
                hasReported = true
                drained(clients.count)
            }
        }
        closeEverything()
        fanOut.drop(chunks)
        // These refer to this worker.
        acceptor = nil
        work.servers.removeAll()
        work.readyClients.removeAll()
        work.carriedOver.removeAll()
        work.dirtyClients.removeAll()
        work.expecting.removeAll()
        work.dirtyUpstreams.removeAll()
        work.departed.letGo(all: true)
        pools.removeAll()
        return true
    }

    /// Nothing is left that the next iteration could do without an event.
    @inline(__always)
    var isIdle: Bool {
        !work.isDelayed && work.expecting.isEmpty && work.readyClients.isEmpty
            && work.shaking.isEmpty && !hasOrderToCarryOut && !fanOut.hasWork
    }

    /// The pool of that name; nil when there is none, or a reload has removed it.
    func pool(_ name: String) -> PoolFront? {
        pools.first { $0.config.name == name && $0.leavesBy == nil }
    }

    /// Reads the clock once per iteration of the loop, in the first event's callback. All events of
    /// an iteration have the same time.
    @inline(__always)
    var now: MonotonicTime { clock.now }

    func updateNow() {
        if clock.isRead { return }
        clock.isRead = true
        let last = now
        clock.begin(MonotonicTime(nanoseconds: EventLoop.now()))
        if now - last > Worker.longTurn {
            for pool in pools { pool.forEachServer { $0.lookAtStalled() } }
        }
    }

    fileprivate func tick() {
        updateNow()
        clock.noteTick()
        for pool in pools { pool.tick() }
        acceptor?.tick()
        group.seen(index, at: now)
        closeIdleClients()
        closeLingering()
        if !watched.shaking.isEmpty { closeLateHandshakes() }
        closeLeaving()
        serveTargets()
        endGatherings()
        logWhatIsDue()
        fanOut.trim(chunks)
        chunks.trimAfterBurst()
        watched.atLimit.removeAll { clients[$0]?.checkLimit() != true }
        if case .draining(let deadline) = lifecycle { continueDrain(deadline) }
        if lifecycle != .stopped { tickTimer?.start(after: Worker.tickInterval) }
    }

    func readMail() {
        updateNow()
        for message in mailbox.takeAll() {
            switch message {
            case .drain: beginDrain()
            case .stop: lifecycle = .stopped
            case .accepted(let client): take(client, for: index)
            case .warning(let warning): warn(warning)
            case .permits(let name, let node):
                for pool in pools where pool.config.name == name { pool[node]?.noteWork() }
            case .question(let question, let token, let asker):
                answer(question, token: token, to: asker)
            case .answer(let answer, let token, let other):
                answered(answer, token: token, by: other)
            case .release(let name, let target, let tracker):
                pool(name)?.releaseTarget(target, from: tracker)
            case .userRefused(let name, let user): pool(name)?.doubt(user)
            case .passwordSet(let name, let password, let user, let openSince):
                pool(name)?.learn(password, of: user, openSince: openSince)
            case .pause(let name, let length, let runID):
                pool(name)?.takePause(length, of: runID)
            case .resolved(let pool, let name, let answer): resolved(pool, name, answer)
            case .succeed(let name, let succession): pool(name)?.succeed(succession)
            case .primaryUnknown(let name, let text): pool(name)?.primaryIsUnknown(text)
            case .cluster(let name, let map): pool(name)?.take(map)
            case .replicas(let name, let addresses): pool(name)?.take(replicas: addresses)
            case .report(let kind, let token, let box): report(kind, token: token, to: box)
            case .logging(let clients, let traces): options.log(clients: clients, traces: traces)
            case .operate(let command, let token, let box):
                carryOut(command, for: OperatorAsker(token: token, box: box))
            case .reload(let new): replace(new)
            case .freeze(let order): begin(order)
            case .thaw: endFreeze()
            // It is for a worker that stands still.
            case .writeDown: break
            }
        }
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
