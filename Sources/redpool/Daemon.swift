// The life of the process: start, signals, notification of systemd, end. With several workers the
// main thread also accepts clients. Clients and upstreams live on the workers' threads.

import Admin
import Config
import EventLoop
import Glibc
import HandOver
import Logging
import Pool
import Proxy
import Session
import Telemetry

/// A message from a worker to the main thread.
enum WorkerEvent: Sendable {
    case started
    /// The worker has built what it takes over from a former program.
    case built
    /// The worker has drained; `cut` clients are left.
    case drained(cut: Int)
    case ended
    case failed(String)
    /// The worker has put another configuration into force.
    case reloaded(Int)
}

final class Daemon {
    let log: Logger
    let loop: EventLoop
    let events: Mailbox<WorkerEvent>
    let group: WorkerGroup
    let reloader: Reloader
    var stage = Stage.starting
    /// How many workers have started, drained and ended.
    private var count = (started: 0, drained: 0, ended: 0)
    private var cut = 0
    /// Accepts clients when there are several workers.
    var dispatcher: Dispatcher?
    /// Fires when a worker does not end in time.
    private var patience: Timer?
    var exitCode: Int32 = 0
    private var watchdog: Watchdog?
    let status: StatusLine
    var console: Console?
    var monitoring: Monitoring?
    let sentinels: SentinelDesk
    let clusters: ClusterDesk
    /// Nil if the process was started in the usual way, or once the hand-over is over.
    var successor: Successor?
    var built = 0
    var upgrader: Upgrader?
    let past: ProcessPast

    /// `starting` -> `running` -> `draining` -> `ended`.
    enum Stage {
        case starting
        case running
        case draining
        case ended
    }

    init(configPath: String, program: Program, successor: Successor? = nil) throws {
        self.successor = successor
        past = ProcessPast(successor)
        if let file = successor?.file { TLSContext.use(ticketKeys: file.ticketKeys) }
        let inherited = try Daemon.inheritedSockets()
        // The files may be others by now, or gone, and there is no way back from that.
        let (config, warnings, source) =
            try successor.map {
                try loadConfiguration(
                    configPath, text: $0.file.configuration, files: $0.takeFiles(),
                    first: $0.firstConfiguration)
            } ?? loadConfiguration(configPath)
        let sink = LogSink()
        let control = LogControl(Daemon.logConfiguration(config.log, sink))
        log = Logger(label: "redpool") { _ in StderrLogHandler(control: control, sink: sink) }
        for warning in warnings {
            log.warning("\(warning)", metadata: ["event": "config.warning"])
        }
        let maxClients = try Listeners.clientLimit(config)
        guard let loop = EventLoop(), let events = Mailbox<WorkerEvent>(),
            let group = WorkerGroup(config)
        else {
            throw Daemon.withoutDescriptors
        }
        self.loop = loop
        self.events = events
        self.group = group
        status = StatusLine(loop: loop, group: group, pools: config.pools.map(\.name), log: log)
        if config.maxClients == nil, maxClients < 10_000 {
            log.warning(
                "the limit of open files allows only \(maxClients) clients: raise LimitNOFILE",
                metadata: ["event": "limits.files"])
        }
        let consoleStart = ConsoleStart(
            config, source, maxClients: maxClients, loop: loop, group: group, log: log,
            logControl: control, lostLines: { sink.suppressed }, successor: successor)
        console = try consoleStart.open()
        successor?.hold(console)
        let settings = WorkerSettings(
            config: config, table: commandTable,
            listeners: try Listeners.bindAll(
                config, inherited: inherited, wait: StartWait(loop: loop, log: log),
                successor: successor),
            maxClients: maxClients, lostLines: { sink.suppressed })
        consoleStart.tell()
        let endpoints = successor?.takeListeners { $0.purpose == .http } ?? []
        monitoring = Monitoring(
            settings, loop: loop, group: group, log: log, hasConsole: console != nil,
            adopted: endpoints)
        successor?.hold(monitoring)
        guard monitoring != nil || endpoints.isEmpty else { throw Daemon.withoutDescriptors }
        console?.host.metrics = monitoring?.center
        reloader = Reloader(
            ReloadStart(
                first: ConfigSource(
                    file: source.file, text: successor?.firstConfiguration ?? source.text),
                source: source, settings: settings, log: log, control: control, sink: sink),
            loop: loop, group: group, events: events, status: status)
        sentinels = SentinelDesk(config, loop: loop, group: group, log: log)
        reloader.sentinels = sentinels
        clusters = ClusterDesk(config, loop: loop, group: group, log: log)
        sentinels.resume(successor?.file.topologies ?? [])
        clusters.resume(successor?.file.topologies ?? [])
        reloader.clusters = clusters
        console?.host.sentinels = { [unowned sentinels] in sentinels.report(of: $0) }
        monitoring?.sentinels = { [unowned sentinels] in sentinels.report(of: $0) }
        console?.host.clusters = { [unowned clusters] in clusters.report(of: $0) }
        monitoring?.clusters = { [unowned clusters] in clusters.report(of: $0) }
        reloader.console = console
        reloader.monitoring = monitoring
        monitoring?.reload.needsRestart = !reloader.pending.isEmpty
        monitoring?.describe = { [unowned self] facts in
            facts.isListening = stage != .starting
            facts.isDraining = stage == .draining
            facts.logLines = Monitoring.lines(of: sink)
        }
        console?.host.isDraining = { [unowned self] in stage == .draining }
        console?.host.shutDown = { [unowned self] isNow in
            if isNow { endNow() }
            drain()
        }
        console?.host.pending = { [unowned self] in reloader.pending }
        console?.host.lastReload = { [unowned self] in reloader.state.outcome }
        console?.host.reload = { [unowned self] completion in
            reload { completion($0.isDone, $0.messages) }
        }
        prepareUpgrades(program)
    }

    private static let withoutDescriptors = StartFailure(
        code: Sysexit.osError, message: "redpool: no descriptors left to start with")

    /// What the workers have. Nothing keeps what they were started with: it has passwords.
    var settings: WorkerSettings { reloader.settings }

    /// The configuration in force.
    var config: Config { settings.config }

    private static func inheritedSockets() throws -> [InheritedSocket] {
        do throws(InheritFailure) {
            return try InheritedSocket.takeAll()
        } catch {
            throw StartFailure(code: Sysexit.cannotCreate, message: "redpool: \(error.text)")
        }
    }

    static func logConfiguration(_ config: LogConfig, _ sink: LogSink) -> LogConfiguration {
        let format: LogFormat
        switch config.format {
        case .auto: format = sink.suitedFormat()
        case .text: format = .text
        case .logfmt: format = .logfmt
        }
        return LogConfiguration(level: config.level.loggerLevel, format: format)
    }

    /// Runs until all workers have ended. Throws a `StartFailure` or returns for exit code 0.
    func run() throws {
        let me = Unmanaged.passUnretained(self).toOpaque()
        let watches = [SIGTERM, SIGINT, SIGQUIT, SIGHUP].map {
            SignalBox(signal: $0, loop: loop, owner: me, callback: daemonSignal)
        }
        let mail = DescriptorWatch(
            descriptor: events.wakeup.descriptor, loop: loop, owner: me, callback: daemonMail)
        patience = Timer(loop: loop, owner: me, callback: daemonTimer)
        for index in 0..<group.workers { try startWorker(index) }
        try takeOver()
        while stage != .ended {
            if !loop.runOnce() { break }
        }
        withExtendedLifetime(watches) {}
        withExtendedLifetime(mail) {}
        console?.close()
        if exitCode != 0 {
            throw StartFailure(code: exitCode, message: "redpool: a worker has failed")
        }
    }

    private func startWorker(_ index: Int) throws {
        let events = events
        let handover = Handover(settings, successor?.adoption { events.post(.built) })
        let group = group
        let log = log
        let error = Threads.start(name: "worker-\(index)") {
            guard let worker = handover.worker(index, group: group, log: log) else {
                events.post(.failed("no descriptors left for the event loop"))
                return
            }
            let isWell = worker.run(
                adoption: { handover.adoption() },
                started: { events.post(.started) },
                drained: { events.post(.drained(cut: $0)) })
            events.post(isWell ? .ended : .failed("the event loop has failed"))
        }
        if error != 0 {
            throw StartFailure(
                code: Sysexit.osError,
                message: "redpool: cannot start a thread: \(System.errorText(error))")
        }
    }

    func readMail() {
        for event in events.takeAll() {
            switch event {
            case .built: built += 1
            case .started:
                count.started += 1
                if count.started == group.workers { started() }
            case .drained(let left):
                count.drained += 1
                cut += left
                if count.drained == group.workers { drained() }
            case .ended:
                count.ended += 1
                if count.ended == group.workers { stage = .ended }
            case .reloaded(let worker):
                reloader.applied(by: worker)
            case .failed(let text):
                log.critical("\(text)", metadata: ["event": "worker.failed"])
                exitCode = stage == .starting ? Sysexit.osError : Sysexit.software
                stage = .ended
            }
        }
    }

    private func started() {
        if stage == .starting {
            stage = .running
            if group.workers > 1 {
                dispatcher = Dispatcher(settings, loop: loop, group: group)
                reloader.dispatcher = dispatcher
            }
        }
        let places = config.pools.map { pool in
            pool.listen.map(\.description).joined(separator: " ") + " -> \(pool.shownSource)"
        }
        log.notice(
            "ready",
            metadata: [
                "event": "ready", "version": "\(redpoolVersion)",
                "maxClients": "\(settings.maxClients)", "threads": "\(group.workers)",
                "pools": "\(places.joined(separator: ", "))",
            ])
        if System.isRoot {
            log.warning(
                "Redpool runs as root and needs no right of root's: run it as a user of its own",
                metadata: ["event": "process.root"])
        }
        status.start()
        // Only now can they be carried out.
        if successor != nil { Signals.letCome() }
        tellOfHandOver()
        monitoring?.start()
        watchdog = Watchdog(loop: loop, group: group, log: log)
        reloader.contexts = config.settleTLS()
        // Reading the configuration used heap that is not needed again.
        System.trimHeap()
    }

    fileprivate func received(_ signal: Int32) {
        switch signal {
        case SIGHUP:
            reload { _ in }
        case SIGQUIT:
            endNow()
        default:
            if stage == .draining { endNow() }
            drain()
        }
    }

    /// Reads the configuration again. `completion` gets all messages, on this thread.
    func reload(_ completion: @escaping Reloader.Completion) {
        guard stage == .running, upgrader?.isUnderWay != true else {
            let text =
                stage == .running
                ? "an upgrade is under way"
                : "Redpool is starting or ending: the configuration is not read again"
            log.warning("\(text)", metadata: ["event": "reload.refused"])
            completion(ReloadAnswer(isDone: false, messages: [text]))
            return
        }
        reloader.reload(completion)
    }

    private func drain() {
        guard stage != .draining, stage != .ended else { return }
        upgrader?.abandon()
        stage = .draining
        // The unit's TimeoutStopSec may be shorter than drainTimeout.
        let longest = config.drainTimeout / 1000 + 2 * Daemon.grace / 1000
        status.drain(longest: longest)
        log.notice(
            "draining",
            metadata: ["event": "drain.begin", "clients": "\(group.clientCount)"])
        dispatcher?.close()
        for mailbox in group.mailboxes { mailbox.post(.drain) }
        patience?.start(after: config.drainTimeout + Daemon.grace)
    }

    /// How long a worker may take beyond `drainTimeout` to report that it has drained, and to end;
    /// in nanoseconds.
    private static let grace: Int64 = 2_000_000_000

    private func drained() {
        if cut == 0 {
            log.notice("drained", metadata: ["event": "drain.end", "cut": "0"])
        } else {
            log.warning(
                "drain timeout: clients were cut off",
                metadata: ["event": "drain.end", "cut": "\(cut)"])
        }
        for mailbox in group.mailboxes { mailbox.post(.stop) }
        patience?.start(after: Daemon.grace)
    }

    fileprivate func waitedLongEnough() {
        log.critical(
            "a worker does not end", metadata: ["event": "worker.failed"])
        exitCode = Sysexit.software
        stage = .ended
    }

    private func endNow() -> Never {
        log.warning("exiting at once", metadata: ["event": "exit.now"])
        for listener in reloader.settings.listeners { listener.file?.remove() }
        console?.close()
        System.exitNow(0)
    }
}

/// An array cannot hold a non-copyable watch; it can hold this box.
final class SignalBox {
    let watch: SignalWatch
    init(
        signal: Int32, loop: EventLoop, owner: UnsafeMutableRawPointer,
        callback: @escaping EventCallback
    ) {
        watch = SignalWatch(signal: signal, loop: loop, owner: owner, callback: callback)
    }
}

private func daemonTimer(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<Daemon>.fromOpaque(owner).takeUnretainedValue().waitedLongEnough()
}

private func daemonSignal(_ signal: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<Daemon>.fromOpaque(owner).takeUnretainedValue().received(signal)
}

private func daemonMail(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<Daemon>.fromOpaque(owner).takeUnretainedValue().readMail()
}
