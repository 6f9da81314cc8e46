// What upgrades need of the daemon, and how it begins in place of another program.

import Admin
import Config
import EventLoop
import HandOver
import Logging
import Pool
import Proxy
import Synchronization

extension Daemon {
    func prepareUpgrades(_ program: Program) {
        if let process = successor?.file.process {
            group.goOn(behind: (process.lastClient, process.lastUpstream))
            let totals = PoolMetrics.totals(of: successor?.file.counters ?? [])
            monitoring?.center?.resume(totals)
            for metrics in totals { group.goOn(behind: metrics.rejected, of: metrics.pool) }
        }
        upgrader = Upgrader(
            UpgradeParts(
                program: program, loop: loop, group: group, log: log, status: status,
                settings: { [unowned self] in settings },
                source: { [unowned self] in reloader.source },
                first: { [unowned self] in reloader.first },
                ownListeners: { [unowned self] in ownListeners },
                topologies: { [unowned self] in sentinels.carried + clusters.carried },
                formerTotals: { [unowned self] in monitoring?.center?.formerTotals ?? [] },
                obstacle: { [unowned self] in
                    if stage != .running { return "Redpool is starting or ending" }
                    if reloader.isUnderWay { return "a reload is under way" }
                    // The other program would send what the operator holds back.
                    let paused = config.pools.first { group.isPaused($0.name) }
                    return paused.map { "pool \($0.name) is paused: resume it first" }
                },
                accepts: { [unowned self] in dispatcher?.accepts($0) }, past: past))
        console?.host.startedAt = past.startedAt.nanoseconds
        console?.host.upgrades = Int(past.upgrades)
        monitoring?.startedAt = past.startedOn
        console?.host.upgrade = { [unowned self] cuts, caller, refused in
            guard let upgrader else {
                return refused("upgrade refused: no descriptors left for an upgrade")
            }
            upgrader.begin(UpgradeRequest(cuts: cuts, caller: caller, refused: refused))
        }
    }

    /// The listening sockets of the console and of metrics.
    private var ownListeners: [CarriedListener] {
        var found = monitoring?.carriedListeners ?? []
        if let (descriptor, file) = console?.listening {
            found.append(
                CarriedListener(
                    descriptor: descriptor, purpose: .console, address: file.place, number: 0,
                    file: file.carried))
        }
        return found
    }

    /// Waits until the workers have built what a former program hands over. Nothing else is done
    /// before, so that the former program can still go on as if nothing had happened.
    func takeOver() throws {
        guard let successor else { return }
        while built < group.workers, stage == .starting {
            events.wakeup.wait()
            readMail()
        }
        guard stage == .starting else {
            throw StartFailure(code: exitCode, message: "redpool: a worker has failed")
        }
        if EventLoop.hasRefused {
            throw StartFailure(
                code: Sysexit.osError, message: "redpool: the system has refused an event")
        }
        successor.commit()
    }

    /// The hand-over is over: the log and whoever has asked for the upgrade hear of it.
    func tellOfHandOver() {
        guard let successor else { return }
        self.successor = nil
        let hasFailed = successor.failure != nil
        log.log(
            level: hasFailed ? .error : .notice, "\(successor.text)",
            metadata: ["event": hasFailed ? "upgrade.failed" : "upgrade.done"])
        for caller in successor.file.callers {
            console?.answer(
                ConsoleCaller(
                    descriptor: caller.descriptor, isRESP3: caller.protocolVersion == 3,
                    input: caller.input),
                successor.text, isError: hasFailed)
        }
        successor.forget()
    }
}

/// Gives a worker's thread its settings and what it takes over, and keeps none: the thread keeps
/// the handover for ever.
final class Handover: Sendable {
    private let settings: Mutex<WorkerSettings?>
    private let adopted: Mutex<Adoption?>

    init(_ settings: WorkerSettings, _ adoption: Adoption?) {
        self.settings = Mutex(settings)
        adopted = Mutex(adoption)
    }

    /// Called once.
    func adoption() -> Adoption? {
        adopted.withLock { adoption in
            defer { adoption = nil }
            return adoption
        }
    }

    /// Called once.
    func worker(_ index: Int, group: WorkerGroup, log: Logger) -> Worker? {
        let taken = settings.withLock { settings in
            defer { settings = nil }
            return settings
        }
        return taken.flatMap { Worker(settings: $0, index: index, group: group, log: log) }
    }
}
