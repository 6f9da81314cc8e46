// Replaces the configuration while the process runs. Lives on the main thread. Everything that can
// fail is done first; then the workers get one immutable value. Any problem changes nothing.

import Admin
import Config
import EventLoop
import Glibc
import Logging
import Proxy
import Telemetry

/// What became of a reload, for the one who has asked for it.
struct ReloadAnswer {
    let isDone: Bool
    /// What has changed and what waits for a restart; or all problems, with line and column.
    let messages: [String]
}

/// Reads the configuration again, on a signal or when it is asked.
final class Reloader {
    typealias Completion = (ReloadAnswer) -> Void

    private let group: WorkerGroup
    private let log: Logger
    private let control: LogControl
    private let events: Mailbox<WorkerEvent>
    private let status: StatusLine
    private let sink: LogSink
    /// What the workers have.
    private(set) var settings: WorkerSettings
    /// The result of the last attempt, and what waits for a restart.
    private(set) var state: ReloadState
    /// Accepts clients where there are several workers.
    weak var dispatcher: Dispatcher?
    /// Follows the primaries that Sentinels name.
    weak var sentinels: SentinelDesk?
    /// Follows the maps of clusters.
    weak var clusters: ClusterDesk?
    /// Its SHOW CONFIG shows what is in force.
    var console: Console?
    /// Its metrics are of what is in force.
    var monitoring: Monitoring?
    /// The contexts of TLS of what is in force: their keys are no longer in memory as text.
    var contexts: [TLSContext] = []
    /// The file at the start: keys that need a restart still have its values.
    let first: ConfigSource
    /// The file as it was read last.
    private(set) var source: ConfigSource
    private var running: Running?
    /// Who has asked while a reload was under way. They get the result of the next one.
    private var next: [Completion] = []
    private var timer: Timer?

    /// A reload that the workers have been told of.
    private struct Running {
        let began: Int64
        var missing: Set<Int>
        let messages: [String]
        let completions: [Completion]
    }

    /// How long a worker may take to put the configuration into force before the answer says that
    /// it has not, in nanoseconds.
    private static let patience: Int64 = 500_000_000

    init(
        _ start: ReloadStart, loop: EventLoop, group: WorkerGroup,
        events: Mailbox<WorkerEvent>, status: StatusLine
    ) {
        log = start.log
        control = start.control
        sink = start.sink
        settings = start.settings
        first = start.first
        source = start.source
        self.group = group
        self.events = events
        self.status = status
        state = ReloadState(startedAt: wallClock())
        state.pending = first.changes(to: source).filter(\.needsRestart)
        timer = Timer(
            loop: loop, owner: Unmanaged.passUnretained(self).toOpaque(), callback: reloadTimer)
    }

    /// What waits for a restart, by the keys of SHOW CONFIG.
    var pending: [String: ConfigChange] {
        var changes: [String: ConfigChange] = [:]
        for change in state.pending { changes[change.path] = change }
        return changes
    }

    /// Workers have not put the last configuration into force yet.
    var isUnderWay: Bool { running != nil }

    private var path: String { source.file }

    /// Reads the configuration again and has the workers put it into force. `completion` is called
    /// on this thread, before this call returns if there is a problem.
    func reload(_ completion: @escaping Completion) {
        if running != nil {
            next.append(completion)
        } else {
            begin([completion])
        }
    }

    private func begin(_ completions: [Completion]) {
        status.reloading()
        do throws(Refusal) {
            let loaded = try load()
            let limit = try clientLimit(loaded.config)
            let plan = ListenerPlan(
                from: settings.config, settings.listeners, to: loaded.config)
            if !plan.problems.isEmpty {
                plan.undo()
                throw Refusal(
                    problems: plan.problems.map { problem in
                        loaded.source.listenProblem(of: problem.pool, problem.text)
                            .rendered(file: path)
                    })
            }
            apply(loaded, limit, plan, completions)
        } catch {
            refuse(error.problems, completions)
        }
    }

    // MARK: What can fail

    /// All that is wrong. Nothing has been changed.
    private struct Refusal: Error {
        let problems: [String]
    }

    private struct Loaded {
        let config: Config
        let source: ConfigSource
        let warnings: [String]
    }

    private func load() throws(Refusal) -> Loaded {
        let result: ConfigResult
        let source: ConfigSource
        do throws(Config.FileError) {
            (result, source) = try Config.loadWithSource(
                path: path, surroundings: .ofReload)
        } catch {
            throw Refusal(problems: ["cannot read \(path): \(error.message)"])
        }
        switch result {
        case .invalid(let problems):
            throw Refusal(problems: problems.map { $0.rendered(file: path) })
        case .valid(let config, let warnings):
            return Loaded(
                config: config, source: source, warnings: warnings.map { $0.rendered(file: path) })
        }
    }

    private func clientLimit(_ config: Config) throws(Refusal) -> Int {
        do {
            return try Listeners.clientLimit(config, threads: group.workers)
        } catch {
            let text = (error as? StartFailure)?.message ?? "\(error)"
            throw Refusal(problems: [text])
        }
    }

    // MARK: What cannot

    private func apply(
        _ loaded: Loaded, _ limit: Int, _ plan: ListenerPlan, _ completions: [Completion]
    ) {
        let old = settings.config
        control.set(Daemon.logConfiguration(loaded.config.log, sink))
        for warning in loaded.warnings {
            log.warning("\(warning)", metadata: ["event": "config.warning"])
        }
        let removed = plan.removed
        settings = settings.replaced(
            loaded.config, listeners: plan.listeners, maxClients: limit)
        let changes = source.changes(to: loaded.source).filter { !$0.needsRestart }
        source = loaded.source
        state.pending = first.changes(to: source).filter(\.needsRestart)
        let messages =
            changes.map(\.text) + Reloader.newPasswords(old, loaded.config)
            + tellOfTLS(old, loaded.config)
            + old.tellOfListenTLS(loaded.config, log)
            + state.pending.map { "\($0.text) needs a restart" }
        running = Running(
            began: EventLoop.now(), missing: Set(0..<group.workers),
            messages: loaded.warnings + messages,
            completions: completions)
        let events = events
        group.replace(settings, removing: removed) { events.post(.reloaded($0)) }
        sentinels?.replace(loaded.config)
        clusters?.replace(loaded.config)
        dispatcher?.replace(settings)
        console?.adopt(loaded.config, loaded.source, maxClients: limit)
        monitoring?.pools = loaded.config.pools
        monitoring?.maxClients = limit
        status.pools = loaded.config.pools.map(\.name)
        timer?.start(after: Reloader.patience)
    }

    private static func newPasswords(_ old: Config, _ new: Config) -> [String] {
        new.pools.flatMap { pool -> [String] in
            guard let before = old.pools.first(where: { $0.name == pool.name }) else { return [] }
            var found: [String] = []
            if let mine = before.password, let its = pool.password, mine != its {
                found.append("pools.\(pool.name): another password")
            }
            if let mine = before.clientUsers, let its = pool.clientUsers, mine != its {
                found.append("pools.\(pool.name): other logins of clients")
            }
            return found
        }
    }

    /// Says which pools have other files or settings of TLS.
    private func tellOfTLS(_ old: Config, _ new: Config) -> [String] {
        new.pools.compactMap { pool in
            guard let before = old.pools.first(where: { $0.name == pool.name }),
                let mine = before.upstreamTLS, let its = pool.upstreamTLS, mine != its
            else { return nil }
            log.notice(
                "TLS to the server begins anew: connections with the old settings close when free",
                metadata: ["event": "tls.reloaded", "pool": "\(pool.name)", "side": "upstream"])
            return mine.hasSameFiles(as: its) ? nil : "pools.\(pool.name): other TLS files"
        }
    }

    // MARK: The end

    /// A worker has put the configuration into force.
    func applied(by worker: Int) {
        running?.missing.remove(worker)
        if running?.missing.isEmpty == true { finish() }
    }

    /// The timer may be that of an earlier reload.
    fileprivate func waitedLongEnough() {
        guard let running else { return }
        if EventLoop.now() - running.began >= Reloader.patience {
            finish()
        } else {
            timer?.start(after: Reloader.patience)
        }
    }

    private func finish() {
        guard let ended = running else { return }
        running = nil
        state.outcome = .succeeded
        state.lastSuccess = wallClock()
        state.problems = []
        let late = ended.missing.sorted().map {
            "worker \($0) has not answered: it follows when it turns again"
        }
        let messages = ended.messages + late
        log.notice(
            "the configuration was read again",
            metadata: [
                "event": "reload.done",
                "changes": "\(messages.isEmpty ? "none" : messages.joined(separator: "; "))",
                "pending": "\(state.pending.count)",
            ])
        contexts = settings.config.settleTLS()
        System.trimHeap()
        end(ReloadAnswer(isDone: true, messages: messages), ended.completions)
    }

    private func refuse(_ problems: [String], _ completions: [Completion]) {
        TLSContext.letGo()
        state.outcome = .refused
        state.problems = problems
        for problem in problems {
            log.error("\(problem)", metadata: ["event": "reload.problem"])
        }
        log.error(
            "the configuration was refused; nothing was changed",
            metadata: ["event": "reload.refused", "problems": "\(problems.count)"])
        end(ReloadAnswer(isDone: false, messages: problems), completions)
    }

    private func end(_ answer: ReloadAnswer, _ completions: [Completion]) {
        status.reloaded(state)
        monitoring?.reload.wasSuccessful = state.outcome == .succeeded
        monitoring?.reload.at = state.lastSuccess
        monitoring?.reload.needsRestart = !state.pending.isEmpty
        for completion in completions { completion(answer) }
        if next.isEmpty || running != nil { return }
        let waiting = next
        next = []
        begin(waiting)
    }
}

/// What a `Reloader` begins with: what the daemon was started with.
struct ReloadStart {
    /// Another one than `source` if a program has come back that had read the file again.
    let first: ConfigSource
    let source: ConfigSource
    let settings: WorkerSettings
    let log: Logger
    let control: LogControl
    let sink: LogSink
}

private func reloadTimer(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<Reloader>.fromOpaque(owner).takeUnretainedValue().waitedLongEnough()
}
